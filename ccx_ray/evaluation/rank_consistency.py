"""RankC: whether a model ranks the options of a question alike in two languages.

Accuracies of two languages may be equal though the model knows different things in them; RankC
(Qi, Fernández and Bisazza 2023, "Cross-Lingual Consistency of Factual Knowledge in Multilingual
Language Models") compares the rankings themselves, right or wrong.

Of a question with K options it is the mean over j = 1 ... K, weighted, of the share of the j best
options of one language that are among the j best of the other. With ``softmax`` the weight of j is
proportional to exp(K - j), with ``norm1`` to K - j + 1, with ``norm2`` to its square.

Invariants: options are compared by their place in the question, so option i of both must mean the
same. Tied options stay in their order, which makes questions that are all ties consistent. Two
files are compared only where their items can be the same questions: as many in the file, with as
many options each; of items that one of them lost, neither counts.
"""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ccx_ray.errors import UserError
from ccx_ray.evaluation.probes import Probe
from ccx_ray.evaluation.results import padded, rankings
from ccx_ray.study.spec import ScoreType

ConsistencyWeights = Literal["softmax", "norm1", "norm2"]
CONSISTENCY_WEIGHTS: tuple[ConsistencyWeights, ...] = get_args(ConsistencyWeights)


def rank_consistency(
    rankings_one: Sequence[Sequence[int]],
    rankings_other: Sequence[Sequence[int]],
    weights: ConsistencyWeights = "softmax",
) -> NDArray[np.float64]:
    """RankC of every question, [Q], between 0 and 1; their mean is the RankC of two languages.

    Args:
        rankings_one: option indices of every question, best first.

    Raises:
        ValueError: the two have not the same questions, or not the same options.
    """
    if len(rankings_one) != len(rankings_other):
        raise ValueError(f"{len(rankings_one)} questions and {len(rankings_other)}")
    pairs = enumerate(zip(rankings_one, rankings_other, strict=True))
    values = [_of_question(number, one, other, weights) for number, (one, other) in pairs]
    return np.array(values, np.float64)


def rank_consistency_of(
    rows_one: pa.Table,
    rows_other: pa.Table,
    kind: ScoreType,
    weights: ConsistencyWeights = "softmax",
) -> NDArray[np.float64]:
    """RankC of every question of two parallel probes at one checkpoint, [Q] in row order.

    Args:
        rows_one: of ``results.SCHEMA``, such as the rows of ``ko-en`` of a trial and step; the
            columns ``question`` and ``kind``, the score that ranks, are read.

    Raises:
        ValueError: the two have not the same questions in the same order, or not the same options.
    """
    if rows_one["question"].to_pylist() != rows_other["question"].to_pylist():
        raise ValueError("the two tables have different questions, or another order")
    return rank_consistency(_rankings(rows_one, kind), _rankings(rows_other, kind), weights)


def parallel_pairs(probes: Sequence[Probe]) -> list[tuple[int, int]]:
    """Which probe files, by their place, can be versions of one another.

    Raises:
        UserError: no two of them can.
    """
    sizes = [len(probe.items) + len(probe.left_out) for probe in probes]
    options = [
        {index: len(item.options) for index, item in zip(probe.indexes, probe.items, strict=True)}
        for probe in probes
    ]
    pairs = []
    for one, other in combinations(range(len(probes)), 2):
        shared = options[one].keys() & options[other].keys()
        alike = all(options[one][index] == options[other][index] for index in shared)
        if sizes[one] == sizes[other] and shared and alike:
            pairs.append((one, other))
    if not pairs:
        raise UserError(
            "--consistency: no two of the files have the same number of questions and of options; "
            "give versions of the same questions in two languages"
        )
    return pairs


def consistency_of_pairs(
    files: Sequence[Path],
    tables: Sequence[pa.Table],
    pairs: Sequence[tuple[int, int]],
    kind: ScoreType,
) -> list[dict[str, Any]]:
    """``{"files", "questions", "softmax", "norm1", "norm2"}`` of every pair: the mean of each.

    Args:
        tables: the rows of each file, of ``results.SCHEMA``.
    """
    found = []
    for pair in pairs:
        one, other = (tables[place] for place in pair)
        one, other = (
            rows.filter(pc.is_in(rows["question"], value_set=theirs["question"].combine_chunks()))
            for rows, theirs in ((one, other), (other, one))
        )
        if not one.num_rows:
            continue
        values: dict[str, float] = {
            weights: float(rank_consistency_of(one, other, kind, weights).mean())
            for weights in CONSISTENCY_WEIGHTS
        }
        names = [str(files[place]) for place in pair]
        found.append({"files": names, "questions": one.num_rows, **values})
    return found


def _rankings(rows: pa.Table, kind: ScoreType) -> list[list[int]]:
    order = rankings(padded(rows[kind], fill=np.inf))
    counts = rows[kind].combine_chunks().value_lengths().to_pylist()
    # Options that are not there score infinity and so come last.
    return [ranking[:count].tolist() for ranking, count in zip(order, counts, strict=True)]


def _of_question(
    number: int, one: Sequence[int], other: Sequence[int], weights: ConsistencyWeights
) -> float:
    options = len(one)
    if sorted(one) != sorted(other) or len(set(one)) != options:
        raise ValueError(f"question {number}: {list(one)} and {list(other)} rank different options")
    place = {option: at for at, option in enumerate(other)}
    # An option is among the j best of both from the worse of its two ranks on.
    arrives = np.array([max(at, place[option]) for at, option in enumerate(one)])
    counts = np.arange(1, options + 1)
    shared = np.searchsorted(np.sort(arrives), counts - 1, side="right") / counts
    return float(shared @ _weights(options, weights))


def _weights(options: int, weights: ConsistencyWeights) -> NDArray[np.float64]:
    left = np.arange(options, 0, -1, dtype=np.float64)
    if weights == "softmax":
        raw = np.exp(left - options)
    else:
        raw = left if weights == "norm1" else left**2
    return np.asarray(raw / raw.sum())
