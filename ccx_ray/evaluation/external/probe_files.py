"""Probe files of other projects, read as the questions that ours are.

BMLAMA (Cross-Lingual-Consistency), a TSV file a language: a line is ``Prompt, Ans, Candidate Ans,
Subject``, a prompt with ``<mask>``, its answer, and ten candidates separated by a comma and a
space. Line i of every language is the same question and its candidates are in the same order, which
RankC rests on. Columns are taken by their place, because the header is wrong in published files:
the Chinese one has five names for four columns.

mLAMA, a folder a language, a file of triples a relation: ``P19.jsonl`` holds lines such as
``{"sub_label": "Ada", "obj_label": "London", "obj_uri": "Q84"}``, ``templates.jsonl`` beside it
``{"relation": "P19", "template": "[X] was born in [Y] ."}``. The options of a question are all
objects of its relation (the typed querying of the paper), in the order of their ``obj_uri``, so
that languages with the same objects have parallel options.

Invariants: what is done with the scores afterwards never asks which layout a question came from;
blank lines are no items, every other line is one.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ccx_ray.errors import UserError
from ccx_ray.evaluation.external.harness import load_harness_task
from ccx_ray.evaluation.probes import (
    Probe,
    ProbeItem,
    answer_of,
    check_options,
    check_text,
    load_probe,
    read_items,
    read_json,
    read_text,
    shown,
)

LAYOUTS = """\
The layout of a probe file is chosen by the extension of its name:
  *.json    a list of {"question": "... ___ ...", "options": [...], "answer": "..."}
  *.tsv     BMLAMA: Prompt with <mask>, Ans, Candidate Ans, as in Cross-Lingual-Consistency
  *.jsonl   mLAMA: the triples of a relation, such as P19.jsonl, with templates.jsonl beside it
  *.yaml    a multiple-choice task of lm-evaluation-harness, scored as in the harness"""

MASK, SEPARATOR = "<mask>", ", "
SUBJECT, OBJECT = "[X]", "[Y]"


def load_probe_file(path: Path, *, lenient: bool = False) -> Probe:
    """Read the questions of any file; the probe's name is its path.

    Args:
        lenient: leave items of the wrong shape out and list them, instead of refusing the file.

    Raises:
        UserError: the file cannot be read, or an item of it has the wrong shape, or none is left.
    """
    readers = {
        ".tsv": _load_bmlama,
        ".jsonl": _load_mlama,
        ".yaml": load_harness_task,
        ".yml": load_harness_task,
    }
    read = readers.get(path.suffix.lower(), load_probe)
    return read(path, str(path), lenient=lenient)


def _load_bmlama(path: Path, name: str, *, lenient: bool = False) -> Probe:
    lines = [(number, line) for number, line in _read_lines(path) if _cells(line)[0] != "Prompt"]
    if not lines:
        raise UserError(f"{path}: a header without questions")
    return read_items(path, name, lines, _read_bmlama_line, lenient=lenient)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().split("\t")]


def _read_bmlama_line(numbered: tuple[int, str]) -> ProbeItem:
    number, line = numbered
    place = f" (line {number})"
    cells = _cells(line)
    if len(cells) < 3:
        raise ValueError(
            f"{place}: {shown(line)} has only {len(cells)} of the columns Prompt, Ans, "
            "Candidate Ans"
        )
    prompt, answer, candidates = cells[:3]
    if SEPARATOR in answer:
        raise ValueError(f"{place}, Ans: {shown(answer)} has several answers; give one")
    if not answer or not prompt:
        raise ValueError(f"{place}: {'Prompt' if answer else 'Ans'} is empty")
    options = candidates.rstrip(SEPARATOR).split(SEPARATOR)
    try:
        check_options(options)
    except ValueError as error:
        raise ValueError(f"{place}{error}") from None
    answer, note = answer_of(answer, options)
    return ProbeItem(
        question=prompt,
        options=tuple(options),
        answer=answer,
        pieces=tuple(prompt.split(MASK)),
        note=note,
    )


def _load_mlama(path: Path, name: str, *, lenient: bool = False) -> Probe:
    pieces = _read_template(path)
    triples = [read_json(line, str(path), number) for number, line in _read_lines(path)]
    # Only objects of triples that can be read are options; what is wrong is told below.
    objects = {
        str(triple.get("obj_uri", triple["obj_label"])): triple["obj_label"]
        for triple in triples
        if not _triple_fault(triple)
    }
    options = tuple(objects[uri] for uri in sorted(objects))
    if len(options) < 2:
        raise UserError(f"{path}: its triples have {len(options)} objects; two are needed")
    read = partial(_read_triple, pieces=pieces, options=options)
    return read_items(path, name, triples, read, lenient=lenient)


def _read_template(path: Path) -> tuple[str, ...]:
    """The text around the object, with the subject's place still in it."""
    file = path.with_name("templates.jsonl")
    for number, line in _read_lines(file):
        entry = read_json(line, str(file), number)
        try:
            relation, template = entry["relation"], str(entry["template"])
        except (TypeError, KeyError):
            raise UserError(
                f"{file}, line {number}: {shown(line)} is not an object with relation and template"
            ) from None
        if relation == path.stem:
            if SUBJECT not in template or OBJECT not in template:
                raise UserError(f"{file}, line {number}: {shown(template)} lacks [X] or [Y]")
            return tuple(template.split(OBJECT))
    raise UserError(f"{file}: no template of relation {path.stem!r}")


def _triple_fault(triple: Any) -> str:
    if not isinstance(triple, Mapping):
        return f": {shown(triple)} is not an object with sub_label and obj_label"
    for key in ("sub_label", "obj_label"):
        try:
            check_text(triple.get(key), key)
        except ValueError as error:
            return str(error)
    return ""


def _read_triple(triple: Any, *, pieces: tuple[str, ...], options: tuple[str, ...]) -> ProbeItem:
    if fault := _triple_fault(triple):
        raise ValueError(fault)
    filled = tuple(piece.replace(SUBJECT, triple["sub_label"]) for piece in pieces)
    return ProbeItem(
        question=OBJECT.join(filled), options=options, answer=triple["obj_label"], pieces=filled
    )


def _read_lines(path: Path) -> list[tuple[int, str]]:
    """``(number, line)`` of every line with something in it, from 1."""
    # Not splitlines(), which also breaks at characters that stand inside of texts; a byte order
    # mark stands at the beginning of each file that was joined to another.
    lines = (line.lstrip("\ufeff") for line in read_text(path).split("\n"))
    found = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not found:
        raise UserError(f"{path}: empty; questions are expected")
    return found
