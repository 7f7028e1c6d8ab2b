"""A program measured from outside: the memory and processor time of it and all its descendants.

Memory is the sum of proportional set sizes, so a page that several processes map counts once. Of
shared memory (Ray's object store) the whole files count, mapped or not. Pages of mapped files are
stated apart: they are the file cache, which the kernel takes back when it needs memory.

As a program it measures the tokenizer step over made English text:
``python -m benchmarks.corpus_memory 500 1000 2000`` (MB of text; about 100 s a GB).
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

INTERVAL_SECONDS = 0.5
PROC = Path("/proc")
TICKS_PER_SECOND = 100


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Peaks over all samples."""

    peak_bytes: int
    """The most at one moment: private, shared and mapped pages together."""
    peak_private_bytes: int
    """The most at one moment without mapped files."""
    peak_shared_bytes: int
    """Of the object store's files."""
    processes: int
    """The most at one moment."""
    processor_seconds: float
    """User and system, of every process as last seen."""


def run_measured(program: Path, argument: Any) -> tuple[dict[str, Any], Usage]:
    """Run a program with a JSON file to read and one to write; what it wrote, and its usage.

    Args:
        argument: a dataclass.

    Raises:
        SystemExit: it fails; its last words are shown.
    """
    with tempfile.TemporaryDirectory(prefix="corpus-benchmark-") as folder:
        given, result = Path(folder) / "argument.json", Path(folder) / "result.json"
        given.write_text(json.dumps(asdict(argument)), "utf-8")
        with (Path(folder) / "output").open("w+b") as output:
            process = subprocess.Popen(
                [sys.executable, str(program), str(given), str(result)],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                usage = watch(process)
            finally:
                if process.poll() is None:
                    process.kill()
            if process.returncode:
                output.seek(0)
                words = output.read().decode(errors="replace")[-4000:]
                raise SystemExit(f"{program.name} failed:\n{words}")
        content: dict[str, Any] = json.loads(result.read_text("utf-8"))
        return content, usage


TOKENIZER_STEP = """
import sys
from pathlib import Path
from ccx_ray.corpus.tokenizing.tokenizer import train_tokenizer
from ccx_ray.study.text_spec import TokenizerSpec
text, tokenizer = map(Path, sys.argv[1:])
tokenizer.mkdir()
spec = TokenizerSpec(vocabulary_size=1024, megabytes_per_language=20.0)
print(train_tokenizer(spec, {"en": text}, tokenizer))
"""


def main() -> None:
    """Peak memory of the tokenizer step at some sizes of text."""
    from tests.peak_memory import write_made_text

    for megabytes in map(float, sys.argv[1:]):
        with tempfile.TemporaryDirectory(prefix="tokenizer-memory-") as folder:
            text, tokenizer = Path(folder) / "text", Path(folder) / "tokenizer"
            write_made_text(text, megabytes)
            begun = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, "-c", TOKENIZER_STEP, str(text), str(tokenizer)]
            )
            peak = watch(process).peak_private_bytes
            print(
                f"{megabytes:g} MB of text: {peak / 1e6:,.0f} MB, exit code {process.returncode}, "
                f"{time.monotonic() - begun:.0f} s",
                flush=True,
            )


def watch(process: "subprocess.Popen[bytes]") -> Usage:
    """Sample until the process ends."""
    peak = private = shared = processes = 0
    seconds: dict[tuple[int, int], float] = {}
    before = _ended_seconds()
    while process.poll() is None:
        sample = [_Sample.of(pid) for pid in descendants(process.pid)]
        files = {file: size for one in sample for file, size in one.shared_files.items()}
        stored = sum(files.values())
        anonymous = sum(one.anonymous for one in sample) + max(
            stored, sum(one.shared for one in sample)
        )
        peak = max(peak, anonymous + sum(one.mapped for one in sample))
        private, shared = max(private, anonymous), max(shared, stored)
        processes = max(processes, len(sample))
        seconds |= {one.identity: one.processor_seconds for one in sample}
        time.sleep(INTERVAL_SECONDS)
    return Usage(
        peak_bytes=peak,
        peak_private_bytes=private,
        peak_shared_bytes=shared,
        processes=processes,
        # The samples miss what a process does in its last half second, the kernel's own count
        # misses processes that nobody waits for, such as those of Ray.
        processor_seconds=max(sum(seconds.values()), _ended_seconds() - before),
    )


def _ended_seconds() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def descendants(root: int) -> list[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for path in PROC.glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(_stat(path)[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def _stat(path: Path) -> list[str]:
    """The fields behind the process's name, which may hold anything."""
    return path.read_text().rpartition(")")[2].split()


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """One process at one moment; zeros where it has just ended."""

    identity: tuple[int, int] = (0, 0)
    """Process id and when it was started."""
    anonymous: int = 0
    mapped: int = 0
    shared: int = 0
    shared_files: dict[int, int]
    """Inode -> bytes that it occupies."""
    processor_seconds: float = 0.0

    @classmethod
    def of(cls, pid: int) -> "_Sample":
        folder = PROC / str(pid)
        try:
            state = _stat(folder / "stat")
            pages = dict(
                line.split(":", 1)
                for line in (folder / "smaps_rollup").read_text().splitlines()[1:]
            )
        except OSError:
            return cls(shared_files={})
        size = {name: int(value.split()[0]) * 1024 for name, value in pages.items()}
        files: dict[int, int] = {}
        for link in (folder / "fd").glob("*"):
            with suppress(OSError):
                if str(link.readlink()).startswith("/dev/shm/"):
                    about = link.stat()
                    files[about.st_ino] = about.st_blocks * 512
        return cls(
            identity=(pid, int(state[19])),
            anonymous=size["Pss_Anon"],
            mapped=size["Pss_File"],
            shared=size["Pss_Shmem"],
            shared_files=files,
            processor_seconds=(int(state[11]) + int(state[12])) / TICKS_PER_SECOND,
        )


if __name__ == "__main__":
    main()
