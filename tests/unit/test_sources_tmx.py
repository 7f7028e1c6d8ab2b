"""Translation memories as other programs write them: encodings, entities, inline codes."""

from pathlib import Path

import pytest

from ccx_ray.corpus.reading import lines as reading
from ccx_ray.corpus.reading.record import Fault, Reason, Record
from ccx_ray.corpus.reading.sources import check_source
from ccx_ray.errors import UserError
from ccx_ray.study.text_spec import SourceSpec
from tests.source_files import PAIR, faults, read, reasons, records, tmx

KO = [("en", "One."), ("ko", "첫째 문장이다.")]
ZH = [("en", "One."), ("zh", "第一句话。")]
SOURCE = SourceSpec(path="a.tmx")


def units(folder: Path, data: bytes, sides: tuple[str, ...] = PAIR) -> list[Record | Fault]:
    (folder / "a.tmx").write_bytes(data)
    check_source(SOURCE, sides=sides, root=folder, field="f")
    return read(SOURCE, folder, sides=sides)


def halves(folder: Path, data: bytes) -> list[tuple[str, ...]]:
    found = units(folder, data)
    assert not faults(found)
    return [one.texts for one in records(found)]


@pytest.mark.parametrize(
    ("declared", "codec", "unit"),
    [
        ("EUC-KR", "euc-kr", KO),
        ("euc-kr", "cp949", [("en", "One."), ("ko", "똠방각하 펲시")]),
        ("ks_c_5601-1987", "cp949", KO),
        ("GB2312", "gb2312", ZH),
        ("GB2312", "gb18030", [("en", "One."), ("zh", "镕㐂")]),
        ("GBK", "gbk", ZH),
        ("Big5", "big5", [("en", "One."), ("zh", "第一句話。")]),
        ("Shift_JIS", "cp932", [("en", "One."), ("ja", "①番目の文。")]),
        ("windows-1251", "cp1251", [("en", "One."), ("ru", "Первая.")]),
        ("UTF-16", "utf-16", KO),
        ("UTF-16", "utf-16-be", KO),
        ("UTF-16LE", "utf-16-le", KO),
        ("UTF-16", "utf-8", KO),  # converted without a new declaration
        ("ISO-8859-1", "cp1252", [("en", "“One” – €."), ("fr", "Première…")]),
        ("iso-8859-9", "cp1254", [("en", "“One”"), ("tr", "Birinci İş")]),
        ("Big5", "cp950", [("en", "One."), ("zh", "第€句話碁")]),
        ("US-ASCII", "utf-8", KO),
        ("UTF-8", "utf-8-sig", KO),
        ("utf8", "utf-8", KO),
    ],
)
def test_the_declared_encoding_is_read(
    tmp_path: Path, declared: str, codec: str, unit: list[tuple[str, str]]
):
    text = tmx([unit]).decode().replace('encoding="UTF-8"', f"encoding='{declared}'")
    (found,) = units(tmp_path, text.encode(codec), tuple(code for code, _ in unit))
    assert isinstance(found, Record)
    assert found.texts == tuple(text for _, text in unit)


@pytest.mark.parametrize("declared", ["x-user-defined", "base64", "한글", ""])
def test_an_encoding_that_is_not_known_is_named_before_anything_runs(tmp_path: Path, declared: str):
    data = tmx([KO]).replace(b'encoding="UTF-8"', f'encoding="{declared}"'.encode())
    with pytest.raises(UserError) as caught:
        units(tmp_path, data)
    line = str(caught.value)
    assert line.startswith(f"f: '{tmp_path}/a.tmx' declares the unknown encoding")
    assert line.endswith("; convert it to UTF-8 and declare UTF-8")
    assert "\n" not in line


def test_bytes_that_the_encoding_does_not_have_cost_their_unit(tmp_path: Path):
    whole = tmx([KO, [("en", "Two bad."), ("ko", "둘")], [("en", "Three."), ("ko", "셋")]])
    korean = whole.decode().replace("UTF-8", "EUC-KR").encode("euc-kr")
    for data in (whole, korean):
        found = units(tmp_path, data.replace(b"Two bad", b"Two \xff\xfe bad"))
        assert reasons(found) == [Reason.UNREADABLE]
        assert faults(found)[0].position == 2
        assert "\ufffd" in faults(found)[0].text
        assert len(records(found)) == 2


def test_characters_that_xml_forbids_cost_their_unit(tmp_path: Path):
    bad = ["a\x01b", "a&#x1F;b", "a&#0;b", "a\ufffeb", "a&#xD800;b", "a&#x110000;b"]
    found = units(tmp_path, tmx([[("en", text), ("ko", "글")] for text in bad] + [KO]))
    assert reasons(found) == [Reason.UNREADABLE] * len(bad)
    assert len(records(found)) == 1
    assert halves(tmp_path, tmx([[("en", "a&#9;b&#x1F600;"), ("ko", "&#44032;")]])) == [
        ("a\tb😀", "가")
    ]


