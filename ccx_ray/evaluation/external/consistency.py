"""RankC between probe files that were scored by one model.

Invariant: two files are compared only where their items can be the same questions: as many in the
file, with as many options each. Of items that one of them lost, neither counts.
"""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from ccx_ray.errors import UserError
from ccx_ray.evaluation.probes import Probe
from ccx_ray.evaluation.rank_consistency import CONSISTENCY_WEIGHTS, rank_consistency
from ccx_ray.evaluation.ranking import ScoredItem
from ccx_ray.study.spec import ScoreType


def parallel_pairs(probes: Sequence[Probe]) -> list[tuple[int, int]]:
    """Which of the files, by their place, can be versions of one another.

    Raises:
        UserError: no two of them can.
    """
    shapes = [
        (len(probe.items) + len(probe.left_out), _options(probe.indexes, probe.items))
        for probe in probes
    ]
    pairs = [
        (one, other)
        for one, other in combinations(range(len(probes)), 2)
        if shapes[one][0] == shapes[other][0] and _agree(shapes[one][1], shapes[other][1])
    ]
    if not pairs:
        raise UserError(
            "--consistency: no two of the files have the same number of questions and of options; "
            "give versions of the same questions in two languages"
        )
    return pairs


def consistency_of_pairs(
    files: Sequence[Path],
    scored: Sequence[Sequence[ScoredItem]],
    pairs: Sequence[tuple[int, int]],
    kind: ScoreType,
) -> list[dict[str, Any]]:
    """``{"files", "questions", "softmax", "norm1", "norm2"}`` of every pair: the mean of each."""
    rankings = [{one.index: one.ranked(kind).ranking for one in items} for items in scored]
    found = []
    for one, other in pairs:
        shared = sorted(rankings[one].keys() & rankings[other].keys())
        if not shared:
            continue
        values: dict[str, float] = {
            weights: float(
                rank_consistency(
                    [rankings[one][index] for index in shared],
                    [rankings[other][index] for index in shared],
                    weights,
                ).mean()
            )
            for weights in CONSISTENCY_WEIGHTS
        }
        names = [str(files[one]), str(files[other])]
        found.append({"files": names, "questions": len(shared), **values})
    return found


def _options(indexes: Sequence[int], items: Sequence[Any]) -> dict[int, int]:
    return {index: len(item.options) for index, item in zip(indexes, items, strict=True)}


def _agree(one: dict[int, int], other: dict[int, int]) -> bool:
    shared = one.keys() & other.keys()
    return bool(shared) and all(one[index] == other[index] for index in shared)
