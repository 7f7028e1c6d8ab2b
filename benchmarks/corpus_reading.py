"""The reading side of a stream: how fast rows come, and how soon the first after a resume.

Run as a program, it measures one start in a process of its own, with the stream's files out of the
file cache, and prints the result as JSON.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from corpus_ours import SEED, SEQUENCE_LENGTH

ROWS_PER_STEP = 64
ROWS_TO_READ = 40_960
POSITIONS = (0.0, 0.5, 0.9)
READERS: tuple[Literal["direct", "ray"], ...] = ("direct", "ray")


@dataclass(frozen=True, kw_only=True)
class ReadingTask:
    """One start."""

    stream: str
    reader: Literal["direct", "ray"]
    position: float
    """Share of the stream that is consumed already."""
    processors: int


@dataclass(frozen=True, kw_only=True)
class ReadingResult:
    """What one start took."""

    reader: str
    position: float
    stream_rows: int
    import_seconds: float
    """Of this module's imports that reading needs, numpy and pyarrow among them."""
    cluster_seconds: float
    """To start the cluster, which a training has running already."""
    first_batch_seconds: float
    """From opening the stream to its first batch."""
    rows_per_second: float
    """Of the following rows."""


def link_tokens(folders: Sequence[Path], folder: Path) -> Path:
    """One tokens folder of the documents of several, so that its stream is long."""
    from ccx_ray.corpus.parts import part_files, part_path
    from ccx_ray.corpus.tokenizing.tokens import write_language

    documents = folder / "documents"
    documents.mkdir(parents=True)
    parts = [part for tokens in folders for part in part_files(tokens / "documents", "arrow")]
    for number, part in enumerate(parts):
        part_path(documents, number, "arrow").hardlink_to(part)
    write_language(folder, "en")
    return folder


def make_long_stream(tokens: Sequence[Path], tokenizer: Path, folder: Path) -> int:
    """One stream of all these tokens; its rows."""
    from ccx_ray.corpus.preparation import prepare_base_stream
    from ccx_ray.orchestration.tasks import run_here

    together, stream = link_tokens(tokens, folder / "tokens"), folder / "stream"
    stream.mkdir()
    counts = prepare_base_stream(
        together,
        tokenizer,
        stream,
        sequence_length=SEQUENCE_LENGTH,
        seed=SEED,
        run_tasks=run_here,
    )
    return int(counts["rows"])


def forget_files(folder: Path) -> None:
    """Take a folder's files out of the file cache."""
    for path in folder.iterdir():
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def run_reading(task: ReadingTask) -> ReadingResult:
    """One start in this process."""
    forget_files(Path(task.stream))
    begin = time.perf_counter()
    import ccx_ray.corpus.packing.stream  # noqa: F401

    imported = time.perf_counter()
    if task.reader == "direct":
        return _read(task, imported - begin, 0.0)
    from ccx_ray.orchestration.cluster import local_cluster

    with local_cluster(task.processors):
        started = time.perf_counter()
        return _read(task, imported - begin, started - imported)


def _read(task: ReadingTask, import_seconds: float, cluster_seconds: float) -> ReadingResult:
    from ccx_ray.corpus.packing.stream import Stream, read_batches

    begin = time.perf_counter()
    stream = Stream.open(Path(task.stream))
    first_row = int(stream.rows * task.position) // ROWS_PER_STEP * ROWS_PER_STEP
    batches = read_batches(
        stream,
        first_row=first_row,
        rows_per_step=ROWS_PER_STEP,
        rank=0,
        world_size=1,
        reader=task.reader,
    )
    assert next(batches).shape == (ROWS_PER_STEP, SEQUENCE_LENGTH)
    first = time.perf_counter()
    rows = min(ROWS_TO_READ, stream.rows // 20)
    read = sum(len(batch) for batch in islice(batches, rows // ROWS_PER_STEP))
    return ReadingResult(
        reader=task.reader,
        position=task.position,
        stream_rows=stream.rows,
        import_seconds=import_seconds,
        cluster_seconds=cluster_seconds,
        first_batch_seconds=first - begin,
        rows_per_second=read / (time.perf_counter() - first),
    )


def main() -> None:
    """Measure what the first argument describes; the result goes where the second says."""
    content = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    Path(sys.argv[2]).write_text(json.dumps(asdict(run_reading(ReadingTask(**content)))), "utf-8")


if __name__ == "__main__":
    main()
