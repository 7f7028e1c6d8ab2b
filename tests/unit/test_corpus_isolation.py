"""No record disappears: it is kept, or rejected with its reason and its text."""

import gzip
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ccx_ray.corpus.isolation import SourceFile, isolated_tables
from ccx_ray.corpus.parts import PartWriter, part_files
from ccx_ray.corpus.sources import BadLine, read_records
from ccx_ray.corpus.text_folder import DOCUMENTS, TextFolder
from ccx_ray.errors import UserError
from tests.small_corpus import KEEP_LATIN, REMOVE_LATIN


def write_lines(path: Path, *lines: object) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n", "utf-8", errors="surrogatepass")
    return path


def document(name: str, text: str) -> dict[str, str]:
    return {"id": name, "text": text, "source": "s"}


def isolate_into(folder: Path, *sources: SourceFile, pairs: bool = False) -> dict:
    with TextFolder(folder, pairs=pairs) as text:
        for source in sources:
            for table in isolated_tables(source):
                text.add(table)
    return text.counts()


def rows(folder: Path) -> list[dict[str, str]]:
    return [row for part in part_files(folder) for row in pq.read_table(part).to_pylist()]


def korean(path: Path) -> SourceFile:
    return SourceFile(
        path=path, kind="documents", text_fields=("text",), isolations=(REMOVE_LATIN,)
    )


def test_every_record_is_kept_or_rejected_with_its_reason(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "ko.jsonl",
        document("1", "안녕하세요 hello"),
        "{broken",
        document("2", "Only English, 1 2 3."),
        document("3", "안녕하세요 bye"),
        document("1", "다른 글"),
        document("4", "   "),
        {"id": "5", "text": 7, "source": "s"},
        ["no", "object"],
        '{"id": "6", "text": "\\ud800", "source": "s"}',
        {"id": "7", "text": "출처 없음"},
        "",
    )
    counts = isolate_into(tmp_path / "text", korean(path))
    assert rows(tmp_path / "text/documents") == [
        {"id": "1", "text": "안녕하세요", "source": "s"},
        {"id": "7", "text": "출처 없음", "source": "ko.jsonl"},
    ]
    rejected = {row["id"]: (row["text"], row["reason"]) for row in rows(tmp_path / "text/rejected")}
    assert rejected["2"] == ("Only English, 1 2 3.", "nothing left after isolation")
    assert rejected["3"] == ("안녕하세요 bye", "duplicate")
    assert rejected["1"] == ("다른 글", "repeated id")
    assert rejected["ko.jsonl:2"] == ("{broken", "not a valid record")
    assert counts["documents"]["read"] == 10
    assert counts["documents"]["kept"] == 2
    assert counts["rejected"] == {
        "not a valid record": 5,
        "nothing left after isolation": 1,
        "duplicate": 1,
        "repeated id": 1,
    }
    assert counts["characters_removed_by_script"]["Latin"] == len("helloOnlyEnglishbye")


def test_a_pair_needs_both_sides(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "en-ko.jsonl",
        {"id": "1", "en": "Hello 안녕", "ko": "안녕 Hello", "source": "s"},
        {"id": "2", "en": "Nokia", "ko": "Nokia", "source": "s"},
        {"id": "3", "en": "Hello", "ko": "안녕", "source": "s"},
        {"id": "4", "en": "Hello", "ko": "여보세요", "source": "s"},
        {"id": "5", "en": "Alone", "source": "s"},
    )
    source = SourceFile(
        path=path, kind="pairs", text_fields=("en", "ko"), isolations=(KEEP_LATIN, REMOVE_LATIN)
    )
    isolate_into(tmp_path / "text", source, pairs=True)
    assert rows(tmp_path / "text/pairs") == [
        {"id": "1", "english": "Hello", "target": "안녕", "source": "s"},
        {"id": "4", "english": "Hello", "target": "여보세요", "source": "s"},
    ]
    rejected = {row["id"]: row["reason"] for row in rows(tmp_path / "text/rejected")}
    assert rejected == {
        "2": "nothing left after isolation",
        "3": "duplicate",
        "en-ko.jsonl:5": "not a valid record",
    }


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "ko.jsonl"
    path.write_bytes(gzip.compress(json.dumps(document("1", "글")).encode()))
    (record,) = read_records(path, ("text",))
    assert not isinstance(record, BadLine)
    assert record.texts == ("글",)


def test_a_broken_gzip_is_the_users_mistake(tmp_path: Path) -> None:
    path = tmp_path / "ko.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(document("1", "글" * 5000)).encode())[:-20])
    with pytest.raises(UserError, match=r"ko\.jsonl\.gz' cannot be read to its end"):
        list(read_records(path, ("text",)))


def test_parts_keep_order_and_schema(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "ko.jsonl", *(document(str(i), f"글 {i}") for i in range(50)))
    (table,) = isolated_tables(korean(path))
    with PartWriter(tmp_path / "parts", DOCUMENTS, part_bytes=1) as writer:
        for start in range(0, 50, 20):
            writer.write(table.slice(start, 20))
    assert len(part_files(tmp_path / "parts")) == 3
    assert [row["id"] for row in rows(tmp_path / "parts")] == [str(i) for i in range(50)]
    with PartWriter(tmp_path / "empty", DOCUMENTS):
        pass
    (part,) = part_files(tmp_path / "empty")
    assert pq.read_schema(part).names == ["id", "text", "source"]
