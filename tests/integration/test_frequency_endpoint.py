"""An endpoint judge against a real server of a real model, through everything that may befall it.

Every answer of the model is counted behind the proxy, so what is paid for twice would be seen.
"""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ccx_ray.errors import UserError
from ccx_ray.frequency.judges.records import StoredVerdict, VerdictCache
from ccx_ray.frequency.judges.verdict import Verdict
from tests.judge_client import NAMES, judge, requests
from tests.judge_model import judge_model
from tests.judge_server import FAULTS, Fault, FaultyProxy, serve

PAIRS = len(requests())
TIMEOUT = 8.0
"""Seconds. Four requests wait for one model here, which is a second or two on a busy machine."""


class Server:
    """A running ``transformers serve``, which may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = ExitStack()
        self.start()

    def start(self) -> None:
        self.url, self.process = self._running.enter_context(
            serve(judge_model(), self._folder / f"serve-{time.monotonic_ns()}.log")
        )

    def kill(self) -> None:
        os.kill(self.process, signal.SIGKILL)

    def close(self) -> None:
        self._running.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("server"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def undisturbed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> list[Verdict]:
    """Verdicts of a run that nothing befell, straight from the server."""
    verdicts, counts = judge(server.url, judge_model(), tmp_path_factory.mktemp("undisturbed"))
    assert counts["requests"] == counts["pairs"] == PAIRS
    return verdicts


@contextmanager
def proxy(server: Server, plan: list[list[Fault]] | None = None) -> Iterator[FaultyProxy]:
    standing = FaultyProxy(server.url, plan or [])
    try:
        yield standing
    finally:
        standing.close()


def test_the_model_judges(undisturbed: list[Verdict]) -> None:
    assert [verdict.holds for verdict in undisturbed] == [n % 2 == 1 for n in range(PAIRS)]
    for request, verdict in zip(requests(), undisturbed, strict=True):
        end = verdict.evidence_start + verdict.evidence_length
        if verdict.holds:
            assert request.document.text[verdict.evidence_start : end] in NAMES


def test_faults_change_no_verdict_and_pay_for_none_twice(
    server: Server, undisturbed: list[Verdict], tmp_path: Path
) -> None:
    draw = random.Random(0)
    faults = [*FAULTS, *draw.choices([f for f in FAULTS if f not in ("silent", "late")], k=12)]
    draw.shuffle(faults)
    plan: list[list[Fault]] = [[] for _ in range(PAIRS)]
    for fault in faults:
        draw.choice([few for few in plan if len(few) < 3]).append(fault)
    with proxy(server, plan) as standing:
        verdicts, counts = judge(
            standing.url, judge_model(), tmp_path, timeout_seconds=TIMEOUT, run="one"
        )
        again, _ = judge(standing.url, judge_model(), tmp_path)
    assert verdicts == again == undisturbed
    assert set(standing.befallen) == set(FAULTS)
    assert standing.befallen.total() == len(faults) == counts["retries"]
    assert standing.requests == PAIRS + len(faults) == counts["requests"]
    handed_over = standing.paid - standing.destroyed
    assert len(handed_over) == PAIRS and set(handed_over.values()) == {1}
    assert standing.destroyed.total() == sum(
        standing.befallen[fault]
        for fault in ("lost", "late", "nonsense", "truncated", "cut", "empty")
    )


def test_caps_are_kept_whatever_befalls(
    server: Server, undisturbed: list[Verdict], tmp_path: Path
) -> None:
    price = 100.0
    plan: list[list[Fault]] = [["lost"], ["error", "nonsense"], ["cut"], ["busy"], ["empty"]]
    with proxy(server, plan) as standing:
        with pytest.raises(UserError, match="max_requests: 9 of 9 requests are used"):
            judge(standing.url, judge_model(), tmp_path, max_requests=9)
        assert standing.requests == 9
        kept, before = stored(tmp_path), standing.tokens.total()
        with pytest.raises(UserError, match="max_dollars"):
            judge(
                standing.url, judge_model(), tmp_path, run="dear", max_dollars=0.25,
                dollars_per_million_input_tokens=price, dollars_per_million_output_tokens=price,
            )  # fmt: skip
        tokens = standing.tokens.total() - before
        assert kept < stored(tmp_path) < PAIRS
        assert tokens * price / 1e6 <= 0.25
        verdicts, _ = judge(standing.url, judge_model(), tmp_path)
    assert verdicts == undisturbed
    assert set((standing.paid - standing.destroyed).values()) == {1}


def test_a_killed_client_has_lost_nothing_that_it_had_got(
    server: Server, undisturbed: list[Verdict], tmp_path: Path
) -> None:
    with proxy(server) as standing:
        client = subprocess.Popen(
            [sys.executable, "-m", "tests.judge_client", standing.url, str(judge_model()),
             str(tmp_path), json.dumps({"concurrency": 3})],
        )  # fmt: skip
        while client.poll() is None and stored(tmp_path) < PAIRS // 3:
            time.sleep(0.02)
        client.kill()
        assert client.wait() == -signal.SIGKILL
        kept = stored(tmp_path)
        assert PAIRS // 3 <= kept < PAIRS
        while standing.paid.total() < min(standing.requests, PAIRS):
            time.sleep(0.1)  # the model still answers what was on its way
        before = standing.requests
        verdicts, counts = judge(standing.url, judge_model(), tmp_path)
    assert verdicts == undisturbed
    assert standing.requests - before == counts["requests"] == PAIRS - kept
    assert standing.paid.total() - PAIRS <= 3  # what was on its way when it was killed


def test_a_dead_endpoint_ends_it_and_the_same_command_goes_on(
    server: Server, undisturbed: list[Verdict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = VerdictCache.add

    def keep_and_kill(cache: VerdictCache, verdict: StoredVerdict) -> StoredVerdict:
        kept = keep(cache, verdict)
        if stored(tmp_path) == PAIRS // 2:
            server.kill()
        return kept

    with proxy(server) as standing:
        with (
            monkeypatch.context() as patched,
            pytest.raises(UserError, match=r"failed 2 times, last: 503 .*pairs of question") as end,
        ):
            patched.setattr(VerdictCache, "add", keep_and_kill)
            judge(standing.url, judge_model(), tmp_path, max_retries=1)
        kept = stored(tmp_path)
        assert PAIRS // 2 <= kept < PAIRS
        assert f"; {kept} of {PAIRS} pairs" in str(end.value)
        server.start()
        standing.upstream = server.url
        before = standing.requests
        verdicts, _ = judge(standing.url, judge_model(), tmp_path)
    assert verdicts == undisturbed
    assert standing.requests - before == PAIRS - kept
    assert set((standing.paid - standing.destroyed).values()) == {1}


def stored(folder: Path) -> int:
    path = folder / "abc.sqlite"
    if not path.exists():
        return 0
    connection = sqlite3.connect(path, timeout=10)
    try:
        count: int = connection.execute("SELECT COUNT(*) FROM verdicts").fetchone()[0]
    except sqlite3.OperationalError:  # the table is not there yet
        return 0
    finally:
        connection.close()
    return count
