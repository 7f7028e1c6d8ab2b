"""``-{...}-``: words that a wiki of a language with several scripts shows by its reader's choice.

One reader is chosen for all pages of a wiki, the first of its variants; where a rule has no words
for it, the next one's stand. Elsewhere ``-{`` is text.
"""

import re
from functools import lru_cache

from ccx_ray.corpus.reading.wiki_site import CLOSE, OPEN
from ccx_ray.corpus.reading.wiki_words import LANGUAGES

VARIANTS = {
    "zh": "zh-cn zh-hans zh-sg zh-my zh-tw zh-hant zh-hk zh-mo zh",
    "gan": "gan-hans gan-hant gan",
    "wuu": "wuu-hans wuu-hant wuu",
    "sr": "sr-ec sr-cyrl sr-el sr-latn sr",
    "sh": "sh-latn sh-cyrl sh",
    "kk": "kk-cyrl kk-kz kk-latn kk-tr kk-arab kk-cn kk",
    "ku": "ku-latn ku-arab ku",
    "uz": "uz-latn uz-cyrl uz",
    "tg": "tg tg-cyrl tg-latn",
    "crh": "crh-latn crh-cyrl crh",
    "shi": "shi-tfng shi-latn shi",
    "zgh": "zgh zgh-latn",
    "iu": "ike-cans ike-latn iu",
    "ban": "ban ban-bali",
    "mni": "mni mni-beng",
}
"""Languages whose wikis convert, and the variants of each in order. ``zh`` itself, what is shown
where nothing is converted, is the last."""
_NAMES = {
    "zh-hans-cn": "zh-cn",
    "zh-hans-sg": "zh-sg",
    "zh-hans-my": "zh-my",
    "zh-hant-tw": "zh-tw",
    "zh-hant-hk": "zh-hk",
    "zh-hant-mo": "zh-mo",
}
"""BCP 47."""

MOST_NESTED = 10
"""As in MediaWiki."""

_EDGES = re.compile(r"-\{|\}-")
_FLAGS = re.compile(r"[\w\s;-]*\Z")
_RULES = re.compile(r";(?=\s*(?:[^;:|]*=>)?\s*[A-Za-z][\w-]*\s*:)|;\s*\Z")


def converted(text: str, language: str) -> str:
    """A page with the words of one variant."""
    variants = _order(language)
    if not variants:
        return text
    stack: list[list[str]] = [[]]
    at = 0
    for edge in _EDGES.finditer(text):
        stack[-1].append(text[at : edge.start()])
        at = edge.end()
        if edge[0] == "-{" and len(stack) <= MOST_NESTED:
            stack.append([])
        elif edge[0] == "}-" and len(stack) > 1:
            shown = _shown("".join(stack.pop()), variants)
            stack[-1].append(f"{OPEN}{shown}{CLOSE}" if shown else "")
        else:
            stack[-1].append(edge[0])
    stack[-1].append(text[at:])
    return "-{".join("".join(pieces) for pieces in stack)


@lru_cache
def _order(language: str) -> tuple[str, ...]:
    """The variants of a language; of all where it is not known."""
    if not language:
        return tuple(" ".join(VARIANTS.values()).split())
    known = VARIANTS.get(language.partition("-")[0], "").split()
    is_another = language in LANGUAGES and language not in known  # zh-yue
    return () if is_another else tuple(known)


def _shown(content: str, variants: tuple[str, ...]) -> str:
    flags, bar, rest = content.partition("|")
    if bar and _FLAGS.match(flags):
        named = {flag.strip() for flag in flags.split(";")}
        if named & {"T", "H", "-"}:  # of the page's title, or for words elsewhere on the page
            return ""
        content = rest
        if named & {"R", "N"} or {_code(flag) for flag in named} & set(variants):
            return content
    rules: dict[str, str] = {}
    for rule in _RULES.split(content):
        code, colon, words = rule.rpartition("=>")[2].partition(":")
        if colon and words.strip():
            rules[_code(code)] = words.strip()
    if not rules or not rules.keys() <= set(variants):
        return content
    return next(rules[variant] for variant in variants if variant in rules)


def _code(name: str) -> str:
    code = name.strip().lower()
    return _NAMES.get(code, code)
