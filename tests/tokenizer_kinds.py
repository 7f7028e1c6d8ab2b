"""Small models with tokenizers like those of published models, with and without added tokens.

``python -m tests.tokenizer_kinds`` prints the accuracies of lm-evaluation-harness and ours for each
of them, as a table.
"""

import io
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    BertTokenizer,
    ByT5Tokenizer,
    GemmaTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Tokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
)

from ccx_ray.evaluation.external.harness import export_tasks, harness_accuracies
from ccx_ray.evaluation.external.probe_files import load_probe_file
from ccx_ray.evaluation.models import CausalModel, load_causal_model
from ccx_ray.evaluation.prefix import choose_prefix
from ccx_ray.evaluation.probes import Probe
from ccx_ray.evaluation.results import ScoredItem
from ccx_ray.evaluation.scoring import encode_probe, score_encoded
from ccx_ray.study.spec import ScoreType
from tests.probe_models import PROBES

SIZE = 700
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
END = "<|endoftext|>"
CHAT = ["<|im_start|>", "<|im_end|>"]


@lru_cache(maxsize=1)
def probe_texts() -> list[str]:
    items = [item for path in PROBES for item in json.loads(path.read_text("utf-8"))[:60]]
    return [text for item in items for text in (item["question"], *item["options"])]


def _learnt(tokenizer: Tokenizer, **settings: Any) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges."""
    trainer = trainers.BpeTrainer(vocab_size=SIZE, show_progress=False, **settings)
    tokenizer.train_from_iterator(probe_texts(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


@lru_cache(maxsize=8)
def _byte_level(*special: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _learnt(tokenizer, special_tokens=list(special), initial_alphabet=alphabet)


@lru_cache(maxsize=8)
def _sentence_pieces(*special: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """With too few characters for the probes, so that the others fall back to bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return _learnt(tokenizer, special_tokens=[*special, *BYTES], limit_alphabet=90)


def _llama(**added: bool) -> Any:
    vocab, merges = _sentence_pieces("<unk>", "<s>", "</s>")
    return LlamaTokenizer(vocab=vocab, merges=merges, **added)


def _gemma(**added: bool) -> Any:
    vocab, merges = _sentence_pieces("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
    return GemmaTokenizer(vocab=vocab, merges=merges, **added)


def _llama3(**added: bool) -> Any:
    begin, end = "<|begin_of_text|>", "<|end_of_text|>"
    vocab, merges = _byte_level(begin, end)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=begin, eos_token=end, **added
    )


def _qwen(eos: str, **added: bool) -> Any:
    vocab, merges = _byte_level(END, *CHAT)
    return Qwen2Tokenizer(vocab=vocab, merges=merges, eos_token=eos, **added)


def _gpt2(**added: bool) -> Any:
    vocab, merges = _byte_level(END)
    return GPT2Tokenizer(vocab=vocab, merges=merges, **added)


def _bert(eos: str | None = None) -> Any:
    letters = sorted(
        {letter for text in probe_texts() for letter in text.lower() if letter.strip()}
    )
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab = [*names, *letters, *(f"##{letter}" for letter in letters)]
    return BertTokenizer(vocab={token: place for place, token in enumerate(vocab)}, eos_token=eos)


BOTH = {"add_bos_token": True, "add_eos_token": True}
NEITHER = {"add_bos_token": False, "add_eos_token": False}
KINDS: dict[str, Callable[[], Any]] = {
    "Llama, adds BOS": lambda: _llama(add_bos_token=True),
    "Llama, adds BOS and EOS": lambda: _llama(**BOTH),
    "Llama, adds nothing": lambda: _llama(**NEITHER),
    "Llama 3, adds BOS": lambda: _llama3(add_bos_token=True),
    "Gemma, adds BOS": lambda: _gemma(add_bos_token=True),
    "Gemma, adds EOS": lambda: _gemma(add_eos_token=True),
    "Mistral, adds BOS": lambda: _llama(add_bos_token=True, add_prefix_space=False),
    "Mistral, adds nothing": lambda: _llama(**NEITHER, add_prefix_space=False),
    "Qwen, base": lambda: _qwen(END),
    "Qwen, chat": lambda: _qwen(CHAT[1]),
    "Qwen, adds EOS": lambda: _qwen(CHAT[1], add_eos_token=True),
    "GPT-2": _gpt2,
    "GPT-2, adds BOS": lambda: _gpt2(add_bos_token=True),
    "GPT-2, adds BOS and EOS": lambda: _gpt2(**BOTH),
    "BERT's vocab.txt, EOS named": lambda: _bert("[SEP]"),
    "ByT5, adds EOS": ByT5Tokenizer,
}


