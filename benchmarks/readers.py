"""The readers of every format, each beside a bare loop over the same file, in one run.

    python benchmarks/readers.py [--megabytes 20]

The files are made from the bundled text, repeated; megabytes are of uncompressed input. One core,
the best of three rounds, by the processor time of this process. The readers check every record,
give what is none its reason, and keep within a bounded memory; the bare loops do not.
``pip install mwxml`` for one of them.
"""

import argparse
import bz2
import csv
import gzip
import io
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from ccx_ray.corpus.reading.record import Record
from ccx_ray.corpus.reading.sources import read_shard, source_shards
from ccx_ray.study.text_spec import SourceSpec

DATA = Path(__file__).parents[1] / "data"
ROUNDS = 3
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


def bundled(name: str, megabytes: float) -> Iterator[dict[str, str]]:
    """The bundled records over and over, with ids that differ, until there are enough bytes."""
    with gzip.open(DATA / f"{name}.jsonl.gz", "rb") as lines:
        rows = [(len(line), json.loads(line)) for line in lines]
    written = 0.0
    for number, (size, row) in enumerate(cycle(rows)):
        if written >= megabytes * 1e6:
            return
        written += size
        yield {**row, "id": f"{row['id']}-{number}"}


def json_lines(rows: Iterator[dict[str, str]]) -> bytes:
    """One JSON object a line."""
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def wikitext(text: str, chance: random.Random) -> str:
    """An article's text with the markup that articles carry: 1.8 times as many bytes."""
    sentences = text.replace("\n", " ").split(". ")
    lines = [
        "{{Short description|An article}}\n{{Infobox settlement\n| name = {{PAGENAME}}\n"
        "| image = [[File:Example.jpg|250px|{{small|a [[caption]]}}]]\n| population = "
        "{{formatnum:{{Data|x}}}}\n| area = 605.2\n}}\n"
    ]
    for number, sentence in enumerate(sentences):
        words = sentence.split(" ")
        for place in [place for place, word in enumerate(words) if word]:
            if chance.random() < 0.06:
                words[place] = f"[[{words[place]}]]"
            elif chance.random() < 0.03:
                words[place] = f"[[Some article|{words[place]}]]"
            elif chance.random() < 0.01:
                words[place] = f"''{words[place]}''"
        lines.append(" ".join(words) + ".")
        if chance.random() < 0.4:
            lines.append(
                f'<ref name="r{number}">{{{{cite web|url=http://example.org/{number}|title=A title '
                "of it|date=2011-01-02|publisher=[[Publisher]]|access-date=2020-03-04}}}}</ref>"
            )
        lines.append(" " if number % 6 else f"\n\n== Section {number} ==\n")
    rows = "".join(f"|-\n| {number} || [[x{number}]] || 12&nbsp;345\n" for number in range(8))
    lines.append(f'\n{{| class="wikitable"\n! a !! b !! c\n{rows}|}}\n* one [[item]]\n* another\n')
    lines.append("\n== References ==\n{{Reflist}}\n\n[[Category:Places]]\n[[Category:Others]]\n")
    return "".join(lines)


def dump(rows: Iterator[dict[str, str]], megabytes: float) -> list[str]:
    """The pages of a dump."""
    chance, pages, size = random.Random(0), [], 0
    for number, row in enumerate(rows):
        text = escape(wikitext(row["text"], chance))
        pages.append(
            f"  <page>\n    <title>Title {number}</title>\n    <ns>0</ns>\n    <id>{number}</id>\n"
            f"    <revision>\n      <id>{number}</id>\n      <timestamp>2023-11-01T00:00:00Z"
            "</timestamp>\n      <model>wikitext</model>\n      <format>text/x-wiki"
            f'</format>\n      <text xml:space="preserve">{text}</text>\n      <sha1>x</sha1>\n'
            "    </revision>\n  </page>\n"
        )
        size += len(pages[-1].encode())
        if size > megabytes * 1e6:
            break
    return pages


HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en">
  <siteinfo>
    <dbname>enwiki</dbname>
    <namespaces>
      <namespace key="6" case="first-letter">File</namespace>
    </namespaces>
  </siteinfo>
