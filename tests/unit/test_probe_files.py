"""Probe files of other layouts become the same kind of question."""

import json
from pathlib import Path

import pytest

from ccx_ray.errors import UserError
from ccx_ray.evaluation.external.probe_files import load_probe_file
from ccx_ray.evaluation.probes import LeftOut, quality

ENGLISH = """\
Prompt\tAns\tCandidate Ans\tSubject
The sun rises in the <mask>.\teast\twest, north, south, east\tThe sun
Snow is <mask>.\twhite\tgreen, white\tSnow
"""
# As in the published Chinese file: five names over four columns, and a text without spaces.
CHINESE = """\
Prompt\tAns\tCandidate\tAns\tSubject\r
太阳从<mask>升起。\t东方\t西方, 北方, 南方, 东方\t太阳\r

雪是<mask>的。\t白色\t绿色, 白色\t雪\r
"""


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def test_bmlama_by_its_columns(tmp_path: Path):
    english = load_probe_file(write(tmp_path / "en.tsv", ENGLISH))
    chinese = load_probe_file(write(tmp_path / "zh.tsv", CHINESE))
    assert english.name == str(tmp_path / "en.tsv")
    assert [item.answer for item in english.items] == ["east", "white"]
    assert english.items[0].options == ("west", "north", "south", "east")
    assert english.items[0].fill("west") == "The sun rises in the west."
    assert chinese.items[0].fill("东方") == "太阳从东方升起。"
    assert chinese.items[0].spans("东方") == ((3, 5),)
    assert [item.gold for item in chinese.items] == [item.gold for item in english.items]
    assert all(quality(item) == () for item in (*english.items, *chinese.items))


def test_bmlama_lines_that_are_wrong(tmp_path: Path):
    path = write(tmp_path / "en.tsv", ENGLISH + "<mask> falls.\tRain\tRain\tRain\nNo.\tx\tx, y\n")
    with pytest.raises(UserError, match=r"en\.tsv, item 2 \(line 4\), options: \[\"Rain\"\]"):
        load_probe_file(path)
    probe = load_probe_file(path, lenient=True)
    assert probe.indexes == (0, 1, 3)
    assert [one.index for one in probe.left_out] == [2]
    assert quality(probe.items[2]) == ("no_blank", "identical_sentences")
    with pytest.raises(UserError, match="a header without questions"):
        load_probe_file(write(tmp_path / "none.tsv", ENGLISH.splitlines()[0]))


TEMPLATES = [
    {"relation": "P36", "template": "The capital of [X] is [Y] ."},
    {"relation": "P1", "template": "[Y], [X] and [Y]"},
]
TRIPLES = [
    {"sub_label": "Ruritania", "obj_label": "Strelsau", "obj_uri": "Q3", "lineid": 1},
    {"sub_label": "[Y]land", "obj_label": "Ypolis", "obj_uri": "Q1", "lineid": 2},
    {"sub_label": "Grand Fenwick", "obj_label": "Fenwick", "obj_uri": "Q2", "lineid": 3},
]


def mlama(folder: Path, relation: str, triples: list) -> Path:
    write(folder / "templates.jsonl", "\n".join(map(json.dumps, TEMPLATES)))
    return write(folder / f"{relation}.jsonl", "\n".join(map(json.dumps, triples)))


def test_mlama_asks_for_the_objects_of_the_relation(tmp_path: Path):
    probe = load_probe_file(mlama(tmp_path, "P36", TRIPLES))
    # In the order of their uris, whatever that of the triples.
    assert {item.options for item in probe.items} == {("Ypolis", "Fenwick", "Strelsau")}
    assert [item.gold for item in probe.items] == [2, 0, 1]
    assert probe.items[0].fill("Ypolis") == "The capital of Ruritania is Ypolis ."
    # A subject is no place to fill.
    assert probe.items[1].fill("X") == "The capital of [Y]land is X ."
    (two,) = load_probe_file(mlama(tmp_path, "P1", TRIPLES)).items[:1]
    assert two.fill("A") == "A, Ruritania and A"
    assert two.blanks == 2


def test_mlama_faults(tmp_path: Path):
    with pytest.raises(UserError, match=r"templates\.jsonl: no template of relation 'P37'"):
        load_probe_file(mlama(tmp_path, "P37", TRIPLES))
    wrong = [*TRIPLES, {"sub_label": "Nowhere"}]
    with pytest.raises(UserError, match=r"P36\.jsonl, item 3, obj_label: null is empty or"):
        load_probe_file(mlama(tmp_path, "P36", wrong))
    probe = load_probe_file(mlama(tmp_path, "P36", wrong), lenient=True)
    assert probe.left_out == (LeftOut(index=3, reason="obj_label: null is empty or not text"),)
    with pytest.raises(UserError, match="have 1 objects"):
        load_probe_file(mlama(tmp_path, "P36", TRIPLES[:1]))


