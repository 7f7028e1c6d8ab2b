"""Every kind of invalid input and its error message: the cases of docs/faults.md.

python -m tests.fault_cases > docs/faults.md
"""

import gzip
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ccx_ray.corpus.parts import part_files
from ccx_ray.corpus.reading.lines import zstd
from ccx_ray.corpus.reading.sources import check_source
from ccx_ray.errors import UserError
from ccx_ray.study.text_spec import CleaningSpec, SourceSpec
from tests.frequency_fault_cases import frequency_fault_section
from tests.probe_fault_cases import probe_fault_section
from tests.small_corpus import target_language, text_folder
from tests.source_files import json_lines, tmx, wiki_dump, wiki_page, write_parquet

GOOD = [{"id": f"good{i}", "text": f"좋은 글 {i} 입니다"} for i in range(3)]
GOOD_ONE = [{"id": "other", "text": "다른 글 하나"}]
PAIRS = [{"id": f"pair{i}", "en": f"Sentence {i}", "ko": f"문장 {i}"} for i in range(2)]
MEGABYTES = 100


@dataclass(frozen=True, kw_only=True)
class FaultCase:
    """One bad file among good ones."""

    name: str
    file: str
    write: Callable[[Path], Any]
    reason: str
    """Which it must be counted under; empty where the study is refused before it runs."""
    stops: bool = False
    """With ``cleaning.broken_files: stop``, the default."""
    pairs: bool = False
    alone: bool = False
    """The file is a source of its own, of which nothing is left."""


@dataclass(frozen=True, kw_only=True)
class FaultOutcome:
    """The outcome of a case."""

    read: int
    kept: int
    rejected: dict[str, int]
    place: str
    """File and position of the first record rejected for the case's reason."""
    line: str
    """What the study is stopped with; empty where it goes on."""


def _cut_gzip(path: Path) -> None:
    lines = json_lines(
        {"id": f"d{i}", "text": f"글 {i * i * 7919} 입니다 " * 40} for i in range(300)
    )
    content = gzip.compress(lines)
    path.write_bytes(content[: len(content) * 2 // 3])


def _long_line(path: Path) -> None:
    with path.open("wb") as file:
        file.write(json_lines(GOOD[:1]) + b'{"id": "long", "text": "')
        for _ in range(MEGABYTES):
            file.write(b"x" * 2**20)
        file.write(b'"}\n' + json_lines(GOOD[1:]))


def _lines(*extra: Any) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(json_lines([*GOOD, *extra]))


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jsonl", json_lines(GOOD))


def _too_long_window(path: Path) -> None:
    packed = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 31})
    frame = bytearray(packed.compress(json_lines(GOOD)) + packed.flush())
    frame[5] = 31 << 3  # the window's size: 2 TiB
    path.write_bytes(frame)


def _memory(declared: str) -> Callable[[Path], Any]:
    """A translation memory in EUC-KR with two bytes that it does not have."""
    units = [(("en", "One"), ("ko", "하나")), (("en", "Two??"), ("ko", "둘"))]
    text = tmx(units).decode().replace("UTF-8", declared).encode("euc-kr")
    return lambda path: path.write_bytes(text.replace(b"??", b"\xff\xfe"))


