"""RankC by hand, its properties, and that of two tables of results."""

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccx_ray.evaluation.probes import ProbeItem
from ccx_ray.evaluation.rank_consistency import (
    CONSISTENCY_WEIGHTS,
    ConsistencyWeights,
    rank_consistency,
    rank_consistency_of,
)
from ccx_ray.evaluation.results import ScoredItem, ScoredOption, probe_results


def test_three_options_by_hand():
    # The best 1 share nothing, the best 2 share option 1, all 3 are shared: 0, 1/2, 1.
    one, other = [[0, 1, 2]], [[1, 2, 0]]
    assert rank_consistency(one, other, "norm1") == pytest.approx([(2 * 0.5 + 1 * 1) / 6])
    assert rank_consistency(one, other, "norm2") == pytest.approx([(4 * 0.5 + 1 * 1) / 14])
    e1, e2, e3 = math.exp(1), math.exp(2), math.exp(3)
    assert rank_consistency(one, other) == pytest.approx([(e2 * 0.5 + e1) / (e1 + e2 + e3)])


def test_questions_may_differ_in_options():
    found = rank_consistency([[1, 0], [0, 1, 2]], [[0, 1], [0, 1, 2]], "norm1")
    assert found == pytest.approx([1 / 3, 1.0])


rankings = st.integers(2, 12).flatmap(
    lambda size: st.tuples(st.permutations(range(size)), st.permutations(range(size)))
)


@given(pair=rankings, weights=st.sampled_from(CONSISTENCY_WEIGHTS))
def test_it_is_what_the_definition_says(
    pair: tuple[list[int], list[int]], weights: ConsistencyWeights
):
    one, other = pair
    size = len(one)
    raw = {
        "softmax": [math.exp(size - j) for j in range(1, size + 1)],
        "norm1": [size - j + 1.0 for j in range(1, size + 1)],
        "norm2": [(size - j + 1.0) ** 2 for j in range(1, size + 1)],
    }[weights]
    expected = sum(
        weight / sum(raw) * len({*one[:j]} & {*other[:j]}) / j
        for j, weight in enumerate(raw, start=1)
    )
    (found,) = rank_consistency([one], [other], weights)
    assert found == pytest.approx(expected)
    assert 0 < found <= 1 + 1e-12
    assert rank_consistency([other], [one], weights) == pytest.approx([found])
    assert (found == pytest.approx(1)) == (one == other)


def test_the_weights_are_those_of_the_paper():
    assert get_args(ConsistencyWeights) == ("softmax", "norm1", "norm2")
    # So many options that exp of their number is no float any more.
    many = list(range(1000))
    assert rank_consistency([many], [many]) == pytest.approx([1.0])


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="2 questions and 1"):
        rank_consistency([[0, 1], [1, 0]], [[0, 1]])
    with pytest.raises(ValueError, match="question 1: "):
        rank_consistency([[0, 1], [1, 0]], [[0, 1], [1, 0, 2]])


def rows(name: str, indexes: tuple[int, ...], scores: list[tuple[float, ...]]):
    def option(score: float) -> ScoredOption:
        return ScoredOption(
            token_nats=np.array([score, 9.0], np.float32),
            option_tokens=np.array([True, False]),
            bytes=2,
            option_bytes=1,
            alone_nats=0.0,
            reference=-score,
        )

    return probe_results(
        "ko-bridge-s0",
        20,
        name,
        [
            ScoredItem(
                item=ProbeItem(question="_", options=tuple("abcd"[: len(one)]), answer="a"),
                index=index,
                options=tuple(map(option, one)),
            )
            for index, one in zip(indexes, scores, strict=True)
        ],
    )


def test_two_tables_of_results():
    one = rows("ko-en", (0, 4), [(3.0, 1.0, 2.0), (1.0, 1.0)])
    other = rows("ko-ko", (0, 4), [(3.0, 2.0, 1.0), (5.0, 6.0)])
    # The best differ, the best two are the same; ties stand in option order.
    expected = [[1, 2, 0], [0, 1]], [[2, 1, 0], [0, 1]]
    assert rank_consistency_of(one, other, "sum") == pytest.approx(rank_consistency(*expected))
    # Another score ranks otherwise: here the other way round.
    turned = [[0, 2, 1], [0, 1]], [[0, 1, 2], [1, 0]]
    assert rank_consistency_of(one, other, "reference", "norm1") == pytest.approx(
        rank_consistency(*turned, "norm1")
    )
    with pytest.raises(ValueError, match="different questions"):
        rank_consistency_of(one, rows("ko-ko", (0, 5), [(1.0, 2.0, 3.0), (1.0, 2.0)]), "sum")
