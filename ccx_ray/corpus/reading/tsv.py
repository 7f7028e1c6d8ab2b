"""Text whose columns are divided by tabs, without quoting.

Where the source names a field, the first line of every file names the columns; an id column is then
the one called ``id_field``, or ``id`` if there is one. Where it names none, there is no such line:
a pair is two columns, English first, and a document is one.
"""

from collections.abc import Iterator

from ccx_ray.corpus.reading.lines import first_line, read_lines, shown
from ccx_ray.corpus.reading.record import Fault, Fields, Reason, Record, Shard, record_of
from ccx_ray.errors import UserError
from ccx_ray.storage.input_files import InputFile
from ccx_ray.study.text_spec import SourceSpec


def has_header(source: SourceSpec) -> bool:
    """Whether the first line of the files names their columns."""
    named = (source.id_field, source.text_field, source.english_field, source.target_field)
    return any(field is not None for field in named)


def check_tsv(file: InputFile, source: SourceSpec, fields: Fields, *, field: str) -> None:
    """Look at the first line of a file.

    Raises:
        UserError: a column is missing.
    """
    if not file.size:
        return  # counted when it is read
    columns = first_line(file).split("\t")
    if has_header(source):
        wanted = fields.texts if source.id_field is None else (*fields.texts, source.id_field)
        for column in wanted:
            if column not in columns:
                raise UserError(
                    f"{field}: {file.uri!r} has no column {column!r} in its first line, only "
                    f"{', '.join(columns)[:200]}; name columns that it has"
                )
    elif len(columns) != len(fields.texts):
        raise UserError(
            f"{field}: {file.uri!r} has {len(columns)} columns where {len(fields.texts)} are "
            "expected; name the columns of its first line with english_field and target_field, or "
            "text_field"
        )


def read_tsv(
    shard: Shard, source: SourceSpec, fields: Fields, record_bytes: int
) -> Iterator[Record | Fault]:
    """The records of a shard in order; blank lines are skipped."""
    file = shard.file.name
    place = f"{file}:{shard.start}+" if shard.start else f"{file}:"
    header = has_header(source)
    names = first_line(shard.file).split("\t") if header else list(fields.texts)
    wanted = fields.texts if source.id_field is None else (*fields.texts, source.id_field)
    missing = [column for column in wanted if column not in names]
    if missing and shard.file.size:
        text = f"no column {missing[0]}, only {', '.join(names)}"
        yield Fault("", 1, Reason.MISSING_COLUMN, text[:4096], ends_file=True)
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
            name = cells[id_column] if id_column >= 0 else f"{place}{position}"
            where = cells[source_column] if source_column >= 0 else file
            blank = "" in texts or any(map(str.isspace, texts))
            if blank and len(texts) > 1:
                yield Fault("", position, Reason.MISSING_SIDE, shown(line))
            elif not blank and name.strip() and where.strip():
                yield Record(name, where, position, texts)
            else:
                yield record_of(name, where, position, texts, file)
