"""Orders of the halves of pairs in which no row can hold both halves of a pair: of every half for
itself, and of target halves beside English ones.

Pairs that share a text, directly or over others, are one group, and the halves of a group's two
sides are kept apart. Invariant: distance is measured between the halves, in tokens with their
closing tokens, so the result holds wherever the rows begin.
"""

import numpy as np
import numpy.typing as npt

from ccx_ray.corpus.tokenizing.tokens import Ints

Keys = npt.NDArray[np.uint64]

ROUNDS = 200
"""Of moving halves that stand too close."""


class TooCloseError(Exception):
    """The pairs are too few or too much alike to be kept apart."""


def pair_groups(english: Keys, target: Keys) -> Ints:
    """[pairs] the group of each pair, of which equal digests mean equal halves. Two texts with one
    digest, likely among 4 billion, would only be kept apart for nothing."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(english):
        return np.zeros(0, np.int64)
    # A graph of texts; equal texts of different sides are different nodes.
    ends, nodes = [], 0
    for side in (english, target):
        distinct, node = np.unique(side, return_inverse=True)
        ends.append(node + nodes)
        nodes += len(distinct)
    edges = coo_array((np.ones(len(english), np.int8), tuple(ends)), shape=(nodes, nodes))
    _, components = connected_components(edges, directed=False)
    groups: Ints = components[ends[0]].astype(np.int64)
    return groups


def separated_order(
    *,
    lengths: Ints,
    groups: Ints,
    sides: Ints,
    passes: Ints,
    sequence_length: int,
    random: np.random.Generator,
) -> Ints:
    """An order of halves in which none stands near a half of its group's other side.

    Every half gets a random key in its pass and the keys decide; halves that stand closer than a
    row is long draw a new one, until there are none. Distance is measured between the halves, so
    the result holds wherever the rows begin.

    Args:
        lengths: [halves] tokens without the closing token; the other arrays likewise.

    Raises:
        TooCloseError: there are too few halves for their likeness.
    """
    keys = random.random(len(lengths))
    for _ in range(ROUNDS):
        order = np.lexsort((keys, passes))
        ends = np.empty(len(lengths), np.int64)
        ends[order] = np.cumsum(lengths[order] + 1)
        before, after = _close(ends - lengths - 1, lengths, groups, sides, sequence_length)
        if not len(before):
            return order
        # Which of the two moves is a coin flip: one of them may belong to a crowd.
        moved = np.where(random.random(len(before)) < 0.5, before, after)
        keys[moved] = random.random(len(moved))
    raise TooCloseError(f"{len(before)} halves are still too close after {ROUNDS} rounds")


def deranged_order(
    *,
    lengths: Ints,
    groups: Ints,
    sides: Ints,
    passes: Ints,
    sequence_length: int,
    random: np.random.Generator,
) -> Ints:
    """[pairs] whose target half stands beside the English half of each pair, such that none stands
    near an English half of its group.

    The target halves of a pass are dealt to its English halves at random; those that stand closer
    than a row is long are dealt anew together with as many others of their pass, until there are
    none. Distance is measured between the halves, so the result holds wherever the rows begin.

    Args:
        lengths: [pairs, 2] tokens of the English and of the target half, without closing tokens;
            pairs in the order in which their English halves stand.
        groups: [pairs]
        sides: [pairs, 2] which side stands first, and which second; see ``bridge_sides``.
        passes: [pairs] rising.

    Raises:
        TooCloseError: there are too few pairs for their likeness.
    """
    pairs = len(lengths)
    order = np.lexsort((random.random(pairs), passes))
    first = np.searchsorted(passes, passes)
    sizes = np.searchsorted(passes, passes, side="right") - first
    side = np.repeat([0, 1], pairs)
    for _ in range(ROUNDS):
        shown = np.stack([lengths[:, 0], lengths[order, 1]], axis=1)
        in_order = np.take_along_axis(shown, sides, axis=1)
        ends = np.cumsum(in_order.ravel() + 1, dtype=np.int64).reshape(pairs, 2)
        # English and target again: an order of two sides undoes itself.
        starts = np.take_along_axis(ends - in_order - 1, sides, axis=1)
        before, after = _close(
            starts.T.ravel(),
            shown.T.ravel(),
            np.concatenate([groups, groups[order]]),
            side,
            sequence_length,
        )
        if not len(before):
            return order
        moved = np.maximum(before, after) - pairs
        others = first[moved] + random.integers(0, sizes[moved])
        dealt = np.union1d(moved, others)
        order[dealt] = order[dealt[np.lexsort((random.random(len(dealt)), passes[dealt]))]]
    raise TooCloseError(f"{len(before)} halves are still too close after {ROUNDS} rounds")


def _close(
    starts: Ints, lengths: Ints, groups: Ints, sides: Ints, sequence_length: int
) -> tuple[Ints, Ints]:
    """Neighbouring halves of the two sides of a group that a row could hold together, the one that
    stands before and the one after; none where no two halves of any group are that close."""
    # Sorted by group and place, the nearest halves of two sides are neighbours.
    by_group = np.lexsort((starts, groups))
    before, after = by_group[:-1], by_group[1:]
    last_tokens = starts + lengths - 1
    close = (
        (groups[before] == groups[after])
        & (sides[before] != sides[after])
        & (starts[after] - last_tokens[before] < sequence_length)
    )
    return before[close], after[close]
