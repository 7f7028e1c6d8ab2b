"""Templates of wikitext: dropped, but for those that only give words their form.

Templates are not expanded: a dump of articles does not hold them. Those in ``WORD_TEMPLATES``, and
those that a study file adds, leave the words that a reader sees; all others leave a mark, and
``mended`` takes out what is broken without them.

What a template shows is written with its arguments in braces: ``{1}`` the first, ``{-1}`` the last,
``{-2}`` the one before it, ``{*}`` all one after the other, ``{text}`` a named one, ``{label|1}``
the first of these that is there, ``{0}`` the template's own name. ``*`` at the end of a template's
name stands for any ending.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ccx_ray.corpus.reading.wiki_site import BAR, DROPPED, EQUALS

_SHOWN = {
    "{1|text|본문|내용}": """
        small|smaller|big|large|larger|nowrap|nobr|nwr|nobold|noitalic|strong|em|bold|italic
        italics|smallcaps|sc|underline|center|centre|code|tt|mono|kbd|var|samp|sub|sup|abbr|tooltip
        sic|not a typo|as written|proper name|angbr|angle bracket|char|mvar|math|chem2|overline
        iast|nastaliq|start date|end date|birth date|death date|start date and age|bda|unicode
        birth date and age|death date and age
        polytonic|lc:|uc:|lcfirst:|ucfirst:|formatnum
        formatnum:|nts|num|number|quote|blockquote|quotation|cquote|bquote|quote box|poemquote|verse
        인용문|인용|red link|internal link helper|link-*|flag|flagcountry|flagu|국기|국기나라
        국기 나라|國旗|国旗|작게|작은글씨|크게|굵게|밑줄|취소선|가운데|줄바꿈 금지
        줄바꿈금지|임시링크|임시 링크|한자|위첨자|아래첨자|lang-*
        nihongo2|bo-textonly|mongolunicode|mongol unicode|mong|僻字|補助漢字
        補助漢字フォント""",
    "{2|text}": """
        lang|langx|llang|lang2|언어|color|colour|색|글자색|rtl-lang|ltr-lang|script|native name
        resize""",
    "{-1}": "transl|transliteration|translit|로마자|font color|hover title|tsl|w|wikt|위키낱말",
    "{*}": "gaps|linktext|chem",
    "{lt|1}": "ill|illm|interlanguage link|interlanguage link multi",
    "{label|1}": "仮リンク",
    "{3|1}": "le|lj|lk",
    "{2|1}": "url",
    "{1} {2}": "sortname|ship|convert|cvt|변환|단위 변환|單位轉換|单位转换",
    "{1} {u|ul}": "val",
    "{-3} {-2}/{-1}": "frac|fraction|sfrac",
    "{1} {2} {3}": "date",
    "{0} {1}": "as of|hms|uss|ss|mv|rms|hmas|hmcs|ijn|jds|usns",
    "fl. {1}": "fl.|floruit",
    "r. {1}–{2}": "r.|reign",
    "{1} ({2}, {3}, {4})": "nihongo|nihongo foot",
    "{3} ({2}, {1})": "nihongo3",
    "{1} ({2})": "ruby|ruby-ja|ruby-zh-p|루비|윗주|ふりがな|読み仮名|zhuyin",
    "{c}, {s}, {t}, {p}": "zh|zh-cp|zh-tsp|zh-stp|lang-zh|chinese",
    "{hangul|1}, {hanja|2}, {rr|3}, {mr|4}": "korean|ko-hhrm|korean2",
    "{t}, {w}, {z}": "bo|tibetan",
    "（{1}{2}－{3}{4}）": "bd",
    "c. {1}": "circa|c.",
    "{zh-cn|zh-hans|cn|hans|zh-tw|zh-hant|tw|hant}": "lan|地区用词|地區用詞",
    "US${1}": "us$|usd",
    "₩{1}": "krw|원화",
    "¥{1}": "jpy|cny|rmb|¥",
    "€{1}": "euro|eur|€",
    "£{1}": "gbp|£",
    "₹{1}": "inr|indianrupee|indian rupee|₹",
    "{|": "(!",
    "|}": "!)",
    "|-": "!-",
    "'": "'",
    "'s": "'s",
    "–": "ndash|–|en dash",
    "—": "mdash|—|em dash",
    " – ": "snd|spnd|spaced ndash|spaced en dash",
    " ": "nbsp|space|sp|thinsp|thin space",
    " · ": "·|•|middot|dot|bullet|*",
    "ʻ": "okina|ʻokina",
    "<br>": "br|break|crlf",
}
WORD_TEMPLATES = {
    name.strip(): shown for shown, names in _SHOWN.items() for name in re.split(r"[|\n]", names)
} | {"!": BAR, "pipe": BAR, "!!": BAR * 2, "=": EQUALS}
"""What a template shows, by its name in lower case; a parser function's ends in a colon."""

