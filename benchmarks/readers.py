"""The readers of every format, each beside a bare loop over the same file, in one run.

    python benchmarks/readers.py [--megabytes 20]

The files are made from the bundled text, repeated; megabytes are of uncompressed input. One core,
the best of three rounds, by the processor time of this process. The readers check every record,
give what is none its reason, and keep within a bounded memory; the bare loops do not.
``pip install mwparserfromhell`` for one of them.
"""

import argparse
import bz2
import csv
import gzip
import io
import json
import lzma
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree
from xml.sax.saxutils import escape

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pyarrow as pa
import pyarrow.parquet as pq
from benchmark_tables import BenchmarkTable
from bundled_text import bundled_records, fastest_seconds

from ccx_ray.corpus.reading.record import Record
from ccx_ray.corpus.reading.sources import read_shard, source_shards
from ccx_ray.study.text_spec import SourceSpec
from tests.source_files import COMPRESSIONS, json_lines, tmx, wiki_dump, wiki_page, write_parquet
from tests.wikitext_page import WIKITEXT

BARE_XML_MEGABYTES = 2.0
"""Of the dump, for the bare loop that parses every page whole."""


class Case(NamedTuple):
    name: str
    source: SourceSpec
    sides: tuple[str, ...]
    megabytes: float
    bare: Callable[[], object]
    bare_name: str
    bare_megabytes: float


def dense_pages(megabytes: float) -> list[str]:
    """Of a dump, each with everything that articles hold, in a few lines."""
    count = int(megabytes * 1e6 / len(WIKITEXT.encode()))
    return [wiki_page(number, f"Title {number}", WIKITEXT) for number in range(count)]


def pages(megabytes: float) -> list[str]:
    """Of a dump, the collected text as articles of 40 documents with the usual markup."""
    texts = [row["text"] for row in bundled_records("mono/ko", megabytes)]
    return [
        wiki_page(number, f"Title {number}", article(texts[start : start + 40]))
        for number, start in enumerate(range(0, len(texts), 40))
    ]


def article(documents: Iterable[str]) -> str:
    """A page of documents: one word in twelve is a link, one in 45 has a reference; a heading for
    every four of them."""
    head = (
        "{{정보\n| 이름 = 가\n| 인구 = {{formatnum:12345}}\n}}\n[[파일:A.jpg|섬네일|[[가]]의 나]]\n"
    )
    lines = [head]
    number = 0
    for place, document in enumerate(documents):
        words = document.split(" ")
        for at, word in enumerate(words):
            number += 1
            if number % 12 == 5:
                words[at] = f"[[{word}]]" if number % 24 == 5 else f"[[{word}|{word}]]"
            elif number % 60 == 20:
                words[at] = f"''{word}''"
            elif number % 45 == 40:
                words[at] = f"{word}<ref>{{{{웹 인용|제목={word}|url=http://a.kr/{number}}}}}</ref>"
            elif number % 150 == 99:
                words[at] = f"{{{{lang|en|{word}}}}}"
        if place % 4 == 3:
            lines += ["", f"== {words[0]} =="]
        lines.append(" ".join(words))
    return "\n".join([*lines, "", "== 각주 ==", "{{각주}}", "[[분류:가]]", "[[분류:나]]"])


