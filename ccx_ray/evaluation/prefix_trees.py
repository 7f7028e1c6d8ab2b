"""Sentences that begin alike, as one row of tokens in which what they share stands once.

The options of a question share all that stands before the blank. A tree of sentences is laid out
depth first: a token may see its ancestors alone, which is a triangle in the order of the row, so
that one masked forward pass has the logits of all of them.

Invariant: along every path the tokens, their positions and what they may see are those of the
sentence by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccx_ray.evaluation.sentences import Sentence

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class PrefixTree:
    """N tokens that go into the model (the last token of a sentence is only predicted), and the E
    predictions that are asked of them."""

    tokens_N: Ints
    positions_N: Ints
    """How many ancestors a token has."""
    ends_N: Ints
    """Where the token's descendants end: those in ``[i + 1, ends[i])`` may see token i."""
    parents_E: Ints
    """The token that each prediction is made at, in rising order."""
    targets_E: Ints
    """The token that is predicted."""
    paths: dict[Sentence, Ints]
    """Sentence -> the predictions of its tokens after the first, [T]."""

    def __len__(self) -> int:
        return len(self.tokens_N)

    @property
    def branches(self) -> bool:
        """Whether it is more than one sentence, so that it needs a mask."""
        return bool((self.ends_N != len(self)).any())


def prefix_tree(sentences: Sequence[Sentence]) -> PrefixTree:
    """The tree of sentences that begin with the same token (end-of-text)."""
    tokens: list[int] = []
    positions: list[int] = []
    ends: list[int] = []
    edges: dict[tuple[int, int], int] = {}  # (token of the row, token predicted) -> number
    numbers: dict[Sentence, list[int]] = {}
    path: list[int] = []
    before: Sentence = ()
    for sentence in sorted(set(sentences)):
        shared = _shared(before, sentence)
        # What follows the branching has seen its last descendant.
        for node in path[min(shared, len(path)) :]:
            ends[node] = len(tokens)
        del path[shared:]
        for position in range(len(path), len(sentence) - 1):
            path.append(len(tokens))
            tokens.append(sentence[position])
            positions.append(position)
            ends.append(0)
        numbers[sentence] = [
            edges.setdefault((node, token), len(edges))
            for node, token in zip(path, sentence[1:], strict=False)
        ]
        before = sentence
    for node in path:
        ends[node] = len(tokens)
    parents, targets = np.array(list(edges), np.int64).reshape(-1, 2).T
    order = np.argsort(parents, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return PrefixTree(
        tokens_N=np.array(tokens, np.int64),
        positions_N=np.array(positions, np.int64),
        ends_N=np.array(ends, np.int64),
        parents_E=parents[order],
        targets_E=targets[order],
        paths={sentence: place[number] for sentence, number in numbers.items()},
    )


def _shared(one: Sentence, other: Sentence) -> int:
    """How many tokens two sentences begin with alike."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))
