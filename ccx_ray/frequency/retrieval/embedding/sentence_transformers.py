"""An embedder that is any sentence-transformers folder."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import choose_device
from ccx_ray.frequency.retrieval.embedding.interface import Vectors, unit_rows
from ccx_ray.frequency.retrieval.embedding.model_folders import (
    check_sentence_transformers_folder,
    folder_fingerprint,
)
from ccx_ray.frequency.retrieval.embedding.windows import cut_windows, pool_windows

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TEXTS_AT_ONCE = 32


class SentenceTransformersEmbedder:
    """The vectors of a model; of a text beyond its context those of its windows, pooled."""

    name = "sentence_transformers"

    def __init__(self, folder: Path, field: str = "frequency.embedder.folder") -> None:
        """
        Raises:
            UserError: it is no sentence-transformers folder.
        """
        check_sentence_transformers_folder(folder, field)
        self._folder = folder
        self._field = field
        self.cut_texts = 0

    @cached_property
    def fingerprint(self) -> str:
        return folder_fingerprint(self._folder)

    @cached_property
    def dimensions(self) -> int:
        """Of the vectors; from the folder's files where they tell."""
        for path in sorted(self._folder.glob("*_Pooling/config.json")):
            found = json.loads(path.read_text("utf-8")).get("word_embedding_dimension")
            later = list(self._folder.glob("*_Dense"))
            if found and not later:
                return int(found)
        return len(self._model.encode(""))

    def embed(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.empty((0, self.dimensions), np.float32)
        most = int(self._model.max_seq_length or 512) - self._special_tokens
        windows = cut_windows(texts, self._count_tokens, most)
        self.cut_texts += int((np.bincount(windows.owners) > 1).sum())
        vectors = self._model.encode(
            windows.texts, batch_size=TEXTS_AT_ONCE, show_progress_bar=False, convert_to_numpy=True
        )
        return unit_rows(pool_windows(np.asarray(vectors, np.float32), windows, len(texts)))

    def _count_tokens(self, texts: Sequence[str]) -> list[int]:
        encoded = self._model.tokenizer(list(texts), add_special_tokens=False, truncation=False)
        return [len(ids) for ids in encoded["input_ids"]]

    @cached_property
    def _special_tokens(self) -> int:
        return int(self._model.tokenizer.num_special_tokens_to_add())

    @cached_property
    def _model(self) -> "SentenceTransformer":
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar, set_verbosity_error

        disable_progress_bar()
        set_verbosity_error()  # of texts longer than the context, which are cut before
        try:
            return SentenceTransformer(
                str(self._folder), device=choose_device(), local_files_only=True
            )
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise UserError(
                f"{self._field}: sentence-transformers cannot open {str(self._folder)!r}: {reason}"
            ) from error