@pytest.mark.parametrize("doctype", [True, False])
@pytest.mark.parametrize("standalone", ["", ' standalone="yes"'])
def test_entities_that_nothing_declares(tmp_path: Path, doctype: bool, standalone: str):
    data = tmx([[("en", "A&nbsp;b&eacute; &amp;lt; &LT;c&foo.bar;"), ("ko", "가&hellip;나")]])
    data = data.replace(b'"UTF-8"', f'"UTF-8"{standalone}'.encode())
    if not doctype:
        data = data.replace(b'<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n', b"")
    assert halves(tmp_path, data) == [("A\xa0bé &lt; <c&foo.bar;", "가…나")]


def test_entities_that_the_file_declares(tmp_path: Path):
    subset = b'<!DOCTYPE tmx SYSTEM "tmx14.dtd" [<!ENTITY eacute "E"><!ENTITY own "mine">]>'
    data = tmx([[("en", "&eacute;&own;&nbsp;x"), ("ko", "가")]])
    data = data.replace(b'<!DOCTYPE tmx SYSTEM "tmx14.dtd">', subset)
    assert halves(tmp_path, data) == [("Emine\xa0x", "가")]


LITERAL = "Tom &amp; Jerry &foo; &nbsp;a&b <b>x</b>"


@pytest.mark.parametrize("block", [2**20, 1, 3, 7])
def test_ampersands_and_brackets_that_are_text(
    tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reading, "BLOCK", block)
    english = (
        f"R & D, AT&T, a&& b&#; c&lt;d&, <![CDATA[{LITERAL}]]>&amp;<![CDATA[]]><![CDATA[]]]]>&"
    )
    text = f"R & D, AT&T, a&& b&#; c<d&, {LITERAL}&]]&"
    data = tmx([[("en", english), ("ko", "글<![CDATA[&\x01]]>")], [("en", english), ("ko", "글")]])
    (tmp_path / "a.tmx").write_bytes(data)
    found = read(SOURCE, tmp_path, sides=PAIR)
    assert reasons(found) == [Reason.UNREADABLE]
    assert [one.texts for one in records(found)] == [(text, "글")]


def test_blank_lines_before_the_declaration(tmp_path: Path):
    assert halves(tmp_path, b"\n \r\n" + tmx([KO])) == [(KO[0][1], KO[1][1])]


@pytest.mark.parametrize(
    ("segment", "text"),
    [
        ("First line<br/>second<lb />third", "First line second third"),
        ('First line<ph x="1">&lt;br/&gt;</ph>second', "First line second"),
        ("Press <ph>{1}</ph>now", "Press now"),
        ("One.<ph/>Two", "One. Two"),
        ("fifty<ph/>, sixty<ph/>.", "fifty, sixty."),
        ("a<ut>{\\line}</ut>b", "a b"),
        ('the<x id="2"/>key', "the key"),
        ("say<ph/>(so)", "say (so)"),
        ("(<ph/>so)", "(so)"),
        ("<ph/>start<ph/>", "start"),
        ("well-<ph/>known", "well-known"),
        ("第一行<ph>&lt;br&gt;</ph>第二行", "第一行 第二行"),
        ("ᠮᠣᠩᠭᠣᠯ<ph/>ᠪᠢᠴᠢᠭ", "ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ"),
        ("བོད་<ph/>ཡིག", "བོད་ཡིག"),
        ('un<bpt i="1">&lt;b&gt;</bpt>believ<ept i="1">&lt;/b&gt;</ept>able', "unbelievable"),
        ("un<ph>&lt;b&gt;</ph>believ<ph>&lt;/b&gt;</ph>able", "unbelievable"),
        ('H<it pos="begin">&lt;sub&gt;</it>2', "H2"),
        ("one<it>&lt;br&gt;</it>two", "one two"),
        ('in<g id="1">side</g>, <hi>hig</hi>h', "inside, high"),
        ("a<ph>code<sub>an alt text</sub>code</ph>b", "a b"),
        ("a<ph/><bpt/>b<ept/>", "a b"),
        ("a<ph/>&lt;b", "a&lt;b".replace("&lt;", "<")),
    ],
)
def test_inline_codes_do_not_glue_words_together(tmp_path: Path, segment: str, text: str):
    assert halves(tmp_path, tmx([[("en", segment), ("ko", "글")]])) == [(text, "글")]


def test_blocks_cut_within_characters_and_references(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    unit = [("en", "A&nbsp;B&#x1F;"), ("ko", "첫째&amp;둘째&hellip;")]
    data = tmx([unit, KO]).decode().replace("UTF-8", "EUC-KR").encode("euc-kr")
    for size in range(1, 24):
        monkeypatch.setattr(reading, "BLOCK", size)
        (tmp_path / "a.tmx").write_bytes(data)
        found = read(SOURCE, tmp_path, sides=PAIR)
        assert reasons(found) == [Reason.UNREADABLE]
        assert faults(found)[0].text.splitlines()[1] == "첫째&둘째…"
        assert len(records(found)) == 1
