"""Cloze questions as tasks of lm-evaluation-harness, and that harness's accuracies.

A question becomes a document whose choices are the filled sentences behind an empty context. So
the harness's ``acc`` chooses as the score ``sum`` does, and its ``acc_bytes`` as ``per_byte``; the
published rule has no metric there.

Invariant: the choices are the sentences that are scored here, character for character.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ccx_ray.errors import UserError
from ccx_ray.evaluation.probes import Probe, ProbeItem
from ccx_ray.evaluation.results import ScoredItem
from ccx_ray.storage.publishing import publish_bytes

GROUP = "ccx_ray_cloze"
ABSENT = -100
"""The harness's own mark of a target that is not among the choices."""
METRICS = ("acc", "acc_bytes")


def task_name(path: Path) -> str:
    """The task of a probe file: its name without what a shell or a list of tasks would cut.

    Raises:
        UserError: nothing is left, or it is the group's name.
    """
    name = re.sub(r"[^\w-]+", "_", path.stem).strip("_")
    if not name or name == GROUP:
        raise UserError(f"{path}: {path.stem!r} cannot be the name of a task; rename the file")
    return name


def export_tasks(probes: Sequence[tuple[Path, Probe]], folder: Path) -> list[str]:
    """Write a YAML file and a JSON Lines file for each probe file, and the group of them all.

    The YAML files name the data by its absolute path, because the harness would take a relative
    one from wherever it is started.

    Returns:
        The names of the tasks.

    Raises:
        UserError: two files would be the same task, or one is a task of the harness already.
    """
    names = [task_name(path) for path, _ in probes]
    for number, (path, probe) in enumerate(probes):
        if names[number] in names[:number]:
            raise UserError(f"{path}: another file is the task {names[number]!r} already")
        if any(item.context is not None for item in probe.items):
            raise UserError(f"{path}: a task of lm-evaluation-harness already")
    for name, (_, probe) in zip(names, probes, strict=True):
        data = folder.resolve() / f"{name}.jsonl"
        documents = [
            json.dumps(_document(index, item), ensure_ascii=False) + "\n"
            for index, item in zip(probe.indexes, probe.items, strict=True)
        ]
        publish_bytes(data, "".join(documents).encode())
        _publish_yaml(folder / f"{name}.yaml", _task(name, data))
    metrics = [{"metric": one, "aggregation": "mean", "weight_by_size": True} for one in METRICS]
    group = {"group": GROUP, "task": names, "aggregate_metric_list": metrics}
    _publish_yaml(folder / f"{GROUP}.yaml", group)
    return names


def _document(index: int, item: ProbeItem) -> dict[str, Any]:
    return {
        "index": index,
        "question": item.question,
        "options": item.options,
        "answer": item.answer,
        "choices": [item.fill(option) for option in item.options],
        "gold": item.gold if item.gold >= 0 else ABSENT,
    }


def _task(name: str, data: Path) -> dict[str, Any]:
    metrics = [{"metric": one, "aggregation": "mean", "higher_is_better": True} for one in METRICS]
    return {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "num_fewshot": 0,
        "doc_to_text": "",
        "target_delimiter": "",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "metric_list": metrics,
        "metadata": {"version": 1.0},
    }


def _publish_yaml(path: Path, content: dict[str, Any]) -> None:
    publish_bytes(path, yaml.safe_dump(content, allow_unicode=True, sort_keys=False).encode())


def harness_accuracies(scored: Sequence[ScoredItem]) -> dict[str, float]:
    """The accuracies that the harness reports of a task, from its questions' scores.

    ``acc`` takes the most likely option, ``acc_norm`` the most likely per character and
    ``acc_bytes`` the most likely per byte, of the option without the delimiter.
    """
    counts = dict.fromkeys(("acc", "acc_norm", "acc_bytes"), 0)
    for one in scored:
        sums = one.scores("option_sum")
        sizes = {
            "acc": [1] * len(sums),
            "acc_norm": [len(option) for option in one.item.options],
            "acc_bytes": [len(option.encode()) for option in one.item.options],
        }
        for metric, size in sizes.items():
            norm = [total / unit for total, unit in zip(sums, size, strict=True)]
            choice = one.item.options[norm.index(min(norm))]
            counts[metric] += choice == one.item.answer
    return {metric: count / len(scored) for metric, count in counts.items()}
