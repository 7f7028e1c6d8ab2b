"""jobs/evaluate.py and jobs/export_lm_eval.py as a user calls them."""

import json
from pathlib import Path
from typing import Any

import pytest

from ccx_ray.evaluation.models import load_causal_model
from ccx_ray.evaluation.probes import load_probe, quality
from tests.jobs import call_job, run_job
from tests.probe_models import PROBES, score_probe, write_random_model

CHINESE = [path for path in PROBES if path.stem.startswith("zh")]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("model"))


def evaluate(model: Path, files: list[Path], out: Path, *more: str) -> tuple[dict[str, Any], str]:
    names = map(str, files)
    arguments = ("--model", str(model), "--probes", *names, "--out", str(out), *more)
    done = call_job("evaluate", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text("utf-8")), done.stdout + done.stderr


def test_the_job_writes_every_score(model_folder: Path, tmp_path: Path):
    content, printed = evaluate(model_folder, CHINESE, tmp_path / "out.json", "--consistency")
    assert "device cpu, precision float32" in printed
    assert "inexact" not in printed
    assert (
        "token before each sentence: '<|endoftext|>' (the published rule; --prefix auto)" in printed
    )
    assert content["prefix"] == {
        "rule": "auto", "token": "<|endoftext|>", "id": 0, "reason": "the published rule",
    }  # fmt: skip
    assert content["model"] == str(model_folder)
    assert (content["scoring"], content["precision"]) == ("reference", "float32")
    assert [probe["file"] for probe in content["probes"]] == list(map(str, CHINESE))
    for probe in content["probes"]:
        assert probe["questions"] == len(probe["items"]) == 328
        assert probe["correct"] == sum(item["correct"] for item in probe["items"])
        assert probe["accuracy"] == probe["correct"] / 328
        assert probe["accuracy_ties_wrong"] <= probe["accuracy_ties_shared"] <= 1
        assert probe["by_gold_position"]["0"]["questions"] == 292
        assert probe["left_out"] == []
        item = probe["items"][7]
        assert set(item) == {"index", "scores", "ranking", "correct", "tied", "quality"}
        assert item["index"] == 7
        assert item["scores"][item["ranking"][0]] == min(item["scores"])
        assert f"{probe['accuracy']:.1%}" in printed
    (pair,) = content["consistency"]
    assert pair["files"] == list(map(str, CHINESE))
    assert pair["questions"] == 328
    assert 0 < pair["softmax"] < 1
    assert f"{pair['softmax']:.4f}" in printed


def test_another_score_ranks_as_it_does_in_a_study(model_folder: Path, tmp_path: Path):
    file = tmp_path / "odd.json"
    items = json.loads(PROBES[4].read_text("utf-8"))
    assert PROBES[4].stem == "mn-culture-cloze_en"
    chosen = [item for item in items if "_" not in item["question"]] + items[:30]
    file.write_text(json.dumps(chosen), "utf-8")
    model = load_causal_model(model_folder, "cpu")
    probe = load_probe(file, "odd")
    for kind in ("option_per_byte", "mutual_information"):
        content, _ = evaluate(model_folder, [file], tmp_path / "out.json", "--scoring", kind)
        assert content["scoring"] == kind
        (found,) = content["probes"]
        scored = score_probe(model, probe, tokens_per_batch=2048)
        for written, one in zip(found["items"], scored, strict=True):
            ranked = one.ranked(kind)
            assert written["ranking"] == list(ranked.ranking)
            assert written["scores"] == pytest.approx(ranked.scores, abs=1e-4)
            assert written["quality"] == list(quality(one.item))
        assert found["quality"]["no_blank"] == 8
        assert found["tied"] >= 8


def test_lenient_leaves_out_lists_and_counts(model_folder: Path, tmp_path: Path):
    items = json.loads(CHINESE[0].read_text("utf-8"))[:6]
    del items[1]["answer"]
    items[4]["question"] = "word " * 3000 + "_"
    file = tmp_path / "some.json"
    file.write_text(json.dumps(items), "utf-8")
    content, printed = evaluate(model_folder, [file], tmp_path / "out.json", "--lenient")
    (probe,) = content["probes"]
    assert probe["questions"] == 4
    assert [item["index"] for item in probe["items"]] == [0, 2, 3, 5]
    assert [one["index"] for one in probe["left_out"]] == [1, 4]
    for one in probe["left_out"]:
        assert f"item {one['index']} left out: {one['reason']}" in printed


