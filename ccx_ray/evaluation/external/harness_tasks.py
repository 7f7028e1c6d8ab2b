"""A multiple-choice task of lm-evaluation-harness: its YAML file, and the documents that it names.

Read without the harness, after what version 0.4.13 does with no examples in the prompt. What would
change the text or the score and is not known here is refused by the name of its key; a task that
needs Python is refused too.

Invariant: context, options and answer of every document are those that the harness makes of it.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from ccx_ray.errors import UserError
from ccx_ray.evaluation.external.harness_documents import TaskFields, read_document
from ccx_ray.evaluation.probes import Probe, read_items

USED = {
    "dataset_path",
    "dataset_name",
    "dataset_kwargs",
    "test_split",
    "validation_split",
    "output_type",
    "doc_to_text",
    "doc_to_choice",
    "doc_to_target",
    "description",
    "target_delimiter",
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


class _Loader(yaml.SafeLoader):
    """YAML in which ``!function`` is seen and not imported."""


class _Function(str):
    """The name of Python code that a task asks for."""


def _function(loader: yaml.SafeLoader, node: yaml.Node) -> _Function:
    assert isinstance(node, yaml.ScalarNode)
    return _Function(loader.construct_scalar(node))


_Loader.add_constructor("!function", _function)


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
        raise UserError(f"{path}, test_split: neither it nor validation_split names a split")
    documents, columns = _documents(path, config, str(split))
    fields = TaskFields(
        text=config["doc_to_text"],
        choice=config["doc_to_choice"],
        target=config["doc_to_target"],
        description=config.get("description") or "",
        delimiter=str(config.get("target_delimiter", " ")),
        columns=frozenset(columns),
    )
    return read_items(path, name, documents, partial(read_document, fields=fields), lenient=lenient)


def _read_yaml(path: Path, including: tuple[Path, ...]) -> dict[str, Any]:
    """The keys of a file over those of the files that it includes."""
    if path.resolve() in including:
        raise UserError(f"{path}, include: the files include each other")
    try:
        content = yaml.load(path.read_text("utf-8"), _Loader)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a task file") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())[:200]})") from None
    if not isinstance(content, dict) or "group" in content or isinstance(content.get("task"), list):
        raise UserError(f"{path}: not one task with its keys; give the files of a group's tasks")
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
            raise UserError(f"{path}, {key}: !function {value} is Python, which is not run")
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
