"""Script isolation against the ``regex`` module, which has tables of its own."""

import unicodedata
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
import regex

from ccx_ray.corpus.isolation import isolated_tables
from ccx_ray.corpus.scripts import SCRIPTS, check_script_names, count_by_script, isolate
from ccx_ray.errors import UserError
from ccx_ray.study.spec import IsolationSpec
from tests.small_corpus import KEEP_LATIN, REMOVE_LATIN, document_source, pair_source


def isolated(text: str, isolation: IsolationSpec = REMOVE_LATIN) -> str:
    (result,) = isolate(pa.array([text]), isolation).text.to_pylist()
    return result


def assigned_characters() -> list[str]:
    """Assigned in the interpreter's Unicode, which is older than that of RE2 and of ``regex``."""
    characters = map(chr, range(0x110000))
    return [c for c in characters if unicodedata.category(c) not in {"Cn", "Cs", "Co"}]


def test_exactly_the_latin_script_is_removed() -> None:
    latin = regex.compile(r"\p{Script=Latin}")
    # As they are in text, which is NFC: between two letters, so that no end is trimmed.
    characters = [c for c in assigned_characters() if unicodedata.is_normalized("NFC", c)]
    texts = [f"가{c}가" for c in characters if c != "\t" and not unicodedata.combining(c)]
    texts = [text for text in texts if unicodedata.is_normalized("NFC", text)]
    results = isolate(pa.array(texts), REMOVE_LATIN).text.to_pylist()
    wrong = [t for t, r in zip(texts, results, strict=True) if r != latin.sub("", t)]
    assert len(texts) > 130_000
    assert wrong == []


def test_exactly_the_scripts_named_are_kept() -> None:
    other = regex.compile(r"[^\p{Script=Latin}\p{Script=Common}\p{Script=Inherited}]")
    texts = [f"a{c}a" for c in assigned_characters() if c != "\t"]
    texts = [text for text in texts if unicodedata.is_normalized("NFC", text)]
    results = isolate(pa.array(texts), KEEP_LATIN).text.to_pylist()
    wrong = [t for t, r in zip(texts, results, strict=True) if r != other.sub("", t)]
    assert wrong == []


@pytest.mark.parametrize("letter", ["A", "é", "Ａ", "ª", "ʰ", "ﬁ", "Å", "Ⅷ", "ꟸ"])
def test_no_letter_of_the_script_hides_in_a_compatibility_form(letter: str) -> None:
    assert isolated(f"서울{letter}은") == "서울은"


@pytest.mark.parametrize("mark", ["\u180b", "\u180e", "\u202f", "\u0f0b", "\n", "\u3000"])
def test_what_other_scripts_need_survives(mark: str) -> None:
    assert isolated(f"ᠮᠣ{mark}ᠩ x ᠭ") == f"ᠮᠣ{mark}ᠩ ᠭ"


def test_marks_go_with_their_letter() -> None:
    assert isolated("가 x\u0304\u0323 나") == "가 나"


def test_korean_stays_composed() -> None:
    assert isolated("\u1112\u1161\u11abx국") == "한국"
    assert isolated("\u1112a\u1161") == "하"


def test_removed_characters_are_counted_by_script() -> None:
    result = isolate(pa.array(["한국 Korea, 한 x\u0304"]), REMOVE_LATIN)
    assert result.excluded.to_pylist() == ["Koreax"]
    assert result.marks.to_pylist() == [1]
    assert count_by_script(Counter("Koreaxπ¹")) == {"Latin": 6, "Greek": 1, "Common": 1}


def test_every_known_name_is_known_to_both_engines() -> None:
    for name in SCRIPTS:
        isolated("가", IsolationSpec(remove=(name,)))
        regex.compile(rf"\p{{Script={name}}}")


@pytest.mark.parametrize("name", ["latin", "Latn", "L", "Lu", "Any", "Klingon", "Han}|\\p{L"])
def test_an_unknown_script_is_the_users_mistake(name: str) -> None:
    with pytest.raises(UserError, match=r"^languages\.ko\.isolation\.remove: .* is not a Unicode"):
        check_script_names(IsolationSpec(remove=(name,)), "languages.ko.isolation")


def test_a_near_miss_is_named() -> None:
    with pytest.raises(UserError, match="did you mean Mongolian"):
        check_script_names(IsolationSpec(keep=("mongolian",)), "isolation")


@pytest.mark.parametrize("language", ["ko", "zh", "bo", "mn"])
def test_no_latin_letter_is_left_in_the_bundled_text(project: Path, language: str) -> None:
    latin = regex.compile(r"\p{Script=Latin}")
    texts = _kept(isolated_tables(document_source(project, language)), "text")
    sides = list(isolated_tables(pair_source(project, language)))
    texts += _kept(sides, "target")
    assert len(texts) > 1000
    assert not [text for text in texts if latin.search(text)]
    assert all(unicodedata.is_normalized("NFC", text) for text in texts)
    _assert_english(_kept(sides, "english"))


def test_no_foreign_letter_is_left_in_the_bundled_english(project: Path) -> None:
    _assert_english(_kept(isolated_tables(document_source(project, "en")), "text"))


def _kept(tables, column: str) -> list[str]:
    return [text for table in tables for text in table[column].to_pylist()]


def _assert_english(texts: list[str]) -> None:
    foreign = regex.compile(r"(?V1)[\p{L}--[\p{Script=Latin}\p{Script=Common}]]")
    assert len(texts) > 500
    assert not [text for text in texts if foreign.search(text)]
