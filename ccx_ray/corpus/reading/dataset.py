"""A data set of the Hugging Face hub, or a local folder in its layout, read through ``datasets``.

It is streamed: nothing is downloaded that is not read. A shard is one of the files that the library
divides the data set into. Rows without an id are called by their data set, shard and place.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ccx_ray.corpus.reading.record import Fault, Fields, Reason, Record, Shard, limited, record_of
from ccx_ray.errors import UserError
from ccx_ray.storage.input_files import InputFile
from ccx_ray.study.text_spec import SourceSpec


def check_dataset(source: SourceSpec, fields: Fields, *, root: Path, field: str) -> None:
    """Look for the data set and its columns.

    Raises:
        UserError: it cannot be reached, or a column is missing.
    """
    columns = _open(source, _name(source, root), field).column_names or []
    wanted = fields.texts if source.id_field is None else (*fields.texts, source.id_field)
    for column in wanted:
        if columns and column not in columns:
            raise UserError(
                f"{field}: {source.label} has no column {column!r}, only {', '.join(columns)}; "
                "name the right one with id_field, text_field, english_field or target_field"
            )


def dataset_shards(source: SourceSpec, *, root: Path, field: str) -> list[Shard]:
    """One shard for each that the data set has.

    Raises:
        UserError: it cannot be reached.
    """
    name = _name(source, root)
    label = "/".join(part for part in (Path(name).name, source.config, source.split) if part)
    file = InputFile(uri=name, name=label, size=0)
    count = _open(source, name, field).num_shards
    return [Shard(file, number, number + 1, "row") for number in range(count)]


def read_dataset(
    shard: Shard, source: SourceSpec, fields: Fields, record_bytes: int
) -> Iterator[Record | Fault]:
    """The records of one shard in order."""
    file = shard.file.name
    rows = _open(source, shard.file.uri, "dataset")
    if rows.num_shards > 1:
        rows = rows.shard(num_shards=rows.num_shards, index=shard.start)
    place = f"{file}:{shard.start}+" if shard.start else f"{file}:"
    position = 0
    try:
        for position, row in enumerate(rows, 1):
            missing = [column for column in fields.texts if column not in row]
            if missing:
                text = f"no column {missing[0]}, only {', '.join(row)}"
                yield Fault("", position, Reason.MISSING_COLUMN, text, ends_file=True)
                return
            texts = tuple(row[column] for column in fields.texts)
            if fields.id in row or source.id_field is not None:
                name = row.get(fields.id)
            else:
                name = f"{place}{position}"
            found = record_of(name, row.get(fields.source), position, texts, file)
            yield limited(found, record_bytes)
    except UnicodeDecodeError as error:
        yield Fault("", position + 1, Reason.NOT_UTF8, str(error), ends_file=True)
    except (OSError, ValueError, EOFError) as error:  # a whole block of rows is refused at once
        text = " ".join(str(error).split())[:4096]
        yield Fault("", position + 1, Reason.CORRUPT, text, ends_file=True)


def _name(source: SourceSpec, root: Path) -> str:
    """The name on the hub, or the path of a folder that there is."""
    local = (root / Path(source.dataset).expanduser()).resolve()
    return str(local) if local.exists() else source.dataset


def _open(source: SourceSpec, name: str, field: str) -> Any:
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
            f"{field}: the data set {source.label} cannot be opened ({reason}); give a name that "
            "the hub has at this revision, or a local folder, and let the hub be reached"
        ) from None
