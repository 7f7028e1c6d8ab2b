"""Which answers of models are verdicts, whatever stands around the JSON."""

import json

import pytest

from ccx_ray.frequency.judges.answers import read_answers
from ccx_ray.frequency.judges.prompting import Answer

YES = '{"holds": true, "evidence": "It is Seoul.", "reason": "said"}'
NO = '{"holds": false, "evidence": "", "reason": "not said"}'
FINAL = "<|start|>assistant<|channel|>final"


@pytest.mark.parametrize(
    "content",
    [
        YES,
        f"```json\n{YES}\n```",
        f"  ```\n{YES}```\n",
        f"My verdict:\n```JSON\n{YES}\n```\nThe document says so.",
        f"<think>\nCould be {{...}}?\n</think>\n\n{YES}",
        f"Perhaps {NO}?\n</think>\n{YES}",
        f"<think>Perhaps {NO}?</think><think>No.</think>{YES}",
        f"<thinking>Perhaps {NO}?</thinking>{YES}",
        f"[THINK]Perhaps {NO}?[/THINK]{YES}",
        f"<|begin_of_thought|>Perhaps {NO}?<|end_of_thought|>{YES}",
        f"◁think▷Perhaps {NO}?◁/think▷{YES}",
        f"<|channel|>analysis<|message|>Perhaps {NO}?<|end|>{FINAL}<|message|>{YES}<|return|>",
        f"<|channel|>analysis<|message|>No?<|end|>{FINAL} <|constrain|>json<|message|>{YES}",
        f"analysisPerhaps {NO}? No.assistantfinal{YES}",
        f"{YES}<|im_end|>",
        f"{YES}</s><s>",
        f"Sure: {YES} I hope that this helps {{a lot}}!",
        f"{{a}} {{}} {YES}",
        f"{YES}\n{YES}",
        f"[{YES}]",
        f'{{"verdicts": [{{"document": 1, {YES[1:]}]}}',
        f'{{"answer": {YES}}}',
        f"\ufeff{YES}",
        f"<|START_THINKING|>Perhaps {NO}?<|END_THINKING|><|START_RESPONSE|>{YES}<|END_RESPONSE|>",
        f"Perhaps {NO}?<|END_THINKING|>{YES}",
        f"<unused94>thought\nPerhaps {NO}?<unused95>{YES}",
        f'<think time="3">Perhaps {NO}?</think>{YES}',
        f'<details type="reasoning" done="true">\nPerhaps {NO}?\n</details>\n{YES}',
        f"<reasoning_content>Perhaps {NO}?</reasoning_content>{YES}",
        json.dumps(YES),
        json.dumps({"name": "verdict", "arguments": YES}),
        f"{YES[:-1]},\n}}",
        YES.replace("true,", "true, // so it says\n"),
        f"So: {YES.replace('true', 'True')}",
        "{'holds': True, 'evidence': 'It is Seoul.', 'reason': 'said'}",
        f"<answer>{YES}</answer>",
    ],
)
def test_an_answer_is_read(content: str) -> None:
    assert read_answers(content, 1) == [Answer(holds=True, evidence="It is Seoul.", reason="said")]


def test_line_breaks_in_strings_need_not_be_escaped() -> None:
    said = '{"holds": true,\n"evidence": "It is\nSeoul.\t",\n"reason": "x"}'
    for content in (said, f"So: {said}"):
        answer = Answer(holds=True, evidence="It is\nSeoul.\t", reason="x")
        assert read_answers(content, 1) == [answer]


def test_quotations_stay_as_they_are_in_what_is_no_json() -> None:
    said = '{"holds": true, "evidence": "a\n// b \\\' true \\/ null,", "reason": "It\'s so",}'
    answer = Answer(holds=True, evidence="a\n// b ' true / null,", reason="It's so")
    assert read_answers(said, 1) == [answer]


def test_half_of_a_surrogate_pair_can_be_kept() -> None:
    (answer,) = read_answers('{"holds": true, "evidence": "a\\ud83d", "reason": "\\udc00"}', 1)
    assert answer == Answer(holds=True, evidence="a?", reason="?")


def test_tags_in_a_quotation_are_text() -> None:
    said = {"holds": True, "evidence": "a </think> b <think> {c}", "reason": "<|channel|>"}
    (answer,) = read_answers(json.dumps(said), 1)
    assert answer is not None and answer.evidence == said["evidence"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "true",
        "Yes.",
        YES[:-1],
        f"<think>Perhaps {YES}",
        f"<|channel|>analysis<|message|>Perhaps {YES}",
        f"{YES} On reflection: {NO}",
        '{"holds": "true"}',
        '{"holds": 1}',
        '{"evidence": "It is Seoul."}',
        '{"holds": true, "evidence": ["It"]}',
        '{"holds": true, "holds": false,}',
        "{'holds': True,} {'holds': False,}",
        '{"holds": __import__("os"),}',
        '{"holds": true, "holds": false}',
        '{"holds": true or false, "evidence": "..."}',
        "[" * 100_000,
        "{" * 100_000,
        '{"a":' * 100_000,
    ],
)
def test_what_is_no_answer_is_no_verdict(content: str) -> None:
    assert read_answers(content, 1) == [None]


def test_what_is_absent_of_an_answer_is_empty() -> None:
    nothing = Answer(holds=False, evidence="", reason="")
    assert read_answers('{"holds": false, "evidence": null}', 1) == [nothing]


def test_answers_about_several_documents_are_read_by_their_numbers() -> None:
    def entry(number: object, holds: object) -> dict[str, object]:
        return {"document": number, "holds": holds, "evidence": "", "reason": ""}

    entries = [entry(4, False), entry(1, True), entry(2, True), entry(2, False)]
    entries += [entry(3, "no"), entry(9, True), entry(True, True), entry("5", True)]
    answers = read_answers(json.dumps({"verdicts": entries}), 5)
    assert [answer and answer.holds for answer in answers] == [True, None, None, False, None]
    assert read_answers(YES, 2) == [None, None]
    for said in (json.dumps(entries[:2]), "\n".join(map(json.dumps, entries[:2]))):
        assert [one and one.holds for one in read_answers(said, 4)] == [True, None, None, False]
    # Of an answer that was cut off, the entries before the end.
    cut = json.dumps({"verdicts": [entry(1, True), entry(2, False)]})[:-9]
    assert [one and one.holds for one in read_answers(cut, 2)] == [True, None]
