"""Embedders: their interface, opening the one of a study file, and checking it before any work.

Invariant: a folder of the wrong kind is named before any work, with the kind that would suit it.
"""

from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import check_causal_folder
from ccx_ray.frequency.retrieval.vectors import Vectors
from ccx_ray.study.frequency_spec import (
    OWN_BASE,
    EmbedderSpec,
    HiddenStatesSpec,
    NgramEmbedderSpec,
    SentenceTransformersSpec,
)

MODULES = "modules.json"
"""What every sentence-transformers folder has and no other."""


class Embedder(Protocol):
    """What turns texts into unit vectors.

    Invariant: a text's vector depends on the text and the embedder alone, not on the texts beside
    it, up to the rounding of a model's matrix products.
    """

    @property
    def dimensions(self) -> int: ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same text would get another vector."""
        ...

    @property
    def cut_texts(self) -> int:
        """Texts so far that were longer than the embedder's context and were cut and pooled."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors ``[texts, dimensions]`` of length one; zero for a text that has none."""
        ...


def open_embedder(spec: EmbedderSpec, *, state_folder: Path, model_folder: Path | None) -> Embedder:
    """The embedder; a model is loaded when it first embeds.

    Args:
        state_folder: an index folder, with what the embedder took from the corpus.
        model_folder: where the embedder's model lies, if not where its settings say.

    Raises:
        UserError: the folder is absent or of another kind.
    """
    from ccx_ray.frequency.retrieval.model_embedders import (
        HiddenStatesEmbedder,
        SentenceTransformersEmbedder,
    )
    from ccx_ray.frequency.retrieval.ngram_embedder import NgramEmbedder

    if isinstance(spec, NgramEmbedderSpec):
        return NgramEmbedder.load(spec, state_folder)
    check_embedder(spec, model_folder=model_folder)
    if isinstance(spec, SentenceTransformersSpec):
        return SentenceTransformersEmbedder(model_folder or Path(spec.folder))
    if model_folder is None and spec.model == OWN_BASE:
        raise UserError(
            "frequency.embedder.model: 'base' is the study's own base, whose folder must be given"
        )
    return HiddenStatesEmbedder(model_folder or Path(spec.model))


def check_embedder(
    spec: EmbedderSpec, field: str = "frequency.embedder", *, model_folder: Path | None = None
) -> None:
    """Find out in a moment, without loading a model, whether the embedder can be opened.

    The study's own base is not looked at without a folder: it may not be trained yet.

    Raises:
        UserError: the folder is absent or of another kind, or the library is not installed.
    """
    if isinstance(spec, SentenceTransformersSpec):
        _check_sentence_transformers(model_folder or Path(spec.folder), f"{field}.folder")
    elif isinstance(spec, HiddenStatesSpec) and (model_folder or spec.model != OWN_BASE):
        folder = model_folder or Path(spec.model)
        if (folder / MODULES).is_file():
            raise UserError(
                f"{field}.model: {str(folder)!r} is a sentence-transformers folder; "
                "give it as folder of the kind sentence_transformers"
            )
        check_causal_folder(folder, f"{field}.model")


def _check_sentence_transformers(folder: Path, field: str) -> None:
    if not folder.is_dir():
        raise UserError(
            f"{field}: {str(folder)!r} is not a folder; give one written by "
            "SentenceTransformer.save"
        )
    if not (folder / MODULES).is_file():
        hint = ""
        with suppress(UserError):
            check_causal_folder(folder, field)
            hint = "; for a causal model give the kind hidden_states"
        raise UserError(
            f"{field}: {str(folder)!r} has no {MODULES}; "
            f"give a folder written by SentenceTransformer.save{hint}"
        )
    if find_spec("sentence_transformers") is None:
        raise UserError(
            f"{field}: the library sentence-transformers is not installed; "
            "pip install 'ccx_ray[embedders]'"
        )
