"""An embedder that is any sentence-transformers folder.

Models cut what is longer than their context and say nothing. A Tibetan passage of 1,000 characters
has several thousand tokens, so most of it would be unsearchable: longer texts are cut into windows
and their vectors pooled.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import choose_device
from ccx_ray.frequency.retrieval.embedding.interface import Vectors, unit_rows
from ccx_ray.frequency.retrieval.embedding.model_folders import ModelEmbedder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

from collections.abc import Callable
from typing import NamedTuple

from numpy.typing import NDArray

from ccx_ray.frequency.text.passages import cut_passages

TEXTS_AT_ONCE = 32


class SentenceTransformersEmbedder(ModelEmbedder):
    """The vectors of a model; of a text beyond its context those of its windows, pooled."""

    name = "sentence_transformers"

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
                "frequency.embedder.folder: sentence-transformers cannot open "
                f"{str(self._folder)!r}: {reason}"
            ) from error


class Windows(NamedTuple):
    """Pieces of texts, in their order."""

    texts: list[str]
    owners: NDArray[np.int64]
    """``[windows]``, the place of the text that each is of."""
    tokens: NDArray[np.int64]
    """``[windows]``."""


def cut_windows(
    texts: Sequence[str], count_tokens: Callable[[Sequence[str]], Sequence[int]], most: int
) -> Windows:
    """Cut texts at the ends of sentences or words until every piece has at most so many tokens.

    A piece of one character is left as it is, however many tokens that takes.
    """
    done: list[tuple[int, int, str, int]] = []
    waiting = [(owner, 0, text) for owner, text in enumerate(texts)]
    while waiting:
        counts = count_tokens([text for _, _, text in waiting])
        longer: list[tuple[int, int, str]] = []
        for (owner, start, text), tokens in zip(waiting, counts, strict=True):
            if tokens <= most or len(text) < 2:
                done.append((owner, start, text, tokens))
                continue
            # A little shorter than the average tells, for tokens are not spread evenly.
            limit = max(1, min(len(text) - 1, int(0.9 * len(text) * most / tokens)))
            longer.extend(
                (owner, start + at, text[at : at + length])
                for at, length in cut_passages(text, limit)
            )
        waiting = longer
    done.sort(key=lambda piece: piece[:2])
    return Windows(
        [text for _, _, text, _ in done],
        np.array([owner for owner, _, _, _ in done], np.int64),
        np.array([tokens for _, _, _, tokens in done], np.int64),
    )


def pool_windows(vectors: Vectors, windows: Windows, texts: int) -> Vectors:
    """The mean of every text's windows, weighted by their tokens: ``[texts, dimensions]``."""
    pooled = np.zeros((texts, vectors.shape[1]), np.float64)
    np.add.at(pooled, windows.owners, vectors * windows.tokens[:, None])
    totals = np.bincount(windows.owners, windows.tokens, texts)
    return (pooled / np.maximum(totals, 1)[:, None]).astype(np.float32)
