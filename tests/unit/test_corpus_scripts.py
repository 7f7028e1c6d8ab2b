"""Script isolation against plain Python and the ``regex`` module, which has tables of its own."""

import gzip
import json
import re
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ccx_ray.corpus.cleaning.scripts import (
    SCRIPTS,
    Isolated,
    check_script_names,
    count_by_script,
    holds_letters,
    isolate,
)
from ccx_ray.errors import UserError
from ccx_ray.study.text_spec import IsolationSpec

KEEP_LATIN = IsolationSpec(keep=("Latin", "Common", "Inherited"))
REMOVE_LATIN = IsolationSpec(remove=("Latin",))


def isolated(text: str, isolation: IsolationSpec = REMOVE_LATIN) -> str:
    (result,) = isolate(pa.array([text]), isolation).text.to_pylist()
    return result


@cache
def characters_by_script() -> dict[str, list[str]]:
    """Every assigned code point, by the script that ``regex`` gives it."""
    everything = "".join(chr(c) for c in range(0x110000) if c not in range(0xD800, 0xE000))
    assigned = "".join(regex.findall(r"[^\p{Cn}\p{Co}]+", everything))
    names = sorted(SCRIPTS - {"Unknown"})
    return {name: regex.findall(rf"\p{{Script={name}}}", assigned) for name in names}


@cache
def script_by_character() -> dict[str, str]:
    return {c: name for name, characters in characters_by_script().items() for c in characters}


def slowly(text: str, isolation: IsolationSpec) -> tuple[str, Counter[str], int]:
    """What ``isolate`` must do, one character after the other."""
    kept, removed, marks, letter_went = "", Counter(), 0, False
    for character in unicodedata.normalize("NFC", text):
        script = script_by_character().get(character, "Unknown")
        excluded = script not in isolation.keep if isolation.keep else script in isolation.remove
        if excluded:
            removed[character] += 1
            letter_went = True
        elif letter_went and script == "Inherited":
            marks += 1
        else:
            kept += character
            letter_went = False
    tidy = re.sub(r"[ \t]+", " ", kept).strip(" \r\n")
    return unicodedata.normalize("NFC", tidy), removed, marks


def assert_as_slowly(result: Isolated, texts: list[str], isolation: IsolationSpec) -> None:
    expected = [slowly(text, isolation) for text in texts]
    assert result.text.to_pylist() == [text for text, _, _ in expected]
    assert result.removed == sum((removed for _, removed, _ in expected), Counter())
    assert result.marks == sum(marks for _, _, marks in expected)


@pytest.mark.parametrize("mode", ["remove", "keep"])
def test_every_assigned_code_point_of_every_script(mode: str) -> None:
    """Each of the 172,873 is a text of its own, from which every script is removed once."""
    composed = {c: unicodedata.normalize("NFC", c) for c in script_by_character()}
    single = [c for c, text in composed.items() if len(text) == 1]
    double = sorted(composed.keys() - set(single))  # such as U+0958
    texts = pa.array([*single, *double])
    scripts = pa.array([script_by_character()[composed[c]] for c in single]).dictionary_encode()
    stripped = pa.array([composed[c].strip(" \t\r\n") for c in single])
    compared, wrong = 0, []
    for name in characters_by_script():
        named = (name,) if mode == "remove" else tuple(SCRIPTS - {name})
        isolation = IsolationSpec(**{mode: named})
        expected = pc.if_else(pc.equal(scripts, name), "", stripped)
        slow = pa.array([slowly(c, isolation)[0] for c in double])
        result = isolate(texts, isolation).text
        differs = pc.not_equal(result, pa.concat_arrays([expected, slow]))
        wrong += [(name, character) for character in texts.filter(differs).to_pylist()]
        compared += len(texts)
    assert wrong == []
    assert compared == 177 * 172_873


SOME_OF_ALL = st.sampled_from(sorted(characters_by_script())).flatmap(
    lambda name: st.sampled_from(characters_by_script()[name])
)
"""Any assigned character, each script as often as another."""
AWKWARD = st.sampled_from(
    [
        *"aA éＡªﬁ\u212a",  # Latin, plain and in compatibility forms
        *"\u0301\u0323\u0327\u0308\u0338\u3099\u200d\ufe0f\u0344",  # marks: Inherited
        *"\u0363\u0f71\u0f72\u0f74\u0f73\u0f43\u05b4\u05d9\u0653\u0627",  # marks of scripts
        *"\u1112\u1161\u11ab한가국",  # Hangul, composed and not
        *" \t\n\r\u00a0\u3000\u2000\u202f",
        *"\u0f0b\u180b\u180e\u30fc\u0378\ue000\U0002f800\U00016d67\U00016d68",
    ]
)
SOME_SCRIPTS = st.lists(
    st.sampled_from(["Latin", "Common", "Inherited", "Hangul", "Tibetan", "Hebrew", "Unknown"])
    | st.sampled_from(sorted(SCRIPTS)),
    min_size=1,
    max_size=4,
).map(tuple)


