"""What the lexical judge accepts, in each of the five scripts, and what it must refuse."""

from collections import Counter

import pytest

from ccx_ray.frequency.judges.lexical import LexicalJudge, question_terms
from ccx_ray.frequency.judges.verdict import Request, Verdict
from ccx_ray.frequency.text.documents import Document
from ccx_ray.frequency.text.questions import Cloze

FILLER = [f"In the {i} of a there are is one" for i in range(30)]


def verdict(question: str, answer: str, text: str, *, salient_share: float = 0.5) -> Verdict:
    """The verdict on ``text`` in a corpus where nothing else is about the question."""
    documents = [Document(id=str(i), text=t) for i, t in enumerate([text, *FILLER])]
    frequencies = Counter(term for document in documents for term in document.terms)
    judge = LexicalJudge(frequencies, documents=len(documents), salient_share=salient_share)
    cloze = Cloze(question=question, answer=answer)
    verdicts = judge.judge([Request(cloze=cloze, document=document) for document in documents])
    assert len(verdicts) == len(documents)
    return verdicts[0]


@pytest.mark.parametrize(
    ("question", "answer", "text", "evidence"),
    [
        ("There are ___ seasons in Korea.", "4", "Korea has 4 seasons.", "4"),
        ("Kimchi is eaten in ___.", "Korea", "KIMCHI, a dish of Korea's south", "Korea"),
        ("강원도는 한반도의 ___에 위치해 있다.", "동쪽", "강원도가 한반도 동쪽으로 뻗는다", "동쪽"),
        ("한국인의 주식은 ___이다.", "밥", "한국인의 주식은 밥이다.", "밥"),
        ("송편의 재료는 ___이다.", "쌀", "송편의 재료는 쌀만은 아니다", "쌀"),
        ("汉族的文化发源地主要位于____中下游地区。", "黄河", "汉族文化发源于黄河的中下游", "黄河"),
        ("བོད་ཀྱི་རྒྱལ་ས་ནི་____ཡིན།", "ལྷ་ས", "བོད་ཀྱི་རྒྱལ་ས་ལྷ་སའི་ནང་།", "ལྷ་ས"),
        ("ᠮᠣᠩᠭᠣᠯ ______ ᠣᠷᠣᠨ", "ᠥᠪᠥᠷ\u202fᠤᠨ", "ᠮᠣᠩᠭᠣᠯ ᠣᠷᠣᠨ ᠥᠪᠥᠷ\u202fᠲᠦ", "ᠥᠪᠥᠷ"),
    ],
)
def test_finds_the_answer_near_the_question(
    question: str, answer: str, text: str, evidence: str
) -> None:
    found = verdict(question, answer, text)
    assert found.holds, found.reason
    start, length = found.evidence_start, found.evidence_length
    assert text[start : start + length] == evidence


@pytest.mark.parametrize(
    ("question", "answer", "text"),
    [
        ("There are ___ seasons in Korea.", "4", "Korea has seasons since 2014, 43 of them"),
        ("The rate in Korea is ___.", "79%", "The rate in Korea: 79.7%"),
        ("In Korea one eats ___.", "rice", "In Korea the price of what one eats"),
        ("한국의 ___은 춥다.", "눈", "한국의 눈물은 춥다"),
        ("བོད་ཀྱི་རྒྱལ་ས་ནི་____ཡིན།", "ལ", "བོད་ཀྱི་རྒྱལ་ས་ལམ"),
        ("ᠮᠣᠩᠭᠣᠯ ______ ᠣᠷᠣᠨ", "ᠨᠡᠷ", "ᠮᠣᠩᠭᠣᠯ ᠣᠷᠣᠨ ᠨᠡᠷ\u180eᠡ"),
    ],
)
def test_a_part_of_another_word_is_not_the_answer(question: str, answer: str, text: str) -> None:
    assert not verdict(question, answer, text).holds


def test_the_answer_alone_is_not_the_knowledge() -> None:
    found = verdict("The capital of Korea is ___.", "Seoul", "Seoul has a river.")
    assert not found.holds
    far = "The capital of Korea. " + "word " * 300 + "Seoul."
    assert not verdict("The capital of Korea is ___.", "Seoul", far).holds


def test_the_share_of_salient_terms_decides() -> None:
    question, text = "The old capital of Korea is ___.", "Seoul in Korea"
    assert verdict(question, "Seoul", text, salient_share=0.1).holds
    assert not verdict(question, "Seoul", text, salient_share=0.9).holds


def test_nothing_to_look_for_is_said() -> None:
    assert verdict("Korea ___", "...", "Korea ...").reason == "the answer has no letter"


def test_every_blank_is_filled_and_a_missing_one_is_not_lost() -> None:
    assert Cloze(question="A __ b ____.", answer=r"\1x").statement == r"A \1x b \1x."
    assert Cloze(question="No blank.", answer="yes").statement == "No blank. yes"


def test_the_terms_of_a_question_are_without_those_of_its_answer() -> None:
    asked = Cloze(question="The capital of Korea is ___ city.", answer="Seoul City")
    assert question_terms(asked) == {"the", "capital", "of", "korea", "is"}