def _columns_twice(path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"])] * 3, names=["id", "text", "text"])
    pq.write_table(table, path)


def _pages() -> list[str]:
    return [wiki_page(i, f"문서 {i}", f"이것은 '''문서''' {i}의 글이다.") for i in range(4)]


CASES = (
    FaultCase(
        name="truncated gzip",
        file="cut.jsonl.gz",
        write=_cut_gzip,
        reason="file ends in the middle",
        stops=True,
    ),
    FaultCase(
        name="broken UTF-8",
        file="bytes.jsonl",
        write=lambda path: path.write_bytes(
            json_lines(GOOD) + b'{"id": "x", "text": "\xff\xfe"}\n'
        ),
        reason="not valid UTF-8",
    ),
    FaultCase(
        name=f"a JSON line of {MEGABYTES} MB",
        file="long.jsonl",
        write=_long_line,
        reason="record too long",
    ),
    FaultCase(
        name="empty file", file="empty.jsonl", write=lambda path: path.touch(), reason="empty file"
    ),
    FaultCase(
        name="Parquet with a missing column",
        file="column.parquet",
        write=lambda path: write_parquet(path, {"id": ["a"], "body": ["글"]}),
        reason="",
        stops=True,
    ),
    FaultCase(
        name="null text",
        file="null.jsonl",
        write=_lines({"id": "x", "text": None}),
        reason="null text",
    ),
    FaultCase(
        name="no text after filtering",
        file="latin.jsonl",
        write=_lines({"id": "x", "text": "Only Latin letters, 1 2 3."}),
        reason="nothing left after isolation",
    ),
    FaultCase(
        name="duplicate ids",
        file="ids.jsonl",
        write=_lines({"id": "good0", "text": "같은 이름의 다른 글"}),
        reason="repeated id",
    ),
    FaultCase(
        name="TMX with missing sides",
        file="sides.tmx",
        write=lambda path: path.write_bytes(
            tmx([(("en", "One"), ("ko", "하나")), (("en", "Two"),), (("ko", "셋"),)])
        ),
        reason="missing side",
        pairs=True,
    ),
    FaultCase(
        name="XML dump cut in the middle",
        file="dump.xml",
        write=lambda path: path.write_bytes(wiki_dump(_pages())[:-900]),
        reason="file ends in the middle",
        stops=True,
    ),
    FaultCase(
        name="source without usable records",
        file="nothing.jsonl",
        write=lambda path: path.write_bytes(json_lines([{"id": "x", "body": "글"}])),
        reason="",
        stops=True,
        alone=True,
    ),
    FaultCase(name="zip archive", file="a.jsonl.zip", write=_zip, reason="", stops=True),
    FaultCase(
        name="compressed twice",
        file="twice.jsonl.gz",
        write=lambda path: path.write_bytes(gzip.compress(gzip.compress(json_lines(GOOD)))),
        reason="",
        stops=True,
    ),
    FaultCase(
        name="HTML page in the place of a file",
        file="page.jsonl",
        write=lambda path: path.write_text("<!DOCTYPE html>\n<title>404</title>\n"),
        reason="",
        stops=True,
    ),
    FaultCase(
        name="UTF-16",
        file="wide.jsonl",
        write=lambda path: path.write_bytes(json_lines(GOOD).decode().encode("utf-16")),
        reason="",
        stops=True,
    ),
    FaultCase(
        name="Git LFS pointer",
        file="pointer.jsonl",
        write=lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
        reason="",
        stops=True,
    ),
    FaultCase(
        name="broken symbolic link",
        file="link.jsonl",
        write=lambda path: path.symlink_to("moved.jsonl"),
        reason="",
        stops=True,
    ),
    FaultCase(
        name="zstd with a window of 2 TiB",
        file="window.jsonl.zst",
        write=_too_long_window,
        reason="zstd window larger than the memory allows",
        stops=True,
    ),
    FaultCase(
        name="two JSON objects on a line",
        file="two.jsonl",
        write=lambda path: path.write_bytes(
            json_lines(GOOD) + b'{"id": "x", "text": "a"}{"id": "y", "text": "b"}\n'
        ),
        reason="several JSON objects on a line",
    ),
    FaultCase(
        name="bytes outside the declared encoding",
        file="euc-kr.tmx",
        write=_memory("EUC-KR"),
        reason="characters that cannot be read",
        pairs=True,
    ),
    FaultCase(
        name="unknown encoding",
        file="unknown.tmx",
        write=_memory("x-user-defined"),
        reason="",
        stops=True,
        pairs=True,
    ),
    FaultCase(
        name="Parquet bytes that are not UTF-8",
        file="bytes.parquet",
        write=lambda path: write_parquet(
            path, {"id": ["x", "y"], "text": ["첫째 글".encode(), b"\xff\xfe"]}
        ),
        reason="not valid UTF-8",
    ),
    FaultCase(
        name="Parquet with a repeated column",
        file="twice.parquet",
        write=_columns_twice,
        reason="",
        stops=True,
    ),
    FaultCase(
        name="Parquet with a column of lists",
        file="lists.parquet",
        write=lambda path: write_parquet(path, {"id": ["a"], "text": [["글", "글"]]}),
        reason="",
        stops=True,
    ),
)


def outcome_of(case: FaultCase, folder: Path) -> FaultOutcome:
    """Run a case: as the study stops, if it does, and with what is kept otherwise."""
    kind = "parallel" if case.pairs else "monolingual"
    for name, good in (("monolingual", GOOD_ONE), ("parallel", PAIRS)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "0.jsonl").write_bytes(json_lines(good))
    case.write(folder / kind / case.file)
    documents = (
        ("monolingual/0.jsonl", f"monolingual/{case.file}") if case.alone else ("monolingual",)
    )
    language = target_language("ko", documents, ("parallel",))
    line = ""
    try:
        sides = ("en", "ko") if case.pairs else ("text",)
        check_source(
            SourceSpec(path=case.file),
            sides=sides,
            root=folder / kind,
            field=f"languages.ko.{kind}",
        )
        text_folder(language, folder, folder / "stop")
    except UserError as error:
        line = str(error).replace(f"{folder / kind}/", "")
    if not case.reason:
        return FaultOutcome(read=0, kept=0, rejected={}, place="", line=line)
    keep = CleaningSpec(minimum_characters=1, near_duplicates=None, broken_files="keep")
    counts = text_folder(language, folder, folder / "keep", cleaning=keep)
    found = counts["pairs" if case.pairs else "documents"]
    rejected = [
        row
        for part in part_files(folder / "keep/rejected")
        for row in pq.read_table(part).to_pylist()
        if row["reason"] == case.reason
    ]
    return FaultOutcome(
        read=found["read"],
        kept=found["kept"],
        rejected=found["rejected"],
        place=f"{rejected[0]['file']}, {rejected[0]['position']}" if rejected else "",
        line=line,
    )


def fault_table() -> str:
    """The page docs/faults.md."""
    rows = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            found = outcome_of(case, Path(folder))
        before = "after reading it" if case.alone else "before anything is read"
        counted = ", ".join(f"{n} {reason}" for reason, n in found.rejected.items()) or "–"
        numbers = f"{found.read} = {found.kept} + {sum(found.rejected.values())}"
        rows.append(
            f"| {case.name} | {found.line or 'the run continues'} | "
            f"{numbers if case.reason else before} | {counted} | {found.place} |"
        )
    with tempfile.TemporaryDirectory() as folder:
        probe_section = probe_fault_section(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        frequency_section = frequency_fault_section(Path(folder))
    return "\n".join(
        [
            "# Invalid input",
            "",
            "This page is written by `python -m tests.fault_cases`, and a test compares the two.",
            "",
            "## Text",
            "By default a broken file stops the study. With `cleaning: {broken_files: keep}` the "
            "records before the fault are kept.",
            "The counts below are with `keep`. A valid file with one document, or two pairs, is "
            "read beside the invalid one.",
            "",
            "| case | by default | read = kept + rejected | reasons | first one |",
            "|---|---|---|---|---|",
            *rows,
            "",
            probe_section,
            frequency_section,
        ]
    )


if __name__ == "__main__":
    print(fault_table(), end="")
