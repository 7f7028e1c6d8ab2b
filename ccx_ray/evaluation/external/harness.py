"""lm-evaluation-harness: its multiple-choice tasks read, our questions exported, its accuracies.

A task is a YAML file and the documents that it names. It is read without the harness, after what
version 0.4.13 (``api/task.py``) does with no examples in the prompt. What would change the text or
the score and is not known here is refused by the name of its key; a task that needs Python is
refused too. A field is the name of a column, or a Jinja template over the document, which runs in
Jinja's sandbox; what it renders to may be a number or a list written in Python.

A cloze question of ours becomes a document whose choices are the filled sentences behind an empty
context. So the harness's ``acc`` chooses as the score ``sum`` does, and its ``acc_bytes`` as
``per_byte``; the published rule has no metric there.

Invariants: context, options and answer of every document are those that the harness makes of it;
exported choices are the sentences that are scored here, character for character.
"""

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import yaml
from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from ccx_ray.errors import UserError
from ccx_ray.evaluation.probes import (
    Probe,
    ProbeItem,
    check_options,
    check_text,
    read_items,
    read_text,
    shown,
)
from ccx_ray.evaluation.results import ScoredItem
from ccx_ray.storage.publishing import publish_bytes

USED = {
    *("dataset_path", "dataset_name", "dataset_kwargs", "test_split", "validation_split"),
    *("output_type", "doc_to_text", "doc_to_choice", "doc_to_target"),
    *("description", "target_delimiter"),
}
FIXED = {
    "output_type": ("multiple_choice",),
    "num_fewshot": (None, 0),
    "repeats": (None, 1),
    "unsafe_code": (None, False),
}
WITHOUT_EFFECT = {
    # Names, and what concerns examples in the prompt, of which there are none.
    *("task", "task_alias", "tag", "metadata", "training_split", "fewshot_split"),
    *("fewshot_delimiter", "fewshot_config", "generation_kwargs"),
    *("should_decontaminate", "doc_to_decontamination_query"),
    "metric_list",  # the accuracies are given, whatever else is asked for
}
GROUP = "ccx_ray_cloze"
ABSENT = -100
"""The harness's own mark of a target that is not among the choices."""
METRICS = ("acc", "acc_bytes")


class _Loader(yaml.SafeLoader):
    """YAML in which ``!function`` is seen and not imported."""


class _Function(str):
    """The name of Python code that a task asks for."""


_Loader.add_constructor("!function", lambda loader, node: _Function(node.value))


def load_harness_task(path: Path, name: str, *, lenient: bool = False) -> Probe:
    """Read a task.

    Raises:
        UserError: the file cannot be read, or asks for what is not supported, or its documents
            cannot be read, or one of them has the wrong shape, or none is left.
    """
    config = _read_yaml(path, ())
    _check(path, config)
    split = config.get("test_split") or config.get("validation_split")
    if not split:
        raise UserError(f"{path}, test_split: missing, and validation_split too; give one of them")
    documents, columns = _documents(path, config, str(split))
    read = partial(_read_document, task=config, columns=columns)
    return read_items(path, name, documents, read, lenient=lenient)


def _read_yaml(path: Path, including: tuple[Path, ...]) -> dict[str, Any]:
    """The keys of a file over those of the files that it includes."""
    if path.resolve() in including:
        raise UserError(f"{path}, include: the files include each other")
    try:
        content = yaml.load(read_text(path), _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())[:200]})") from None
    if not isinstance(content, dict) or "group" in content or isinstance(content.get("task"), list):
        raise UserError(f"{path}: not a task; for a group, give the files of its tasks")
    merged: dict[str, Any] = {}
    included = content.pop("include", [])
    for one in included if isinstance(included, list) else [included]:
        merged |= _read_yaml(path.parent / str(one), (*including, path.resolve()))
    return merged | content


def _check(path: Path, config: Mapping[str, Any]) -> None:
    for key, value in config.items():
        if key in WITHOUT_EFFECT or value is None:
            continue
        if isinstance(value, _Function):
            raise UserError(f"{path}, {key}: !function {value} is Python, which is not supported")
        if key in FIXED and value not in FIXED[key]:
            allowed = " or ".join(str(one) for one in FIXED[key] if one is not None)
            raise UserError(f"{path}, {key}: {value!r} is not supported, only {allowed}")
        if key not in USED and key not in FIXED:
            raise UserError(f"{path}, {key}: this key of lm-evaluation-harness is not supported")
    expected: dict[str, tuple[type, ...]] = {
        "output_type": (str,),
        "dataset_path": (str,),
        "doc_to_text": (str,),
        "doc_to_choice": (str, list, dict),
        "doc_to_target": (str, int),
    }
    for key, kinds in expected.items():
        value = config.get(key)
        if not isinstance(value, kinds):
            wanted = " or ".join(one.__name__ for one in kinds)
            raise UserError(f"{path}, {key}: {value!r} is not supported, only {wanted}")


