"""The token ids that a model is asked about: every question with every option filled in.

The options of a question share all that stands before the blank, so a ``PrefixTree`` has one row of
tokens for them all, in which what they share stands once. It is laid out depth first: a token may
see its ancestors alone, which is a triangle in the order of the row, so that one masked forward
pass has the logits of every sentence.

Invariants: a sentence is encoded whole, as the published scorer does it; which of its tokens belong
to the option is told by the characters that they stand for, never by encoding the parts. Questions
of lm-evaluation-harness are encoded as it does that, so that its accuracies come out. Along every
path of a tree the tokens, their positions and what they may see are those of the sentence by
itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import CausalModel
from ccx_ray.evaluation.probes import LeftOut, Probe, ProbeItem, load_probe, shown

Ints = NDArray[np.int64]
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


_encoded_files: WeakKeyDictionary[Any, dict[tuple[str, Path], EncodedProbe]] = WeakKeyDictionary()
"""By tokenizer, which checkpoints of one training share."""


def encode_probe_file(model: CausalModel, name: str, file: Path) -> EncodedProbe:
    """Encode a probe file, once for a tokenizer.

    Raises:
        UserError: the file is wrong, or a question cannot be scored.
    """
    known = _encoded_files.setdefault(model.tokenizer, {})
    if (name, file) not in known:
        known[name, file] = encode_probe(model, load_probe(file, name))
    return known[name, file]


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
        alike = (one == other for one, other in zip(before, sentence, strict=False))
        shared = sum(takewhile(bool, alike))
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
