"""One forward pass over many sentences, and -log p of their tokens.

Two savings that not every architecture allows: sentences that begin alike share a row
(``prefix_trees``), and the head is applied to a slice of tokens at a time, so that no array of the
vocabulary's width is larger than a slice. Both are asked of the loaded model itself before they are
used; a model that would answer otherwise is called plainly.

Invariant: a token's -log p is the one of its sentence in a pass of its own, to rounding.

Shape suffixes: B rows, T tokens of a row, N tokens of all rows, E predictions, V vocabulary,
H width of the model.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ccx_ray.evaluation.models import CausalModel
from ccx_ray.evaluation.prefix_trees import PrefixTree, prefix_tree
from ccx_ray.evaluation.sentences import Sentence

Floats = NDArray[np.float32]
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


_known: WeakKeyDictionary[Any, Passes] = WeakKeyDictionary()
"""Network -> how it may be called; new weights do not change that."""


def find_passes(model: CausalModel) -> Passes:
    """How a model may be called; the first time it is asked, which takes four passes."""
    if model.network not in _known:
        _known[model.network] = _ask(model)
    return _known[model.network]


def _ask(model: CausalModel) -> Passes:
    """Try the ways, the fastest first, against the plain call."""
    sentences = _questions(model)
    expected = [score_alone(model, sentence)[1] for sentence in sentences]
    config = model.network.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    masked = not set(getattr(config, "layer_types", None) or ()) - MASKED
    if window is not None:
        masked = masked and max(map(len, sentences)) <= window
    ways = [
        (trees, sliced_head)
        for trees, sliced_head in product((True, False), repeat=2)
        if (masked or not trees)
        # A cap leaves the small logits of a young model as they are, and so would not be noticed.
        and not (sliced_head and getattr(config, "final_logit_softcapping", None))
    ]
    threshold = NOTICEABLE[model.network.dtype]
    for trees, sliced_head in ways:
        passes = Passes(trees=trees, longest=window if trees else None, sliced_head=sliced_head)
        try:
            found = token_nats(model, plant_trees(sentences, passes), passes)
        except (TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError):
            continue  # takes no mask or positions, or has no head of its own
        if all(
            np.abs(found[sentence] - nats).max() < threshold
            for sentence, nats in zip(sentences, expected, strict=True)
        ):
            return passes
    return Passes(trees=False, sliced_head=False)


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


def plant_trees(sentences: Sequence[Sentence], passes: Passes) -> list[PrefixTree]:
    """The rows that sentences of one question are laid out in."""
    fits = passes.longest is None or max(map(len, sentences)) <= passes.longest
    if passes.trees and fits:
        return [prefix_tree(sentences)]
    return [prefix_tree([sentence]) for sentence in sorted(set(sentences))]


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


@torch.inference_mode()  # type: ignore[untyped-decorator]
def predictions(model: CausalModel, trees: Sequence[PrefixTree], passes: Passes) -> list[Floats]:
    """-log p of every prediction [E] of every tree, in one forward pass."""
    width = max(map(len, trees))
    tokens_BT = np.zeros((len(trees), width), np.int64)
    positions_BT = np.zeros_like(tokens_BT)
    ends_BT = np.zeros_like(tokens_BT)
    rows_N = np.concatenate([row * width + np.arange(len(tree)) for row, tree in enumerate(trees)])
    for row, tree in enumerate(trees):
        tokens_BT[row, : len(tree)] = tree.tokens_N
        positions_BT[row, : len(tree)] = tree.positions_N
        ends_BT[row, : len(tree)] = tree.ends_N
    inputs = {"input_ids": _there(tokens_BT, model)}
    # A row of one sentence needs no mask: padding stands behind it, where no token looks.
    if any(tree.branches for tree in trees):
        inputs["position_ids"] = _there(positions_BT, model)
        inputs["attention_mask"] = _tree_mask(_there(ends_BT, model), model.network.dtype)
    network = model.network.base_model if passes.sliced_head else model.network
    output = network(**inputs, use_cache=False)
    found_BTX = output.last_hidden_state if passes.sliced_head else output.logits
    found_NX = found_BTX.flatten(0, 1)[_there(rows_N, model)]
    firsts = [0, *accumulate(map(len, trees))]
    parents_E = np.concatenate(
        [tree.parents_E + first for tree, first in zip(trees, firsts, strict=False)]
    )
    targets_E = np.concatenate([tree.targets_E for tree in trees])
    nats_E = _nats(model, found_NX, parents_E, targets_E, sliced_head=passes.sliced_head)
    sizes = np.cumsum([len(tree.parents_E) for tree in trees])[:-1]
    return np.split(nats_E, sizes)


@torch.inference_mode()  # type: ignore[untyped-decorator]
def score_alone(model: CausalModel, sentence: Sentence) -> tuple[float, Floats]:
    """The published rule to the letter: one sentence, one pass, nothing saved.

    Returns:
        The mean cross-entropy as torch reduces it in fp32, and that of every token, [T].
    """
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
    model: CausalModel,
    found_NX: Tensor,
    parents_E: NDArray[np.int64],
    targets_E: NDArray[np.int64],
    *,
    sliced_head: bool,
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
    parents, targets = _there(parents_E, model), _there(targets_E, model)
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


def _questions(model: CausalModel) -> list[Sentence]:
    """Two sentences that begin alike, and the beginning of one of them."""
    random = np.random.default_rng(0)
    embeddings = model.network.get_input_embeddings().weight.shape[0]
    draw = random.integers(min(embeddings, len(model.tokenizer)), size=(3, 9)).tolist()
    beginning = (model.end_of_text, *draw[0])
    return [beginning[:5], (*beginning, *draw[1]), (*beginning, *draw[2])]


def _there(array: NDArray[np.int64], model: CausalModel) -> Tensor:
    return torch.from_numpy(array).to(model.device)
