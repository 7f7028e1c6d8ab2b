"""The text folder: ``documents``, ``pairs`` (of a target language) and ``rejected``.

Invariant: every record that is read stands in exactly one of the three, a rejected one with its
reason and its raw text.
"""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from ccx_ray.corpus.dedup import FirstSeen
from ccx_ray.corpus.isolation import Kind, side_names
from ccx_ray.corpus.parts import PartWriter
from ccx_ray.corpus.scripts import count_by_script

DUPLICATE = "duplicate"
REPEATED_ID = "repeated id"
"""Another text came earlier under the same id, which must name one document."""

DOCUMENTS = pa.schema([("id", pa.string()), ("text", pa.string()), ("source", pa.string())])
PAIRS = pa.schema([(name, pa.string()) for name in ("id", "english", "target", "source")])
REJECTED = pa.schema([(name, pa.string()) for name in ("id", "text", "source", "reason")])


class TextFolder:
    """Writes a text folder from isolated tables that arrive in the order of the source files."""

    def __init__(self, folder: Path, *, pairs: bool) -> None:
        self._stack = ExitStack()
        schemas = {"documents": DOCUMENTS, **({"pairs": PAIRS} if pairs else {})}
        self._writers = {
            name: PartWriter(folder / name, schema)
            for name, schema in {**schemas, "rejected": REJECTED}.items()
        }
        self._texts = {kind: FirstSeen() for kind in schemas}
        self._ids = {kind: FirstSeen() for kind in schemas}
        self._counts: dict[str, Counter[str]] = {kind: Counter() for kind in schemas}
        self._rejected: Counter[str] = Counter()
        self._excluded: Counter[str] = Counter()
        self._marks = 0

    def __enter__(self) -> Self:
        for writer in self._writers.values():
            self._stack.enter_context(writer)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def add(self, table: pa.Table) -> None:
        """Sort the records of one isolated table into their folders."""
        kind: Kind = "documents" if "text" in table.column_names else "pairs"
        reasons = self._reasons(table, kind)
        accepted = pc.is_null(reasons)
        sides = side_names(kind)
        kept = table.filter(accepted)
        self._writers[kind].write(kept)
        rejected = table.set_column(table.schema.get_field_index("reason"), "reason", reasons)
        rejected = rejected.filter(pc.invert(accepted))
        raw = rejected.select(["id", "source", "reason"]).append_column("text", rejected["raw"])
        self._writers["rejected"].write(raw)
        self._rejected.update(rejected["reason"].to_pylist())
        self._excluded.update("".join(table["excluded"].to_pylist()))
        self._marks += pc.sum(table["marks"]).as_py() or 0
        counts = self._counts[kind]
        counts["read"] += table.num_rows
        counts["kept"] += kept.num_rows
        counts["bytes_in"] += _total(pc.binary_length(table["raw"]))
        counts["characters_in"] += _total(pc.utf8_length(table["raw"]))
        for side in sides:
            counts[f"bytes_out_{side}"] += _total(pc.binary_length(kept[side]))
            counts[f"characters_out_{side}"] += _total(pc.utf8_length(kept[side]))

    def _reasons(self, table: pa.Table, kind: Kind) -> pa.Array:
        """The tables' reasons, and those that only the records before can give."""
        reasons: list[str | None] = table["reason"].to_pylist()
        for keys, seen, reason in (
            (table["digest"], self._texts[kind], DUPLICATE),
            (table["id"], self._ids[kind], REPEATED_ID),
        ):
            values = keys.to_pylist()
            standing = [i for i, other in enumerate(reasons) if other is None]
            fresh = seen.admit(values[i] for i in standing)
            for i, is_fresh in zip(standing, fresh, strict=True):
                reasons[i] = None if is_fresh else reason
        return pa.array(reasons, pa.string())

    def counts(self) -> dict[str, Any]:
        """What was read, kept and rejected, and the characters removed by script."""
        removed = count_by_script(self._excluded)
        if self._marks:
            removed["Inherited"] = removed.get("Inherited", 0) + self._marks
        return {
            **{kind: dict(counts) for kind, counts in self._counts.items()},
            "rejected": dict(self._rejected.most_common()),
            "characters_removed_by_script": removed,
        }


def _total(values: pa.ChunkedArray) -> int:
    total: int = pc.sum(values).as_py() or 0
    return total