def test_what_was_done_to_match_an_answer_is_said(model_folder: Path, tmp_path: Path):
    items = json.loads(CHINESE[0].read_text("utf-8"))[:4]
    items[2]["answer"] += "\u00a0"
    for item in items:
        item["cluster"] = "one"  # so that no standard error can be given
    file = tmp_path / "some.json"
    file.write_bytes(json.dumps(items).encode("utf-8-sig"))
    content, printed = evaluate(model_folder, [file], tmp_path / "out.json", "--prefix", "none")
    (probe,) = content["probes"]
    assert "-1" not in probe["by_gold_position"]
    assert probe["standard_error"] is None
    assert f"warning: {file}, item 2, answer: " in printed
    assert "token before each sentence: none (the first token" in printed
    assert content["prefix"]["token"] is None


def test_bfloat16_is_said_to_be_inexact(model_folder: Path, tmp_path: Path):
    file = tmp_path / "some.json"
    file.write_text(json.dumps(json.loads(CHINESE[0].read_text("utf-8"))[:3]), "utf-8")
    more = ("--precision", "bfloat16", "--device", "cpu")
    content, printed = evaluate(model_folder, [file], tmp_path / "out.json", *more)
    assert content["precision"] == "bfloat16"
    assert "precision bfloat16 (inexact" in printed


def test_the_job_refuses_in_one_line(model_folder: Path, tmp_path: Path):
    probes = ("--probes", str(PROBES[0]))
    model = ("--model", str(model_folder))
    out = ("--out", str(tmp_path / "out.json"))
    two = ("--probes", str(PROBES[0]), str(CHINESE[0]), "--consistency")
    for arguments, expected in (
        (("--model", str(tmp_path / "none"), *probes, *out), "not an existing folder"),
        (("--model", str(tmp_path), *probes, *out), ": no config (config.json)"),
        ((*model, "--probes", str(tmp_path / "no.json"), *out), "no.json: cannot be read"),
        ((*model, *probes, "--out", str(tmp_path / "no" / "out.json")), "--out: "),
        ((*model, *probes, *out, "--device", "gpu"), "--device: 'gpu' is not one of auto, cpu"),
        ((*model, *probes, *out, "--device", "cuda:99"), "--device: 'cuda:99' is not available"),
        ((*model, *two, *out), "--consistency: no two of the files"),
        ((*model, *probes, *out, "--tokens-per-batch", "0"), "--tokens-per-batch: 0"),
        (
            (*model, *probes, *out, "--prefix", "none", "--scoring", "mutual_information"),
            "--prefix: 'none' does not work with --scoring mutual_information",
        ),
    ):
        done = call_job("evaluate", *arguments)
        assert done.returncode == 2
        assert expected in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert not (tmp_path / "out.json").exists()


def test_the_export_is_a_group_of_tasks(tmp_path: Path):
    files = list(map(str, CHINESE))
    done = run_job("export_lm_eval", "--probes", *files, "--out", str(tmp_path / "tasks"))
    assert done.returncode == 0, done.stderr
    assert "zh-culture-cloze_zh: 328 questions" in done.stdout
    names = {path.name for path in (tmp_path / "tasks").iterdir()}
    stems = {path.stem for path in CHINESE}
    assert names == {f"{one}.{end}" for one in stems for end in ("yaml", "jsonl")} | {
        "ccx_ray_cloze.yaml"
    }
    lines = (tmp_path / "tasks" / "zh-culture-cloze_zh.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == 328
    item = json.loads(lines[3])
    assert item["choices"][item["gold"]].count(item["answer"]) >= 1
    assert "_" not in "".join(item["choices"])
    refused = call_job("export_lm_eval", "--probes", *files, *files, "--out", str(tmp_path))
    assert refused.returncode == 2
    assert "already has the task name 'zh-culture-cloze_en'" in refused.stderr
