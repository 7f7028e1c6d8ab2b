"""The probe files as published, their quirks, and what is refused."""

import json
from collections import Counter
from pathlib import Path

import pytest

from ccx_ray.errors import UserError
from ccx_ray.evaluation.probes import LeftOut, ProbeItem, load_culture, load_probe, quality
from ccx_ray.evaluation.steps import _probe_files, filled_questions
from ccx_ray.study.loading import load_study
from ccx_ray.study.spec import QualityKind
from ccx_ray.study.text_spec import LanguageSpec
from tests.probe_models import PROBES

QUALITIES = {
    path.stem: Counter(kind for item in load_probe(path, path.stem).items for kind in quality(item))
    for path in PROBES
}


def counted(kind: QualityKind) -> dict[str, int]:
    return {name: kinds[kind] for name, kinds in QUALITIES.items() if kinds[kind]}


def test_the_published_quirks_are_found():
    assert counted("no_blank") == {
        "mn-culture-cloze_en": 8,
        "mn-culture-cloze_mn": 2,
        "ko-culture-cloze_ko": 1,
    }
    assert counted("several_blanks") == {"ko-culture-cloze_en": 1}
    assert counted("repeated_option") == {"ko-culture-cloze_en": 3, "ko-culture-cloze_ko": 1}
    assert counted("answer_absent") == {"mn-culture-cloze_en": 1}
    # Those without a blank, and those that repeat an option.
    assert sum(counted("identical_sentences").values()) == 11 + 4
    chinese = next(path for path in PROBES if path.stem == "zh-culture-cloze_zh")
    assert sum(item.gold == 0 for item in load_probe(chinese, "zh-zh").items) == 292


def test_every_run_of_underscores_is_filled():
    item = ProbeItem(question="___ and __.", options=("a\\1", "b"), answer="b")
    assert item.fill("a\\1") == "a\\1 and a\\1."
    assert ProbeItem(question="no blank", options=("a", "b"), answer="a").fill("a") == "no blank"


def test_the_shipped_cultures_are_parallel():
    study, root = load_study("laptop")
    sizes = {
        lang.code: {len(probe.items) for probe in load_culture(lang, root, base="en").values()}
        for lang in study.languages
    }
    assert sizes == {"ko": {598}, "zh": {328}, "bo": {268}, "mn": {276}}


GOOD = {"question": "_", "options": ["a", "b"], "answer": "a"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[", "not JSON"),
        (json.dumps(GOOD), "contains a dict; a list of questions is expected"),
        ("[]", "contains an empty list"),
        (json.dumps([GOOD, 3]), "item 1: 3 is not an object"),
        ('[{"answer": "a", "answer": "b"}]', "'answer' stands twice in an object"),
        (
            json.dumps([{**GOOD, "options": ["a", "\ud83d"]}]),
            'option 2: "\\ud83d" contains half of a',
        ),
        ("[" * 100_000, "cannot be read (maximum recursion depth"),
        (f"[{'9' * 5000}]", "cannot be read (Exceeds the limit (4300 digits)"),
        (json.dumps([{**GOOD, "options": None}]), "item 0, options: null is not a list"),
        (
            json.dumps([GOOD, GOOD, {"question": "_", "options": ["a", "b"]}]),
            "item 2: 'answer' is missing",
        ),
        (json.dumps([{**GOOD, "options": ["a"]}]), 'item 0, options: ["a"] is not a list of two'),
        (
            json.dumps([{**GOOD, "options": ["a", " "]}]),
            'item 0, option 2: " " is empty or not',
        ),
        (json.dumps([{**GOOD, "options": ["a", 2]}]), "item 0, option 2: 2 is empty or not text"),
        (json.dumps([GOOD, {**GOOD, "group": 3}]), "item 1, group: 3 is empty or not text"),
        (json.dumps([{**GOOD, "group": ""}]), 'item 0, group: "" is empty or not text'),
        (json.dumps([{**GOOD, "cluster": ["a"]}]), 'item 0, cluster: ["a"] is empty or not text'),
        (json.dumps([{**GOOD, "cluster": None}]), "item 0, cluster: null is empty or not text"),
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


def test_lenient_leaves_out_and_lists_what_is_wrong(tmp_path: Path):
    path = tmp_path / "probe.json"
    entries = [3, GOOD, {**GOOD, "options": ["a", ""]}, {**GOOD, "question": "b _"}]
    path.write_text(json.dumps(entries), encoding="utf-8")
    probe = load_probe(path, "probe", lenient=True)
    assert probe.indexes == (1, 3)
    assert [item.question for item in probe.items] == ["_", "b _"]
    assert probe.left_out == (
        LeftOut(index=0, reason="3 is not an object with question, options, answer"),
        LeftOut(index=2, reason='option 2: "" is empty or not text'),
    )
    path.write_text(json.dumps(entries[:1]), encoding="utf-8")
    with pytest.raises(UserError, match="none of its 1 items can be scored"):
        load_probe(path, "probe", lenient=True)


@pytest.mark.parametrize("content", ["[", json.dumps(GOOD), "[]"])
def test_a_file_that_is_no_list_has_nothing_to_leave_out(tmp_path: Path, content: str):
    path = tmp_path / "probe.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"probe\.json"):
        load_probe(path, "probe", lenient=True)


def test_results_of_the_base_language_are_named_by_its_code():
    laptop, root = load_study("laptop")
    base = laptop.base_language.model_copy(update={"code": "de"})
    study = laptop.model_copy(update={"base_language": base})
    language = study.language("bo")
    names = [name for name, _ in _probe_files(study, language, root)]
    assert names == ["bo-de", "bo-bo"]
    assert [probe.name for probe in load_culture(language, root, base="de").values()] == names
    assert list(filled_questions(study, root, language)) == ["de", "bo"]


def bo_files(root: Path, *contents: list[dict[str, object]]) -> LanguageSpec:
    """A culture's questions in the base language and in its own."""
    language = load_study("laptop")[0].language("bo")
    for file, content in zip(("en.json", "bo.json"), contents, strict=True):
        (root / file).write_text(json.dumps(content), encoding="utf-8")
    probes = language.probes.model_copy(update={"english": "en.json", "target": "bo.json"})
    return language.model_copy(update={"probes": probes})


def test_an_item_may_have_a_group_and_a_cluster(tmp_path: Path):
    asked = [GOOD, {**GOOD, "group": "both", "cluster": "Lhasa"}, {**GOOD, "cluster": "Lhasa"}]
    language = bo_files(tmp_path, asked, asked)
    for probe in load_culture(language, tmp_path, base="en").values():
        found = [(item.group, item.cluster) for item in probe.items]
        assert found == [("", ""), ("both", "Lhasa"), ("", "Lhasa")]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"group": "neither"}, '"neither", but the same item of {0} has "both"'),
        ({"group": "both", "cluster": "Lhasa"}, '"Lhasa", but the same item of {0} has null'),
    ],
)
def test_both_versions_of_an_item_have_the_same_group_and_cluster(
    tmp_path: Path, change: dict[str, object], expected: str
):
    language = bo_files(tmp_path, [GOOD, {**GOOD, "group": "both"}], [GOOD, {**GOOD, **change}])
    with pytest.raises(UserError) as raised:
        load_culture(language, tmp_path, base="en")
    assert f"bo.json, item 1, {list(change)[-1]}: " in str(raised.value)
    assert expected.format(tmp_path / "en.json") in str(raised.value)
    assert "\n" not in str(raised.value)
