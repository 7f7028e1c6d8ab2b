"""Perplexity of real bundled text against a plain loop that takes nothing of the package."""

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ccx_ray.corpus.packing.heldout import HELD_OUT, hold_out
from ccx_ray.errors import UserError
from ccx_ray.evaluation.models import CausalModel, load_causal_model
from ccx_ray.evaluation.perplexity import (
    held_out_rows,
    publish_perplexity,
    read_perplexity,
    summarize_perplexity,
)
from ccx_ray.study.text_spec import CleaningSpec, HeldOutSpec
from tests.probe_models import write_random_model
from tests.small_corpus import bundled_language, text_folder

LANGUAGES = ("en", "ko", "zh", "bo", "mn")
WINDOW = 64


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def model(model_folder: Path) -> CausalModel:
    return load_causal_model(model_folder, "cpu")


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory, project: Path) -> dict[str, Path]:
    """Held-out files of all bundled languages."""
    root, spec = tmp_path_factory.mktemp("held-out"), HeldOutSpec(share=0.2, characters=4000)
    for code in LANGUAGES:
        folder = root / code
        language = bundled_language(project, folder / "raw", code, documents=250, pairs=250)
        text_folder(language, folder / "raw", folder / "text", cleaning=CleaningSpec())
        hold_out(folder / "text", (folder / "text",), spec, folder)
    return {code: root / code / HELD_OUT for code in LANGUAGES}


def rows(
    model: CausalModel, file: Path, *, language: str = "ko", tokens_per_batch: int = 2048
) -> list[dict[str, object]]:
    table = held_out_rows(
        model,
        "ko-bridge-s0",
        60,
        language,
        file,
        tokens_per_batch=tokens_per_batch,
        sequence_length=WINDOW,
    )
    return table.to_pylist()


@torch.no_grad()
def plain_rows(folder: Path, file: Path) -> list[tuple[str, int, int, float]]:
    """id, tokens, bytes and nats of every document: one window a pass, in double precision sums."""
    network = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    for document in pq.read_table(file).to_pylist():
        ids = tokenizer(document["text"]).input_ids
        nats, begin = 0.0, 0
        while begin < len(ids):
            window = ids[begin : begin + WINDOW - 1]
            tokens = torch.tensor([[tokenizer.eos_token_id, *window]])
            mean = network(tokens, labels=tokens).loss
            nats += float(mean) * len(window)
            begin += len(window)
        found.append((document["id"], len(ids), len(document["text"].encode()), nats))
    return found


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_document_is_that_of_a_plain_loop(
    code: str, model: CausalModel, model_folder: Path, held_out: dict[str, Path]
) -> None:
    ours = rows(model, held_out[code], language=code)
    expected = plain_rows(model_folder, held_out[code])
    assert [(r["document"], r["tokens"], r["bytes"]) for r in ours] == [e[:3] for e in expected]
    assert [r["nats"] for r in ours] == pytest.approx([e[3] for e in expected], rel=1e-5)
    assert {(r["trial"], r["step"], r["language"]) for r in ours} == {("ko-bridge-s0", 60, code)}
    assert len(ours) >= 2
    # A document that fits a window and one that does not; Mongolian ones are short.
    assert any(r["tokens"] > WINDOW for r in ours)


def test_rows_do_not_depend_on_the_batches(model: CausalModel, held_out: dict[str, Path]) -> None:
    alone = rows(model, held_out["ko"], tokens_per_batch=1)
    for tokens_per_batch in (7 * WINDOW, 100_000):
        batched = rows(model, held_out["ko"], tokens_per_batch=tokens_per_batch)
        nats = [row.pop("nats") for row in batched]
        assert nats == pytest.approx([row["nats"] for row in alone], rel=1e-5)
        assert batched == [{k: v for k, v in row.items() if k != "nats"} for row in alone]


def test_what_is_published_is_what_is_read(
    model: CausalModel, held_out: dict[str, Path], tmp_path: Path
) -> None:
    tables = [
        held_out_rows(
            model, "base", 3, code, held_out[code], tokens_per_batch=2048, sequence_length=WINDOW
        )
        for code in ("en", "mn")
    ]
    path = tmp_path / "perplexity-000003.parquet"
    publish_perplexity(path, tables)
    assert read_perplexity(path).equals(pa.concat_tables(tables))
    publish_perplexity(path, tables[:1])  # the first one stays
    assert read_perplexity(path).num_rows == sum(table.num_rows for table in tables)
    empty = tmp_path / "perplexity-000004.parquet"
    publish_perplexity(empty, [])
    assert summarize_perplexity(read_perplexity(empty)) == {}


def test_the_summary_of_a_language(model: CausalModel, held_out: dict[str, Path]) -> None:
    documents = rows(model, held_out["ko"])
    table = held_out_rows(
        model, "base", 1, "ko", held_out["ko"], tokens_per_batch=2048, sequence_length=WINDOW
    )
    other = table.slice(0, 1).set_column(2, "language", pa.array(["zh"]))
    summary = summarize_perplexity(pa.concat_tables([table, other]))
    assert list(summary) == ["ko", "zh"]
    nats, tokens, size = (
        sum(document[name] for document in documents) for name in ("nats", "tokens", "bytes")
    )
    ko = summary["ko"]
    assert ko["perplexity"] == pytest.approx(math.exp(nats / tokens))
    assert ko["bits_per_byte"] == pytest.approx(nats / math.log(2) / size)
    assert (ko["documents"], ko["tokens"], ko["bytes"]) == (len(documents), tokens, size)
    assert summary["zh"]["standard_error"] is None, "one document says nothing of the spread"
    # The jackknife, another estimate of the same error.
    left_out = [(nats - d["nats"]) / (size - d["bytes"]) / math.log(2) for d in documents]
    mean = sum(left_out) / len(left_out)
    jackknife = math.sqrt(
        sum((rate - mean) ** 2 for rate in left_out) * (len(left_out) - 1) / len(left_out)
    )
    assert ko["standard_error"] == pytest.approx(jackknife, rel=0.1)


def test_a_model_that_knows_nothing_has_the_vocabularys_perplexity(
    model_folder: Path, held_out: dict[str, Path], tmp_path: Path
) -> None:
    network = AutoModelForCausalLM.from_pretrained(model_folder)
    torch.nn.init.zeros_(network.get_input_embeddings().weight)  # tied to the head
    network.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(model_folder).save_pretrained(tmp_path)
    table = held_out_rows(
        load_causal_model(tmp_path, "cpu"),
        "base",
        1,
        "bo",
        held_out["bo"],
        tokens_per_batch=2048,
        sequence_length=WINDOW,
    )
    assert summarize_perplexity(table)["bo"]["perplexity"] == pytest.approx(4096, rel=1e-5)


def test_a_window_longer_than_the_context_is_refused(
    model: CausalModel, held_out: dict[str, Path]
) -> None:
    with pytest.raises(UserError, match=r"^sequence_length 4096 is above the context of .*2048"):
        held_out_rows(
            model, "base", 1, "ko", held_out["ko"], tokens_per_batch=9, sequence_length=4096
        )


def test_scores_that_are_not_finite_are_refused(
    model_folder: Path, held_out: dict[str, Path], tmp_path: Path
) -> None:
    network = AutoModelForCausalLM.from_pretrained(model_folder)
    with torch.no_grad():
        network.model.norm.weight.fill_(float("inf"))
    network.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(model_folder).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="not finite"):
        rows(load_causal_model(tmp_path, "cpu"), held_out["mn"])
