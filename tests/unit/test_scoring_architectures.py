"""Whatever an architecture can do, its token log-probabilities are those of the plain call."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from ccx_ray.evaluation.forward import find_passes, lay_out, score_alone, token_nats
from ccx_ray.evaluation.models import CausalModel

SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "max_position_embeddings": 128,
}

# name, further settings, (shares prefixes, slices the head)
CASES = [
    ("qwen2", {}, (True, True)),
    ("llama", {}, (True, True)),
    ("gpt2", {"n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 128}, (True, True)),
    ("opt", {"ffn_dim": 128, "word_embed_proj_dim": 64}, (True, True)),
    ("mistral", {"sliding_window": 8}, (False, True)),  # sees less than a question
    ("mistral", {"sliding_window": 24}, (True, True)),  # sees short questions only
    ("gemma2", {"head_dim": 16, "sliding_window": 64}, (True, False)),  # caps its logits
    ("cohere", {"logit_scale": 0.3}, (True, False)),
    ("bloom", {"n_layer": 3, "n_head": 4}, (False, True)),  # distances are no positions
    ("mamba", {"state_size": 8}, (False, True)),  # has no attention
]


@pytest.mark.parametrize(
    ("name", "settings", "expected"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)]
)
def test_what_it_can_do_is_found_and_changes_nothing(
    name: str, settings: dict[str, Any], expected: tuple[bool, bool]
):
    torch.manual_seed(0)
    config = AutoConfig.for_model(name, **{**SIZES, **settings})
    network = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    model = CausalModel(
        folder=Path(name),
        network=network,
        tokenizer=range(300),  # only its length is asked for
        end_of_text=0,
        context=128,
        device="cpu",
    )
    passes = find_passes(model)
    assert (passes.trees, passes.sliced_head) == expected
    random = np.random.default_rng(1)
    for length in (20, 40):  # 40 is beyond the window of 24
        first, *others = random.integers(300, size=(4, length - 1)).tolist()
        sentences = [(0, *first), *((0, *first[:9], *other[9:]) for other in others)]
        trees = lay_out(sentences, passes)
        assert len(trees) == (4 if not passes.trees or length > (passes.longest or 128) else 1)
        found = token_nats(model, trees, passes)
        for sentence in sentences:
            assert np.abs(found[sentence] - score_alone(model, sentence)[1]).max() < 1e-5
