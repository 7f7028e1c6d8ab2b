"""Checks and fingerprints of embedders' model folders, without loading a model.

Invariant: a folder of the wrong kind is named before any work, with the kind that would suit it.
"""

from contextlib import suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import check_causal_folder
from ccx_ray.orchestration.fingerprints import fingerprint
from ccx_ray.storage.hashing import file_sha256

MODULES = "modules.json"
"""What every sentence-transformers folder has and no other."""


def check_sentence_transformers_folder(folder: Path, field: str) -> None:
    """See that a folder can be opened by sentence-transformers.

    Raises:
        UserError: it cannot, or the library is not installed.
    """
    if not folder.is_dir():
        raise UserError(
            f"{field}: {str(folder)!r} is no folder; give one written by SentenceTransformer.save"
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


def check_hidden_states_folder(folder: Path, field: str) -> None:
    """See that a folder holds a causal model and its tokenizer.

    Raises:
        UserError: it does not.
    """
    if (folder / MODULES).is_file():
        raise UserError(
            f"{field}: {str(folder)!r} is a sentence-transformers folder; "
            "give it as folder of the kind sentence_transformers"
        )
    check_causal_folder(folder, field)


class ModelEmbedder:
    """What embedders share that are the model of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.cut_texts = 0

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the content of every file; where the folder lies does not matter."""
        files = {str(file.relative_to(self._folder)): file for file in self._folder.rglob("*")}
        return fingerprint(
            {
                name: file_sha256(file)
                for name, file in files.items()
                if file.is_file() and not any(part.startswith(".") for part in Path(name).parts)
            }
        )
