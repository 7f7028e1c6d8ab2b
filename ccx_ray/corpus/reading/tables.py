"""Formats whose records are rows of named columns: Parquet files, data sets of the Hugging Face hub
(or local folders in their layout, both read through ``datasets``), and text divided by tabs.

Rows without an id are called by their file, or data set and shard, and their number. The Parquet of
the ``wikimedia/wikipedia`` snapshots has the columns ``id``, ``url``, ``title``, ``text``; the url
becomes the source. A column within a column is called by its dotted name (``translation.en``, as in
the hub's layout of translations). Bytes that no annotation calls text are read as UTF-8. Data sets
are streamed: nothing is downloaded that is not read.

Tab-separated text is without quoting. Where the source names a field, the first line of every file
names the columns; an id column is then the one called ``id_field``, or ``id`` if there is one.
Where it names none, there is no such line: a pair is two columns, English first, and a document is
one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ccx_ray.corpus.reading.lines import first_line, read_lines, shown
from ccx_ray.corpus.reading.record import (
    SHOWN_CHARACTERS,
    Fault,
    Fields,
    Reason,
    Record,
    Shard,
    limited,
    record_of,
    value_at,
)
from ccx_ray.errors import UserError
from ccx_ray.storage.input_files import InputFile
from ccx_ray.study.text_spec import SourceSpec

ROWS = 512
"""Rows of Parquet that are held at once as Python strings."""
NAME_COLUMNS = "name the right one with id_field, text_field, english_field or target_field"


def _problem(source: SourceSpec, fields: Fields, columns: Sequence[str]) -> str:
    """Why a needed column cannot be read, and what to do: it is missing, or stands twice; empty
    where all can."""
    wanted = fields.texts if source.id_field is None else (*fields.texts, source.id_field)
    for column in wanted:
        if column not in columns:
            return f"no column {column!r}, only {', '.join(columns)[:300]}; {NAME_COLUMNS}"
    for column in (*wanted, str(fields.id), fields.source):
        if (times := columns.count(column)) > 1:
            return f"the column {column!r} {times} times; rename all but one"
    return ""


def _no_column(problem: str, position: int = 1) -> Fault:
    return Fault("", position, Reason.MISSING_COLUMN, problem[:SHOWN_CHARACTERS], ends_file=True)


def _leaves(fields: Iterable[Any], above: str = "") -> list[tuple[str, Any]]:
    """(dotted name, type) of every column that holds no columns itself."""
    leaves: list[tuple[str, Any]] = []
    for field in fields:
        name = above + field.name
        inner = [field.type.field(n) for n in range(field.type.num_fields)]
        if str(field.type).startswith("struct<"):
            leaves += _leaves(inner, f"{name}.")
        else:
            leaves.append((name, field.type))
    return leaves


def _is_text(type_: Any) -> bool:
    """Whether the values of an Arrow type are texts, or bytes that may be."""
    import pyarrow as pa

    if isinstance(type_, pa.DictionaryType):
        type_ = type_.value_type
    elif isinstance(type_, pa.BaseExtensionType):
        type_ = type_.storage_type
    return str(type_).startswith(
        ("string", "large_string", "binary", "large_binary", "fixed_size_binary", "null")
    )


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


def check_parquet(file: InputFile, source: SourceSpec, fields: Fields, *, field: str) -> None:
    """Look at the columns of a file that is not empty.

    Raises:
        UserError: one is missing, or the file is no Parquet file.
    """
    try:
        with _opened(file) as opened:
            columns = _leaves(opened.schema_arrow)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{field}: {file.uri!r} cannot be read as Parquet ({' '.join(str(error).split())}); "
            "give a complete Parquet file, or set format"
        ) from None
    if problem := _problem(source, fields, [name for name, _ in columns]):
        raise UserError(f"{field}: {file.uri!r} has {problem}")
    for name, type_ in columns:
        if name in fields.texts and not _is_text(type_):
            raise UserError(
                f"{field}: the column {name!r} of {file.uri!r} contains {type_}, not text; "
                f"{NAME_COLUMNS}"
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
    shard: Shard, source: SourceSpec, fields: Fields, record_bytes: int
) -> Iterator[Record | Fault]:
    """The records of a range of row groups, in order."""
    if not shard.file.size:
        yield Fault("", 1, Reason.EMPTY_FILE, "")
        return
    position = 0
    try:
        with _opened(shard.file) as opened:
            for found in _parquet_rows(opened, shard, source, fields, record_bytes):
                position = found.position
                yield found
    except (OSError, ValueError) as error:  # pyarrow's own errors are of these classes
        reason = Reason.TRUNCATED if _is_truncated(shard.file) else Reason.CORRUPT
        yield Fault("", position + 1, reason, " ".join(str(error).split()), ends_file=True)


def _parquet_rows(
    opened: Any, shard: Shard, source: SourceSpec, fields: Fields, record_bytes: int
) -> Iterator[Record | Fault]:
    metadata, file = opened.metadata, shard.file.name
    names = [name for name, _ in _leaves(opened.schema_arrow)]
    if problem := _problem(source, fields, names):
        yield _no_column(problem)
        return
    if not metadata.num_rows:
        yield Fault("", 1, Reason.EMPTY_FILE, "")
        return
    groups = range(shard.start, metadata.num_row_groups if shard.stop is None else shard.stop)
    before = sum(metadata.row_group(group).num_rows for group in range(shard.start))
    columns = dict.fromkeys([*fields.texts, str(fields.id), fields.source])
    position = 0
    for batch in opened.iter_batches(
        batch_size=ROWS,
        row_groups=list(groups),
        columns=[column for column in columns if column in names],
        use_threads=False,
    ):
        numbers = range(before + position + 1, before + position + 1 + batch.num_rows)
        ids = (
            _values(batch, str(fields.id))
            if fields.id in names
            else [f"{file}:{number}" for number in numbers]
        )
        sources = (
            _values(batch, fields.source) if fields.source in names else [file] * batch.num_rows
        )
        texts = zip(*(_values(batch, column) for column in fields.texts), strict=True)
        for name, where, halves in zip(ids, sources, texts, strict=True):
            position += 1
            for text in halves:
                if text.__class__ is not str or not text or text.isspace():
                    break
            else:
                if (
                    name.__class__ is where.__class__ is str
                    and name.strip()
                    and where.strip()
                    and sum(map(len, halves)) * 4 <= record_bytes
                ):
                    yield Record(name, where, position, halves)
                    continue
            broken = [half for half in halves if half.__class__ is _Undecodable]
            if broken:
                called = name if isinstance(name, str) else ""
                yield Fault(called, position, Reason.NOT_UTF8, shown(broken[0]))
            else:
                yield limited(record_of(name, where, position, halves, file), record_bytes)


class _Undecodable(bytes):
    """A string that is not UTF-8."""


def _values(batch: Any, column: str) -> list[Any]:
    """The values of a column, or of one within a column by its dotted name; bytes as text where
    they are UTF-8."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column in batch.schema.names:
        values = batch.column(column)
    else:
        above, *path = column.split(".")
        values = batch.column(above)
        for name in path:
            values = pc.struct_field(values, name)
    try:
        found: list[Any] = values.to_pylist()
    except UnicodeDecodeError:
        if isinstance(values, pa.DictionaryArray):
            values = values.dictionary_decode()
        found = values.cast(pa.large_binary()).to_pylist()
    return list(map(_text, found))


