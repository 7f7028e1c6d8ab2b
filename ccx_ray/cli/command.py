"""Arguments and exit codes that all jobs share.

A user's mistake ends the job with one line on standard error and exit code 2, also if a step finds
it in an input file. A failed step ends the job with 1 and the causes, a defect of ours with a
traceback.
"""

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from ccx_ray.errors import UserError
from ccx_ray.orchestration.driver import Interrupted, interruptible
from ccx_ray.orchestration.graph import Graph, Step
from ccx_ray.orchestration.step_folders import StepFolders
from ccx_ray.study.loading import load_study, shipped_studies
from ccx_ray.study.spec import StudySpec

if TYPE_CHECKING:
    from ccx_ray.run import StudyRun

EXIT_FAILED = 1
EXIT_USER_ERROR = 2
EXIT_AUDIT_FAILED = 3


def run_command(main: Callable[[], int | None]) -> None:
    """Run a job and leave the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A character outside the terminal's encoding is printed as an escape, without an error.
            stream.reconfigure(errors="backslashreplace")
    try:
        with interruptible():
            sys.exit(main() or 0)
    except UserError as error:
        sys.stdout.flush()
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt as error:
        print("interrupted; give the same command again to continue", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        # At once: steps may still run in threads.
        _kill_children()
        os._exit(error.exit_code if isinstance(error, Interrupted) else 130)


def _kill_children() -> None:
    """Kill this job's child processes: Ray's agents outlived it by more than 15 s (2.60)."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()


def job_parser(description: str, *, example: str) -> argparse.ArgumentParser:
    """A parser whose help keeps the line breaks of its description and ends with an example."""
    return argparse.ArgumentParser(
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def study_parser(description: str, *, example: str) -> argparse.ArgumentParser:
    """A parser with ``--study``, ``--set``, ``--storage`` and ``--tracking-uri``."""
    parser = job_parser(description, example=example)
    add = parser.add_argument
    shipped = f"a shipped study ({', '.join(shipped_studies())}) or a YAML file of your own"
    add("--study", required=True, metavar="NAME|FILE", help=shipped)
    add("--set", dest="overrides", nargs="+", action="extend", default=[], metavar="FIELD=VALUE",
        help="change fields of the study, such as trials.steps=300 or languages.ko.name=Korean; "
        "only the steps that depend on them run again")  # fmt: skip
    add("--storage", metavar="URI",
        help="folder for all results (default: the study's runtime.storage); use the same one to "
        "continue a study; on a cluster every node must mount it")  # fmt: skip
    add("--tracking-uri", metavar="URI",
        help="MLflow tracking server (default: SQLite in the storage folder)")  # fmt: skip
    return parser


def parse_study(arguments: argparse.Namespace) -> tuple[StudySpec, Path]:
    """The study that the arguments name, and the folder its relative data paths start from."""
    study, root = load_study(arguments.study, arguments.overrides)
    given = {"storage": arguments.storage, "tracking_uri": arguments.tracking_uri}
    changes = {field: value for field, value in given.items() if value is not None}
    return study.model_copy(update={"runtime": study.runtime.model_copy(update=changes)}), root


def run_steps(
    study: StudySpec,
    root: Path,
    targets: Callable[[Graph, StepFolders], Iterable[Step]],
    *,
    rerun: Collection[str] = (),
    verify: bool = False,
) -> int:
    """Run what the targets need, print the outcome, and return the exit code."""
    from ccx_ray.cli.outcome import print_outcome
    from ccx_ray.run import run_study

    run = run_study(study, root, targets=targets, rerun=rerun, verify=verify)
    print_outcome(run)
    return exit_code(run)


def exit_code(run: "StudyRun") -> int:
    """The exit code of a run whose outcome is printed.

    A fault of an input file gives the code of a user's mistake, an MLflow failure that of a failed
    step; either way the cause is printed as the last line.
    """
    if run.outcome.complete:
        return 0
    sys.stdout.flush()
    told = [c for name, c in run.outcome.errors.items() if name in run.outcome.told_last]
    for cause in dict.fromkeys(told):
        print(f"error: {cause}", file=sys.stderr)
    return EXIT_USER_ERROR if run.outcome.mistakes else EXIT_FAILED
