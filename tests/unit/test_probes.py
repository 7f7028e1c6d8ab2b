"""The probe files as published, their quirks, and what is refused."""

import json
from pathlib import Path

import pytest

from ccx_ray.errors import UserError
from ccx_ray.evaluation.probes import ProbeItem, load_culture, load_probe, quality_notes
from ccx_ray.study.loading import load_study
from tests.probe_models import PROBES

NOTES = {path.stem: quality_notes(load_probe(path, path.stem)) for path in PROBES}


def counted(note: str) -> dict[str, int]:
    return {name: len(notes[note]) for name, notes in NOTES.items() if notes[note]}


def test_the_published_quirks_are_found():
    assert counted("no blank") == {
        "mn-culture-cloze_en": 8,
        "mn-culture-cloze_mn": 2,
        "ko-culture-cloze_ko": 1,
    }
    assert counted("several blanks") == {"ko-culture-cloze_en": 1}
    assert counted("repeated option") == {"ko-culture-cloze_en": 3, "ko-culture-cloze_ko": 1}
    assert counted("answer absent") == {"mn-culture-cloze_en": 1}
    assert counted("gold option first")["zh-culture-cloze_zh"] == 292


def test_every_run_of_underscores_is_filled():
    item = ProbeItem(question="___ and __.", options=("a\\1", "b"), answer="b")
    assert item.fill("a\\1") == "a\\1 and a\\1."
    assert ProbeItem(question="no blank", options=("a", "b"), answer="a").fill("a") == "no blank"


def test_the_shipped_cultures_are_parallel():
    study, root = load_study("laptop")
    sizes = {lang.code: len(load_culture(lang, root)[0].items) for lang in study.languages}
    assert sizes == {"ko": 598, "zh": 328, "bo": 268, "mn": 276}


GOOD = {"question": "_", "options": ["a", "b"], "answer": "a"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[", "not JSON"),
        (json.dumps(GOOD), "dict where a list of questions is expected"),
        ("[]", "an empty list where"),
        (json.dumps([GOOD, 3]), "item 1: 3 is not an object"),
        (json.dumps([{**GOOD, "options": None}]), "item 0, options: null is not a list"),
        (
            json.dumps([GOOD, GOOD, {"question": "_", "options": ["a", "b"]}]),
            "item 2: 'answer' is missing",
        ),
        (json.dumps([{**GOOD, "options": ["a"]}]), 'item 0, options: ["a"] is not a list of two'),
        (json.dumps([{**GOOD, "options": ["a", " "]}]), 'item 0, option 2: " " is not a text'),
        (json.dumps([{**GOOD, "options": ["a", 2]}]), "item 0, option 2: 2 is not a text"),
    ],
)
def test_a_wrong_shape_is_one_line(tmp_path: Path, content: str, expected: str):
    path = tmp_path / "probe.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError) as raised:
        load_probe(path, "probe")
    assert expected in str(raised.value)
    assert "probe.json" in str(raised.value)
    assert "\n" not in str(raised.value)
