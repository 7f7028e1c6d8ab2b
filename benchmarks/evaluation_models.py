"""Models with random weights to score with, and a tokenizer learnt from the bundled text.

The tokenizer is as small as the laptop study's (4,096 tokens), so sentences are long: fewer tokens
would leave more to the cost of a call, which batching saves most of.
"""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from ccx_ray.corpus.tokenizing.tokenizer import train_tokenizer
from ccx_ray.study.text_spec import TokenizerSpec

DATA = Path(__file__).resolve().parents[1] / "data"
LANGUAGES = ("en", "ko", "zh", "bo", "mn")
VOCABULARY = 4096

SMALL = Qwen2Config(
    vocab_size=VOCABULARY,
    hidden_size=128,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=256,
    max_position_embeddings=2048,
    tie_word_embeddings=True,
    initializer_range=0.15,  # scores differ between sentences as those of a trained model do
)
"""About a million parameters."""

LARGE = Qwen2Config(
    vocab_size=151_936,
    hidden_size=896,
    num_hidden_layers=24,
    num_attention_heads=14,
    num_key_value_heads=2,
    intermediate_size=4864,
    max_position_embeddings=2048,
    tie_word_embeddings=True,
)
"""The architecture of Qwen2.5-0.5B, its vocabulary included: 494 M parameters."""


def write_model(folder: Path, config: Qwen2Config) -> Path:
    """A Hugging Face folder with seeded random weights."""
    torch.manual_seed(0)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    _write_tokenizer(folder)
    return folder


def _write_tokenizer(folder: Path) -> None:
    texts = {}
    for code in LANGUAGES:
        with gzip.open(DATA / "mono" / f"{code}.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows = [{key: json.loads(line)[key] for key in ("id", "text")} for line in lines]
        texts[code] = folder / "text" / code
        (texts[code] / "documents").mkdir(parents=True)
        part = texts[code] / "documents" / "part-00000.parquet"
        pq.write_table(pa.Table.from_pylist(rows), part)
    spec = TokenizerSpec(vocabulary_size=VOCABULARY, megabytes_per_language=1.0)
    train_tokenizer(spec, texts, folder)
