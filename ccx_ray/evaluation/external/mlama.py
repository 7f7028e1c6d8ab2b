"""mLAMA: a folder a language, a file of triples a relation, and the relations' templates.

``P19.jsonl`` holds lines such as ``{"sub_label": "Ada", "obj_label": "London", "obj_uri": "Q84"}``,
``templates.jsonl`` beside it ``{"relation": "P19", "template": "[X] was born in [Y] ."}``. The
options of a question are all objects of its relation (the typed querying of the paper), in the
order of their ``obj_uri``, so that languages with the same objects have parallel options.
"""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ccx_ray.errors import UserError
from ccx_ray.evaluation.external.lines import read_lines
from ccx_ray.evaluation.probes import Probe, ProbeItem, check_text, read_items, shown

TEMPLATES = "templates.jsonl"
SUBJECT, OBJECT = "[X]", "[Y]"


def load_mlama(path: Path, name: str, *, lenient: bool = False) -> Probe:
    """Read one relation of one language.

    Raises:
        UserError: the file or its template cannot be read, or a triple has the wrong shape, or
            none is left.
    """
    pieces = _template(path)
    entries: list[Any] = []
    for number, line in read_lines(path):
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: not JSON ({error.msg})") from None
    # Only objects of triples that can be read are options; what is wrong is told below.
    objects = {
        str(entry.get("obj_uri", entry["obj_label"])): entry["obj_label"]
        for entry in entries
        if not _fault(entry)
    }
    options = tuple(objects[uri] for uri in sorted(objects))
    if len(options) < 2:
        raise UserError(f"{path}: its triples name {len(options)} objects; two or more are options")
    return read_items(
        path, name, entries, partial(_read_triple, pieces=pieces, options=options), lenient=lenient
    )


def _template(path: Path) -> tuple[str, ...]:
    """The text around the object, with the subject's place still in it."""
    file = path.with_name(TEMPLATES)
    for number, line in read_lines(file):
        try:
            entry = json.loads(line)
            relation, template = entry["relation"], entry["template"]
        except (ValueError, TypeError, KeyError):
            raise UserError(
                f"{file}, line {number}: {shown(line)} is not an object with relation and template"
            ) from None
        if relation == path.stem:
            if SUBJECT not in template or OBJECT not in template:
                raise UserError(f"{file}, line {number}: {shown(template)} lacks [X] or [Y]")
            return tuple(template.split(OBJECT))
    raise UserError(f"{file}: no template of relation {path.stem!r}")


def _fault(entry: Any) -> str:
    if not isinstance(entry, Mapping):
        return f": {shown(entry)} is not an object with sub_label and obj_label"
    for key in ("sub_label", "obj_label"):
        try:
            check_text(entry.get(key), key)
        except ValueError as error:
            return str(error)
    return ""


def _read_triple(entry: Any, *, pieces: tuple[str, ...], options: tuple[str, ...]) -> ProbeItem:
    if fault := _fault(entry):
        raise ValueError(fault)
    filled = tuple(piece.replace(SUBJECT, entry["sub_label"]) for piece in pieces)
    return ProbeItem(
        question=OBJECT.join(filled),
        options=options,
        answer=entry["obj_label"],
        pieces=filled,
    )
