"""A local judge with a real model: right verdicts, in any window, the same from the cache."""

import shutil
from pathlib import Path

import pytest

from ccx_ray.errors import UserError
from ccx_ray.frequency.judges.factory import open_judge
from ccx_ray.frequency.judges.verdict import Judge, Request
from ccx_ray.frequency.text.documents import Document
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.study.frequency_spec import JudgeRuntime, LocalJudgeSpec
from tests.judge_client import NAMES, PROMPT, requests
from tests.judge_model import CONTEXT, judge_model
from tests.probe_models import write_random_model


def local(folder: Path, cache: Path, *, window: int = 4000, gpus: float = 0) -> Judge:
    (cache / "prompt.txt").write_text(PROMPT)
    spec = LocalJudgeSpec(
        kind="local", folder=str(folder), prompt="prompt.txt", window_characters=window
    )
    return open_judge(
        spec,
        JudgeRuntime(gpus=gpus),
        (),
        None,
        root=cache,
        cache_folder=cache,
        fingerprint="abc",
        run="test",
    )


def test_it_judges_and_remembers(tmp_path: Path) -> None:
    judge = local(judge_model(), tmp_path)
    verdicts = judge.judge(requests())
    assert [verdict.holds for verdict in verdicts] == [n % 2 == 1 for n in range(len(verdicts))]
    assert all("log-odds" in verdict.reason for verdict in verdicts)
    again = local(judge_model(), tmp_path)
    assert again.judge(requests()) == verdicts
    assert again.counts["cached"] == len(verdicts)


def test_the_evidence_is_the_sentence_with_the_questions_terms(tmp_path: Path) -> None:
    text = "word1 word2. The tea of the hills is good, says Andong! word3 word4."
    request = Request(
        cloze=Cloze(question="The tea of ___ is good.", answer="the hills"),
        document=Document(id="d", text=text),
    )
    (verdict,) = local(judge_model(), tmp_path).judge([request])
    assert verdict.holds
    end = verdict.evidence_start + verdict.evidence_length
    assert text[verdict.evidence_start : end] == "The tea of the hills is good, says Andong!"
    assert verdict.reason.endswith("; the sentence with most of the question's terms")


@pytest.mark.parametrize("window", [300, 100_000])
def test_of_a_long_document_it_reads_around_the_passage(window: int, tmp_path: Path) -> None:
    """Also where the window that is asked for is longer than the model's context."""
    words = ["word1"] * (4 * CONTEXT)
    words[3 * CONTEXT] = NAMES[0]
    text = " ".join(words)
    there = text.index(NAMES[0])
    asked = [
        Request(
            cloze=Cloze(question="The tea of ___.", answer="the hills"),
            document=Document(id="d", text=text),
            passage_start=start,
            passage_length=20,
        )
        for start in (there, 0)
    ]
    judge = local(judge_model(), tmp_path, window=window)
    assert [verdict.holds for verdict in judge.judge(asked)] == [True, False]
    assert judge.counts.get("narrowed", 0) == (2 if window > 300 else 0)


def test_any_causal_model_gives_a_verdict(tmp_path: Path) -> None:
    folder = write_random_model(tmp_path / "model")
    verdicts = local(folder, tmp_path).judge(requests())
    assert all("log-odds" in verdict.reason for verdict in verdicts)


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"runtime\.judge\.gpus: 1 is given"):
        local(judge_model(), tmp_path, gpus=1).judge(requests(1))
    long = Request(
        cloze=Cloze(question="tea " * 2 * CONTEXT, answer="x"), document=Document(id="d", text="y")
    )
    with pytest.raises(UserError, match="but the context of the model is 1024; give a shorter"):
        local(judge_model(), tmp_path).judge([long])
    broken = tmp_path / "broken"
    shutil.copytree(judge_model(), broken)
    (broken / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="no tokenizer"):
        local(broken, tmp_path).judge(requests(1))
