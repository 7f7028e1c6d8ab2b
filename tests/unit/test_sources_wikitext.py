"""Wikitext to clean text: golden pages, and the shortcuts against the parser."""

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccx_ray.corpus.reading.wikitext import FILE_WORDS, Site, UnbalancedError, clean_wikitext
from tests.wikitext_page import TEXT, WIKITEXT

SITE = Site("kowiki", FILE_WORDS)


@pytest.mark.parametrize("shortcuts", [False, True])
def test_a_page_with_all_that_articles_hold(shortcuts: bool):
    assert clean_wikitext(WIKITEXT, SITE, shortcuts=shortcuts) == TEXT


@pytest.mark.parametrize("shortcuts", [False, True])
@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("a {{x|{{y|{{z}}}}}} b", "a b"),
        ("a {{x|[[b|c]]\n|d = {{{e|f}}}}} g", "a g"),
        ("a<ref>{{cite|x}} [[y]]</ref><ref name='z'/>, b", "a, b"),
        ("a<ref name=\"x\">\n* b\n</ref> c", "a c"),
        ("[[File:a.jpg|thumb|b [[c]] d]]e", "e"),
        ("[[Image:a.jpg|b]]e [[:File:a.jpg]]", "e File:a.jpg"),
        ("[[파일:a.jpg|섬네일|b]]e", "e"),
        ("[[Datei:a.jpg|thumb|200px|b]]e", "e"),
        ("[[de:Berlin]][[zh-yue:x]]a [[:de:Berlin|Berlin]]", "a Berlin"),
        ("[[Star Trek: Picard]], [[s:ko:x|y]]", "Star Trek: Picard, y"),
        ("'''a''' ''b'' '''''c''''' d's '''''e''' f''", "a b c d's e f"),
        ("x''''y''''", "x'y'"),
        ("&amp;&nbsp;&lt;b&gt;&#x4e00;&eacute;&unknown; & c", "& <b>一é&unknown; & c"),
        ("== a ==\n{{x}}\n== b ==\n=== c ===\nd\n=== e ===\n", "b\n\nc\n\nd"),
        ("a\n\n\n\n{{x}}\n\nb\nc", "a\n\nb\nc"),
        ("a<br>b<br/>c<BR />d", "a\nb\nc\nd"),
        ("<div class='x'>\na\n</div>\nb", "a\n\nb"),
        ("a <!-- b -->c<!-- d\n--> e", "a c e"),
        ("a\n<!-- b -->\nc", "a\nc"),
        ("a __NOTOC__ b\n__목차숨김__", "a b"),
        ("-{zh-cn:a; zh-tw:b}- -{zh-tw:b;zh-hk:c}- -{d}- -{T|zh:e}- -{A|zh-hans:f;zh-hant:g}-",
         "a b d f"),
        ("a ({{x}}; {{y}}) b (c, {{x}}) （{{x}}）", "a b (c)"),
        ("[http://a.b c d] [https://e.f] http://g.h i", "c d http://g.h i"),
        ("a\n{| class=x\n! b\n|-\n| {{c}} || d\n|}\ne", "a\n\ne"),
        ("* a\n** b\n*: c\n:: d\n#e", "a\nb\nc\nd\ne"),
        ("a <math>x^2</math><chem>H2O</chem> b", "a b"),
        ("<nowiki>''a'' {{b}}</nowiki> c", "''a'' {{b}} c"),
        ("a<includeonly>b</includeonly><noinclude>c</noinclude>", "a\nc"),
        ("<poem>\na\nb\n</poem>", "a\nb"),
        ("\u3000a\u00a0b\u202fc", "a b\u202fc"),
        ("<gallery>\nFile:a.jpg|b\n</gallery>\n<references />\n<templatestyles src='x'/>", ""),
    ],
)  # fmt: skip
def test_constructs(wikitext: str, text: str, shortcuts: bool):
    assert clean_wikitext(wikitext, SITE, shortcuts=shortcuts) == text


MARKUP = """[[ ]] {{ }} {| |} | ''' '' <ref> </ref> <ref/> <!-- --> == * : ; a & &amp; - -{ }- < >
[ ] {{{ }}} http://x.y <b> </b> <nowiki> </nowiki> File: |- !"""
WORDS = st.sampled_from(
    ["word", "서울", "བོད་", "(a)", "x = y", "it's", "5 * 3", "a; b: c", "#1", "&"]
)
INLINE = st.recursive(
    st.one_of(WORDS, WORDS.map("''{}''".format), WORDS.map("'''{}'''".format)),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(" ".join),
        inner.map("[[Target|{}]]".format),
        inner.map("<small>{}</small>".format),
        inner.map('<span style="x">{}</span>'.format),
        inner.map('word<ref name="n">{}</ref>'.format),
        inner.map("{{{{template|1={}|b = {{{{c}}}}}}}}".format),
        inner.map("[[File:A.jpg|thumb|{}]]".format),
        inner.map("<sub>{}</sub>".format),
    ),
    max_leaves=6,
)
PLAIN = st.sampled_from(
    [
        "[[Link]]", "[[A (b)|c]]", "[[Category:X]]", "[[ko:제목]]", "&amp;", "&nbsp;", "<br />",
        "[http://x.org label here]", "[http://x.org]", "http://x.org/a_b", "<ref name=x />",
        "-{zh-hans:a;zh-hant:b}-", "<math>a_{b}</math>", "<!-- {{a}} [[b -->",
        "__NOTOC__", "[[#Section|there]]",
    ]
)  # fmt: skip
LINE = st.one_of(
    st.lists(st.one_of(INLINE, PLAIN), min_size=1, max_size=4).map(" ".join),
    WORDS.map("== {} ==".format),
    WORDS.map("=== {} ===".format),
    INLINE.map("* {}".format),
    INLINE.map("# {}".format),
    st.just(""),
    st.just("{{Infobox\n| a = [[b]]\n| c = {{d|e=\n* f}}\n}}"),
    st.just("{| class=\"wikitable\"\n! a\n|-\n| b || [[c]]\n|}"),
    st.just("<gallery>\nFile:A.jpg|[[b]]\n</gallery>"),
    st.just("<blockquote>\ntext\n</blockquote>"),
    st.just("----"),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(LINE, min_size=1, max_size=8).map("\n".join))
def test_the_shortcuts_give_what_the_parser_gives(wikitext: str):
    assert clean_wikitext(wikitext, SITE) == clean_wikitext(wikitext, SITE, shortcuts=False)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from([*MARKUP.split(), "\n"]),
        max_size=25,
    ).map(" ".join)
)
def test_no_markup_however_broken_is_refused(wikitext: str):
    for text in (wikitext, wikitext.replace(" ", "")):
        clean = clean_wikitext(text, SITE)
        assert "\x02" not in clean
        assert clean == clean.strip()


@pytest.mark.parametrize(
    "piece", ["{{a|", "[[a|", "<ref>a", "<!-- a", "{|\n|", "<nowiki>", "[http://a b"]
)
def test_a_page_that_never_closes_is_not_waited_for(piece: str):
    started = time.monotonic()
    with contextlib.suppress(UnbalancedError):
        clean_wikitext(piece * 50_000, SITE)
    assert time.monotonic() - started < 5
