"""A multiple-choice task of lm-evaluation-harness: its YAML file, and the documents that it names.

Read without the harness, after what version 0.4.13 (``api/task.py``) does with no examples in the
prompt. What would change the text or the score and is not known here is refused by the name of its
key; a task that needs Python is refused too. A field is the name of a column, or a Jinja template
over the document, which runs in Jinja's sandbox; what it renders to may be a number or a list
written in Python.

Invariant: context, options and answer of every document are those that the harness makes of it.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
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
    shown,
)

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


@dataclass(frozen=True, kw_only=True)
class _TaskFields:
    """The keys of a task that make a question of a document."""

    text: str
    choice: str | list[Any] | dict[str, Any]
    target: str | int
    description: str
    delimiter: str
    """Stands between context and option, and belongs to neither."""
    columns: frozenset[str]


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
    fields = _TaskFields(
        text=config["doc_to_text"],
        choice=config["doc_to_choice"],
        target=config["doc_to_target"],
        description=config.get("description") or "",
        delimiter=str(config.get("target_delimiter", " ")),
        columns=frozenset(columns),
    )
    return read_items(
        path, name, documents, partial(_read_document, fields=fields), lenient=lenient
    )


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


def _read_document(document: dict[str, Any], *, fields: _TaskFields) -> ProbeItem:
    """The question, or a ValueError where a template fails or the shape is wrong."""
    description, text = (
        _value(value, document, fields, key)
        for key, value in (("description", fields.description), ("doc_to_text", fields.text))
    )
    for key, value in (("description", description), ("doc_to_text", text)):
        if not isinstance(value, str) or (key == "doc_to_text" and value.isdigit()):
            # A number says which of several contexts is right, the option standing in them.
            raise ValueError(f", {key}: {shown(value)} is not supported where a text is expected")
    options = _options(document, fields)
    context = description + text
    return ProbeItem(
        question=context,
        options=tuple(options),
        answer=_answer(document, fields, options),
        pieces=(context + fields.delimiter, ""),
        context=context,
    )


def _options(document: dict[str, Any], fields: _TaskFields) -> list[str]:
    if isinstance(fields.choice, dict):
        options: Any = list(fields.choice.values())
    elif isinstance(fields.choice, list):
        options = fields.choice
    else:
        options = _value(fields.choice, document, fields, "doc_to_choice")
        if fields.choice not in fields.columns:
            options = _list(options)
    check_options(options)
    return list(options)


def _answer(document: dict[str, Any], fields: _TaskFields, options: list[str]) -> str:
    target: Any = fields.target
    if isinstance(target, str):
        target = _value(target, document, fields, "doc_to_target")
    if isinstance(target, str) and fields.target not in fields.columns:
        target = _number_or_list(target)
    if isinstance(target, int):
        # Out of range is nobody's choice, which the harness warns of and counts as wrong.
        absent = f"choice {target}, which is not there"
        return options[target] if 0 <= target < len(options) else absent
    if isinstance(target, list):
        raise ValueError(f", doc_to_target: {shown(target)}: several answers are not supported")
    check_text(target, "doc_to_target")
    return str(target)


def _number_or_list(text: str) -> Any:
    """What looks like a number or a list is one."""
    if text.isdigit() or (text.startswith("[") and text.endswith("]")):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text
    return text


def _value(field: str, document: dict[str, Any], fields: _TaskFields, key: str) -> Any:
    """The column of this name, or the template rendered."""
    if field in fields.columns:
        return document[field]
    try:
        return _template(field).render(**document)
    except (TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f", {key}: {type(error).__name__}: {reason}") from None


def _list(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise ValueError(f", doc_to_choice: {shown(text)} is not a list in Python") from None


@lru_cache(maxsize=16)
def _template(text: str) -> Template:
    environment = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters["regex_replace"] = lambda string, pattern, repl, count=0: re.sub(
        pattern, repl, string, count=count
    )
    return environment.from_string(text)
