"""``README.md`` of an export: the card of its data set, in the form of the Hugging Face hub."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ccx_ray.analysis import wording
from ccx_ray.export.checkpoints import Checkpoint
from ccx_ray.export.data_sets import DataSet, described
from ccx_ray.export.finished import FinishedStudy
from ccx_ray.export.licences import TextSource, licence_metadata
from ccx_ray.export.rendering import card_languages, front_matter, render
from ccx_ray.study.spec import StudySpec

FILES = (
    ("README.md", "this card"),
    ("LICENSES.md", "the licences of the text that the study was made of"),
    ("study.yaml", "the study file, with every default"),
    ("provenance.json", "identity, inputs, versions and times of every step"),
    ("read_export.py", "computes accuracy and transfer from the scores, with pyarrow alone"),
    ("checksums.sha256", "of every other file"),
    ("report.html", "the report, one page that needs nothing else"),
    ("results.json", "every number of the report"),
    ("verdicts.json", "what was expected of the planted world, and whether it was found"),
    ("verdicts.csv", "the same as a table"),
    ("tables/*.csv", "the tables of the report"),
    ("figures/*.svg", "its figures"),
    ("models/*/README.md", "a card of every model"),
    ("models/*/LICENSES.md", "the licences of the text that the model was trained on"),
)
"""Pattern and meaning of the other files; the card lists those that exist."""
COPIED = (
    ("models/*/*", "the last checkpoint, as Transformers opens it"),
    ("models/*/step-*/*", "earlier checkpoints, the same"),
)


def dataset_card(
    finished: FinishedStudy,
    data_sets: Sequence[DataSet],
    checkpoints: Sequence[Checkpoint],
    sources: Sequence[TextSource],
    names: Iterable[str],
) -> str:
    """``README.md`` of an export.

    Args:
        names: of the files that are there.
    """
    study, results = finished.study, finished.results
    (scores,) = (one for one in data_sets if one.name == "scores")
    fields = {
        "pretty_name": f"ccx_ray study {study.name}",
        "language": card_languages(study, [lang.code for lang in study.trial_languages]),
        **licence_metadata(sources),
        "task_categories": ["multiple-choice"],
        "size_categories": [_size_category(scores.rows)],
        "tags": ["ccx_ray", "cross-lingual-transfer", "cultural-knowledge", "cloze",
                 *(["synthetic"] if study.world else [])],
        "configs": [
            {
                "config_name": one.name,
                "data_files": one.pattern,
                **({"default": True} if one is scores else {}),
            }
            for one in data_sets
        ],
    }  # fmt: skip
    known = list(names)
    patterns = [*FILES, *(COPIED if any(one.folder for one in checkpoints) else ())]
    copied = sum(one.folder is not None for one in checkpoints)
    return front_matter(fields) + render(
        "dataset_card.md.j2",
        study=study,
        results=results,
        facts=results["facts"],
        declared=results["declared"],
        statistic=results["headlines"][0]["statistic"] if results["headlines"] else "transfer",
        interval_name=_interval_name(results),
        headlines=[_headline(study, results, row) for row in results["headlines"]],
        data_sets=[_described(one) for one in data_sets],
        files=[row for row in patterns if any(map(file_pattern(row[0]).fullmatch, known))],
        trainings=finished.trainings,
        checkpoints=checkpoints,
        copied=copied,
        total_bytes=sum(one.bytes for one in checkpoints),
        steps=len(finished.steps),
        licence_sentence=_licence_sentence(study, sources),
    )


def _size_category(rows: int) -> str:
    ends = [("n<1K", 1e3), ("1K<n<10K", 1e4), ("10K<n<100K", 1e5), ("100K<n<1M", 1e6),
            ("1M<n<10M", 1e7), ("10M<n<100M", 1e8), ("100M<n<1B", 1e9)]  # fmt: skip
    return next((name for name, end in ends if rows < end), "n>1B")


def file_pattern(pattern: str) -> re.Pattern[str]:
    """Regular expression of a card's pattern, whose ``*`` matches a part of one name."""
    return re.compile(re.escape(pattern).replace(r"\*", "[^/]*"))


def _described(one: DataSet) -> dict[str, Any]:
    meaning = described()[one.name]
    columns = [(field.name, field.type, meaning["columns"][field.name]) for field in one.schema]
    return {
        "name": one.name,
        "pattern": one.pattern,
        "rows": one.rows,
        "bytes": one.bytes,
        "about": meaning["about"],
        "columns": columns,
    }


def _headline(
    study: StudySpec, results: Mapping[str, Any], row: Mapping[str, Any]
) -> dict[str, Any]:
    names = wording.names_of(study)
    words = wording.direction_name(
        row["direction"], names[study.base_language.code], names[row["language"]]
    )
    is_over_trainings = row["low"] is not None
    ends = ("low", "high") if is_over_trainings else ("question_low", "question_high")
    low, high = (row[end] for end in ends)
    place = (row["language"], row["direction"])
    verdicts = {(one["language"], one["direction"]): one["verdict"] for one in results["verdicts"]}
    source = study.base_language.code if row["direction"] == "base-to-target" else row["language"]
    return {
        "direction": words,
        "transfer": row["transfer"],
        "interval": wording.span(low, high, wording.points),
        "bridge": row["bridge"],
        "nobridge": row["nobridge"],
        "questions": row["questions"],
        "stated": f"stated in {names[source]} alone" if row["group"] else "",
        "seeds": len(row["seeds"]),
        "verdict": verdicts[place],
    }


def _interval_name(results: Mapping[str, Any]) -> str:
    share = f"{results['analysis']['confidence']:.0%}"
    if any(row["low"] is None for row in results["headlines"]):
        return f"transfer ({share} interval over questions alone: of these very trainings)"
    return f"transfer ({share} interval over questions and trainings)"


def _licence_sentence(study: StudySpec, sources: Sequence[TextSource]) -> str:
    if study.world is not None:
        return "All text is of invented words and was made by the study itself."
    unstated = sum(not source.licenses for source in sources)
    sentence = "The text that these numbers were computed from has licences of its own."
    if unstated:
        sentence += f" Of {wording.plural(unstated, 'source')} none is stated."
    return sentence
