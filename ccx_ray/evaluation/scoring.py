"""Scores of every option of every question: the published scorer's rule, and others beside it.

The rule (paper, section on probing; its published scorer): prepend the end-of-text token, fill
the blank with an option, average the cross-entropy of all following tokens; the lowest wins.

Invariants: a sentence is encoded whole, as the published scorer does it; which of its tokens belong
to the option is told by the characters that they stand for, never by encoding the parts. Questions
of lm-evaluation-harness are encoded as it does that, so that its accuracies come out. A ranking
never depends on how sentences were batched. Equal token sequences are scored
once, so a tie is exact; options too close for floating-point noise to be told apart are computed
again one sentence at a time, as the published scorer does.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from ccx_ray.errors import UserError
from ccx_ray.evaluation.forward import Floats, find_passes, lay_out, score_alone, score_in_batches
from ccx_ray.evaluation.model_tokenizer import encode_texts, tokens_of_span
from ccx_ray.evaluation.models import CausalModel, Sentence
from ccx_ray.evaluation.prefix import Prefix, harness_token, published_prefix
from ccx_ray.evaluation.probes import LeftOut, Probe, ProbeItem, load_probe, shown
from ccx_ray.evaluation.results import SCORE_TYPES, ScoredItem, ScoredOption
from ccx_ray.study.spec import ScoreType

NEAR_TIE = {torch.float32: 3e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}
"""In nats per token, by the precision of the weights. In fp32 batching moved no score of the 2,940
questions by more than 3e-6 (CPU, 0.7 and 1.1 M parameters, scores near 9), a tenth of this; each
close question costs a pass a sentence, so a wider margin would be felt."""

Nats = dict[Sentence, Floats]


@dataclass(frozen=True, kw_only=True)
class EncodedItem:
    """The sentences of one question; each tuple holds one entry an option."""

    filled: tuple[Sentence, ...]
    option_tokens: tuple[NDArray[np.bool_], ...]
    """[T] which tokens after the first hold characters of the option."""
    alone: tuple[Sentence, ...]
    """The options by themselves; empty where there is no blank or nobody asks for it."""

    @property
    def distinct(self) -> list[Sentence]:
        return sorted({*self.filled, *self.alone})


@dataclass(frozen=True, kw_only=True)
class EncodedProbe:
    """A probe for one tokenizer; items of ``probe`` and ``items`` stand in the same order."""

    probe: Probe
    items: tuple[EncodedItem, ...]


_encoded_files: WeakKeyDictionary[Any, dict[tuple[str, Path], EncodedProbe]] = WeakKeyDictionary()
"""By tokenizer, which checkpoints of one training share."""


def encode_probe_file(model: CausalModel, name: str, file: Path) -> EncodedProbe:
    """Encode a probe file, once for a tokenizer; see ``load_probe`` and ``encode_probe``."""
    known = _encoded_files.setdefault(model.tokenizer, {})
    if (name, file) not in known:
        known[name, file] = encode_probe(model, load_probe(file, name))
    return known[name, file]


def encode_probe(
    model: CausalModel,
    probe: Probe,
    *,
    prefix: Prefix | None = None,
    alone: bool = True,
    lenient: bool = False,
) -> EncodedProbe:
    """Encode every filled question.

    Args:
        prefix: what stands before every sentence of a cloze question; by default end-of-text.
        alone: encode the options by themselves too, for mutual information.
        lenient: leave items that cannot be scored out and list them, instead of refusing.

    Raises:
        UserError: a filled question is longer than the model's context, or has no tokens.
    """
    clozes = [item for item in probe.items if item.context is None]
    texts = [item.fill(option) for item in clozes for option in item.options]
    encoded = iter(encode_texts(model.tokenizer, texts))
    options = [option for item in clozes if item.blanks for option in item.options]
    by_themselves = iter(encode_texts(model.tokenizer, options) if alone else ())
    items: list[EncodedItem] = []
    kept: list[int] = []
    left_out = list(probe.left_out)
    for number, item in enumerate(probe.items):
        try:
            if item.context is None:
                before = prefix or published_prefix(model)
                one = _cloze(model, item, before, encoded, by_themselves if alone else None)
            else:
                one = _continuations(model, item, item.context, alone=alone)
            _check(model, one)
        except ValueError as error:
            index = probe.indexes[number]
            if not lenient:
                raise UserError(f"{probe.name}, item {index}, {error}") from None
            left_out.append(LeftOut(index=index, reason=str(error)))
        else:
            items.append(one)
            kept.append(number)
    if not items:
        raise UserError(f"{probe.name}: none of its items can be scored by {model.folder}")
    kept_probe = replace(
        probe,
        items=tuple(probe.items[number] for number in kept),
        indexes=tuple(probe.indexes[number] for number in kept),
        left_out=tuple(sorted(left_out, key=lambda one: one.index)),
    )
    return EncodedProbe(probe=kept_probe, items=tuple(items))


def _cloze(
    model: CausalModel,
    item: ProbeItem,
    prefix: Prefix,
    encoded: Iterator[Any],
    alone: Iterator[Any] | None,
) -> EncodedItem:
    """
    Args:
        encoded: ids and offsets of the item's filled sentences come next.
        alone: and of its options by themselves.
    """
    filled, marks = [], []
    for option in item.options:
        ids, offsets = next(encoded)
        in_option = _in_option(model, item, option, ids, offsets)
        filled.append(prefix.before(ids))
        # The first token of a sentence has no score; it is the prefix where there is one.
        marks.append(in_option[len(ids) - len(filled[-1]) + 1 :])
    by_themselves: tuple[Sentence, ...] = ()
    if item.blanks and alone is not None:
        by_themselves = tuple(prefix.before(next(alone)[0]) for _ in item.options)
    return EncodedItem(filled=tuple(filled), option_tokens=tuple(marks), alone=by_themselves)


def _continuations(
    model: CausalModel, item: ProbeItem, context: str, *, alone: bool
) -> EncodedItem:
    """As lm-evaluation-harness encodes a context and what may follow it (``_encode_pair``).

    Both together are encoded, and as many tokens as the context by itself has are cut off and
    replaced by the context's own, which need not be the same ones: an end-of-sequence token that
    the tokenizer adds stands behind the context, too. Nothing stands before a context but what the
    tokenizer itself puts there; before an empty one the beginning-of-sequence token does, or the
    end-of-sequence token where there is none.

    Raises:
        ValueError: the context or an option has no token.
    """
    tokenizer, first = model.tokenizer, harness_token(model)
    before_nothing = Prefix(token=first, reason="", repeated=False)
    spelled = None if first is None else tokenizer.decode(first)

    def encode(text: str) -> list[int]:
        if spelled is not None and text.startswith(spelled):
            return list(tokenizer.encode(text, add_special_tokens=False))
        return list(tokenizer.encode(text))

    def begun(text: str) -> Sentence:
        return before_nothing.before(tokenizer.encode(text, add_special_tokens=False))

    sentences = [item.fill(option) for option in item.options]
    by_themselves: list[Sentence] = []
    if alone or not context:
        by_themselves = [begun(sentence[len(context) :]) for sentence in sentences]
    if not context:
        if first is None:
            raise ValueError("context: empty, and the tokenizer has no bos_token and no eos_token")
        filled, given = by_themselves, 1
    else:
        # Spaces at its end belong to what follows, as tokens often begin with one.
        of_context = encode(context.rstrip())
        given = len(of_context)
        filled = [tuple(of_context + encode(sentence)[given:]) for sentence in sentences]
        if not given:
            raise ValueError(f"context: {shown(context)} has no token")
    for number, sentence in enumerate(filled, start=1):
        if len(sentence) <= given:
            raise ValueError(f"option {number}: adds no token after the context")
    return EncodedItem(
        filled=tuple(filled),
        option_tokens=tuple(np.arange(1, len(sentence)) >= given for sentence in filled),
        alone=tuple(by_themselves) if alone else (),
    )


def _in_option(
    model: CausalModel, item: ProbeItem, option: str, ids: Sequence[int], offsets: Any
) -> NDArray[np.bool_]:
    """[T] which tokens of the filled question hold characters of the option.

    Args:
        offsets: of its tokens; None where the tokenizer keeps none.
    """
    marks = np.zeros(len(ids), np.bool_)
    if offsets is None:
        for begin, end in item.spans(option):
            marks[tokens_of_span(model.tokenizer, ids, item.fill(option), begin, end)] = True
        return marks
    starts, ends = np.array(offsets, dtype=np.int64).reshape(-1, 2).T
    for begin, end in item.spans(option):
        marks |= (starts < end) & (ends > begin)
    return marks


def _check(model: CausalModel, item: EncodedItem) -> None:
    for number, sentence in enumerate(item.filled, start=1):
        if len(sentence) < 2:
            raise ValueError(
                f"option {number}: the tokenizer of {model.folder} gives it no token with a "
                "token before it"
            )
        if model.context is not None and len(sentence) > model.context:
            raise ValueError(
                f"option {number}: {len(sentence)} tokens with end-of-text, but the context of "
                f"{model.folder} is {model.context}; shorten the question"
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
            # One sentence a pass: the means in fp32, and nats of the tokens.
            alone = {sentence: score_alone(model, sentence) for sentence in own.distinct}
            means = {sentence: mean for sentence, (mean, _) in alone.items()}
            by_token = {sentence: found for sentence, (_, found) in alone.items()}
            options = _options(item, own, by_token, means)
        scored.append(ScoredItem(item=item, index=index, options=options))
    return scored


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
