"""No source and no file is lost in silence; ids are unique within their source."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ccx_ray.corpus.cleaning.yields import NAMED, SOURCES
from ccx_ray.corpus.parts import part_files
from ccx_ray.errors import InputError
from tests.small_corpus import target_language, text_folder
from tests.source_files import json_lines, tmx, wiki_dump, wiki_page, write_parquet

PAIRS = [{"id": f"pair{i}", "en": f"Sentence {i}", "ko": f"문장 {i}"} for i in range(3)]


def texts(name: str, count: int, **changes: Any) -> bytes:
    word = "".join(chr(0xAC00 + ord(letter)) for letter in name)
    return json_lines(
        {"id": f"{name}{i}", "text": f"{word} 글 {i}", **changes} for i in range(count)
    )


def isolated(
    root: Path, documents: tuple[str, ...], pairs: tuple[str, ...] = ("pairs.jsonl",)
) -> dict[str, Any]:
    (root / "pairs.jsonl").write_bytes(json_lines(PAIRS))
    shutil.rmtree(root / "out", ignore_errors=True)
    return text_folder(target_language("ko", documents, pairs), root, root / "out")


def rows(root: Path, folder: str) -> list[dict[str, Any]]:
    return [
        row for part in part_files(root / "out" / folder) for row in pq.read_table(part).to_pylist()
    ]


def dump(root: Path, name: str, wiki: str) -> None:
    pages = [wiki_page(n, f"{wiki} {n}", f"{wiki}의 {n}번째 쪽이다.") for n in (1, 2)]
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(wiki_dump(pages))


@pytest.mark.parametrize("sources", [("*.xml",), ("a.xml", "b.xml")])
def test_pages_of_two_dumps_with_equal_ids(tmp_path: Path, sources: tuple[str, ...]):
    dump(tmp_path, "a.xml", "가나")
    dump(tmp_path, "b.xml", "다라")
    counts = isolated(tmp_path, sources)
    assert (counts["documents"]["kept"], counts["documents"]["rejected"]) == (4, {})
    assert [row["id"] for row in rows(tmp_path, "documents")] == ["1", "2", "b.xml#1", "b.xml#2"]


def test_dumps_of_one_name_in_three_folders(tmp_path: Path):
    for folder, wiki in (("a", "가나"), ("b", "다라"), ("c", "마바")):
        dump(tmp_path, f"{folder}/dump.xml", wiki)
    isolated(tmp_path, ("a/dump.xml", "b/dump.xml", "c/dump.xml"))
    names = [row["id"] for row in rows(tmp_path, "documents")]
    assert len(set(names)) == len(names) == 6
    assert names[:2] == ["1", "2"]


def test_units_of_two_memories_with_equal_ids(tmp_path: Path):
    for name in ("a", "b"):
        unit = [[("en", f"{name} {n}."), ("ko", f"{name} {n}번째")] for n in range(2)]
        (tmp_path / f"{name}.tmx").write_bytes(tmx(unit, ids=True))
    (tmp_path / "a.jsonl").write_bytes(texts("a", 2))
    counts = isolated(tmp_path, ("a.jsonl",), ("*.tmx",))
    assert (counts["pairs"]["kept"], counts["pairs"]["rejected"]) == (4, {})
    assert [row["id"] for row in rows(tmp_path, "pairs")] == ["u1", "u2", "b.tmx#u1", "b.tmx#u2"]


def test_an_id_within_a_source_and_in_another(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(
        json_lines([{"id": "x", "text": "첫째 글"}, {"id": "x", "text": "둘째 글"}])
    )
    (tmp_path / "b1.jsonl").write_bytes(json_lines([{"id": "x", "text": "셋째 글"}]))
    (tmp_path / "b2.jsonl").write_bytes(
        json_lines([{"id": "x", "text": "넷째 글"}, {"id": "y", "text": "셋째 글"}])
    )
    counts = isolated(tmp_path, ("a.jsonl", "b*.jsonl"))
    assert counts["documents"]["rejected"] == {"repeated id": 2, "duplicate": 1}
    kept = [(row["id"], row["text"]) for row in rows(tmp_path, "documents")]
    assert kept == [("x", "첫째 글"), ("b1.jsonl#x", "셋째 글")]
    rejected = {row["text"]: row["duplicate_of"] for row in rows(tmp_path, "rejected")}
    assert rejected == {"둘째 글": "x", "넷째 글": "b1.jsonl#x", "셋째 글": "b1.jsonl#x"}


def test_a_repeated_id_that_another_reason_has_taken_is_free(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(
        json_lines([{"id": "w", "text": "같은 글"}, {"id": "x", "text": "같은 글"}])
    )
    (tmp_path / "b.jsonl").write_bytes(json_lines([{"id": "x", "text": "다른 글"}]))
    isolated(tmp_path, ("a.jsonl", "b.jsonl"))
    assert [row["id"] for row in rows(tmp_path, "documents")] == ["w", "x"]


def refused(root: Path, *documents: str) -> str:
    with pytest.raises(InputError) as caught:
        isolated(root, documents)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_source_of_which_nothing_is_left_stops_the_step(tmp_path: Path):
    (tmp_path / "good.jsonl").write_bytes(texts("good", 5))
    (tmp_path / "bad.jsonl").write_bytes(texts("bad", 2, text=None) + b"no JSON\n")
    line = refused(tmp_path, "good.jsonl", "bad.jsonl")
    assert line == (
        "languages.ko.monolingual: none of 3 records of 'bad.jsonl' is kept (2 null text, 1 not "
        "valid JSON, first bad.jsonl, line 1); give text with the fields text, or remove the "
        "source"
    )
    (tmp_path / "latin.jsonl").write_bytes(texts("x", 2, text="Latin alone"))
    assert "(2 nothing left after isolation, first" in refused(
        tmp_path, "good.jsonl", "latin.jsonl"
    )
    (tmp_path / "blank.jsonl").write_bytes(b"\n \n")
    assert "none of 0 records of 'blank.jsonl' is kept (no records)" in refused(
        tmp_path, "good.jsonl", "blank.jsonl"
    )
    (tmp_path / "empty.jsonl").touch()
    assert "(1 empty file, first" in refused(tmp_path, "good.jsonl", "empty.jsonl")
    write_parquet(tmp_path / "rows.parquet", {"id": [], "text": []})
    assert "'rows.parquet'" in refused(tmp_path, "good.jsonl", "rows.parquet")


def test_a_source_that_repeats_another_is_warned_about(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(texts("a", 5))
    (tmp_path / "b.jsonl").write_bytes(texts("a", 3))
    assert isolated(tmp_path, ("a.jsonl", "b.jsonl"))["warnings"] == [
        "languages.ko.monolingual: nothing is kept in 1 of 1 files of 'b.jsonl': b.jsonl (3 "
        "duplicate)"
    ]


def test_files_of_which_little_is_left_are_named(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(texts("a", 5))
    for number in range(NAMED + 2):
        (tmp_path / f"e{number}.jsonl").touch()
    (tmp_path / "half.jsonl").write_bytes(texts("h", 4) + b"no JSON\n" * 5)
    (tmp_path / "large.jsonl").write_bytes(texts("l", 20, vector="0123456789" * 500))
    counts = isolated(tmp_path, ("*[!s].jsonl",))
    nothing, lost, little = counts["warnings"]
    files = NAMED + 5
    empty = ", ".join(f"e{n}.jsonl (1 empty file)" for n in range(NAMED))
    assert f"nothing is kept in {NAMED + 2} of {files} files" in nothing
    assert nothing.endswith(f"{empty} and 2 more")
    assert "more than half of the records are lost in 1 of" in lost
    assert lost.endswith(": half.jsonl (5 of 9: 5 not valid JSON)")
    assert "there is little text in 1 of" in little
    assert "large.jsonl (" in little


def test_a_file_whose_ids_are_all_the_same_is_named(tmp_path: Path):
    """As some programs write ``tuid="0"`` for every unit."""
    (tmp_path / "a.jsonl").write_bytes(texts("a", 5, id="0"))
    (tmp_path / "b.jsonl").write_bytes(texts("b", 5))
    (line,) = isolated(tmp_path, ("a.jsonl", "b.jsonl"))["warnings"]
    assert line.endswith("lost in 1 of 1 files of 'a.jsonl': a.jsonl (4 of 5: 4 repeated id)")


def test_what_every_file_gave_adds_up(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(texts("a", 5) + b"no JSON\n")
    (tmp_path / "b.jsonl").write_bytes(texts("a", 2) + texts("b", 2))
    counts = isolated(tmp_path, ("a.jsonl", "b.jsonl"))
    assert counts["warnings"] == []
    found = json.loads((tmp_path / "out" / SOURCES).read_text("utf-8"))
    assert [(one["kind"], one["source"]) for one in found] == [
        ("documents", "a.jsonl"),
        ("documents", "b.jsonl"),
        ("pairs", "pairs.jsonl"),
    ]
    files = [file for one in found for file in one["files"]]
    assert [(f["read"], f["kept"], f["rejected"]) for f in files] == [
        (6, 5, {"not valid JSON": 1}),
        (4, 2, {"duplicate": 2}),
        (3, 3, {}),
    ]
    assert sum(f["text_bytes"] for f in files[:2]) == counts["documents"]["bytes_in"]


def test_pages_that_are_no_articles_are_no_loss(tmp_path: Path):
    pages = [wiki_page(n, f"R{n}", "#redirect", redirect="문서") for n in range(9)]
    (tmp_path / "a.xml").write_bytes(wiki_dump([*pages, wiki_page(99, "문서", "문서의 글이다.")]))
    assert isolated(tmp_path, ("a.xml",))["warnings"] == []
