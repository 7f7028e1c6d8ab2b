"""Tokenizers like those of published models: our scores are those of lm-evaluation-harness."""

from pathlib import Path
from typing import Any

import pytest

from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import load_causal_model
from ccx_ray.evaluation.prefix import choose_prefix
from ccx_ray.evaluation.probes import Probe, ProbeItem
from ccx_ray.evaluation.scoring import encode_probe, score_encoded
from tests.tokenizer_kinds import (
    ALL_KINDS,
    CHAT,
    END,
    accuracies,
    harness_results,
    open_tasks,
    score,
    write_kind,
    write_tasks,
)

QUESTIONS = 3


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Probe], Any]:
    folder = tmp_path_factory.mktemp("tasks")
    cloze, tasks = write_tasks(folder, QUESTIONS)
    return cloze | tasks, open_tasks(folder, [*cloze, *tasks])


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_scores_are_the_harness_s(
    kind: str, asked: tuple[dict[str, Probe], Any], tmp_path: Path
) -> None:
    model = load_causal_model(write_kind(tmp_path, kind), "cpu")
    probes, tasks = asked
    found = harness_results(model, tasks)
    for name, probe in probes.items():
        ours = accuracies(model, probe)
        theirs = {metric: found["results"][name][f"{metric},none"] for metric in ours}
        assert ours == pytest.approx(theirs), name
        samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
        scored = score(model, probe, "sum" if probe.items[0].context is None else "option_sum")
        for sample, one in zip(samples, scored, strict=True):
            nats = [-float(nats) for nats, _ in sample["filtered_resps"]]
            kind_of_score = "sum" if one.item.context is None else "option_sum"
            assert one.scores(kind_of_score) == pytest.approx(nats, abs=1e-3), name


def prefix_of(
    folder: Path, kind: str, rule: Any = "auto", scoring: Any = "reference"
) -> str | None:
    model = load_causal_model(folder / kind, "cpu")
    token = choose_prefix(model, rule, scoring).token
    return None if token is None else str(model.tokenizer.decode([token]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for kind in ALL_KINDS:
        write_kind(folder / kind, kind)
    return folder


@pytest.mark.parametrize(
    ("kind", "reference", "other"),
    [
        ("Llama, adds BOS", "<s>", "<s>"),
        ("Llama, adds nothing", "<s>", "<s>"),
        ("Llama 3, adds BOS", "<|begin_of_text|>", "<|begin_of_text|>"),
        ("Gemma, adds EOS", "<bos>", "<bos>"),
        ("Mistral, adds nothing", "<s>", "<s>"),
        ("Qwen, base", END, END),
        # A chat model hides the end-of-text token behind another end of sequence.
        ("Qwen, chat", END, CHAT[1]),
        ("GPT-2", END, END),
        ("BERT's vocab.txt, EOS named", "[CLS]", "[SEP]"),
        ("ByT5, adds EOS", "</s>", "</s>"),
        ("Llama's tokenizer.model, adds BOS", "<s>", "<s>"),
        ("T5's spiece.model, adds EOS", "</s>", "</s>"),
    ],
)
def test_what_stands_before_a_sentence(kind: str, reference: str, other: str, folder: Path) -> None:
    assert prefix_of(folder, kind) == reference
    assert prefix_of(folder, kind, scoring="sum") == other


def test_what_stands_before_a_sentence_can_be_chosen(folder: Path) -> None:
    llama = "Llama, adds BOS"
    assert prefix_of(folder, llama, "end_of_text") == "</s>"
    assert prefix_of(folder, llama, "eos") == "</s>"
    assert prefix_of(folder, llama, "bos") == "<s>"
    assert prefix_of(folder, llama, "none") is None
    with pytest.raises(UserError, match=r"--prefix: 'bos', but .* has no bos_token; give one of"):
        prefix_of(folder, "Qwen, chat", "bos")


def test_with_nothing_before_it_the_first_token_has_no_score(folder: Path) -> None:
    model = load_causal_model(folder / "Llama, adds BOS", "cpu")
    items = (
        ProbeItem(question="The sky is ___.", options=("red", "blue"), answer="blue"),
        ProbeItem(question="___ is the sky.", options=("red", "blue"), answer="blue"),
    )
    probe = Probe(name="p", items=items)

    def scored(rule: Any) -> list[Any]:
        encoded = encode_probe(
            model, probe, prefix=choose_prefix(model, rule, "reference"), alone=False
        )
        found = score_encoded(model, encoded, tokens_per_batch=64)
        return [option for one in found for option in one.options]

    for with_bos, alone in zip(scored("bos"), scored("none"), strict=True):
        assert len(alone.token_nats) == len(with_bos.token_nats) - 1
        assert alone.option_tokens.tolist() == with_bos.option_tokens.tolist()[1:]
