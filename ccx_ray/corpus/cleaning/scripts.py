"""Script isolation by the Unicode *Script* property (UAX #24), never by ranges of our own.

Invariant: isolated text is in NFC and holds no character of an excluded script; full-width,
superscript and other compatibility letters belong to their script and go with it. Symbols that
merely look like letters (U+24B6 circled A, U+338F square kg) are Common and stay.

Most texts need nothing: one pass of RE2 inside Arrow (500 to 900 MB/s on one core) finds the rest,
and only those become Python strings and arrays of code points: 190 to 400 MB/s in all, 110 to 180
where every document needs it and 60 where every short sentence does. The same in Arrow's own
buffers, without Python strings, was slower (0.5 to 0.9 of that).

NFC is Python's, because Arrow's ``utf8_normalize(form="NFC")`` decomposes (measured with 25.0:
twice the bytes for Korean). Python 3.11 knows Unicode 14: characters assigned later have their
script here, but their marks are neither reordered nor composed. Text of older characters is in NFC
by every version of Unicode, which guarantees that.
"""

import difflib
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING
from unicodedata import combining, decomposition, is_normalized, normalize

from fontTools.unicodedata import Scripts

from ccx_ray.errors import UserError
from ccx_ray.study.text_spec import IsolationSpec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

CODE_POINTS = 0x110000
UNKNOWN_SCRIPT = "Unknown"
"""The script of what is unassigned, for private use, or a surrogate."""

SCRIPTS = frozenset(Scripts.NAMES[code] for code in Scripts.VALUES)
"""Every script that a code point has, by its long name, such as ``Old_Turkic``."""


Ranges = list[tuple[int, int]]
"""Of code points, both ends included."""


@cache
def script_of(character: str) -> str:
    """The script of one character, by its long name."""
    name: str = Scripts.NAMES[Scripts.VALUES[bisect_right(Scripts.RANGES, ord(character)) - 1]]
    return name


def script_ranges(scripts: Collection[str]) -> Ranges:
    """The code points of these scripts taken together, ascending, as few ranges as can be."""
    bounds = pairwise((*Scripts.RANGES, CODE_POINTS))
    return _merged(
        (first, end - 1)
        for (first, end), code in zip(bounds, Scripts.VALUES, strict=True)
        if Scripts.NAMES[code] in scripts
    )


def character_class(ranges: Ranges) -> str:
    """The inside of a character class of RE2 that holds exactly these code points."""
    return "".join(rf"\x{{{first:x}}}-\x{{{last:x}}}" for first, last in ranges)


@cache
def normalization_ranges() -> tuple[Ranges, Ranges]:
    """What UAX #15, "Detecting Normalization Forms", looks for, by the interpreter's Unicode.

    A text without code points that are unstable (NFC_Quick_Check is No or Maybe: it decomposes, or
    may compose with what stands before) and two that are reorderable (the combining class is not
    zero) in a row is in NFC. Python has the properties only one character at a time: 40 ms, once a
    process.

    Returns:
        unstable, reorderable.
    """
    characters = [
        chr(code_point)
        for first, last in script_ranges(SCRIPTS - {UNKNOWN_SCRIPT})
        for code_point in range(first, last + 1)
    ]
    decomposable = [character for character in characters if decomposition(character)]
    composites = [c for c in decomposable if is_normalized("NFC", c)]
    # The vowels and finals of Hangul compose by arithmetic and stand in no decomposition.
    seconds = {chr(code_point) for code_point in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}
    seconds.update(*(normalize("NFD", composite)[1:] for composite in composites))
    unstable = seconds | set(decomposable).difference(composites)
    unstable.update(c for c in composites if normalize("NFD", c)[0] in seconds)
    reorderable = [c for c in characters if combining(c)]
    single = [[(ord(c), ord(c)) for c in some] for some in (sorted(unstable), reorderable)]
    return _merged(single[0]), _merged(single[1])


def _merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    merged: Ranges = []
    for first, last in ranges:
        if merged and merged[-1][1] == first - 1:
            merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return merged