@settings(max_examples=500, deadline=None)
@given(
    texts=st.lists(st.text(AWKWARD | AWKWARD | SOME_OF_ALL, max_size=30), max_size=6),
    isolation=st.sampled_from([KEEP_LATIN, REMOVE_LATIN])
    | SOME_SCRIPTS.map(lambda names: IsolationSpec(keep=names))
    | SOME_SCRIPTS.map(lambda names: IsolationSpec(remove=names)),
)
@example(texts=["a", "\u0301", "  ", " b", "", "x\n"], isolation=REMOVE_LATIN)
@example(texts=["\u0301a\u0301\u0301 b", "a"], isolation=REMOVE_LATIN)
@example(texts=["가 \u05d9a\u05b4 a a\ta  한"], isolation=REMOVE_LATIN)
@example(texts=[], isolation=REMOVE_LATIN)
def test_isolation_does_as_plain_python_does(texts: list[str], isolation: IsolationSpec) -> None:
    result = isolate(pa.array(texts, pa.string()), isolation)
    assert_as_slowly(result, texts, isolation)
    assert all(unicodedata.is_normalized("NFC", text) for text in result.text.to_pylist())
    again = isolate(result.text, isolation)
    assert not again.removed


def test_a_slice_of_a_larger_array_is_isolated_alone() -> None:
    texts = pa.array(["x가", "나 x", "다", "x라"])
    result = isolate(texts.slice(1, 2), REMOVE_LATIN)
    assert result.text.to_pylist() == ["나", "다"]
    assert result.removed == {"x": 1}


def test_many_texts_at_once_are_isolated_one_by_one() -> None:
    """More characters than are looked at together, and one text that is longer than that."""
    texts = [f"{i}가 x\u0301 {'나 a' * (i % 50)}" for i in range(5000)] + ["가\u0301xy " * 50_000]
    assert_as_slowly(isolate(pa.array(texts), REMOVE_LATIN), texts, REMOVE_LATIN)


@pytest.mark.parametrize("letter", ["A", "é", "Ａ", "ª", "ʰ", "ﬁ", "Å", "Ⅷ", "ꟸ"])
def test_no_letter_of_the_script_hides_in_a_compatibility_form(letter: str) -> None:
    assert isolated(f"서울{letter}은") == "서울은"


@pytest.mark.parametrize("mark", ["\u180b", "\u180e", "\u202f", "\u0f0b", "\n", "\u3000", "\ufe00"])
def test_what_other_scripts_need_survives(mark: str) -> None:
    assert isolated(f"ᠮᠣ{mark}ᠩ x ᠭ") == f"ᠮᠣ{mark}ᠩ ᠭ"


def test_the_prolonged_sound_mark_is_common() -> None:
    assert isolated("コーヒー", IsolationSpec(remove=("Katakana",))) == "ーー"


def test_marks_go_with_their_letter() -> None:
    assert isolated("가 x\u0304\u0323 나") == "가 나"


def test_a_mark_with_its_own_letter_stays() -> None:
    assert isolated("か\u3099x") == "が"
    assert isolated("가\u0301") == "가\u0301"


def test_korean_stays_composed() -> None:
    assert isolated("\u1112\u1161\u11abx국") == "한국"
    assert isolated("\u1112a\u1161") == "하"


def test_a_million_marks_on_one_letter_take_no_longer_than_letters() -> None:
    started = time.perf_counter()
    assert isolated("가x" + "\u0304" * 1_000_000 + "나") == "가나"
    assert time.perf_counter() - started < 5


def test_removed_characters_are_counted_by_script() -> None:
    result = isolate(pa.array(["한국 Korea, 한 x\u0304", "없음", "ko"]), REMOVE_LATIN)
    assert result.removed == Counter("Koreaxko")
    assert result.marks == 1
    assert count_by_script(Counter("Koreaxπ¹\ue000")) == {
        "Latin": 6,
        "Greek": 1,
        "Common": 1,
        "Unknown": 1,
    }


def test_letters_of_every_script_are_letters() -> None:
    texts = ["a", "가", "བ", "ᠮ", "世", "1, 2.", "་", "", "\u180e", "12ª"]
    assert holds_letters(pa.array(texts)).to_pylist() == [True] * 5 + [False] * 4 + [True]


@pytest.mark.parametrize("name", ["latin", "Latn", "L", "Lu", "Any", "Klingon", "Han}|\\p{L"])
def test_an_unknown_script_is_the_users_mistake(name: str) -> None:
    with pytest.raises(UserError, match=r"^languages\.ko\.isolation\.remove: .* is not a Unicode"):
        check_script_names(IsolationSpec(remove=(name,)), "languages.ko.isolation")


def test_a_near_miss_is_named() -> None:
    with pytest.raises(UserError, match="did you mean Mongolian"):
        check_script_names(IsolationSpec(keep=("mongolian",)), "isolation")


def test_a_wrong_name_is_found_without_heavy_imports() -> None:
    program = """
import sys
from ccx_ray.corpus.cleaning.scripts import check_script_names
from ccx_ray.study.text_spec import IsolationSpec
check_script_names(IsolationSpec(keep=("Latin",)), "isolation")
print(sorted({"numpy", "pyarrow", "ray", "torch"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def bundled(project: Path, name: str, column: str) -> list[str]:
    with gzip.open(project / "data" / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line)[column] for line in lines]


@pytest.mark.parametrize("language", ["en", "ko", "zh", "bo", "mn"])
def test_no_foreign_letter_is_left_in_the_bundled_text(project: Path, language: str) -> None:
    isolation = KEEP_LATIN if language == "en" else REMOVE_LATIN
    texts = bundled(project, f"mono/{language}.jsonl.gz", "text")
    if language != "en":
        texts += bundled(project, f"parallel/en-{language}.jsonl.gz", language)
    assert len(texts) > 500
    result = isolate(pa.array(texts), isolation)
    assert_as_slowly(result, texts, isolation)
    foreign = {"en": r"(?V1)[\p{L}--[\p{Script=Latin}\p{Script=Common}]]"}
    pattern = regex.compile(foreign.get(language, r"\p{Script=Latin}"))
    assert not [text for text in result.text.to_pylist() if pattern.search(text)]
