"""From scores to a choice: the last part of the reference rule, without any model.

Invariant: options of equal score stay in their published order, so the first of them wins; that
it was a tie is recorded beside the choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ccx_ray.evaluation.probes import ProbeItem


@dataclass(frozen=True, kw_only=True)
class RankedItem:
    """One scored question. ``scores`` are mean cross-entropies in nats, one per option."""

    scores: tuple[float, ...]
    ranking: tuple[int, ...]
    gold: int
    correct: bool
    tied: bool
    """The best score is shared, so the choice was made by option order."""

    @property
    def choice(self) -> int:
        return self.ranking[0]


def rank_options(item: ProbeItem, scores: Sequence[float]) -> RankedItem:
    """Rank an item's options by score, lowest first, ties in option order.

    Correct means that the chosen option's *text* is the answer, as the published scorer has it:
    of two repeated options either may be right.
    """
    assert len(scores) == len(item.options)
    ranking = tuple(sorted(range(len(scores)), key=lambda option: scores[option]))
    return RankedItem(
        scores=tuple(scores),
        ranking=ranking,
        gold=item.gold,
        correct=item.options[ranking[0]] == item.answer,
        tied=scores[ranking[0]] == scores[ranking[1]],
    )