def check_script_names(isolation: IsolationSpec, field: str) -> None:
    """Refuse a script that does not exist, before any compute is spent.

    Raises:
        UserError: names the field, the script and the nearest name that exists.
    """
    for part in ("keep", "remove"):
        for name in getattr(isolation, part):
            if name not in SCRIPTS:
                near = difflib.get_close_matches(name.title(), SCRIPTS, n=1)
                hint = f"did you mean {near[0]}?" if near else "give one such as Latin or Tibetan"
                raise UserError(f"{field}.{part}: {name!r} is not a Unicode script; {hint}")


@dataclass(frozen=True, kw_only=True)
class Isolated:
    """A batch of isolated texts, and what was taken out of the whole batch, to be counted."""

    text: "pa.Array"
    """One entry a text that was given; empty where nothing is left."""
    removed: Counter[str] = field(default_factory=Counter)
    """The characters of excluded scripts, each with its number in the batch."""
    marks: int = 0
    """How many combining marks went with them."""
    dropped: "pa.Array | None" = None
    """Of language identification: per text, what was in another language, to be read."""


def isolate(texts: "pa.Array", isolation: IsolationSpec) -> Isolated:
    """Texts in NFC without the excluded scripts.

    A combining mark (Inherited) goes with the letter that carried it; left behind, it would sit
    on whatever stands before. Runs of blanks and tabs, which the removal leaves, become one blank,
    and white space at both ends goes. Newlines inside the text, U+202F, U+180E and other spaces
    survive.

    Args:
        texts: strings without nulls, some MB: fewer do not pay for the pattern, 0.5 ms a call.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    pattern, kinds = _rules(isolation.keep, isolation.remove)
    concerned = pc.match_substring_regex(texts, pattern)
    cleaned: list[str] = []
    removed: Counter[str] = Counter()
    marks = 0
    for group in _groups(texts.filter(concerned).to_pylist()):
        some, gone, lost = _clean(group, kinds)
        cleaned += some
        removed.update(gone)
        marks += lost
    text = pc.replace_with_mask(texts, concerned, pa.array(cleaned, pa.string()))
    return Isolated(text=text, removed=removed, marks=marks)


def holds_letters(texts: "pa.Array") -> "pa.Array":
    """Which texts hold a letter of any script; digits and punctuation alone teach nothing.

    Letters are RE2's (Unicode 15): a text of nothing but letters assigned later is not known.
    """
    import pyarrow.compute as pc

    return pc.match_substring_regex(texts, r"\p{L}")


def count_by_script(characters: Counter[str]) -> dict[str, int]:
    """Character counts summed by the characters' script, most frequent first."""
    counts: Counter[str] = Counter()
    for character, number in characters.items():
        counts[script_of(character)] += number
    return {script: number for script, number in counts.most_common() if number}


# What a character is to the removal, as flags.
EXCLUDED, INHERITED, BLANK, UNSTABLE, REORDERABLE = 1, 2, 4, 8, 16
CHARACTERS_AT_ONCE = 1 << 16
"""So that the arrays stay in the processor's cache."""


@cache
def _rules(keep: tuple[str, ...], remove: tuple[str, ...]) -> "tuple[str, npt.NDArray[np.uint8]]":
    """RE2 that matches whatever does not come out as it went in, and [0x110000] the flags of every
    code point."""
    import numpy as np

    excluded = script_ranges(SCRIPTS - set(keep) if keep else remove)
    unstable, reorderable = normalization_ranges()
    kinds = np.zeros(CODE_POINTS, np.uint8)
    kinds[[ord(" "), ord("\t")]] = BLANK
    for flag, ranges in (
        (EXCLUDED, excluded),
        (INHERITED, script_ranges(["Inherited"])),
        (UNSTABLE, unstable),
        (REORDERABLE, reorderable),
    ):
        for first, last in ranges:
            kinds[first : last + 1] |= flag
    reasons = (
        rf"[\t{character_class(excluded)}{character_class(unstable)}]",
        rf"[{character_class(reorderable)}]{{2}}",
        r"  |\A[ \r\n]|[ \r\n]\z",
    )
    return "|".join(reasons), kinds