def _decoded(value: bytes) -> str | _Undecodable:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return _Undecodable(value)


def _text(value: Any) -> Any:
    """Bytes as text where they are UTF-8; everything else as it is."""
    return _decoded(value) if value.__class__ is bytes else value


def _is_truncated(file: InputFile) -> bool:
    """Whether a file begins as Parquet and does not end so."""
    with file.open() as raw:
        begins = raw.read(4) == b"PAR1"
        raw.seek(max(file.size - 4, 0))
        return begins and raw.read(4) != b"PAR1"


def check_dataset(source: SourceSpec, fields: Fields, *, root: Path, field: str) -> None:
    """Look for the data set and its columns.

    Raises:
        UserError: it cannot be reached, or a column is missing.
    """
    rows = _load(source, _dataset_name(source, root), field)
    columns = _feature_names(rows.features) if rows.features else rows.column_names
    if columns and (problem := _problem(source, fields, columns)):
        raise UserError(f"{field}: {source.label} has {problem}")


def _feature_names(features: Mapping[str, Any], above: str = "") -> list[str]:
    """As ``_leaves`` names them, of the features of a data set."""
    names: list[str] = []
    for name, feature in features.items():
        inner = feature if isinstance(feature, Mapping) else getattr(feature, "languages", None)
        if not inner:
            names.append(above + name)
        elif isinstance(inner, Mapping):
            names += _feature_names(inner, f"{above}{name}.")
        else:  # of the feature Translation
            names += [f"{above}{name}.{language}" for language in inner]
    return names


def dataset_shards(source: SourceSpec, *, root: Path, field: str) -> list[Shard]:
    """One shard for each of the files that the library divides the data set into.

    Raises:
        UserError: it cannot be reached.
    """
    name = _dataset_name(source, root)
    label = "/".join(part for part in (Path(name).name, source.config, source.split) if part)
    file = InputFile(uri=name, name=label, size=0)
    count = _load(source, name, field).num_shards
    return [Shard(file, number, number + 1, "row") for number in range(count)]


