"""Mistakes in a source cost nothing: one line before any compute; data sets of Hugging Face."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ccx_ray.corpus.reading.record import Reason
from ccx_ray.corpus.reading.sources import check_source, source_shards
from ccx_ray.errors import UserError
from ccx_ray.study.text_spec import SourceSpec
from tests.source_files import (
    DOCUMENT,
    PAIR,
    documents,
    json_lines,
    read,
    reasons,
    records,
    tmx,
    write_parquet,
)


def refused(root: Path, sides: tuple[str, ...], **source: Any) -> str:
    with pytest.raises(UserError) as caught:
        check_source(SourceSpec(**source), sides=sides, root=root, field="languages.0.x")
    line = str(caught.value)
    assert line.startswith("languages.0.x")
    assert "\n" not in line
    return line


def test_what_is_right_is_not_refused(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(json_lines(documents(2)))
    write_parquet(tmp_path / "a.parquet", {"id": ["a"], "text": ["b"]})
    (tmp_path / "a.tsv").write_text("A\t가\n", "utf-8")
    (tmp_path / "a.tmx").write_bytes(tmx([]))
    (tmp_path / "a.en").write_text("A", "utf-8")
    (tmp_path / "empty.jsonl").write_bytes(b"")
    for path in ("a.jsonl", "a.parquet", "empty.jsonl"):
        check_source(SourceSpec(path=path), sides=DOCUMENT, root=tmp_path, field="f")
    for path in ("a.tsv", "a.tmx"):
        check_source(SourceSpec(path=path), sides=PAIR, root=tmp_path, field="f")
    (tmp_path / "a.ko").write_text("가", "utf-8")
    moses = SourceSpec(path="a.en", target_path="a.ko", format="moses")
    check_source(moses, sides=PAIR, root=tmp_path, field="f")


def test_nothing_found_and_no_format(tmp_path: Path):
    assert "not an existing file" in refused(tmp_path, DOCUMENT, path="a.jsonl")
    (tmp_path / "a.txt").write_text("x", "utf-8")
    assert "a.txt' does not follow from its name" in refused(tmp_path, DOCUMENT, path="a.txt")


def test_a_missing_column_names_file_column_and_columns(tmp_path: Path):
    write_parquet(tmp_path / "a.parquet", {"id": ["a"], "body": ["b"]})
    line = refused(tmp_path, DOCUMENT, path="a.parquet")
    assert "a.parquet' has no column 'text', only id, body" in line
    line = refused(tmp_path, DOCUMENT, path="a.parquet", text_field="body", id_field="nr")
    assert "no column 'nr'" in line
    assert "no column 'en'" in refused(tmp_path, PAIR, path="a.parquet")
    (tmp_path / "a.tsv").write_text("nr\ten\n", "utf-8")
    line = refused(tmp_path, PAIR, path="a.tsv", id_field="nr")
    assert "has in its first line no column 'ko', only nr, en" in line
    (tmp_path / "b.tsv").write_text("a\tb\tc\n", "utf-8")
    assert "has 3 columns, but 2 are expected" in refused(tmp_path, PAIR, path="b.tsv")


def test_formats_that_do_not_hold_what_is_asked_for(tmp_path: Path):
    (tmp_path / "a.tmx").write_bytes(tmx([]))
    (tmp_path / "a.xml").write_bytes(b"<mediawiki/>")
    assert "contains pairs, but documents are needed" in refused(tmp_path, DOCUMENT, path="a.tmx")
    assert "contains documents, but pairs" in refused(tmp_path, PAIR, path="a.xml")
    (tmp_path / "a.jsonl").write_bytes(b"{}")
    assert "format mc2" in refused(tmp_path, PAIR, path="a.jsonl", format="mc2")


def test_files_that_are_not_what_they_are_called(tmp_path: Path):
    (tmp_path / "a.parquet").write_bytes(b"nothing of the kind")
    assert "cannot be read as Parquet" in refused(tmp_path, DOCUMENT, path="a.parquet")
    (tmp_path / "a.json").write_bytes(json.dumps(documents(3), indent=1).encode())
    assert "is a JSON array; give JSON Lines" in refused(tmp_path, DOCUMENT, path="a.json")
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf\n\r\n[\n" + json_lines(documents(3)))
    assert "is a JSON array; give JSON Lines" in refused(tmp_path, DOCUMENT, path="a.json")


def test_line_pairs_need_their_counterparts(tmp_path: Path):
    for name in ("a.en", "b.en", "a.ko"):
        (tmp_path / name).write_text("x", "utf-8")
    moses: dict[str, Any] = {"path": "*.en", "format": "moses"}
    line = refused(tmp_path, PAIR, target_path="*.zh", **moses)
    assert line.startswith("languages.0.x.target_path: '*.zh'")
    assert "matches 2 files, but target_path '*.ko' 1" in refused(
        tmp_path, PAIR, target_path="*.ko", **moses
    )


@pytest.mark.parametrize(
    ("names", "path", "target_path", "line"),
    [
        ("a.en c.en b.ko c.ko", "*.en", "*.ko", "a.en' comes together with '"),
        ("en/1.txt en/3.txt ko/1.txt ko/2.txt", "en", "ko", "3.txt' comes together with '"),
        ("x.en x.ko", "x.*", "x.*", "x.en' comes together with '"),
        ("x.en", "x.en", "x.en", "x.en' comes together with '"),
        ("a.en c.en a.ko c.ko", "*.en", "*.ko", ""),
        ("p1.en-ko.en p2.en-ko.en p01.en-ko.ko.gz p2.en-ko.ko", "*.en", "*.ko*", ""),
        ("en/1.en.txt en/2.en.txt ko/1.ko.txt ko/2.ko.txt", "en", "ko/*.txt", ""),
        ("english.txt 한국어.txt", "english.txt", "한국어.txt", ""),
    ],
)
def test_files_that_are_no_counterparts_are_told(
    tmp_path: Path, names: str, path: str, target_path: str, line: str
):
    for name in names.split():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x", "utf-8")
    source = SourceSpec(path=path, target_path=target_path, format="moses")
    if line:
        assert line in refused(tmp_path, PAIR, **source.model_dump(exclude_unset=True))
    else:
        check_source(source, sides=PAIR, root=tmp_path, field="f")


def dataset_folder(root: Path) -> str:
    (root / "korean").mkdir()
    for number in range(3):
        rows = documents(5)
        for row in rows:
            row["id"] = f"{number}-{row['id']}"
        rows[2]["text"] = ""
        (root / "korean" / f"train-{number:05}.jsonl").write_bytes(json_lines(rows))
    return "korean"


def test_a_data_set_is_read_by_its_shards(tmp_path: Path):
    source = SourceSpec(dataset=dataset_folder(tmp_path), revision="0" * 40)
    check_source(source, sides=DOCUMENT, root=tmp_path, field="f")
    assert len(source_shards(source, sides=DOCUMENT, root=tmp_path, field="f")) == 3
    found = read(source, tmp_path)
    assert reasons(found) == [Reason.BLANK_TEXT] * 3
    assert sorted(record.id for record in records(found)) == sorted(
        f"{shard}-d{row}" for shard in range(3) for row in (0, 1, 3, 4)
    )
    line = refused(tmp_path, DOCUMENT, dataset="korean", revision="0" * 40, text_field="body")
    assert "has no column 'body', only id, text, source" in line


def test_rows_of_a_data_set_without_ids_are_called_by_their_place(tmp_path: Path):
    dataset_folder(tmp_path)
    for path in (tmp_path / "korean").iterdir():
        path.write_bytes(path.read_bytes().replace(b'"id"', b'"nr"'))
    found = read(SourceSpec(dataset="korean", revision="0" * 40), tmp_path)
    assert len({record.id for record in records(found)}) == 12


OFFLINE = """
from pathlib import Path
from ccx_ray.corpus.reading.sources import check_source
from ccx_ray.errors import UserError
from ccx_ray.study.text_spec import SourceSpec
source = SourceSpec(dataset="wikimedia/wikipedia", config="20231101.ko", revision="b04c8d1ceb2f")
try:
    check_source(source, sides=("text",), root=Path("/"), field="languages.0.monolingual.0")
except UserError as error:
    print(error)
"""


def test_a_hub_out_of_reach_is_one_line():
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    (line,) = done.stdout.splitlines()
    assert line.startswith(
        "languages.0.monolingual.0: the data set wikimedia/wikipedia@b04c8d1ceb2f cannot be opened"
    )
