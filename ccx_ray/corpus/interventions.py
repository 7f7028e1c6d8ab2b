"""Interventions: sentences of chosen probe items, planted into a language's monolingual text.

They enter behind cleaning, deduplication and the choice of held-out text, because there repeated
sentences would go: the text folder of the step before is linked, and one part of documents is added
behind its own. So every original document keeps its number, the planted ones are the last of the
monolingual documents, and tokens, streams, lexicons, indexes and exposure treat them as documents
of that text. The tokenizer and the held-out documents are made of the text before.

Invariants: an item has exactly as many planted documents as its dose, each a sentence of its own;
which items are drawn, and their doses, depend on the spec and on which items have a sentence, and
on nothing of the text; a planted sentence is what isolation leaves of it, and isolation removes
nothing from it.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ccx_ray.corpus.cleaning.language_identification import isolate_language
from ccx_ray.corpus.cleaning.scripts import isolate, script_of
from ccx_ray.corpus.cleaning.text_folder import DOCUMENTS as DOCUMENT
from ccx_ray.corpus.intervention_steps import Statement, Statements
from ccx_ray.corpus.parts import (
    part_files,
    part_path,
    read_language,
    write_language,
    write_part,
)
from ccx_ray.errors import InputError, UserError
from ccx_ray.storage.publishing import publish_link, publish_parquet
from ccx_ray.study.intervention_spec import FROM_PROBE, InterventionSpec
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.text_spec import BaseLanguageSpec, LanguageSpec

INTERVENTIONS = "interventions.parquet"
PLANTED = "planted"
"""Folder of the part of planted documents alone."""
SOURCE = "interventions"
"""Of a planted document."""
SCHEMA = pa.schema(
    [
        ("culture", pa.string()),
        ("text", pa.string()),  # the language of the text
        ("question", pa.int32()),
        ("dose", pa.int32()),
        ("documents", pa.list_(pa.string())),  # their ids, as many as the dose
        ("sentences", pa.list_(pa.string())),  # of the item; its documents hold them in turn
    ]
)
EDGES = " \u0f0b"
"""Blank and tsheg, which a probe's answer may end with and its sentence may lack."""


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """The sentences that an intervention may plant."""

    of_item: dict[int, list[str]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    """Items that get no dose, by reason."""


def interventions_in(study: StudySpec, code: str) -> dict[str, InterventionSpec]:
    """Field of the study file -> intervention, of those that plant into the text of a language."""
    every = enumerate(study.interventions)
    return {f"interventions.{place}": one for place, one in every if one.text == code}


def check_interventions(study: StudySpec, root: Path, statements: Statements) -> None:
    """Find what is wrong with sentences and doses before any compute is spent.

    Raises:
        UserError: the first mistake.
    """
    for language in (study.base_language, *study.languages):
        for place, spec in interventions_in(study, language.code).items():
            items = statements(study.language(spec.probe))[spec.text]
            assigned_doses(spec, read_sentences(spec, items, language, root), place)


def read_sentences(
    spec: InterventionSpec,
    items: Sequence[Statement],
    language: BaseLanguageSpec | LanguageSpec,
    root: Path,
) -> Sentences:
    """The sentences of an intervention.

    Args:
        items: of the probe, in the language of the text.
        language: of the text.
        root: folder that the path of the sentences starts from.

    Raises:
        InputError: a line of the file is none of the probe's items, lacks the item's answer, holds
            what isolation removes, or repeats another line. Of ``from-probe`` such items are left
            out and counted.
    """
    found = Sentences()
    if spec.sentences == FROM_PROBE:
        texts = _as_in_text([item.sentence for item in items], language)
        seen: set[str] = set()
        for question, (item, (text, removed)) in enumerate(zip(items, texts, strict=True)):
            repeated = "the sentence of an earlier item" if text in seen else ""
            fault = item.fault or (removed and "characters that isolation removes") or repeated
            if fault:
                found.left_out[fault] += 1
            else:
                found.of_item[question] = [text]
                seen.add(text)
        return found
    lines = list(_lines(root / spec.sentences, spec.sentences))
    texts = _as_in_text([text for _, _, text in lines], language)
    first: dict[str, int] = {}
    for (number, question, _), (text, removed) in zip(lines, texts, strict=True):
        place = f"{spec.sentences}, line {number}"
        if not 0 <= question < len(items):
            raise InputError(
                f"{place}: the probe {spec.probe} has no question {question}; give 0 to "
                f"{len(items) - 1}"
            )
        if removed:
            raise InputError(
                f"{place}: languages.{language.code}.isolation removes {removed}; write the "
                "sentence without it"
            )
        if _level(items[question].answer) not in _level(text):
            raise InputError(
                f"{place}: the sentence does not contain {items[question].answer!r}, the answer "
                f"of question {question} in {spec.text}"
            )
        if first.setdefault(text, number) != number:
            raise InputError(
                f"{place}: repeats line {first[text]}, which would count twice; give every "
                "sentence once"
            )
        found.of_item.setdefault(question, []).append(text)
    if without := len(items) - len(found.of_item):
        found.left_out["no sentence"] = without
    return found


def _lines(path: Path, name: str) -> Iterator[tuple[int, int, str]]:
    """Number of the line, question and text of every line that is not empty."""
    try:
        content = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InputError(f"{name}: cannot be read ({reason}); give JSON Lines") from None
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            question, text = record["question"], record["text"]
        except (ValueError, KeyError, TypeError):
            record = None
        if record is None or type(question) is not int or not isinstance(text, str):
            shown = line if len(line) <= 60 else f"{line[:57]}..."
            raise InputError(
                f'{name}, line {number}: {shown} is not of the form {{"question": 12, "text": '
                '"..."}'
            )
        yield number, question, text


def _as_in_text(
    texts: Sequence[str], language: BaseLanguageSpec | LanguageSpec
) -> list[tuple[str, str]]:
    """Every text as a corpus of the language would hold it, and what that takes out of it, in
    words; empty where it takes out nothing."""

    def isolated(some: Sequence[str]) -> list[tuple[str, str]]:
        given, rules = pa.array(some, pa.string()), language.isolation
        by_script = rules.strategy == "script"
        found = (
            isolate(given, rules) if by_script else isolate_language(given, language.code, rules)
        )
        dropped = [] if found.dropped is None else found.dropped.to_pylist()
        if not found.removed and not any(dropped):
            return [(text, "" if text else "the whole text") for text in found.text.to_pylist()]
        if len(some) > 1:  # which of them it was
            return [one for text in some for one in isolated([text])]
        if not found.removed:
            return [(some[0], f"{dropped[0]!r} in another language")]
        character = next(one for one in normalize("NFC", some[0]) if one in found.removed)
        return [(some[0], f"{character!r} ({script_of(character)})")]

    return isolated(texts)


def _level(text: str) -> str:
    """A text as an answer is looked for in it: without letter case, and blanks at the ends."""
    return normalize("NFC", text).casefold().strip(EDGES)


def assigned_doses(spec: InterventionSpec, sentences: Sentences, place: str) -> dict[int, int]:
    """Question -> dose, of the items that take part, by question.

    Args:
        place: field of the intervention, for the message.

    Raises:
        UserError: fewer items have a sentence than are asked for, or than there are doses.
    """
    able = sorted(sentences.of_item)
    wanted = len(able) if spec.items is None else spec.items
    if len(able) < max(wanted, len(spec.doses)):
        reasons = ", ".join(f"{reason}: {count}" for reason, count in sentences.left_out.items())
        raise UserError(
            f"{place}.items: only {len(able)} items of the probe {spec.probe} have a sentence to "
            f"plant ({reasons}), but {max(wanted, len(spec.doses))} are needed; give more "
            "sentences, or fewer items and doses"
        )
    random = np.random.default_rng([spec.seed, *f"{spec.text}/{spec.probe}".encode()])
    drawn = random.permutation(able)[:wanted]
    doses = np.resize(random.permutation(spec.doses), wanted)
    return dict(sorted(zip(drawn.tolist(), doses.tolist(), strict=True)))


def plant(
    study: StudySpec,
    text_folder: Path,
    folder: Path,
    *,
    root: Path,
    statements: Statements,
) -> dict[str, Any]:
    """Make ``folder`` the text folder with the planted documents, and write which ones they are.

    Returns:
        planted ``documents``, ``characters`` and ``bytes``; by probe the ``items`` of every dose
        and those ``left_out`` by reason.
    """
    code = read_language(text_folder)
    language = study.base_language if code == study.base_language.code else study.language(code)
    rows: list[dict[str, Any]] = []
    counts: dict[str, Any] = {}
    for place, spec in interventions_in(study, code).items():
        items = statements(study.language(spec.probe))[code]
        sentences = read_sentences(spec, items, language, root)
        doses = assigned_doses(spec, sentences, place)
        rows += [
            {
                "culture": spec.probe,
                "text": code,
                "question": question,
                "dose": dose,
                "documents": [f"{SOURCE}/{spec.probe}/{question}/{n}" for n in range(dose)],
                "sentences": sentences.of_item[question],
            }
            for question, dose in doses.items()
        ]
        counts[spec.probe] = {
            "items": {str(dose): n for dose, n in sorted(Counter(doses.values()).items())},
            "left_out": dict(sentences.left_out.most_common()),
        }
    documents = pa.table(
        {
            "id": [name for row in rows for name in row["documents"]],
            "text": [text for row in rows for text in planted_texts(row)],
            "source": [SOURCE] * sum(row["dose"] for row in rows),
        },
        schema=DOCUMENT,
    )
    for kind in ("documents", "pairs"):
        for part in part_files(text_folder / kind):
            publish_link(part, folder / kind / part.name)
    behind = part_path(folder / "documents", len(part_files(folder / "documents")))
    write_part(folder / PLANTED, 0, documents)
    publish_link(part_path(folder / PLANTED, 0), behind)
    write_language(folder, code, read_language(text_folder, "base"))
    publish_parquet(folder / INTERVENTIONS, pa.Table.from_pylist(rows, SCHEMA))
    return {
        "documents": documents.num_rows,
        "characters": pc.sum(pc.utf8_length(documents["text"])).as_py() or 0,
        "bytes": pc.sum(pc.binary_length(documents["text"])).as_py() or 0,
        **counts,
    }


def read_interventions(folders: Mapping[str, Path], culture: str | None = None) -> pa.Table:
    """The rows of ``interventions.parquet`` of all texts, of one culture or of all."""
    files = [folder / INTERVENTIONS for folder in folders.values()]
    rows = pa.concat_tables([SCHEMA.empty_table(), *map(pq.read_table, files)])
    return rows if culture is None else rows.filter(pc.equal(rows["culture"], culture))


def planted_texts(row: Mapping[str, Any]) -> list[str]:
    """The texts of an item's planted documents, from its row of ``interventions.parquet``."""
    sentences = row["sentences"]
    return [sentences[number % len(sentences)] for number in range(row["dose"])]


def planted_count(file: Path | None) -> int:
    """How many documents a step planted, by its ``interventions.parquet``; 0 without one."""
    if file is None:
        return 0
    return int(pc.sum(pq.read_table(file, columns=["dose"])["dose"]).as_py() or 0)
