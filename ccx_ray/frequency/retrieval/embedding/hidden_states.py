"""An embedder that is a causal model: the mean of its last hidden states.

The study's own base can be one, which never saw anything but the study's text.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ccx_ray.evaluation.models import CausalModel, choose_device, load_causal_model
from ccx_ray.frequency.retrieval.embedding.interface import Vectors, unit_rows
from ccx_ray.frequency.retrieval.embedding.model_folders import ModelEmbedder

LONGEST_WINDOW = 2048
"""Tokens, of a model with a longer context."""
TOKENS_AT_ONCE = 8192


class HiddenStatesEmbedder(ModelEmbedder):
    """Last hidden states over all tokens of a text, window after window, averaged."""

    name = "hidden_states"

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
            batch = windows[at : at + 1]
            while at + len(batch) < len(windows):
                following = windows[at + len(batch)]
                if (len(batch) + 1) * (len(following[1]) + 1) > TOKENS_AT_ONCE:
                    break
                batch.append(following)
            owners = [owner for owner, _ in batch]
            np.add.at(sums, owners, self._summed_states([tokens for _, tokens in batch]))
            at += len(batch)
        return unit_rows(sums.astype(np.float32))

    def _summed_states(self, windows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """The sum of the hidden states of each window's own tokens: ``[windows, dimensions]``."""
        import torch

        longest = max(map(len, windows)) + 1
        ids = torch.full((len(windows), longest), self._model.end_of_text)
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