def cases(folder: Path, megabytes: float) -> Iterator[Case]:
    """Writes the files."""

    def path(name: str, data: bytes) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    def case(name: str, file: Path, size: int, bare: Any, bare_name: str, **source: Any) -> Case:
        sides = source.pop("sides", ("text",))
        spec = SourceSpec(path=str(file), **source)
        return Case(name, spec, sides, size / 1e6, lambda: bare(file), bare_name, size / 1e6)

    rows = list(bundled_records("mono/en", megabytes))
    documents = json_lines(rows)
    for how, (ending, compress) in COMPRESSIONS.items():
        packed = path(f"documents.jsonl{ending}", compress(documents))  # type: ignore[no-untyped-call]
        yield case(f"JSON Lines, {how}", packed, len(documents), bare_json, "json.loads, unpacked")
    columns = {key: [row[key] for row in rows] for key in ("id", "text", "source")}
    file = write_parquet(folder / "documents.parquet", columns)
    size = sum(len(row["text"].encode()) for row in rows)
    yield case("Parquet", file, size, bare_parquet, "pyarrow to Python strings")

    pairs = list(bundled_records("parallel/en-ko", megabytes))
    lines, both = json_lines(pairs), {"sides": ("en", "ko")}
    short = path("pairs.jsonl", lines)
    yield case("JSON Lines, pairs", short, len(lines), bare_json, "json.loads a line", **both)
    flat = [(" ".join(row["en"].split()), " ".join(row["ko"].split())) for row in pairs]
    tsv = "".join(f"{english}\t{korean}\n" for english, korean in flat).encode()
    yield case("TSV", path("pairs.tsv", tsv), len(tsv), bare_tsv, "csv.reader", **both)
    english, korean = (
        path(f"pairs.{code}", "".join(f"{pair[side]}\n" for pair in flat).encode())
        for side, code in enumerate(("en", "ko"))
    )
    yield case(
        "Moses", english, len(tsv), lambda _: bare_moses(english, korean), "zip of two text files",
        target_path=str(korean), format="moses", **both,
    )  # fmt: skip
    units = tmx([(("en", escape(one)), ("ko", escape(other))) for one, other in flat])
    file = path("pairs.tmx", units)
    yield case("TMX", file, len(units), bare_tmx, "ElementTree.iterparse", **both)

    articles = pages(megabytes)
    whole, streams = wiki_dump(articles), wiki_dump(articles, per_stream=100)
    part = path("part.xml", wiki_dump(pages(BARE_XML_MEGABYTES)))
    dense = wiki_dump(dense_pages(BARE_XML_MEGABYTES))
    dense_file = path("dense.xml", dense)
    bare_name = "ElementTree.iterparse"
    if find_spec("mwparserfromhell") is None:
        print("mwparserfromhell is not installed, the bare loop over dumps makes no plain text")
    else:
        bare_name += ", mwparserfromhell strip_code"
    for name, file, size, sample in (
        ("MediaWiki XML", path("dump.xml", whole), len(whole), part),
        ("MediaWiki XML, multistream bz2", path("dump.xml.bz2", streams), len(whole), part),
        ("MediaWiki XML, hardly anything but markup", dense_file, len(dense), dense_file),
    ):
        made = case(name, file, size, bare_xml, bare_name)
        yield made._replace(
            bare=lambda sample=sample: bare_xml(sample),  # type: ignore[misc]
            bare_megabytes=sample.stat().st_size / 1e6,
        )


def bare_json(file: Path) -> None:
    """A loop over lines."""
    opened = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": zstd_lines}
    with opened.get(file.suffix, Path.open)(file, "rb") as lines:  # type: ignore[operator]
        for line in lines:
            json.loads(line)


def zstd_lines(file: Path, _mode: str) -> io.BufferedReader:
    """Python has no zstd before 3.14."""
    return io.BufferedReader(pa.input_stream(str(file), compression="zstd"), 2**20)


def bare_parquet(file: Path) -> None:
    """All columns as Python values."""
    for batch in pq.ParquetFile(file).iter_batches(512, use_threads=False):
        for column in batch.columns:
            column.to_pylist()


def bare_tsv(file: Path) -> None:
    """Without quoting."""
    with file.open(encoding="utf-8", newline="") as lines:
        for _ in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            pass


def bare_moses(english: Path, korean: Path) -> None:
    """Two files at once."""
    with english.open(encoding="utf-8") as one, korean.open(encoding="utf-8") as other:
        for _ in zip(one, other, strict=True):
            pass


def bare_tmx(file: Path) -> None:
    """The segments of every unit."""
    for _, element in ElementTree.iterparse(file):
        if element.tag == "tu":
            [segment.text for segment in element.iter("seg")]
            element.clear()


def bare_xml(file: Path) -> None:
    """The text of every page, and its plain text where mwparserfromhell is installed."""
    parse = import_module("mwparserfromhell").parse if find_spec("mwparserfromhell") else None
    for _, element in ElementTree.iterparse(file):
        if element.tag.endswith("}text") and parse:
            parse(element.text or "").strip_code()
        elif element.tag.endswith("}page"):
            element.clear()


def ours(case: Case) -> None:
    """All shards, one after the other; every record must be one."""
    count = 0
    for shard in source_shards(case.source, sides=case.sides, root=Path("/"), field="path"):
        for found in read_shard(shard, case.source, sides=case.sides, record_bytes=2**25):
            assert isinstance(found, Record), found
            count += 1
    assert count


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=20.0)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(Path(folder), parser.parse_args().megabytes):
            speed = case.megabytes / fastest_seconds(lambda case=case: ours(case))  # type: ignore[misc]
            bare = case.bare_megabytes / fastest_seconds(case.bare)
            cells = [f"{case.megabytes:.0f}", f"{speed:.1f}", f"{bare:.1f}", f"{speed / bare:.1f}"]
            rows.append([case.name, *cells, case.bare_name])
            print("  ".join(rows[-1]), flush=True)
    columns = ("format", "MB", "MB/s", "bare MB/s", "ratio", "bare loop")
    table = BenchmarkTable(part="readers", title="Readers, one core", columns=columns, rows=rows)
    print(f"\n{table.text()}")


if __name__ == "__main__":
    main()
