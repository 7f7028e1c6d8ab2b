"""A finished study whose every answer is known, written in the stages' real schemas."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from ccx_ray.analysis.report.writing import analyse
from ccx_ray.analysis.tables import AnalysisInputs
from ccx_ray.evaluation import perplexity
from ccx_ray.evaluation.results import SCHEMA, SCORE_TYPES, publish_results
from ccx_ray.study.loading import load_study
from ccx_ray.study.spec import ScoreType, StudySpec
from ccx_ray.study.trials import trial_grid

QUESTIONS = {"ko": 60, "zh": 40, "bo": 30, "mn": 28}
Correct = Callable[[str, int, str], Sequence[bool]]
"""(run, step, probe) -> which questions are answered rightly."""

Labels = Callable[[int], tuple[str, str]]
"""Question -> its group and its cluster, in every probe."""

Nats = Callable[[str, int, str], Sequence[float]]
"""(run, step, language of the text) -> nats of its held-out documents."""


def small_study(*overrides: str) -> StudySpec:
    study, _ = load_study("laptop", ["analysis.bootstrap_samples=300", *overrides])
    return study


@dataclass(frozen=True, kw_only=True)
class Question:
    """The scores of one question's options, under every score or under some, and what is right."""

    scores: Sequence[float]
    gold: int
    others: Mapping[ScoreType, Sequence[float]] | None = None
    """The scores of these types, instead of ``scores``."""
    right: Sequence[bool] | None = None
    """Of each option; that of ``gold`` alone where none is given."""
    quality: Sequence[str] = ()
    tokens: int = 1
    """Of the sentence, whatever the option."""
    answer_tokens: int = 1
    group: str = ""
    cluster: str = ""


