"""The check that the two streams of a trial differ in nothing but the togetherness of pairs.

It reads the written streams and knows nothing of how they were made.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from ccx_ray.corpus.packing.bridges import pair_groups
from ccx_ray.corpus.packing.stream import Ints, Stream
from ccx_ray.corpus.tokenizing.tokens import TokenCorpus

ROWS_AT_ONCE = 16_384


class ConditionsDifferError(Exception):
    """The two streams of a trial are not comparable; a defect of the program."""


def check_conditions(bridge_folder: Path, nobridge_folder: Path, corpus: TokenCorpus) -> None:
    """Check the invariants of ``mixing`` on what was written.

    Raises:
        ConditionsDifferError: the parallel rows stand at different positions; a monolingual row
            differs; a document's bytes are not consumed equally often; or a no-bridge row holds
            an English half and a target half of one group of pairs.
    """
    bridge, nobridge = Stream.open(bridge_folder), Stream.open(nobridge_folder)
    if bridge.rows != nobridge.rows:
        raise ConditionsDifferError(f"{bridge.rows} bridge rows, {nobridge.rows} no-bridge rows")
    groups = pair_groups(*corpus.half_keys())
    consumed = np.zeros((2, len(corpus.lengths)), np.int64)
    for first in range(0, bridge.rows, ROWS_AT_ONCE):
        rows = np.arange(first, min(bridge.rows, first + ROWS_AT_ONCE), dtype=np.int64)
        segments = [stream.segments(rows) for stream in (bridge, nobridge)]
        parallel = [_parallel_rows(table, corpus, len(rows)) for table in segments]
        if not np.array_equal(parallel[0], parallel[1]):
            raise ConditionsDifferError(f"parallel rows of {first}... stand at other positions")
        same = rows[~parallel[0]]
        if not np.array_equal(bridge.read(same), nobridge.read(same)):
            raise ConditionsDifferError(f"a monolingual row of {first}... differs")
        for condition, table in enumerate(segments):
            consumed[condition] += np.bincount(
                _ints(table, "document"), _ints(table, "length"), len(corpus.lengths)
            ).astype(np.int64)
        _check_apart(segments[1], corpus, groups, first)
    if not np.array_equal(consumed[0], consumed[1]):
        document = int(np.flatnonzero(consumed[0] != consumed[1])[0])
        raise ConditionsDifferError(f"document {document} is not consumed equally often")


def _ints(table: pa.Table, column: str) -> Ints:
    values: Ints = table[column].to_numpy()
    return values


def _halves(segments: pa.Table, corpus: TokenCorpus) -> np.ndarray:
    """[segments] whether a segment is of a half of a pair."""
    half = _ints(segments, "document") - corpus.monolingual
    return (half >= 0) & (half < 2 * corpus.pairs)


def _parallel_rows(segments: pa.Table, corpus: TokenCorpus, rows: int) -> np.ndarray:
    """[rows] whether a row holds a half of a pair."""
    halves = _halves(segments, corpus)
    return np.bincount(_ints(segments, "row")[halves], minlength=rows) > 0


def _check_apart(segments: pa.Table, corpus: TokenCorpus, groups: Ints, first: int) -> None:
    halves = _halves(segments, corpus)
    row = _ints(segments, "row")[halves]
    half = _ints(segments, "document")[halves] - corpus.monolingual
    both = np.stack([row, groups[half // 2], half % 2], axis=1)
    distinct = np.unique(both, axis=0)
    _, sides = np.unique(distinct[:, :2], axis=0, return_counts=True)
    if (sides > 1).any():
        raise ConditionsDifferError(f"a no-bridge row of {first}... holds both halves of a pair")
