"""-log p of the tokens of many sentences, in as few forward passes as memory allows.

Two savings that not every architecture allows. The options of a question share all that stands
before the blank, so a ``PrefixTree`` has one row of tokens for them all, in which what they share
stands once. It is laid out depth first: a token may see its ancestors alone, which is a triangle in
the order of the row, so that one masked forward pass has the logits of every sentence. And the head
is applied to a slice of tokens at a time, so that no array of the vocabulary's width is larger than
a slice. Both are tried on the loaded model before they are used; a model that gives other numbers
is called plainly, and the log says why.

Invariants: along every path of a tree the tokens, their positions and what they may see are those
of the sentence by itself; a token's -log p is the one of its sentence in a pass of its own, to
rounding; a lack of memory is never taken for a model that cannot do something: the batch is halved,
and a sentence for which that is not enough ends in a ``ModelMemoryError``.

Shape suffixes: B rows, T tokens of a row, N tokens of all rows, E predictions, V vocabulary,
H width of the model.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, chain, product, takewhile
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import CausalModel, Sentence

logger = logging.getLogger(__name__)

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Row = TypeVar("Row")

CPU_SLICE, DEVICE_SLICE = 2**18, 2**28
"""Logits of one slice of tokens: a megabyte stays near a core, on a GPU few launches count."""
FEWEST_ROWS = 256
"""Of a slice; with fewer the head is no longer a product of matrices but reads its weights again
and again, which a vocabulary of 152 k notices."""

NOTICEABLE = {torch.float32: 2e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""A larger difference of a token's nats is not rounding. In fp32 rounding stays below 3e-5, and a
branch that sees its neighbour moves them by 0.2 and more, in freshly initialised models too."""

MASKED = {"full_attention", "sliding_attention"}
"""Kinds of layers that see what a mask lets them see."""
SLOWER = "%s is scored with %s, which takes longer: %s"


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
    """The tree of sentences; it has a root for every token that they begin with."""
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


@dataclass(frozen=True, kw_only=True)
class Passes:
    """How a model may be called."""

    trees: bool
    """Sentences that begin alike may share a row."""
    longest: int | None = None
    """Sentences of more tokens may not: some layers see a window of so many, which the mask of a
    tree does not have."""
    sliced_head: bool
    """The logits are the head's matrix product and nothing more."""


class ModelMemoryError(UserError):
    """There is not enough memory for a forward pass."""


_known: WeakKeyDictionary[Any, Passes] = WeakKeyDictionary()
"""Network -> how it may be called; new weights do not change that."""


def find_passes(model: CausalModel) -> Passes:
    """How a model may be called; found out once a network, which takes a few short passes.

    What it may not is logged with the reason.

    Raises:
        ModelMemoryError: there is not enough memory for one short sentence.
    """
    if model.network not in _known:
        _known[model.network] = _fastest_passes(model)
    return _known[model.network]


def _fastest_passes(model: CausalModel) -> Passes:
    """The fastest way of calling the model that gives the numbers of the plain call."""
    sentences = _short_sentences(model)
    expected = [score_alone(model, sentence)[1] for sentence in sentences]
    config = model.network.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    refused: dict[tuple[bool, bool], str] = {}  # (trees, sliced head) -> why not
    unmasked = sorted(set(getattr(config, "layer_types", None) or ()) - MASKED)
    if unmasked or (window is not None and max(map(len, sentences)) > window):
        kind = f"of the kind {', '.join(unmasked)}" if unmasked else f"that see {window} tokens"
        refused |= {(True, sliced): f"it has layers {kind}" for sliced in (True, False)}
    # A cap leaves the small logits of a young model as they are, and so would not be noticed.
    if getattr(config, "final_logit_softcapping", None):
        refused |= {(trees, True): "it caps its logits" for trees in (True, False)}
    for trees, sliced_head in product((True, False), repeat=2):
        passes = Passes(trees=trees, longest=window if trees else None, sliced_head=sliced_head)
        if (trees, sliced_head) in refused:
            continue
        fault = _fault(model, passes, sentences, expected)
        if fault is None:
            break
        refused[trees, sliced_head] = fault
    if not passes.trees:
        logger.warning(SLOWER, model.folder, "one option per row", refused[True, False])
    if not passes.sliced_head:
        logger.warning(SLOWER, model.folder, "all logits at once", refused[passes.trees, True])
    return passes


def _fault(
    model: CausalModel, passes: Passes, sentences: list[Sentence], expected: list[Floats]
) -> str | None:
    """Why a model cannot be called so; None when it gives the expected numbers."""
    try:
        found = token_nats(model, lay_out(sentences, passes), passes)
    except (TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError) as error:
        # It takes no mask or positions, or has no head of its own.
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    moved = np.concatenate(
        [np.abs(found[one] - nats) for one, nats in zip(sentences, expected, strict=True)]
    ).max()
    if moved < NOTICEABLE[model.network.dtype]:
        return None
    return f"-log p of a token would differ by {moved:.2g}"


