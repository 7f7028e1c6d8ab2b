"""Opening the Hugging Face folder of a causal model, and keeping it for the next checkpoint.

The checkpoints of a study differ in their weights alone. ``WarmModels`` copies new weights into the
network that it has, and keeps the tokenizer; nothing is built again.

Invariants: a model whose weights do not all come from its files is refused; Transformers only
warns of it, fills the gap at random, and the accuracies would be of nobody's model. A network with
new weights is, tensor for tensor, what a fresh load gives: files other than the weights must be the
same, byte for byte, and the first load has shown that each of the network's tensors is the file's
tensor of that name and that there are no others. Where it is not so, as when Transformers renames
or merges weights, every checkpoint is loaded afresh.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fnmatch import filter as matching
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ccx_ray.corpus.tokenizing.tokenizer import END_OF_TEXT
from ccx_ray.errors import UserError
from ccx_ray.evaluation.model_tokenizer import check_ids, check_tokenizer_files, open_tokenizer
from ccx_ray.storage.hashing import MANIFEST, file_sha256
from ccx_ray.storage.remote_folders import fetch_checkpoint, file_names

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")
_CAUSAL = "CausalLM|LMHead|ConditionalGeneration"
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Sentence = tuple[int, ...]
"""Token ids of a text, after one that is given: end-of-text, or the first token of a context."""


@dataclass(frozen=True, kw_only=True)
class CausalModel:
    """A model on its device, its tokenizer, and what scoring needs to know of them."""

    folder: Path
    network: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    end_of_text: int | None
    """None: the tokenizer has no such token."""
    context: int | None
    """The most tokens that a sentence may have, end-of-text included; None: no limit."""
    device: str

    @property
    def first_token(self) -> int:
        """End-of-text, which stands before every text; ``UserError`` where there is none."""
        if self.end_of_text is None:
            raise UserError(
                f"{self.folder}: its tokenizer has neither {END_OF_TEXT} nor an eos_token; "
                "set eos_token in tokenizer_config.json"
            )
        return self.end_of_text


def check_model_folder(folder: Path) -> None:
    """Refuse a folder that lacks config, weights or tokenizer, before any heavy library is loaded.

    Args:
        folder: a Hugging Face folder, or the pointer to one in an object store.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: not an existing folder; give a Hugging Face model folder")
    names = file_names(folder)
    for kind, patterns in (("config", ("config.json",)), ("weights", WEIGHT_FILES)):
        if not any(matching(names, pattern) for pattern in patterns):
            raise UserError(
                f"{folder}: no {kind} ({' or '.join(patterns)}); "
                "give a folder written by save_pretrained of both the model and its tokenizer"
            )
    check_tokenizer_files(folder, names)


def check_causal_folder(folder: Path, field: str) -> None:
    """``check_model_folder``, and that the config names no other kind of model than a causal one.

    Args:
        field: of the study file, for the error.
    """
    try:
        check_model_folder(folder)
    except UserError as error:
        raise UserError(f"{field}: {error}") from None
    config = folder / "config.json"
    try:
        content = json.loads(config.read_text("utf-8"))
    except OSError:
        return  # a pointer to files elsewhere, which are read when the model is opened
    except ValueError as error:
        raise UserError(
            f"{field}: {str(config)!r} is not JSON ({error}); "
            "give the file that save_pretrained wrote"
        ) from None
    named = content.get("architectures") if isinstance(content, dict) else None
    if named and not any(re.search(_CAUSAL, str(one)) for one in named):
        raise UserError(
            f"{field}: {str(folder)!r} contains a {named[0]}, not a causal model; "
            "give a folder that AutoModelForCausalLM opens"
        )


def choose_device(wanted: str = "auto") -> str:
    """A device that is there; ``auto`` is a GPU where there is one, else ``cpu``."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", wanted):
        raise UserError(f"--device: {wanted!r} is not one of auto, cpu, cuda, cuda:0, cuda:1, ...")
    if wanted == "cpu":
        return wanted
    import torch

    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        return "cuda" if there else "cpu"
    if int(wanted.removeprefix("cuda").removeprefix(":") or 0) >= there:
        raise UserError(
            f"--device: {wanted!r} is not available; torch finds "
            + (", ".join(f"cuda:{one}" for one in range(there)) or "no GPU, only cpu")
        )
    return wanted


def load_causal_model(folder: Path, device: str, precision: Precision = "float32") -> CausalModel:
    """Load a model ready to score, in fp32 as the reference scorer does it unless told otherwise.

    Raises:
        UserError: the folder does not hold a whole causal model and its tokenizer, or not what was
            written.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    check_model_folder(folder)
    local = fetch_checkpoint(folder)
    disable_progress_bar()  # of loading the weights, which would tear up the caller's own
    set_verbosity_error()  # what it would warn of, absent weights, is refused below
    tokenizer = open_tokenizer(local, folder)
    try:
        network, loading = AutoModelForCausalLM.from_pretrained(
            local, dtype=getattr(torch, precision), local_files_only=True, output_loading_info=True
        )
    except Exception as error:
        # A broken folder shows itself in any of a dozen exceptions of four libraries.
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{folder}: Transformers cannot open it: {reason[:300]}") from error
    absent = sorted([*loading["missing_keys"], *map(str, loading["mismatched_keys"])])
    if absent:
        raise UserError(
            f"{folder}: {len(absent)} weights are not in its files, such as {absent[0]}; "
            "give a folder with the whole model"
        )
    embeddings: int = network.get_input_embeddings().weight.shape[0]
    check_ids(tokenizer, embeddings, folder)
    # Chat models hide the end-of-text token behind another end of sequence.
    end_of_text: int | None = tokenizer.get_vocab().get(END_OF_TEXT, tokenizer.eos_token_id)
    return CausalModel(
        folder=folder,
        network=network.to(device).eval(),
        tokenizer=tokenizer,
        end_of_text=end_of_text,
        context=getattr(network.config.get_text_config(), "max_position_embeddings", None),
        device=device,
    )


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

    def load(self, folder: Path) -> CausalModel:
        """The model of ``folder``; the one before must not be used any more."""
        check_model_folder(folder)
        local = fetch_checkpoint(folder)
        files = _files_beside_weights(local)
        # Whatever fails below leaves a network of mixed weights, which nobody may get.
        before, self._loaded = self._loaded, None
        if before is not None and before.files == files and _replace_weights(before, local):
            self._loaded = replace(before, model=replace(before.model, folder=folder))
            return self._loaded.model
        del before  # two networks need not be in memory at once
        model = load_causal_model(folder, self._device)
        shapes = _shapes_if_replaceable(model, local)
        if shapes is not None:
            self._loaded = _Loaded(model=model, files=files, shapes=shapes)
        return model


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
            for path in sorted(folder.glob("*.safetensors"))
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
    # Tied tensors, which a file holds once, lie in one place.
    held = {tensors[name].data_ptr() for name in shapes}
    everything = all(tensor.data_ptr() in held for tensor in tensors.values())
    return shapes if everything else None


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