def _groups(texts: list[str]) -> Iterator[list[str]]:
    """The texts in order, in groups of about ``CHARACTERS_AT_ONCE``."""
    group: list[str] = []
    characters = 0
    for text in texts:
        group.append(text)
        characters += len(text)
        if characters >= CHARACTERS_AT_ONCE:
            yield group
            group, characters = [], 0
    if group:
        yield group


def _clean(
    texts: list[str], kinds_of: "npt.NDArray[np.uint8]"
) -> tuple[list[str], Counter[str], int]:
    """``isolate`` for texts that need it, all of them at once as one array of code points: texts,
    characters removed, and how many marks went with them."""
    import numpy as np

    # A newline before and after every text: no run of characters crosses from one into the next.
    ends = np.cumsum([0, *(len(text) + 1 for text in texts)])
    points = np.frombuffer("\n".join(["", *texts, ""]).encode("utf-32-le"), np.uint32)
    kinds = kinds_of.take(points, mode="clip")
    kinds[ends] = 0
    unsure = (kinds & UNSTABLE) != 0
    unsure[1:] |= (kinds[1:] & kinds[:-1] & REORDERABLE) != 0
    composed = _composed(texts, unsure, ends)
    if composed != texts:
        return _clean(composed, kinds_of)

    gone = (kinds & EXCLUDED) != 0
    values, counts = np.unique(points[gone], return_counts=True)
    marks = np.flatnonzero((kinds & (INHERITED | EXCLUDED)) == INHERITED)
    marks = marks[gone[_run_starts(marks) - 1]]
    gone[marks] = True
    gone[_repeated_blanks(gone, (kinds & BLANK) != 0)] = True
    places = np.flatnonzero(gone)
    # What stood around a removed character may compose, such as two Hangul jamo.
    unsure = np.zeros_like(gone)
    unsure[1:] = gone[:-1] & (kinds[1:] >= UNSTABLE)

    points = points[~gone]
    points[points == ord("\t")] = ord(" ")
    whole = points.tobytes().decode("utf-32-le")
    bounds = pairwise((ends - np.searchsorted(places, ends)).tolist())
    kept = [whole[start + 1 : end].strip(" \r\n") for start, end in bounds]
    removed = Counter(dict(zip(map(chr, values.tolist()), counts.tolist(), strict=True)))
    return _composed(kept, unsure, ends), removed, len(marks)


def _composed(
    texts: list[str], unsure: "npt.NDArray[np.bool_]", ends: "npt.NDArray[np.int64]"
) -> list[str]:
    """The texts in NFC; only those with an unsure character are looked at."""
    import numpy as np

    composed = list(texts)
    for i in set(np.searchsorted(ends, np.flatnonzero(unsure)).tolist()):
        composed[i - 1] = normalize("NFC", texts[i - 1])
    return composed


def _repeated_blanks(
    gone: "npt.NDArray[np.bool_]", blank: "npt.NDArray[np.bool_]"
) -> "npt.NDArray[np.int64]":
    """The positions of the blanks before which, but for what is gone, another blank stands."""
    import numpy as np

    places = np.flatnonzero(gone)
    blank[places] = False
    later = np.flatnonzero(blank[1:] & (blank | gone)[:-1]) + 1
    before = later - 1
    behind_gone = gone[before]
    run = np.searchsorted(places, before[behind_gone])
    before[behind_gone] = _run_starts(places)[run] - 1
    return later[blank[before]]


def _run_starts(positions: "npt.NDArray[np.int64]") -> "npt.NDArray[np.int64]":
    """The first position of the run of consecutive positions in which each of them stands."""
    import numpy as np

    opens = np.ones(len(positions), np.bool_)
    opens[1:] = np.diff(positions) != 1
    starts: npt.NDArray[np.int64] = positions[opens][np.cumsum(opens) - 1]
    return starts
