"""Accuracy and transfer of an exported study, computed from its per-question scores.

    python read_export.py [FOLDER]

Needs Python 3.11 and pyarrow, and nothing of ccx_ray. Prints tab-separated lines: accuracy of every
training, checkpoint and probe, and transfer at the last checkpoint in every direction. Compares
both with ``results.json`` and ends with exit code 1 where they differ.

A score is in nats and lower is better; the option of the lowest is chosen, the first of equals.
Transfer is accuracy with bridges minus accuracy without, question by question, as the mean over the
seeds that have both; over the questions whose fact is stated in the language alone that knowledge
moves from, where a probe says so, over all others else.
"""

import json
import sys
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq

SOURCE_ONLY = {"base-to-target": "base_only", "target-to-base": "target_only"}
TOLERANCE = 1e-9


def read_answers(folder, results):
    """(trial, step, probe) -> {question: (right, group)}, without what the study leaves out."""
    scoring, exclude = results["evaluation"]["scoring"], set(results["evaluation"]["exclude"])
    columns = ["trial", "step", "probe", "question", "group", "quality", "right", scoring]
    answers = {}
    for batch in ds.dataset(folder / "data" / "scores", format="parquet").to_batches(
        columns=columns
    ):
        for row in batch.to_pylist():
            if exclude & set(row["quality"]):
                continue
            scores = row[scoring]
            right = row["right"][scores.index(min(scores))]
            place = (row["trial"], row["step"], row["probe"])
            answers.setdefault(place, {})[row["question"]] = (right, row["group"])
    return answers


def accuracies(answers):
    """(trial, step, probe) -> share of the questions that are answered rightly."""
    return {
        place: sum(right for right, _ in asked.values()) / len(asked)
        for place, asked in answers.items()
    }


def transfers(answers, trainings):
    """(language, direction) -> (step, transfer, accuracy with bridges, without, questions, seeds)
    at the last checkpoint."""
    trials = {
        (one["language"], one["condition"], one["seed"]): one["training"] for one in trainings
    }
    found = {}
    for language in dict.fromkeys(one["language"] for one in trainings if one["language"]):
        own = {one["training"] for one in trainings if one["language"] == language}
        probes = {probe for trial, _, probe in answers if trial in own}
        for probe in sorted(probes):
            direction = "base-to-target" if probe == f"{language}-{language}" else "target-to-base"
            pairs = {}
            for _, _, seed in (key for key in trials if key[:2] == (language, "bridge")):
                both = [trials.get((language, c, seed)) for c in ("bridge", "nobridge")]
                steps = [{s for t, s, p in answers if (t, p) == (trial, probe)} for trial in both]
                for step in steps[0] & steps[1]:
                    pairs.setdefault(step, []).append([answers[t, step, probe] for t in both])
            if not pairs:
                continue
            step = max(pairs)
            asked = list(pairs[step][0][0])
            group = SOURCE_ONLY[direction]
            stated = [q for q in asked if pairs[step][0][0][q][1] == group]
            chosen = stated or asked
            shares = [
                sum(pair[side][q][0] for pair in pairs[step] for q in chosen)
                / (len(pairs[step]) * len(chosen))
                for side in (0, 1)
            ]
            found[language, direction] = (
                step, shares[0] - shares[1], *shares, len(chosen), len(pairs[step])
            )  # fmt: skip
    return found


def compare(results, accuracy, transfer, trainings):
    """What differs from ``results.json``, and how many numbers were compared."""
    last_base = {one["training"]: one["steps"] for one in trainings if one["kind"] == "base"}
    expected = {}
    for row in results["accuracies"]:
        if row["condition"] == "base":
            place = ("base", last_base["base"], row["probe"])
        elif row["seed"] is not None:
            trial = f"{row['language']}-{row['condition']}-s{row['seed']}"
            place = (trial, row["step"], row["probe"])
        else:
            continue  # the mean over the seeds
        expected[place] = (accuracy.get(place), row["accuracy"])
    for row in results["transfers"]:
        place = (row["language"], row["direction"])
        if row["counting"] == "published" and place in transfer:
            step, found, *_ = transfer[place]
            if row["step"] == step:
                expected[place] = (found, row["transfer"])
    different = [
        f"{place}: {found} here, {reported} in results.json"
        for place, (found, reported) in expected.items()
        if found is None or abs(found - reported) > TOLERANCE
    ]
    return different, len(expected)


def main():
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
    print(
        "language", "direction", "step", "transfer", "bridge", "nobridge", "questions", "seeds",
        sep="\t",
    )  # fmt: skip
    for place, (step, *shares, questions, seeds) in transfer.items():
        shown = (f"{share:.6f}" for share in shares)
        print(*place, step, *shown, questions, seeds, sep="\t")
    different, compared = compare(results, accuracy, transfer, trainings)
    print()
    print(f"{compared - len(different)} of {compared} numbers are those of results.json")
    for line in different:
        print(line)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
