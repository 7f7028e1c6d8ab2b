"""Two rankings made one: reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009).

Only ranks count, so scores of different kinds need no common scale.
"""

from collections.abc import Sequence

CONSTANT = 60
"""Of the paper."""


def fuse(rankings: Sequence[Sequence[int]]) -> list[tuple[int, float]]:
    """Documents with the sum of 1 / (60 + rank), best first, ties by document.

    Args:
        rankings: documents of each ranking, best first.
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, document in enumerate(ranking, 1):
            scores[document] = scores.get(document, 0.0) + 1 / (CONSTANT + rank)
    return sorted(scores.items(), key=lambda scored: (-scored[1], scored[0]))
