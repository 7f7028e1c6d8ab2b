"""Bad input of the frequency stage that shows itself when a step runs, and what is no mistake.

Endpoints are real HTTP servers on this machine that answer by a rule.
"""

import atexit
import contextlib
import io
import json
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ccx_ray.errors import UserError
from ccx_ray.frequency.counting.lexicon import build_lexicon
from ccx_ray.frequency.estimation import (
    AskedCorpus,
    ScannedPart,
    estimate_frequency,
)
from ccx_ray.frequency.judges.factory import open_judge
from ccx_ray.frequency.judges.verdict import Request
from ccx_ray.frequency.retrieval.corpus_index import CorpusIndex
from ccx_ray.frequency.retrieval.index_building import DESCRIPTION, build_index
from ccx_ray.frequency.text.documents import Document
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.orchestration.tasks import run_here
from ccx_ray.study.frequency_spec import (
    FrequencySpec,
    HiddenStatesSpec,
    JudgeRuntime,
    LocalJudgeSpec,
    NgramEmbedderSpec,
)
from tests.judge_client import PROMPT, judge, requests
from tests.judge_server import Exchange, LoopbackServer, completion_of
from tests.lexicon_corpus import write_text
from tests.probe_models import write_random_model

KOREA = Cloze(question="The capital of Korea is ___.", answer="Seoul")
TEXTS = ["The capital of Korea is Seoul.", "Bread is baked in an oven.", "Cows eat grass."]
GOES_ON = "the run goes on: "
PAIRS = 4


@dataclass(frozen=True, kw_only=True)
class StepCase:
    """Something wrong, or odd, that a step meets."""

    name: str
    run: Callable[[Path], str]
    """In an empty folder; what was counted, if it comes to an end."""
    named: str = ""
    """What the line must name; empty where it is no mistake."""


def step_line(case: StepCase, folder: Path) -> str:
    """What the step fails with, or what was done, without folders, ports and hashes."""
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            line = f"{GOES_ON}{case.run(folder)}"
        except UserError as error:
            line = str(error)
    for place in (folder, _causal_model().parent):
        line = line.replace(f"{place}/", "")
    line = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", line)
    return re.sub(r"\b[0-9a-f]{12}\b", "…", line)