def _documents(path: Path, config: Mapping[str, Any], split: str) -> tuple[list[Any], list[str]]:
    """The rows of a split, and the names of the columns."""
    import datasets

    datasets.disable_progress_bars()
    # The library itself refuses to run code of data sets; the harness drops the key too.
    given = config.get("dataset_kwargs") or {}
    options = {key: value for key, value in given.items() if key != "trust_remote_code"}
    source, name = config["dataset_path"], config.get("dataset_name")
    try:
        found = datasets.load_dataset(path=source, name=name, **options)
    except Exception as error:
        # Wrong names, files and formats, and the network, show themselves in many exceptions.
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"{path}, dataset_path: {source!r} cannot be read: {reason[:300]}"
        ) from None
    if split not in found:
        raise UserError(f"{path}: no split {split!r} in {source!r}, only {', '.join(found)}")
    return found[split].to_list(), list(found[split].features)


def _read_document(
    document: dict[str, Any], *, task: Mapping[str, Any], columns: Sequence[str]
) -> ProbeItem:
    """The question, or a ValueError where a template fails or the shape is wrong."""
    value = partial(_value, document=document, task=task, columns=columns)
    parts = {key: value(key) for key in ("description", "doc_to_text")}
    for key, text in parts.items():
        if not isinstance(text, str) or (key == "doc_to_text" and text.isdigit()):
            # A number says which of several contexts is right, the option standing in them.
            raise ValueError(f", {key}: {shown(text)} is not text")
    options = task["doc_to_choice"]
    if isinstance(options, dict):
        options = list(options.values())
    elif isinstance(options, str):
        found = value("doc_to_choice")
        options = found if options in columns else _literal(found)
        if options is None:
            raise ValueError(f", doc_to_choice: {shown(found)} is not a list")
    check_options(options)
    context = "".join(parts.values())
    # The delimiter stands between context and option, and belongs to neither.
    delimiter = str(task.get("target_delimiter", " "))
    return ProbeItem(
        question=context,
        options=tuple(options),
        answer=_answer(task["doc_to_target"], value, columns, options),
        pieces=(context + delimiter, ""),
        context=context,
    )


def _answer(
    target: Any, value: Callable[[str], Any], columns: Sequence[str], options: list[str]
) -> str:
    if isinstance(target, str):
        field, target = target, value("doc_to_target")
        # What a template renders to and looks like a number or a list is one.
        is_literal = isinstance(target, str) and re.fullmatch(r"\d+|\[.*\]", target, re.DOTALL)
        if field not in columns and is_literal:
            found = _literal(target)
            target = target if found is None else found
    if isinstance(target, int):
        # An index out of range is counted as wrong, as in the harness, which also warns.
        absent = f"choice {target}, which does not exist"
        return options[target] if 0 <= target < len(options) else absent
    if isinstance(target, list):
        raise ValueError(f", doc_to_target: {shown(target)}: several answers are not supported")
    check_text(target, "doc_to_target")
    return str(target)


def _value(
    key: str, *, document: dict[str, Any], task: Mapping[str, Any], columns: Sequence[str]
) -> Any:
    """The column that a key of the task names, or its template rendered."""
    field = task.get(key) or ""
    if field in columns:
        return document[field]
    try:
        return _template(field).render(**document)
    except (TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f", {key}: {type(error).__name__}: {reason}") from None


def _literal(text: str) -> Any:
    """What a text says in Python; None where it is no Python."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None


@lru_cache(maxsize=16)
def _template(text: str) -> Template:
    environment = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters["regex_replace"] = lambda string, pattern, repl, count=0: re.sub(
        pattern, repl, string, count=count
    )
    return environment.from_string(text)


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
            raise UserError(f"{path}: another file already has the task name {names[number]!r}")
        if any(item.context is not None for item in probe.items):
            raise UserError(f"{path}: is already a task of lm-evaluation-harness")
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
