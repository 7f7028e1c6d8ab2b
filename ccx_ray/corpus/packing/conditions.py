"""The streams of the conditions of a language and seed, row by row: what they hold, and the check
that they differ in nothing but which halves of pairs stand together.

It reads the written streams and knows nothing of how they were made. Everything that is counted is
a sum, so the rows can be counted in any cut. The preparation of the streams and the audit judge the
same figures.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from ccx_ray.corpus.packing.separation import Keys, pair_groups
from ccx_ray.corpus.packing.stream import Ints, Stream
from ccx_ray.corpus.tokenizing.tokens import PARTS, TokenCorpus
from ccx_ray.corpus.tokenizing.tokens import spans as token_spans
from ccx_ray.study.spec import Condition

MONOLINGUAL, ENGLISH, TARGET, REPLAY = range(len(PARTS))
TOKENS_AT_ONCE = 2**21

DOCUMENT = np.dtype(
    [
        ("kind", np.int8),  # of PARTS
        ("pair", np.int64),  # -1 where the document is no half of a pair
        ("group", np.int64),  # pairs that share an English or a target text, directly or not
        ("tokens", np.int64),
        ("bytes", np.int64),  # of halves, where they are known; else 0
    ]
)
Documents = npt.NDArray[np.void]
"""[documents] of ``DOCUMENT``: what the numbers in a stream's segments mean."""


SPAN = np.dtype(
    [("document", np.int64), ("start", np.int64), ("end", np.int64), ("kind", np.int8),
     ("group", np.int64)]
)  # fmt: skip
"""What a document that is no half of a pair says of one: from byte to byte, ``ENGLISH`` or
``TARGET``."""


class Contents(NamedTuple):
    """What the documents of a language's streams say of its pairs."""

    groups: Ints
    """[documents] the group of every half by its content, -1 of other documents."""
    spans: npt.NDArray[np.void]
    """[spans] of ``SPAN``, in the order of their documents."""


class ConditionsDifferError(Exception):
    """The conditions of a language and seed are not comparable; a defect of the program."""


