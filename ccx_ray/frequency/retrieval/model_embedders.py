"""Embedders that are the model of a folder: sentence-transformers, and causal models.

Models cut what is longer than their context and say nothing. A Tibetan passage of 1,000 characters
has several thousand tokens, so most of it would be unsearchable: longer texts are cut into windows
and their vectors pooled.
"""

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import CausalModel, choose_device, load_causal_model
from ccx_ray.frequency.retrieval.vectors import Vectors, unit_rows
from ccx_ray.frequency.text.documents import cut_passages
from ccx_ray.orchestration.fingerprints import fingerprint
from ccx_ray.storage.hashing import file_sha256

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

LONGEST_WINDOW = 2048
"""Tokens, of a causal model with a longer context."""
TOKENS_AT_ONCE = 8192
TEXTS_AT_ONCE = 32


class _ModelEmbedder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.cut_texts = 0

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the content of every file; where the folder lies does not matter."""
        files = {file.relative_to(self._folder): file for file in self._folder.rglob("*")}
        return fingerprint(
            {
                str(name): file_sha256(file)
                for name, file in files.items()
                if file.is_file() and not any(part.startswith(".") for part in name.parts)
            }
        )


class HiddenStatesEmbedder(_ModelEmbedder):
    """The mean of a causal model's last hidden states over all tokens of a text.

    The study's own base can be one, which never saw anything but the study's text.
    """

    @cached_property
    def dimensions(self) -> int:
        return int(self._model.network.config.get_text_config().hidden_size)

    def embed(self, texts: Sequence[str]) -> Vectors:
        sums = np.zeros((len(texts), self.dimensions), np.float64)
        encoded = self._model.tokenizer(
            list(texts), add_special_tokens=False, truncation=False
        )["input_ids"] if texts else []  # fmt: skip
        # Every window begins with the end-of-text token, as the documents in training do.
        most = min(self._model.context or LONGEST_WINDOW, LONGEST_WINDOW) - 1
        self.cut_texts += sum(len(tokens) > most for tokens in encoded)
        windows = [
            (owner, tokens[start : start + most])
            for owner, tokens in enumerate(encoded)
            for start in range(0, len(tokens), most)
        ]
        windows.sort(key=lambda window: len(window[1]))
        at = 0
        while at < len(windows):
            end = at + 1
            while end < len(windows):
                if (end - at + 1) * (len(windows[end][1]) + 1) > TOKENS_AT_ONCE:
                    break
                end += 1
            owners, batch = zip(*windows[at:end], strict=True)
            np.add.at(sums, list(owners), self._summed_states(batch))
            at = end
        return unit_rows(sums.astype(np.float32))

    def _summed_states(self, windows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """The sum of the hidden states of each window's own tokens: ``[windows, dimensions]``."""
        import torch

        longest = max(map(len, windows)) + 1
        ids = torch.full((len(windows), longest), self._model.first_token)
        mask = torch.zeros(len(windows), longest, dtype=torch.long)
        for row, tokens in enumerate(windows):
            ids[row, 1 : len(tokens) + 1] = torch.tensor(tokens)
            mask[row, : len(tokens) + 1] = 1
        ids, mask = ids.to(self._model.device), mask.to(self._model.device)
        with torch.inference_mode():
            states: torch.Tensor = self._model.network.base_model(
                input_ids=ids, attention_mask=mask, use_cache=False
            ).last_hidden_state
            mask[:, 0] = 0  # the end-of-text token is no part of the text
            summed = (states.float() * mask.unsqueeze(2)).sum(dim=1)
        result: NDArray[np.float32] = summed.cpu().numpy()
        return result

    @cached_property
    def _model(self) -> CausalModel:
        return load_causal_model(self._folder, choose_device())


class SentenceTransformersEmbedder(_ModelEmbedder):
    """The vectors of a model; of a text beyond its context those of its windows, pooled."""

    @cached_property
    def dimensions(self) -> int:
        """Of the vectors; from the folder's files where they tell."""
        for path in sorted(self._folder.glob("*_Pooling/config.json")):
            found = json.loads(path.read_text("utf-8")).get("word_embedding_dimension")
            if found and not list(self._folder.glob("*_Dense")):
                return int(found)
        return len(self._model.encode(""))

    def embed(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.empty((0, self.dimensions), np.float32)
        tokenizer = self._model.tokenizer
        most = int(self._model.max_seq_length or 512) - int(tokenizer.num_special_tokens_to_add())

        def count_tokens(pieces: Sequence[str]) -> list[int]:
            encoded = tokenizer(list(pieces), add_special_tokens=False, truncation=False)
            return [len(ids) for ids in encoded["input_ids"]]

        windows = cut_windows(texts, count_tokens, most)
        self.cut_texts += int((np.bincount(windows.owners) > 1).sum())
        vectors = self._model.encode(
            windows.texts, batch_size=TEXTS_AT_ONCE, show_progress_bar=False, convert_to_numpy=True
        )
        return unit_rows(pool_windows(np.asarray(vectors, np.float32), windows, len(texts)))

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
    owners, _, pieces, tokens_of = zip(*sorted(done, key=lambda piece: piece[:2]), strict=True)
    return Windows(list(pieces), np.array(owners, np.int64), np.array(tokens_of, np.int64))


def pool_windows(vectors: Vectors, windows: Windows, texts: int) -> Vectors:
    """The mean of every text's windows, weighted by their tokens: ``[texts, dimensions]``."""
    pooled = np.zeros((texts, vectors.shape[1]), np.float64)
    np.add.at(pooled, windows.owners, vectors * windows.tokens[:, None])
    totals = np.bincount(windows.owners, windows.tokens, texts)
    return (pooled / np.maximum(totals, 1)[:, None]).astype(np.float32)