MOST_NESTED = 100
"""As in MediaWiki; what is deeper is dropped."""

_WHOLE = re.compile(r"\{\{([^{}]*)\}\}(?!\})")
_BRACES = re.compile(r"\{\{+|\}\}+")
_FIELD = re.compile(r"\{([^{}]+)\}")
_RANGES = frozenset(["-", "–", "to", "and", "or", "by", "x", "×", "~", "및", "에서", "到", "至"])


def expanded(text: str, templates: Mapping[str, str] = WORD_TEMPLATES) -> str:
    """A page with the words of word-bearing templates, and marks for all other ones.

    Braces are paired as MediaWiki's preprocessor does: the innermost first, three of them an
    argument. What is never closed is text.
    """
    outermost: list[str] = []
    stack: list[tuple[int, list[str]]] = [(0, outermost)]
    at = 0
    while True:
        if len(stack) == 1:
            place = text.find("{{", at)
            whole = _WHOLE.match(text, place) if place >= 0 else None
            if whole:
                outermost += (text[at:place], _template(whole[1], templates))
                at = whole.end()
                continue
            if place < 0:
                break
        braces = _BRACES.search(text, max(place, at))
        if braces is None:
            break
        start, end = braces.span()
        stack[-1][1].append(text[at:start])
        at = end
        if text[start] == "{":
            stack.append((end - start, []))
            continue
        closing = end - start
        while closing >= 2 and len(stack) > 1:
            opened, pieces = stack.pop()
            paired = 3 if opened >= 3 <= closing else 2
            shown = DROPPED
            if len(stack) <= MOST_NESTED:
                body = "".join(pieces)
                shown = _argument(body) if paired == 3 else _template(body, templates)
            opened, closing = opened - paired, closing - paired
            if opened >= 2:
                stack.append((opened, [shown]))
            else:
                stack[-1][1].append("{" * opened + shown)
        stack[-1][1].append("}" * closing)
    stack[-1][1].append(text[at:])
    text = "".join(["{" * opened + "".join(pieces) for opened, pieces in stack])
    return text.replace(BAR, "|").replace(EQUALS, "=")


def _argument(body: str) -> str:
    """On a page of its own an argument has its default alone."""
    return body.partition("|")[2] or DROPPED


def _template(body: str, templates: Mapping[str, str]) -> str:
    name, _, rest = body.partition("|")
    name = name.replace("_", " ").strip().lower()
    shown = templates.get(name)
    if shown is None:
        function, colon, argument = name.partition(":")
        if colon:
            shown = templates.get(f"{function}:")
            if shown is not None:
                rest = body.partition(":")[2]
            else:  # of a namespace
                shown = templates.get(argument.strip())
        if shown is None:
            stem, hyphen, _ = name.partition("-")
            shown = templates.get(f"{stem}-*") if hyphen else None
        if shown is None:
            return DROPPED
    pieces = _pieces(shown)
    if len(pieces) == 1:
        return shown or DROPPED
    positional, named = _arguments(rest)
    if "{0}" in shown and positional[:1] != [""]:
        named["0"] = body.partition("|")[0].strip()
    words = [
        piece if piece.__class__ is str else _first(piece, positional, named) for piece in pieces
    ]
    return DROPPED if words.count(DROPPED) == len(words) // 2 else "".join(words)


@lru_cache(maxsize=4096)
def _pieces(shown: str) -> list[Any]:
    """Words, and names of arguments, in turn."""
    return [
        tuple(piece.split("|")) if number % 2 else piece
        for number, piece in enumerate(_FIELD.split(shown))
    ]


def _first(names: tuple[str, ...], positional: list[str], named: dict[str, str]) -> str:
    for name in names:
        if name in named:
            value = named[name]
        elif name[0] == "-":
            filled = list(filter(None, positional))
            value = filled[int(name)] if int(name) + len(filled) >= 0 else ""
        elif name == "*":
            value = "".join(positional)
        elif name.isdecimal() and 0 < int(name) <= len(positional):
            value = positional[int(name) - 1]
        else:
            continue
        if value:
            return value
    return DROPPED