class Figures(BaseModel):
    """Figures that are written as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ConditionFigures(Figures):
    """One condition of a language and seed."""

    rows: int
    monolingual_rows: int
    """Rows without a half of a pair."""
    tokens: dict[str, int]
    """monolingual, english, target, replay, separator, end_of_text, padding, and undescribed: of
    rows without halves whose segments do not fit their tokens; must be 0."""
    pairs: int
    """That are shown, once a pass."""
    target_halves: int
    together: int
    """How often the halves of a pair stand together in a row, at least in part."""
    together_whole: int
    """Pairs whose halves stand together in a row as a whole."""
    rows_with_both_halves: int
    rows_with_both_sides_of_a_group: int
    """Pairs with a text in common are a group."""
    rows_with_both_sides_by_content: int
    """The same for pairs that have a half in common but for what stands between its words, and for
    sentences inside other documents; 0 where contents were not compared."""

    @property
    def used(self) -> int:
        """Tokens but padding."""
        return sum(number for kind, number in self.tokens.items() if kind != "padding")


class StreamFigures(Figures):
    """The conditions of a language and seed."""

    stream: str
    bridge: ConditionFigures
    nobridge: ConditionFigures
    deranged: ConditionFigures | None = None
    """Where the study names it."""
    rows_at_equal_positions: int
    """Positions at which no condition has a parallel row."""
    identical_rows: int
    """Of them, rows with the same tokens from the same documents in all conditions."""
    same_halves: bool
    """All conditions consume the same bytes of every half."""

    @property
    def conditions(self) -> dict[str, ConditionFigures]:
        """Of every condition, by its name as it is written."""
        return {"bridge": self.bridge, **self.apart}

    @property
    def apart(self) -> dict[str, ConditionFigures]:
        """Of the conditions in which no row may hold both halves of a pair."""
        deranged = {} if self.deranged is None else {"deranged": self.deranged}
        return {"no-bridge": self.nobridge, **deranged}

    @property
    def rows_with_both(self) -> int:
        """Rows that hold both sides of a group of pairs and must not."""
        return sum(condition.rows_with_both_sides_of_a_group for condition in self.apart.values())

    @property
    def differing_rows(self) -> int:
        """Monolingual rows of any condition without equal ones at their position in all others."""
        return sum(c.monolingual_rows - self.identical_rows for c in self.conditions.values())

    @property
    def token_difference(self) -> int:
        """Bridge minus the condition that is farthest from it."""
        return max((self.bridge.used - c.used for c in self.apart.values()), key=abs)

    @property
    def token_difference_share(self) -> float:
        return abs(self.token_difference) / max(1, *(c.used for c in self.conditions.values()))


def check_conditions(folders: Mapping[Condition, Path], corpus: TokenCorpus) -> None:
    """Check the invariants of ``mixing`` on what was written, each condition against bridge.

    Raises:
        ConditionsDifferError: the parallel rows stand at different positions; a monolingual row
            differs; a row does not hold equally many tokens; the bytes of the halves are not
            consumed equally often; a row of a condition other than bridge holds an English half and
            a target half of one group of pairs; or the halves of deranged do not stand two by two.
    """
    streams = {condition: Stream.open(folder) for condition, folder in folders.items()}
    rows = {condition: stream.rows for condition, stream in streams.items()}
    if len(set(rows.values())) > 1:
        raise ConditionsDifferError(f"the conditions have different numbers of rows: {rows}")
    bridge = streams["bridge"]
    documents = describe_documents(bridge, corpus.lengths, *corpus.half_keys())
    counts = count_rows(streams, documents, 0, bridge.rows)
    found = stream_figures("", counts)
    expected = found.rows_at_equal_positions
    for condition in found.conditions.values():
        if moved := condition.monolingual_rows - expected:
            raise ConditionsDifferError(f"{moved} parallel rows are at other positions")
    if differing := expected - found.identical_rows:
        raise ConditionsDifferError(f"{differing} of {expected} monolingual rows differ")
    if unequal := counts["all/unequal_rows"]:
        raise ConditionsDifferError(f"{unequal} rows have different numbers of tokens")
    for name, condition in found.apart.items():
        if together := condition.rows_with_both_sides_of_a_group:
            raise ConditionsDifferError(f"{together} {name} rows contain both halves of a pair")
    if not found.same_halves:
        raise ConditionsDifferError("the halves of pairs are not consumed equally often")
    pairs = found.bridge.tokens["separator"]
    if found.deranged and (twos := found.deranged.tokens["separator"]) != pairs:
        raise ConditionsDifferError(f"{twos} of {pairs} deranged documents have two halves")


def stream_figures(stream: str, counts: Counter[str]) -> StreamFigures:
    """The figures of the conditions of ``stream`` from what ``count_rows`` counted."""
    counted = {what.partition("/")[0] for what in counts}

    def condition(of: Condition) -> ConditionFigures:
        names = ConditionFigures.model_fields.keys() - {"tokens"}
        tokens = {
            what.removeprefix(f"{of}/tokens/"): number
            for what, number in counts.items()
            if what.startswith(f"{of}/tokens/")
        }
        return ConditionFigures(tokens=tokens, **{name: counts[f"{of}/{name}"] for name in names})

    # Equal if and, but for one chance in 2**64, only if the same bytes are consumed.
    digests = {n % 2**64 for what, n in counts.items() if what.endswith("/halves_digest")}
    return StreamFigures(
        stream=stream,
        bridge=condition("bridge"),
        nobridge=condition("nobridge"),
        deranged=condition("deranged") if "deranged" in counted else None,
        rows_at_equal_positions=counts["all/monolingual_rows"],
        identical_rows=counts["all/identical_rows"],
        same_halves=len(digests) == 1,
    )


def describe_documents(
    stream: Stream,
    tokens: Ints,
    english: Keys,
    target: Keys,
    sizes: tuple[Ints, Ints] | None = None,
) -> Documents:
    """What the documents of a language's streams are.

    Args:
        stream: one of its streams; all of them number documents alike.
        tokens: [documents] tokens of each; of replayed ones, which come last, it may lack them.
        english, target: [pairs] digests of the halves; equal digests mean equal texts.
        sizes: [pairs] bytes of the English and of the target halves.

    Raises:
        ValueError: the stream's halves are not as many.
    """
    batches = (batch.select(["part"]) for batch in stream.document_batches())
    part = pa.concat_tables(batches)["part"]
    table = np.zeros(len(part), DOCUMENT)
    table["kind"] = pc.index_in(part, pa.array(PARTS)).fill_null(0).to_numpy()
    table["pair"], table["group"] = -1, -1
    known = min(len(table), len(tokens))
    table["tokens"][:known] = tokens[:known]
    groups = pair_groups(english, target)
    for side, kind in enumerate((ENGLISH, TARGET)):
        halves = np.flatnonzero(table["kind"] == kind)
        if len(halves) != len(groups):
            raise ValueError(
                f"{stream.folder}: {len(halves)} {PARTS[kind]} halves, {len(groups)} in the text"
            )
        table["pair"][halves], table["group"][halves] = np.arange(len(groups)), groups
        table["bytes"][halves] = sizes[side] if sizes else 0
    return table


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


def count_rows(
    streams: Mapping[Condition, Stream],
    documents: Documents,
    first: int,
    last: int,
    contents: Contents | None = None,
) -> Counter[str]:
    """Count the rows ``[first, last)`` of every condition.

    Args:
        contents: where sentences are to be told by what they say, not by their digests alone.

    Returns:
        counts of ``<condition>/<what>`` and of ``all/<what>``: tokens by kind, pairs whose halves
        stand together in a row, rows that are equal where they must be; see ``stream_figures``.
    """
    counts: Counter[str] = Counter()
    step = max(1, TOKENS_AT_ONCE // streams["bridge"].sequence_length)
    for begin in range(first, last, step):
        wanted = np.arange(begin, min(last, begin + step), dtype=np.int64)
        read = []
        for condition, stream in streams.items():
            rows = _read(stream, wanted[wanted < stream.rows], documents)
            found = {
                "rows": len(rows.ids),
                "monolingual_rows": int((~rows.parallel).sum()),
                **_tokens(rows, documents, stream),
                **_together(rows, documents),
                **({} if contents is None else _together_by_content(rows, documents, contents)),
            }
            counts.update({f"{condition}/{what}": number for what, number in found.items()})
            read.append(rows)
        pads = [stream.pad_id for stream in streams.values()]
        counts.update(_alike(read, pads))
    return counts


def _read(stream: Stream, wanted: Ints, documents: Documents) -> _Rows:
    segments = stream.segments(wanted)
    row, document, start, length = (
        segments[name].to_numpy() for name in ("row", "document", "start", "length")
    )
    half = documents["pair"][document] >= 0
    parallel = np.bincount(row[half], minlength=len(wanted)) > 0
    return _Rows(stream.read(wanted), row, document, start, length, parallel)


def _tokens(rows: _Rows, documents: Documents, stream: Stream) -> dict[str, int]:
    """Tokens by kind of text; in parallel rows a half's are counted where it begins."""
    end, padding = rows.ids == stream.eos_id, rows.ids == stream.pad_id
    text, kind = ~(end | padding), documents["kind"][rows.document]
    begins = (rows.start == 0) & rows.parallel[rows.row]
    tokens = documents["tokens"][rows.document]
    halves = [int(tokens[begins & (kind == side)].sum()) for side in (ENGLISH, TARGET)]
    # In the other rows every segment is one run of text, closed by an end-of-text or by the row.
    first = text.copy()
    first[:, 1:] &= ~text[:, :-1]
    described = first.sum(axis=1) == np.bincount(rows.row, minlength=len(text))
    plain = described & ~rows.parallel
    run = np.cumsum(first[plain].ravel()) - 1
    kind_of_run = kind[plain[rows.row]]
    by_kind = np.bincount(kind_of_run[run[text[plain].ravel()]], minlength=len(PARTS))
    counts = {
        "monolingual": by_kind[MONOLINGUAL],
        "english": halves[0],
        "target": halves[1],
        "replay": by_kind[REPLAY],
        "separator": text[rows.parallel].sum() - sum(halves),
        "end_of_text": end.sum(),
        "undescribed": text[~described & ~rows.parallel].sum(),
        "padding": padding.sum(),
    }
    return {f"tokens/{kind}": int(number) for kind, number in counts.items()}


