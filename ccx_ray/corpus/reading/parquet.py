"""Parquet files with a column a field; also the layout of the ``wikimedia/wikipedia`` snapshots
(columns ``id``, ``url``, ``title``, ``text``; the url becomes the source).

A shard is a range of row groups. Where there is no id column and the source names none, rows are
called by their number in the file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ccx_ray.corpus.reading.lines import shown
from ccx_ray.corpus.reading.record import Fault, Fields, Reason, Record, Shard, limited, record_of
from ccx_ray.errors import UserError
from ccx_ray.storage.input_files import InputFile

ROWS = 512
"""Rows that are held at once as Python strings."""


@contextmanager
def _opened(file: InputFile) -> Iterator[Any]:
    from pyarrow import parquet

    filesystem, path = file.filesystem()
    # Without buffering, a whole row group of every column is held: hundreds of MB where groups are.
    with (
        filesystem.open_input_file(path) as raw,
        parquet.ParquetFile(raw, buffer_size=2**20, pre_buffer=False) as opened,
    ):
        yield opened


def check_parquet(file: InputFile, fields: Fields, *, id_is_named: bool, field: str) -> None:
    """Look at the columns of a file.

    Raises:
        UserError: one is missing, or the file is no Parquet file.
    """
    if not file.size:
        return  # counted when it is read
    try:
        with _opened(file) as opened:
            columns = opened.schema_arrow.names
    except (OSError, ValueError) as error:
        raise UserError(
            f"{field}: {file.uri!r} cannot be read as Parquet ({' '.join(str(error).split())}); "
            "give a whole Parquet file, or name the format"
        ) from None
    wanted = (*fields.texts, fields.id) if id_is_named else fields.texts
    for column in wanted:
        if column not in columns:
            raise UserError(
                f"{field}: {file.uri!r} has no column {column!r}, only {', '.join(columns)}; "
                "name the right one with id_field, text_field, english_field or target_field"
            )


def parquet_shards(file: InputFile, shard_bytes: int) -> list[Shard]:
    """Ranges of row groups of about ``shard_bytes`` of the file, at least one."""
    try:
        with _opened(file) as opened:
            metadata = opened.metadata
            groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
            sizes = [
                sum(group.column(i).total_compressed_size for i in range(group.num_columns))
                for group in groups
            ]
    except (OSError, ValueError):
        return [Shard(file, unit="row")]  # the reader says what is wrong with it
    starts, held = [0], 0
    for group, size in enumerate(sizes):
        if held and held + size > shard_bytes:
            starts.append(group)
            held = 0
        held += size
    stops: list[int | None] = [*starts[1:], None]
    return [Shard(file, start, stop, "row") for start, stop in zip(starts, stops, strict=True)]


def read_parquet(
    shard: Shard, fields: Fields, record_bytes: int, *, id_is_named: bool
) -> Iterator[Record | Fault]:
    """The records of a range of row groups, in order."""
    if not shard.file.size:
        yield Fault("", 1, Reason.EMPTY_FILE, "")
        return
    position = 0
    try:
        with _opened(shard.file) as opened:
            for found in _rows(opened, shard, fields, record_bytes, id_is_named):
                position = found.position
                yield found
    except (OSError, ValueError) as error:  # pyarrow's own errors are of these classes
        reason = Reason.TRUNCATED if _is_truncated(shard.file) else Reason.CORRUPT
        yield Fault("", position + 1, reason, " ".join(str(error).split()), ends_file=True)


def _rows(
    opened: Any, shard: Shard, fields: Fields, record_bytes: int, id_is_named: bool
) -> Iterator[Record | Fault]:
    names, metadata, file = opened.schema_arrow.names, opened.metadata, shard.file.name
    has_id = fields.id in names
    wanted = (*fields.texts, fields.id) if id_is_named else fields.texts
    missing = [column for column in wanted if column not in names]
    if missing:
        text = f"no column {missing[0]}, only {', '.join(names)}"
        yield Fault("", 1, Reason.MISSING_COLUMN, text, ends_file=True)
        return
    groups = range(shard.start, metadata.num_row_groups if shard.stop is None else shard.stop)
    before = sum(metadata.row_group(group).num_rows for group in range(shard.start))
    if not metadata.num_rows:
        yield Fault("", 1, Reason.EMPTY_FILE, "")
        return
    columns = [*fields.texts, *([fields.id] if has_id else []), fields.source]
    position = 0
    for batch in opened.iter_batches(
        batch_size=ROWS,
        row_groups=list(groups),
        columns=[column for column in dict.fromkeys(columns) if column in names],
        use_threads=False,
    ):
        rows = batch.num_rows
        first = position + 1
        ids = (
            _values(batch, str(fields.id))
            if has_id
            else [f"{file}:{before + number}" for number in range(first, first + rows)]
        )
        sources = _values(batch, fields.source) if fields.source in names else [file] * rows
        texts = zip(*(_values(batch, column) for column in fields.texts), strict=True)
        for name, source, halves in zip(ids, sources, texts, strict=True):
            position += 1
            for text in halves:
                if text.__class__ is not str or not text or text.isspace():
                    break
            else:
                if (
                    name.__class__ is source.__class__ is str
                    and name.strip()
                    and source.strip()
                    and sum(map(len, halves)) * 4 <= record_bytes
                ):
                    yield Record(name, source, position, halves)
                    continue
            broken = [half for half in halves if half.__class__ is Undecodable]
            if broken:
                called = name if isinstance(name, str) else ""
                yield Fault(called, position, Reason.NOT_UTF8, shown(broken[0]))
            else:
                yield limited(record_of(name, source, position, halves, file), record_bytes)


class Undecodable(bytes):
    """A string that is not UTF-8."""


def _values(batch: Any, column: str) -> list[Any]:
    """The values of a column."""
    import pyarrow as pa

    values = batch.column(column)
    try:
        return values.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError:
        raw = values.cast(pa.large_binary()).to_pylist()
        return [value if value is None else _decoded(value) for value in raw]


def _decoded(value: bytes) -> str | Undecodable:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return Undecodable(value)


def _is_truncated(file: InputFile) -> bool:
    """Whether a file begins as Parquet and does not end so."""
    with file.open() as raw:
        begins = raw.read(4) == b"PAR1"
        raw.seek(max(file.size - 4, 0))
        return begins and raw.read(4) != b"PAR1"
