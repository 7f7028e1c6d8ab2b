"""What evaluation beside it costs a training: tokens a second, with and without, in turn.

A training of the laptop model and an evaluator that scores without a pause, both as the platform
runs them but without Ray; in every second block the evaluator is stopped by a signal. Five places:

- separate cores: what a cluster with room for both does;
- one core: the evaluator of 0.5 CPUs and one thread is niced (``evaluation/share.py``), and for
  comparison not;
- two cores and two trainings, as the laptop study has them, again niced and not:

    python benchmarks/evaluation_beside_training.py --blocks 5 --seconds 8

Linux, two cores or more.
"""

import argparse
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.context import SpawnProcess
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmark_tables import BenchmarkTable, spread

CPUS, THREADS = 0.5, 1
"""Of the evaluator, as in the laptop study."""
ROWS, LENGTH, VOCABULARY = 16, 128, 4096
SETTLE_SECONDS = 1.0
"""At the beginning of every block, not counted."""
START_SECONDS = 240.0


@dataclass(frozen=True, kw_only=True)
class Place:
    """Who computes where."""

    name: str
    trainings: tuple[frozenset[int], ...]
    """The cores of each."""
    evaluator: frozenset[int]
    niced: bool


PLACES = (
    Place(name="separate cores", trainings=(frozenset({0}),), evaluator=frozenset({1}), niced=True),
    Place(name="one core", trainings=(frozenset({0}),), evaluator=frozenset({0}), niced=True),
    Place(
        name="one core, not niced",
        trainings=(frozenset({0}),),
        evaluator=frozenset({0}),
        niced=False,
    ),
    Place(
        name="two trainings on two cores",
        trainings=(frozenset({0, 1}),) * 2,
        evaluator=frozenset({0, 1}),
        niced=True,
    ),
    Place(
        name="two trainings, not niced",
        trainings=(frozenset({0, 1}),) * 2,
        evaluator=frozenset({0, 1}),
        niced=False,
    ),
)


def main() -> int:
    """Measure every place and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--blocks", type=int, default=5, help="of each kind (default 5)")
    parser.add_argument("--seconds", type=float, default=8.0, help="of a block (default 8)")
    parser.add_argument("--only", nargs="+", metavar="PLACE", help="whose names begin so")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    rows = []
    for place in PLACES:
        if arguments.only and not place.name.startswith(tuple(arguments.only)):
            continue
        with tempfile.TemporaryDirectory(prefix="beside-") as folder:
            rows.append(measured(place, Path(folder), arguments.blocks, arguments.seconds))
        print("  ".join(rows[-1]), flush=True)
    table = BenchmarkTable(
        part="beside",
        title=(
            f"Tokens/s of each training, laptop model, {arguments.blocks} blocks of "
            f"{arguments.seconds:g} s of each kind in turn; evaluator of {CPUS:g} CPUs, "
            f"{THREADS} thread"
        ),
        columns=("place", "alone", "with evaluation", "ratio", "evaluations/min"),
        rows=rows,
    )
    print(f"\n{table.text()}")
    return 0


def measured(place: Place, folder: Path, blocks: int, seconds: float) -> tuple[str, ...]:
    """A row of the table."""
    logs = [folder / f"training-{number}.log" for number in range(len(place.trainings))]
    scored = folder / "evaluator.log"
    speeds: dict[bool, list[float]] = {False: [], True: []}
    evaluations = 0
    with (
        running(train, [(log, cores) for log, cores in zip(logs, place.trainings, strict=True)]),
        running(evaluate, [(scored, place.evaluator, place.niced)]) as (evaluator,),
    ):
        wait_for(*logs, scored)
        assert evaluator.pid is not None
        for number in range(2 * blocks):
            beside = bool(number % 2)
            os.kill(evaluator.pid, signal.SIGCONT if beside else signal.SIGSTOP)
            time.sleep(SETTLE_SECONDS)
            began = time.monotonic()
            time.sleep(seconds)
            ended = time.monotonic()
            tokens = [
                ROWS * LENGTH * len(moments(log, began, ended)) / (ended - began) for log in logs
            ]
            speeds[beside].append(sum(tokens) / len(tokens))
            evaluations += len(moments(scored, began, ended))
        os.kill(evaluator.pid, signal.SIGCONT)
    ratios = [beside / alone for alone, beside in zip(speeds[False], speeds[True], strict=True)]
    return (
        place.name,
        spread(speeds[False], ",.0f"),
        spread(speeds[True], ",.0f"),
        spread(ratios, ".2f"),
        f"{evaluations / (blocks * seconds) * 60:.0f}",
    )


def train(log: Path, cores: frozenset[int]) -> None:
    """Train for as long as the process lives; a line a step."""
    os.sched_setaffinity(0, cores)
    from training_runs import benchmark_run, train_alone, write_stream

    from ccx_ray.study.training_spec import ModelSpec

    folder = log.with_suffix("")
    stream = write_stream(folder / "stream", rows=2048, length=LENGTH, vocabulary_size=VOCABULARY)
    run = benchmark_run(
        folder / "run",
        stream,
        model=ModelSpec.model_validate("laptop"),
        steps=1_000_000,
        sequences=ROWS,
        threads=1,
    )
    train_alone(run, lambda record: note(log))


def evaluate(log: Path, cores: frozenset[int], niced: bool) -> None:
    """Score one checkpoint on one culture's probes, again and again; a line each time."""
    os.sched_setaffinity(0, cores)
    from ccx_ray.evaluation.evaluator import Evaluation, evaluate_checkpoint
    from ccx_ray.evaluation.share import keep_within_share
    from ccx_ray.evaluation.warm import WarmModels
    from tests.probe_models import PROBES, write_random_model

    keep_within_share(cpus=CPUS if niced else THREADS, gpus=0, threads=THREADS)
    model = write_random_model(log.parent / "model", vocabulary_size=VOCABULARY)
    probes = [path for path in PROBES if path.stem.startswith("mn")]
    models = WarmModels("cpu")
    while True:
        evaluation = Evaluation(
            run="benchmark",
            step=1,
            model_folder=model,
            probes=tuple((path.stem, path) for path in probes),
            result=log.parent / "results.parquet",
        )
        evaluate_checkpoint(evaluation, models, tokens_per_batch=2048)
        evaluation.result.unlink()
        note(log)


def note(log: Path) -> None:
    """Append the moment; the clock is the system's, one for all processes."""
    with log.open("a") as file:
        file.write(f"{time.monotonic()}\n")


def moments(log: Path, began: float, ended: float) -> list[float]:
    """What was noted between two moments."""
    noted = [float(line) for line in log.read_text().splitlines() if line]
    assert all(low <= high for low, high in pairwise(noted))
    return [moment for moment in noted if began <= moment < ended]


@contextmanager
def running(target: object, arguments: list[tuple[object, ...]]) -> Iterator[list[SpawnProcess]]:
    """Processes that are killed at the end."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=target, args=own) for own in arguments]  # type: ignore[arg-type]
    for process in processes:
        process.start()
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.join()


def wait_for(*logs: Path) -> None:
    """Until everyone has noted something twice."""
    deadline = time.monotonic() + START_SECONDS
    while not all(log.is_file() and log.read_text().count("\n") > 1 for log in logs):
        assert time.monotonic() < deadline, "a training or the evaluator has not started"
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
