"""MLflow runs and metrics of a study: one experiment, the study's own run, trainings beside it, and
below it every other run.

MLflow's page opens on top-level runs with children collapsed, and charts what is in sight alone:
so trainings are no children.

Invariants: a run is found again by its step's fingerprint, so a restart appends to it; a metric is
written once for a step, whoever was killed or did not answer in between; only the driver writes.
MLflow is imported on first use, because that takes a second and a half.
"""

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ccx_ray.errors import TrackingError, UserError
from ccx_ray.tracking import client
from ccx_ray.tracking.client import PatientClient
from ccx_ray.tracking.datasets import Dataset
from ccx_ray.tracking.models import ModelLog
from ccx_ray.tracking.places import (
    ANSWER_SECONDS,
    default_tracking_uri,
    is_sqlite,
    move_artifacts,
    opened_alone,
)

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0
TOP_LEVEL = ("study", "base", "trial")
"""Kinds of runs that the experiment's page shows on opening."""
GROUP = "ccx.group"
"""Tag by which the page groups runs, such as ``ko bridge``."""
SETTINGS = "ccx.settings"
"""Tag of a trial: a hash over what it is trained with, the same for all trials of a study."""
# Without it MLflow 3 opens an experiment in its view for prompts and traces.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}


class Tracking:
    """The experiment of one study; opening it creates the database schema before any fan-out."""

    def __init__(self, uri: str, *, study: str, storage: Path) -> None:
        """
        Raises:
            TrackingError: the place does not answer within 8 seconds, or refuses. Later calls
                raise it as well, after a longer wait.
            UserError: somebody deleted the study's experiment.
        """
        self.uri = uri
        self._running: set[str] = set()
        self._noting_datasets = threading.Lock()
        self._client = PatientClient(uri, patience=ANSWER_SECONDS)
        with opened_alone(uri):
            self.experiment = self._open_experiment(study, storage)
            self.parent = self.open_run(
                name=study, kind="study", fingerprint=study, tags={GROUP: "study"}
            )
        self._client.patience = client.PATIENCE_SECONDS

    def _open_experiment(self, study: str, storage: Path) -> str:
        """Find the study's experiment or create it; returns its id."""
        # A server keeps artifacts where it was told to; SQLite needs a place beside it.
        beside = (storage / "mlartifacts" / study).as_uri()
        found = self._client.get_experiment_by_name(study)
        if found is None:
            place = beside if is_sqlite(self.uri) else None
            created: str = self._client.create_experiment(
                study, artifact_location=place, tags=EXPERIMENT_TAGS
            )
            return created
        identifier: str = found.experiment_id
        if found.lifecycle_stage != "active":
            raise UserError(
                f"MLflow: the experiment {study!r} was deleted; restore it (mlflow experiments "
                f"restore --experiment-id {identifier}), or give the study another name"
            )
        if self.uri == default_tracking_uri(storage) and found.artifact_location != beside:
            move_artifacts(storage, identifier, found.artifact_location, beside)
        return identifier

    def find_run(self, kind: str, fingerprint: str) -> str | None:
        """The run of a step, or None when it has none yet."""
        wanted = f"tags.`ccx.kind` = '{kind}' and tags.`ccx.fingerprint` = '{fingerprint}'"
        runs = self._client.search_runs([self.experiment], filter_string=wanted, max_results=1)
        return runs[0].info.run_id if runs else None

    def open_run(
        self,
        *,
        name: str,
        kind: str,
        fingerprint: str,
        tags: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> str:
        """Find the run of this step, or create it below the parent; returns its id, running."""
        found = self.find_run(kind, fingerprint)
        if found is not None:
            self._client.update_run(found, status="RUNNING")
            self._running.add(found)
            return found
        own = {"ccx.kind": kind, "ccx.fingerprint": fingerprint, "mlflow.source.type": "JOB"}
        parent = {} if kind in TOP_LEVEL else {"mlflow.parentRunId": self.parent}
        run = self._client.create_run(
            self.experiment, run_name=name, tags={**own, **parent, **(tags or {})}
        )
        created: str = run.info.run_id
        self._running.add(created)
        if parameters:
            from mlflow.entities import Param

            values = [Param(key, str(value)) for key, value in parameters.items()]
            self._client.log_batch(created, params=values)
        return created

    def tag(self, run: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self._client.log_batch(run, tags=[RunTag(key, value) for key, value in tags.items()])

    def group_tags(self, group: str, settings: str) -> dict[str, str]:
        """Tags by which the page averages trials of the same settings alone: those of the first
        trial are the group's own, others are named beside it."""
        first = self._client.search_runs(
            [self.experiment],
            filter_string="tags.`ccx.kind` = 'trial'",
            order_by=["attributes.start_time ASC"],
            max_results=1,
        )
        others = first and first[0].data.tags.get(SETTINGS) != settings
        return {SETTINGS: settings, GROUP: f"{group}, settings {settings}" if others else group}

    def tag_experiment(self, tags: Mapping[str, str]) -> None:
        """Set tags of the experiment, as far as they are not so already."""
        known = self._client.get_experiment(self.experiment).tags
        for key, value in tags.items():
            if known.get(key) != value:
                self._client.set_experiment_tag(self.experiment, key, value)

    def log_datasets(self, run: str, datasets: Iterable[Dataset]) -> None:
        """Log the data sets of a run; those that are logged already are left unchanged."""
        # Two that note a new data set at once would both insert it (MLflow 3.17), and one fails.
        with self._noting_datasets:
            self._client.log_inputs(run, [dataset.as_input() for dataset in datasets])

    def supersede(self, old: str, new: str) -> None:
        """Tag the runs of a step's fingerprint with the run of its rerun; they stay in MLflow with
        all that they logged. Nothing where either step has no run."""
        found = {
            fingerprint: self._client.search_runs(
                [self.experiment], filter_string=f"tags.`ccx.fingerprint` = '{fingerprint}'"
            )
            for fingerprint in (old, new)
        }
        for run in found[old]:
            for replacing in found[new]:
                by = {"ccx.superseded_by": replacing.info.run_id, GROUP: "superseded"}
                self.tag(run.info.run_id, by)

    def finish(self, run: str, *, failed: bool = False) -> None:
        self._client.set_terminated(run, status="FAILED" if failed else "FINISHED")
        self._running.discard(run)

    def interrupt(self, seconds: float) -> None:
        """Mark the open runs as killed, as far as the server answers within ``seconds``."""

        def mark() -> None:
            with suppress(TrackingError):
                for run in list(self._running):
                    self._client.set_terminated(run, status="KILLED")

        thread = threading.Thread(target=mark, daemon=True)
        thread.start()
        thread.join(seconds)

    def record(
        self, name: str, *, kind: str, fingerprint: str, metrics: Mapping[str, float], folder: Path
    ) -> None:
        """A whole run at once: metrics of a step that is computed, and its files as artifacts."""
        run = self.open_run(name=name, kind=kind, fingerprint=fingerprint)
        log = self.metrics(run)
        log.log(0, metrics)
        log.close()
        self.log_artifacts(run, folder)
        self.finish(run)

    def log_artifacts(self, run: str, folder: Path) -> None:
        """Keep every file of ``folder`` with the run."""
        self._client.log_artifacts(run, str(folder))

    def log_file(self, run: str, path: Path, folder: str | None = None) -> None:
        """Keep a file with the run, in a folder of its artifacts."""
        self._client.log_artifact(run, str(path), folder)

    def log_text(self, run: str, text: str, name: str) -> None:
        self._client.log_text(run, text, name)

    def metrics(self, run: str) -> "MetricLog":
        return MetricLog(self.uri, run)

    def models(self, run: str) -> ModelLog:
        return ModelLog(self._client, self.experiment, run)


class MetricLog:
    """Metrics of one run, written in batches; a step that MLflow has already is left alone, unless
    its value is ``revised``: then a second point follows the first, and the newer one counts.

    Where MLflow fails the metrics wait in memory, with the times at which they were logged, until
    ``close``: a training or an evaluation goes on.
    """

    def __init__(self, uri: str, run: str) -> None:
        self._client = PatientClient(uri, patience=0.0)
        self._run = run
        self._known: dict[str, dict[int, float]] = {}
        self._there: set[str] | None = None
        """Names of the metrics that MLflow has of the run; None: it has to be asked."""
        self._waiting: list[tuple[Any, bool]] = []
        self._flushed = time.monotonic()
        self._failed = False

    def log(
        self,
        step: int,
        metrics: Mapping[str, float],
        *,
        revised: bool = False,
        model: str | None = None,
        datasets: Mapping[str, Dataset] | None = None,
    ) -> None:
        """Note the metrics of one optimizer step; written at the latest by ``close``.

        Args:
            revised: a value other than MLflow has replaces that.
            model: id of the logged model that they are of.
            datasets: metric -> what it was measured on; a data set of the run.
        """
        from mlflow.entities import Metric

        stamp = int(time.time() * 1000)
        for key, value in metrics.items():
            on = (datasets or {}).get(key)
            metric = Metric(
                key,
                float(value),
                stamp,
                step,
                model_id=model,
                dataset_name=on and on.name,
                dataset_digest=on and on.digest,
            )
            self._waiting.append((metric, revised))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits, if MLflow takes it; a warning says once when it begins not to."""
        try:
            self._write()
        except TrackingError as error:
            if not self._failed:
                logger.warning("metrics wait in memory: %s", error)
            self._failed = True
        else:
            self._failed = False
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Write what waits; ``TrackingError`` where MLflow does not take it for minutes."""
        self._client.patience = client.PATIENCE_SECONDS
        self._write()

    def _write(self) -> None:
        new = []
        try:
            for metric, revised in self._waiting:
                if metric.key not in self._known:
                    self._known[metric.key] = self._history(metric.key)
                known = self._known[metric.key]
                if metric.step not in known or (revised and known[metric.step] != metric.value):
                    known[metric.step] = metric.value
                    new.append(metric)
            # MLflow takes at most 1,000 metrics in one batch.
            for start in range(0, len(new), 1000):
                self._client.log_batch(self._run, metrics=new[start : start + 1000])
        except TrackingError:
            # What was on its way may be there or not: MLflow is asked again.
            self._known.clear()
            self._there = None
            raise
        self._waiting.clear()

    def _history(self, key: str) -> dict[int, float]:
        if self._there is None:
            self._there = set(self._client.get_run(self._run).data.metrics)
        history = self._client.get_metric_history(self._run, key) if key in self._there else ()
        return {point.step: point.value for point in sorted(history, key=lambda p: p.timestamp)}


def flat_metrics(tree: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of nested counts as ``a/b`` keys, the form of MLflow's metric names."""
    flat: dict[str, float] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flat_metrics(value, f"{prefix}{key}/")
        elif isinstance(value, int | float):
            flat[prefix + key] = float(value)
    return flat


def flat_parameters(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a spec as ``a.b`` keys, the form of MLflow's parameter names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flat_parameters(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
