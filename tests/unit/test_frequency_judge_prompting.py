"""What a model is shown, and where its evidence is found."""

import json
import unicodedata
from pathlib import Path

import pytest

from ccx_ray.errors import UserError
from ccx_ray.frequency.judges.factory import check_judge, judge_name
from ccx_ray.frequency.judges.prompting import (
    Pair,
    answer_schema,
    fill_prompt,
    find_evidence,
    read_prompt,
    shown_part,
)
from ccx_ray.frequency.judges.verdict import Request
from ccx_ray.frequency.text.documents import Document
from ccx_ray.frequency.text.questions import Cloze
from ccx_ray.study.frequency_spec import (
    EndpointJudgeSpec,
    JudgeRuntime,
    JudgeSpec,
    LexicalJudgeSpec,
    LocalJudgeSpec,
)

CLOZE = Cloze(question="The capital of Korea is ___.", answer="Seoul")


def test_a_document_that_spells_a_placeholder_is_shown_as_it_is() -> None:
    prompt = "{question}|{answer}|{document}|{other} {"
    text = "the {answer} to {question} is {document}"
    asked = fill_prompt(prompt, [Pair(cloze=CLOZE, text=text)])
    assert asked.startswith(
        f"The capital of Korea is ___.|Seoul|{text}|{{other}} {{\n\nAnswer with"
    )


def test_the_shipped_prompt_shows_everything_once() -> None:
    shipped = read_prompt(None, Path("/"), "x")
    asked = fill_prompt(shipped, [Pair(cloze=CLOZE, text="A document.")])
    for part in (CLOZE.question, CLOZE.answer, "A document."):
        assert asked.count(part) == 1
    several = fill_prompt(
        shipped, [Pair(cloze=CLOZE, text=text) for text in ("First one.", "Second one.")]
    )
    assert several.index("[Document 1]\nFirst one.") < several.index("[Document 2]\nSecond one.")
    assert "There are 2 documents" in several


def test_equal_content_has_an_equal_key_and_nothing_else_has() -> None:
    one = Pair(cloze=CLOZE, text="ab")
    assert one.key == Pair(cloze=Cloze(question=CLOZE.question, answer="Seoul"), text="ab").key
    others = [
        Pair(cloze=CLOZE, text="abc"),
        Pair(cloze=Cloze(question=CLOZE.question, answer="Seoula"), text="b"),
        Pair(cloze=Cloze(question=CLOZE.question + "S", answer="eoul"), text="ab"),
    ]
    assert len({one.key, *(other.key for other in others)}) == 4


@pytest.mark.parametrize(
    ("passage", "start"), [((0, 10), 0), ((500, 100), 500), ((990, 10), 900), ((0, 1000), 450)]
)
def test_the_window_stands_around_the_passage(passage: tuple[int, int], start: int) -> None:
    text = "".join(chr(0x4E00 + number) for number in range(1000))
    request = Request(
        cloze=CLOZE,
        document=Document(id="d", text=text),
        passage_start=passage[0],
        passage_length=passage[1],
    )
    shown = shown_part(request, 100)
    assert (shown.start, shown.text) == (start, text[start : start + 100])
    assert shown_part(request, 1000).text == text


def test_the_schema_is_strict() -> None:
    for schema in (answer_schema(1), answer_schema(3)["properties"]["verdicts"]["items"]):
        assert schema["additionalProperties"] is False
        assert schema["required"] == list(schema["properties"])