"""
TAIL = "</mediawiki>\n"


def cases(folder: Path, megabytes: float) -> Iterator[Case]:
    """Writes the files."""

    def path(name: str, data: bytes) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    def case(name: str, file: Path, size: int, bare: Any, bare_name: str, **source: Any) -> Case:
        sides = source.pop("sides", ("text",))
        spec = SourceSpec(path=str(file), **source)
        return Case(name, spec, sides, size / 1e6, lambda: bare(file), bare_name, size / 1e6)

    documents = json_lines(bundled("mono/en", megabytes))
    pairs = json_lines(bundled("parallel/en-ko", megabytes))
    plain = path("documents.jsonl", documents)
    yield case("JSON Lines, documents", plain, len(documents), bare_json(), "json.loads a line")
    short = path("pairs.jsonl", pairs)
    yield case(
        "JSON Lines, pairs", short, len(pairs), bare_json(), "json.loads a line", sides=("en", "ko")
    )
    packers: tuple[tuple[str, Callable[[bytes], bytes], Callable[..., Any]], ...] = (
        ("gz", gzip.compress, gzip.open),
        ("bz2", bz2.compress, bz2.open),
        ("zst", lambda data: pa.compress(data, "zstd", asbytes=True), zstd_lines),
    )
    for ending, compress, unpacked in packers:
        packed = path(f"documents.jsonl.{ending}", compress(documents))
        bare = bare_json(unpacked)
        yield case(f"JSON Lines, {ending}", packed, len(documents), bare, "json.loads, unpacked")

    rows = list(bundled("mono/en", megabytes))
    table = pa.table({key: [row[key] for row in rows] for key in ("id", "text", "source")})
    pq.write_table(table, folder / "documents.parquet", row_group_size=1000)
    size, file = sum(len(row["text"].encode()) for row in rows), folder / "documents.parquet"
    yield case("Parquet", file, size, bare_parquet, "pyarrow to Python strings")

    halves = [(row["en"], row["ko"]) for row in bundled("parallel/en-ko", megabytes)]
    flat = [tuple(" ".join(half.split()) for half in pair) for pair in halves]
    tsv = "".join(f"{english}\t{korean}\n" for english, korean in flat).encode()
    yield case("TSV", path("pairs.tsv", tsv), len(tsv), bare_tsv, "csv.reader", sides=("en", "ko"))
    english = path("pairs.en", "".join(f"{pair[0]}\n" for pair in flat).encode())
    korean = path("pairs.ko", "".join(f"{pair[1]}\n" for pair in flat).encode())
    yield case(
        "Moses", english, len(tsv), lambda _: bare_moses(english, korean), "zip of two text files",
        target_path=str(korean), format="moses", sides=("en", "ko"),
    )  # fmt: skip
    units = "".join(
        f'<tu><tuv xml:lang="en"><seg>{escape(one)}</seg></tuv>\n'
        f'<tuv xml:lang="ko"><seg>{escape(other)}</seg></tuv></tu>\n'
        for one, other in flat
    )
    tmx = (
        f'<?xml version="1.0"?>\n<tmx version="1.4"><header/><body>\n{units}</body></tmx>'.encode()
    )
    yield case(
        "TMX", path("pairs.tmx", tmx), len(tmx), bare_tmx, "ElementTree.iterparse",
        sides=("en", "ko"),
    )  # fmt: skip

    pages = dump(bundled("mono/en", 1e9), megabytes)
    whole = (HEAD + "".join(pages) + TAIL).encode()
    streams = [HEAD, *("".join(pages[n : n + 100]) for n in range(0, len(pages), 100)), TAIL]
    multistream = b"".join(bz2.compress(stream.encode()) for stream in streams)
    few = dump(bundled("mono/en", 1e9), BARE_XML_MEGABYTES)
    part = path("part.xml", (HEAD + "".join(few) + TAIL).encode())
    for name, file in (
        ("MediaWiki XML", path("dump.xml", whole)),
        ("MediaWiki XML, multistream bz2", path("dump.xml.bz2", multistream)),
    ):
        made = case(name, file, len(whole), bare_xml, "mwxml, mwparserfromhell strip_code")
        yield made._replace(bare=lambda: bare_xml(part), bare_megabytes=part.stat().st_size / 1e6)


def bare_json(unpacked: Callable[..., Any] = Path.open) -> Callable[[Path], None]:
    """A loop over lines that are opened so."""

    def loop(file: Path) -> None:
        with unpacked(file, "rb") as lines:
            for line in lines:
                json.loads(line)

    return loop


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
    """Every page parsed whole."""
    import mwparserfromhell
    import mwxml

    with file.open("rb") as raw:
        for page in mwxml.Dump.from_file(raw):
            for revision in page:
                mwparserfromhell.parse(revision.text or "").strip_code()


def ours(case: Case) -> None:
    """All shards, one after the other; every record must be one."""
    count = 0
    for shard in source_shards(case.source, sides=case.sides, root=Path("/"), field="path"):
        for found in read_shard(shard, case.source, sides=case.sides, record_bytes=2**25):
            assert isinstance(found, Record), found
            count += 1
    assert count


def seconds(work: Callable[[], object]) -> float:
    """Of the fastest round; slow work gets one."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
        if best > 5:
            break
    return best


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=20.0)
    megabytes = parser.parse_args().megabytes
    table = Table("format", "MB", "MB/s", "bare loop", "MB/s ", "ratio", title="Readers, one core")
    for column in table.columns[1::2]:
        column.justify = "right"
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(Path(folder), megabytes):
            speed = case.megabytes / seconds(lambda case=case: ours(case))  # type: ignore[misc]
            bare = case.bare_megabytes / seconds(case.bare)
            table.add_row(
                case.name, f"{case.megabytes:.0f}", f"{speed:.1f}", case.bare_name, f"{bare:.1f}",
                f"{speed / bare:.1f}",
            )  # fmt: skip
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
