"""The sources of a language in their order, the shards of each, and the records of a shard.

Invariants: the shards of a source are the same wherever they are computed; every record and every
fault of its files comes out of exactly one of them. Light to import: a mistake in a study file is
told before anything heavy is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ccx_ray.corpus.reading.contents import HEAD, check_contents
from ccx_ray.corpus.reading.lines import BYTE_ORDER_MARK, beginning, compression_of
from ccx_ray.corpus.reading.record import Fault, Record, Shard, fields_of
from ccx_ray.errors import UserError
from ccx_ray.storage.input_files import InputFile, find_files
from ccx_ray.study.text_spec import BaseLanguageSpec, IsolationSpec, LanguageSpec, SourceSpec

if TYPE_CHECKING:
    from ccx_ray.corpus.reading.jsonl import RawBatch

Kind = Literal["documents", "pairs"]
CHARACTERS_PER_BATCH = 4 * 2**20
RECORDS_PER_BATCH = 16_384

ENDINGS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".xml": "mediawiki",
    ".tmx": "tmx",
    ".tsv": "tsv",
}
PACKED = (".gz", ".bz2", ".zst", ".zstd", ".xz")
BLANKS = BYTE_ORDER_MARK + b" \t\r\n"
DOCUMENTS_ONLY = ("mediawiki", "wikipedia", "mc2")
PAIRS_ONLY = ("tmx", "moses")
IDS_OF_A_FILE = ("mediawiki", "tmx")
SPLIT_BY_BYTES = ("jsonl", "mc2", "tsv", "mediawiki")
UNITS = {"mediawiki": "page", "tmx": "translation unit"}


@dataclass(frozen=True, kw_only=True)
class TextSource:
    """One source of a language: what its records hold, and how each side is isolated."""

    spec: SourceSpec
    field: str
    """Of the study file, for errors."""
    kind: Kind
    codes: tuple[str, ...]
    """The language of each side."""
    isolations: tuple[IsolationSpec, ...]

    @property
    def sides(self) -> tuple[str, ...]:
        """``text`` of a document; the language codes of the halves of a pair."""
        return ("text",) if self.kind == "documents" else self.codes


def side_names(kind: Kind) -> tuple[str, ...]:
    """The columns that hold the text of a document or of a pair."""
    return ("text",) if kind == "documents" else ("english", "target")


def text_sources(
    language: BaseLanguageSpec | LanguageSpec, base: BaseLanguageSpec
) -> list[TextSource]:
    """The sources of a language in their order; ``base`` is in the other half of every pair."""
    kinds: list[tuple[Kind, str, tuple[BaseLanguageSpec, ...]]] = [
        ("documents", "monolingual", (language,))
    ]
    if isinstance(language, LanguageSpec):
        kinds.append(("pairs", "parallel", (base, language)))
    return [
        TextSource(
            spec=spec,
            field=f"languages.{language.code}.{name}",
            kind=kind,
            codes=tuple(side.code for side in sides),
            isolations=tuple(side.isolation for side in sides),
        )
        for kind, name, sides in kinds
        for spec in getattr(language, name)
    ]


def check_source(source: SourceSpec, *, sides: tuple[str, ...], root: Path, field: str) -> None:
    """Find the mistakes that cost nothing to find.

    Args:
        sides: ``("text",)`` for documents, or the language codes of a pair, ``("en", "ko")``.
        root: what local paths are relative to.
        field: where the source stands in the study file, for the error.

    Raises:
        UserError: nothing is found, the format cannot be told or does not hold what is asked for,
            a file is an archive or the like, its encoding is not known, a column is missing, or the
            data set cannot be reached.
    """
    from ccx_ray.corpus.reading import tables
    from ccx_ray.corpus.reading.tmx import encoding_of

    fields = fields_of(source, sides)
    _check_kind(source, sides, field)
    if source.dataset:
        tables.check_dataset(source, fields, root=root, field=field)
        return
    for file in source_files(source, root=root, field=field):
        try:
            form = format_of(file, source, field)
        except UserError:
            check_contents(file, "", field=field)  # an archive is told before its name is
            raise
        if source.format is None:
            _check_kind(source.model_copy(update={"format": form}), sides, field)
        for part in _with_counterpart(file):
            if part.size:
                check_contents(part, form, field=field)
        if not file.size:
            continue  # counted when it is read
        if form == "tmx":
            encoding_of(file, field=field)
        elif form in {"parquet", "wikipedia"}:
            tables.check_parquet(file, source, fields, field=field)
        elif form == "tsv":
            tables.check_tsv(file, source, fields, field=field)
        elif form in {"jsonl", "mc2"} and beginning(file, HEAD).lstrip(BLANKS).startswith(b"["):
            raise UserError(
                f"{field}: {file.uri!r} is a JSON array; give JSON Lines, one object per line "
                "(jq -c '.[]' FILE makes them)"
            )


def source_files(source: SourceSpec, *, root: Path, field: str) -> list[InputFile]:
    """The files of a source that is no data set; a Moses source's know their counterparts.

    Raises:
        UserError: there are none.
    """
    if source.format == "moses":
        from ccx_ray.corpus.reading.moses import find_line_pairs

        return find_line_pairs(source, root=root, field=field)
    return find_files(source.path, root=root, field=field)


def _with_counterpart(file: InputFile) -> tuple[InputFile, ...]:
    """The files of a Moses pair; any other file alone."""
    counterpart: InputFile | None = getattr(file, "counterpart", None)
    return (file,) if counterpart is None else (file, counterpart)


def size_of(file: InputFile) -> int:
    """In bytes, of a Moses pair those of both files; 0 where it is not known."""
    return sum(part.size for part in _with_counterpart(file))


def numbers_ids_by_file(shard: Shard, source: SourceSpec) -> bool:
    """Whether an id is unique within a file (a dump's pages, a translation memory's units) instead
    of within all files of the source."""
    return not source.dataset and format_of(shard.file, source, "path") in IDS_OF_A_FILE


def source_shards(
    source: SourceSpec,
    *,
    sides: tuple[str, ...],
    root: Path,
    field: str,
    shard_bytes: int = 128 * 2**20,
) -> list[Shard]:
    """What can be read in parallel, in the order of the files.

    Plain lines, plain XML dumps and bz2 XML dumps are divided by bytes, Parquet by row groups, data
    sets by their own shards; every other file is one shard.

    Raises:
        UserError: nothing is found, or a format cannot be told.
    """
    from ccx_ray.corpus.reading.tables import dataset_shards, parquet_shards

    _check_kind(source, sides, field)
    if source.dataset:
        return dataset_shards(source, root=root, field=field)
    shards: list[Shard] = []
    for file in source_files(source, root=root, field=field):
        form = format_of(file, source, field)
        unit = UNITS.get(form, "line")
        if form in {"parquet", "wikipedia"}:
            shards += parquet_shards(file, shard_bytes)
        elif _can_begin_anywhere(file, form, shard_bytes):
            starts = range(0, file.size, shard_bytes)
            stops = [*starts[1:], None]
            shards += [
                Shard(file, start, stop, unit) for start, stop in zip(starts, stops, strict=True)
            ]
        else:
            shards.append(Shard(file, unit=unit))
    return shards


def read_shard(
    shard: Shard, source: SourceSpec, *, sides: tuple[str, ...], record_bytes: int
) -> Iterator[Record | Fault]:
    """The records of one shard in order, and a fault for all else that stands in it; a record of
    more than ``record_bytes`` is one, and is never held whole where the format allows."""
    form = "dataset" if source.dataset else format_of(shard.file, source, "path")
    if form in {"jsonl", "mc2"}:
        from ccx_ray.corpus.reading.jsonl import read_jsonl as read
    elif form in {"parquet", "wikipedia"}:
        from ccx_ray.corpus.reading.tables import read_parquet as read
    elif form == "tsv":
        from ccx_ray.corpus.reading.tables import read_tsv as read
    elif form == "mediawiki":
        from ccx_ray.corpus.reading.mediawiki import read_mediawiki as read
    elif form == "tmx":
        from ccx_ray.corpus.reading.tmx import read_tmx as read
    elif form == "moses":
        from ccx_ray.corpus.reading.moses import read_moses as read
    else:
        from ccx_ray.corpus.reading.tables import read_dataset as read
    return read(shard, source, fields_of(source, sides), record_bytes)


def format_of(file: InputFile, source: SourceSpec, field: str) -> str:
    """The format that the source names, or that the file's name tells.

    Raises:
        UserError: neither does.
    """
    if source.format is not None:
        return source.format
    name = file.name.lower()
    for ending in PACKED:
        name = name.removesuffix(ending)
    for ending, form in ENDINGS.items():
        if name.endswith(ending):
            return form
    raise UserError(
        f"{field}: the format of {file.uri!r} does not follow from its name; give format, or use "
        f"one of the extensions {', '.join(ENDINGS)}, alone or with one of {', '.join(PACKED)}"
    )


def _check_kind(source: SourceSpec, sides: tuple[str, ...], field: str) -> None:
    pairs = len(sides) == 2
    wrong = DOCUMENTS_ONLY if pairs else PAIRS_ONLY
    if source.format in wrong:
        holds, asked = ("documents", "pairs") if pairs else ("pairs", "documents")
        raise UserError(
            f"{field}: {source.label!r} has format {source.format}, which contains {holds}, but "
            f"{asked} are needed"
        )
    if source.word_templates and (source.dataset or source.format not in {None, "mediawiki"}):
        raise UserError(
            f"{field}: word_templates need format mediawiki, but {source.label!r} is "
            f"{source.format or 'a data set'}; remove them"
        )
    if source.dataset and source.format not in {None, "parquet", "wikipedia", "mc2", "jsonl"}:
        raise UserError(
            f"{field}: {source.label!r} is a data set, so its format cannot be {source.format}; "
            "remove format"
        )


def _can_begin_anywhere(file: InputFile, form: str, shard_bytes: int) -> bool:
    if form not in SPLIT_BY_BYTES or file.size <= shard_bytes:
        return False
    compression = compression_of(file)
    return compression is None or (compression == "bz2" and form == "mediawiki")


def raw_batches(
    shard: Shard, source: SourceSpec, *, sides: tuple[str, ...], record_bytes: int
) -> "Iterator[RawBatch]":
    """What ``read_shard`` yields, in batches of some MB."""
    from ccx_ray.corpus.reading.jsonl import assembled, json_batches

    if not source.dataset and format_of(shard.file, source, "path") == "jsonl":
        yield from json_batches(shard, fields_of(source, sides), record_bytes)
        return
    entries: list[Record | Fault] = []
    characters = 0
    for entry in read_shard(shard, source, sides=sides, record_bytes=record_bytes):
        entries.append(entry)
        if isinstance(entry, Record):
            characters += sum(map(len, entry.texts))
        if characters >= CHARACTERS_PER_BATCH or len(entries) == RECORDS_PER_BATCH:
            yield assembled(entries, len(sides))
            entries, characters = [], 0
    if entries:
        yield assembled(entries, len(sides))
