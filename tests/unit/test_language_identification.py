"""Languages that share a script with English are told from it, line by line or by document."""

import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from ccx_ray.corpus.cleaning.language_identification import check_language_codes, isolate_language
from ccx_ray.corpus.cleaning.scripts import Isolated
from ccx_ray.errors import UserError
from ccx_ray.study.text_spec import IsolationSpec
from tests.latin_script_sentences import SENTENCES

BY_LINE = IsolationSpec(strategy="language")
BY_DOCUMENT = IsolationSpec(strategy="language", level="document")
LANGUAGES = sorted(SENTENCES)


def isolated(text: str, code: str = "id", isolation: IsolationSpec = BY_LINE) -> tuple[str, str]:
    result = isolate_language(pa.array([text]), code, isolation)
    assert result.dropped is not None
    return result.text[0].as_py(), result.dropped[0].as_py()


@pytest.fixture(scope="module")
def english(project: Path) -> list[str]:
    """Sentences of the bundled parallel text, and lines of the articles."""
    with gzip.open(project / "data/parallel/en-zh.jsonl.gz", "rt", encoding="utf-8") as lines:
        sentences = [json.loads(line)["en"] for line in lines]
    with gzip.open(project / "data/mono/en.jsonl.gz", "rt", encoding="utf-8") as lines:
        articles = [line for x in lines for line in json.loads(x)["text"].split("\n")]
    paragraphs = [line.strip() for line in articles if len(line) > 60]
    chosen = random.Random(0)
    return [*chosen.sample(sentences, 400), *chosen.sample(paragraphs, 400)]


@pytest.mark.parametrize("code", LANGUAGES)
def test_each_line_is_told_from_english(code: str, english: list[str]) -> None:
    own = isolate_language(pa.array(SENTENCES[code]), code, BY_LINE)
    other = isolate_language(pa.array(english), code, BY_LINE)
    assert len(SENTENCES[code]) >= 32
    assert len([text for text in own.text.to_pylist() if text]) >= 0.97 * len(SENTENCES[code])
    assert len([text for text in other.text.to_pylist() if not text]) >= 0.99 * len(english)


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_mixed_document_is_taken_apart(code: str, english: list[str]) -> None:
    chosen = random.Random(code)
    lines = [*((line, True) for line in SENTENCES[code]), *((line, False) for line in english[:90])]
    documents = [chosen.sample(lines, 12) for _ in range(100)]
    texts = pa.array(["\n".join(line for line, _ in document) for document in documents])
    result = isolate_language(texts, code, BY_LINE)
    right = 0
    for document, kept, dropped in zip(documents, *both(result), strict=True):
        assert sorted([*kept, *dropped]) == sorted(line for line, _ in document)
        right += sum((line in kept) == own for line, own in document)
    assert right >= 0.97 * 100 * 12


def both(result: Isolated) -> tuple[list[list[str]], list[list[str]]]:
    assert result.dropped is not None
    kept, dropped = (
        [[line for line in text.split("\n") if line] for text in column.to_pylist()]
        for column in (result.text, result.dropped)
    )
    return kept, dropped


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_document_is_kept_or_dropped_whole(code: str, english: list[str]) -> None:
    sentences = SENTENCES[code]
    mostly_own = "\n".join([*sentences[:20], english[0]])
    mostly_english = "\n".join([sentences[0], *english[400:410]])
    assert isolated(mostly_own, code, BY_DOCUMENT) == (mostly_own, "")
    assert isolated(mostly_english, code, BY_DOCUMENT) == ("", mostly_english)


def test_a_long_document_is_judged_by_more_than_its_beginning(english: list[str]) -> None:
    own = "\n".join(SENTENCES["id"])
    foreign = "\n".join(english[400:])
    assert len(foreign) > 20 * len(own)
    assert isolated(f"{own}\n{foreign}", "id", BY_DOCUMENT)[0] == ""
    assert isolated(f"{english[400]}\n{own * 20}", "id", BY_DOCUMENT)[1] == ""