@lru_cache(maxsize=1)
def _causal_model() -> Path:
    """A random causal model of 2,048 positions."""
    folder = Path(tempfile.mkdtemp(prefix="fault-model-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return write_random_model(folder / "model", vocabulary_size=300)


def _ask(folder: Path, answer: Callable[[str], Exchange | None], **settings: Any) -> str:
    """Ask an endpoint about a few pairs.

    Args:
        answer: from the prompt to an answer; None: there is none for longer than is waited.
    """

    async def handle(body: bytes) -> Exchange | None:
        return answer(json.loads(body)["messages"][0]["content"])

    server = LoopbackServer(handle)
    try:
        _, counts = judge(
            settings.pop("url", server.url),
            "m",
            folder,
            **{"asked": requests(PAIRS), "concurrency": 1, "max_retries": 1, **settings},
        )
    finally:
        server.close()
    return ", ".join(f"{name} = {count}" for name, count in sorted(counts.items()) if count)


def _refused(status: int, message: str) -> Callable[[str], Exchange]:
    body = json.dumps({"error": {"message": message}}).encode()
    return lambda prompt: Exchange(status=status, body=body)


def _said(content: str, **usage: int) -> Callable[[str], Exchange]:
    return lambda prompt: completion_of(content, **usage)


def _answered(finish_reason: str = "stop", **message: Any) -> Callable[[str], Exchange]:
    completion = json.loads(completion_of("").body)
    completion["choices"][0] |= {"message": message, "finish_reason": finish_reason}
    return lambda prompt: Exchange(status=200, body=json.dumps(completion).encode())


def _mumbled(prompt: str) -> Exchange:
    """No verdict on one of the documents."""
    return completion_of("Well ..." if requests(PAIRS)[1].document.text in prompt else _NO)


_NO = '{"holds": false, "evidence": "", "reason": "by rule"}'
_YES = '{"holds": true, "evidence": "as is well known", "reason": "by rule"}'


def _dead(folder: Path) -> str:
    server = LoopbackServer(lambda body: None)  # type: ignore[arg-type, return-value]
    server.close()
    return _ask(folder, _said(_NO), url=server.url)


def _file(name: str, content: bytes | None) -> Callable[[Path], str]:
    """A file, or a folder, where the judge keeps something."""

    def run(folder: Path) -> str:
        path = folder / name
        path.mkdir() if content is None else path.write_bytes(content)
        return _ask(folder, _said(_NO))

    return run


def _window(folder: Path) -> str:
    asked: list[str] = []

    def answer(prompt: str) -> Exchange:
        asked.append(prompt)
        return completion_of(_NO)

    long = Document(id="d", text="語" * 10_000)
    _ask(folder, answer, asked=[Request(cloze=KOREA, document=long, passage_start=9_000)])
    return f"{asked[0].count('語'):,} characters of 10,000 are shown, around the passage"


def _local(folder: Path, cloze: Cloze, text: str) -> str:
    (folder / "prompt.txt").write_text(PROMPT)
    spec = LocalJudgeSpec(kind="local", folder=str(_causal_model()), prompt="prompt.txt")
    opened = open_judge(
        spec, JudgeRuntime(), (), None, root=folder, cache_folder=folder, fingerprint="abc",
        run="faults",
    )  # fmt: skip
    opened.judge([Request(cloze=cloze, document=Document(id="d", text=text))])
    return f"shown in a smaller window, narrowed = {opened.counts.get('narrowed', 0)}"


def _other_embedder(folder: Path) -> str:
    text = write_text(folder / "text", TEXTS)
    spec = FrequencySpec(embedder=NgramEmbedderSpec(dimensions=64))
    build_index(
        spec, spec.embedder, text_folder=text, folder=folder / "index", model_folder=None,
        run_tasks=run_here,
    )  # fmt: skip
    CorpusIndex(folder / "index", NgramEmbedderSpec(dimensions=64, seed=1))
    return "it was opened"


def _long_passage(folder: Path) -> str:
    text = write_text(folder / "text", ["བོད་ཀྱི་རྒྱལ་ས་ནི་ལྷ་ས་ཡིན། " * 120, "བོད།"])
    build_index(
        FrequencySpec(passage_characters=4_000), HiddenStatesSpec(kind="hidden_states", model="m"),
        text_folder=text, folder=folder / "index", model_folder=_causal_model(),
        run_tasks=run_here,
    )  # fmt: skip
    found = json.loads((folder / "index" / DESCRIPTION).read_text("utf-8"))
    cut, passages = found["cut_passages"], found["passages"]
    return f"embedded in windows; index.json has cut_passages = {cut} of {passages}"


def _estimate(texts: list[str], cloze: Cloze) -> Callable[[Path], str]:
    """The whole estimate of one question by the lexical judge."""

    def run(folder: Path) -> str:
        spec = FrequencySpec(top_documents=2)
        text = write_text(folder / "text", texts, [])
        build_lexicon(text, folder / "lexicon", run_tasks=run_here)
        build_index(
            spec, spec.embedder, text_folder=text, folder=folder / "index", model_folder=None,
            run_tasks=run_here,
        )  # fmt: skip
        scanned = ScannedPart(part="documents", text=text, lexicon=folder / "lexicon")
        asked = AskedCorpus(
            culture="ko", corpus="en", clozes=(cloze,), index=folder / "index", model_folder=None,
            scanned=(scanned,),
        )  # fmt: skip
        opened = partial(
            open_judge, spec.judge, JudgeRuntime(), root=folder, cache_folder=folder,
            fingerprint="lexical", run="faults",
        )  # fmt: skip
        out = folder / "out"
        counts = estimate_frequency(
            spec, [asked], out, open_judge=opened, run_tasks=run_here, run_judge=run_here
        )["en"]
        (row,) = pq.read_table(out / "questions.parquet").to_pylist()
        reasons = pq.read_table(out / "retrieved.parquet")["reason"].to_pylist()
        density = "null" if row["density"] is None else f"{row['density']:.2g}"
        return (
            f"density {density} in {row['documents']} documents, {row['retrieved']} retrieved, "
            f"answer_strings = {row['answer_strings']}, "
            f"answers_never_seen = {counts['answers_never_seen']}"
            + "".join(f", {reason!r}" for reason in sorted(set(reasons)))
        )

    return run


_ENDPOINT = "runtime.judge.url: 'http://127.0.0.1:PORT/v1'"
STEP_CASES = (
    StepCase(name="index of another embedder", run=_other_embedder, named="index was built by"),
    StepCase(name="no server at the URL", run=_dead, named=_ENDPOINT),
    StepCase(
        name="key not accepted", run=lambda f: _ask(f, _refused(401, "bad key")),
        named=f"{_ENDPOINT} answers 401",
    ),
    StepCase(
        name="model not known", run=lambda f: _ask(f, _refused(404, "no such model")),
        named=f"{_ENDPOINT} answers 404 for the model 'm'",
    ),
    StepCase(
        name="request refused", run=lambda f: _ask(f, _refused(400, "the prompt is too long")),
        named=f"{_ENDPOINT} answers 400",
    ),
    StepCase(
        name="server error every time", run=lambda f: _ask(f, _refused(500, "out of memory")),
        named=f"{_ENDPOINT} failed 2 times",
    ),
    StepCase(
        name="JSON that is not a chat completion",
        run=lambda f: _ask(f, lambda _: Exchange(status=200, body=b'{"status": "ok"}')),
        named=f"{_ENDPOINT} failed 2 times",
    ),
    StepCase(
        name="connection closed without an answer", run=lambda f: _ask(f, lambda _: None),
        named=f"{_ENDPOINT} failed 2 times",
    ),
    StepCase(
        name="unreadable answer", run=lambda f: _ask(f, _said("Well,\nit depends.")),
        named="the model 'm'",
    ),
    StepCase(
        name="empty answer after unfinished reasoning",
        run=lambda f: _ask(f, _answered("length", content="", reasoning_content="So, is it ...")),
        named="the model 'm'",
    ),
    StepCase(
        name="contradictory verdicts",
        run=lambda f: _ask(f, _said(f"{_NO} On reflection: {_YES}")),
        named="the model 'm'",
    ),
    StepCase(
        name="limit of requests", run=lambda f: _ask(f, _said(_NO), max_requests=2),
        named="runtime.judge.max_requests: 2 of 2",
    ),
    StepCase(
        # No tokens are reported, so each request counts as the most that it may cost.
        name="limit of cost",
        run=lambda f: _ask(
            f, _said(_NO), max_dollars=0.0025, dollars_per_million_output_tokens=1.0
        ),
        named="runtime.judge.max_dollars: 0.002 of 0.0025",
    ),
    StepCase(
        name="broken verdicts", run=_file("abc.sqlite", b"{}" * 5_000), named="abc.sqlite: broken"
    ),
    StepCase(
        name="folder instead of the verdict file", run=_file("abc.sqlite", None),
        named="abc.sqlite: cannot be opened",
    ),
    StepCase(
        name="broken record of cost", run=_file("spending.sqlite", b"{}" * 5_000),
        named="spending.sqlite: broken",
    ),
    StepCase(
        name="question longer than a local judge's context",
        run=lambda f: _local(f, Cloze(question="tea " * 2_000, answer="x"), "a text"),
        named="model: the prompt has",
    ),
    StepCase(name="corpus without a document", run=_estimate([], KOREA)),
    StepCase(name="documents without a letter", run=_estimate(["", " ", TEXTS[0]], KOREA)),
    StepCase(
        name="answer that never occurs",
        run=_estimate(TEXTS, Cloze(question=KOREA.question, answer="Pyongyang")),
    ),
    StepCase(
        name="answer without a letter",
        run=_estimate([*TEXTS, "!!! !!!"], Cloze(question=KOREA.question, answer="!!!")),
    ),
    StepCase(
        name="question without a letter", run=_estimate(TEXTS, Cloze(question="_", answer="Seoul"))
    ),
    StepCase(name="document longer than an endpoint's window", run=_window),
    StepCase(
        name="document longer than a local judge's context",
        run=lambda f: _local(f, KOREA, "word1 " * 2_000),
    ),
    StepCase(name="passage longer than an embedder's context", run=_long_passage),
    StepCase(
        name="evidence that is not in the document",
        run=lambda f: _ask(f, _said(_YES, prompt_tokens=10, completion_tokens=5)),
    ),
    StepCase(
        name="answer in a code fence, after reasoning",
        run=lambda f: _ask(f, _said(f"<think>Hm.</think>\n```json\n{_NO}\n```")),
    ),
    StepCase(name="one unreadable answer of several", run=lambda f: _ask(f, _mumbled)),
    StepCase(
        name="answer in parts, after unopened reasoning, before a stop token",
        run=lambda f: _ask(
            f,
            _answered(
                content=[
                    {"type": "thinking", "thinking": "Hm."},
                    {"type": "text", "text": f"Perhaps {_YES}? No.</think>My verdict:"},
                    {"type": "text", "text": f"{_NO}<|im_end|>"},
                ]
            ),
        ),
    ),
    StepCase(
        name="answer in a channel",
        run=lambda f: _ask(
            f,
            _said(
                f"<|channel|>analysis<|message|>Perhaps {_YES}?<|end|><|start|>assistant"
                f"<|channel|>final<|message|>{_NO}<|return|>"
            ),
        ),
    ),
)  # fmt: skip
