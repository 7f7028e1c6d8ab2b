"""A small random model with a tokenizer of its own, made from the probe texts."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from ccx_ray.evaluation.models import CausalModel
from ccx_ray.evaluation.probes import Probe
from ccx_ray.evaluation.results import SCORE_TYPES, ScoredItem
from ccx_ray.evaluation.scoring import encode_probe, score_encoded
from ccx_ray.study.spec import ScoreType

PROBES = sorted((Path(__file__).resolve().parents[1] / "data" / "probes").glob("*.json"))


def write_random_model(folder: Path, *, vocabulary_size: int = 4096) -> Path:
    """A seeded Qwen2 of 0.7 M parameters whose scores differ between sentences."""
    texts = [
        text
        for path in PROBES
        for item in json.loads(path.read_text("utf-8"))
        for text in (item["question"], *item["options"])
    ]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary_size,
            special_tokens=["<|endoftext|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(
        folder
    )
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=vocabulary_size,
            hidden_size=96,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=256,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            initializer_range=0.15,
        )
    )
    model.save_pretrained(folder)
    return folder


def score_probe(
    model: CausalModel,
    probe: Probe,
    *,
    tokens_per_batch: int,
    kinds: Sequence[ScoreType] = SCORE_TYPES,
    on_scored: Callable[[int], None] | None = None,
) -> list[ScoredItem]:
    """Encode a probe and score every option of every item of it."""
    encoded = encode_probe(model, probe, alone="mutual_information" in kinds)
    return score_encoded(
        model, encoded, tokens_per_batch=tokens_per_batch, kinds=kinds, on_scored=on_scored
    )
