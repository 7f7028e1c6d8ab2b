"""Writing parts: two writers of one part, and what killed writers leave behind."""

import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.corpus.parts import part_files, write_part
from ccx_ray.storage.publishing import writing_aside

SLOW_WRITER = """
import sys
from pathlib import Path
import pyarrow as pa
from ccx_ray.corpus.parts import write_part
texts = pa.array([f"{number:01000d}" for number in range(100_000)])
write_part(Path(sys.argv[1]), 0, pa.table({"text": texts}))
"""


def test_the_writer_of_a_killed_driver_does_not_touch_what_the_next_driver_writes(tmp_path: Path):
    orphan = subprocess.Popen([sys.executable, "-c", SLOW_WRITER, str(tmp_path)])
    while not any(path.stat().st_size > 2**16 for path in tmp_path.iterdir()):
        assert orphan.poll() is None
        time.sleep(0.001)
    orphan.send_signal(signal.SIGSTOP)
    assert not part_files(tmp_path), "the writer was stopped in the middle"
    table = pa.table({"text": ["the part of the next driver"] * 1000})
    write_part(tmp_path, 0, table)
    orphan.send_signal(signal.SIGCONT)
    orphan.wait(60)
    assert pq.read_table(tmp_path / "part-00000.parquet").equals(table)
    assert [path.name for path in tmp_path.iterdir()] == ["part-00000.parquet"]


def test_what_a_killed_writer_left_is_no_part_and_goes_with_the_next_one(tmp_path: Path):
    left = tmp_path / f".part-00000.parquet.{uuid.uuid4().hex}"
    other = tmp_path / f".part-00001.parquet.{uuid.uuid4().hex}"
    for path in (left, other):
        path.write_bytes(b"PAR1 half a part")
    assert not part_files(tmp_path)
    write_part(tmp_path, 0, pa.table({"text": ["a"]}))
    assert {path.name for path in tmp_path.iterdir()} == {other.name, "part-00000.parquet"}


def test_a_folder_is_written_aside_too(tmp_path: Path):
    left = tmp_path / f".index.{uuid.uuid4().hex}"
    left.mkdir()
    (left / "half").touch()
    for content in ("one", "two"):
        with writing_aside(tmp_path / "index") as folder:
            folder.mkdir()
            (folder / content).touch()
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*")] == [
        Path("index"),
        Path("index/two"),
    ]


def test_nothing_stays_of_a_write_that_fails(tmp_path: Path):
    try:
        with writing_aside(tmp_path / "file") as path:
            path.write_text("half")
            raise OSError("no space left on device")
    except OSError:
        pass
    assert not list(tmp_path.iterdir())
