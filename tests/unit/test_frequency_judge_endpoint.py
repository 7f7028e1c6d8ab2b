"""What an endpoint judge does with every kind of answer; over HTTP, by a rule instead of a model.

The same against a real server with a model in it is in ``tests/integration``.
"""

import asyncio
import json
import logging
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ccx_ray.errors import UserError
from ccx_ray.frequency.judges.prompting import UNREADABLE_AGAIN
from tests.judge_client import NAMES, judge, requests
from tests.judge_server import Exchange, LoopbackServer, completion_of

KEY = "sk-do-not-tell-4711"
Bodies = list[dict[str, Any]]


@contextmanager
def endpoint(answer: Callable[[dict[str, Any]], Exchange]) -> Iterator[tuple[str, Bodies]]:
    """A server that answers by a rule; its URL and the requests that it has got."""
    asked: Bodies = []

    async def handle(body: bytes) -> Exchange:
        asked.append(json.loads(body))
        return answer(asked[-1])

    server = LoopbackServer(handle)
    try:
        yield server.url, asked
    finally:
        server.close()


def refusal(status: int, message: str, **more: str) -> Exchange:
    return Exchange(
        status=status, body=json.dumps({"error": {"message": message, **more}}).encode()
    )


def entry(text: str) -> dict[str, Any]:
    found = next((name for name in NAMES if name in text), "")
    return {"holds": bool(found), "evidence": found, "reason": "by rule"}