SENTENCEPIECE_KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "Llama's tokenizer.model, adds BOS": (
        "bpe", "tokenizer.model", {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True},
    ),
    "Llama's tokenizer.model, adds nothing": (
        "bpe", "tokenizer.model", {"tokenizer_class": "LlamaTokenizer", **NEITHER},
    ),
    "T5's spiece.model, adds EOS": (
        "unigram", "spiece.model", {"tokenizer_class": "T5Tokenizer", "extra_ids": 0},
    ),
}  # fmt: skip
"""Of a SentencePiece model that is a tokenizer's only file: its kind, its name, and the tokenizer's
config. Causal models with T5's are published for Japanese."""


@lru_cache(maxsize=2)
def _sentencepiece(kind: str) -> bytes:
    """A SentencePiece model by its own trainer, of the probes' text, with Llama's settings for BPE
    and T5's for unigram, which knows no bytes."""
    learnt = io.BytesIO()
    settings: dict[str, Any] = (
        {"byte_fallback": True, "normalization_rule_name": "identity",
         "remove_extra_whitespaces": False}
        if kind == "bpe" else {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
    )  # fmt: skip
    SentencePieceTrainer.train(
        sentence_iterator=iter(probe_texts()), model_writer=learnt, model_type=kind,
        vocab_size=900, character_coverage=0.99, minloglevel=2, **settings,
    )  # fmt: skip
    return learnt.getvalue()


def write_sentencepiece_model(folder: Path, kind: str, named: str | None = "") -> Path:
    """A seeded causal model whose tokenizer is a SentencePiece model alone.

    Args:
        named: another class in the tokenizer's config; None for no such file.
    """
    type_, file, config = SENTENCEPIECE_KINDS[kind]
    model = _sentencepiece(type_)
    own = SentencePieceProcessor(model_proto=model)
    _write_llama(folder, own.get_piece_size(), own.bos_id(), own.eos_id())
    (folder / file).write_bytes(model)
    if named is not None:
        config = {**config, "tokenizer_class": named or config["tokenizer_class"]}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def write_model(folder: Path, tokenizer: Any) -> Path:
    """A seeded causal model for a tokenizer, whose scores differ between sentences."""
    tokenizer.save_pretrained(folder)
    size = max(tokenizer.get_vocab().values()) + 1
    torch.manual_seed(0)
    network: Any
    if isinstance(tokenizer, GPT2Tokenizer):
        config = GPT2Config(
            vocab_size=size, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3,
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        )  # fmt: skip
        network = GPT2LMHeadModel(config)
    else:
        return _write_llama(folder, size, tokenizer.bos_token_id, tokenizer.eos_token_id)
    network.save_pretrained(folder)
    return folder


def _write_llama(folder: Path, size: int, bos: int | None, eos: int | None) -> Path:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=size, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, initializer_range=0.3, bos_token_id=bos, eos_token_id=eos,
        max_position_embeddings=2048,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


ALL_KINDS = (*KINDS, *SENTENCEPIECE_KINDS)


def write_kind(folder: Path, kind: str) -> Path:
    """A seeded causal model with a tokenizer of one of ``ALL_KINDS``."""
    if kind in KINDS:
        return write_model(folder, KINDS[kind]())
    return write_sentencepiece_model(folder, kind)


TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
description: {description}
doc_to_text: "{{{{question}}}}"
doc_to_choice: options
doc_to_target: answer
target_delimiter: "{delimiter}"
metric_list: [{{metric: acc}}, {{metric: acc_norm}}, {{metric: acc_bytes}}]
"""
CONTINUED = {
    # Question up to its blank and options, in the probes' language; delimiter, description.
    "english": ("zh-culture-cloze_en", " ", '"Choose.\\n"'),
    "chinese": ("zh-culture-cloze_zh", "", '""'),
    "tibetan": ("bo-culture-cloze_bo", "", '""'),
    "korean": ("ko-culture-cloze_ko", "", '"고르시오. "'),
}
"""Tasks in which an option follows what stands before the blank."""
CLOZE = ("zh-culture-cloze_zh", "bo-culture-cloze_en", "mn-culture-cloze_mn")


def write_tasks(folder: Path, questions: int) -> tuple[dict[str, Probe], dict[str, Probe]]:
    """Cloze probes, exported; and tasks that are read. By the names of their tasks."""
    by_name = {path.stem: json.loads(path.read_text("utf-8")) for path in PROBES}
    cloze = []
    for name in CLOZE:
        file = folder / f"{name}.json"
        file.write_text(json.dumps(by_name[name][:questions], ensure_ascii=False), "utf-8")
        cloze.append((file, load_probe_file(file)))
    names = export_tasks(cloze, folder)
    tasks = {}
    for name, (probes, delimiter, description) in CONTINUED.items():
        documents = [
            {**item, "question": item["question"].partition("_")[0]}
            for item in by_name[probes]
            if item["question"].find("_") > 2
        ][:questions]
        data = folder / f"{name}-data.json"
        data.write_text("".join(json.dumps(one) + "\n" for one in documents), "utf-8")
        task = folder / f"{name}.yaml"
        text = TASK.format(name=name, data=data, delimiter=delimiter, description=description)
        task.write_text(text, "utf-8")
        tasks[name] = load_probe_file(task)
    return {name: probe for name, (_, probe) in zip(names, cloze, strict=True)}, tasks


def open_tasks(folder: Path, names: list[str]) -> Any:
    """The harness's own tasks of a folder."""
    from lm_eval.tasks import TaskManager, get_task_dict

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return get_task_dict(names, TaskManager(include_path=str(folder), include_defaults=False))


def harness_results(model: CausalModel, tasks: Any) -> dict[str, Any]:
    """What the harness makes of its tasks, with the samples."""
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    own = HFLM(pretrained=model.network, tokenizer=model.tokenizer, device="cpu", batch_size=16)
    found: dict[str, Any] = evaluate(lm=own, task_dict=tasks, bootstrap_iters=0, log_samples=True)
    return found


def score(model: CausalModel, probe: Probe, kind: ScoreType) -> list[ScoredItem]:
    """As jobs/evaluate.py does it."""
    encoded = encode_probe(model, probe, prefix=choose_prefix(model, "auto", kind), alone=False)
    return score_encoded(model, encoded, tokens_per_batch=4096, kinds=(kind,))


def accuracies(model: CausalModel, probe: Probe) -> dict[str, float]:
    """Ours under the harness's names."""
    if probe.items[0].context is not None:
        return harness_accuracies(score(model, probe, "option_sum"))
    return {
        metric: sum(one.ranked(kind).correct for one in score(model, probe, kind))
        / len(probe.items)
        for metric, kind in (("acc", "sum"), ("acc_bytes", "per_byte"))
    }


def accuracy_table(folder: Path, questions: int) -> Iterator[str]:
    """A row a tokenizer: the harness's accuracies and ours, pooled over the cloze probes and over
    the tasks, and how many of those of the single files are equal."""
    cloze, tasks = write_tasks(folder, questions)
    opened = open_tasks(folder, [*cloze, *tasks])
    for kind in ALL_KINDS:
        model = load_causal_model(write_kind(folder / kind, kind), "cpu")
        found = harness_results(model, opened)["results"]
        cells, equal, compared = [kind], 0, 0
        for probes in (cloze, tasks):
            ours = {name: accuracies(model, probe) for name, probe in probes.items()}
            for metric in next(iter(ours.values())):
                both = [(found[name][f"{metric},none"], ours[name][metric]) for name in probes]
                pooled = np.mean(both, axis=0)
                cells.append(f"{pooled[0]:.3f} / {pooled[1]:.3f}")
                equal += sum(abs(theirs - own) < 1e-9 for theirs, own in both)
                compared += len(both)
        yield f"| {' | '.join([*cells, f'{equal} of {compared}'])} |"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for row in accuracy_table(Path(scratch), int(sys.argv[1])):
            print(row, flush=True)