def _short_sentences(model: CausalModel) -> list[Sentence]:
    """Two sentences that begin alike, and the beginning of one of them."""
    random = np.random.default_rng(0)
    embeddings = model.network.get_input_embeddings().weight.shape[0]
    draw = random.integers(min(embeddings, len(model.tokenizer)), size=(3, 9)).tolist()
    beginning = (model.end_of_text or 0, *draw[0])
    return [beginning[:5], (*beginning, *draw[1]), (*beginning, *draw[2])]


def batches(
    rows: Iterable[Row], size: Callable[[Row], int], tokens_per_batch: int
) -> Iterator[list[Row]]:
    """Rows of like length together, longest first, so that memory peaks at the start.

    Args:
        tokens_per_batch: rows x longest row of a batch; a longer row goes alone.
    """
    batch: list[Row] = []
    for row in sorted(rows, key=size, reverse=True):
        if batch and (len(batch) + 1) * size(batch[0]) > tokens_per_batch:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def lay_out(sentences: Sequence[Sentence], passes: Passes) -> list[PrefixTree]:
    """The rows that sentences of one question take: one for all, or one each."""
    fits = passes.longest is None or max(map(len, sentences)) <= passes.longest
    if passes.trees and fits:
        return [prefix_tree(sentences)]
    return [prefix_tree([sentence]) for sentence in sorted(set(sentences))]


_limits: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""Network -> tokens of a batch, once memory has run out."""


def score_in_batches(
    model: CausalModel,
    trees: Sequence[PrefixTree],
    passes: Passes,
    tokens_per_batch: int,
    *,
    size: Callable[[PrefixTree], int] = len,
) -> Iterator[list[tuple[int, Floats]]]:
    """Each forward pass's ``(place in trees, -log p of every prediction [E])``.

    A batch for which there is not enough memory is halved, and so are those after it.

    Args:
        tokens_per_batch: rows x longest row of a batch; a longer row goes alone.
        size: of a row, in tokens.

    Raises:
        ModelMemoryError: there is not enough memory for one row.
        UserError: a score is not finite.
    """

    def size_at(place: int) -> int:
        return size(trees[place])

    # Trees by themselves: a row of one sentence needs no mask, and may be too long for one.
    for branches in (True, False):
        left = [place for place, tree in enumerate(trees) if tree.branches == branches]
        while left:
            limit = min(tokens_per_batch, _limits.get(model.network, tokens_per_batch))
            plan, left = batches(left, size_at, limit), []
            for batch in plan:
                found = _predictions_in_memory(model, [trees[place] for place in batch], passes)
                if found is None:
                    _limits[model.network] = len(batch) * max(map(size_at, batch)) // 2
                    left = [*batch, *chain.from_iterable(plan)]
                    break
                if not all(np.isfinite(nats_E).all() for nats_E in found):
                    raise UserError(
                        f"{model.folder}: its scores are not finite; the weights are broken"
                    )
                yield list(zip(batch, found, strict=True))


def _predictions_in_memory(
    model: CausalModel, trees: Sequence[PrefixTree], passes: Passes
) -> list[Floats] | None:
    """``predictions``, or None where there is too little memory for so many rows at once."""
    try:
        return predictions(model, trees, passes)
    except ModelMemoryError as error:
        if len(trees) == 1:
            raise
        logger.warning("%s; the batch is halved from now on", error)
    # Outside of the handler, where nothing holds on to what the failed pass computed.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


@contextmanager
def _memory_checked(model: CausalModel, tokens: int) -> Iterator[None]:
    """Raises a ModelMemoryError for what torch and Python raise when memory runs out."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ModelMemoryError(
            f"{model.folder}: not enough memory on {model.device} for a pass over {tokens} tokens; "
            "lower runtime.evaluation.tokens_per_batch (--tokens-per-batch), or use a device with "
            "more free memory"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU (torch's own type) or on the CPU (only the words)."""
    words = ("out of memory", "not enough memory", "allocate memory", "alloc_failed")
    text = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(one in text for one in words)
    )


def token_nats(
    model: CausalModel, trees: Sequence[PrefixTree], passes: Passes
) -> dict[Sentence, Floats]:
    """-log p of every token after the first of every sentence, in one forward pass.

    Where a sentence stands in several trees, one of them is told; they differ by rounding.
    """
    return {
        sentence: nats_E[path]
        for tree, nats_E in zip(trees, predictions(model, trees, passes), strict=True)
        for sentence, path in tree.paths.items()
    }


