"""Accuracy and transfer of an exported study, computed from its per-question scores.

    python read_export.py [FOLDER]

Needs Python 3.11 and pyarrow, and nothing of ccx_ray. Prints tab-separated lines: accuracy of every
training, checkpoint and probe, and transfer at the last checkpoint in every direction. Compares
both with ``results.json`` and ends with exit code 1 where they differ.

A score is in nats and lower is better; the option of the lowest is chosen, the first of equals.
Transfer is accuracy with bridges minus accuracy without, on the same questions, as the mean over
the seeds that have both. Where a probe says in which languages a fact is stated, it is over the
questions whose fact is stated in the language alone that knowledge moves from, else over all.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq

Place = tuple[str, int, str]
"""Trial, step, probe."""
Answers = dict[Place, dict[int, tuple[bool, str]]]
"""Question -> whether it is answered rightly, and its group."""
SOURCE_ONLY = {"base-to-target": "base_only", "target-to-base": "target_only"}
TOLERANCE = 1e-9


def read_answers(folder: Path, results: Mapping[str, Any]) -> Answers:
    """All answers under the study's score, without the questions that the study leaves out."""
    scoring, exclude = results["evaluation"]["scoring"], set(results["evaluation"]["exclude"])
    columns = ["trial", "step", "probe", "question", "group", "quality", "right", scoring]
    scores = ds.dataset(folder / "data" / "scores", format="parquet")
    answers: Answers = {}
    for batch in scores.to_batches(columns=columns):
        for row in batch.to_pylist():
            if not exclude & set(row["quality"]):
                best = row[scoring].index(min(row[scoring]))
                place = (row["trial"], row["step"], row["probe"])
                answers.setdefault(place, {})[row["question"]] = (row["right"][best], row["group"])
    return answers


def accuracies(answers: Answers) -> dict[Place, float]:
    """Share of the questions that are answered rightly."""
    return {
        place: sum(right for right, _ in asked.values()) / len(asked)
        for place, asked in answers.items()
    }


def transfers(answers: Answers, trainings: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Transfer at the last checkpoint of each language and direction."""
    trials = {(t["language"], t["condition"], t["seed"]): t["training"] for t in trainings}
    found = []
    for language in dict.fromkeys(code for code, *_ in trials if code):
        own = {trial for (code, *_), trial in trials.items() if code == language}
        for probe in sorted({probe for trial, _, probe in answers if trial in own}):
            is_own = probe == f"{language}-{language}"
            direction = "base-to-target" if is_own else "target-to-base"
            pairs = paired(answers, trials, language, probe)
            if not pairs:
                continue
            step = max(pairs)
            asked = pairs[step][0][0]
            stated = [q for q, (_, group) in asked.items() if group == SOURCE_ONLY[direction]]
            questions = stated or list(asked)
            bridge, nobridge = (
                sum(pair[side][question][0] for pair in pairs[step] for question in questions)
                / (len(pairs[step]) * len(questions))
                for side in (0, 1)
            )
            found.append(
                {
                    "language": language,
                    "direction": direction,
                    "step": step,
                    "transfer": bridge - nobridge,
                    "bridge": bridge,
                    "nobridge": nobridge,
                    "questions": len(questions),
                    "seeds": len(pairs[step]),
                }
            )
    return found


def paired(
    answers: Answers, trials: Mapping[tuple[str, str, int], str], language: str, probe: str
) -> dict[int, list[tuple[dict[int, Any], dict[int, Any]]]]:
    """Step -> answers with bridges and without, of each seed that has both."""
    pairs: dict[int, list[tuple[dict[int, Any], dict[int, Any]]]] = {}
    for code, condition, seed in trials:
        other = trials.get((language, "nobridge", seed))
        if (code, condition) != (language, "bridge") or other is None:
            continue
        trial = trials[code, condition, seed]
        for step in sorted(
            step for name, step, asked in answers if (name, asked) == (trial, probe)
        ):
            if (other, step, probe) in answers:
                both = (answers[trial, step, probe], answers[other, step, probe])
                pairs.setdefault(step, []).append(both)
    return pairs


def compare(
    results: Mapping[str, Any],
    accuracy: Mapping[Place, float],
    transfer: Iterable[Mapping[str, Any]],
    trainings: Iterable[Mapping[str, Any]],
) -> dict[Any, tuple[float | None, float]]:
    """Every accuracy and transfer of ``results.json``, and the value computed here."""
    last = {one["training"]: one["steps"] for one in trainings}
    found: dict[Any, tuple[float | None, float]] = {}
    for row in results["accuracies"]:
        trial, step = f"{row['language']}-{row['condition']}-s{row['seed']}", row["step"]
        if row["condition"] == "base":
            trial, step = "base", last["base"]
        elif row["seed"] is None:
            continue  # the mean over the seeds
        place = (trial, step, row["probe"])
        found[place] = (accuracy.get(place), row["accuracy"])
    computed = {(one["language"], one["direction"], one["step"]): one for one in transfer}
    ends = {(language, direction): step for language, direction, step in computed}
    for row in results["transfers"]:
        cell = (row["language"], row["direction"])
        if row["counting"] == "published" and row["step"] == ends.get(cell):
            found[cell] = (computed[*cell, row["step"]]["transfer"], row["transfer"])
    return found


def main() -> int:
    """Read, compute, print, compare."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent
    results = json.loads((folder / "results.json").read_text("utf-8"))
    trainings = pq.read_table(folder / "data/trainings/trainings.parquet").to_pylist()
    answers = read_answers(folder, results)
    accuracy, transfer = accuracies(answers), transfers(answers, trainings)
    print("training", "step", "probe", "accuracy", sep="\t")
    for place in sorted(accuracy):
        print(*place, f"{accuracy[place]:.6f}", sep="\t")
    print()
    for number, row in enumerate(transfer):
        if number == 0:
            print(*row, sep="\t")
        print(*(f"{x:.6f}" if isinstance(x, float) else x for x in row.values()), sep="\t")
    compared = compare(results, accuracy, transfer, trainings)
    different = {
        place: (here, reported)
        for place, (here, reported) in compared.items()
        if here is None or abs(here - reported) > TOLERANCE
    }
    equal = len(compared) - len(different)
    print(f"\n{equal} of {len(compared)} numbers are those of results.json")
    for place, (here, reported) in different.items():
        print(*place, f"{here} here, {reported} in results.json", sep="\t")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
