"""Load a study by name or file, with ``--set`` overrides, into a validated spec.

Every mistake gives one line with the field, the value and what would be right.
"""

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from ccx_ray.errors import UserError
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.world_spec import with_planted_files
from ccx_ray.study.yaml_text import comment_in, read_yaml

PROJECT_ROOT = Path(__file__).resolve().parents[2]


def shipped_studies() -> dict[str, Path]:
    """Name -> file of the studies that come with the package."""
    folder = Path(str(resources.files("ccx_ray.study")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_study(name_or_file: str, overrides: Sequence[str] = ()) -> tuple[StudySpec, Path]:
    """Load and validate a study.

    Args:
        name_or_file: a shipped study's name or the path of a YAML file.
        overrides: ``dotted.field=value`` strings, the value in YAML.

    Returns:
        The spec, and the folder that its relative data paths start from: the project for a
        shipped study, the file's own folder otherwise.

    Raises:
        UserError: unknown study, unreadable file, unknown field or wrong value.
    """
    shipped = shipped_studies()
    if name_or_file in shipped:
        path, root = shipped[name_or_file], PROJECT_ROOT
    else:
        path = Path(name_or_file)
        if path.suffix not in (".yaml", ".yml") or not path.is_file():
            raise UserError(
                f"--study: {name_or_file!r} is neither a shipped study "
                f"({', '.join(shipped)}) nor an existing .yaml file"
            )
        path = path.resolve()
        root = path.parent
    try:
        tree = read_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{path.name}: not a mapping; write fields such as 'name: mine'")
    for override in overrides:
        _apply(tree, override)
    return validate_study(tree, path.name), root


def validate_study(tree: dict[str, Any], origin: str) -> StudySpec:
    """Validate a plain mapping; ``origin`` names it in error messages."""
    try:
        if tree.get("world") is not None:
            tree = with_planted_files(tree)
    except ValueError as error:
        raise UserError(f"{origin}: {error}") from None
    try:
        # JSON mode keeps strictness and still takes YAML's lists where the spec has tuples.
        return StudySpec.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        raise UserError(f"{origin}: {_first_problem(error)}") from None


def _apply(tree: dict[str, Any], override: str) -> None:
    field, separator, text = override.partition("=")
    if not separator or not field:
        raise UserError(f"--set: {override!r} is not of the form trials.steps=300")
    try:
        value, comment = read_yaml(text), comment_in(text)
    except yaml.YAMLError:
        raise UserError(f"--set {field}: {text[:80]!r} is not a YAML value") from None
    if comment:
        raise UserError(
            f"--set {field}: YAML reads {comment!r} as a comment; quote the value twice: "
            f"--set '{field}=\"{text}\"'"
        )
    node: Any = tree
    *parents, last = field.split(".")
    for depth, key in enumerate(parents):
        where = ".".join(parents[: depth + 1])
        if isinstance(node, list):
            node = _element(node, key, where)
        elif isinstance(node, dict):
            node = node.setdefault(key, {})
        else:
            raise UserError(f"--set {field}: the field above {where} has a plain value, no fields")
    if not isinstance(node, dict):
        raise UserError(f"--set {field}: name a field of one element, or give the whole list")
    node[last] = value


def _element(items: Iterable[Any], code: str, where: str) -> Any:
    codes = [item.get("code") for item in items if isinstance(item, dict)]
    for item in items:
        if isinstance(item, dict) and item.get("code") == code:
            return item
    raise UserError(f"--set {where}: no element has the code {code!r}; the codes are {codes}")


def _first_problem(error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    location, known = _resolved(StudySpec, [str(part) for part in problem["loc"]])
    field = ".".join(location) or "study"
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(location[-1], known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the fields are {', '.join(known)}"
        return f"{field}: unknown field; {hint}"
    if problem["type"] == "missing":
        return f"{field}: missing; it is required"
    if problem["type"] == "union_tag_invalid":
        context = problem["ctx"]
        return f"{field}.kind: {context['tag']!r} must be one of {context['expected_tags']}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error" and isinstance(problem["input"], dict):
        return f"{field}: {message}"
    shown = repr(problem["input"])
    hint = _plain_value(problem["type"], problem["input"])
    return f"{field}: {shown if len(shown) < 80 else shown[:77] + '...'}: {message}{hint}"


def _plain_value(kind: str, value: Any) -> str:
    """Advice for a value whose YAML type is not the type of the field."""
    if kind == "bool_type" and str(value).lower() in ("yes", "no", "on", "off", "y", "n"):
        return f"; write {'true' if str(value).lower() in ('yes', 'on', 'y') else 'false'}"
    if kind in ("int_type", "float_type") and isinstance(value, str):
        digits = value.replace("_", "").replace(",", "")
        return f"; write {digits}" if re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?", digits) else ""
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    if kind == "string_type" and isinstance(value, bool | int | float):
        return "; put it in quotes"
    return ""


def _resolved(model: type[BaseModel], location: Sequence[str]) -> tuple[list[str], list[str]]:
    """The field of a problem as a user writes it, and the known fields beside it.

    Pydantic adds the chosen kind of a union to the location; a study file does not have it.
    """
    written: list[str] = []
    kinds: list[type[BaseModel]] = []
    for part in location[:-1]:
        chosen = [kind for kind in kinds if _is_kind(kind, part)]
        if len(kinds) > 1 and chosen:
            model = chosen[0]
        else:
            written.append(part)
        if part in model.model_fields and not chosen:
            kinds = list(_models_in(model.model_fields[part].annotation))
            model = kinds[0] if kinds else model
    return [*written, *location[-1:]], sorted(model.model_fields)


def _models_in(annotation: Any) -> Iterable[type[BaseModel]]:
    """The parts of the spec that a field may contain."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)


def _is_kind(model: type[BaseModel], name: str) -> bool:
    return "kind" in model.model_fields and name in model.model_fields["kind"].annotation.__args__  # type: ignore[union-attr]
