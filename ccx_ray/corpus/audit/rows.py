"""Every training row of the two conditions of a language and seed, counted.

What is counted: tokens by kind, rows that are equal where they must be, and pairs whose halves
stand together in a row. Everything is a sum, so the rows can be counted in any cut.
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ccx_ray.corpus.audit.code_points import Ints
from ccx_ray.corpus.audit.halves import ENGLISH, KINDS, TARGET, Halves
from ccx_ray.corpus.packing.stream import Stream

CONDITIONS = ("bridge", "nobridge")
TOKENS_AT_ONCE = 2**21


class _Rows(NamedTuple):
    """Some rows of one condition."""

    ids: npt.NDArray[np.int32]
    """[rows, L]"""
    row: Ints
    """[segments], and the others likewise."""
    document: Ints
    start: Ints
    length: Ints
    parallel: npt.NDArray[np.bool_]
    """[rows] whether it holds a half of a pair."""


def count_rows(folder: Path, halves: Halves, first: int, last: int) -> Counter[str]:
    """Count the rows ``[first, last)`` of both conditions of a stream folder.

    Returns:
        counts of ``<condition>/<what>`` and of ``both/<what>``; see ``figures.StreamFigures``.
    """
    streams = {condition: Stream.open(folder / condition) for condition in CONDITIONS}
    counts: Counter[str] = Counter()
    step = max(1, TOKENS_AT_ONCE // streams["bridge"].sequence_length)
    for begin in range(first, last, step):
        wanted = np.arange(begin, min(last, begin + step), dtype=np.int64)
        read = {}
        for condition, stream in streams.items():
            rows = read[condition] = _read(stream, wanted[wanted < stream.rows], halves)
            tokens = _tokens(rows, halves, stream)
            counts.update({f"{condition}/tokens/{kind}": n for kind, n in tokens.items()})
            together = _together(rows, halves)
            counts.update({f"{condition}/{what}": n for what, n in together.items()})
            counts[f"{condition}/rows"] += len(rows.ids)
            counts[f"{condition}/monolingual_rows"] += int((~rows.parallel).sum())
        counts.update(_alike(read["bridge"], read["nobridge"]))
    return counts


def _read(stream: Stream, wanted: Ints, halves: Halves) -> _Rows:
    segments = stream.segments(wanted)
    row, document, start, length = (
        segments[name].to_numpy() for name in ("row", "document", "start", "length")
    )
    holds = np.isin(halves["kind"][document], (ENGLISH, TARGET))
    parallel = np.bincount(row[holds], minlength=len(wanted)) > 0
    return _Rows(stream.read(wanted), row, document, start, length, parallel)


def _tokens(rows: _Rows, halves: Halves, stream: Stream) -> dict[str, int]:
    """Tokens by kind of text; in parallel rows a half's are counted where it begins."""
    end, padding = rows.ids == stream.eos_id, rows.ids == stream.pad_id
    text, kind = ~(end | padding), halves["kind"][rows.document]
    in_parallel = rows.parallel[rows.row]
    counts = {"end_of_text": int(end.sum()), "padding": int(padding.sum())}
    begins = (rows.start == 0) & in_parallel
    tokens = halves["tokens"][rows.document]
    for number in (ENGLISH, TARGET):
        counts[KINDS[number]] = int(tokens[begins & (kind == number)].sum())
    others = int(text[rows.parallel].sum())
    counts["separator"] = others - counts["english"] - counts["target"]
    # In the other rows every segment is one run of text, closed by an end-of-text or by the row.
    first = text.copy()
    first[:, 1:] &= ~text[:, :-1]
    described = first.sum(axis=1) == np.bincount(rows.row, minlength=len(text))
    counts["undescribed"] = int(text[~described & ~rows.parallel].sum())
    plain = described & ~rows.parallel
    run = np.cumsum(first[plain].ravel()) - 1
    kind_of_run = kind[plain[rows.row]]
    by_kind = np.bincount(kind_of_run[run[text[plain].ravel()]], minlength=len(KINDS))
    for number in (KINDS.index("monolingual"), KINDS.index("replay")):
        counts[KINDS[number]] = int(by_kind[number])
    return counts


