"""Whoever is killed whenever: what was finished is kept, and the output is the same to the byte."""

import contextlib
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ccx_ray.corpus.tokenizing.tokenizer import train_tokenizer
from ccx_ray.orchestration.tasks import run_here
from ccx_ray.study.text_spec import TokenizerSpec
from tests.jobs import PROJECT, environment
from tests.prepare_text import STAGES, prepare
from tests.small_corpus import base_language, text_folder

pytestmark = pytest.mark.storm

FILES = 16
FOLDERS = {"isolate": "text", "write": "text", "tokenize": "tokens", "pack": "stream"}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All bundled English in 16 files, every fifth document once more under another id."""
    root = tmp_path_factory.mktemp("raw")
    with gzip.open(PROJECT / "data/mono/en.jsonl.gz", "rt", encoding="utf-8") as source:
        records = [json.loads(line) for line in source]
    records += [{**record, "id": f"{record['id']}-again"} for record in records[::5]]
    random.Random(0).shuffle(records)
    for number in range(FILES):
        lines = (json.dumps(record) + "\n" for record in records[number::FILES])
        (root / f"{number:02}.jsonl").write_text("".join(lines), "utf-8")
    return root


@pytest.fixture(scope="module")
def tokenizer(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    text, folder = tmp_path_factory.mktemp("text"), tmp_path_factory.mktemp("tokenizer")
    text_folder(base_language("00.jsonl"), raw, text)
    spec = TokenizerSpec(vocabulary_size=1000, megabytes_per_language=0.3)
    train_tokenizer(spec, {"en": text}, folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(raw: Path, tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In one process, without Ray."""
    out = tmp_path_factory.mktemp("undisturbed")
    prepare(raw, tokenizer, out, run_here)
    return out


class Driver:
    """``tests.prepare_text`` in a process of its own."""

    def __init__(self, raw: Path, tokenizer: Path, out: Path) -> None:
        program = [sys.executable, "-m", "tests.prepare_text", str(raw), str(tokenizer), str(out)]
        self._log = out / ".driver.log"
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                program, cwd=PROJECT, env=environment(), stdout=log, stderr=log
            )

    def check_alive(self) -> None:
        assert self._process.poll() is None, self._log.read_text()

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self._process.pid).children(recursive=True)

    def kill(self) -> None:
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def finish(self) -> None:
        assert self._process.wait(timeout=300) == 0, self._log.read_text()


def finished_tasks(out: Path) -> list[Path]:
    return [
        path for stage in STAGES for path in (out / FOLDERS[stage] / ".work" / stage).glob("*.json")
    ]


def written(out: Path) -> dict[str, tuple[int, bytes]]:
    """Output file -> when it was written, and its content."""
    return {
        str(path.relative_to(out)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(out.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(out).parts)
    }


def contents(out: Path) -> dict[str, bytes]:
    return {name: content for name, (_, content) in written(out).items()}


def wait_for(out: Path, tasks: int, driver: Driver) -> None:
    """Until so many tasks are finished."""
    deadline = time.monotonic() + 240
    while len(finished_tasks(out)) < tasks:
        driver.check_alive()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def busy_worker(driver: Driver) -> psutil.Process:
    """One that runs a task now; between two tasks there may be none for a moment."""
    while True:
        driver.check_alive()
        for process in driver.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name().startswith("ray::MapBatches"):
                    return process
        time.sleep(0.002)


VICTIMS = ("worker", "driver", "worker", "driver", "driver")


def test_kills_of_workers_and_drivers_change_nothing(
    raw: Path, tokenizer: Path, undisturbed: Path, tmp_path: Path
) -> None:
    tasks = len(finished_tasks(undisturbed))
    assert tasks > 3 * FILES
    moments = sorted(random.Random(7).sample(range(1, tasks - 1), len(VICTIMS)))
    driver = Driver(raw, tokenizer, tmp_path)
    for victim, moment in zip(VICTIMS, moments, strict=True):
        wait_for(tmp_path, moment, driver)
        if victim == "worker":
            busy_worker(driver).kill()
            continue
        driver.kill()
        kept = {path: path.stat().st_mtime_ns for path in finished_tasks(tmp_path)}
        outputs = written(tmp_path)
        assert len(kept) >= moment
        driver = Driver(raw, tokenizer, tmp_path)
    driver.finish()
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "a finished task ran again"
    after = written(tmp_path)
    again = [name for name in outputs if after[name][0] != outputs[name][0]]
    # At most the two tasks that had written their output and not yet said so, and the files that
    # close a step.
    closing = {f"{folder}/language.json" for folder in ("text", "tokens")}
    closing |= {f"{folder}/documents.parquet" for folder in ("tokens", "stream")}
    assert len(set(again) - closing) <= 4
    assert contents(tmp_path) == contents(undisturbed)
