"""Small files of every source format, true to it, and short ways to read them."""

import bz2
import gzip
import json
import lzma
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.corpus.reading.record import Fault, Record
from ccx_ray.corpus.reading.sources import read_shard, source_shards
from ccx_ray.study.text_spec import SourceSpec

DOCUMENT = ("text",)
PAIR = ("en", "ko")
RECORD_BYTES = 2**25

COMPRESSIONS = {
    "plain": ("", lambda data: data),
    "gzip": (".gz", gzip.compress),
    "bz2": (".bz2", bz2.compress),
    "xz": (".xz", lzma.compress),
    "zstd": (".zst", lambda data: pa.compress(data, "zstd", asbytes=True)),
}


def read(
    source: SourceSpec,
    root: Path,
    *,
    sides: tuple[str, ...] = DOCUMENT,
    shard_bytes: int = 2**27,
    record_bytes: int = RECORD_BYTES,
) -> list[Record | Fault]:
    """All that comes out of the shards of a source, in order."""
    return [
        found
        for shard in source_shards(
            source, sides=sides, root=root, field="here", shard_bytes=shard_bytes
        )
        for found in read_shard(shard, source, sides=sides, record_bytes=record_bytes)
    ]


def records(found: Iterable[Record | Fault]) -> list[Record]:
    return [one for one in found if isinstance(one, Record)]


def faults(found: Iterable[Record | Fault]) -> list[Fault]:
    return [one for one in found if isinstance(one, Fault)]


def reasons(found: Iterable[Record | Fault]) -> list[str]:
    return [fault.reason for fault in faults(found)]


def json_lines(rows: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def documents(count: int, words: int = 5) -> list[dict[str, str]]:
    """Documents ``d0``, ``d1`` ... that differ."""
    return [
        {
            "id": f"d{number}",
            "text": f"Document {number}: " + "word " * words + "끝.",
            "source": "s",
        }
        for number in range(count)
    ]


def write_parquet(path: Path, columns: dict[str, Any], rows_per_group: int = 1000) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=rows_per_group)
    return path


def tmx(units: Iterable[Sequence[tuple[str, str]]], *, ids: bool = False) -> bytes:
    """A TMX file; a unit is (language code, content of seg as XML) a variant."""
    body = ""
    for number, unit in enumerate(units, 1):
        variants = "".join(
            f"      <tuv xml:lang={quoteattr(code)}><seg>{seg}</seg></tuv>\n" for code, seg in unit
        )
        name = f' tuid="u{number}"' if ids else ""
        body += f"    <tu{name}>\n{variants}    </tu>\n"
    return f"""<?xml version="1.0" encoding="UTF-8" ?>
<!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4">
  <header creationtool="x" creationtoolversion="1" segtype="sentence" o-tmf="x" adminlang="en"
    srclang="en" datatype="plaintext" />
  <body>
{body}  </body>
</tmx>
""".encode()


SITEINFO = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" \
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" \
xsi:schemaLocation="http://www.mediawiki.org/xml/export-0.11/ \
http://www.mediawiki.org/xml/export-0.11.xsd" version="0.11" xml:lang="ko">
  <siteinfo>
    <sitename>위키백과</sitename>
    <dbname>kowiki</dbname>
    <base>https://ko.wikipedia.org/wiki/%EC%9C%84%ED%82%A4</base>
    <generator>MediaWiki 1.45.0-wmf.3</generator>
    <case>first-letter</case>
    <namespaces>
      <namespace key="-2" case="first-letter">미디어</namespace>
      <namespace key="-1" case="first-letter">특수</namespace>
      <namespace key="0" case="first-letter" />
      <namespace key="1" case="first-letter">토론</namespace>
      <namespace key="6" case="first-letter">파일</namespace>
      <namespace key="10" case="first-letter">틀</namespace>
      <namespace key="14" case="first-letter">분류</namespace>
    </namespaces>
  </siteinfo>
"""


def wiki_page(number: int, title: str, text: str, *, namespace: int = 0, redirect: str = "") -> str:
    target = f"    <redirect title={quoteattr(redirect)} />\n" if redirect else ""
    return f"""  <page>
    <title>{escape(title)}</title>
    <ns>{namespace}</ns>
    <id>{number}</id>
{target}    <revision>
      <id>{number + 10_000}</id>
      <parentid>{number + 9_000}</parentid>
      <timestamp>2023-11-01T00:00:00Z</timestamp>
      <contributor>
        <username>Somebody</username>
        <id>77</id>
      </contributor>
      <comment>/* x */ &lt;page&gt;</comment>
      <origin>{number + 10_000}</origin>
      <model>wikitext</model>
      <format>text/x-wiki</format>
      <text bytes="{len(text.encode())}" sha1="x" xml:space="preserve">{escape(text)}</text>
      <sha1>x</sha1>
    </revision>
  </page>
"""


def wiki_dump(pages: Sequence[str], *, per_stream: int = 0) -> bytes:
    """A dump: plain, or a multistream bz2 with so many pages a stream."""
    if not per_stream:
        return (SITEINFO + "".join(pages) + "</mediawiki>\n").encode()
    streams = [
        "".join(pages[start : start + per_stream]) for start in range(0, len(pages), per_stream)
    ]
    return b"".join(
        bz2.compress(stream.encode()) for stream in (SITEINFO, *streams, "</mediawiki>\n")
    )