def predictions(model: CausalModel, trees: Sequence[PrefixTree], passes: Passes) -> list[Floats]:
    """-log p of every prediction [E] of every tree, in one forward pass.

    Raises:
        ModelMemoryError: there is not enough memory for it.
    """
    width = max(map(len, trees))
    tokens_BT = np.zeros((len(trees), width), np.int64)
    positions_BT = np.zeros_like(tokens_BT)
    ends_BT = np.zeros_like(tokens_BT)
    rows_N = np.concatenate([row * width + np.arange(len(tree)) for row, tree in enumerate(trees)])
    for row, tree in enumerate(trees):
        tokens_BT[row, : len(tree)] = tree.tokens_N
        positions_BT[row, : len(tree)] = tree.positions_N
        ends_BT[row, : len(tree)] = tree.ends_N
    firsts = [0, *accumulate(map(len, trees))]
    parents_E = np.concatenate(
        [tree.parents_E + first for tree, first in zip(trees, firsts, strict=False)]
    )
    targets_E = np.concatenate([tree.targets_E for tree in trees])
    with torch.inference_mode(), _memory_checked(model, tokens_BT.size):
        inputs = {"input_ids": _on_device(tokens_BT, model)}
        # A row of one sentence needs no mask: padding stands behind it, where no token looks.
        if any(tree.branches for tree in trees):
            inputs["position_ids"] = _on_device(positions_BT, model)
            inputs["attention_mask"] = _tree_mask(_on_device(ends_BT, model), model.network.dtype)
        network = model.network.base_model if passes.sliced_head else model.network
        output = network(**inputs, use_cache=False)
        found_BTX = output.last_hidden_state if passes.sliced_head else output.logits
        found_NX = found_BTX.flatten(0, 1)[_on_device(rows_N, model)]
        nats_E = _nats(model, found_NX, parents_E, targets_E, sliced_head=passes.sliced_head)
    sizes = np.cumsum([len(tree.parents_E) for tree in trees])[:-1]
    return np.split(nats_E, sizes)


def score_alone(model: CausalModel, sentence: Sentence) -> tuple[float, Floats]:
    """The published rule to the letter: one sentence, one pass, nothing saved.

    Returns:
        The mean cross-entropy as torch reduces it in fp32, and that of every token, [T].

    Raises:
        ModelMemoryError: there is not enough memory for it.
    """
    with torch.inference_mode(), _memory_checked(model, len(sentence)):
        tokens_1T = torch.tensor([sentence], device=model.device)
        logits_TV = model.network(input_ids=tokens_1T, use_cache=False).logits[0, :-1].float()
        targets_T = tokens_1T[0, 1:]
        mean = functional.cross_entropy(logits_TV, targets_T).item()
        nats_T: Tensor = functional.cross_entropy(logits_TV, targets_T, reduction="none")
    return mean, nats_T.cpu().numpy()


def _tree_mask(ends_BT: Tensor, dtype: torch.dtype) -> Tensor:
    """[B, 1, T, T], 0 where a token (row) may see another (column), else the lowest number.

    Additive, because every attention of Transformers takes that form. Padding sees itself alone.
    """
    places_T = torch.arange(ends_BT.shape[1], device=ends_BT.device)
    seen_BTT = (places_T[:, None] >= places_T) & (places_T[:, None] < ends_BT[:, None, :])
    seen_BTT |= places_T[:, None] == places_T
    mask_BTT = torch.full(
        seen_BTT.shape, torch.finfo(dtype).min, dtype=dtype, device=ends_BT.device
    )
    return mask_BTT.masked_fill_(seen_BTT, 0)[:, None]


def _nats(
    model: CausalModel, found_NX: Tensor, parents_E: Ints, targets_E: Ints, *, sliced_head: bool
) -> Floats:
    """[E] -log p, a slice of tokens at a time.

    Args:
        found_NX: hidden states [N, H] where the head is still to be applied, else logits [N, V].
        parents_E: in rising order, so that a slice of tokens has a slice of predictions.
    """
    head = model.network.get_output_embeddings() if sliced_head else None
    vocabulary = head.weight.shape[0] if head is not None else found_NX.shape[-1]
    elements = CPU_SLICE if found_NX.device.type == "cpu" else DEVICE_SLICE
    rows = max(FEWEST_ROWS, elements // vocabulary)
    bounds = range(0, len(found_NX), rows)
    places = np.searchsorted(parents_E, [*bounds, len(found_NX)])
    parents, targets = _on_device(parents_E, model), _on_device(targets_E, model)
    # One array for all slices: fresh pages for each would cost more than the exponentials.
    logits_RV = found_NX.new_empty((min(rows, len(found_NX)), vocabulary))
    nats_E = torch.empty(len(parents), dtype=torch.float32, device=found_NX.device)
    for first, begin, end in zip(bounds, places[:-1], places[1:], strict=True):
        found = found_NX[first : first + rows]
        logits = logits_RV[: len(found)]
        if head is None:
            logits = found
        elif head.bias is None:
            torch.mm(found, head.weight.T, out=logits)
        else:
            torch.addmm(head.bias, found, head.weight.T, out=logits)
        logits = logits.float()
        highest_R1 = logits.amax(dim=-1, keepdim=True)
        local = parents[begin:end] - first
        chosen = logits[local, targets[begin:end]]
        sums_R = logits.sub_(highest_R1).exp_().sum(dim=-1)
        nats_E[begin:end] = (sums_R.log() + highest_R1[:, 0])[local] - chosen
    found_E: Floats = nats_E.cpu().numpy()
    return found_E


def _on_device(array: Ints, model: CausalModel) -> Tensor:
    return torch.from_numpy(array).to(model.device)
