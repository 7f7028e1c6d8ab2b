"""Words of templates, what is mended where one is dropped, and what a dump says of its wiki."""

from pathlib import Path

import pytest

from ccx_ray.corpus.reading.record import Fault, Reason, Record
from ccx_ray.corpus.reading.sources import check_source, read_shard, source_shards
from ccx_ray.corpus.reading.wiki_site import Site
from ccx_ray.corpus.reading.wikitext import clean_wikitext
from ccx_ray.errors import UserError
from ccx_ray.study.text_spec import SourceSpec
from tests.source_files import wiki_dump, wiki_page

SITE = Site("kowiki", language="ko")


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("a {{x|{{y|{{z}}}}}} b", "a b"),
        ("a {{x|[[b|c]]\n|d = {{{e|f}}}}} g", "a g"),
        ("a {{#if:[b]|''c|d}} e {{x|f=[1]}}", "a e"),
        ("a {{x|{b}}} c", "a } c"),
        ("{{{{x}}|y}} {{x|{{{1|}}}}}a {{{1}}}{{{2|b}}}", "a b"),
        ("{{a} b {{c {{d}} e", "{{a} b {{c e"),
        ("a}} b }", "a}} b }"),
        ("{{x|[[a}} b", "b"),
        ("{{x|<nowiki>}}</nowiki>}}a", "a"),
        ("{{x|<!-- }} -->}}a", "a"),
    ],
)
def test_braces_are_paired_from_within(wikitext: str, text: str):
    assert clean_wikitext(wikitext, SITE) == text


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("{{lang|bo|ལྷ་ས་}} {{Lang | ko | 서울 }} {{틀:lang|en|a}} {{lang-ru|б}}", "ལྷ་ས་ 서울 a б"),
        ("{{lang|ko|[[서울|서울시]]}} {{lang|fr|''l'' [http://a.b c]}}", "서울시 l c"),
        ("{{lang|ko|2=가}} {{lang|ko|text=나}}", "가 나"),
        ("{{convert|93|m|ft}}이고 {{cvt|5|to|10|km|mi}}", "93 m이고 5 to 10 km"),
        ("{{formatnum:3}}번 {{formatnum:{{인구}}}}명", "3번 명"),
        ("{{nihongo|가|가가|나나}} {{nihongo|가|가가}}", "가 (가가, 나나) 가 (가가)"),
        ("{{nihongo|가}} {{nihongo||나|다}}", "가 (나, 다)"),
        ("{{zh|s=北京|p=Běijīng}} ({{zh|p=Běijīng}})", "北京, Běijīng (Běijīng)"),
        ("{{small|(가)}} {{nowrap|a {{small|b}}}} {{색|red|c}}", "(가) a b c"),
        ("{{ill|가|en|A}} {{ill|가|en|A|lt=나}} {{임시링크|다|en|D}}", "가 나 다"),
        ("{{인용문|가이다.|나}}\n{{quote|text=다}}", "가이다.\n다"),
        ("{{lc:A}} {{gaps|1|000}} {{transl|ru|ISO|b}} {{val|5|u=km}}", "A 1000 b 5 km"),
        ("[[a{{!}}b]] a{{=}}b 1990{{ndash}}2000 a{{·}}b", "b a=b 1990–2000 a · b"),
        ("{{convert|6|ft|2|in|m}} {{cvt|2|x|3|x|4|m}} {{cvt|9|m|0}}", "6 ft 2 in 2 x 3 x 4 m 9 m"),
        ("가 {{frac|1|2}} {{frac|3|1|2}} {{URL|a.b|c}} {{URL|d.e}}", "가 1/2 3 1/2 c d.e"),
        ("{{As of|2020}}, {{USS|A|B-6}} {{SS}} {{ship|HMS|C|1765}}", "As of 2020, USS A HMS C"),
        ("{{nowrap|E{{=}}mc}} {{small|a{{!}}b}} {{math|x {{=}} {{mvar|y}}}}", "E=mc a|b x = y"),
        ("(born {{bda|1980|1|2}}) {{地区用词|zh-tw=乙|zh-cn=甲}}", "(born 1980) 甲"),
        ("né le {{date|16|septembre|1880}}, {{Date|1951}} a", "né le 16 septembre 1880, 1951 a"),
        ("{{nihongo|'''가'''|가가|나{{IPA|x}}|lead=yes}} {{sortname|A|B}}", "가 (가가, 나) A B"),
        ("{{bd|1893年|12月26日|1976年|9月9日}}", "（1893年12月26日－1976年9月9日）"),
    ],
)  # fmt: skip
def test_words_of_templates_stay(wikitext: str, text: str):
    assert clean_wikitext(wikitext, SITE) == text


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("'''가'''([[나]]: {{x}}, [[다]]: 라)는", "가(다: 라)는"),
        ("가 ([[나]]: {{lang|en|}}; {{x}}) 다", "가 다"),
        ("가({{x}}, {{y}})는 나（{{x}}）다", "가는 나다"),
        ("a ({{x}}; {{y}}) b (c, {{x}}) [{{x}}] (d ({{x}}))", "a b (c) (d)"),
        ("가 ({{x}} 나, 다 {{y}} 라)", "가 (나, 다 라)"),
        ("main() [] ( ) ({{x}})() \"\" \"{{x}}\"", "main() [] ( ) () \"\""),
        ("『{{x}}』 <ref/>(<ref>a</ref>) (<math>x</math>)가", "가"),
        ("a {{x}}, b. c {{x}}. d{{x}}, e {{x}} f", "a, b. c. d, e f"),
        ("가, {{x}}, 나, {{y}}. 다", "가, 나. 다"),
        ("{{x}}, 가", "가"),
        ("* 가: {{x}}, 나: 다, 라 마: {{y}}", "나: 다"),
        ("* 넓이: {{x}}\n* 높이: 3", "높이: 3"),
        ("가의 목록은 다음과 같다: {{x}}", "가의 목록은 다음과 같다:"),
        ("가 – {{x}}\n1990년 – 2000년 {{x}}", "가\n1990년 – 2000년"),
        ("{{앵커|a}}* 가\n{{x}}\n나", "가\n\n나"),
        ("[[a|{{x}}]]는 [[{{x}}|b]] [[c{{x}}]]", "a는 b c"),
    ],
)  # fmt: skip
def test_a_dropped_template_breaks_nothing(wikitext: str, text: str):
    assert clean_wikitext(wikitext, SITE) == text


