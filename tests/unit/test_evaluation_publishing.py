"""Of several evaluators of one checkpoint one publishes, and each leaves a note of itself."""

import threading
from pathlib import Path

import pytest

from ccx_ray.evaluation.evaluator import Attempt, count_attempts
from ccx_ray.storage.publishing import publish_first


def test_the_first_to_publish_wins(tmp_path: Path):
    path = tmp_path / "step-000060.parquet"
    assert publish_first(path, b"first")
    assert not publish_first(path, b"an orphan's")
    assert path.read_bytes() == b"first"
    assert [file.name for file in tmp_path.iterdir()] == [path.name], "nothing is left aside"


def test_one_of_many_at_once_wins_and_is_whole(tmp_path: Path):
    path = tmp_path / "step-000060.parquet"
    contents = [bytes([number]) * 100_000 for number in range(8)]
    won: list[int] = []
    together = threading.Barrier(len(contents))

    def publish(number: int) -> None:
        together.wait()
        if publish_first(path, contents[number]):
            won.append(number)

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert path.read_bytes() == contents[won[0]]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_file_system_without_hard_links_still_keeps_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refused(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refused)
    path = tmp_path / "step-000060.parquet"
    assert publish_first(path, b"first")
    assert not publish_first(path, b"second")
    assert path.read_bytes() == b"first"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_every_attempt_is_counted(tmp_path: Path):
    killed, whole, other = (
        Attempt(tmp_path / f"step-{step:06d}.parquet") for step in (60, 60, 120)
    )
    whole.scored()
    other.scored()
    del killed
    assert count_attempts(tmp_path) == {
        "step-000060": {"begun": 2, "scored": 1},
        "step-000120": {"begun": 1, "scored": 1},
    }
    assert count_attempts(tmp_path / "none") == {}
