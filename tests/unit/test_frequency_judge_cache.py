"""Verdicts on disk: kept as they arrive, the first stays, several processes at once."""

import multiprocessing
import sqlite3
from pathlib import Path

import pytest

from ccx_ray.errors import UserError
from ccx_ray.frequency.judges.records import (
    Budget,
    CapReachedError,
    StoredVerdict,
    Tokens,
    open_cache,
    open_spending,
    read_spending,
)
from ccx_ray.study.frequency_spec import JudgeRuntime

VERDICT = StoredVerdict(
    key="k", holds=1, reason="སྐད", evidence="ལྷ་ས", evidence_start=3, evidence_length=4, answer="{}",
    model="m", prompt_tokens=7, completion_tokens=2, created="2026-01-01T00:00:00+00:00",
)  # fmt: skip


def test_the_first_verdict_stays(tmp_path: Path) -> None:
    path = tmp_path / "below" / "abc.sqlite"
    with open_cache(path) as cache:
        assert cache.add(VERDICT) == VERDICT
        assert cache.add(VERDICT._replace(holds=0)) == VERDICT
    with open_cache(path) as cache:
        keys = [f"{number}" for number in range(1200)] + ["k"]
        assert cache.read(keys) == {"k": VERDICT}


def test_it_is_on_the_disk_before_the_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "abc.sqlite"
    with open_cache(path) as cache:
        cache.add(VERDICT)
        with open_cache(path) as other:
            assert other.read(["k"]) == {"k": VERDICT}
        assert [file.name for file in tmp_path.iterdir()] == ["abc.sqlite"]


@pytest.mark.parametrize("damage", ["header", "middle", "other"])
def test_a_broken_file_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "abc.sqlite"
    with open_cache(path) as cache:
        for number in range(40):
            cache.add(VERDICT._replace(key=str(number), answer="x" * 2000))
    content = bytearray(path.read_bytes())
    if damage == "header":
        content[:50] = b"x" * 50
    elif damage == "middle":
        content[5000:-5000] = b"x" * (len(content) - 10000)
    path.write_bytes(content if damage != "other" else b"{}" * 5000)
    with pytest.raises(UserError) as raised, open_cache(path) as cache:
        cache.read([str(number) for number in range(40)])
    assert str(raised.value).startswith(f"{path}: broken (")
    assert "or delete it and lose its verdicts" in str(raised.value)


def test_a_folder_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "abc.sqlite").mkdir()
    with (
        pytest.raises(UserError, match=r"abc\.sqlite: cannot be"),
        open_cache(tmp_path / "abc.sqlite"),
    ):
        pass


def _write(path: Path, writer: int) -> None:
    with open_cache(path) as cache:
        for number in range(40):
            cache.add(VERDICT._replace(key=str(number), model=str(writer)))
            cache.add(VERDICT._replace(key=f"{writer}-{number}", model=str(writer)))


def test_processes_may_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "abc.sqlite"
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_write, args=(path, writer)) for writer in range(3)]
    for process in writers:
        process.start()
    for process in writers:
        process.join()
    assert [process.exitcode for process in writers] == [0, 0, 0]
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT COUNT(*) FROM verdicts").fetchone() == (160,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.close()


RUNTIME = JudgeRuntime(
    max_requests=3,
    max_dollars=1e-3,
    dollars_per_million_input_tokens=1.0,
    dollars_per_million_output_tokens=2.0,
)


def test_what_a_request_cost_replaces_the_most_that_it_could(tmp_path: Path) -> None:
    with open_spending(tmp_path) as connection:
        budget = Budget(connection, RUNTIME, run="r", judge="j")
        reserved = budget.reserve(prompt="ab" * 18, completion_tokens=300)
        assert reserved == pytest.approx((36 + 64 + 600) / 1e6)
        with pytest.raises(CapReachedError, match=r"max_dollars: 0.0007 of 0.001") as raised:
            budget.reserve(prompt="", completion_tokens=300)
        assert not raised.value.final
        budget.settle(reserved, Tokens(prompt=10, completion=5))
        spent = connection.execute("SELECT * FROM spending").fetchall()
        assert spent == [("r", "j", 1, 10, 5, pytest.approx(20e-6))]
        budget.reserve(prompt="", completion_tokens=300)


def test_all_judges_of_a_run_share_its_caps(tmp_path: Path) -> None:
    for number in range(3):
        with open_spending(tmp_path) as connection:
            Budget(connection, RUNTIME, run="r", judge=str(number)).reserve(
                prompt="", completion_tokens=10
            )
    with open_spending(tmp_path) as connection:
        with pytest.raises(CapReachedError, match="max_requests: 3 of 3 requests are used") as one:
            Budget(connection, RUNTIME, run="r", judge="j").reserve(prompt="", completion_tokens=1)
        assert one.value.final
        Budget(connection, RUNTIME, run="s", judge="j").reserve(prompt="", completion_tokens=1)
    requests, dollars = read_spending(tmp_path)
    assert requests == 4
    assert dollars == pytest.approx((3 * (64 + 20) + 64 + 2) / 1e6)
    assert read_spending(tmp_path / "none") == (0, 0.0)
