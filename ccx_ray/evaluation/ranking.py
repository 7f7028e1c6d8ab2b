"""From token log-probabilities to scores and a choice, without any model.

A score is in nats and lower is better; what a ``ScoreType`` means:

- ``reference``: mean cross-entropy of all tokens after end-of-text, the published rule.
- ``sum``: of the whole sentence, -log p(sentence).
- ``per_byte``: the sum per UTF-8 byte, which does not reward options of few tokens.
- ``option_sum``, ``option_mean``, ``option_per_byte``: the same of the tokens that the option
  fills, given what stands before them; what stands after the blank does not count.
- ``mutual_information``: -log p(sentence) + log p(option after end-of-text alone). It ranks
  options as the pointwise mutual information of option and question does, because the question's
  own probability is the same for all; an option that is likely anywhere gains nothing by it.

In a question without a blank all options are the same sentence, and tie in every score.

Invariant: options of equal score stay in their published order, so the first of them wins; that
it was a tie is recorded beside the choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccx_ray.evaluation.probes import ProbeItem
from ccx_ray.study.spec import ScoreType


@dataclass(frozen=True, kw_only=True)
class ScoredOption:
    """One option of one question, as a model sees it. Arrays are [T], tokens after end-of-text."""

    token_nats: NDArray[np.float32]
    """-log p of every token, given all before it."""
    option_tokens: NDArray[np.bool_]
    """Which of them hold characters of the option."""
    bytes: int
    """UTF-8 bytes of the filled sentence."""
    option_bytes: int
    """UTF-8 bytes of the option, once for every blank."""
    alone_nats: float
    """-log p(option) after end-of-text alone; 0 without a blank, NaN where nobody asked for it."""
    reference: float
    """The published rule's mean; where options are close, as one pass of one sentence has it."""

    def score(self, kind: ScoreType) -> float:
        """A score in nats, or nats per token or byte; lower is better."""
        if kind == "reference":
            return self.reference
        if kind.startswith("option"):
            nats = float(self.token_nats[self.option_tokens].sum(dtype=np.float64))
            tokens, size = int(self.option_tokens.sum()), self.option_bytes
        else:
            nats = float(self.token_nats.sum(dtype=np.float64))
            tokens, size = len(self.token_nats), self.bytes
        if kind == "mutual_information":
            return nats - self.alone_nats
        if kind.endswith("per_byte"):
            return nats / max(1, size)
        return nats / max(1, tokens) if kind.endswith("mean") else nats


@dataclass(frozen=True, kw_only=True)
class RankedItem:
    """One question with its options ranked. ``scores`` are one per option, lower is better."""

    scores: tuple[float, ...]
    ranking: tuple[int, ...]
    gold: int
    correct: bool
    tied: bool
    """The best score is shared, so the choice was made by option order."""

    @property
    def choice(self) -> int:
        return self.ranking[0]


@dataclass(frozen=True, kw_only=True)
class ScoredItem:
    """One scored question."""

    item: ProbeItem
    index: int
    """Its position in the probe file."""
    options: tuple[ScoredOption, ...]

    def scores(self, kind: ScoreType) -> tuple[float, ...]:
        return tuple(option.score(kind) for option in self.options)

    def ranked(self, kind: ScoreType = "reference") -> RankedItem:
        return rank_options(self.item, self.scores(kind))


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
