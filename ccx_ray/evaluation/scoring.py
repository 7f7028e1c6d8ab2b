"""Scores of every option of every question: the published scorer's rule, and others beside it.

The rule (paper, section on probing; its published scorer): prepend the end-of-text token, fill
the blank with an option, average the cross-entropy of all following tokens; the lowest wins.

Invariant: a ranking never depends on how sentences were batched. Equal token sequences are scored
once, so a tie is exact; options too close for floating-point noise to be told apart are computed
again one sentence at a time, as the published scorer does.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import torch

from ccx_ray.errors import UserError
from ccx_ray.evaluation.forward import (
    Floats,
    batches,
    find_passes,
    plant_trees,
    predictions,
    score_alone,
)
from ccx_ray.evaluation.models import CausalModel
from ccx_ray.evaluation.prefix_trees import PrefixTree
from ccx_ray.evaluation.probes import Probe, ProbeItem
from ccx_ray.evaluation.ranking import ScoredItem, ScoredOption
from ccx_ray.evaluation.results import SCORE_TYPES
from ccx_ray.evaluation.sentences import EncodedItem, EncodedProbe, Sentence, encode_probe
from ccx_ray.study.spec import ScoreType

NEAR_TIE = {torch.float32: 3e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}
"""In nats per token, by the precision of the weights. In fp32 batching moved no score of the 2,940
questions by more than 3e-6 (CPU, 0.7 and 1.1 M parameters, scores near 9), a tenth of this; each
close question costs a pass a sentence, so a wider margin would be felt."""

Nats = dict[Sentence, Floats]


def score_probe(
    model: CausalModel,
    probe: Probe,
    *,
    tokens_per_batch: int,
    kinds: Sequence[ScoreType] = SCORE_TYPES,
    on_scored: Callable[[int], None] | None = None,
) -> list[ScoredItem]:
    """Score every option of every item of a probe; see ``score_encoded``.

    Raises:
        UserError: a filled question is longer than the model's context, or has no tokens; or the
            model's scores are not finite.
    """
    encoded = encode_probe(model, probe, alone="mutual_information" in kinds)
    return score_encoded(
        model, encoded, tokens_per_batch=tokens_per_batch, kinds=kinds, on_scored=on_scored
    )


def score_encoded(
    model: CausalModel,
    encoded: EncodedProbe,
    *,
    tokens_per_batch: int,
    kinds: Sequence[ScoreType] = SCORE_TYPES,
    on_scored: Callable[[int], None] | None = None,
) -> list[ScoredItem]:
    """Score every option of every item.

    Args:
        tokens_per_batch: rows x longest row of one forward pass; a longer row is passed alone.
        kinds: the scores whose rankings have to be exact.
        on_scored: called with the number of sentences that were just scored, for a progress bar;
            the numbers add up to ``probe.sentences``.

    Raises:
        UserError: the model's scores are not finite.
    """
    passes = find_passes(model)
    nats: list[Nats] = [{} for _ in encoded.items]
    rows = [
        _Row(item=number, tree=tree, sentences=sum(one in tree.paths for one in item.filled))
        for number, item in enumerate(encoded.items)
        for tree in plant_trees(item.distinct, passes)
    ]
    # Trees by themselves: a row of one sentence needs no mask, and may be too long for one.
    trees = [row for row in rows if row.tree.branches]
    single = [row for row in rows if not row.tree.branches]
    for batch in chain(*(batches(kind, _length, tokens_per_batch) for kind in (trees, single))):
        found = predictions(model, [row.tree for row in batch], passes)
        if not all(np.isfinite(nats_E).all() for nats_E in found):
            raise UserError(f"{model.folder}: its scores are not finite; the weights are broken")
        for row, nats_E in zip(batch, found, strict=True):
            nats[row.item] |= {one: nats_E[path] for one, path in row.tree.paths.items()}
        if on_scored is not None:
            on_scored(sum(row.sentences for row in batch))
    probe, near = encoded.probe, NEAR_TIE[model.network.dtype]
    scored = []
    for item, index, sentences, found in zip(
        probe.items, probe.indexes, encoded.items, nats, strict=True
    ):
        options = _options(item, sentences, found, {})
        if any(_near_tie(options, sentences, kind, near) for kind in kinds):
            options = _options(item, sentences, *_alone(model, sentences))
        scored.append(ScoredItem(item=item, index=index, options=options))
    return scored


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A row of a batch, and how many of its question's options it answers."""

    item: int
    tree: PrefixTree
    sentences: int


def _length(row: _Row) -> int:
    return len(row.tree)


def _alone(model: CausalModel, sentences: EncodedItem) -> tuple[Nats, dict[Sentence, float]]:
    """One sentence a pass: nats of the tokens, and the means in fp32."""
    found = {sentence: score_alone(model, sentence) for sentence in sentences.distinct}
    return (
        {sentence: nats for sentence, (_, nats) in found.items()},
        {sentence: mean for sentence, (mean, _) in found.items()},
    )


def _options(
    item: ProbeItem, sentences: EncodedItem, nats: Nats, means: dict[Sentence, float]
) -> tuple[ScoredOption, ...]:
    """
    Args:
        means: the published rule's mean where it was computed so; else it is made of ``nats``.
    """
    options = []
    for place, (option, filled) in enumerate(zip(item.options, sentences.filled, strict=True)):
        token_nats = nats[filled]
        alone = math.nan if item.blanks else 0.0
        if sentences.alone:
            alone = float(nats[sentences.alone[place]].sum(dtype=np.float64))
        options.append(
            ScoredOption(
                token_nats=token_nats,
                option_tokens=sentences.option_tokens[place],
                bytes=len(item.fill(option).encode()),
                option_bytes=len(option.encode()) * item.blanks,
                alone_nats=alone,
                reference=means.get(filled, float(token_nats.mean(dtype=np.float64))),
            )
        )
    return tuple(options)


def _near_tie(
    options: Sequence[ScoredOption], sentences: EncodedItem, kind: ScoreType, near: float
) -> bool:
    """Whether two different sentences are too close to be ranked by batched scores."""
    distinct = dict(zip(sentences.filled, options, strict=True)).values()
    scores = sorted(option.score(kind) for option in distinct)
    noise = near * max(_tokens_per_unit(option, kind) for option in distinct)
    return any(high - low < noise for low, high in pairwise(scores))


def _tokens_per_unit(option: ScoredOption, kind: ScoreType) -> float:
    """Tokens that a score is a sum over, per what it is divided by."""
    if kind in ("reference", "option_mean"):
        return 1.0
    of_option = kind.startswith("option")
    tokens = int(option.option_tokens.sum()) if of_option else len(option.token_nats)
    size = option.option_bytes if of_option else option.bytes
    return tokens / max(1, size) if kind.endswith("per_byte") else float(max(1, tokens))
