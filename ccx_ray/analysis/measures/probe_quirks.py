"""What an accuracy has to be held against: chance, the first option, and items that are not clean.

Invariant: everything is counted over the questions that were really asked. Oddities are counted
over all of them; chance and the first option over those that the study does not leave out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ccx_ray.analysis.measures.answers import Answers, AskedProbe
from ccx_ray.analysis.measures.transfer import DIRECTIONS, probe_of
from ccx_ray.study.spec import QualityKind


@dataclass(frozen=True, kw_only=True)
class ProbeRow:
    """One probe, as it was asked."""

    probe: str
    culture: str
    asked: int
    """All its questions."""
    left_out: int
    """By ``evaluation.exclude``: scored and stored, but in no number of the report."""
    questions: int
    """The others."""
    chance: float
    """Expected accuracy of a random choice."""
    first_option: int
    """Questions whose right answer is the first option."""
    first_option_accuracy: float
    """Accuracy of always choosing the first option, which is also how a tie is broken."""
    no_blank: int
    """Every filled sentence is the same, so the first option wins."""
    several_blanks: int
    """All are filled."""
    repeated_option: int
    answer_absent: int
    """The answer is not among the options: never right."""
    identical_sentences: int
    """Two or more filled sentences are the same; those without a blank are counted here too."""
    surrounding_space: int
    """An option or the answer begins or ends with a space, so texts differ that look alike."""


@dataclass(frozen=True, kw_only=True)
class LeftOutRow:
    """Questions of a probe that the study leaves out for one reason; some have several."""

    probe: str
    reason: QualityKind
    questions: int


def probe_rows(cultures: Sequence[str], base: str, answers: Answers) -> list[ProbeRow]:
    """Every probe that was asked, target-language questions first."""
    return [
        _probe_row(probe, culture, answers.asked[probe])
        for culture in cultures
        for probe in (probe_of(direction, culture, base) for direction in DIRECTIONS)
        if probe in answers.asked
    ]


def left_out_rows(
    exclude: Sequence[QualityKind], probes: Sequence[ProbeRow], answers: Answers
) -> list[LeftOutRow]:
    """How many questions each excluded oddity takes out of each probe."""
    return [
        LeftOutRow(probe=row.probe, reason=kind, questions=count)
        for row in probes
        for kind in exclude
        if (count := _having(answers.asked[row.probe], kind))
    ]


def _probe_row(probe: str, culture: str, asked: AskedProbe) -> ProbeRow:
    first = asked.gold[asked.kept] == 0
    return ProbeRow(
        probe=probe,
        culture=culture,
        asked=len(asked.kept),
        left_out=int((~asked.kept).sum()),
        questions=len(first),
        chance=float((1 / asked.options[asked.kept]).mean()),
        first_option=int(first.sum()),
        first_option_accuracy=float(first.mean()),
        no_blank=_having(asked, "no_blank"),
        several_blanks=_having(asked, "several_blanks"),
        repeated_option=_having(asked, "repeated_option"),
        answer_absent=_having(asked, "answer_absent"),
        identical_sentences=_having(asked, "identical_sentences"),
        surrounding_space=_having(asked, "surrounding_space"),
    )


def _having(asked: AskedProbe, kind: QualityKind) -> int:
    return sum(kind in kinds for kinds in asked.quality)
