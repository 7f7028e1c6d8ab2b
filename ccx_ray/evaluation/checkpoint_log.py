"""Logs scored checkpoints to MLflow: a logged model each, and its metrics by data set."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ccx_ray.storage.hashing import file_sha256
from ccx_ray.storage.remote_folders import located_files
from ccx_ray.tracking.datasets import Dataset
from ccx_ray.tracking.models import ModelLog
from ccx_ray.tracking.runs import MetricLog, Tracking
from ccx_ray.training.checkpoints import checkpoint_folder

Named = tuple[tuple[str, Path], ...]


class CheckpointLog:
    """Log of one training's checkpoints in MLflow; each is logged once, also after a kill."""

    def __init__(
        self,
        tracking: Tracking,
        *,
        name: str,
        kind: str,
        fingerprint: str,
        folder: Path,
        probes: Named,
        held_out: Named,
    ) -> None:
        """
        Args:
            name, kind, fingerprint: of the training's run.
            folder: of the training.
            probes: name and file.
            held_out: language and file.
        """
        self._name, self._kind, self._fingerprint = name, kind, fingerprint
        self._folder = folder
        self._probes, self._held_out = dict(probes), dict(held_out)
        self._tracking = tracking
        self._opened: tuple[MetricLog, ModelLog] | None = None
        self._datasets: dict[str, Dataset] = {}

    def log(self, step: int, summary: Mapping[str, Any]) -> None:
        """Log what was found of the checkpoint after ``step`` optimizer steps.

        Raises:
            TrackingError: MLflow does not take it; another call logs the rest.
        """
        metric_log, models = self._logs(summary)
        uri, sha256 = checkpoint_pointer(checkpoint_folder(self._folder, step))
        model = models.log(
            step,
            name=self._name,
            parameters={"training": self._name, "sha256": sha256},
            tags={"ccx.kind": self._kind, "ccx.checkpoint": uri},
        )
        values = metrics(summary)
        # ``eval/ko-en/accuracy`` is of the probe ko-en, ``perplexity/ko/bits_per_byte`` of text.
        on = {key: "/".join(key.replace("eval_scores", "eval").split("/")[:2]) for key in values}
        datasets = {key: self._datasets[place] for key, place in on.items()}
        metric_log.log(step, values, model=model, datasets=datasets)
        metric_log.flush()

    def close(self) -> None:
        """Write what waits; ``TrackingError`` where MLflow does not take it for minutes."""
        if self._opened:
            self._opened[0].close()

    def _logs(self, summary: Mapping[str, Any]) -> tuple[MetricLog, ModelLog]:
        """The logs of the training's run, opened at the first checkpoint."""
        if self._opened is None:
            run = self._tracking.find_run(self._kind, self._fingerprint)
            if run is None:  # the training was logged on another tracking server
                run = self._tracking.open_run(
                    name=self._name, kind=self._kind, fingerprint=self._fingerprint
                )
                self._tracking.finish(run)
            self._datasets = self._read(summary)
            self._tracking.log_datasets(run, self._datasets.values())
            self._opened = self._tracking.metrics(run), self._tracking.models(run)
        return self._opened

    def _read(self, summary: Mapping[str, Any]) -> dict[str, Dataset]:
        """First two parts of a metric's name -> the questions or the text that it is of."""
        found = {
            f"eval/{probe}": (f"probe-{probe}", self._probes[probe], accuracies["questions"])
            for probe, accuracies in summary["accuracy"].items()
        } | {
            f"perplexity/{language}": (
                f"heldout-{language}",
                self._held_out[language],
                text["documents"],
            )
            for language, text in summary["perplexity"].items()
        }
        return {
            place: Dataset(
                name=name,
                digest=file_sha256(file)[:12],
                uri=file.as_uri(),
                size={"num_rows": rows, "bytes": file.stat().st_size},
                context="evaluation",
            )
            for place, (name, file, rows) in found.items()
        }


def checkpoint_pointer(folder: Path) -> tuple[str, str]:
    """Where the files of a checkpoint are, and a hash over the names, sizes and hashes of them."""
    uri, files = located_files(folder)
    return uri, hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    """The summary of one checkpoint as MLflow's metrics."""
    found = {}
    for probe, accuracies in summary["accuracy"].items():
        for name in ("accuracy", "accuracy_ties_wrong"):
            found[f"eval/{probe}/{name}"] = accuracies[name]
        for score, by_score in accuracies["scores"].items():
            if score != "reference":
                found[f"eval_scores/{probe}/{score}"] = by_score["accuracy"]
    for language, perplexity in summary["perplexity"].items():
        for name in ("perplexity", "bits_per_byte"):
            found[f"perplexity/{language}/{name}"] = perplexity[name]
    return found