DOCUMENTS = [
    {"question": "Snow is", "options": ["green", "white"], "answer": 1},
    {"question": "Grass is", "options": ["green", "white"], "answer": 0},
]
TASK = """
task: colours
tag: [test]
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}, trust_remote_code: true}}
test_split: test
output_type: multiple_choice
doc_to_text: question
doc_to_choice: options
doc_to_target: answer
metadata: {{version: 2}}
"""


def task(folder: Path, change: str = "", drop: str = "", documents: list = DOCUMENTS) -> Path:
    data = write(folder / "data.json", "".join(json.dumps(one) + "\n" for one in documents))
    lines = TASK.format(data=data).splitlines()
    kept = [line for line in lines if not drop or not line.startswith(f"{drop}:")]
    return write(folder / "task.yaml", "\n".join([*kept, change]))


def test_a_task_of_the_harness(tmp_path: Path):
    probe = load_probe_file(task(tmp_path))
    assert [item.answer for item in probe.items] == ["white", "green"]
    assert probe.items[0].context == "Snow is"
    assert probe.items[0].fill("white") == "Snow is white"
    assert probe.items[0].spans("white") == ((8, 13),)


def test_keys_may_be_included(tmp_path: Path):
    task(tmp_path).rename(tmp_path / "base.yaml")
    path = write(tmp_path / "more.yaml", "include: base.yaml\ndescription: 'Say: '\n")
    assert load_probe_file(path).items[0].context == "Say: Snow is"
    write(tmp_path / "more.yaml", "include: more.yaml\n")
    with pytest.raises(UserError, match="include each other"):
        load_probe_file(path)


