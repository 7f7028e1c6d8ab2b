"""The parallel rows of the two conditions: the same sentences, together or apart.

- **bridge**: first half, a separator, second half, end-of-text: one document a pair. Rows end so
  that every pair meets in exactly one row.
- **nobridge**: every half is a document of its own, shuffled, so that no row holds an English half
  together with a target half that it is paired with.

Invariants: both conditions consume the same multiset of halves and, separator and end-of-text
being one token each, equally many tokens, in every row and so in every step. Halves are kept apart
by *group*: pairs that share an English or a target text, directly or over others, are one group (a
sentence of Tatoeba often has several translations), also across the borders of passes.
"""

from bisect import bisect_right
from typing import Literal

import numpy as np
import numpy.typing as npt

from ccx_ray.corpus.tokenizing.tokens import Ints

Keys = npt.NDArray[np.uint64]

ROUNDS = 200
"""Of moving halves that stand too close."""


class TooCloseError(Exception):
    """The pairs are too few or too much alike to be kept apart."""


def pair_groups(english: Keys, target: Keys) -> Ints:
    """[pairs] the group of each pair.

    Args:
        english, target: [pairs] digests of the halves; equal digests mean equal texts. Two texts
            with one digest, likely among 4 billion, would only be kept apart for nothing.
    """
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


def draw_pairs(pair_tokens: Ints, capacity: int, random: np.random.Generator) -> list[Ints]:
    """Passes over pairs that fill ``capacity`` tokens as far as possible without exceeding it.

    Args:
        pair_tokens: [pairs] tokens of a pair with its two closing tokens.

    Returns:
        one seeded subset when there are more pairs than fit; else whole passes over all of them,
        as many as fit; no pass when no pair fits.
    """
    order = random.permutation(len(pair_tokens))
    total = int(pair_tokens.sum())
    if total and total <= capacity:
        return [order, *(random.permutation(order) for _ in range(capacity // total - 1))]
    drawn, left, least = [], capacity, int(pair_tokens.min(initial=capacity + 1))
    for pair in order.tolist():
        if left < least:
            break
        if pair_tokens[pair] <= left:
            drawn.append(pair)
            left -= int(pair_tokens[pair])
    return [np.array(drawn, np.int64)] if drawn else []


def bridge_sides(
    pairs: int, order: Literal["english-first", "random"], random: np.random.Generator
) -> Ints:
    """[pairs, 2] sides (0 English, 1 target) in the order in which a bridge shows them."""
    first = np.zeros(pairs, np.int64) if order == "english-first" else random.integers(0, 2, pairs)
    return np.stack([first, 1 - first], axis=1)


def bridge_bounds(separators: Ints, tokens: int, sequence_length: int) -> Ints:
    """[rows + 1] bounds of rows such that every bridge has both halves in exactly one row.

    A bound between the halves, before or behind the separator, would leave them in two rows; such a
    row ends one or two tokens earlier, which become padding.

    Args:
        separators: positions of the separators on the tape, rising.
        tokens: of the whole tape.
    """
    bounds, between = [0], separators.tolist()
    while bounds[-1] < tokens:
        end = min(bounds[-1] + sequence_length, tokens)
        nearest = bisect_right(between, end) - 1
        if nearest >= 0 and end - between[nearest] <= 1:
            end = between[nearest] - 1
        bounds.append(end)
    return np.array(bounds, np.int64)


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
        starts, last_tokens = ends - lengths - 1, ends - 2
        # Sorted by group and place, the nearest halves of two sides are neighbours.
        by_group = np.lexsort((starts, groups))
        before, after = by_group[:-1], by_group[1:]
        close = (
            (groups[before] == groups[after])
            & (sides[before] != sides[after])
            & (starts[after] - last_tokens[before] < sequence_length)
        )
        if not close.any():
            return order
        # Which of the two moves is a coin flip: one of them may belong to a crowd.
        moved = np.where(random.random(int(close.sum())) < 0.5, before[close], after[close])
        keys[moved] = random.random(len(moved))
    raise TooCloseError(f"{int(close.sum())} halves still stand too close after {ROUNDS} rounds")
