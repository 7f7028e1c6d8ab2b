"""What a planted study writes of its verdicts, and what a study shows of its control."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ccx_ray.analysis.control import find_control, read_control
from ccx_ray.analysis.report.writing import analyse
from ccx_ray.analysis.tracked import log_control
from ccx_ray.cli.outcome import print_control
from ccx_ray.errors import UserError
from ccx_ray.study.input_identity import InputFiles
from ccx_ray.study.loading import load_study
from ccx_ray.study_graph import study_graph
from ccx_ray.tracking.places import default_tracking_uri
from ccx_ray.tracking.runs import Tracking
from tests.finished_study import analysed, header, limit, section, small_study, write_study
from tests.jobs import call_job
from tests.planted_study import as_hoped, planted_spec, write_planted

LAPTOP = small_study("control=control-quick", "trials.languages=[ko]")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The analysis's folder, in a storage, and what it returns."""
    root = tmp_path_factory.mktemp("storage") / "control-quick"
    root.mkdir()
    inputs = write_planted(root, planted_spec(), as_hoped)
    folder = root / "analysis-0123456789ab"
    folder.mkdir()
    return folder, analyse(inputs, folder)


def finish(storage: Path, name: str, finished: str, verdicts: str | None) -> Path:
    """A finished analysis of the control study, with the verdicts that it holds, if any."""
    folder = storage / "control-quick" / f"analysis-{name}"
    folder.mkdir(parents=True)
    marker = {"fingerprint": name, "finished": finished}
    (folder / "_complete.json").write_text(json.dumps(marker))
    if verdicts is not None:
        (folder / "verdicts.json").write_text(verdicts)
    return folder


def printed(control: dict[str, Any] | None) -> str:
    console = Console(record=True, width=160, color_system="truecolor", force_terminal=True)
    print_control(control, console)
    return console.export_text(styles=True)


def test_the_verdicts_are_written_in_files_and_at_the_top_of_the_page(
    planted: tuple[Path, dict[str, Any]],
) -> None:
    folder, summary = planted
    content = json.loads((folder / "verdicts.json").read_text("utf-8"))
    assert content == summary["control"]
    assert content["counts"] == {"holds": 24, "does not hold": 0, "cannot be told": 1}
    results = json.loads((folder / "results.json").read_text("utf-8"))
    assert results["expectations"] == content["expectations"]
    with (folder / "verdicts.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["verdict"] for row in rows] == [r["verdict"] for r in content["expectations"]]
    assert float(rows[0]["estimate"]) == content["expectations"][0]["estimate"]
    page = (folder / "report.html").read_text("utf-8")
    assert "24 of 25 expectations hold" in header(page)
    top = section(page, "control")
    assert content["sentence"] in top
    assert top.count('<td class="holds">holds</td>') == 24
    assert top.count('<td class="open">cannot be told</td>') == 1
    assert "<td>deranged</td><td>English" not in page
    for name in ("control", "control-statements", "control-bridges"):
        assert (folder / "figures" / f"{name}.svg").is_file()
    here, consequence = limit(results, "Size")
    assert "parameters" in here and "holds next to no facts" not in page
    assert "is measured" in consequence


def test_a_study_of_real_text_has_nothing_of_it(tmp_path: Path) -> None:
    study = small_study("control=null", "trials.languages=[ko]")
    results, summary, page = analysed(tmp_path, write_study(tmp_path, study, _never))
    assert (results["expectations"], results["control"]) == ([], None)
    assert "control" not in summary and 'id="control"' not in page
    assert "next to no facts" in limit(results, "Size")[1]
    assert printed(None) == ""


def test_the_control_that_is_shown_is_the_newest_finished_one(tmp_path: Path) -> None:
    assert find_control(LAPTOP, tmp_path) is None
    finish(tmp_path, "bbbb", "2026-01-02T00:00:00+00:00", "{}")
    newest = finish(tmp_path, "aaaa", "2026-01-03T00:00:00+00:00", "{}")
    (tmp_path / "control-quick" / "analysis-cccc").mkdir()  # not finished
    assert find_control(LAPTOP, tmp_path) == newest
    assert find_control(small_study("control=null"), tmp_path) is None


def test_a_control_without_a_planted_world_is_refused(tmp_path: Path) -> None:
    finish(tmp_path, "aaaa", "2026-01-03T00:00:00+00:00", None)
    with pytest.raises(UserError, match=r"^control: 'control-quick' has no planted world"):
        find_control(LAPTOP, tmp_path)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "contro-quick",
            r"is neither a shipped study .*; did you mean 'control-quick'\?$",
        ),
        ("mine", "is neither a shipped study nor a study in .*; run it first, or name"),
        ("pilot", "has no planted world; name a study that has one, such as"),
    ],
)
def test_a_control_that_is_nowhere_is_refused_before_anything_is_created(
    name: str, line: str, tmp_path: Path
) -> None:
    storage = tmp_path / "storage"
    job = call_job(
        "full_study", "--study", "laptop", "--set", f"control={name}", "--storage", str(storage)
    )
    assert job.returncode == 2
    (said,) = job.stderr.splitlines()
    assert re.search(f"^error: control: '{name}' {line}", said)
    assert not storage.exists()


