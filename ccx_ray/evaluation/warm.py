"""What an evaluator keeps from one checkpoint for the next: the network, the tokenizer, the probes.

The checkpoints of a study differ in their weights alone. Where that is so, new weights are copied
into the network that is there; nothing is built, and no probe is encoded twice.

Invariant: what is loaded so is, tensor for tensor, what a fresh load gives. Files other than the
weights must be the same, byte for byte, and the first load has shown that each of the network's
tensors is the file's tensor of that name and that there are no others. Where it is not so, as when
Transformers renames or merges weights, every checkpoint is loaded afresh.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccx_ray.evaluation.models import (
    WEIGHT_FILES,
    CausalModel,
    check_model_folder,
    load_causal_model,
)
from ccx_ray.evaluation.probes import load_probe
from ccx_ray.storage.hashing import MANIFEST, file_sha256
from ccx_ray.storage.remote_folders import fetch_checkpoint

if TYPE_CHECKING:
    import torch

    from ccx_ray.evaluation.sentences import EncodedProbe

SAFETENSORS = "*.safetensors"


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    """A model whose weights can be replaced."""

    model: CausalModel
    files: dict[str, str]
    """Hash of every file that is neither weights nor their manifest."""
    shapes: dict[str, tuple[int, ...]]
    """Of every tensor in the weights' files."""


class WarmModels:
    """Models on one device, one at a time."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._loaded: _Loaded | None = None
        self._probes: dict[tuple[str, Path], EncodedProbe] = {}

    def load(self, folder: Path) -> CausalModel:
        """The model of ``folder``; the one before must not be used any more.

        Raises:
            UserError: see ``models.load_causal_model``.
        """
        check_model_folder(folder)
        local = fetch_checkpoint(folder)
        files = _files_beside_weights(local)
        # Whatever fails below leaves a network of mixed weights, which nobody may get.
        before, self._loaded = self._loaded, None
        if before is not None and before.files == files and _replace_weights(before, local):
            self._loaded = replace(before, model=replace(before.model, folder=folder))
            return self._loaded.model
        self._probes.clear()
        del before  # two networks need not be in memory at once
        model = load_causal_model(folder, self._device)
        shapes = _shapes_if_replaceable(model, local)
        if shapes is not None:
            self._loaded = _Loaded(model=model, files=files, shapes=shapes)
        return model

    def probe(self, model: CausalModel, name: str, file: Path) -> "EncodedProbe":
        """A probe, encoded for the model that was loaded last.

        Raises:
            UserError: the file is wrong, or a question cannot be scored.
        """
        from ccx_ray.evaluation.sentences import encode_probe

        if (name, file) not in self._probes:
            self._probes[name, file] = encode_probe(model, load_probe(file, name))
        return self._probes[name, file]


def _files_beside_weights(folder: Path) -> dict[str, str]:
    return {
        path.name: file_sha256(path)
        for path in sorted(folder.iterdir())
        if path.is_file()
        and path.name != MANIFEST
        and not any(path.match(pattern) for pattern in WEIGHT_FILES)
    }


@contextmanager
def _weights(folder: Path) -> Iterator[dict[str, Any]]:
    """Name -> the open file that holds the tensor, of all the folder's weights."""
    from safetensors import safe_open

    with ExitStack() as stack:
        files = [
            stack.enter_context(safe_open(path, framework="pt"))
            for path in sorted(folder.glob(SAFETENSORS))
        ]
        yield {name: file for file in files for name in file.keys()}  # noqa: SIM118


def _shapes(weights: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(file.get_slice(name).get_shape()) for name, file in weights.items()}


def _shapes_if_replaceable(model: CausalModel, folder: Path) -> dict[str, tuple[int, ...]] | None:
    """The weights' shapes when the network just loaded from them is nothing but these tensors."""
    import torch

    tensors = model.network.state_dict()
    with _weights(folder) as weights:
        shapes = _shapes(weights)
        for name, file in weights.items():
            if name not in tensors or shapes[name] != tuple(tensors[name].shape):
                return None
            if not torch.equal(file.get_tensor(name).to(tensors[name]), tensors[name]):
                return None
    held = {_place(tensors[name]) for name in shapes}
    everything = all(_place(tensor) in held for tensor in tensors.values())
    return shapes if everything else None


def _place(tensor: "torch.Tensor") -> int:
    """Where a tensor lies: tied ones, which a file holds once, lie in one place."""
    return int(tensor.data_ptr())


def _replace_weights(loaded: _Loaded, folder: Path) -> bool:
    """Copy the folder's weights into the network; False when they are others, or damaged."""
    import torch
    from safetensors import SafetensorError

    tensors = loaded.model.network.state_dict()
    try:
        with _weights(folder) as weights, torch.no_grad():
            if _shapes(weights) != loaded.shapes:
                return False
            for name, file in weights.items():
                tensors[name].copy_(file.get_tensor(name))
    except SafetensorError:
        return False  # a fresh load says what is wrong
    return True