def test_lines_that_say_little_follow_the_line_before_them() -> None:
    text = "\n".join(
        [
            "1945",  # nothing before it: the first line that says something
            "Penduduk desa itu sebagian besar bekerja sebagai petani padi.",
            "",
            "Jakarta",
            "The inhabitants of the village are mostly rice farmers.",
            "---",
            "Logar",
            "Harga beras naik karena musim kemarau yang panjang.",
            "12.5",
        ]
    )
    lines = text.split("\n")
    assert isolated(text) == ("\n".join([*lines[:4], *lines[7:]]), "\n".join(lines[4:7]))


@pytest.mark.parametrize("text", ["Terima\nkasih\nanda", "Apa ini?"])
def test_short_lines_alone_are_judged_together(text: str) -> None:
    assert isolated(text) == (text, "")
    assert isolated("Who\nis\nthat") == ("", "Who\nis\nthat")


@pytest.mark.parametrize("isolation", [BY_LINE, BY_DOCUMENT])
@pytest.mark.parametrize("text", ["", "1945", "1945 – 1949\n\n(12 %)"])
def test_text_without_letters_stays(text: str, isolation: IsolationSpec) -> None:
    assert isolated(text, isolation=isolation) == (text, "")


def test_another_script_is_another_language() -> None:
    own = "Danau Toba terbentuk akibat letusan gunung berapi."
    assert isolated(f"{own}\n多巴湖是一个火山湖火山湖") == (own, "多巴湖是一个火山湖火山湖")


def test_script_isolation_runs_first_where_it_is_asked_for() -> None:
    isolation = IsolationSpec(strategy="language", keep=("Latin", "Common", "Inherited"))
    text = "Danau  Toba (多巴湖) terbentuk akibat letusan.\nLake Toba is a lake. 火\ne\u0301"
    result = isolate_language(pa.array([text]), "id", isolation)
    assert result.text.to_pylist() == ["Danau Toba () terbentuk akibat letusan."]
    assert result.dropped is not None
    assert result.dropped.to_pylist() == ["Lake Toba is a lake. \né"]
    assert result.removed == {"多": 1, "巴": 1, "湖": 1, "火": 1}


def test_without_script_isolation_the_text_is_still_normalized_and_tidy() -> None:
    kept, _ = isolated("  Vịnh Hạ Long đươ\u0323c  công nhận\tlà di sản \n", "vi")
    assert kept == "Vịnh Hạ Long được công nhận là di sản"


def test_the_confidence_decides() -> None:
    text = "Sultan Agung Hanyokrokusumo was born in Mataram"
    anything = IsolationSpec(strategy="language", confidence=0.0)
    certain = IsolationSpec(strategy="language", confidence=1.0)
    assert isolated(text, isolation=anything) == (text, "")
    assert isolated("Makan malam di rumah ibu", isolation=certain)[0] == ""


def test_a_language_is_told_from_several(english: list[str]) -> None:
    isolation = IsolationSpec(strategy="language", against=("en", "de", "tur"))
    texts = [*SENTENCES["id"][:20], *SENTENCES["de"][:20], *SENTENCES["tr"][:20], *english[:20]]
    kept = isolate_language(pa.array(texts), "ind", isolation).text.to_pylist()
    assert [text for text in kept if text] == SENTENCES["id"][:20]


def test_a_language_that_is_not_known_is_the_users_mistake() -> None:
    where = "languages.bo.isolation"
    with pytest.raises(UserError, match=r"^languages\.bo\.isolation\.strategy: .* support 'bo'"):
        check_language_codes(BY_LINE, "bo", where)
    unknown = IsolationSpec(strategy="language", against=("en", "xx"))
    with pytest.raises(UserError, match=r"^languages\.bo\.isolation\.against: .* support 'xx'"):
        check_language_codes(unknown, "id", where)
    itself = IsolationSpec(strategy="language", against=("eng",))
    with pytest.raises(UserError, match=r"against: 'eng' is the text's own language"):
        check_language_codes(itself, "en", where)
    check_language_codes(BY_LINE, "swa", where)
    check_language_codes(IsolationSpec(remove=("Latin",)), "bo", where)


def test_codes_are_checked_without_heavy_imports() -> None:
    program = """
import sys
from ccx_ray.corpus.cleaning.language_identification import check_language_codes
from ccx_ray.study.text_spec import IsolationSpec
check_language_codes(IsolationSpec(strategy="language"), "id", "isolation")
print(sorted({"numpy", "pyarrow", "ray", "torch"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
