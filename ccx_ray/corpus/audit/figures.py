"""The audit's figures, as they stand in ``audit.json``, and what the thresholds of a study make of
them.

Invariant: no threshold enters the figures; whoever judges by other thresholds needs no new audit.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import add
from typing import Any

from ccx_ray.corpus.packing.conditions import Figures, StreamFigures
from ccx_ray.corpus.reading.record import Reason
from ccx_ray.study.text_spec import AuditSpec

BESIDE_THE_TEXT = (Reason.REDIRECT, Reason.NOT_AN_ARTICLE)
"""Reasons that say nothing of the text: such records were never meant to be any."""

Example = dict[str, Any]
"""A text, a question or a record that the page shows."""


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


class TranslationFigures(Figures):
    """Documents of a corpus that hold a sentence and its translation, by the pairs of the study."""

    corpus: str
    documents: int
    holding: int
    """Documents in which both sides of a pair stand."""
    halves: int
    """Of the pairs that were looked for."""
    short_halves: int
    """Of these, too short to be looked for."""
    examples: list[Example]
    """``document, pair, english, target``."""

    @property
    def share(self) -> float:
        return self.holding / self.documents if self.documents else 0.0


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
    translations: list[TranslationFigures]
    streams: list[StreamFigures]
    rejections: list[RejectionFigures]
    rejected: list[RejectedFigures]
    samples: dict[str, str]
    """Table -> its page, relative to the audit's folder."""

    @property
    def planted(self) -> list[str]:
        """Corpora of planted documents: their scripts are judged, and not what they say."""
        judged = {part.corpus for part in self.overlaps}
        return [part.corpus for part in self.scripts if part.corpus not in judged]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One threshold, and the corpus or stream that comes nearest to it or crosses it."""

    name: str
    """What is judged, in words."""
    field: str
    """Field of the spec that holds the limit; empty where nothing but 0 is right."""
    figure: float
    limit: float
    where: str
    """Where the figure is from; empty when there is nothing to be judged."""
    crossed: tuple[str, ...]
    """Every place whose figure is above the limit."""
    is_share: bool

    @property
    def passed(self) -> bool:
        return not self.crossed


def verdicts(figures: AuditFigures, spec: AuditSpec) -> list[Verdict]:
    """The verdict for every limit of the spec, and for figures that must be 0 in any study."""
    scripts, streams = figures.scripts, figures.streams
    undescribed: list[tuple[str, float]] = [
        (f"{stream.stream} {name}", condition.tokens["undescribed"])
        for stream in streams
        for name, condition in stream.conditions.items()
    ]
    contaminated = [
        (f"{part.culture} questions ({part.side}) in {part.corpus}", part.share)
        for part in figures.contamination
    ]
    deranged = [(part, part.deranged) for part in streams if part.deranged is not None]
    # What is judged, the spec's field, and the figure of every place.
    judged: list[tuple[str, str, list[tuple[str, float]]]] = [
        ("characters of an excluded script", "forbidden_characters",
         [(part.corpus, part.forbidden) for part in scripts]),
        ("texts that are not NFC", "", [(part.corpus, part.not_normalized) for part in scripts]),
        ("records rejected, share", "rejected_share",
         [(part.corpus, part.share) for part in figures.rejections]),
        ("unaccounted records", "", list(_unaccounted(figures))),
        ("questions that appear in a corpus, share", "contaminated_share", contaminated),
        ("documents that are also in another corpus, share", "shared_documents_share",
         [(part.corpus, part.share) for part in figures.overlaps]),
        ("difference of the conditions' tokens, share", "token_difference_share",
         [(part.stream, part.token_difference_share) for part in streams]),
        ("no-bridge rows with both halves of a pair", "",
         [(part.stream, part.nobridge.rows_with_both_sides_of_a_group) for part in streams]),
        ("rows without bridges with a sentence and its translation, by content, share",
         "translations_share",
         [(f"{part.stream} {name}", own.rows_with_both_sides_by_content / max(1, own.rows))
          for part in streams for name, own in part.apart.items()]),
        ("documents with a sentence and its translation, share", "translations_share",
         [(part.corpus, part.share) for part in figures.translations]),
        ("bridge pairs whose halves are not in exactly one row", "",
         [(part.stream, abs(part.bridge.pairs - part.bridge.together)) for part in streams]),
        ("monolingual rows that differ between the conditions", "",
         [(part.stream, part.differing_rows) for part in streams]),
        ("tokens outside all segments", "", undescribed),
        ("streams whose conditions do not consume the same halves", "",
         [(part.stream, int(not part.same_halves)) for part in streams]),
    ]  # fmt: skip
    if deranged:
        judged += [
            ("deranged rows with both halves of a pair", "",
             [(part.stream, own.rows_with_both_sides_of_a_group) for part, own in deranged]),
            ("deranged documents without two halves", "",
             [(part.stream, abs(part.bridge.tokens["separator"] - own.tokens["separator"]))
              for part, own in deranged]),
        ]  # fmt: skip
    return [
        _judge(name, field, places, getattr(spec, field) if field else 0)
        for name, field, places in judged
    ]


def _judge(name: str, field: str, places: list[tuple[str, float]], limit: float) -> Verdict:
    places = sorted(places, key=lambda place: (-place[1], place[0]))
    where, figure = places[0] if places else ("", 0.0)
    return Verdict(
        name=name,
        field=field,
        figure=figure,
        limit=limit,
        where=where,
        crossed=tuple(place for place, found in places if found > limit),
        is_share=field.endswith("_share"),
    )


def _unaccounted(figures: AuditFigures) -> Iterator[tuple[str, float]]:
    for part in figures.rejections:
        there = part.kept + sum(part.rejected.values())
        yield part.corpus, abs(part.read - there) + abs(part.kept - part.standing)
    for side in figures.rejected:
        yield f"{side.language} rejected", int(not side.adds_up)


def metrics(figures: AuditFigures) -> dict[str, float]:
    """The figures under flat names such as ``audit/ko/contaminated_exact``.

    A name's middle is a language, or a stream such as ``ko-s0``. Where a language has several
    corpora, counts are added up, and of shares and of questions the largest is given.
    """
    found: dict[str, float] = {}

    def note(combine: Callable[[float, float], float], where: str, **figures: float) -> None:
        for what, figure in figures.items():
            name = f"audit/{where}/{what}"
            found[name] = combine(found.get(name, 0.0), float(figure))

    for part in figures.scripts:
        note(
            add,
            _language(part.corpus),
            forbidden_characters=part.forbidden,
            unexpected_characters=part.unexpected,
            not_normalized=part.not_normalized,
        )
    for hits in figures.contamination:
        note(
            max,
            hits.culture,
            contaminated_exact=hits.exact,
            contaminated_share=hits.share,
            contaminated_half_overlap=hits.half_overlapping,
        )
    for shared in figures.overlaps:
        note(max, _language(shared.corpus), shared_documents_share=shared.share)
    for translations in figures.translations:
        note(add, _language(translations.corpus), documents_with_translations=translations.holding)
    for rejections in figures.rejections:
        note(max, _language(rejections.corpus), rejected_share=rejections.share)
    for stream in figures.streams:
        note(
            add,
            stream.stream.replace(" ", "-"),
            token_difference=stream.token_difference,
            token_difference_share=stream.token_difference_share,
            bridge_pairs_together=stream.bridge.together,
            nobridge_rows_with_both=stream.nobridge.rows_with_both_sides_of_a_group,
            nobridge_rows_with_both_by_content=stream.nobridge.rows_with_both_sides_by_content,
            differing_monolingual_rows=stream.differing_rows,
        )
        if stream.deranged is not None:
            note(
                add,
                stream.stream.replace(" ", "-"),
                deranged_rows_with_both=stream.deranged.rows_with_both_sides_of_a_group,
            )
    return found


def _language(corpus: str) -> str:
    """``ko`` of ``ko documents`` and of ``en-ko pairs english``."""
    return corpus.partition(" ")[0].rpartition("-")[2]
