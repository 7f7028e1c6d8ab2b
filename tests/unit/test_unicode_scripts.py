"""Every code point's script, against tables that others made.

fontTools 4.68 and ``regex`` 2026.11 both carry Unicode 18, so no code point is left out of the
comparison. Where one of them is updated alone, ``test_every_code_point...`` shows what came later.
"""

import unicodedata
from collections import Counter
from itertools import pairwise

import pytest
import regex

from ccx_ray.corpus.cleaning.scripts import (
    CODE_POINTS,
    SCRIPTS,
    UNKNOWN_SCRIPT,
    character_class,
    normalization_ranges,
    script_of,
    script_ranges,
)

SURROGATES = range(0xD800, 0xE000)
CHARACTERS = [chr(c) for c in range(CODE_POINTS) if c not in SURROGATES]


def test_every_code_point_has_the_script_that_another_library_gives_it() -> None:
    everything = "".join(CHARACTERS)
    differences = []
    compared: Counter[str] = Counter()
    for script in sorted(SCRIPTS):
        theirs = set(regex.findall(rf"\p{{Script={script}}}", everything))
        ours = {
            chr(code_point)
            for first, last in script_ranges([script])
            for code_point in range(first, last + 1)
            if code_point not in SURROGATES
        }
        compared[script] = len(ours | theirs)
        differences += [(script, hex(ord(c))) for c in sorted(ours ^ theirs)]
    assert differences == []
    assert compared.total() == len(CHARACTERS) == 1_112_064
    assert compared.total() - compared[UNKNOWN_SCRIPT] == 172_873
    assert len(compared) == 178


def test_exactly_the_assigned_code_points_have_a_script() -> None:
    unassigned = regex.compile(r"[\p{Cn}\p{Co}]")
    assert all((script_of(c) == UNKNOWN_SCRIPT) == bool(unassigned.match(c)) for c in CHARACTERS)
    # The interpreter's Unicode may be older than the table, never newer.
    assigned = [c for c in CHARACTERS if unicodedata.category(c) not in {"Cn", "Co"}]
    assert len(assigned) > 144_000
    assert [c for c in assigned if script_of(c) == UNKNOWN_SCRIPT] == []


@pytest.mark.parametrize(
    ("character", "script"),
    [
        ("\u30fc", "Common"),  # the prolonged sound mark, by Script_Extensions Hira and Kana
        ("\u0f0b", "Tibetan"),
        ("\u180e", "Mongolian"),
        ("\u202f", "Common"),
        ("\ufe00", "Inherited"),
        ("\ue000", UNKNOWN_SCRIPT),
        ("\ud800", UNKNOWN_SCRIPT),
        ("\u0378", UNKNOWN_SCRIPT),
        ("Ａ", "Latin"),
    ],
)
def test_it_is_the_script_and_not_its_extensions(character: str, script: str) -> None:
    assert script_of(character) == script


def test_ranges_are_ascending_apart_and_merged() -> None:
    ranges = script_ranges(SCRIPTS)
    assert ranges == [(0, CODE_POINTS - 1)]
    ranges = script_ranges(["Latin", "Common"])
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(ranges))
    assert character_class(script_ranges(["Ogham"])) == r"\x{1680}-\x{169c}"


def test_the_quick_check_finds_all_that_normalization_changes() -> None:
    """Each character alone, and after each of the characters it might compose or swap with."""
    unstable, reorderable = (
        {chr(c) for first, last in ranges for c in range(first, last + 1)}
        for ranges in normalization_ranges()
    )
    safe = [c for c in CHARACTERS if c not in unstable]
    assert all(unicodedata.is_normalized("NFC", c) for c in safe)
    starters = [c for c in CHARACTERS if unicodedata.decomposition(c)] + list("aeiouन가ᄀ한ཨ ")
    followers = [c for c in safe if unicodedata.combining(c)] + list("가ᄀ한ཨa")
    assert set(followers) & reorderable
    stable = [c for c in starters if c not in unstable and c not in reorderable]
    for follower in followers:
        text = "".join(first + follower for first in stable)
        assert unicodedata.normalize("NFC", text) == text
    # Two Tibetan vowels in their right order are in NFC; the pair is looked at nevertheless.
    assert {"\u0f71", "\u0f72"} <= reorderable - unstable
