"""Each detector of a failure signature fires on a case that is made to trigger it, is silent on the
healthy one, and says so where it cannot tell."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ccx_ray.analysis.measures import signatures
from ccx_ray.analysis.measures.languages import read_held_out
from ccx_ray.analysis.measures.run_facts import validation_tables
from ccx_ray.analysis.measures.signatures import (
    COLLAPSE,
    DOCUMENTS,
    GAIN,
    PLANTED,
    RECALL,
    ROWS,
    SCRIPT,
    signature_counts,
    signature_rows,
    signature_sentence,
    verdict_of,
)
from ccx_ray.analysis.measures.transfer import read_answers
from ccx_ray.analysis.statistics import UNKNOWN, Interval
from ccx_ray.analysis.tables import AnalysisInputs, Results, Row
from ccx_ray.analysis.tracked import log_signatures
from ccx_ray.cli.outcome import print_signatures
from ccx_ray.corpus.audit.inputs import AuditInputs
from ccx_ray.tracking.places import default_tracking_uri
from ccx_ray.tracking.runs import Tracking
from tests.audited_text import audited_language, run_audit
from tests.finished_study import (
    QUESTIONS,
    Correct,
    analysed,
    small_study,
    write_study,
    write_validation,
)
from tests.planted_study import Known, as_hoped, planted_spec, stated_in, write_planted

KOREAN = ("trials.languages=[ko]", "trials.seeds=[0,1,2]")
PAIR = ("A river runs through the old town.", "강이 옛 도시를 지나 멀리 흐른다.")
OWN = "ngram+bm25"


def as_before(run: str, step: int, probe: str) -> list[bool]:
    """Trials answer as the base does."""
    return [question % 5 == 0 for question in range(QUESTIONS["ko"])]


def improved(*probes: str) -> Correct:
    """Without bridges, all seeds answer every other question of some probes rightly."""

    def correct(run: str, step: int, probe: str) -> list[bool]:
        learnt = "nobridge" in run and probe in probes
        asked = range(QUESTIONS["ko"])
        return [q % 5 == 0 or (learnt and (q % 2 == 0 or q == len(run[-1]))) for q in asked]

    return correct


def nats(factor: float) -> Callable[[str, int, str], Sequence[float]]:
    """Held-out documents that the trials need more nats for, by their last checkpoint."""

    def of(run: str, step: int, text: str) -> list[float]:
        last = run != "base" and step == 60
        return [n * (20.0 + n % 3) * (factor if last else 1.0) for n in range(1, 21)]

    return of


def found(inputs: AnalysisInputs) -> dict[str, list[Row]]:
    """The rows of every detector, by its name."""
    study, given = inputs.study, (inputs.study, inputs.trials, inputs.evaluations)
    results = Results(**validation_tables(study.analysis, inputs.validation, None))
    rows: dict[str, list[Row]] = {}
    for row in signature_rows(
        study, results, read_answers(*given), read_held_out(*given), inputs.audit
    ):
        rows.setdefault(row.name, []).append(row)
    return rows


def verdicts(rows: Sequence[Row]) -> list[str]:
    return [row.verdict for row in rows]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> AnalysisInputs:
    root = tmp_path_factory.mktemp("healthy")
    return write_study(root, small_study(*KOREAN), as_before, nats(1.05))


def with_audit(inputs: AnalysisInputs, root: Path, *documents: str) -> AnalysisInputs:
    texts = ["서울의 봄은 따뜻하고 강물은 맑다.", *documents]
    language = audited_language(root / "ko", "ko", texts, [PAIR])
    english = audited_language(root / "en", "en", ["A town by the sea."])
    run_audit(root / "audit", AuditInputs(languages=(english, language)))
    return replace(inputs, audit=root / "audit")


def with_streams(inputs: AnalysisInputs, rows: int, by_id: int) -> AnalysisInputs:
    """One more stream in the audit, of 1,000 rows, with so many that hold a translation."""
    assert inputs.audit is not None
    path = inputs.audit / "audit.json"
    condition = {
        "rows": 1000, "monolingual_rows": 500, "tokens": {"undescribed": 0}, "pairs": 900,
        "target_halves": 900,
        "together": 0, "together_whole": 0, "rows_with_both_halves": 0,
        "rows_with_both_sides_of_a_group": by_id, "rows_with_both_sides_by_content": rows,
    }  # fmt: skip
    stream = {
        "stream": "ko s0", "bridge": condition, "nobridge": condition, "deranged": None,
        "rows_at_equal_positions": 500, "identical_rows": 500, "same_halves": True,
    }  # fmt: skip
    content = path.read_text("utf-8").replace('"streams": []', f'"streams": [{json.dumps(stream)}]')
    path.write_text(content, "utf-8")
    return inputs


def test_a_healthy_study_is_silent(healthy: AnalysisInputs, tmp_path: Path) -> None:
    inputs = with_streams(with_audit(healthy, tmp_path), rows=1, by_id=0)
    write_validation(tmp_path / "validation", VALIDATION)
    (tmp_path / "validation" / "validation.json").write_text('{"judge": "lexical"}')
    rows = found(replace(inputs, validation=tmp_path / "validation"))
    told = {name: set(verdicts(of)) for name, of in rows.items()}
    assert told == {
        name: {"clear"} for name in (ROWS, DOCUMENTS, SCRIPT, COLLAPSE, GAIN, RECALL, PLANTED)
    }


def test_a_sentence_beside_its_translation_in_a_document_fires(
    healthy: AnalysisInputs, tmp_path: Path
) -> None:
    rows = found(with_audit(healthy, tmp_path, f"{PAIR[1]} {PAIR[0]}"))[DOCUMENTS]
    assert [(row.cell, row.verdict) for row in rows] == [
        ("en documents", "clear"),
        ("ko documents", "fires"),
    ]
    assert rows[1].value == 1 / 2
    assert rows[1].looked_at.startswith("1 of 2 documents")


@pytest.mark.parametrize(
    ("rows", "by_id", "verdict"), [(1, 0, "clear"), (2, 0, "fires"), (1, 1, "fires")]
)
def test_translations_in_rows_without_bridges_fire(
    healthy: AnalysisInputs, tmp_path: Path, rows: int, by_id: int, verdict: str
) -> None:
    inputs = with_streams(with_audit(healthy, tmp_path), rows, by_id)
    (row,) = found(inputs)[ROWS]
    assert (row.verdict, row.value, row.limit) == (verdict, rows / 1000, 0.001)


def test_a_leaking_script_filter_fires(healthy: AnalysisInputs, tmp_path: Path) -> None:
    english, korean = found(with_audit(healthy, tmp_path, "서울 Seoul"))[SCRIPT]
    assert (english.verdict, korean.verdict, korean.value) == ("clear", "fires", 5)
    assert korean.looked_at.startswith("most in ko documents")


def test_without_an_audit_nothing_can_be_told_of_the_text(healthy: AnalysisInputs) -> None:
    rows = found(healthy)
    of_text = [*rows[ROWS], *rows[DOCUMENTS], *rows[SCRIPT]]
    assert set(verdicts(of_text)) == {"cannot be told"}
    assert {row.reason for row in of_text} == {"the text was not audited"}


@pytest.mark.parametrize(("factor", "verdict"), [(1.2, "clear"), (1.3, "fires")])
def test_a_base_language_that_collapses_fires(tmp_path: Path, factor: float, verdict: str) -> None:
    inputs = write_study(tmp_path, small_study(*KOREAN), as_before, nats(factor))
    rows = found(inputs)[COLLAPSE]
    assert verdicts(rows) == [verdict] * 2
    assert rows[0].value == pytest.approx(factor)
    assert rows[0].cell == "Korean, bridge"


def test_documents_that_differ_leave_a_collapse_open(tmp_path: Path) -> None:
    def uneven(run: str, step: int, text: str) -> list[float]:
        worse = 2.5 if run != "base" else 1.0
        return [30.0 * n * (worse if n in (2, 5) else 1.0) for n in range(1, 11)]

    (row, _) = found(write_study(tmp_path, small_study(*KOREAN), as_before, uneven))[COLLAPSE]
    assert row.low < 1.25 < row.high
    assert (row.verdict, row.reason) == ("cannot be told", "the interval holds the limit")


def test_without_held_out_text_a_collapse_cannot_be_told(tmp_path: Path) -> None:
    (row,) = found(write_study(tmp_path, small_study(*KOREAN), as_before))[COLLAPSE]
    assert (row.verdict, row.reason) == (
        "cannot be told", "no trial was scored on held-out English text",
    )  # fmt: skip


def test_a_gain_without_bridges_on_base_language_questions_fires(tmp_path: Path) -> None:
    inputs = write_study(tmp_path, small_study(*KOREAN), improved("ko-ko", "ko-en"))
    target, base = found(inputs)[GAIN]
    assert (target.direction, base.direction) == ("base-to-target", "target-to-base")
    assert target.value == base.value > 0.3
    # What is asked in Korean may be learnt from Korean text.
    assert (target.verdict, base.verdict) == ("cannot be told", "fires")
    assert "the target text itself may state" in target.reason
    assert "Exposure" in base.reason


def test_a_gain_that_the_seeds_explain_does_not_fire(tmp_path: Path) -> None:
    def one_seed(run: str, step: int, probe: str) -> list[bool]:
        return [q % 5 == 0 or (run == "ko-nobridge-s1" and q % 2 == 0)
                for q in range(QUESTIONS["ko"])]  # fmt: skip

    inputs = write_study(tmp_path, small_study(*KOREAN), one_seed)
    _, base = found(inputs)[GAIN]
    assert (base.verdict, base.reason) == (
        "cannot be told", "3 trainings leave room for more than the limit",
    )  # fmt: skip
    assert base.value > base.limit
    alone = write_study(tmp_path / "one", small_study(*KOREAN, "trials.seeds=[1]"), one_seed)
    _, base = found(alone)[GAIN]
    assert base.verdict == "cannot be told" and base.reason.startswith("1 training does")


def leaking(run: str, language: str, row: Mapping[str, Any]) -> int:
    """Trials answer what the other language alone states, with bridges or not."""
    stated = stated_in(row)
    return 8 if language in stated else 6 if run != "base" and stated else 2


@pytest.mark.parametrize(("known", "verdict"), [(as_hoped, "clear"), (leaking, "fires")])
def test_a_planted_world_tells_a_leak_in_both_directions(
    tmp_path: Path, known: Known, verdict: str
) -> None:
    rows = found(write_planted(tmp_path, planted_spec("trials.seeds=[0,1,2]"), known))[GAIN]
    assert verdicts(rows) == [verdict] * 4
    assert all("facts of the other language alone" in row.looked_at for row in rows)


def recall(culture: str, corpus: str, found_: int, reachable: int = 100) -> dict[str, Any]:
    share, known = found_ / reachable, reachable > 20
    return {
        "corpus": corpus, "culture": culture, "retriever": OWN, "top": 50, "questions": 40,
        "holders": reachable, "reachable": reachable, "found": found_, "recall": share,
        "recall_low": share - 0.05 if known else None,
        "recall_high": share + 0.05 if known else None,
    }  # fmt: skip


def planted(corpus: str, found_: float) -> list[dict[str, Any]]:
    return [
        {"corpus": corpus, "retriever": OWN, "judge": "lexical", "fact": fact,
         "planted": times, "estimated": int(times * found_) + (2 if times == 0 else 0)}
        for fact in range(40) for times in [(0, 4, 8)[fact % 3]]
    ]  # fmt: skip


VALIDATION = {
    "recall": [recall("ko", "en", 95), recall("ko", "ko", 20, reachable=20)],
    "planted": [*planted("en", 1.0), *planted("ko", 1.0)],
}


def test_retrieval_that_does_not_find_what_is_there_fires(
    healthy: AnalysisInputs, tmp_path: Path
) -> None:
    tables = {
        "recall": [
            recall("ko", "en", 95), recall("ko", "ko", 60), recall("ko", "ko", 82),
            recall("ko", "ko", 3, reachable=4), recall("ko", "ko", 10, reachable=20),
        ],
        "planted": [*planted("en", 1.0), *planted("ko", 0.5)],
    }  # fmt: skip
    write_validation(tmp_path / "validation", tables)
    (tmp_path / "validation" / "validation.json").write_text('{"judge": "lexical"}')
    rows = found(replace(healthy, validation=tmp_path / "validation"))
    assert verdicts(rows[RECALL]) == [
        "clear", "fires", "cannot be told", "cannot be told", "fires",
    ]  # fmt: skip
    assert rows[RECALL][3].reason == "4 documents to be found"
    english, korean = rows[PLANTED]
    assert (english.verdict, english.value) == ("clear", 1.0)
    assert (korean.verdict, korean.value) == ("fires", 0.5)


def test_an_estimate_that_was_not_validated_cannot_be_told(healthy: AnalysisInputs) -> None:
    rows = found(healthy)
    assert {row.reason for row in (*rows[RECALL], *rows[PLANTED])} == {
        "the frequency estimate was not validated"
    }


@pytest.mark.parametrize(
    ("value", "interval", "verdict"),
    [
        (0.2, UNKNOWN, "fires"),
        (0.1, UNKNOWN, "clear"),
        (float("nan"), UNKNOWN, "cannot be told"),
        (0.2, Interval(0.11, 0.3), "fires"),
        (0.2, Interval(0.05, 0.3), "cannot be told"),
        (0.05, Interval(0.01, 0.1), "clear"),
    ],
)
def test_a_verdict_follows_value_and_interval(
    value: float, interval: Interval, verdict: str
) -> None:
    assert verdict_of(value, 0.1, interval) == verdict


def test_what_fires_is_said_in_the_report_the_terminal_and_mlflow(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    root = tmp_path / "study"
    root.mkdir()
    inputs = write_study(root, small_study(*KOREAN), improved("ko-en"), nats(1.3))
    results, summary, page = analysed(root, inputs)
    rows = results["signatures"]
    assert {row["verdict"] for row in rows if row["name"] == COLLAPSE} == {"fires"}
    sentence = summary["signatures"]["sentence"]
    assert sentence == results["signature_sentence"]
    assert sentence.startswith(f"Of the detectors of failure signatures 3 of {len(rows)} fire: ")
    assert f"{GAIN} (Korean → English)" in sentence
    assert sentence in page and page.count('class="fails">fires') == 3
    assert (root / "analysis/tables/signatures.csv").exists()
    console = Console(record=True, width=200)
    print_signatures(summary["signatures"], console)
    shown = console.export_text()
    assert shown.count("fires          ") == 3 and "the text was not audited" in shown
    uri = default_tracking_uri(tmp_path)
    tracking = Tracking(uri, study="made", storage=tmp_path)
    log = tracking.metrics(tracking.parent)
    tags = log_signatures(log, summary["signatures"])
    log.close()
    run = MlflowClient(tracking_uri=uri).get_run(tracking.parent)
    name = "signature/base_language_collapses/Korean_bridge"
    assert run.data.metrics[name] == pytest.approx(1.3)
    counts = summary["signatures"]["counts"]
    assert counts["fires"] == 3
    assert tags["ccx.signatures"] == ", ".join(f"{n} {v}" for v, n in counts.items())


def test_a_study_in_which_none_fires_says_so(healthy: AnalysisInputs) -> None:
    rows = [row for of in found(healthy).values() for row in of]
    untold = signature_counts(rows)["cannot be told"]
    assert signature_sentence(rows) == (
        f"Of the detectors of failure signatures none of {len(rows)} fires; "
        f"{untold} cannot be told."
    )
    assert set(signature_counts(rows)) == set(signatures.VERDICTS)
