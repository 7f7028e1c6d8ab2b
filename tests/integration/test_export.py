"""The export of a finished study equals its storage, when read without ccx_ray."""

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import yaml

from ccx_ray.corpus.packing.exposure import ExposureLedger
from ccx_ray.corpus.packing.stream import Stream
from ccx_ray.export.data_sets import described
from ccx_ray.export.dataset_card import file_pattern
from ccx_ray.orchestration.step_folders import MARKER, describe_files
from ccx_ray.storage.remote_folders import publish_verified
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.loading import load_study
from ccx_ray.study_graph import study_graph
from tests.jobs import call_job
from tests.tiny_study import TRIALS, FinishedStudy, Results

ALONE = (
    "import runpy, sys; sys.modules['ccx_ray'] = None; "
    "runpy.run_path(sys.argv.pop(1), run_name='__main__')"
)
"""Runs a script to which ccx_ray cannot be imported."""


def export(results: Results, to: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return call_job("export", "--study", "tiny", "--storage", str(results.storage),
                    "--to", str(to), *arguments)  # fmt: skip


@pytest.fixture(scope="module")
def results(finished_study: FinishedStudy) -> Results:
    return finished_study.results


@pytest.fixture(scope="module")
def bundle(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study with the last checkpoint of each training."""
    folder = tmp_path_factory.mktemp("exported") / "tiny-export"
    job = export(results, folder, "--weights", "last")
    assert job.returncode == 0, job.stderr
    assert "weights: of 3 of 7 checkpoints" in job.stdout
    assert "licence: not stated for languages.en.monolingual, languages.ko" in job.stdout
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    return folder


@pytest.fixture
def copied(finished_study: FinishedStudy, tmp_path: Path) -> Results:
    return finished_study.copy_steps(tmp_path / "storage", without=())


def files_of(bundle: Path) -> list[str]:
    return [p.relative_to(bundle).as_posix() for p in bundle.rglob("*") if p.is_file()]


def rows_of(bundle: Path, name: str) -> pa.Table:
    return ds.dataset(bundle / "data" / name).to_table()


def card_of(bundle: Path, name: str = "README.md") -> dict[str, Any]:
    """The front matter of a card."""
    content: dict[str, Any] = yaml.safe_load((bundle / name).read_text("utf-8").split("---\n")[1])
    return content


def read_alone(bundle: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-I", "-c", ALONE, str(bundle / "read_export.py"), str(bundle)],
        capture_output=True, text=True, check=False, cwd=bundle,
    )  # fmt: skip


def test_every_file_is_listed_in_the_card_and_has_a_checksum(bundle: Path):
    card = (bundle / "README.md").read_text("utf-8")
    patterns = [
        file_pattern(text) for text in re.findall(r"`([\w*/.-]+\.[\w*]+|models/[*/\w-]+)`", card)
    ]
    files = files_of(bundle)
    assert [name for name in files if not any(p.fullmatch(name) for p in patterns)] == []
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "checksums.sha256"],
        cwd=bundle, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout
    listed = [line[66:] for line in (bundle / "checksums.sha256").read_text().splitlines()]
    assert sorted([*listed, "checksums.sha256"]) == sorted(files)


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("_no_network")
def test_datasets_reads_every_configuration_without_a_network(bundle: Path, tmp_path: Path):
    from datasets import load_dataset

    configs = {one["config_name"]: one for one in card_of(bundle)["configs"]}
    folders = {path.name for path in (bundle / "data").iterdir()}
    assert set(configs) == folders > {"scores", "curves", "losses", "order", "rows", "documents"}
    for name in configs:
        found = load_dataset(str(bundle), name, split="train", cache_dir=str(tmp_path))
        rows = rows_of(bundle, name)
        assert (found.num_rows, found.column_names) == (rows.num_rows, rows.column_names), name
        assert set(rows.column_names) == set(described()[name]["columns"]), name
    default = load_dataset(str(bundle), split="train", cache_dir=str(tmp_path))
    assert "mutual_information" in default.column_names


def test_scores_and_losses_are_those_of_the_storage(bundle: Path, results: Results):
    for run in ("base", *TRIALS):
        exported = pq.read_table(bundle / f"data/scores/{run}.parquet")
        order = [("step", "ascending"), ("probe", "ascending"), ("question", "ascending")]
        assert exported.sort_by(order).equals(results.answers(run))
        losses = pq.read_table(bundle / f"data/losses/{run}.parquet")
        folder = results.folder(run if run == "base" else f"trial-{run}")
        assert losses.drop_columns(["training"]).equals(pq.read_table(folder / "losses.parquet"))


def test_a_plain_script_finds_the_numbers_of_the_report(bundle: Path, results: Results):
    job = read_alone(bundle)
    assert job.returncode == 0, job.stderr
    answered, transferred, verdict = (part.splitlines() for part in job.stdout.split("\n\n"))
    reported = json.loads((results.folder("analysis") / "results.json").read_text())
    accuracies = {tuple(line.split("\t")[:3]): float(line.split("\t")[3]) for line in answered[1:]}
    assert len(accuracies) == 2 * (1 + 2 * 3)
    for row in reported["accuracies"]:
        if row["seed"] is not None:
            place = (f"ko-{row['condition']}-s0", str(row["step"]), row["probe"])
            assert accuracies[place] == pytest.approx(row["accuracy"], abs=1e-6)
    last = {(row["language"], row["direction"]): row for row in reported["headlines"]}
    assert len(transferred) == 1 + len(last) == 3
    for line in transferred[1:]:
        language, direction, step, transfer, bridge, nobridge, questions, seeds = line.split("\t")
        row = last[language, direction]
        assert (int(step), int(questions), int(seeds)) == (row["step"], row["questions"], 1)
        shares = [row[name] for name in ("transfer", "bridge", "nobridge")]
        assert [float(transfer), float(bridge), float(nobridge)] == pytest.approx(shares, abs=1e-6)
    assert verdict == ["16 of 16 numbers are those of results.json"]


def test_the_plain_script_says_where_scores_are_not_the_reports(bundle: Path, tmp_path: Path):
    shutil.copytree(bundle, tmp_path / "copy")
    path = tmp_path / "copy/data/scores/ko-bridge-s0.parquet"
    table = pq.read_table(path)
    flipped = pc.list_flatten(table["right"]).combine_chunks()
    right = pa.ListArray.from_arrays(table["right"].combine_chunks().offsets, pc.invert(flipped))
    place = table.schema.get_field_index("right")
    pq.write_table(table.set_column(place, "right", right), path)
    job = read_alone(tmp_path / "copy")
    assert job.returncode == 1
    assert "ko-bridge-s0\t90\tko-en\t" in job.stdout.split("numbers are those")[1]


def test_the_order_of_the_data_is_what_the_ledger_says(bundle: Path, results: Results):
    """Of every document, the bytes that a training had consumed by a step."""
    training = "ko-nobridge-s0"
    stream = Stream.open(results.folder("stream-ko-s0") / "nobridge")
    ledger = ExposureLedger.open(stream, rows_per_step=8)
    order = pq.read_table(bundle / f"data/order/{training}.parquet").to_pylist()
    rows = pq.read_table(bundle / f"data/rows/{training}.parquet").to_pylist()
    documents = pq.read_table(bundle / "data/documents/ko.parquet")
    assert documents.drop_columns(["stream_language"]).equals(stream.documents())
    consumed = np.zeros(documents.num_rows, np.int64)
    for one in order[:60]:
        for row in one["rows"]:
            assert rows[row]["row"] == row
            for segment in rows[row]["segments"]:
                consumed[segment["document"]] += segment["length"]
    numbers = np.arange(documents.num_rows)
    expected = ledger.consumed(numbers, np.array([60])).bytes[:, 0]
    assert consumed.sum() > 0
    assert (consumed == expected).all()


def test_a_copied_checkpoint_opens_and_gives_the_same_logits(bundle: Path, results: Results):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for run, step in (("base", 20), ("ko-bridge-s0", 90)):
        folder = results.folder(run if run == "base" else f"trial-{run}")
        folders = [bundle / "models" / run, folder / "checkpoints" / f"step-{step:06d}"]
        tokens = [AutoTokenizer.from_pretrained(one)("서울 is big").input_ids for one in folders]
        assert tokens[0] == tokens[1]
        with torch.no_grad():
            logits = [AutoModelForCausalLM.from_pretrained(one)(torch.tensor([tokens[0]])).logits
                      for one in folders]  # fmt: skip
        assert torch.equal(*logits)


def test_cards_are_taken_by_the_hubs_library(bundle: Path, results: Results):
    from huggingface_hub import DatasetCard, ModelCard

    data = DatasetCard.load(bundle / "README.md").data
    assert (data.language, data.license) == (["en", "ko"], "unknown")
    assert data.pretty_name == "ccx_ray study tiny"
    for run in ("base", *TRIALS):
        card = ModelCard.load(bundle / "models" / run / "README.md")
        assert card.data.library_name == "transformers"
        assert card.data.language == (["en"] if run == "base" else ["en", "ko"])
        metrics = {one.dataset_type: one.metric_value for one in card.data.eval_results or []}
        rows = results.answers(run)
        last = rows.filter(pc.equal(rows["step"], pc.max(rows["step"])))
        for probe in ("ko-en", "ko-ko"):
            correct = last.filter(pc.equal(last["probe"], probe))["correct"]
            assert metrics[probe] == pytest.approx(pc.mean(correct).as_py())
        folder = results.folder(run if run == "base" else f"trial-{run}")
        for manifest in folder.glob("checkpoints/*/manifest.json"):
            files = json.loads(manifest.read_text())["files"]
            assert files["model.safetensors"]["sha256"] in card.text
    base = card_of(bundle, f"models/{TRIALS[0]}/README.md")["base_checkpoint"]
    assert (base["model"], base["step"]) == ("base", 20)
    assert base["sha256"]["model.safetensors"] in (bundle / "models/base/README.md").read_text()


def test_the_study_file_gives_the_same_steps_beside_the_same_text(
    bundle: Path, finished_study: FinishedStudy, tmp_path: Path
):
    folder = shutil.copytree(finished_study.study.parent, tmp_path / "text")
    shutil.copy(bundle / "study.yaml", folder / "study.yaml")
    study, root = load_study(str(folder / "study.yaml"))
    graph = study_graph(study, InputFiles(root))
    provenance = json.loads((bundle / "provenance.json").read_text())
    exported = {step["name"]: step["fingerprint"] for step in provenance["steps"]}
    del exported["analysis"]  # of which the declaration is part
    assert exported == {name: graph[name].fingerprint for name in exported}
    assert {"base", "evaluate-ko-bridge-s0", "stream-ko-s0", "text-ko"} < set(exported)


def test_no_text_of_a_source_no_place_and_no_machine_is_in_it(
    bundle: Path, results: Results, finished_study: FinishedStudy
):
    run = json.loads((results.storage / "tiny" / "run.json").read_text())
    texts = pq.read_table(results.folder("text-ko") / "documents")["text"].to_pylist()
    private = [str(results.storage), str(finished_study.study.parent), f'"{run["host"]}"']
    snippets = [text[:40] for text in texts if len(text) >= 40]
    assert len(snippets) > 50
    for name in files_of(bundle):
        content = (bundle / name).read_bytes()
        if name.endswith(".parquet"):
            content = str(pq.read_table(bundle / name).to_pydict()).encode()
        assert not [word for word in private if word.encode() in content], name
        assert not [text for text in snippets if text.encode() in content], name


def test_the_same_export_is_the_same_bytes(bundle: Path, results: Results, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    job = export(results, tmp_path / "empty", "--weights", "last")
    assert job.returncode == 0, job.stderr
    checksums = [(one / "checksums.sha256").read_text() for one in (bundle, tmp_path / "empty")]
    assert checksums[0] == checksums[1]
    assert export(results, tmp_path / "empty").returncode == 2


def test_all_weights_and_none(results: Results, tmp_path: Path):
    assert export(results, tmp_path / "all", "--weights", "all").returncode == 0
    assert export(results, tmp_path / "none").returncode == 0
    every = {name for name in files_of(tmp_path / "all") if name.endswith(".safetensors")}
    assert every == {
        "models/base/model.safetensors",
        *(f"models/{trial}/{folder}model.safetensors" for trial in TRIALS
          for folder in ("", "step-000030/", "step-000060/")),
    }  # fmt: skip
    assert not [name for name in files_of(tmp_path / "none") if name.endswith(".safetensors")]
    for folder in ("all", "none"):
        for row in rows_of(tmp_path / folder, "checkpoints").to_pylist():
            assert (results.storage / row["place"]).is_dir()
            assert (row["folder"] is not None) == (folder == "all")
            assert sum(file["bytes"] for file in row["files"]) == row["bytes"] > 100_000


def test_weights_that_lie_elsewhere_are_fetched(copied: Results, bundle: Path, tmp_path: Path):
    folder = copied.folder("trial-ko-bridge-s0")
    checkpoint = folder / "checkpoints" / "step-000090"
    original = shutil.copytree(checkpoint, tmp_path / "original")
    (original / "manifest.json").unlink()

    def fill(place: Path) -> None:
        shutil.copytree(original, place, dirs_exist_ok=True)

    publish_verified(checkpoint, fill, storage=str(tmp_path / "elsewhere"))
    assert [path.name for path in checkpoint.iterdir()] == ["remote.json"]
    marker = json.loads((folder / MARKER).read_text())
    (folder / MARKER).write_text(
        json.dumps({**marker, "files": describe_files(folder, times=True)})
    )
    job = export(copied, tmp_path / "out", "--weights", "last")
    assert job.returncode == 0, job.stderr
    for name in ("model.safetensors", "config.json"):
        exported = (tmp_path / "out/models/ko-bridge-s0" / name).read_bytes()
        assert exported == (bundle / "models/ko-bridge-s0" / name).read_bytes()


def stating(copied: Results, **changes: Any) -> None:
    """Change the spec that the last run recorded, as a run does after its file was changed."""
    path = copied.storage / "tiny" / "run.json"
    run = json.loads(path.read_text())
    (korean,) = run["spec"]["languages"]
    korean["monolingual"][0] |= changes
    korean["probes"]["license"] = ["Apache-2.0"]
    path.write_text(json.dumps(run))


def test_licences_that_the_study_file_states(copied: Results, tmp_path: Path):
    stating(copied, path="a|b <c>.jsonl", license=["CC-BY-SA-4.0", "my | own"])
    job = export(copied, tmp_path / "out")
    assert job.returncode == 0, job.stderr
    assert "not stated for languages.en.monolingual, languages.ko.parallel; state" in job.stdout
    page = (tmp_path / "out/LICENSES.md").read_text()
    (line,) = (line for line in page.splitlines() if "languages.ko.monolingual" in line)
    assert r"| a\|b &lt;c&gt;.jsonl | CC-BY-SA-4.0; my \| own | mono-ko.jsonl `" in line
    assert page.count("not stated") == 2
    card = card_of(tmp_path / "out")
    assert card["license"] == ["cc-by-sa-4.0", "apache-2.0", "unknown", "other"]
    assert card["license_link"] == "LICENSES.md"
    assert card_of(tmp_path / "out", "models/base/README.md")["license"] == "unknown"
    model = card_of(tmp_path / "out", "models/ko-bridge-s0/README.md")
    assert model["license"] == ["cc-by-sa-4.0", "unknown", "other"]


def damaged(copied: Results) -> Iterator[tuple[Path, str]]:
    scores = copied.folder("evaluate-ko-bridge-s0") / "step-000060.parquet"
    yield scores, "changed since it was written, so step evaluate-ko-bridge-s0 cannot be reused"
    weights = copied.folder("base") / "checkpoints" / "step-000020" / "model.safetensors"
    yield weights, "changed since it was written, so step base cannot be reused"


def test_what_is_not_what_was_written_is_refused(copied: Results, tmp_path: Path):
    for path, reason in damaged(copied):
        content = path.read_bytes()
        path.write_bytes(content[:-8] + b"\0" * 8)
        job = export(copied, tmp_path / "out")
        (line,) = job.stderr.splitlines()
        assert (job.returncode, line.startswith(f"error: {path}: {reason}")) == (2, True), line
        assert not (tmp_path / "out").exists()
        path.write_bytes(content)
    assert export(copied, tmp_path / "out").returncode == 0


def test_an_unfinished_study_is_refused_whole(copied: Results, tmp_path: Path):
    (copied.folder("evaluate-ko-nobridge-s0") / MARKER).unlink()
    job = export(copied, tmp_path / "out")
    (line,) = job.stderr.splitlines()
    assert job.returncode == 2
    assert line == (
        f"error: {copied.storage / 'tiny'}: not finished, without evaluate-ko-nobridge-s0; finish "
        f"it with python jobs/status.py --study tiny --storage {copied.storage} --resume"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["storage"]
