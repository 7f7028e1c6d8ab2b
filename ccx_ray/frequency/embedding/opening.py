"""From the settings of a study file to an embedder, and what is wrong with them before any work."""

from pathlib import Path

from ccx_ray.errors import UserError
from ccx_ray.frequency.embedding.interface import Embedder
from ccx_ray.frequency.embedding.ngram import NgramEmbedder
from ccx_ray.study.frequency_spec import EmbedderSpec, NgramEmbedderSpec


def check_embedder(
    spec: EmbedderSpec, field: str = "frequency.embedder", *, model_folder: Path | None = None
) -> None:
    """Find out in a moment, without loading a model, whether the embedder can be opened.

    Args:
        field: of the study file, for the error.
        model_folder: where the model lies, if not where the settings say.

    Raises:
        UserError: the folder is absent or of another kind.
    """


def open_embedder(spec: EmbedderSpec, *, state_folder: Path, model_folder: Path | None) -> Embedder:
    """The embedder; a model is loaded when it first embeds.

    Args:
        state_folder: an index folder, with what the embedder took from the corpus.
        model_folder: where the model lies, if not where the settings say.

    Raises:
        UserError: the folder is absent or of another kind.
    """
    if isinstance(spec, NgramEmbedderSpec):
        return NgramEmbedder.load(spec, state_folder)
    raise UserError("frequency.embedder: only ngram yet")