def read(file: Path, **source: object) -> list[Record | Fault]:
    spec = SourceSpec.model_validate({"path": str(file), **source})
    shards = source_shards(spec, sides=("text",), root=Path("/"), field="path")
    return [
        found
        for shard in shards
        for found in read_shard(shard, spec, sides=("text",), record_bytes=2**20)
    ]


def test_a_study_file_adds_templates_and_drops_some(tmp_path: Path):
    page = "{{단위|3|미터}} {{Lang|en|a}} {{키|값=b|가}} {{c}}"
    (tmp_path / "a.xml").write_bytes(wiki_dump([wiki_page(1, "가", page)]))
    added = {"단위": "{1} {2}", "lang": "", "키": "{없음|값}: {-1}", "C": "다"}
    (article,) = read(tmp_path / "a.xml", word_templates=added)
    assert isinstance(article, Record)
    assert article.texts == ("3 미터 b: 가 다",)


def test_templates_are_named_where_they_cannot_be(tmp_path: Path):
    with pytest.raises(ValueError, match=r"word_templates.가: '\{1' has an unmatched brace"):
        SourceSpec(path="a.xml", word_templates={"가": "{1"})
    (tmp_path / "a.jsonl").write_text('{"id": "1", "text": "a"}\n')
    spec = SourceSpec(path="a.jsonl", word_templates={"가": "{1}"})
    with pytest.raises(UserError, match=r"x: word_templates .*'a.jsonl' is jsonl"):
        check_source(spec, sides=("text",), root=tmp_path, field="x")


