"""Opening the Hugging Face folder of a causal model to score with it.

Invariant: a model whose weights do not all come from its files is refused; Transformers only
warns of it, fills the gap at random, and the accuracies would be of nobody's model.
"""

import json
import re
from dataclasses import dataclass
from fnmatch import filter as matching
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from ccx_ray.errors import UserError
from ccx_ray.storage.remote_folders import fetch_checkpoint, file_names

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")
_CAUSAL = "CausalLM|LMHead|ConditionalGeneration"
END_OF_TEXT = "<|endoftext|>"
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True, kw_only=True)
class CausalModel:
    """A model on its device, its tokenizer, and what scoring needs to know of them."""

    folder: Path
    network: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    end_of_text: int
    context: int | None
    """The most tokens that a sentence may have, end-of-text included; None: no limit."""
    device: str


def check_model_folder(folder: Path) -> None:
    """Find a wrong folder in milliseconds, before any heavy library is loaded.

    Args:
        folder: a Hugging Face folder, or the pointer to one in an object store.

    Raises:
        UserError: it is no folder, or lacks the config, the weights or the tokenizer.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: not an existing folder; give a Hugging Face model folder")
    names = file_names(folder)
    for kind, patterns in (
        ("config", ("config.json",)),
        ("weights", WEIGHT_FILES),
        ("tokenizer", TOKENIZER_FILES),
    ):
        if not any(matching(names, pattern) for pattern in patterns):
            raise UserError(
                f"{folder}: no {kind} ({' or '.join(patterns)}); "
                "give a folder written by save_pretrained of both the model and its tokenizer"
            )


def check_causal_folder(folder: Path, field: str) -> None:
    """``check_model_folder``, and that the config names no other kind of model than a causal one.

    Args:
        field: of the study file, for the error.

    Raises:
        UserError: it does.
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
            f"{field}: {str(folder)!r} holds a {named[0]}, not a causal model; "
            "give a folder that AutoModelForCausalLM opens"
        )


def choose_device(wanted: str = "auto") -> str:
    """``auto`` is a GPU where there is one, else ``cpu``.

    Raises:
        UserError: it is no device's name, or there is no such GPU.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", wanted):
        raise UserError(f"--device: {wanted!r} is none of auto, cpu, cuda, cuda:0, cuda:1, ...")
    if wanted == "cpu":
        return wanted
    import torch

    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        return "cuda" if there else "cpu"
    if int(wanted.removeprefix("cuda").removeprefix(":") or 0) >= there:
        raise UserError(
            f"--device: {wanted!r} is not there; torch sees "
            + (", ".join(f"cuda:{one}" for one in range(there)) or "no GPU, only the cpu")
        )
    return wanted


def load_causal_model(folder: Path, device: str, precision: Precision = "float32") -> CausalModel:
    """Load a model ready to score, in fp32 as the reference scorer does it unless told otherwise.

    Raises:
        UserError: the folder does not hold a whole causal model and its tokenizer, or not what was
            written.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    check_model_folder(folder)
    local = fetch_checkpoint(folder)
    disable_progress_bar()  # of loading the weights, which would tear up the caller's own
    set_verbosity_error()  # what it would warn of, absent weights, is refused below
    try:
        tokenizer = AutoTokenizer.from_pretrained(local, local_files_only=True)
        network, loading = AutoModelForCausalLM.from_pretrained(
            local,
            dtype=getattr(torch, precision),
            local_files_only=True,
            output_loading_info=True,
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
    if len(tokenizer) > embeddings:
        raise UserError(
            f"{folder}: its tokenizer has {len(tokenizer)} tokens, its model only {embeddings}; "
            "give the tokenizer that the model was trained with"
        )
    return CausalModel(
        folder=folder,
        network=network.to(device).eval(),
        tokenizer=tokenizer,
        end_of_text=_end_of_text(tokenizer, folder),
        context=getattr(network.config.get_text_config(), "max_position_embeddings", None),
        device=device,
    )


def _end_of_text(tokenizer: "PreTrainedTokenizerBase", folder: Path) -> int:
    """The id of the end-of-text token, which chat models hide behind another end of sequence."""
    known: int | None = tokenizer.get_vocab().get(END_OF_TEXT, tokenizer.eos_token_id)
    if known is None:
        raise UserError(
            f"{folder}: its tokenizer has neither {END_OF_TEXT} nor an eos_token; "
            "set eos_token in tokenizer_config.json"
        )
    return known