@pytest.mark.parametrize(
    ("change", "drop", "expected"),
    [
        (
            "process_docs: !function code.change",
            "",
            "process_docs: !function code.change is Python",
        ),
        ("process_docs: 3", "", "process_docs: this key of lm-evaluation-harness is not supported"),
        ("num_fewshot: 5", "", "num_fewshot: 5 is not supported, only 0"),
        ("gen_prefix: 'A:'", "", "gen_prefix: this key"),
        ("output_type: loglikelihood", "output_type", "output_type: 'loglikelihood'"),
        ("", "output_type", "output_type: None is not supported"),
        ("", "doc_to_choice", "doc_to_choice: None is not supported"),
        ("doc_to_target: [0]", "doc_to_target", "doc_to_target: [0] is not supported"),
        ("doc_to_text: '{{nothing}}'", "doc_to_text", "item 0, doc_to_text: UndefinedError"),
        ("doc_to_text: '{{'", "doc_to_text", "item 0, doc_to_text: TemplateSyntaxError"),
        ("doc_to_text: '7'", "doc_to_text", 'item 0, doc_to_text: "7" is not text'),
        ("doc_to_choice: question", "doc_to_choice", 'item 0, options: "Snow is" is not a list'),
        ("doc_to_choice: 'a'", "doc_to_choice", 'item 0, doc_to_choice: "a" is not a list'),
        ("doc_to_target: '[0, 1]'", "doc_to_target", "several answers are not supported"),
        ("test_split: train", "test_split", "no split 'train' in 'json', only test"),
        ("", "test_split", "and validation_split too"),
        ("dataset_path: parquet", "dataset_path", "dataset_path: 'parquet' cannot be read"),
        ("a: [", "", "not YAML"),
        ("group: g", "", "not a task"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path: Path, change: str, drop: str, expected: str):
    with pytest.raises(UserError) as raised:
        load_probe_file(task(tmp_path, change, drop))
    assert expected in str(raised.value)
    assert str(raised.value).startswith(f"{tmp_path}/task.yaml")
    assert "\n" not in str(raised.value)


def test_templates_can_do_nothing_but_text(tmp_path: Path):
    reach = "doc_to_text: \"{{ ''.__class__.__mro__[1].__subclasses__() }}\""
    with pytest.raises(UserError, match="SecurityError"):
        load_probe_file(task(tmp_path, reach, "doc_to_text"))


def test_lenient_leaves_out_documents(tmp_path: Path):
    documents = [*DOCUMENTS, {"question": "Tar is", "options": ["black"], "answer": 0}]
    probe = load_probe_file(task(tmp_path, documents=documents), lenient=True)
    assert [one.index for one in probe.left_out] == [2]
    assert len(probe.items) == 2


ANSWERS = [
    # As an NFD keyboard, a spreadsheet and an editor leave them.
    {
        "question": "___?",
        "options": ["차", "한국"],
        "answer": "\u1112\u1161\u11ab\u1100\u116e\u11a8",
    },
    {"question": "___?", "options": ["tea ", "rice"], "answer": "tea"},
    {"question": "___?", "options": ["tea", "rice"], "answer": "\u00a0rice\u3000\ufeff"},
    {"question": "___?", "options": ["tea", "Tea"], "answer": "TEA"},
]


def test_an_answer_is_matched_without_its_encoding_and_spaces(tmp_path: Path):
    probe = load_probe_file(write(tmp_path / "ko.json", json.dumps(ANSWERS)))
    assert [item.gold for item in probe.items] == [1, 0, 1, -1]
    assert [item.answer for item in probe.items] == ["한국", "tea ", "rice", "TEA"]
    assert probe.notes == [
        "item 0, answer: '\\u1112\\u1161\\u11ab\\u1100\\u116e\\u11a8' is option 2 "
        "('\\ud55c\\uad6d') after NFC and counts as it",
        "item 1, answer: 'tea' is option 1 ('tea ') without the characters around it and counts "
        "as it",
        "item 2, answer: '\\xa0rice\\u3000\\ufeff' is option 2 ('rice') without the characters "
        "around it and counts as it",
    ]
    table = "Prompt\tAns\tCandidate Ans\nIt is <mask>.\tre\u0301d\tblue, r\u00e9d\n"
    (item,) = load_probe_file(write(tmp_path / "ko.tsv", table)).items
    assert (item.gold, item.answer) == (1, "r\u00e9d") and item.note


@pytest.mark.parametrize("around", ["\u200d", "\u200c", "\u2060", "\xad"])
def test_marks_without_width_around_an_answer(around: str, tmp_path: Path):
    item = {"question": "___?", "options": ["차", "नमक"], "answer": f"नमक{around}"}
    (read,) = load_probe_file(write(tmp_path / "hi.json", json.dumps([item]))).items
    assert (read.gold, read.answer) == (1, "नमक") and read.note


def test_a_comma_behind_the_last_candidate_is_none_of_it(tmp_path: Path):
    table = "Prompt\tAns\tCandidate Ans\nIt is <mask>.\tred\tblue, red, \nIt <mask>.\ta\ta, b,\n"
    probe = load_probe_file(write(tmp_path / "en.tsv", table))
    assert [item.options for item in probe.items] == [("blue", "red"), ("a", "b")]


def test_mlama_lines_that_cannot_be_read_are_one_line(tmp_path: Path):
    path = mlama(tmp_path, "P36", TRIPLES)
    for content, message in (
        ('{"relation": "P36", "template": null}', '"None" lacks [X] or [Y]'),
        ("[" * 100_000, "line 1: cannot be read (maximum recursion depth"),
        (
            '{"relation": "P1", "relation": "P36"}',
            "line 1: cannot be read ('relation' stands twice",
        ),
    ):
        write(tmp_path / "templates.jsonl", content)
        with pytest.raises(UserError) as raised:
            load_probe_file(path)
        assert message in str(raised.value)
        assert "\n" not in str(raised.value)


def test_bundled_probes_need_no_such_note():
    for path in (Path(__file__).resolve().parents[2] / "data" / "probes").glob("*.json"):
        assert load_probe_file(path).notes == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks(encoding: str, tmp_path: Path):
    def write_marked(name: str, content: str) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode(encoding))
        return path

    (item, *_) = load_probe_file(write_marked("ko.json", json.dumps(ANSWERS[2:]))).items
    assert item.options == ("tea", "rice")
    (item, _) = load_probe_file(write_marked("en.tsv", ENGLISH)).items
    assert item.question == "The sun rises in the <mask>."
    write_marked("templates.jsonl", json.dumps(TEMPLATES[0]) + "\n")
    lines = [json.dumps({"sub_label": sub, "obj_label": obj}) for sub, obj in ("ab", "cd")]
    # Where files were joined, a mark stands within.
    (item, _) = load_probe_file(write_marked("P36.jsonl", "\n\ufeff".join(lines))).items
    assert item.fill("b") == "The capital of a is b ."
    data = tmp_path / "data.json"
    data.write_text('{"question": "Is it", "options": ["so", "not"], "answer": "so"}\n')
    task = f"""\
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: question
doc_to_choice: options
doc_to_target: answer
"""
    (item,) = load_probe_file(write_marked("task.yaml", task)).items
    assert item.fill("so") == "Is it so"


def test_a_broken_encoding_is_named(tmp_path: Path):
    path = tmp_path / "ko.json"
    path.write_bytes(b"\xff\xfe[\x00]")
    with pytest.raises(UserError, match=r"ko\.json: byte 4 is not UTF-16; give a file in UTF-8"):
        load_probe_file(path)
