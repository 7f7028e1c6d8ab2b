"""Wikitext to plain text, rule by rule as MediaWiki shows a page."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccx_ray.corpus.reading.wikitext import Site, clean_wikitext
from tests.wikitext_page import TEXT, WIKITEXT

SITE = Site("kowiki", language="ko")


def test_a_page_with_all_that_articles_hold():
    assert clean_wikitext(WIKITEXT, SITE) == TEXT


def check(wikitext: str, text: str, site: Site = SITE) -> None:
    assert clean_wikitext(wikitext, site) == text
    # The same whatever else is on the page.
    assert clean_wikitext(f"{wikitext}\n\n<nowiki/>", site) == text
    assert clean_wikitext(f"{wikitext}\n\n[[Category:X]]{{{{x}}}}", site) == text


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("a<ref>{{cite|x}} [[y]]</ref><ref name='z'/>, b", "a, b"),
        ("a<ref name=\"x\">\n* b\n</ref> c", "a c"),
        ("== a ==\n{{x}}\n== b ==\n=== c ===\nd\n=== e ===\n[[분류:e]]\n", "b\n\nc\n\nd"),
        ("a\n\n\n\n{{x}}\n\nb\nc", "a\n\nb\nc"),
        ("a <math>x^2</math><chem>H2O</chem> b", "a b"),
        ("<poem>\na\nb\n</poem>", "a\nb"),
        ("\u3000a\u00a0b\u202fc", "a b\u202fc"),
        ("<gallery>\nFile:a.jpg|b\n</gallery>\n<references />\n<templatestyles src='x'/>", ""),
        ("----\na\n-----b\n---", "a\nb\n---"),
        # MediaWiki shows these titles, below which nothing was dropped.
        ("==a==\n\n===b===  \n\n== c ==\nd", "a\n\nb\n\nc\n\nd"),
        ("a\n== b ==\n==c==\n<references/>\n", "a\n\nb"),
    ],
)  # fmt: skip
def test_what_is_no_prose_goes(wikitext: str, text: str):
    check(wikitext, text)


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("a <!-- b -->c<!-- d\n--> e", "a c e"),
        ("a\n<!-- b -->\nc", "a\nc"),
        ("a\n <!-- b --> <!-- c -->\nd", "a\nd"),
        ("<!-- a --><!-- b -->* c", "c"),
        ("a<!-- <nowiki> --> ''b''", "a b"),
        ("a <nowiki><!-- b --></nowiki>", "a <!-- b -->"),
    ],
)  # fmt: skip
def test_comments(wikitext: str, text: str):
    check(wikitext, text)


def test_a_comment_that_never_ends_hides_the_rest():
    assert clean_wikitext("a <!-- b\n\nc") == "a"


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("<nowiki>''a'' {{b}} [[c]]</nowiki> d", "''a'' {{b}} [[c]] d"),
        ("<nowiki>* a</nowiki>", "* a"),
        ("<nowiki/>* a", "* a"),
        ("<nowiki>&lt;b&gt; &amp;amp;</nowiki>", "<b> &amp;"),
        ("<NoWiki >[[a]]</nowikI >", "[[a]]"),
        ("'<nowiki/>''a''", "'a"),
        ("<pre>\n* a\n<b>\n</pre>b", "* a\n<b>\n\nb"),
        ("<pre><nowiki>''a''</nowiki></pre>", "''a''"),
        ("<pre class='x\ny'>a</pre>", "a"),
        ("[[a<nowiki>b</nowiki>]] [[c|d<nowiki>]]</nowiki>]]", "[[ab]] d]]"),
    ],
)  # fmt: skip
def test_text_that_is_no_wikitext(wikitext: str, text: str):
    check(wikitext, text)


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("'''a''' ''b'' '''''c''''' d's '''''e''' f''", "a b c d's e f"),
        ("x''''y''''", "x'y'"),
        ("'''가나는 [[다]]이다.\n라'''마", "가나는 다이다.\n라마"),
        ("''Kite'''s wing", "Kite's wing"),
        ("l'''eau'' douce", "l'eau douce"),
        ("''a '''b'' c'''", "a b c"),
        ("'''''''a'''''", "''a"),
        ("''[[a|b ''c'' d]]''", "b c d"),
        ("* ''a\n* b''", "a\nb"),
        ("''a [http://b.c d'''s] e f", "a d's e f"),
    ],
)  # fmt: skip
def test_quotes_end_with_their_line(wikitext: str, text: str):
    check(wikitext, text)


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("[[가]]와 [[나 (다)|라]]", "가와 라"),
        ("[[CPU: 역사]] [[Is1: 가]] [[Re:나|다]]", "CPU: 역사 Is1: 가 다"),
        ("[[Fail: 가]] [[Bild: 나]]", "Fail: 가 Bild: 나"),
        ("[[de:Berlin]][[zh-yue:x]]a [[:de:Berlin|Berlin]]", "a Berlin"),
        ("[[:fr:Lyon]] [[wikt:a|b]] [[s:ko:x]]", "fr:Lyon b s:ko:x"),
        ("[[Category:A]][[분류:나|다]]a [[:분류:나]] [[: category:x|y]]", "a 분류:나 y"),
        ("[[\u200e분류:나]]가 [[분류\u200f:다]]나 [[ 분류 :다]]다", "가 나 다"),
        ("[[File:a.jpg|thumb|b [[c]] d]]e", "e"),
        ("[[Image:a.jpg|b]]e [[:File:a.jpg]] [[Media:a.ogg|f]]", "e File:a.jpg f"),
        ("[[파일:a.jpg|섬네일|b [[File:c.jpg|d]] [[e|f]]]]g", "g"),
        ("[[파일:a.jpg|섬네일|가 [http://b.c 나]]] 다", "다"),
        ("[[파일:a.jpg|섬네일|가 [[b]] [http://b.c 나]]] 다", "다"),
        ("[[Datei:a.jpg|thumb|200px|b]]e", "e"),
        ("[[a|b|c]] [[a|b\nc]]", "b|c b\nc"),
        ("[[a|[b]]] [[a|c [d]]] [[a]]]", "[b] c [d] a]"),
        ("[[[a]]] [[[[a]]]]", "[[[a]]] [[a]]"),
        ("[[a|b [[c]] d]]", "[[a|b c d]]"),
        ("[[a|]] [[]] [[|a]] [[a\nb]]", "[[a|]] [[]] [[|a]] [[a\nb]]"),
        ("[[a]b]] [[a{b]] [[a}b]]", "[[a]b]] [[a{b]] [[a}b]]"),
        ("[[a<b]] [[a&lt;b]] [[a&amp;amp;b]]", "[[a<b]] [[a<b]] [[a&amp;b]]"),
        ("[[a#<x>]] [[#가]] [[#가|나]]", "a#<x> #가 나"),
        ("[[100%]] [[a%20b]] [[a%2541b]] [[a%3Cb]]", "100% a b [[a%2541b]] [[a%3Cb]]"),
        ("[[./a]] [[a/../b]] [[/a]] [[..]] [[a...b]]", "[[./a]] [[a/../b]] /a [[..]] a...b"),
        ("[[틀:]] [[Help: ]] [[Xy:]]", "[[틀:]] [[Help: ]] Xy:"),
        ("[[a&nbsp;b]] [[ a ]]b[[&#x5d0;]]", "a b a bא"),
        ("[[a|b", "[[a|b"),
        ("[[파일:a.jpg|섬네일|b [[c]]\n\n나", "[[파일:a.jpg|섬네일|b c\n\n나"),
        (f"[[{'a' * 256}]] [[{'가' * 85}]]", f"[[{'a' * 256}]] {'가' * 85}"),
        ("* [[#a]]\n[[*b]]\n[[:c]]\n[[a|;d:e]]", "#a\n*b\nc\n;d:e"),
        ("[[a|<i>b</i> ''c'']]", "b c"),
        ("''[[l''a d''b]]'' [[a''b''|c''d'']]", "l''a d''b cd"),
    ],
)  # fmt: skip
def test_links(wikitext: str, text: str):
    check(wikitext, text, SITE._replace(namespaces=SITE.namespaces | {"틀"}))


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("[http://a.b c d] [https://e.f|g h]", "c d h"),
        ("[//a.b c] [mailto:a@b.c d] [HTTP://a.b e]", "c d e"),
        ("[http:/a.b c] [a b] [http:// c]", "[http:/a.b c] [a b] [http:// c]"),
        ("[http://a.b c\nd]", "[http://a.b c\nd]"),
        ("[http://a.b''c'' d]", "c d"),
        ("[http://a.b\u3000c] [http://[2404:130::1]/a d]", "c d"),
        ("[http://a.b [[c]] d]", "c d"),
        ("[[http://a.b c]] [[http://a.b|c d]]", "[c] [d]"),
        ("[http://a.b <span title='[x]'>c</span>]", "c"),
        ("a http://b.c/d_e, f (https://g.h)", "a http://b.c/d_e, f (https://g.h)"),
        ("http://a.b/?c=d&amp;e&#61;f&vert;g http://x&zwnj;y.z", "http://a.b/?c=d&e=f%7Cg http://xy.z"),
        ("가는 [http://a.b]와 [http://c.d]이다", "가는 [1]와 [2]이다"),
        ("가이다.[http://a.b] 나([http://a.b])", "가이다. 나([2])"),
        ("a\n* [http://a.b]\n*[http://a.b]", "a"),
    ],
)  # fmt: skip
def test_links_to_other_places(wikitext: str, text: str):
    check(wikitext, text)


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("* a\n** b\n*: c\n:: d\n#e\n *f", "a\nb\nc\nd\ne\n*f"),
        ("; 가 : 나\n;다:라:마\n*;바:사", "가\n나\n다\n라:마\n바\n사"),
        (";http://a.b :c\n;[[a:b]]:c\n;[http://d.e f:g]:h", "http://a.b\nc\na:b\nc\nf:g\nh"),
        (";'''1:00''':가\n;<b>2:00</b>:나\n;<b>3:00", "1:00\n가\n2:00\n나\n3:00"),
        (": a : b", "a : b"),
        ("==가==\na\n=== 나 = 다 ===\nb\n=라==\nc", "가\n\na\n\n나 = 다\n\nb\n\n라=\n\nc"),
        ("== 가 == 나\n=\n==", "== 가 == 나\n=\n=="),
        ("===\na", "=\n\na"),
        ("==가== <!-- x -->\na", "가\n\na"),
        ("=======가=======\na", "=가=\n\na"),
        ("<noinclude>==가==</noinclude>\na", "가\n\na"),
        ("<b>==가==</b>\na", "==가==\na"),
        ("== ==\na", "a"),
    ],
)  # fmt: skip
def test_lists_and_headings(wikitext: str, text: str):
    check(wikitext, text)


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("a\n{| class=x\n! b\n|-\n| {{c}} || d\n|}\ne", "a\n\ne"),
        ("{|\n|a\n|}b", "b"),
        (":{|\n|a\n|}\nb", "b"),
        ("{|\n|a\n{|\n|b\n|}\nc\n|}\nd", "d"),
        ("  {|\n  |a\n  |}\nb", "b"),
        ("{|\n|-\n*a\n|b\n|}", "a"),
        ("a\n|b\n| c\n! d", "a\n|b\n| c\n! d"),
        ("<table><tr><td>a</td></tr></table>b", "b"),
        ("<table>\n<tr>\n<td>a<td>b\n</table>c", "c"),
        ("a</td></tr></table> b", "a b"),
        ("{|\n<tr><td>a</td></tr>\n|}\nb", "b"),
        ("'''<table><tr><td>a</td></tr></table>'''b", "b"),
        ("가.\n\n{|\n! a\n|-\n| b", "가."),
        ("가.\n\n{|\n| b\n\n나이다.", "가.\n\n나이다."),
        ("{|\n| b\n== 다 ==\n라.\n\n{|\n| c\n|}\n마", "다\n\n라.\n\n마"),
        ("{|\n| b\n\n나\n|-\n| c\n\n{{끝}}\n\n다", "나\n\n다"),
        ("가.\n{{표 시작}}\n|-\n| 2000 || b\n|}\n나", "가.\n\n나"),
        ("가.\n{{표 시작}}\n! a !! b\n|-\n| c\n\n나", "가.\n\n나"),
        ("가\n|}\n나", "가\n\n나"),
    ],
)  # fmt: skip
def test_tables(wikitext: str, text: str):
    check(wikitext, text)


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("a<br>b<br/>c<BR />d</br>e", "a\nb\nc\nd\ne"),
        ("<div class='x'>\na\n</div>\nb", "a\n\nb"),
        ("<small>a", "a"),
        ("a</div> b</ref> c", "a\nb c"),
        ("<li>a\n<center>b", "a\n\nb"),
        ("a<sup>2</sup><sub id=x>3", "a23"),
        ("<span title='a > b'>c", "b'>c"),
        ("<span title=\"a>b</span>", "b"),
        ("< b>a</b> <http://a.b> <a@b.c>", "< b>a <http://a.b> <a@b.c>"),
        ("#include <stdio.h> a < b > c", "include <stdio.h> a < b > c"),
        ("a <tabber>b</tabber> c </x>", "a b c </x>"),
        ("<a href='x'>a</a> <o:p></o:p>", "<a href='x'>a</a> <o:p></o:p>"),
        ("a<includeonly>b</includeonly><noinclude>c</noinclude><onlyinclude>d", "acd"),
        ("<b>* a</b>", "* a"),
        ("<ref>a", "a"),
        ("<div\nstyle='x'>a</div>", "a"),
    ],
)  # fmt: skip
def test_tags(wikitext: str, text: str):
    check(wikitext, text)


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("&amp;&nbsp;&lt;b&gt;&#x4e00;&eacute;&unknown; & c", "& <b>一é&unknown; & c"),
        ("&amp;eacute; &ampamp; &amp", "&eacute; &ampamp; &amp"),
        ("&#0; &#xD800; &#128; &#x110000;", "&#0; &#xD800; &#128; &#x110000;"),
        ("&#x0000041;&#00065; 4&000nbsp;m", "AA 4&000nbsp;m"),
        ("&#42; a &#39;&#39;b&#39;&#39; &#91;[c]]", "* a ''b'' [[c]]"),
    ],
)  # fmt: skip
def test_character_references(wikitext: str, text: str):
    check(wikitext, text)


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("a __NOTOC__ b\n__목차숨김__\n__toc__ __目录__ ＿＿目次＿＿", "a b"),
        ("__init__ A_____B 가__나__다 __FILE__", "__init__ A_____B 가__나__다 __FILE__"),
        ("__INDEX__ __index__ __spis__ __Toc__", "__index__ __spis__"),
        ("<code>__main__</code> <nowiki>__TOC__</nowiki>", "__main__ __TOC__"),
    ],
)
def test_switches_are_those_of_mediawiki(wikitext: str, text: str):
    check(wikitext, text)


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("-{zh-cn:a; zh-tw:b}- -{zh-tw:b;zh-hk:c}- -{d}-", "a b d"),
        ("-{zh-hans:计算机;zh-hant:電腦}- -{zh:甲;zh-Hant-TW:乙}-", "计算机 乙"),
        ("-{T|zh:e}- -{H|zh-cn:f;zh-tw:g}--{-|zh-cn:f}-", ""),
        ("-{A|zh-hans:f;zh-hant:g}- -{R|a:b}- -{|c}-", "f a:b c"),
        ("-{zh-hans;zh-hant|甲}- -{a|b|c}-", "甲 b|c"),
        ("-{zh-cn:a -{zh-sg:b;zh-tw:c}- d;zh-tw:e}-", "a b d"),
        ("-{zh-cn:[[a|b]];zh-tw:[[c]]}- [[a|-{d}-]]", "b d"),
        ("-{COUNTRY=>zh-cn:甲;COUNTRY=>zh-tw:乙}-", "甲"),
        ("-{href:x;y:z}- -{a & b;}-", "href:x;y:z a & b;"),
        ("== a -{ b ==\nc -{d}-", "a -{ b\n\nc d"),
        (";-{R|a:b}-:c", "a:b\nc"),
        ("-{zh-tw:* a;\nzh-hk:* b}-", "* a"),
    ],
)  # fmt: skip
def test_script_variants(wikitext: str, text: str):
    check(wikitext, text, Site("zhwiki", language="zh"))
    check(wikitext, text, Site())


def test_variants_only_where_the_wiki_converts():
    assert clean_wikitext("-{zh-cn:a;zh-tw:b}-", SITE) == "-{zh-cn:a;zh-tw:b}-"
    serbian = Site("srwiki", language="sr")
    assert clean_wikitext("-{sr-el:a;sr-ec:б}-", serbian) == "б"
    assert clean_wikitext("-{zh-cn:a;zh-tw:b}-", serbian) == "zh-cn:a;zh-tw:b"


MARKUP = """[[ ]] {{ }} {| |} | ''' '' <ref> </ref> <ref/> <!-- --> == * : ; a & &amp; - -{ }- < >
[ ] {{{ }}} http://x.y <b> </b> <nowiki> </nowiki> File: |- ! <table> </table> <td> __TOC__ ( ,
{{lang|en| {{small| [http://x.y <pre> </pre>"""


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*MARKUP.split(), "\n"]), max_size=25).map(" ".join))
def test_no_markup_however_broken_leaves_a_mark(wikitext: str):
    for text in (wikitext, wikitext.replace(" ", "")):
        clean = clean_wikitext(text)
        assert clean == clean.strip(" \n")
        assert not any(character < " " and character != "\n" for character in clean)


@pytest.mark.parametrize(
    "piece",
    [
        "{{a|", "{{small|", "{{lang|ko|[[b|", "({{a}}", "({{a}}, ", "[[a|", "[[a|b [[c]] ",
        "[[File:a|b ", "[http://a b", "<ref>a", "<!-- a", "<nowiki>", "<x ", "<table><td>", "{|\n|",
        "-{a", "''' a ''", "== a ", "\n;a:b", "__a", "&#1",
    ],
)  # fmt: skip
def test_a_page_that_never_closes_is_not_waited_for(piece: str):
    closing = {"{": "}}", "[": "]]", "(": ")", "-": "}-"}.get(piece[0], "")
    for page in (piece * 30_000, piece * 15_000 + closing * 15_000):
        started = time.process_time()
        clean_wikitext(page)
        assert time.process_time() - started < 5
