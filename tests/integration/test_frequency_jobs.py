"""Frequencies by an endpoint judge, their validation and a review, by a user's commands."""

import csv
import json
import re
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.judge_server import Exchange, LoopbackServer, completion_of
from tests.tiny_study import (
    FinishedStudy,
    Results,
    call_study_job,
    run_study_job,
    write_tiny_study,
)

PROMPT = "Question: {question}\nAnswer: {answer}\nDocument: {document}"
FREQUENCY = {
    "top_documents": 4,
    "judge": {"kind": "endpoint", "model": "rule", "prompt": "prompt.txt"},
    "validation": {
        "judges": ["lexical"],
        "judged_pairs": 40,
        "planted_facts": 8,
        "planted_characters": 20_000,
        "reviewed_documents": 12,
    },
}
CAP = 50


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    (folder / "prompt.txt").write_text(PROMPT, encoding="utf-8")
    return write_tiny_study(folder, frequency=FREQUENCY)


@pytest.fixture(scope="module")
def results(finished_study: FinishedStudy, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Text, indexes and lexicons are there already."""
    judged = ("training", "evaluation", "analysis", "frequency", "validation", "review")
    return finished_study.copy_steps(tmp_path_factory.mktemp("storage"), without=judged)


def test_a_capped_endpoint_is_gone_on_with_and_never_asked_twice(
    study: Path, results: Results
) -> None:
    asked: Counter[str] = Counter()

    async def answer(body: bytes) -> Exchange:
        """Holds, if the answer stands in the document; a real server would ask a model."""
        prompt = json.loads(body)["messages"][0]["content"]
        asked[prompt] += 1
        (found,) = re.findall(r"^Answer: (.*)\nDocument: ([\s\S]*)", prompt, re.MULTILINE)
        holds = found[0] in found[1]
        content = {"holds": holds, "evidence": found[0] if holds else "", "reason": "by rule"}
        return completion_of(json.dumps(content), prompt_tokens=100, completion_tokens=10)

    server = LoopbackServer(answer)
    try:
        url = f"runtime.judge.url={server.url}"
        capped = run_study_job(
            "estimate_frequency", study, results.storage,
            "--set", url, f"runtime.judge.max_requests={CAP}",
        )  # fmt: skip
        assert capped.returncode == 1
        said = " ".join(capped.stdout.split())
        assert "runtime.judge.max_requests" in said, capped.stdout
        assert "the verdicts are kept" in said
        assert sum(asked.values()) == CAP

        whole = run_study_job("estimate_frequency", study, results.storage, "--set", url)
        assert whole.returncode == 0, whole.stdout + whole.stderr
        rows = pq.read_table(results.folder("frequency-ko") / "retrieved.parquet").to_pylist()
        assert len(rows) == 2 * 24 * FREQUENCY["top_documents"]
        assert max(asked.values()) == 1, "no document is judged twice for a question"
        assert sum(asked.values()) <= len(rows)
        held = [row for row in rows if row["verdict"]]
        assert held
        assert all(row["reason"] == "by rule" for row in held)
        assert all(row["evidence_length"] > 0 for row in held)

        exported = run_study_job(
            "validate_frequency", study, results.storage,
            "--export", str(study.parent / "sheets"), "--set", url,
        )  # fmt: skip
        assert exported.returncode == 0, exported.stdout + exported.stderr
        assert "recall of the top" in exported.stdout
        assert "planted facts" in exported.stdout
    finally:
        server.close()


def test_what_the_validation_found_is_in_mlflow(results: Results) -> None:
    (run,) = results.mlflow_runs("validation")
    assert any(name.startswith("planted/ko/") for name in run.data.metrics)
    assert {name for name in run.data.metrics if name.startswith("kappa/en/")}
    rows = pq.read_table(results.folder("validation") / "agreement.parquet").to_pylist()
    assert {(row["judge"], row["other"]) for row in rows} == {
        ("endpoint rule prompt", "lexical 0.5")
    }


def test_a_filled_sheet_gives_statistics(study: Path, results: Results) -> None:
    sheet = study.parent / "sheets" / "review-ko.csv"
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    for number, row in enumerate(rows):
        row["holds"] = "yes" if number % 2 else "no"
    filled = study.parent / "filled.csv"
    with filled.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    done = run_study_job(
        "validate_frequency", study, results.storage,
        "--import", str(filled), "--set", "runtime.judge.url=http://127.0.0.1:9/v1",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "human review" in done.stdout
    reviewed = pq.read_table(results.folder("review") / "review.parquet").to_pylist()
    assert {(row["corpus"], row["culture"]) for row in reviewed} == {("ko", "all"), ("ko", "ko")}
    whole = next(row for row in reviewed if row["culture"] == "all")
    assert whole["reviewed"] == 12
    assert whole["corrected_low"] <= whole["corrected_density"] <= whole["corrected_high"]
    (run,) = results.mlflow_runs("review")
    assert run.data.metrics["review/ko/all/reviewed"] == 12

    rows[0]["id"] = "qffffffffffff"
    with filled.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    wrong = call_study_job(
        "validate_frequency", study, results.storage,
        "--import", str(filled), "--set", "runtime.judge.url=http://127.0.0.1:9/v1",
    )  # fmt: skip
    assert wrong.returncode == 2
    (line,) = wrong.stderr.strip().splitlines()
    assert line == (
        "error: filled.csv, row 2, id: 'qffffffffffff' is not on a sheet of this study; "
        "copy the ids from the sheet"
    )
