"""Spelling variants meet, different words do not, and spans lead back to the document."""

import pytest

from ccx_ray.frequency.text.documents import cut_passages
from ccx_ray.frequency.text.normalization import normalize, origins
from ccx_ray.frequency.text.terms import terms_of


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("ＫＯＲＥＡ　２０１０", "korea 2010"),
        ("Tu’i Tonga", "tu'i tonga"),
        ("བོད་ཡིག", "བོད༌ཡིག"),  # the non-breaking tsheg
        ("བོད་་ཡིག", "བོད་ཡིག"),
        ("ᠤ᠋ᠨ", "ᠤᠨ"),  # a variation selector chooses a glyph
        ("ᠮᠣᠩᠭᠣᠯ\u202fᠤᠨ", "ᠮᠣᠩᠭᠣᠯ ᠤᠨ"),
        ("《汉语》", " 汉语 "),
    ],
)
def test_spelling_variants_are_one(left: str, right: str) -> None:
    assert normalize(left) == normalize(right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("བོད་རང", "བོདརང"),
        ("དགའ", "དག"),
        ("ལ་མ", "ལམ"),
        ("ནང་། ཡང", "ནང་ཡང"),  # a sentence border is no syllable border
        ("ᠨᠡᠷ\u180eᠡ", "ᠨᠡᠷᠡ"),  # the separated final vowel
        ("ᠨᠡᠷ\u180eᠡ", "ᠨᠡᠷ ᠡ"),
        ("ᠮᠣᠩᠭᠣᠯ\u202fᠤᠨ", "ᠮᠣᠩᠭᠣᠯᠤᠨ"),
        ("ᠬᠣᠲᠠ", "ᠬᠤᠲᠠ"),
    ],
)
def test_distinct_words_stay_distinct(left: str, right: str) -> None:
    assert normalize(left) != normalize(right)


def test_every_normalized_character_leads_back_to_its_origin() -> None:
    text = "“Ⅳ. ﬁn”  《汉—语》 བོད་་ཡིག། ᠤ᠋ᠨ\u202fᠨᠡᠷ\u180eᠡ ½\u00ad%"
    normalized, positions = normalize(text), origins(text)
    assert len(positions) == len(normalized)
    assert (positions[1:] >= positions[:-1]).all()
    for position, character in zip(positions, normalized, strict=True):
        # A run of separators stands where its first one stood.
        assert character in normalize(text[position]) or character == " "


def test_terms_follow_the_writing_system() -> None:
    text = normalize("In 2010 한국에서는 汉语的历史 བོད་རིགས་ཀྱི་རིག་གནས། ᠮᠣᠩᠭᠣᠯ\u202fᠤᠨ")
    expected = ["in", "2010", "한국", "汉语", "历史", "བོད་རིགས", "རིག་གནས", "ᠮᠣᠩᠭᠣᠯ", "ᠤᠨ"]
    assert list(terms_of(text)) == expected


def test_passages_cover_the_document_and_prefer_sentence_ends() -> None:
    text = "One two three. " * 20 + "བོད་ཡིག" * 40 + "x" * 100
    passages = cut_passages(text, 50)
    assert "".join(text[start : start + length] for start, length in passages) == text
    assert max(length for _, length in passages) <= 50
    assert text[: passages[0][1]].endswith("three. ")
    assert cut_passages("", 50) == []