def results_table(run: str, step: int, probe: str, questions: Sequence[Question]) -> pa.Table:
    """The rows of one probe in the schema of the results."""
    rows = []
    for index, question in enumerate(questions):
        count = len(question.scores)
        right = question.right or [option == question.gold for option in range(count)]
        best = sorted(question.scores)
        choice = list(question.scores).index(best[0])
        rows.append(
            {
                "trial": run,
                "step": step,
                "probe": probe,
                "question": index,
                "gold": question.gold,
                "right": right,
                "quality": question.quality,
                "group": question.group,
                "cluster": question.cluster,
                "choice": choice,
                "correct": right[choice],
                "tied": best[0] == best[1],
                **{
                    kind: (question.others or {}).get(kind, question.scores) for kind in SCORE_TYPES
                },
                "tokens": [question.tokens] * count,
                "bytes": [3] * count,
                "option_bytes": [1] * count,
                "alone_nats": [0.0] * count,
                "token_nats": [[score] * question.tokens for score in question.scores],
                "option_tokens": [
                    [place < question.answer_tokens for place in range(question.tokens)]
                ]
                * count,
            }
        )
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def write_evaluation(
    folder: Path, run: str, step: int, answers: Mapping[str, Sequence[Question]]
) -> None:
    """One checkpoint's Parquet, from probe -> questions."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = [results_table(run, step, probe, asked) for probe, asked in answers.items()]
    publish_results(folder / f"step-{step:06d}.parquet", tables)


def write_perplexity(
    folder: Path, run: str, step: int, nats: Mapping[str, Sequence[float]]
) -> None:
    """One checkpoint's held-out text, from language -> nats of its documents; the n-th document has
    10 n tokens and 40 n bytes."""
    rows = [
        {"trial": run, "step": step, "language": language, "document": f"{language}-{n}",
         "tokens": 10 * n, "bytes": 40 * n, "nats": value}
        for language, documents in nats.items()
        for n, value in enumerate(documents, start=1)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=perplexity.SCHEMA)
    perplexity.publish_perplexity(folder / f"perplexity-{step:06d}.parquet", [table])


def plain_questions(correct: Sequence[bool]) -> list[Question]:
    """No ties, but question 0 has no blank, so that its first option always wins; the right option
    is the first in every other question and the third in the rest. Answers have 1 to 3 tokens of a
    sentence of 10 to 16."""
    odd = ("no_blank", "identical_sentences")
    questions = [Question(scores=[2.0] * 4, gold=0, quality=odd, tokens=10, answer_tokens=0)]
    for index, right in enumerate(correct[1:], start=1):
        gold = 0 if index % 2 == 0 else 2
        chosen = gold if right else gold + 1
        scores = [1.1, 1.2, 1.3, 1.4]
        scores[chosen] = 1.0
        questions.append(
            Question(scores=scores, gold=gold, tokens=10 + index % 7, answer_tokens=1 + index % 3)
        )
    return questions


def write_study(
    root: Path,
    study: StudySpec,
    correct: Correct,
    nats: Nats | None = None,
    labels: Labels = lambda _: ("", ""),
) -> AnalysisInputs:
    """A finished study of ``study``'s grid, with the answers that ``correct`` gives, and with
    perplexities where ``nats`` gives them."""

    def questions(run: str, step: int, probe: str) -> list[Question]:
        asked = enumerate(plain_questions(correct(run, step, probe)))
        return [
            replace(question, group=labels(index)[0], cluster=labels(index)[1])
            for index, question in asked
        ]

    trials, steps = trial_grid(study), study.trials.checkpoint_steps
    cultures = [language.code for language in study.trial_languages]
    evaluations, trainings, markers = {}, {}, {}
    for run in ("base", *(trial.name for trial in trials)):
        asked = cultures if run == "base" else [run.split("-")[0]]
        probes = [f"{culture}-{side}" for culture in asked for side in (culture, "en")]
        evaluations[run] = root / f"evaluate-{run}-0123456789ab"
        for step in (study.base.steps,) if run == "base" else steps:
            write_evaluation(
                evaluations[run], run, step,
                {probe: questions(run, step, probe) for probe in probes},
            )  # fmt: skip
            if nats is not None:
                texts = [*(cultures if run == "base" else asked), "en"]
                write_perplexity(
                    evaluations[run], run, step, {text: nats(run, step, text) for text in texts}
                )
        (evaluations[run] / "_complete.json").write_text("{}")
        trainings[run] = root / f"trial-{run}-0123456789ab"
        write_losses(trainings[run], 12)
        for step in (f"evaluate-{run}", run if run == "base" else f"trial-{run}"):
            markers[step] = marker("evaluation" if "evaluate" in step else "training", {})
    frequencies = {}
    for culture in cultures:
        markers[f"text-{culture}"] = marker(
            "text",
            {
                "documents": {
                    "kept": 321,
                    "characters_out_text": 65432,
                    "rejected": {"duplicate": 7},
                },
                "pairs": {"kept": 222, "rejected": {}},
                "characters_removed_by_script": {"Latin": 11, "Greek": 2},
            },
        )
        frequencies[culture] = root / f"frequency-{culture}-0123456789ab"
        write_frequency(frequencies[culture], culture)
    return AnalysisInputs(
        study=study,
        trials=trials,
        evaluations=evaluations,
        frequencies=frequencies,
        trainings=trainings,
        markers=markers,
    )


def analyse_unrendered(inputs: AnalysisInputs, folder: Path) -> dict[str, Any]:
    """``analyse``, whose figures are drawn but not rendered to SVG, which takes half of its time;
    ``test_analysis.py`` renders them."""
    with patch.object(
        Figure, "savefig", lambda figure, file, **_: file.write('<svg><g id="figure"/></svg>')
    ):
        return analyse(inputs, folder)


def analysed(root: Path, inputs: AnalysisInputs) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Results, summary and page of a study's report."""
    folder = root / "analysis"
    folder.mkdir()
    summary = analyse_unrendered(inputs, folder)
    results = json.loads((folder / "results.json").read_text("utf-8"))
    return results, summary, (folder / "report.html").read_text("utf-8")


def finding(results: Mapping[str, Any], question: str) -> tuple[str, str, str]:
    """Result, verdict and reason of the one finding whose question starts so."""
    (row,) = (row for row in results["findings"] if row["question"].startswith(question))
    return row["result"], row["verdict"], row["reason"]


def header(page: str) -> str:
    """The first screen of a report: question, answer, figure and checks."""
    return page[page.index("<header>") : page.index("</header>")]


