"""What an accuracy has to be held against: chance, the order of the options, and odd questions.

The right option is the first one in most questions of some probes, and the published scorer breaks
ties in favour of the first, so an accuracy may rest on order alone.

Invariant: seeds are averaged for each question first. An option counts as chosen by position, a
question as right by text, as the published scorer has it. Oddities are counted over all questions
that were asked; chance and the first option over those that the study does not leave out.
"""

from collections.abc import Sequence

import pandas as pd

from ccx_ray.analysis.measures.accuracy import accuracies, cells
from ccx_ray.analysis.measures.answers import DIRECTIONS, Answers, by_run, probe_of
from ccx_ray.analysis.measures.rows import Row
from ccx_ray.analysis.statistics.intervals import Floats, mean, standard_error
from ccx_ray.study.spec import QualityKind


def tie_rows(answers: Answers) -> list[Row]:
    """Broken ties and the first option, at the base and for each condition at its last checkpoint;
    shares of the questions, seeds averaged."""
    rows = []
    for place, cell in cells(answers, last_only=True):
        found = Row(**accuracies(cell))
        gold, right = cell["gold"].to_numpy()[: found.questions], _right(cell)
        tied_right = found.accuracy - found.accuracy_ties_wrong
        rows.append(
            Row(
                **place,
                questions=found.questions,
                tied=found.tied,  # questions
                tied_right=tied_right * found.questions,  # those that option order made right
                accuracy=found.accuracy,
                accuracy_ties_wrong=found.accuracy_ties_wrong,
                accuracy_ties_shared=found.accuracy_ties_shared,
                worth_against_wrong=tied_right,  # what broken ties add to the accuracy
                worth_against_shared=found.accuracy - found.accuracy_ties_shared,
                first_option_accuracy=float((gold == 0).mean()),  # of always choosing the first
                first_chosen=float((cell["choice"].to_numpy() == 0).mean()),
                accuracy_gold_first=mean(right[gold == 0]),
                standard_error_gold_first=standard_error(right[gold == 0]),
                accuracy_gold_elsewhere=mean(right[gold > 0]),
                standard_error_gold_elsewhere=standard_error(right[gold > 0]),
            )
        )
    return rows


def position_rows(answers: Answers) -> list[Row]:
    """The same cells by position of the right option; positions at which it never stands too.

    A model that only prefers positions is right (``accuracy``) as often as it chooses the position
    wherever the right option stands (``chosen``); ``gold_share`` is the accuracy of always choosing
    it.
    """
    rows = []
    for place, cell in cells(answers, last_only=True):
        right, choice = _right(cell), cell["choice"].to_numpy()
        gold = cell["gold"].to_numpy()[: len(right)]
        for position in range(-1 if (gold < 0).any() else 0, max(gold.max(), choice.max()) + 1):
            here = gold == position
            rows.append(
                Row(
                    **place,
                    position=position,
                    questions=int(here.sum()),
                    gold_share=float(here.mean()),
                    chosen=float((choice == position).mean()),
                    accuracy=mean(right[here]),
                    standard_error=standard_error(right[here]),
                )
            )
    return rows


def probe_rows(cultures: Sequence[str], base: str, answers: Answers) -> list[Row]:
    """Every probe that was asked, target-language questions first; what is odd about its questions
    is explained at ``ccx_ray.evaluation.probes.quality``."""
    rows = []
    for culture in cultures:
        for probe in (probe_of(direction, culture, base) for direction in DIRECTIONS):
            asked = _asked(answers, probe)
            if asked.empty:
                continue
            kept = asked[asked["kept"]]
            first = kept["gold"].to_numpy() == 0
            rows.append(
                Row(
                    probe=probe,
                    culture=culture,
                    asked=len(asked),
                    left_out=len(asked) - len(kept),  # scored and stored, but in no number
                    questions=len(kept),
                    chance=float((1 / kept["options"].to_numpy()).mean()),
                    first_option=int(first.sum()),
                    first_option_accuracy=float(first.mean()),
                    no_blank=_having(asked, "no_blank"),
                    several_blanks=_having(asked, "several_blanks"),
                    repeated_option=_having(asked, "repeated_option"),
                    answer_absent=_having(asked, "answer_absent"),
                    identical_sentences=_having(asked, "identical_sentences"),
                    surrounding_space=_having(asked, "surrounding_space"),
                )
            )
    return rows


def left_out_rows(
    exclude: Sequence[QualityKind], probes: Sequence[Row], answers: Answers
) -> list[Row]:
    """How many questions each excluded oddity takes out of each probe; some have several."""
    return [
        Row(probe=row.probe, reason=kind, questions=count)
        for row in probes
        for kind in exclude
        if (count := _having(_asked(answers, row.probe), kind))
    ]


def _right(cell: pd.DataFrame) -> Floats:
    """How far each question is answered rightly, as published, over the seeds, [Q]."""
    right: Floats = by_run(cell, "published").mean(axis=0)
    return right


def _asked(answers: Answers, probe: str) -> pd.DataFrame:
    return answers.asked[answers.asked["probe"] == probe]


def _having(asked: pd.DataFrame, kind: QualityKind) -> int:
    return sum(kind in kinds for kinds in asked["quality"])
