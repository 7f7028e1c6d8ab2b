"""Scores of every option of every question: the published scorer's rule, and others beside it.

The rule (paper, section on probing; its published scorer): prepend the end-of-text token, fill
the blank with an option, average the cross-entropy of all following tokens; the lowest wins.

Invariant: a ranking never depends on how sentences were batched. Equal token sequences are scored
once, so a tie is exact; options too close for floating-point noise to be told apart are computed
again one sentence at a time, as the published scorer does.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch

from ccx_ray.evaluation.forward import (
    Floats,
    find_passes,
    lay_out,
    score_alone,
    score_in_batches,
)
from ccx_ray.evaluation.models import CausalModel
from ccx_ray.evaluation.probes import Probe, ProbeItem
from ccx_ray.evaluation.results import SCORE_TYPES, ScoredItem, ScoredOption
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
    trees, owners = [], []
    for number, one in enumerate(encoded.items):
        rows = lay_out(one.distinct, passes)
        trees += rows
        owners += [number] * len(rows)
    nats: list[Nats] = [{} for _ in encoded.items]
    for batch in score_in_batches(model, trees, passes, tokens_per_batch):
        sentences = 0
        for place, nats_E in batch:
            paths, owner = trees[place].paths, owners[place]
            nats[owner] |= {sentence: nats_E[path] for sentence, path in paths.items()}
            sentences += sum(sentence in paths for sentence in encoded.items[owner].filled)
        if on_scored is not None:
            on_scored(sentences)
    probe, near = encoded.probe, NEAR_TIE[model.network.dtype]
    scored = []
    for item, index, own, found in zip(
        probe.items, probe.indexes, encoded.items, nats, strict=True
    ):
        options = _options(item, own, found, {})
        if any(_near_tie(options, own, kind, near) for kind in kinds):
            options = _options(item, own, *_alone(model, own))
        scored.append(ScoredItem(item=item, index=index, options=options))
    return scored


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
    noise = near * max(option.summed_tokens(kind) / option.divisor(kind) for option in distinct)
    return any(high - low < noise for low, high in pairwise(scores))