def section(page: str, name: str) -> str:
    """A folded section of a report."""
    return page[page.index(f'<div id="{name}">') :].partition("</div></details>")[0]


def limit(results: Mapping[str, Any], name: str) -> tuple[str, str]:
    """What a limit is in the run, and its consequence."""
    (row,) = (row for row in results["limits"] if row["limit"] == name)
    return row["here"], row["consequence"]


def marker(kind: str, counts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "kind": kind, "fingerprint": "0123456789ab", "commit": "c0ffee" * 6 + "cafe",
        "started": "2026-01-02T03:04:05+00:00", "finished": "2026-01-02T03:05:35+00:00",
        "counts": counts, "python": "3.11.2", "platform": "Linux", "processors": 2,
        "versions": {"torch": "2.13.0", "mlflow": None},
    }  # fmt: skip


def write_losses(folder: Path, steps: int) -> None:
    folder.mkdir()
    columns = {
        "step": range(1, steps + 1), "loss": [8.0 - 0.1 * step for step in range(steps)],
        "learning_rate": [1e-3] * steps, "gradient_norm": [1.0] * steps, "tokens": [2000] * steps,
        "first_row": range(steps), "last_row": range(steps), "seconds": [0.5] * steps,
    }  # fmt: skip
    pq.write_table(pa.table({k: list(v) for k, v in columns.items()}), folder / "losses.parquet")


def write_frequency(folder: Path, culture: str) -> None:
    """The English corpus of 1,000 documents holds question q (q mod 4) times, the target's twice
    as often in 100. A scan finds one document more of what is held at all, and three times as many
    documents have the answer, twice as many the entity too."""
    folder.mkdir()
    tables = []
    for corpus, times, documents in (("en", 1, 1000), (culture, 2, 100)):
        count = QUESTIONS[culture]
        occurrences = [times * (question % 4) for question in range(count)]
        tables.append(
            pa.table(
                {
                    "culture": [culture] * count,
                    "question": pa.array(range(count), pa.int32()),
                    "corpus": [corpus] * count,
                    "retrieved": pa.array([50] * count, pa.int32()),
                    "occurrences": pa.array(occurrences, pa.int32()),
                    "documents": pa.array([documents] * count, pa.int64()),
                    "density": [found / documents for found in occurrences],
                    "answer_strings": pa.array([9 * n for n in occurrences], pa.int64()),
                    "answer_documents": pa.array([3 * n for n in occurrences], pa.int64()),
                    "entity": ["Korea"] * count,
                    "entity_documents": pa.array([7] * count, pa.int64()),
                    "together_documents": pa.array([2 * n for n in occurrences], pa.int64()),
                    "lexical_documents": pa.array([n + (n > 0) for n in occurrences], pa.int64()),
                }
            )
        )
    pq.write_table(pa.concat_tables(tables), folder / "questions.parquet")


Times = Callable[[str, int, str, int], Mapping[str, float]]
"""(trial, step, language of the text, question) -> times by part; what is not given is 0."""


def write_exposure(folder: Path, study: StudySpec, language: str, times: Times) -> None:
    """What the trials of one language read up to every checkpoint."""
    folder.mkdir(parents=True)
    parts = ("judged", "base", "monolingual", "parallel", "replay")
    rows = []
    for trial in (one.name for one in trial_grid(study) if one.language == language):
        for step in (0, *study.trials.checkpoint_steps):
            for text in (study.base_language.code, language):
                for question in range(QUESTIONS[language]):
                    read = dict.fromkeys(parts, 0.0) | times(trial, step, text, question)
                    rows.append(
                        {"trial": trial, "step": step, "question": question, "language": text,
                         **read, "exposure": sum(read[part] for part in parts[1:])}
                    )  # fmt: skip
    schema = pa.schema(
        [("trial", pa.string()), ("step", pa.int32()), ("question", pa.int32()),
         ("language", pa.string()), *((part, pa.float64()) for part in (*parts, "exposure"))]
    )  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "exposure.parquet")


def write_validation(folder: Path, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """File name without ending -> rows."""
    folder.mkdir(parents=True)
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(list(rows)), folder / f"{name}.parquet")
    (folder / "validation.json").write_text('{"made": "by hand"}')