def test_a_control_of_ones_own_that_was_begun_is_taken(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert find_control(small_study("control=mine"), tmp_path) is None


@pytest.mark.parametrize(
    ("study", "override", "line"),
    [
        ("laptop", "control=laptop", "study: .*control 'laptop' is this study itself"),
        ("laptop", "control=Up!", "control: 'Up!'"),
        ("control-quick", "control=other", "control 'other' and world are both given"),
    ],
)
def test_a_control_that_cannot_be_is_refused(study: str, override: str, line: str) -> None:
    with pytest.raises(UserError, match=line):
        load_study(study, [override])


def test_a_new_control_moves_the_analysis_alone(tmp_path: Path) -> None:
    study, root = load_study("laptop")
    plain, _ = load_study("laptop", ["control=null"])

    def steps(of: Any) -> dict[str, str]:
        graph = study_graph(of, InputFiles(root), study_folder=tmp_path / "laptop")
        return {name: step.fingerprint for name, step in graph.steps.items()}

    found = [steps(plain), steps(study)]
    finish(tmp_path, "aaaa", "2026-01-03T00:00:00+00:00", "{}")
    found += [steps(plain), steps(study)]
    assert found[0] == found[2]
    assert len({one["analysis"] for one in found}) == 3
    for one in found:
        del one["analysis"]
    assert found[0] == found[1] == found[3]


def test_the_analysis_of_a_planted_study_needs_its_world() -> None:
    study, root = load_study("control-quick")
    graph = study_graph(study, InputFiles(root))
    assert graph["world"] in graph["analysis"].upstream


def test_a_report_shows_at_its_top_what_the_control_found(
    tmp_path: Path, planted: tuple[Path, dict[str, Any]]
) -> None:
    folder, summary = planted
    inputs = replace(write_study(tmp_path, LAPTOP, _never), control=folder)
    results, own, page = analysed(tmp_path, inputs)
    assert "planted in control-quick, 24 of 25 expectations hold" in header(page)
    top = section(page, "control")
    assert summary["control"]["sentence"] in top
    assert 'href="../../control-quick/analysis-0123456789ab/report.html"' in top
    assert own["control"]["expectations"] == summary["control"]["expectations"]
    assert results["control"]["counts"]["holds"] == 24
    # The page lies in <storage>/<study>/analysis-<fingerprint>/.
    link = folder.parents[1] / "laptop" / "analysis-aaaa" / results["control"]["report"]
    assert link.parent.resolve() == folder


def test_a_report_says_how_to_run_a_control_that_is_missing(tmp_path: Path) -> None:
    results, summary, page = analysed(tmp_path, write_study(tmp_path, LAPTOP, _never))
    assert "control-quick has not been run in this storage" in header(page)
    top = section(page, "control")
    assert "python jobs/full_study.py --study control-quick" in top
    assert results["control"]["counts"] is None
    shown = printed(summary["control"])
    assert "control-quick: not run in this storage" in shown
    assert "python jobs/full_study.py --study control-quick" in shown


def test_the_terminal_shows_a_failed_verdict_as_loudly_as_a_held_one(
    planted: tuple[Path, dict[str, Any]],
) -> None:
    control = planted[1]["control"]
    rows = [dict(row) for row in control["expectations"][:3]]
    rows[1]["verdict"] = "does not hold"
    rows[2] |= {"verdict": "cannot be told", "estimate": None, "low": None, "high": None}
    shown = printed({**control, "expectations": rows})
    assert "\x1b[1;32mholds" in shown
    assert "\x1b[1;37;41mdoes not hold" in shown
    assert "\x1b[1;33mcannot be told" in shown
    assert "+37.5" in shown and control["sentence"].split(".")[0] in shown


def test_estimates_and_the_counts_of_the_verdicts_are_logged(
    tmp_path: Path, planted: tuple[Path, dict[str, Any]]
) -> None:
    from mlflow import MlflowClient

    _, summary = planted
    uri = default_tracking_uri(tmp_path)
    tracking = Tracking(uri, study="control-quick", storage=tmp_path)
    log = tracking.metrics(tracking.parent)
    tags = log_control(log, summary["control"])
    log.close()
    run = MlflowClient(tracking_uri=uri).get_run(tracking.parent)
    assert run.data.metrics["control/transfer/hi/base-to-target"] == pytest.approx(3 / 8)
    assert run.data.metrics["control/asymmetry/lo"] == pytest.approx(3 / 8)
    assert len(run.data.metrics) == 25
    assert tags["ccx.control"] == "24 holds, 0 does not hold, 1 cannot be told"


def test_a_study_is_asked_about_its_own_control_alone(tmp_path: Path) -> None:
    assert read_control(small_study("control=null"), None) is None
    found = read_control(LAPTOP, None)
    assert found is not None and found["study"] == "control-quick"


def _never(run: str, step: int, probe: str) -> list[bool]:
    return [False] * 60