def read_dataset(
    shard: Shard, source: SourceSpec, fields: Fields, record_bytes: int
) -> Iterator[Record | Fault]:
    """The records of one shard in order."""
    rows = _load(source, shard.file.uri, "dataset")
    if rows.num_shards > 1:
        rows = rows.shard(num_shards=rows.num_shards, index=shard.start)
    position = 0
    try:
        for position, row in enumerate(rows, 1):
            try:
                texts = tuple(_text(value_at(row, column)) for column in fields.texts)
            except LookupError:
                yield _no_column(_problem(source, fields, list(row)), position)
                return
            name = f"{shard.id_prefix}{position}"
            if source.id_field is not None or fields.id in row:
                try:
                    name = _text(value_at(row, str(fields.id)))
                except LookupError:
                    name = ""
            found = record_of(name, row.get(fields.source), position, texts, shard.file.name)
            yield limited(found, record_bytes)
    except UnicodeDecodeError as error:
        yield Fault("", position + 1, Reason.NOT_UTF8, str(error), ends_file=True)
    except (OSError, ValueError, EOFError) as error:  # a whole block of rows is refused at once
        text = " ".join(str(error).split())[:SHOWN_CHARACTERS]
        yield Fault("", position + 1, Reason.CORRUPT, text, ends_file=True)


def _dataset_name(source: SourceSpec, root: Path) -> str:
    """The name on the hub, or the path of a folder that there is."""
    local = (root / Path(source.dataset).expanduser()).resolve()
    return str(local) if local.exists() else source.dataset


def _load(source: SourceSpec, name: str, field: str) -> Any:
    import datasets

    try:
        return datasets.load_dataset(
            name,
            source.config,
            split=source.split,
            revision=None if Path(name).is_absolute() else source.revision,
            streaming=True,
        )
    except Exception as error:  # the hub's client raises errors of four libraries
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(
            f"{field}: the data set {source.label} cannot be opened ({reason}); give a data "
            "set that the hub has at this revision, or a local folder, and check the connection"
        ) from None


def _has_header(source: SourceSpec) -> bool:
    """Whether the first line of tab-separated files names their columns."""
    named = (source.id_field, source.text_field, source.english_field, source.target_field)
    return any(field is not None for field in named)


def check_tsv(file: InputFile, source: SourceSpec, fields: Fields, *, field: str) -> None:
    """Look at the first line of a file that is not empty.

    Raises:
        UserError: a column is missing.
    """
    columns = first_line(file).split("\t")
    if _has_header(source):
        if problem := _problem(source, fields, columns):
            raise UserError(f"{field}: {file.uri!r} has in its first line {problem}")
    elif len(columns) != len(fields.texts):
        raise UserError(
            f"{field}: {file.uri!r} has {len(columns)} columns, but {len(fields.texts)} are "
            "expected; name the columns of its first line with english_field and target_field, or "
            "text_field"
        )


def read_tsv(
    shard: Shard, source: SourceSpec, fields: Fields, record_bytes: int
) -> Iterator[Record | Fault]:
    """The records of a shard in order; blank lines are skipped."""
    file, prefix, header = shard.file.name, shard.id_prefix, _has_header(source)
    names = first_line(shard.file).split("\t") if header else list(fields.texts)
    if shard.file.size and (problem := _problem(source, fields, names)):
        yield _no_column(problem)
        return
    count = len(names)
    columns = [names.index(column) for column in fields.texts if column in names]
    id_column = names.index(fields.id) if header and fields.id in names else -1
    source_column = names.index(fields.source) if header and fields.source in names else -1
    for batch in read_lines(shard, record_bytes):
        if batch.fault:
            yield batch.as_fault()
            continue
        for position, line in enumerate(batch.lines, batch.first):
            if not line or (line.isspace() and b"\t" not in line):
                continue
            if header and position == 1 and not shard.start:
                continue
            try:
                cells = line.decode("utf-8").rstrip("\r").split("\t")
            except UnicodeDecodeError:
                yield Fault("", position, Reason.NOT_UTF8, shown(line))
                continue
            if len(cells) != count:
                yield Fault("", position, Reason.WRONG_COLUMNS, shown(line))
                continue
            texts = tuple([cells[column] for column in columns])
            name = cells[id_column] if id_column >= 0 else f"{prefix}{position}"
            where = cells[source_column] if source_column >= 0 else file
            blank = "" in texts or any(map(str.isspace, texts))
            if blank and len(texts) > 1:
                yield Fault("", position, Reason.MISSING_SIDE, shown(line))
            elif not blank and name.strip() and where.strip():
                yield Record(name, where, position, texts)
            else:
                yield record_of(name, where, position, texts, file)
