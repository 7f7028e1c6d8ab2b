r"""Script isolation by the Unicode *Script* property (UAX #24).

Invariant: after ``keep`` no character of another script is left, after ``remove`` none of the
named ones. RE2, through pyarrow, knows the property of every character (``\p{Latin}``), so
full-width and superscript letters go with the plain ones, and the marks, joiners and variation
selectors of a language stay. Marks that stood on a removed letter go with it.
"""

import functools
from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from ccx_ray.errors import UserError
from ccx_ray.study.spec import IsolationSpec

# For the counts of removed characters only; what is none of them is counted as "other".
COUNTED_SCRIPTS = (
    "Latin", "Greek", "Cyrillic", "Han", "Hangul", "Hiragana", "Katakana", "Tibetan", "Mongolian",
    "Arabic", "Hebrew", "Devanagari", "Thai", "Armenian", "Georgian", "Bengali", "Tamil",
    "Bopomofo", "Common", "Inherited",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Isolated:
    """Texts after isolation, and what was taken out of each."""

    text: pa.Array
    excluded: pa.Array
    """The characters of forbidden scripts, put together."""
    marks: pa.Array
    """How many marks of allowed scripts went with the letters that they stood on."""


def check_script_names(isolation: IsolationSpec, field: str) -> None:
    """Refuse names that Unicode has no script for.

    Raises:
        UserError: one of the names is unknown; scripts are spelt as in UAX #24, such as Latin.
    """
    for kind in ("keep", "remove"):
        for name in getattr(isolation, kind):
            if not _is_script(name):
                raise UserError(
                    f"{field}.{kind}: {name!r} is not a Unicode script; "
                    "scripts are spelt like Latin, Hangul, Tibetan, Common"
                )


def isolate(texts: pa.Array, isolation: IsolationSpec) -> Isolated:
    """Normalize to NFC and remove the characters that the isolation forbids.

    Where something was removed, runs of ASCII blanks left behind become one blank and blanks at
    both ends go; a text that holds nothing forbidden comes back as its NFC form.
    """
    names = "".join(rf"\p{{{name}}}" for name in isolation.keep or isolation.remove)
    forbidden, allowed = f"[^{names}]", f"[{names}]"
    if isolation.remove:
        forbidden, allowed = allowed, forbidden
    normalized = pc.utf8_normalize(texts, form="NFC")
    removed = _without(normalized, rf"(?:{forbidden}+\p{{Inherited}}*)+")
    tidied = pc.replace_substring_regex(removed, pattern="[ \t]+", replacement=" ")
    tidied = pc.replace_substring_regex(tidied, pattern=" ?\n ?", replacement="\n")
    # Taking a character out may bring a letter and a mark together that NFC writes as one.
    tidied = pc.utf8_normalize(pc.utf8_trim(tidied, characters=" \n"), form="NFC")
    excluded = _without(normalized, f"{allowed}+")
    gone = pc.subtract(pc.utf8_length(normalized), pc.utf8_length(removed))
    return Isolated(
        text=pc.if_else(pc.equal(normalized, removed), normalized, tidied),
        excluded=excluded,
        marks=pc.subtract(gone, pc.utf8_length(excluded)),
    )


def holds_letters(texts: pa.Array) -> pa.Array:
    """Whether more than punctuation, digits and blanks is left."""
    return pc.match_substring_regex(texts, pattern=r"\p{L}")


def count_by_script(characters: Counter[str]) -> dict[str, int]:
    """Character counts -> counts by script, the largest first."""
    distinct = pa.array(list(characters), pa.string())
    left = dict(characters)
    counts: Counter[str] = Counter()
    for name in COUNTED_SCRIPTS:
        matches = distinct.filter(pc.match_substring_regex(distinct, pattern=rf"\p{{{name}}}"))
        for character in matches.to_pylist():
            counts[name] += left.pop(character)
    counts["other"] += sum(left.values())
    return {name: count for name, count in counts.most_common() if count}


def _without(texts: pa.Array, pattern: str) -> pa.Array:
    return pc.replace_substring_regex(texts, pattern=pattern, replacement="")


@functools.cache
def _is_script(name: str) -> bool:
    # RE2 takes general categories (L, Nd) in the same place; those have at most two letters.
    if len(name) < 3 or not name.replace("_", "").isalpha():
        return False
    try:
        pc.match_substring_regex(pa.array(["a"]), pattern=rf"\p{{{name}}}")
    except pa.ArrowInvalid:
        return False
    return True