def _together(rows: _Rows, documents: Documents) -> dict[str, int]:
    """Pairs, and groups of pairs with a text in common, of which a row holds both sides."""
    about = documents[rows.document]
    half, begins = about["pair"] >= 0, rows.start == 0
    whole = half & begins & (rows.length == about["bytes"])
    sides = [half & (about["kind"] == kind) for kind in (ENGLISH, TARGET)]
    pair, group = (rows.row * len(documents) + about[name] for name in ("pair", "group"))

    def both(key: Ints, which: npt.NDArray[np.bool_]) -> Ints:
        """Rows and pairs (or groups), as one number, of which the row holds both sides."""
        held: Ints = np.intersect1d(*(key[which & side] for side in sides))
        return held

    pairs, groups = both(pair, half), both(group, half)
    # Halves meet once more for every time that a pair begins anew in a row, between two passes.
    meetings = np.ones(len(pairs), np.int64)
    for side in sides:
        begun, times = np.unique(pair[begins & side], return_counts=True)
        met = np.isin(begun, pairs)
        place = np.searchsorted(pairs, begun[met])
        meetings[place] = np.maximum(meetings[place], times[met])
    return {
        "pairs": int((begins & sides[0]).sum()),
        "target_halves": int((begins & sides[1]).sum()),
        "together": int(meetings.sum()),
        "together_whole": len(both(pair, whole)),
        "rows_with_both_halves": len(np.unique(pairs // len(documents))),
        "rows_with_both_sides_of_a_group": len(np.unique(groups // len(documents))),
        "halves_digest": _digest(rows.document[half], rows.length[half]),
    }


def _together_by_content(rows: _Rows, documents: Documents, contents: Contents) -> dict[str, int]:
    """Rows in which both sides of a group stand, as halves or inside other documents."""
    group, kind = contents.groups[rows.document], documents["kind"][rows.document]
    # Every span once for each segment that holds any of its bytes.
    spans = contents.spans
    first = np.searchsorted(spans["document"], rows.document, side="left")
    many = np.searchsorted(spans["document"], rows.document, side="right") - first
    segment, inside = np.repeat(np.arange(len(rows.row)), many), spans[token_spans(first, many)]
    start, end = rows.start[segment], (rows.start + rows.length)[segment]
    held = (inside["start"] < end) & (inside["end"] > start)
    keys = rows.row * len(documents) + group
    keys_inside = rows.row[segment] * len(documents) + inside["group"]

    def of_side(side: int) -> Ints:
        """Rows and groups, as one number, of which the row holds this side."""
        half, within = (kind == side) & (group >= 0), held & (inside["kind"] == side)
        return np.concatenate([keys[half], keys_inside[within]])

    both = np.intersect1d(of_side(ENGLISH), of_side(TARGET)) // len(documents)
    return {"rows_with_both_sides_by_content": len(np.unique(both))}


def _digest(document: Ints, length: Ints) -> int:
    mixed = (document.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(32)
    return int((mixed * length.astype(np.uint64)).sum(dtype=np.uint64))


def _alike(conditions: Sequence[_Rows], pads: Sequence[int]) -> dict[str, int]:
    """Rows that must be equal in all conditions, those that are (the same tokens from the same
    bytes of the same documents), and those that do not hold equally many tokens."""
    rows = min(len(condition.ids) for condition in conditions)
    parallel = [condition.parallel[:rows] for condition in conditions]
    monolingual = ~np.logical_or.reduce(parallel)
    alike, (bridge, *others) = monolingual.copy(), conditions
    for other in others:
        alike &= _equal_rows(bridge, other, rows)
    used = [(c.ids[:rows] != pad).sum(axis=1) for c, pad in zip(conditions, pads, strict=True)]
    return {
        "all/monolingual_rows": int(monolingual.sum()),
        "all/identical_rows": int(alike.sum()),
        "all/unequal_rows": int((np.ptp(used, axis=0) > 0).sum()),
    }


def _equal_rows(bridge: _Rows, other: _Rows, rows: int) -> npt.NDArray[np.bool_]:
    """[rows] whether each row holds the same tokens from the same bytes of the same documents."""
    sizes = [np.bincount(r.row, minlength=rows)[:rows] for r in (bridge, other)]
    equal: npt.NDArray[np.bool_] = (bridge.ids[:rows] == other.ids[:rows]).all(axis=1)
    equal &= sizes[0] == sizes[1]
    # Rows with equally many segments: one behind the other they can be compared as arrays.
    of_equal = [
        np.stack([r.row, r.document, r.start, r.length])[:, : size.sum()]
        for r, size in zip((bridge, other), sizes, strict=True)
    ]
    ours, theirs = (segments[:, equal[segments[0]]] for segments in of_equal)
    equal[ours[0, (ours != theirs).any(axis=0)]] = False
    return equal
