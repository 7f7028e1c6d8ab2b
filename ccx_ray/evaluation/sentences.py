"""The token ids that a model is asked about: every question with every option filled in.

Invariant: a sentence is encoded whole, as the published scorer does it; which of its tokens belong
to the option is told by the characters that they stand for, never by encoding the parts. Questions
of lm-evaluation-harness are encoded as it does that, so that its accuracies come out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import CausalModel
from ccx_ray.evaluation.probes import LeftOut, Probe, ProbeItem, shown

Sentence = tuple[int, ...]
"""Token ids of a text, after one that is given: end-of-text, or the first token of a context."""


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


def encode_probe(
    model: CausalModel, probe: Probe, *, alone: bool = True, lenient: bool = False
) -> EncodedProbe:
    """Encode every filled question.

    Args:
        alone: encode the options by themselves too, for mutual information.
        lenient: leave items that cannot be scored out and list them, instead of refusing.

    Raises:
        UserError: a filled question is longer than the model's context, or has no tokens.
    """
    clozes = [item for item in probe.items if item.context is None]
    texts = [item.fill(option) for item in clozes for option in item.options]
    encoded = iter(zip(*_encode(model, texts), strict=True))
    options = [option for item in clozes if item.blanks for option in item.options]
    by_themselves = iter(_encode(model, options)[0] if alone and options else ())
    items: list[EncodedItem] = []
    kept: list[int] = []
    left_out = list(probe.left_out)
    for number, item in enumerate(probe.items):
        try:
            if item.context is None:
                one = _cloze(model, item, encoded, by_themselves if alone else None)
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
    model: CausalModel, item: ProbeItem, encoded: Iterator[Any], alone: Iterator[Any] | None
) -> EncodedItem:
    """
    Args:
        encoded: ids and offsets of the item's filled sentences come next.
        alone: and of its options by themselves.
    """
    filled, marks = [], []
    for option in item.options:
        ids, offsets = next(encoded)
        filled.append((model.end_of_text, *ids))
        marks.append(_in_option(item, option, offsets))
    by_themselves: tuple[Sentence, ...] = ()
    if item.blanks and alone is not None:
        by_themselves = tuple((model.end_of_text, *next(alone)) for _ in item.options)
    return EncodedItem(filled=tuple(filled), option_tokens=tuple(marks), alone=by_themselves)


def _continuations(
    model: CausalModel, item: ProbeItem, context: str, *, alone: bool
) -> EncodedItem:
    """As lm-evaluation-harness encodes a context and what may follow it (``_encode_pair``).

    Nothing stands before a context but what the tokenizer itself puts there; before an empty one
    the beginning-of-sequence token does, or the end-of-sequence token where there is none.

    Raises:
        ValueError: the context or an option has no token.
    """
    tokenizer = model.tokenizer
    first = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    first = model.end_of_text if first is None else first
    special = not context.startswith(tokenizer.decode([first]))

    def encode(text: str, *, special: bool) -> Sentence:
        return tuple(tokenizer(text, add_special_tokens=special)["input_ids"])

    def begun(text: str) -> Sentence:
        ids = encode(text, special=False)
        return ids if ids[:1] == (first,) else (first, *ids)

    sentences = [item.fill(option) for option in item.options]
    by_themselves = [begun(sentence[len(context) :]) for sentence in sentences]
    if not context:
        filled, given = by_themselves, 1
    else:
        filled = [encode(sentence, special=special) for sentence in sentences]
        # Spaces at its end belong to what follows, as tokens often begin with one.
        given = len(encode(context.rstrip(), special=special)) if context.strip() else 0
        if not given:
            raise ValueError(f"context: {shown(context)} has no token")
    for number, sentence in enumerate(filled, start=1):
        if len(sentence) <= given:
            raise ValueError(f"option {number}: no token of its own behind the context")
    return EncodedItem(
        filled=tuple(filled),
        option_tokens=tuple(np.arange(1, len(sentence)) >= given for sentence in filled),
        alone=tuple(by_themselves) if alone else (),
    )


def _encode(model: CausalModel, texts: list[str]) -> tuple[list[list[int]], list[Any]]:
    """Ids and ``(start, end)`` characters of every token of every text."""
    if model.tokenizer.is_fast:
        # Not by way of Transformers, whose conversion of the result takes longer than the model.
        backend = model.tokenizer.backend_tokenizer
        # Which some tokenizer.json ask for, left over from a training.
        backend.no_truncation()
        backend.no_padding()
        found = backend.encode_batch(texts, add_special_tokens=False)
        return [one.ids for one in found], [one.offsets for one in found]
    # Tokenizers in Python keep no offsets; the text before each token's end is decoded instead.
    ids = model.tokenizer(texts, add_special_tokens=False)["input_ids"]
    return ids, [_decoded_offsets(model, one) for one in ids]


def _decoded_offsets(model: CausalModel, ids: list[int]) -> list[tuple[int, int]]:
    ends = [len(model.tokenizer.decode(ids[:count])) for count in range(len(ids) + 1)]
    return list(pairwise(ends))


def _in_option(item: ProbeItem, option: str, offsets: Any) -> NDArray[np.bool_]:
    starts, ends = np.array(offsets, dtype=np.int64).reshape(-1, 2).T
    marks = np.zeros(len(starts), np.bool_)
    for begin, end in item.spans(option):
        marks |= (starts < end) & (ends > begin)
    return marks


def _check(model: CausalModel, item: EncodedItem) -> None:
    for number, sentence in enumerate(item.filled, start=1):
        if len(sentence) < 2:
            raise ValueError(
                f"option {number}: the tokenizer of {model.folder} makes no token of it"
            )
        if model.context is not None and len(sentence) > model.context:
            raise ValueError(
                f"option {number}: {len(sentence)} tokens with end-of-text, but the context of "
                f"{model.folder} is {model.context}; shorten the question"
            )