@pytest.mark.parametrize(
    "text",
    [
        "#redirect [[가]]", " \n#넘겨주기 [[가|나]]", "#넘겨주기:[[가]]", "#重定向[[가]]",
        "#Перенаправление [[가]]", "#WEITERLEITUNG [[가]]\n\n[[분류:나]]", "＃転送 [[가]]",
    ],
)  # fmt: skip
def test_redirects_by_the_words_of_any_wiki(tmp_path: Path, text: str):
    (tmp_path / "a.xml").write_bytes(wiki_dump([wiki_page(1, "나", text)]))
    (fault,) = read(tmp_path / "a.xml")
    assert isinstance(fault, Fault)
    assert fault.reason == Reason.REDIRECT


def test_a_list_is_no_redirect(tmp_path: Path):
    (tmp_path / "a.xml").write_bytes(wiki_dump([wiki_page(1, "나", "#가 [[나]]\n# [[다]]")]))
    (article,) = read(tmp_path / "a.xml")
    assert isinstance(article, Record)
    assert article.texts == ("가 나\n다",)


def test_a_link_with_the_wikis_own_prefix_leads_to_a_page_of_it(tmp_path: Path):
    page = "[[ko:서울|서울]]은 [[ko:수도]]이다. [[ja:ソウル]][[en:Seoul]]"
    (tmp_path / "a.xml").write_bytes(wiki_dump([wiki_page(1, "가", page)]))
    (article,) = read(tmp_path / "a.xml")
    assert isinstance(article, Record)
    assert article.texts == ("서울은 ko:수도이다.",)


def test_an_export_without_numbers_of_namespaces(tmp_path: Path):
    """As before version 0.6."""
    pages = [wiki_page(1, "틀:가", "가"), wiki_page(2, "CSI: 가", "'''{{PAGENAME}}'''는 나이다.")]
    (tmp_path / "a.xml").write_bytes(wiki_dump(pages).replace(b"<ns>0</ns>", b""))
    template, article = read(tmp_path / "a.xml")
    assert isinstance(template, Fault) and isinstance(article, Record)
    assert template.reason == Reason.NOT_AN_ARTICLE
    assert article.texts == ("CSI: 가는 나이다.",)


def test_a_dump_says_its_language_and_namespaces(tmp_path: Path):
    page = wiki_page(1, "가", "-{zh-cn:a;zh-tw:b}- [[Bestand:x.jpg|c]][[Hulp:]][[:Hulp:d]]")
    dump = wiki_dump([page]).decode()
    renamed = dump.replace(">파일<", ">Bestand<").replace(">토론<", ">Hulp<")
    other = renamed.replace('xml:lang="ko"', "").replace("kowiki", "zh_min_nanwiki")
    chinese = renamed.replace('xml:lang="ko"', "").replace("kowiki", "zhwiktionary")
    for name, content, shown in (
        ("ko", renamed, "-{zh-cn:a;zh-tw:b}-"),
        ("zh", chinese, "a"),
        ("nan", other, "-{zh-cn:a;zh-tw:b}-"),
    ):
        (tmp_path / f"{name}.xml").write_text(content, encoding="utf-8")
        (article,) = read(tmp_path / f"{name}.xml")
        assert isinstance(article, Record)
        assert article.texts == (f"{shown} [[Hulp:]]Hulp:d",)


@pytest.mark.parametrize(("language", "text"), [("de", "a"), ("ko", "Bild:x.jpga")])
def test_other_names_of_files_are_those_of_the_wiki(tmp_path: Path, language: str, text: str):
    dump = wiki_dump([wiki_page(1, "가", "[[Bild:x.jpg]]a")]).decode()
    (tmp_path / "a.xml").write_text(dump.replace('"ko"', f'"{language}"'), encoding="utf-8")
    (article,) = read(tmp_path / "a.xml")
    assert isinstance(article, Record)
    assert article.texts == (text,)