def _together(rows: _Rows, halves: Halves) -> dict[str, int]:
    """Pairs, and groups of pairs with a text in common, of which a row holds both sides."""
    about = halves[rows.document]
    half = about["pair"] >= 0
    whole = (rows.start == 0) & (rows.length == about["bytes"])
    side = (about["kind"] == TARGET).astype(np.int64)
    pairs = _both_sides(rows.row[half], about["pair"][half], side[half])
    wholly = half & whole
    whole_pairs = _both_sides(rows.row[wholly], about["pair"][wholly], side[wholly])
    groups = _both_sides(rows.row[half], about["group"][half], side[half])
    beginning = half & (rows.start == 0)
    return {
        "pairs": int((beginning & (side == 0)).sum()),
        "target_halves": int((beginning & (side == 1)).sum()),
        "together": _meetings(
            pairs, rows.row[beginning], about["pair"][beginning], side[beginning]
        ),
        "together_whole": len(whole_pairs),
        "rows_with_both_halves": len(np.unique(pairs[:, 0])),
        "rows_with_both_sides_of_a_group": len(np.unique(groups[:, 0])),
        # Equal if and, but for one chance in 2**64, only if the same bytes are consumed.
        "halves_digest": _digest(rows.document[half], rows.length[half]),
    }


def _meetings(both: Ints, row: Ints, pair: Ints, side: Ints) -> int:
    """How often halves meet: once a row that holds both sides of a pair, and once more for every
    further time that the pair begins anew in that row, at the border of two passes.

    Args:
        both: [n, 2] row and pair.
        row, pair, side: of every half that begins.
    """
    size = int(max(pair.max(initial=0), both[:, 1].max(initial=0))) + 1
    begun, times = np.unique((row * size + pair) * 2 + side, return_counts=True)
    met = np.ones(len(both), np.int64)
    for of in (0, 1):
        key = (both[:, 0] * size + both[:, 1]) * 2 + of
        place = np.searchsorted(begun, key)
        found = place < len(begun)
        found[found] = begun[place[found]] == key[found]
        met[found] = np.maximum(met[found], times[place[found]])
    return int(met.sum())


def _both_sides(row: Ints, whose: Ints, side: Ints) -> Ints:
    """[n, 2] row and pair (or group) of which the row holds an English and a target side."""
    distinct = np.unique(np.stack([row, whose, side], axis=1).reshape(-1, 3), axis=0)
    same = (distinct[1:, :2] == distinct[:-1, :2]).all(axis=1)
    both: Ints = distinct[1:][same][:, :2]
    return both


def _digest(document: Ints, length: Ints) -> int:
    mixed = (document.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(32)
    return int((mixed * length.astype(np.uint64)).sum(dtype=np.uint64))


def _alike(bridge: _Rows, nobridge: _Rows) -> dict[str, int]:
    """Rows that must be equal in both conditions, and those that are not."""
    rows = min(len(bridge.ids), len(nobridge.ids))
    alone = [~bridge.parallel[:rows], ~nobridge.parallel[:rows]]
    both = alone[0] & alone[1]
    equal = (bridge.ids[:rows] == nobridge.ids[:rows]).all(axis=1)
    return {
        "both/monolingual_rows": int(both.sum()),
        "both/identical_rows": int((both & equal & _same_segments(bridge, nobridge, rows)).sum()),
    }


def _same_segments(bridge: _Rows, nobridge: _Rows, rows: int) -> npt.NDArray[np.bool_]:
    """[rows] whether the same bytes of the same documents stand in the same order."""
    same: npt.NDArray[np.bool_] = _segment_digests(bridge, rows) == _segment_digests(nobridge, rows)
    return same


def _segment_digests(rows: _Rows, number: int) -> npt.NDArray[np.uint64]:
    place = np.arange(len(rows.row)) - np.searchsorted(rows.row, rows.row)
    mixed = np.zeros(len(rows.row), np.uint64)
    for values in (rows.document, rows.start, rows.length, place):
        mixed = (mixed ^ values.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(31)
    digests = np.zeros(len(rows.ids), np.uint64)
    np.add.at(digests, rows.row, mixed)
    return digests[:number]
