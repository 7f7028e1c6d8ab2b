"""What an accuracy has to be held against: chance, the first option, and items that are not clean.

Invariant: everything is read off the answers, so it describes the probes that were really asked.
An item whose options all score alike in every run has no blank; one with some equal scores in
every run repeats an option.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ccx_ray.analysis.inputs import Answers
from ccx_ray.analysis.transfer import DIRECTIONS, probe_of


@dataclass(frozen=True, kw_only=True)
class ProbeRow:
    """One probe, as it was asked."""

    probe: str
    culture: str
    questions: int
    chance: float
    """Expected accuracy of a random choice."""
    first_option: int
    """Questions whose right answer is the first option."""
    first_option_accuracy: float
    """Accuracy of always choosing the first option, which is also how a tie is broken."""
    all_options_equal: int
    """Questions without a blank: every filled sentence is the same."""
    repeated_option: int
    answer_absent: int
    """Questions whose answer is not among the options: never right."""


def probe_rows(cultures: Sequence[str], base: str, answers: Answers) -> list[ProbeRow]:
    """Every probe that was asked, target-language questions first."""
    rows = []
    for culture in cultures:
        for direction in DIRECTIONS:
            probe = probe_of(direction, culture, base)
            asked = answers.of_probe(probe)
            if not asked:
                continue
            one = asked[0]
            equal_pairs = np.min([answered.equal_pairs for answered in asked], axis=0)
            all_equal = equal_pairs == one.options - 1
            rows.append(
                ProbeRow(
                    probe=probe,
                    culture=culture,
                    questions=len(one.question),
                    chance=float((1 / one.options).mean()),
                    first_option=int((one.gold == 0).sum()),
                    first_option_accuracy=float((one.gold == 0).mean()),
                    all_options_equal=int(all_equal.sum()),
                    repeated_option=int(((equal_pairs > 0) & ~all_equal).sum()),
                    answer_absent=int((one.gold < 0).sum()),
                )
            )
    return rows
