"""How long a start takes to find that a finished study is done, against reading every byte of it.

    python benchmarks/study_start.py --gigabytes 20 --folder /some/disk

Writes a storage of steps whose parts are 48 MiB, as token parts and streams are, and prints seconds
of a start (names, sizes, times of change) and of ``--verify``, and their ratio.
"""

import argparse
import io
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from ccx_ray.orchestration.graph import Graph, Step
from ccx_ray.orchestration.progress import StudyProgress
from ccx_ray.orchestration.runner import Runner, Services, StepWork
from ccx_ray.orchestration.step_folders import StepFolders
from ccx_ray.tracking.places import default_tracking_uri
from ccx_ray.tracking.runs import Tracking

PART_BYTES = 48 * 2**20
PARTS_OF_A_STEP = 16


def write_parts(work: StepWork) -> Mapping[str, Any]:
    """Files of other content each, without computing it."""
    block = os.urandom(2**20)
    for number in range(int(work.step.identity["parts"])):
        with (work.folder / f"part-{number:05d}.arrow").open("wb") as file:
            file.write(number.to_bytes(8, "little"))
            for _ in range(PART_BYTES // len(block)):
                file.write(block)
    return {}


def study_of(gigabytes: float) -> Graph:
    """Steps that hold so much together."""
    parts = max(1, round(gigabytes * 1e9 / PART_BYTES))
    sizes = [PARTS_OF_A_STEP] * (parts // PARTS_OF_A_STEP) + [parts % PARTS_OF_A_STEP]
    return Graph(
        Step(
            name=f"tokens-{number}",
            kind="tokens",
            version=1,
            identity={"parts": size},
            run=write_parts,
            resumable=True,
            pool="data",
        )
        for number, size in enumerate(filter(None, sizes))
    )


def start(graph: Graph, folder: Path, *, every_byte: bool) -> float:
    """Seconds until everything is found to be done."""
    began = time.monotonic()
    with StudyProgress(graph, Console(file=io.StringIO())) as progress:
        outcome = Runner(graph, StepFolders(folder), progress).reuse(every_byte=every_byte)
        assert outcome.complete
        return time.monotonic() - began


def main() -> None:
    """Write, start, verify, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--folder", type=Path, help="an existing folder (default: a temporary one)")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="study-start-", dir=arguments.folder))
    try:
        graph = study_of(arguments.gigabytes)
        tracking = Tracking(default_tracking_uri(folder), study="start", storage=folder)
        with StudyProgress(graph, Console(file=io.StringIO())) as progress:
            Runner(graph, StepFolders(folder), progress).run(Services(tracking), limit=lambda _: 2)
        files = sum(1 for _ in folder.rglob("*.arrow"))
        quick = start(graph, folder, every_byte=False)
        whole = start(graph, folder, every_byte=True)
        print(
            f"{arguments.gigabytes:g} GB in {files} files: a start {quick:.2f} s, every byte "
            f"{whole:.1f} s, ratio {whole / quick:.0f}"
        )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
