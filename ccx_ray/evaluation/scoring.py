"""The published scorer's rule, batched: a filled sentence's mean cross-entropy per token.

The rule (paper, section on probing; its published scorer): prepend the end-of-text token, fill
the blank with an option, average the cross-entropy of all following tokens; the lowest wins.

Invariant: an item's ranking never depends on how its sentences were batched. Equal token
sequences are scored once, so a tie is exact; scores too close for floating-point noise to be told
apart are computed again one sentence at a time.

Shape suffixes: B sentences, T tokens that are predicted, V vocabulary.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import torch
from torch.nn import functional

from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import CausalModel
from ccx_ray.evaluation.probes import Probe
from ccx_ray.evaluation.ranking import RankedItem, rank_options

Sentence = tuple[int, ...]
"""Token ids of a filled question, end-of-text first."""

NEAR_TIE = 1e-4
"""In nats per token. Batching moved no score of the 2,940 questions by more than 3e-6 (CPU, fp32,
0.7 M parameters, scores near 9), a thirtieth of this; one question in 130 was so close."""

IGNORED = -100


def score_probe(
    model: CausalModel,
    probe: Probe,
    *,
    tokens_per_batch: int,
    on_scored: Callable[[int], None] | None = None,
) -> list[RankedItem]:
    """Score and rank every item of a probe.

    Args:
        tokens_per_batch: sentences x longest sentence of one forward pass; a longer sentence is
            passed alone.
        on_scored: called with the number of sentences that were just scored, for a progress bar;
            the numbers add up to ``probe.sentences``.

    Raises:
        UserError: a filled question is longer than the model's context, or has no tokens; or the
            model's scores are not finite.
    """
    sentences = encode_probe(model, probe)
    repeats = Counter(sentence for options in sentences for sentence in options)
    scores: dict[Sentence, float] = {}
    for batch in _batches(repeats, tokens_per_batch):
        scores |= zip(batch, score_sentences(model, batch), strict=True)
        if on_scored is not None:
            on_scored(sum(repeats[sentence] for sentence in batch))
    for options in sentences:
        if _near_tie([scores[sentence] for sentence in set(options)]):
            for sentence in set(options):
                (scores[sentence],) = score_sentences(model, [sentence])
    return [
        rank_options(item, [scores[sentence] for sentence in options])
        for item, options in zip(probe.items, sentences, strict=True)
    ]


def encode_probe(model: CausalModel, probe: Probe) -> list[list[Sentence]]:
    """Token ids of every filled question: item -> option -> ids.

    Raises:
        UserError: see ``score_probe``.
    """
    texts = [item.fill(option) for item in probe.items for option in item.options]
    encoded = iter(model.tokenizer(texts, add_special_tokens=False)["input_ids"])
    sentences = [
        [(model.end_of_text, *next(encoded)) for _ in item.options] for item in probe.items
    ]
    for index, options in enumerate(sentences):
        for number, sentence in enumerate(options, start=1):
            place = f"{probe.name}, item {index}, option {number}"
            if len(sentence) < 2:
                raise UserError(f"{place}: the tokenizer of {model.folder} makes no token of it")
            if model.context is not None and len(sentence) > model.context:
                raise UserError(
                    f"{place}: {len(sentence)} tokens with end-of-text, but the context of "
                    f"{model.folder} is {model.context}; shorten the question"
                )
    return sentences


def score_sentences(model: CausalModel, sentences: Sequence[Sentence]) -> list[float]:
    """Mean cross-entropy in nats of the tokens after the first, of sentences in one forward pass.

    Raises:
        UserError: a score is not finite, so the model's weights are broken.
    """
    width = max(map(len, sentences)) - 1
    # The last token is only predicted. Leaving it out of the input, which a causal model cannot
    # notice, makes logits and targets the same shape, so that no copy of the logits is cut.
    inputs_BT = torch.zeros((len(sentences), width), dtype=torch.long)
    targets_BT = torch.full((len(sentences), width), IGNORED)
    for row, sentence in enumerate(sentences):
        inputs_BT[row, : len(sentence) - 1] = torch.tensor(sentence[:-1])
        targets_BT[row, : len(sentence) - 1] = torch.tensor(sentence[1:])
    mask_BT = (targets_BT != IGNORED).long()
    with torch.inference_mode():
        logits_BTV = model.network(
            input_ids=inputs_BT.to(model.device),
            attention_mask=mask_BT.to(model.device),
            use_cache=False,
        ).logits
        targets_BT = targets_BT.to(model.device)
        # A sentence at a time: its log-softmax stays in the processor's cache, and no second
        # array of the logits' size is made.
        means_B = torch.stack(
            [
                functional.cross_entropy(logits_TV.float(), targets_T, ignore_index=IGNORED)
                for logits_TV, targets_T in zip(logits_BTV, targets_BT, strict=True)
            ]
        )
    scores: list[float] = means_B.double().cpu().tolist()
    if not torch.isfinite(means_B).all():
        raise UserError(f"{model.folder}: its scores are not finite; the weights are broken")
    return scores


def _batches(sentences: Iterable[Sentence], tokens_per_batch: int) -> Iterator[list[Sentence]]:
    """Sentences of like length together, longest first, so that memory peaks at the start."""
    batch: list[Sentence] = []
    for sentence in sorted(sentences, key=lambda s: (-len(s), s)):
        if batch and (len(batch) + 1) * len(batch[0]) > tokens_per_batch:
            yield batch
            batch = []
        batch.append(sentence)
    if batch:
        yield batch


def _near_tie(scores: Sequence[float]) -> bool:
    """Whether two distinct sentences of an item are too close to rank by batched scores."""
    ordered = sorted(scores)
    return any(high - low < NEAR_TIE for low, high in pairwise(ordered))
