"""Opening the embedder of a study file, and checking its settings before any work."""

from pathlib import Path

from ccx_ray.errors import UserError
from ccx_ray.frequency.retrieval.embedding.hidden_states import HiddenStatesEmbedder
from ccx_ray.frequency.retrieval.embedding.interface import Embedder
from ccx_ray.frequency.retrieval.embedding.model_folders import (
    check_hidden_states_folder,
    check_sentence_transformers_folder,
)
from ccx_ray.frequency.retrieval.embedding.ngram import NgramEmbedder
from ccx_ray.frequency.retrieval.embedding.sentence_transformers import SentenceTransformersEmbedder
from ccx_ray.study.frequency_spec import (
    OWN_BASE,
    EmbedderSpec,
    HiddenStatesSpec,
    NgramEmbedderSpec,
    SentenceTransformersSpec,
)


def check_embedder(
    spec: EmbedderSpec, field: str = "frequency.embedder", *, model_folder: Path | None = None
) -> None:
    """Find out in a moment, without loading a model, whether the embedder can be opened.

    The study's own base is not looked at without a folder: it may not be trained yet.

    Args:
        field: of the study file, for the error.
        model_folder: where the model lies, if not where the settings say.

    Raises:
        UserError: the folder is absent or of another kind.
    """
    if isinstance(spec, SentenceTransformersSpec):
        check_sentence_transformers_folder(model_folder or Path(spec.folder), f"{field}.folder")
    elif isinstance(spec, HiddenStatesSpec) and (model_folder or spec.model != OWN_BASE):
        check_hidden_states_folder(model_folder or Path(spec.model), f"{field}.model")


def open_embedder(spec: EmbedderSpec, *, state_folder: Path, model_folder: Path | None) -> Embedder:
    """The embedder; a model is loaded when it first embeds.

    Args:
        state_folder: an index folder, with what the embedder took from the corpus.
        model_folder: where the embedder's model lies, if not where its settings say.

    Raises:
        UserError: the folder is absent or of another kind.
    """
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
