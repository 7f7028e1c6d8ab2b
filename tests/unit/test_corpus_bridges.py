"""Which pairs are drawn, and how halves are kept apart."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccx_ray.corpus.packing.mixing import bridge_bounds, bridge_sides, draw_pairs
from ccx_ray.corpus.packing.separation import (
    TooCloseError,
    deranged_order,
    pair_groups,
    separated_order,
)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_pairs_that_share_a_text_over_others_are_one_group() -> None:
    pairs = [
        ("Hi", "안녕"),
        ("Hello", "안녕"),
        ("Hello", "여보세요"),
        ("Bye", "잘가"),
        ("안녕", "x"),
    ]
    numbers = {text: i for i, text in enumerate(sorted({half for pair in pairs for half in pair}))}
    sides = [np.array([numbers[pair[side]] for pair in pairs], np.uint64) for side in (0, 1)]
    groups = pair_groups(*sides)
    assert groups[0] == groups[1] == groups[2]
    assert len(set(groups.tolist())) == 3, "an English half equal to a target half joins nothing"
    assert len(pair_groups(sides[0][:0], sides[1][:0])) == 0


@given(
    st.lists(st.integers(2, 40), min_size=1, max_size=30), st.integers(0, 600), st.integers(0, 5)
)
def test_drawn_pairs_never_exceed_the_capacity(
    lengths: list[int], capacity: int, seed: int
) -> None:
    passes = draw_pairs(np.array(lengths), capacity, random(seed))
    used = sum(lengths[pair] for drawn in passes for pair in drawn)
    assert used <= capacity
    if sum(lengths) <= capacity:
        assert len(passes) == capacity // sum(lengths)
        assert all(sorted(drawn.tolist()) == list(range(len(lengths))) for drawn in passes)
    else:
        drawn = passes[0].tolist() if passes else []
        assert len(set(drawn)) == len(drawn)
        left_out = [n for pair, n in enumerate(lengths) if pair not in drawn]
        assert min(left_out) > capacity - used, "no pair that is left out would have fitted"


def test_the_order_of_halves() -> None:
    assert bridge_sides(3, "english-first", random()).tolist() == [[0, 1]] * 3
    sides = bridge_sides(1000, "random", random())
    assert (sides.sum(axis=1) == 1).all()
    assert 400 < sides[:, 0].sum() < 600


def assert_apart(units: list[tuple[int, int, int]], window: int) -> None:
    """No window of the tape of (group, side, tokens) holds both sides of a group."""
    tape = [
        (group, side) if token < tokens else None
        for group, side, tokens in units
        for token in range(tokens + 1)
    ]
    inside: Counter[tuple[int, int]] = Counter()
    for position, unit in enumerate(tape):
        leaving = tape[position - window] if position >= window else None
        if leaving is not None:
            inside[leaving] -= 1
        if unit is not None:
            inside[unit] += 1
            assert not inside[(unit[0], 1 - unit[1])]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 3), st.integers(1, 30))
def test_halves_of_a_group_never_share_a_window(seed: int, passes: int, longest: int) -> None:
    """Checked over every window of a row's length, whatever the rows' beginnings."""
    pairs, window = 200, 24
    draw = random(seed)
    lengths = np.tile(draw.integers(1, longest + 1, 2 * pairs), passes)
    groups = np.tile(np.tile(draw.integers(0, 150, pairs), 2), passes)
    sides = np.tile(np.repeat([0, 1], pairs), passes)
    pass_of = np.repeat(np.arange(passes), 2 * pairs)
    order = separated_order(
        lengths=lengths,
        groups=groups,
        sides=sides,
        passes=pass_of,
        sequence_length=window,
        random=draw,
    )
    assert sorted(order.tolist()) == list(range(len(lengths)))
    assert (np.diff(pass_of[order]) >= 0).all()
    assert_apart([(int(groups[h]), int(sides[h]), int(lengths[h])) for h in order], window)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 3), st.integers(1, 30))
def test_halves_beside_others_never_share_a_window_with_their_own(
    seed: int, passes: int, longest: int
) -> None:
    """English halves stand as in bridge, target halves of every pass beside others of it."""
    pairs, window = 200, 24
    draw = random(seed)
    lengths = draw.integers(1, longest + 1, (passes * pairs, 2))
    groups = np.tile(draw.integers(0, 150, pairs), passes)
    sides = bridge_sides(passes * pairs, "random", draw)
    pass_of = np.repeat(np.arange(passes), pairs)
    order = deranged_order(
        lengths=lengths,
        groups=groups,
        sides=sides,
        passes=pass_of,
        sequence_length=window,
        random=draw,
    )
    assert sorted(order.tolist()) == list(range(passes * pairs))
    assert (pass_of[order] == pass_of).all()
    units = [
        (int(groups[pair]), side, int(lengths[pair, side]))
        for slot, target in enumerate(order)
        for side in sides[slot].tolist()
        for pair in [(slot, target)[side]]
    ]
    assert_apart(units, window)


def test_targets_are_dealt_by_the_generator() -> None:
    arguments = {
        "lengths": np.full((100, 2), 5),
        "groups": np.arange(100),
        "sides": bridge_sides(100, "english-first", random()),
        "passes": np.zeros(100, np.int64),
        "sequence_length": 24,
    }
    orders = [deranged_order(**arguments, random=random(seed)).tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    moved = np.abs(np.array(orders[0]) - np.arange(100))
    assert moved.min() > 1, "a translation is at least two sentences away"
    assert moved.mean() > 20, "and anywhere, not merely the next that is far enough"


def test_too_few_pairs_are_an_error_not_a_leak() -> None:
    with pytest.raises(TooCloseError):
        separated_order(
            lengths=np.array([5, 5]),
            groups=np.zeros(2, np.int64),
            sides=np.array([0, 1]),
            passes=np.zeros(2, np.int64),
            sequence_length=64,
            random=random(),
        )
    with pytest.raises(TooCloseError):
        deranged_order(
            lengths=np.full((3, 2), 5),
            groups=np.arange(3),
            sides=bridge_sides(3, "english-first", random()),
            passes=np.zeros(3, np.int64),
            sequence_length=64,
            random=random(),
        )


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=80),
    st.integers(8, 40),
)
def test_a_bridge_meets_in_exactly_one_row(pairs: list[tuple[int, int]], length: int) -> None:
    """Also where a pair is longer than a row."""
    starts = np.cumsum([0, *(first + second + 2 for first, second in pairs)])
    separators = starts[:-1] + [first for first, _ in pairs]
    bounds = bridge_bounds(separators, int(starts[-1]), length)
    assert (bounds[0], bounds[-1]) == (0, starts[-1])
    rows = np.diff(bounds)
    assert rows.max() <= length
    assert rows[:-1].min(initial=length) >= length - 2
    row_of = np.repeat(np.arange(len(rows)), rows)
    for start, (first, second) in zip(starts, pairs, strict=False):
        one = set(row_of[start : start + first])
        other = set(row_of[start + first + 1 : start + first + 1 + second])
        assert len(one & other) == 1
