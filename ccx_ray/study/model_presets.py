"""Models by name: ``model: qwen2.5-0.5b`` in a study file stands for these sizes.

The Qwen2.5 sizes are those of its technical report (arXiv 2412.15115, table 1) and of the published
config files; the vocabulary is the study's tokenizer's.
"""

from typing import Any

QWEN = {"architecture": "qwen2", "rope_theta": 1000000.0, "max_positions": 2048}


def _qwen(
    hidden: int, layers: int, heads: int, key_value: int, feed_forward: int, *, tied: bool
) -> dict[str, Any]:
    return {
        **QWEN,
        "hidden_size": hidden,
        "layers": layers,
        "attention_heads": heads,
        "key_value_heads": key_value,
        "intermediate_size": feed_forward,
        "tie_embeddings": tied,
    }


MODEL_PRESETS: dict[str, dict[str, Any]] = {
    # The laptop study's own: 0.7 M parameters with 4,096 tokens.
    "laptop": {**_qwen(96, 3, 4, 2, 256, tied=True), "rope_theta": 10000.0},
    # Steps of seconds on a CPU, for rehearsals: about 11 M parameters with 8,192 tokens.
    "tiny": _qwen(320, 6, 5, 1, 1280, tied=True),
    "qwen2.5-0.5b": _qwen(896, 24, 14, 2, 4864, tied=True),
    "qwen2.5-1.5b": _qwen(1536, 28, 12, 2, 8960, tied=True),
    "qwen2.5-3b": _qwen(2048, 36, 16, 2, 11008, tied=True),
    "qwen2.5-7b": _qwen(3584, 28, 28, 4, 18944, tied=False),
}
