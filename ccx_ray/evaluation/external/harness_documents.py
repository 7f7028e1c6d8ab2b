"""A document of a task of lm-evaluation-harness as a question: its templates rendered.

A field is the name of a column, or a Jinja template over the document; what a template renders to
may be a number or a list written in Python. All of it is the harness's way (``api/task.py`` of
version 0.4.13), with the difference that templates run in Jinja's sandbox.
"""

import ast
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from ccx_ray.evaluation.probes import ProbeItem, check_options, check_text, shown


@dataclass(frozen=True, kw_only=True)
class TaskFields:
    """The keys of a task that make a question of a document."""

    text: str
    choice: str | list[Any] | dict[str, Any]
    target: str | int
    description: str
    delimiter: str
    """Stands between context and option, and belongs to neither."""
    columns: frozenset[str]


def read_document(document: dict[str, Any], *, fields: TaskFields) -> ProbeItem:
    """
    Raises:
        ValueError: a template fails, or the question has a wrong shape.
    """
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


def _options(document: dict[str, Any], fields: TaskFields) -> list[str]:
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


def _answer(document: dict[str, Any], fields: TaskFields, options: list[str]) -> str:
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


def _value(field: str, document: dict[str, Any], fields: TaskFields, key: str) -> Any:
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
    import re

    environment = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters["regex_replace"] = lambda string, pattern, repl, count=0: re.sub(
        pattern, repl, string, count=count
    )
    return environment.from_string(text)
