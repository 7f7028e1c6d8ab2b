"""Asks an endpoint judge about documents of which the right verdicts are known.

``python -m tests.judge_client URL MODEL CACHE RUNTIME`` does it in a process that may be killed.
"""

import json
import random
import sys
import uuid
from pathlib import Path
from typing import Any

from ccx_ray.frequency.judges.factory import open_judge
from ccx_ray.frequency.judges.model_judge import ModelJudge
from ccx_ray.frequency.judges.verdict import Request, Verdict
from ccx_ray.frequency.text.documents import Document
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.study.frequency_spec import EndpointJudgeSpec, JudgeRuntime

NAMES = ("Andong", "Lhasa", "Hohhot", "Jeju", "Gyantse", "Harbin")
WORDS = tuple(f"word{number}" for number in range(20))
PROMPT = "{question} {answer} {document}"
"""Short, so that a small model takes a tenth of a second for it."""


def requests(pairs: int = 24) -> list[Request]:
    """Documents of a few words, every other one with a name, about three questions."""
    draw = random.Random(0)
    asked = []
    for number in range(pairs):
        words = draw.choices(WORDS, k=draw.randint(5, 60))
        if number % 2:
            words[draw.randrange(len(words))] = draw.choice(NAMES)
        asked.append(
            Request(
                cloze=Cloze(question=f"The tea of ___ is number {number % 3}.", answer="the hills"),
                document=Document(id=str(number), text=" ".join(words)),
            )
        )
    return asked


def judge(
    url: str,
    model: Path | str,
    cache: Path,
    *,
    run: str | None = None,
    asked: list[Request] | None = None,
    **runtime: Any,
) -> tuple[list[Verdict], dict[str, int]]:
    """The verdicts, and what the judge counted."""
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "prompt.txt").write_text(PROMPT)
    opened = open_judge(
        EndpointJudgeSpec(kind="endpoint", model=str(model), prompt="prompt.txt"),
        JudgeRuntime(url=url, **{"concurrency": 4, "max_retries": 4, **runtime}),
        (),
        None,
        root=cache,
        cache_folder=cache,
        fingerprint="abc",
        run=run or uuid.uuid4().hex,
    )
    assert isinstance(opened, ModelJudge)
    return opened.judge(requests() if asked is None else asked), dict(opened.counts)


if __name__ == "__main__":
    url, model, cache, runtime = sys.argv[1:]
    judge(url, model, Path(cache), **json.loads(runtime))
