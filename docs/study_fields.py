"""The page of all fields of a study file, written from the spec when the site is built."""

import ast
import inspect
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ccx_ray.study.spec import StudySpec

WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", NoneType: "null"}
BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def study_fields() -> str:
    """Markdown: a section for each part of a study file, with a table of its fields."""
    return "\n".join(_section(part, places) for part, places in parts(StudySpec).items())


def parts(part: type[BaseModel]) -> dict[type[BaseModel], list[str]]:
    """A part of the spec and all parts below it, in the order of the fields; the fields that each
    stands at."""
    found: dict[type[BaseModel], list[str]] = {}

    def visit(one: type[BaseModel], place: str) -> None:
        found.setdefault(one, []).append(place)
        for name, info in one.model_fields.items():
            many = ".*" if get_origin(info.annotation) in (tuple, dict) else ""
            for below in _parts_of(info.annotation):
                visit(below, f"{place}.{name}{many}".lstrip("."))

    visit(part, "")
    return found


@cache
def descriptions(part: type[BaseModel]) -> dict[str, str]:
    """Field -> the text that stands below it in the class, or below its type."""
    found: dict[str, str] = {}
    for one in reversed(part.__mro__):
        if issubclass(one, BaseModel) and one is not BaseModel:
            tree = ast.parse(inspect.getsource(one)).body[0]
            assert isinstance(tree, ast.ClassDef)
            found |= dict(_documented(tree.body))
    return found


def _documented(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, text in pairwise(body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=words)):
                yield name, " ".join(str(words).split())


def _section(part: type[BaseModel], places: Sequence[str]) -> str:
    name = part.__name__.removesuffix("Spec")
    heading = "The whole study" if part is StudySpec else f"`{name}`"
    about = inspect.cleandoc(part.__doc__ or "")
    if part is not StudySpec:
        about += f"\n\nIt stands at {', '.join(f'`{place}`' for place in places)}."
    rows = [
        f"| `{field}` | {_words(info.annotation, info.metadata)} | {_default(info)} "
        f"| {_cell(descriptions(part).get(field, ''))} |"
        for field, info in part.model_fields.items()
    ]
    table = "\n".join(["| field | type | default | what it is |", "|---|---|---|---|", *rows])
    return f"({_anchor(part)})=\n## {heading}\n{about}\n\n{table}\n"


def _anchor(part: type[BaseModel]) -> str:
    return f"field-{part.__name__.lower()}"


def _parts_of(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    else:
        for below in get_args(kind):
            yield from _parts_of(below)


def _words(kind: Any, metadata: Any = ()) -> str:
    """A type as a reader of YAML would say it, with its bounds."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Annotated:
        words = _words(inside[0], inside[1:])
    elif origin is Literal:
        words = ", ".join(f"`{value}`" for value in inside)
    elif origin in (Union, UnionType):
        words = ", or ".join(_words(one) for one in inside)
    elif origin is tuple:
        many = inside[-1] is Ellipsis
        words = (
            f"list of {_words(inside[0])}"
            if many
            else f"list of {len(inside)}: " + ", ".join(map(_words, inside))
        )
    elif origin is dict:
        words = f"mapping of {_words(inside[0])} to {_words(inside[1])}"
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        words = f"[{kind.__name__.removesuffix('Spec')}](#{_anchor(kind)})"
    else:
        words = WORDS[kind]
    return words + "".join(f", {bound}" for one in metadata for bound in _bounds(one))


def _bounds(one: Any) -> Iterator[str]:
    inner = one.metadata if isinstance(one, FieldInfo) else [one]
    for bound in inner:
        for name, word in BOUNDS.items():
            value = getattr(bound, name, None)
            if value is not None:
                yield f"{word} {value}"
        if (least := getattr(bound, "min_length", None)) is not None:
            yield f"at least {least} of them" if least > 1 else "not empty"
        if (pattern := getattr(bound, "pattern", None)) is not None:
            yield "lower case" if "{2,3}" in pattern else "letters, digits, `-` and `_`"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    assert value is not PydanticUndefined
    return _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, BaseModel):
        changed = value.model_dump(exclude_defaults=True)
        kind = {"kind": value.kind} if hasattr(value, "kind") else {}
        content = ", ".join(f"{name}: {_plain(one)}" for name, one in (kind | changed).items())
        return f"`{{{content}}}`" if content else "its own defaults"
    return f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    """A value as YAML has it in one line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_plain(one)}" for name, one in value.items()) + "}"
    return f"{value:,}".replace(",", "_") if isinstance(value, int) else str(value) or '""'


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
