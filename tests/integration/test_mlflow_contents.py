"""What MLflow shows of a finished study: trials in sight, saved views, data sets, logged models."""

import base64
import json
import urllib.parse
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from mlflow import MlflowClient

from ccx_ray.analysis.study_views import BASES, EACH, TRAININGS
from ccx_ray.errors import UserError
from ccx_ray.storage.hashing import MANIFEST, read_manifest
from ccx_ray.tracking.places import default_tracking_uri
from ccx_ray.tracking.runs import GROUP
from ccx_ray.tracking.ui import pages, serve
from ccx_ray.tracking.views import LONGEST_TAG, VIEW_TAG
from tests.mlflow_proxy import free_port
from tests.tiny_study import TRIALS, FinishedStudy, Results


@pytest.fixture(scope="module")
def results(finished_study: FinishedStudy) -> Results:
    return finished_study.results


@pytest.fixture(scope="module")
def client(results: Results) -> MlflowClient:
    return MlflowClient(default_tracking_uri(results.storage))


@pytest.fixture(scope="module")
def experiment(client: MlflowClient) -> Any:
    return client.get_experiment_by_name("tiny")


def test_the_page_opens_on_the_study_and_its_trainings(client: MlflowClient, experiment: Any):
    runs = client.search_runs([experiment.experiment_id])
    shown = {run.info.run_name for run in runs if "mlflow.parentRunId" not in run.data.tags}
    assert shown == {"tiny", "base", *TRIALS}
    groups = {run.data.tags[GROUP] for run in runs if run.data.tags["ccx.kind"] == "trial"}
    assert groups == {"ko bridge", "ko nobridge"}


def views(experiment: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for tag, value in experiment.tags.items():
        if tag.startswith(VIEW_TAG):
            assert len(value) <= LONGEST_TAG
            kind, _, packed = json.loads(value)["state"].partition(";")
            assert kind == "deflate"
            state = json.loads(zlib.decompress(base64.b64decode(packed)))
            yield tag.removeprefix(VIEW_TAG), state


def test_every_chart_and_column_of_the_views_has_data(client: MlflowClient, experiment: Any):
    found = dict(views(experiment))
    assert set(found) == {TRAININGS, EACH, BASES}
    for state in found.values():
        runs = client.search_runs([experiment.experiment_id], filter_string=state["searchFilter"])
        assert runs
        metrics = {name for run in runs for name in run.data.metrics}
        charted = {k for chart in state["compareRunCharts"] for k in chart["selectedMetricKeys"]}
        assert charted <= metrics
        named = {
            "metrics": metrics,
            "params": {name for run in runs for name in run.data.params},
            "tags": {name for run in runs for name in run.data.tags},
            "attributes": {"Dataset", "Models"},
        }
        for column in state["selectedColumns"]:
            kind, _, name = column.partition(".")
            assert name.strip("`") in named[kind]
        sections = {section["uuid"] for section in state["compareRunSections"]}
        assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == sections


def test_the_studys_run_tells_what_was_found(results: Results, client: MlflowClient):
    (run,) = results.mlflow_runs("study")
    found = json.loads((results.folder("analysis") / "results.json").read_text("utf-8"))
    for row in found["transfers"]:
        if row["counting"] == "published":
            ends = ("en", "ko") if row["direction"] == "base-to-target" else ("ko", "en")
            history = dict(results.history(run.info.run_id, f"transfer/{'-'.join(ends)}"))
            assert history[row["step"]] == row["transfer"]
    assert run.data.metrics["study/trials"] == len(TRIALS)
    assert run.data.metrics["cost/device_hours"] > 0
    assert run.data.tags.keys() >= {"ccx.verdict.en-ko", "ccx.verdict.ko-en", "ccx.signatures"}
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith(" ".join(found["answer"]))
    assert str(results.folder("analysis") / "report.html") in note
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert names == {"study.json", "over-seeds.csv", "figures"}
    (analysis,) = results.mlflow_runs("analysis")
    assert "report.html" in {file.path for file in client.list_artifacts(analysis.info.run_id)}


def test_trainings_name_their_data_and_the_load_of_the_machine(
    results: Results, client: MlflowClient
):
    for run in results.mlflow_runs("trial"):
        inputs = {
            one.dataset.name: one for one in client.get_run(run.info.run_id).inputs.dataset_inputs
        }
        condition = run.data.tags["ccx.condition"]
        stream = inputs[f"stream-ko-s0-{condition}"]
        folder = Path(urllib.parse.urlsplit(json.loads(stream.dataset.source)["uri"]).path)
        described = json.loads((folder / "stream.json").read_text("utf-8"))
        assert stream.dataset.digest == described["fingerprint"]
        assert {"text-ko", "heldout-ko", "heldout-en", "probe-ko-en"} <= set(inputs)
        assert all(one.tags for one in inputs.values())
        assert run.data.params["optimizer.learning_rate"]
        assert 0 <= run.data.metrics["system/cpu_utilization_percentage"] <= 100
        assert run.data.metrics["system/system_memory_usage_megabytes"] > 0


def test_a_checkpoint_is_a_logged_model_that_points_to_its_files(
    results: Results, client: MlflowClient, experiment: Any
):
    models = client.search_logged_models([experiment.experiment_id])
    trained = {run.info.run_id: run for run in results.mlflow_runs("trial")}
    of_trials = [model for model in models if model.source_run_id in trained]
    assert len(of_trials) == 3 * len(TRIALS)
    for model in of_trials:
        run = trained[model.source_run_id]
        folder = Path(urllib.parse.urlsplit(model.tags["ccx.checkpoint"]).path)
        assert read_manifest(folder / MANIFEST)
        assert not client.list_logged_model_artifacts(model.model_id), "the weights stay there"
        on = {metric.key: metric for metric in model.metrics or ()}
        step = int(model.params["step"])
        key = "eval/ko-en/accuracy"
        assert on[key].value == dict(results.history(run.info.run_id, key))[step]
        assert on[key].dataset_name == "probe-ko-en"


def test_the_ui_is_served_and_its_addresses_name_the_studys_trials(
    results: Results, client: MlflowClient, experiment: Any
):
    uri, port = default_tracking_uri(results.storage), free_port()
    found = {page: at for _, page, at in pages(uri, f"http://127.0.0.1:{port}", TRAININGS, "tiny")}
    assert (
        f"experiments/{experiment.experiment_id}/runs?viewStateShareKey={TRAININGS}"
        in found["charts"]
    )
    for run in results.mlflow_runs("trial"):
        assert run.info.run_id in found["trials side by side"]
    server = serve(uri, port)
    try:
        with urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
            assert answer.status == 200
    finally:
        server.terminate()
        server.wait()
    with pytest.raises(UserError, match="MLflow has no study 'tinny'; the studies are: tiny"):
        list(pages(uri, "", TRAININGS, "tinny"))