def ruled(body: dict[str, Any]) -> Exchange:
    """Judges one document, or each of several, by the names in it."""
    prompt = body["messages"][0]["content"]
    several = re.split(r"\[Document \d+\]\n", prompt)[1:]
    entries = [{"document": n, **entry(text)} for n, text in enumerate(several, 1)]
    content = json.dumps({"verdicts": entries} if several else entry(prompt))
    return completion_of(content, prompt_tokens=len(prompt) // 4, completion_tokens=10)


def right() -> list[bool]:
    return [bool(number % 2) for number in range(len(requests()))]


def test_the_evidence_stands_in_the_document(tmp_path: Path) -> None:
    with endpoint(ruled) as (url, asked):
        verdicts, counts = judge(url, "m", tmp_path)
    assert [verdict.holds for verdict in verdicts] == right()
    for request, verdict in zip(requests(), verdicts, strict=True):
        end = verdict.evidence_start + verdict.evidence_length
        if verdict.holds:
            assert request.document.text[verdict.evidence_start : end] in NAMES
        else:
            assert (verdict.evidence_start, verdict.evidence_length) == (-1, 0)
    assert counts["requests"] == len(asked) == 24
    assert asked[0]["temperature"] == 0
    assert asked[0]["response_format"]["json_schema"]["schema"]["required"] == [
        "holds", "evidence", "reason",
    ]  # fmt: skip


def test_several_documents_of_one_question_share_a_request(tmp_path: Path) -> None:
    with endpoint(ruled) as (url, asked):
        verdicts, counts = judge(url, "m", tmp_path, pairs_per_request=5)
        again, more = judge(url, "m", tmp_path, pairs_per_request=1)
    assert [verdict.holds for verdict in verdicts] == right()
    assert verdicts == again
    assert len(asked) == counts["requests"] == 6  # three questions of eight documents
    assert more["cached"] == 24 and "requests" not in more
    rows = stored(tmp_path, "SUM(prompt_tokens), SUM(completion_tokens)")
    assert rows == [(counts["prompt_tokens"], counts["completion_tokens"])]


def test_of_an_incomplete_answer_only_the_rest_is_asked_again(tmp_path: Path) -> None:
    def forgetful(body: dict[str, Any]) -> Exchange:
        whole = ruled(body)
        content = json.loads(json.loads(whole.body)["choices"][0]["message"]["content"])
        if "verdicts" in content:
            content["verdicts"].pop()
        return completion_of(json.dumps(content))

    with endpoint(forgetful) as (url, asked):
        verdicts, counts = judge(url, "m", tmp_path, pairs_per_request=4)
    assert [verdict.holds for verdict in verdicts] == right()
    assert len(asked) == 12 and counts["retries"] == 6


def test_equal_requests_are_asked_once(tmp_path: Path) -> None:
    with endpoint(ruled) as (url, asked):
        verdicts, counts = judge(url, "m", tmp_path, asked=requests(4) * 3)
    assert len(asked) == counts["pairs"] == 4
    assert verdicts[:4] == verdicts[4:8] == verdicts[8:]


def test_what_an_endpoint_does_not_know_is_left_out_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def old(body: dict[str, Any]) -> Exchange:
        if "response_format" in body:
            return refusal(400, "response_format is not supported by this server")
        if "max_tokens" in body:
            return refusal(400, "'max_tokens' is not supported; use 'max_completion_tokens'")
        if "temperature" in body:
            return refusal(400, "temperature does not support 0 with this model")
        return ruled(body)

    with endpoint(old) as (url, asked):
        verdicts, counts = judge(url, "m", tmp_path)
    assert [verdict.holds for verdict in verdicts] == right()
    assert len(asked) == 24 + 3 == counts["requests"]
    assert "retries" not in counts
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "the judge's endpoint refuses response_format",
        "the judge's endpoint refuses temperature",
    ]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (refusal(401, f"Incorrect API key provided: {KEY}"),
         "answers 401: the key is not accepted; 0 of 24 pairs of question and document have "
         "a verdict, 24 have none; set JUDGE_KEY to a valid key"),
        (refusal(404, "no such model"),
         "answers 404 for the model 'm': no such model; 0 of 24"),
        (refusal(400, f"the prompt has 9000 tokens, said {KEY}"),
         "answers 400: the prompt has 9000 tokens, said ***; 0 of 24"),
        (refusal(429, "You exceeded your quota", code="insufficient_quota"),
         "answers 429: You exceeded your quota; 0 of 24"),
        (Exchange(status=503, body=b"", headers=(("Retry-After", "3600"),)),
         "asks to wait 3600 s: 503"),
    ],
)  # fmt: skip
def test_a_refusal_ends_it_after_one_request(
    answer: Exchange,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("JUDGE_KEY", f"{KEY}\n")
    with (
        caplog.at_level(logging.DEBUG),
        endpoint(lambda body: answer) as (url, asked),
        pytest.raises(UserError) as raised,
    ):
        judge(url, "m", tmp_path, key_variable="JUDGE_KEY")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(asked) == 1
    everywhere = [str(raised.value), caplog.text]
    everywhere += [str(path.read_bytes()) for path in tmp_path.iterdir()]
    assert not any(KEY in text for text in everywhere)


def test_nobody_is_there(tmp_path: Path) -> None:
    with endpoint(ruled) as (url, _):
        pass
    with pytest.raises(UserError, match=r"failed 2 times, last: .*; 0 of 24 pairs"):
        judge(url, "m", tmp_path, max_retries=1)


def stubborn(body: dict[str, Any]) -> Exchange:
    prompt = body["messages"][0]["content"]
    return completion_of("Well, it depends.") if "Lhasa" in prompt else ruled(body)


ABOUT_LHASA = sum("Lhasa" in request.document.text for request in requests())


def test_what_cannot_be_read_is_no_verdict(tmp_path: Path) -> None:
    """All others are judged and kept; the next run asks for the unreadable ones alone."""
    assert ABOUT_LHASA
    with endpoint(stubborn) as (url, asked):
        with pytest.raises(UserError) as raised:
            judge(url, "m", tmp_path, max_retries=1, unreadable_share=0.0)
        first = len(asked)
        with pytest.raises(UserError):
            judge(url, "m", tmp_path, max_retries=0, unreadable_share=0.0)
    assert first == 24 + ABOUT_LHASA
    assert len(asked) - first == ABOUT_LHASA
    assert f"no readable answer in 2 tries about {ABOUT_LHASA} pairs" in str(raised.value)
    assert "'Well, it depends.'" in str(raised.value)
    assert f"{24 - ABOUT_LHASA} of 24 pairs" in str(raised.value)
    assert stored(tmp_path, "COUNT(*)") == [(24 - ABOUT_LHASA,)]


def test_one_style_of_answer_does_not_cost_the_step(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with endpoint(stubborn) as (url, asked):
        verdicts, counts = judge(url, "m", tmp_path, max_retries=2)
    without = [verdict.holds is None for verdict in verdicts]
    assert without == ["Lhasa" in request.document.text for request in requests()]
    for request, verdict, holds in zip(requests(), verdicts, right(), strict=True):
        assert verdict.holds is (None if "Lhasa" in request.document.text else holds)
    assert all("'Well, it depends.'" in one.reason for one in verdicts if one.holds is None)
    assert counts["unreadable"] == ABOUT_LHASA
    kept = stored(tmp_path, "answer, COUNT(DISTINCT key), COUNT(*)", table="unreadable")
    assert kept == [("Well, it depends.", ABOUT_LHASA, 3 * ABOUT_LHASA)]
    assert f"{ABOUT_LHASA} of 24 pairs of question and document have no verdict" in caplog.text
    # What was said, and what was wrong with it, is shown to the model that is asked to mend it.
    again = [body["messages"][0]["content"] for body in asked]
    mended = [prompt for prompt in again if UNREADABLE_AGAIN in prompt]
    assert len(mended) == 2 * ABOUT_LHASA
    assert all("no JSON object" in one and "Well, it depends." in one for one in mended)


def test_an_answer_is_mended_when_it_is_asked_for_again(tmp_path: Path) -> None:
    def careless(body: dict[str, Any]) -> Exchange:
        again = UNREADABLE_AGAIN in body["messages"][0]["content"]
        return ruled(body) if again else completion_of("holds = yes")

    with endpoint(careless) as (url, asked):
        verdicts, counts = judge(url, "m", tmp_path, max_retries=1)
    assert [verdict.holds for verdict in verdicts] == right()
    assert len(asked) == 48 and counts["unreadable"] == 0
    assert stored(tmp_path, "COUNT(*)", table="unreadable") == [(24,)]


def answered(message: dict[str, Any], finish_reason: str = "stop") -> Exchange:
    """A completion with a message of any form."""
    whole = json.loads(completion_of("").body)
    whole["choices"][0] |= {"message": {"role": "assistant", **message}}
    whole["choices"][0]["finish_reason"] = finish_reason
    return Exchange(status=200, body=json.dumps(whole).encode())


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda said: {"content": [{"type": "text", "text": said}]},
        lambda said: {"content": [{"type": "thinking", "thinking": [{"type": "text", "text":
                                   '{"holds": true} or {"holds": false}?'}]},
                                  {"type": "text", "text": said[:9]},
                                  {"type": "text", "text": said[9:]}]},
        lambda said: {"content": [{"type": "text", "text": {"value": said, "annotations": []}}]},
        lambda said: {"content": [{"type": "output_text", "text": said, "annotations": []}]},
        lambda said: {"content": f'Is it {{"holds": null}}? Hm.\n</think>\n\n{said}'},
        lambda said: {"content": None, "reasoning_content": f"So:\n{said}"},
        lambda said: {"content": "", "reasoning": said},
        lambda said: {"content": None, "tool_calls": [{"id": "1", "type": "function", "function":
                                                       {"name": "verdict", "arguments": said}}]},
        lambda said: {"content": "<|channel|>analysis<|message|>The document ...<|end|><|start|>"
                                 f"assistant<|channel|>final<|message|>{said}<|return|>"},
        lambda said: {"content": f"Here is my verdict:\n\n{said}<|im_end|>"},
    ],
)  # fmt: skip
def test_messages_of_real_servers_are_read(
    wrapped: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    def server(body: dict[str, Any]) -> Exchange:
        return answered(wrapped(json.loads(ruled(body).body)["choices"][0]["message"]["content"]))

    with endpoint(server) as (url, asked):
        verdicts, counts = judge(url, "m", tmp_path, max_retries=0)
    assert [verdict.holds for verdict in verdicts] == right()
    assert len(asked) == 24 and counts["unreadable"] == 0


@pytest.mark.parametrize(
    ("message", "finish_reason", "said"),
    [
        ({"content": ""}, "length",
         "its content is empty (finish_reason: length, the limit of 77 tokens, "
         "runtime.judge.answer_tokens)"),
        ({"content": None, "reasoning_content": 'Is it {"holds": true}?'}, "length",
         "(finish_reason: length, the limit of 77 tokens, runtime.judge.answer_tokens), with "
         "reasoning_content instead: 'reasoning_content: Is it {\"holds\": true}?'"),
        ({"content": None}, "content_filter",
         "its content is empty (finish_reason: content_filter)"),
        ({"content": None, "refusal": "I cannot."}, "stop",
         "its content is empty (finish_reason: stop), with refusal instead: 'refusal: I cannot.'"),
        ({"content": '{"holds": tr'}, "length",
         "it is cut off (finish_reason: length, the limit of 77 tokens, "
         "runtime.judge.answer_tokens): '{\"holds\": tr'"),
        ({"content": "<think>Is it"}, "length", "it is cut off (finish_reason: length"),
        ({"content": '{"holds": true} {"holds": false}'}, "stop",
         "a document has no verdict, or contradictory verdicts"),
    ],
)  # fmt: skip
def test_an_answer_without_a_verdict_names_its_cause(
    message: dict[str, Any], finish_reason: str, said: str, tmp_path: Path
) -> None:
    with (
        endpoint(lambda body: answered(message, finish_reason)) as (url, asked),
        pytest.raises(UserError) as raised,
    ):
        judge(url, "m", tmp_path, max_retries=1, answer_tokens=77)
    assert said in str(raised.value)
    assert "24 pairs (for example: " in str(raised.value)
    assert {body["max_tokens"] for body in asked} == {77}


def test_evidence_that_is_not_in_the_document_is_counted(tmp_path: Path) -> None:
    def inventive(body: dict[str, Any]) -> Exchange:
        return completion_of('{"holds": true, "evidence": "as is well known", "reason": ""}')

    with endpoint(inventive) as (url, _):
        verdicts, counts = judge(url, "m", tmp_path)
    assert counts["evidence_not_found"] == 24
    assert all(verdict.holds and verdict.evidence_start == -1 for verdict in verdicts)


def test_requests_are_capped_for_all_judges_of_a_run(tmp_path: Path) -> None:
    with endpoint(ruled) as (url, asked):
        with pytest.raises(UserError, match=r"max_requests: 9 of 9 requests are used; 9 of 24"):
            judge(url, "m", tmp_path, max_requests=9, run="first")
        with pytest.raises(UserError, match=r"max_requests: 9 of 9 requests are used; 9 of 24"):
            judge(url, "m", tmp_path, max_requests=9, run="first")
        assert len(asked) == 9
        verdicts, _ = judge(url, "m", tmp_path, max_requests=15, run="second")
    assert len(asked) == 24
    assert [verdict.holds for verdict in verdicts] == right()


@pytest.mark.parametrize("reported", [True, False])
def test_dollars_are_capped_by_what_is_on_its_way(reported: bool, tmp_path: Path) -> None:
    """Where no tokens are reported, a request costs the most that it can."""

    def priced(body: dict[str, Any]) -> Exchange:
        usage = {"prompt_tokens": 100, "completion_tokens": 1000} if reported else {}
        content = json.loads(ruled(body).body)["choices"][0]["message"]["content"]
        return completion_of(content, **usage)

    with (
        endpoint(priced) as (url, asked),
        pytest.raises(UserError, match=r"max_dollars: 0.*; raise the limit and give the same"),
    ):
        judge(
            url, "m", tmp_path, run="a", max_dollars=0.01, concurrency=8,
            dollars_per_million_output_tokens=1.0,
        )  # fmt: skip
    # A thousand tokens at most, at a dollar for a million: ten requests for a cent.
    assert len(asked) == 10
    assert stored(tmp_path, "COUNT(*)") == [(10,)]
    spent = spending(tmp_path)
    assert spent == [("a", 10, 0.01)]


def test_threads_share_the_places_of_an_endpoint(tmp_path: Path) -> None:
    at_once: list[int] = []
    inside = Counter[str]()

    async def handle(body: bytes) -> Exchange:
        inside["now"] += 1
        at_once.append(inside["now"])
        await asyncio.sleep(0.01)
        inside["now"] -= 1
        return ruled(json.loads(body))

    server = LoopbackServer(handle)
    with ThreadPoolExecutor(3) as threads:
        judging = [
            threads.submit(
                judge,
                server.url,
                "m",
                tmp_path / str(part),
                asked=requests()[part::3],
                concurrency=2,
            )
            for part in range(3)
        ]
        holds = [[verdict.holds for verdict in one.result()[0]] for one in judging]
    server.close()
    assert holds == [right()[part::3] for part in range(3)]
    assert len(at_once) == 24 and max(at_once) == 2


def spending(folder: Path) -> list[Any]:
    with sqlite3.connect(folder / "spending.sqlite") as connection:
        rows = connection.execute(
            "SELECT run, requests, ROUND(dollars, 9) FROM spending"
        ).fetchall()
    connection.close()
    return rows


def stored(folder: Path, what: str, *, table: str = "verdicts") -> list[Any]:
    with sqlite3.connect(folder / "abc.sqlite") as connection:
        rows = connection.execute(f"SELECT {what} FROM {table}").fetchall()
    connection.close()
    return rows