def _arguments(text: str) -> tuple[list[str], dict[str, str]]:
    """Values by their place and by their name; a bar within a link divides none."""
    parts = text.split("|")
    if "[[" in text:
        joined: list[list[str]] = []
        open_links = 0
        for part in parts:
            if open_links > 0:
                joined[-1].append(part)
            else:
                joined.append([part])
            open_links = max(open_links + part.count("[[") - part.count("]]"), 0)
        parts = ["|".join(group) for group in joined]
    positional: list[str] = []
    named: dict[str, str] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if equals and "<" not in name and "[" not in name:
            named[name.strip()] = value.strip()
        else:
            positional.append(part.strip())
    while len(positional) > 3 and positional[1].lower() in _RANGES:  # of two numbers
        positional[:3] = [" ".join(positional[:3])]
    if len(positional) > 4 and positional[2].isdecimal() and not positional[3].isdecimal():
        positional[1:4] = [" ".join(positional[1:4])]  # 6 ft 2 in
    return positional, named


_OPENING, _CLOSING = "(（[「『《〈【“‘", ")）]」』》〉】”’"
_BRACKETED = re.compile(
    rf"([{re.escape(_OPENING)}])([^{re.escape(_OPENING + _CLOSING)}]*)([{re.escape(_CLOSING)}])"
)
_SEPARATORS = ",;、，；"
_SEPARATED = re.compile(rf"(\s*[{_SEPARATORS}]\s*)")
_BARE = f"{DROPPED} \u00a0\u3000:：/·=–-"
_NAME = rf"[^\s{_SEPARATORS}.。:：{DROPPED}]{{1,15}}"
_LISTED = re.compile(
    rf"(\A|[{_SEPARATORS}])(?:\s*+(?:{_NAME}(?: {_NAME})?[:：])?\s*+"
    rf"{DROPPED}+\s*+(?:[{_SEPARATORS}]\s*+|\Z))+"
)
_QUOTED = re.compile(f"\"{DROPPED}+\"|'{DROPPED}+'")
_BEFORE_SIGN = re.compile(
    rf"[ \u00a0]*+{DROPPED}[ \u00a0{DROPPED}]*+(?=[{_SEPARATORS}.:!?)\]。：！？）」』》])"
    rf"|[{_SEPARATORS}]\s*+{DROPPED}[ \u00a0{DROPPED}]*+(?=[.!?)\]。！？）」』》])"
)
_AT_END = re.compile(
    rf"(?:[ \u00a0]*+[{_SEPARATORS}]|[ \u00a0]++[–—-])?[ \u00a0]*{DROPPED}[ \u00a0{DROPPED}]*\Z"
)
_DEEPEST = 5
"""Brackets in brackets that are mended."""


def mended(line: str) -> str:
    """A line without the marks of what was dropped from it, and without what only held that:
    brackets, separators, the name before a colon."""
    for _ in range(_DEEPEST):
        before, line = line, _BRACKETED.sub(_bracket, line)
        if before == line:
            break
    line = _QUOTED.sub(DROPPED, line)
    if not line.strip(_BARE):
        return ""
    listed = _LISTED.sub(_list, line)
    line = _AT_END.sub("", _BEFORE_SIGN.sub("", listed)).replace(f" {DROPPED} ", " ")
    return line.replace(DROPPED, "")


def _list(match: re.Match[str]) -> str:
    """The separator before what was dropped from a list, unless the list ends there."""
    if not match[1] or match.end() == len(match.string):
        return ""
    return f"{match[1]} " if match[0][-1].isspace() else match[1]


def _bracket(match: re.Match[str]) -> str:
    content = match[2]
    if DROPPED not in content:
        return match[0]
    parts = _SEPARATED.split(content)
    kept: list[str] = []
    for number in range(0, len(parts), 2):
        part = parts[number]
        if DROPPED in part:
            part = part.strip(f"{DROPPED} \u00a0")
            if part[-1:] in {":", "："} or not part.strip(_BARE):
                continue
            part = part.lstrip(":： ").rstrip("/· ").replace(f" {DROPPED}", "").replace(DROPPED, "")
        if kept:
            kept.append(parts[number - 1])
        kept.append(part)
    words = "".join(kept)
    return f"{match[1]}{words}{match[3]}" if words.strip(_BARE + _SEPARATORS) else DROPPED
