"""The audit's figures, as they stand in ``audit.json``.

Invariant: no threshold enters here; whoever judges by other thresholds needs no new audit.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict

from ccx_ray.corpus.reading.record import Reason

BESIDE_THE_TEXT = (Reason.REDIRECT, Reason.NOT_AN_ARTICLE)
"""Reasons that say nothing of the text: such records were never meant to be any."""

Example = dict[str, Any]
"""A text, a question or a record that the page shows."""


class Figures(BaseModel):
    """Base of all parts."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ScriptFigures(Figures):
    """What a column of text is written in."""

    corpus: str
    language: str
    texts: int
    bytes: int
    characters: int
    scripts: dict[str, int]
    """Characters by script, most frequent first."""
    expected: list[str]
    unexpected: int
    """Characters of scripts that are not expected; 0 where nothing is known to be expected."""
    forbidden: int
    """Characters of scripts that the isolation excludes."""
    not_normalized: int
    """Texts that are not NFC."""
    not_normalized_ids: list[str]
    worst: list[Example]
    """Texts with most of them: ``id, share, characters, script, excerpt``."""


class ContaminationFigures(Figures):
    """One culture's questions in one corpus; each of them is in ``contamination.parquet``."""

    culture: str
    side: str
    corpus: str
    questions: int
    exact: int
    """Whose filled sentence or wording stands in a text."""
    filled: int
    wording: int
    overlapping: int
    """Of whose sentence at least one n-gram stands in a text."""
    half_overlapping: int
    """At least half of the n-grams in one text."""
    whole_overlapping: int
    """All n-grams in one text."""
    found: list[Example]
    """Those with the most, exact ones first: ``question, filled, exact_documents, overlap,
    document``."""

    @property
    def share(self) -> float:
        return self.exact / self.questions if self.questions else 0.0

    @property
    def is_met(self) -> bool:
        """Whether any of them leaves any trace."""
        return self.exact + self.overlapping > 0


class SharedFigures(Figures):
    """What two corpora have in common."""

    corpus: str
    other: str
    distinct: int
    texts: int
    """Of ``corpus``."""
    share: float
    """Of the texts of ``corpus``."""
    other_texts: int
    other_share: float
    examples: list[Example]
    """``id, text``."""


class OverlapFigures(Figures):
    """How much of a corpus stands in the corpora that it must differ from.

    Documents must differ from all others. Halves of pairs must differ from documents only: the
    halves of two languages meet in no training.
    """

    corpus: str
    texts: int
    shared: int
    share: float


class ConditionFigures(Figures):
    """One condition of a language and seed."""

    rows: int
    monolingual_rows: int
    """Rows without a half of a pair."""
    tokens: dict[str, int]
    """monolingual, english, target, replay, separator, end_of_text, padding, and undescribed: of
    rows without halves whose segments do not fit their tokens; must be 0."""
    pairs: int
    """That are shown, once a pass."""
    target_halves: int
    together: int
    """How often the halves of a pair stand together in a row, at least in part."""
    together_whole: int
    """Pairs whose halves stand together in a row as a whole."""
    rows_with_both_halves: int
    rows_with_both_sides_of_a_group: int
    """Pairs with a text in common are a group."""

    @property
    def used(self) -> int:
        """Tokens but padding."""
        return sum(number for kind, number in self.tokens.items() if kind != "padding")


class StreamFigures(Figures):
    """The two conditions of a language and seed."""

    stream: str
    bridge: ConditionFigures
    nobridge: ConditionFigures
    rows_at_equal_positions: int
    """Positions at which neither condition has a parallel row."""
    identical_rows: int
    """Of them, rows with the same tokens from the same documents."""
    same_halves: bool
    """The two conditions consume the same bytes of every half."""

    @property
    def differing_rows(self) -> int:
        """Monolingual rows of either condition without an equal one at their position."""
        return (
            self.bridge.monolingual_rows + self.nobridge.monolingual_rows - 2 * self.identical_rows
        )

    @property
    def token_difference(self) -> int:
        return self.bridge.used - self.nobridge.used

    @property
    def token_difference_share(self) -> float:
        return abs(self.token_difference) / max(1, self.bridge.used, self.nobridge.used)


class RejectionFigures(Figures):
    """What was read of one kind of text, and what became of it."""

    corpus: str
    read: int
    kept: int
    rejected: dict[str, int]
    """By reason, most frequent first."""
    standing: int
    """Rows that stand in the folder; those that were kept, if all is well."""

    @property
    def adds_up(self) -> bool:
        kept = self.kept == self.standing
        return kept and self.read == self.kept + sum(self.rejected.values())

    @property
    def share(self) -> float:
        """Of the records that could have been text: a wiki's dump has more redirects than
        articles."""
        beside = sum(self.rejected.get(reason, 0) for reason in BESIDE_THE_TEXT)
        could = self.read - beside
        return (sum(self.rejected.values()) - beside) / could if could else 0.0


class RejectedFigures(Figures):
    """The side files of one language."""

    language: str
    counted: dict[str, int]
    """By reason, in the side files themselves."""
    adds_up: bool
    """They hold what the text step has counted."""
    examples: dict[str, list[Example]]
    """By reason: ``id, place, text, duplicate_of``."""


class AuditFigures(Figures):
    """Everything that an audit found."""

    seed: int
    sample_documents: int
    scripts: list[ScriptFigures]
    contamination: list[ContaminationFigures]
    shared: list[SharedFigures]
    overlaps: list[OverlapFigures]
    streams: list[StreamFigures]
    rejections: list[RejectionFigures]
    rejected: list[RejectedFigures]
    samples: dict[str, str]
    """Table -> its page, relative to the audit's folder."""
