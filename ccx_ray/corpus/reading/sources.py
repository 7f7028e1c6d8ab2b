"""The sources of a language in their order, the shards of each, and the records of a shard.

Invariants: the shards of a source are the same wherever they are computed; every record and every
fault of its files comes out of exactly one of them. Light to import: a mistake in a study file is
told before anything heavy is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ccx_ray.corpus.reading.decompression import compression_of
from ccx_ray.corpus.reading.record import Fault, Record, Shard, fields_of
from ccx_ray.errors import UserError
from ccx_ray.storage.input_files import InputFile, find_files
from ccx_ray.study.text_spec import BaseLanguageSpec, IsolationSpec, LanguageSpec, SourceSpec

Kind = Literal["documents", "pairs"]


@dataclass(frozen=True, kw_only=True)
class TextSource:
    """One source of a language: what its records hold, and how each side is isolated."""

    spec: SourceSpec
    kind: Kind
    sides: tuple[str, ...]
    """``text`` of a document; the language codes of the halves of a pair."""
    codes: tuple[str, ...]
    """The language of each side."""
    isolations: tuple[IsolationSpec, ...]


def side_names(kind: Kind) -> tuple[str, ...]:
    """The columns that hold the text of a document or of a pair."""
    return ("text",) if kind == "documents" else ("english", "target")


def text_sources(
    language: BaseLanguageSpec | LanguageSpec, base: BaseLanguageSpec
) -> list[tuple[TextSource, str]]:
    """The sources of a language in their order, each with the field that names it.

    Args:
        base: the language of the other half of every pair.
    """
    field = f"languages.{language.code}"
    sources = [
        (
            TextSource(
                spec=spec,
                kind="documents",
                sides=("text",),
                codes=(language.code,),
                isolations=(language.isolation,),
            ),
            f"{field}.monolingual",
        )
        for spec in language.monolingual
    ]
    if isinstance(language, LanguageSpec):
        sources += [
            (
                TextSource(
                    spec=spec,
                    kind="pairs",
                    sides=(base.code, language.code),
                    codes=(base.code, language.code),
                    isolations=(base.isolation, language.isolation),
                ),
                f"{field}.parallel",
            )
            for spec in language.parallel
        ]
    return sources


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
DOCUMENTS_ONLY = ("mediawiki", "wikipedia", "mc2")
PAIRS_ONLY = ("tmx", "moses")
SPLIT_BY_BYTES = ("jsonl", "mc2", "tsv", "mediawiki")


def check_source(source: SourceSpec, *, sides: tuple[str, ...], root: Path, field: str) -> None:
    """Find the mistakes that cost nothing to find.

    Args:
        sides: ``("text",)`` for documents, or the language codes of a pair, ``("en", "ko")``.
        root: what local paths are relative to.
        field: where the source stands in the study file, for the error.

    Raises:
        UserError: nothing is found, the format cannot be told or does not hold what is asked for,
            a column is missing, or the data set cannot be reached.
    """
    fields = fields_of(source, sides)
    _check_kind(source, sides, field)
    if source.dataset:
        from ccx_ray.corpus.reading.dataset import check_dataset

        check_dataset(source, fields, root=root, field=field)
        return
    for file in source_files(source, root=root, field=field):
        form = format_of(file, source, field)
        if source.format is None:
            _check_kind(source.model_copy(update={"format": form}), sides, field)
        if form in {"parquet", "wikipedia"}:
            from ccx_ray.corpus.reading.parquet import check_parquet

            named = source.id_field is not None
            check_parquet(file, fields, id_is_named=named, field=field)
        elif form == "tsv":
            from ccx_ray.corpus.reading.tsv import check_tsv

            check_tsv(file, source, fields, field=field)
        elif form in {"jsonl", "mc2"}:
            from ccx_ray.corpus.reading.jsonl import check_jsonl

            check_jsonl(file, field=field)


def source_files(source: SourceSpec, *, root: Path, field: str) -> list[InputFile]:
    """The files of a source that is no data set; a Moses source's know their counterparts.

    Raises:
        UserError: there are none.
    """
    if source.format == "moses":
        from ccx_ray.corpus.reading.moses import find_line_pairs

        return find_line_pairs(source, root=root, field=field)
    return find_files(source.path, root=root, field=field)


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
    _check_kind(source, sides, field)
    if source.dataset:
        from ccx_ray.corpus.reading.dataset import dataset_shards

        return dataset_shards(source, root=root, field=field)
    shards: list[Shard] = []
    for file in source_files(source, root=root, field=field):
        form = format_of(file, source, field)
        if form in {"parquet", "wikipedia"}:
            from ccx_ray.corpus.reading.parquet import parquet_shards

            shards += parquet_shards(file, shard_bytes)
        elif form in SPLIT_BY_BYTES and _can_begin_anywhere(file, form, shard_bytes):
            starts = range(0, file.size, shard_bytes)
            stops = [*starts[1:], None]
            unit = "page" if form == "mediawiki" else "line"
            shards += [
                Shard(file, start, stop, unit) for start, stop in zip(starts, stops, strict=True)
            ]
        else:
            unit = {"mediawiki": "page", "tmx": "translation unit"}.get(form, "line")
            shards.append(Shard(file, unit=unit))
    return shards


def read_shard(
    shard: Shard, source: SourceSpec, *, sides: tuple[str, ...], record_bytes: int
) -> Iterator[Record | Fault]:
    """The records of one shard in order, and a fault for all else that stands in it.

    Args:
        record_bytes: a longer record is a fault, and is never held whole where the format allows.
    """
    fields = fields_of(source, sides)
    named = source.id_field is not None
    form = "dataset" if source.dataset else format_of(shard.file, source, "path")
    if form in {"jsonl", "mc2"}:
        from ccx_ray.corpus.reading.jsonl import read_jsonl

        records = read_jsonl(shard, fields, record_bytes)
    elif form in {"parquet", "wikipedia"}:
        from ccx_ray.corpus.reading.parquet import read_parquet

        records = read_parquet(shard, fields, record_bytes, id_is_named=named)
    elif form == "mediawiki":
        from ccx_ray.corpus.reading.mediawiki import read_mediawiki

        records = read_mediawiki(shard, record_bytes)
    elif form == "tmx":
        from ccx_ray.corpus.reading.tmx import read_tmx

        records = read_tmx(shard, fields.texts, source.id_field, record_bytes)
    elif form == "moses":
        from ccx_ray.corpus.reading.moses import read_moses

        records = read_moses(shard, record_bytes)
    elif form == "tsv":
        from ccx_ray.corpus.reading.tsv import read_tsv

        records = read_tsv(shard, source, fields, record_bytes)
    else:
        from ccx_ray.corpus.reading.dataset import read_dataset

        records = read_dataset(shard, source, fields, record_bytes)
    return records


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
        f"{field}: the name of {file.uri!r} does not tell its format; give format, or one of the "
        f"endings {', '.join(ENDINGS)}, each alone or with one of {', '.join(PACKED)}"
    )


def _check_kind(source: SourceSpec, sides: tuple[str, ...], field: str) -> None:
    pairs = len(sides) == 2
    wrong = DOCUMENTS_ONLY if pairs else PAIRS_ONLY
    if source.format in wrong:
        holds, asked = ("documents", "pairs") if pairs else ("pairs", "documents")
        raise UserError(
            f"{field}: {source.label!r} is of format {source.format}, which holds {holds}, where "
            f"{asked} are needed"
        )
    if source.dataset and source.format not in {None, "parquet", "wikipedia", "mc2", "jsonl"}:
        raise UserError(
            f"{field}: {source.label!r} is a data set, so its format cannot be {source.format}; "
            "leave it out"
        )


def _can_begin_anywhere(file: InputFile, form: str, shard_bytes: int) -> bool:
    if file.size <= shard_bytes:
        return False
    compression = compression_of(file)
    return compression is None or (compression == "bz2" and form == "mediawiki")