@pytest.mark.parametrize(
    ("text", "quoted", "found"),
    [
        ("Seoul is the capital.", "the capital", "the capital"),
        ("Seoul is the capital.", "  The CAPITAL! ", "the capital"),
        ("Seoul — “the capital” — is.", "Seoul, the capital, is", "Seoul — “the capital” — is"),
        ("Seoul is large. It is the capital of Korea.", "Seoul ... the capital of Korea",
         "the capital of Korea"),
        ("수도는 서울이다.", "수도는 서울이다", "수도는 서울이다"),
        ("བོད་ཀྱི་རྒྱལ་ས་ནི་ལྷ་ས་ཡིན།", "རྒྱལ་ས་ནི་ལྷ་ས་ཡིན།།", "རྒྱལ་ས་ནི་ལྷ་ས་ཡིན"),
        ("ᠮᠣᠩᠭᠣᠯ\u202fᠤᠨ ᠨᠡᠷ\u180eᠡ", "ᠮᠣᠩᠭᠣᠯ ᠤᠨ", "ᠮᠣᠩᠭᠣᠯ\u202fᠤᠨ"),
        ("首都は「東京」です", "首都は東京です", ""),
        ("Seoul is the capital.", "Busan is the capital.", ""),
        ("Seoul is the capital.", "...", ""),
        ("Seoul is the capital.", "", ""),
    ],
)  # fmt: skip
def test_evidence_is_found_as_the_document_spells_it(text: str, quoted: str, found: str) -> None:
    assert unicodedata.is_normalized("NFC", text)
    start, length = find_evidence(text, quoted)
    assert (text[start : start + length] if start >= 0 else "") == found
    assert start >= 0 or (start, length) == (-1, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts that are wrong, and folders that look like a causal model and like another one."""
    folder = tmp_path_factory.mktemp("judges")
    (folder / "prompt.txt").write_text("{question} {document}")
    (folder / "latin.txt").write_bytes(b"{question} \xe9")
    for name, architecture in (("causal", "Qwen2ForCausalLM"), ("bert", "BertModel")):
        (folder / name).mkdir()
        for file in ("model.safetensors", "tokenizer.json"):
            (folder / name / file).write_bytes(b"")
        (folder / name / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    return folder


def endpoint(prompt: str | None = None) -> EndpointJudgeSpec:
    return EndpointJudgeSpec(kind="endpoint", model="meta/llama-3.1-70b", prompt=prompt)


def local(folder: str) -> LocalJudgeSpec:
    return LocalJudgeSpec(kind="local", folder=folder)


HERE, THERE = {"url": "http://127.0.0.1:8000/v1"}, {"url": "https://api.example.org/v1"}


@pytest.mark.parametrize(
    ("spec", "runtime", "message"),
    [
        (endpoint("none.txt"), HERE,
         "frequency.judge.prompt: '{folder}/none.txt' cannot be read (No such file or directory); "
         "give a text file"),
        (endpoint("prompt.txt"), HERE,
         "frequency.judge.prompt: '{folder}/prompt.txt' has no {{answer}}; "
         "a prompt needs {{question}}, {{answer}} and {{document}}"),
        (endpoint("latin.txt"), HERE,
         "frequency.judge.prompt: '{folder}/latin.txt': byte 11 is not UTF-8; give a text file"),
        (endpoint(), {},
         "runtime.judge.url: missing, but frequency.judge is an endpoint; give its URL, such as "
         "http://127.0.0.1:8000/v1"),
        (endpoint(), {"url": "ftp://api.example.org"},
         "runtime.judge.url: 'ftp://api.example.org' is not the URL of an endpoint; give one such "
         "as https://api.openai.com/v1"),
        (endpoint(), THERE,
         "runtime.judge.key_variable: JUDGE_KEY is not set, but api.example.org needs a key; set "
         "it, or name the variable with the key"),
        (endpoint(), {**HERE, "max_dollars": 3},
         "runtime.judge.max_dollars: 3 needs prices; give "
         "dollars_per_million_input_tokens and dollars_per_million_output_tokens"),
        (local("none"), {},
         "frequency.judge.folder: {folder}/none: not an existing folder; "
         "give a Hugging Face model folder"),
        (local("bert"), {},
         "frequency.judge.folder: '{folder}/bert' contains a BertModel, not a causal model; "
         "give a folder that AutoModelForCausalLM opens"),
    ],
)  # fmt: skip
def test_mistakes_are_found_before_anything_is_asked(
    spec: JudgeSpec,
    runtime: dict[str, object],
    message: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with pytest.raises(UserError) as raised:
        check_judge(
            spec, JudgeRuntime(key_variable="JUDGE_KEY", **runtime), folder, "frequency.judge"
        )
    assert str(raised.value) == message.format(folder=folder)


def test_a_password_in_the_url_is_not_repeated(folder: Path) -> None:
    runtime = JudgeRuntime(url="https://me:sesame@api.example.org/v1")
    with pytest.raises(UserError, match=r"runtime\.judge\.url: .*credential") as raised:
        check_judge(endpoint(), runtime, folder, "frequency.judge")
    assert "sesame" not in str(raised.value)


def test_what_is_right_passes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "k")
    for spec, runtime in (
        (LexicalJudgeSpec(), {}),
        (endpoint(), THERE),
        (endpoint(), {"url": "http://localhost:1/v1", "key_variable": "NO_SUCH_KEY"}),
        (endpoint(), {"url": "http://[::1]:1/v1", "key_variable": "NO_SUCH_KEY"}),
        (local("causal"), {}),
    ):
        given = JudgeRuntime(**{"key_variable": "JUDGE_KEY", **runtime})
        check_judge(spec, given, folder, "frequency.judge")


def test_names_are_short() -> None:
    assert judge_name(LexicalJudgeSpec()) == "lexical 0.5"
    assert judge_name(endpoint()) == "endpoint llama-3.1-70b"
    assert judge_name(endpoint("prompts/strict.txt")) == "endpoint llama-3.1-70b strict"
    narrow = LocalJudgeSpec(kind="local", folder="/a/qwen3/", window_characters=500)
    assert judge_name(narrow) == "local qwen3 500"
