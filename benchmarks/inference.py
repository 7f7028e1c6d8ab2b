"""Coverage, false alarms and power of the tests of transfer, by simulation with known spreads.

    python benchmarks/inference.py coverage     # of the 95 % intervals
    python benchmarks/inference.py power        # of the smallest visible effect
    python benchmarks/inference.py alarms --study FILE --storage FOLDER  # of real null comparisons

Of the first two each line is of 1,000 simulated studies (``--studies``): values of trainings x
questions with normal effects of trainings, of clusters and of the rest. ``alone`` is the
question-only test in the form of a t over clusters.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from ccx_ray.analysis.crossed import (
    FEWEST_TRAININGS,
    Spreads,
    crossed,
    mean_influences,
    smallest_effect,
)
from ccx_ray.analysis.measures.transfer import (
    by_run,
    cells,
    clusters_of,
    compare_answers,
    read_answers,
)
from ccx_ray.analysis.statistics import Floats, seeded_generator, standard_error
from ccx_ray.study.loading import load_study
from ccx_ray.study.spec import StudySpec
from ccx_ray.study.trials import trial_grid

LEVEL = 0.05
SPREADS = (
    Spreads(0.0, 0.2, 0.5),
    Spreads(0.01, 0.2, 0.5),
    Spreads(0.03, 0.15, 0.45),
    Spreads(0.1, 0.15, 0.45),
)


def studies(count: int, trainings: int, clusters: int, size: int, one: Spreads) -> Iterator[Floats]:
    """Simulated values around 0, [S, C * size] each; the same for the same arguments."""
    random = np.random.default_rng([trainings, clusters, size])
    for _ in range(count):
        yield (
            one.trainings * random.normal(size=(trainings, 1))
            + one.clusters * np.repeat(random.normal(size=clusters), size)
            + one.rest * random.normal(size=(trainings, clusters * size))
        )


def tests(values: Floats, size: int) -> tuple[float, float]:
    """p-values over questions and trainings, and over questions alone."""
    clusters = np.repeat(np.arange(values.shape[1] // size), size)
    mean = float(values.mean())
    found = crossed(mean, mean_influences(values), confidence=1 - LEVEL, clusters=clusters)
    error = standard_error(values.mean(axis=0), clusters)
    return found.p_value, float(2 * stats.t.sf(abs(mean) / error, found.clusters - 1))


def coverage(count: int) -> None:
    """How often the interval holds the truth, by trainings, spread between them and clusters."""
    print(
        f"{'trainings':>9} {'between':>8} {'clusters':>8} {'size':>5} {'covered':>8} {'alone':>8}"
    )
    for trainings in (3, 4, 8):
        for one in SPREADS:
            for clusters, size in ((100, 1), (600, 1), (150, 4)):
                made = studies(count, trainings, clusters, size, one)
                p_values = np.array([tests(values, size) for values in made])
                covered, alone = (p_values >= LEVEL).mean(axis=0)
                print(
                    f"{trainings:>9} {one.trainings:>8g} {clusters:>8} {size:>5} {covered:>8.1%} "
                    f"{alone:>8.1%}",
                    flush=True,
                )


def power(count: int) -> None:
    """The effect that is seen in 80 % of the studies, beside the one that is stated."""
    print("effect at which 80 % of the simulated studies are significant, over the one stated")
    print(f"{'trainings':>9} {'clusters':>8} {'stated':>8} {'seen there':>10} {'ratio':>6}")
    one = SPREADS[2]
    for trainings in (2, 4, 8):
        for clusters in (100, 300, 1000, 3000):
            of_condition, alone = smallest_effect(
                one, trainings=trainings, clusters=clusters, level=LEVEL
            )
            is_claim = not np.isnan(of_condition)
            stated = of_condition if is_claim else alone
            # Of these very trainings: what they have in common is what is to be found.
            spreads = one if is_claim else one._replace(trainings=0.0)
            made = list(studies(count, trainings, clusters, 1, spreads))

            def seen(effect: float, made: list[Floats], place: int) -> float:
                return float(np.mean([tests(v + effect, 1)[place] < LEVEL for v in made]))

            low, high, place = 0.3 * stated, 3 * stated, 0 if is_claim else 1
            for _ in range(12):
                middle = (low + high) / 2
                low, high = (middle, high) if seen(middle, made, place) < 0.8 else (low, middle)
            print(
                f"{trainings:>9} {clusters:>8} {stated:>8.4f} {seen(stated, made, place):>10.1%} "
                f"{high / stated:>6.2f}",
                flush=True,
            )


def alarms(study: StudySpec, storage: Path, splits: int) -> None:
    """How often a real difference of nothing is significant: the no-bridge trainings of a finished
    study are split in two at random and compared, and deranged is compared with no-bridge."""
    grid, folders = trial_grid(study), storage / study.name
    evaluations = {
        path.parent.name.rpartition("-")[0].removeprefix("evaluate-"): path.parent
        for path in folders.glob("evaluate-*/_complete.json")
    }
    answers = read_answers(study, grid, evaluations)
    counts: dict[str, list[tuple[float, float]]] = {}
    for place, cell in cells(answers.rows, "probe", "step", "group"):
        ordered = cell.sort_values(["seed", "question"], kind="stable")
        for kind, pairs in _null_pairs(ordered, splits, str(place)):
            clusters = clusters_of(ordered[ordered["condition"] == "nobridge"])
            for first, second in pairs:
                seeds = tuple(range(len(first)))
                found = compare_answers(study, first, second, clusters, seeds, kind)
                counts.setdefault(kind, []).append((found.p_value, found.question_p_value))
    for kind, pairs_found in counts.items():
        p_values = np.array(pairs_found)
        for column, name in enumerate(("questions and trainings", "questions alone")):
            hits = int((p_values[:, column] < LEVEL).sum())
            low, high = proportion_confint(hits, len(p_values), method="wilson")
            print(
                f"{kind}, over {name}: {hits} of {len(p_values)} below {LEVEL} "
                f"({hits / len(p_values):.1%}, {low:.1%} to {high:.1%})"
            )
    print("Intervals as if comparisons were independent; they share trainings and questions.")


def _null_pairs(
    cell: pd.DataFrame, splits: int, name: str
) -> Iterator[tuple[str, list[tuple[Floats, Floats]]]]:
    """Answers of a probe, checkpoint and group, [S, Q] each, between which nothing differs."""
    if not (cell["condition"] == "nobridge").any():
        return
    nobridge = by_run(cell, "published", "nobridge")
    half = len(nobridge) // 2
    if half >= FEWEST_TRAININGS:
        random = seeded_generator(0, name)
        orders = [random.permutation(len(nobridge)) for _ in range(splits)]
        yield (
            "no-bridge split in two",
            [(nobridge[order[:half]], nobridge[order[half : 2 * half]]) for order in orders],
        )
    if (cell["condition"] == "deranged").any() and len(nobridge) >= FEWEST_TRAININGS:
        yield "deranged minus no-bridge", [(by_run(cell, "published", "deranged"), nobridge)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("part", choices=("coverage", "power", "alarms"))
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--study", default="control")
    parser.add_argument("--set", nargs="*", default=[])
    parser.add_argument("--storage", type=Path, default=Path("storage"))
    parser.add_argument("--splits", type=int, default=40)
    arguments = parser.parse_args()
    if arguments.part == "alarms":
        alarms(load_study(arguments.study, arguments.set)[0], arguments.storage, arguments.splits)
    else:
        {"coverage": coverage, "power": power}[arguments.part](arguments.studies)
