"""Files are found by one rule, in one order, and mistakes get one line."""

import hashlib
import os
import pickle
from pathlib import Path

import pytest

from ccx_ray.errors import UserError
from ccx_ray.storage.input_files import InputFile, find_files


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.txt", "a.txt", "deep/c.txt", "deep/er/a.txt", ".hidden/d.txt", "deep/.e.txt"):
        path = tmp_path / "corpora" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, "utf-8")
    return tmp_path


def below(tree: Path, path: str) -> list[str]:
    return [
        str(Path(file.uri).relative_to(tree / "corpora"))
        for file in find_files(path, root=tree, field="f")
    ]


def test_files_globs_and_folders(tree: Path):
    assert below(tree, "corpora/a.txt") == ["a.txt"]
    assert below(tree, str(tree / "corpora/a.txt")) == ["a.txt"]
    assert below(tree, f"file://{tree}/corpora/a.txt") == ["a.txt"]
    assert below(tree, "corpora/*.txt") == ["a.txt", "b.txt"]
    assert below(tree, "corpora/[a]*.txt") == ["a.txt"]
    everything = ["a.txt", "b.txt", "deep/c.txt", "deep/er/a.txt"]
    assert below(tree, "corpora/**/*.txt") == everything
    assert below(tree, "corpora") == everything


def test_a_bracket_in_a_name_is_no_glob(tree: Path):
    (tree / "corpora/x[1].txt").write_text("x", "utf-8")
    assert below(tree, "corpora/x[1].txt") == ["x[1].txt"]


def test_a_bracket_in_the_name_of_a_folder_above_a_glob_is_none(tree: Path):
    (tree / "corpora/[ko] 1").mkdir()
    (tree / "corpora/[ko] 1/a.txt").write_text("x", "utf-8")
    assert below(tree, "corpora/[ko] 1/*.txt") == ["[ko] 1/a.txt"]


def test_an_escaped_file_uri_is_the_path_that_it_means(tree: Path):
    (tree / "corpora/x y%20.txt").write_text("x", "utf-8")
    for start in ("file://", "file://localhost"):
        assert below(tree, f"{start}{tree}/corpora/x%20y%2520.txt") == ["x y%20.txt"]
    assert below(tree, f"file://{tree}/corpora/x y%20.txt") == ["x y%20.txt"]


def test_a_folder_with_the_ending_of_a_glob_is_read_whole(tree: Path):
    """As Spark writes a table."""
    for name in ("x.txt/part-0.txt", "x.txt/_SUCCESS", "x.txt/lang=ko/part-1.txt"):
        path = tree / "corpora" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, "utf-8")
    spark = ["x.txt/lang=ko/part-1.txt", "x.txt/part-0.txt"]
    assert below(tree, "corpora/*.txt") == ["a.txt", "b.txt", *spark]
    assert below(tree, "corpora/x*.txt") == spark


def test_a_name_that_is_not_utf_8_is_told(tree: Path):
    """As unpacking a zip archive of Windows leaves them."""
    (tree / "corpora" / os.fsdecode("한글.txt".encode("cp949"))).write_text("x", "utf-8")
    with pytest.raises(UserError, match=r"udcdb\.txt' is not UTF-8, and ids are made of names"):
        find_files("corpora", root=tree, field="f")


def test_a_hidden_folder_that_is_named_is_read(tree: Path):
    assert below(tree, "corpora/.hidden") == [".hidden/d.txt"]


def test_names_tell_files_apart(tree: Path):
    names = [file.name for file in find_files("corpora", root=tree, field="f")]
    assert names == ["a.txt", "b.txt", "c.txt", "deep/er/a.txt"]


def test_a_file_is_opened_where_it_arrives(tree: Path):
    (file,) = find_files("corpora/b.txt", root=tree, field="f")
    copy = pickle.loads(pickle.dumps(file))
    assert copy == file
    assert (copy.name, copy.size, copy.is_remote) == ("b.txt", 5, False)
    with copy.open() as opened:
        opened.seek(2)
        assert opened.read() == b"txt"
    filesystem, path = copy.filesystem()
    assert filesystem.open_input_file(path).read() == b"b.txt"


def test_the_hash_is_of_the_content(tree: Path):
    path = tree / "corpora/a.txt"
    (file,) = find_files("corpora/a.txt", root=tree, field="f")
    assert file.sha256() == hashlib.sha256(b"a.txt").hexdigest()
    path.write_text("other", "utf-8")
    os.utime(path, ns=(1, 1))
    assert file.sha256() == hashlib.sha256(b"other").hexdigest()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no.txt", "'no.txt' is not an existing file"),
        ("corpora/*.json", "no file matches it"),
        ("hdfs://a/b", "unknown scheme; give a local path or one of s3://"),
        ("https://a/b.txt", "unknown scheme"),
        ("s3://name:pass@bucket/a", "contains a credential"),
        ("s3://name:pass/abc#abc[@bucket/a", "the URI of 's3://bucket/a' contains a credential"),
        ("s3://bucket-[12]/a", "cannot be read ('12' does not appear to be an IP"),
        ("s3://bucket/a?secret_key=abc", "contains a credential"),
    ],
)
def test_mistakes_get_one_line(tree: Path, path: str, message: str):
    with pytest.raises(UserError) as caught:
        find_files(path, root=tree, field="languages.0.monolingual.0")
    line = str(caught.value)
    assert line.startswith("languages.0.monolingual.0: ")
    assert message in line
    assert "\n" not in line
    assert "pass" not in line.replace("password", "")
    assert "abc" not in line


def test_an_empty_folder_is_a_mistake(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is below it"):
        find_files("empty", root=tmp_path, field="f")


def test_no_import_of_pyarrow_for_local_files(tree: Path):
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from ccx_ray.storage.input_files import find_files\n"
        f"find_files('corpora', root=Path({str(tree)!r}), field='f')[0].sha256()\n"
        "assert 'pyarrow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_equal_files_are_equal():
    assert InputFile(uri="/a", name="a", size=1) == InputFile(uri="/a", name="a", size=1)


def test_what_data_lakes_leave_out_is_read_only_where_it_is_named(tree: Path):
    for name in ("_SUCCESS", "_metadata", ".a.crc", "_part/f.txt", "deep/_g.txt", "_h.txt"):
        path = tree / "corpora" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name, "utf-8")
    everything = ["a.txt", "b.txt", "deep/c.txt", "deep/er/a.txt"]
    assert below(tree, "corpora") == everything
    assert below(tree, "corpora/**") == everything
    assert below(tree, "corpora/**/*.txt") == everything
    assert below(tree, "corpora/*") == ["a.txt", "b.txt"]
    assert below(tree, "corpora/_h.txt") == ["_h.txt"]
    assert below(tree, "corpora/_*.txt") == ["_h.txt"]
    assert below(tree, "corpora/_part") == ["_part/f.txt"]
    assert below(tree, "corpora/_p*/*.txt") == ["_part/f.txt"]
    assert below(tree, "corpora/**/_g.*") == ["deep/_g.txt"]
    (tree / "only").mkdir()
    (tree / "only/_a.txt").touch()
    with pytest.raises(UserError, match=r"is below it, but 1 that begin with _ or \.; give"):
        find_files("only", root=tree, field="f")


def test_links_are_followed(tree: Path, tmp_path: Path):
    other = tree / "elsewhere"
    (other / "sub").mkdir(parents=True)
    (other / "x.txt").write_text("x", "utf-8")
    (other / "sub/y.txt").write_text("y", "utf-8")
    (tree / "corpora/linked").symlink_to(other)
    (tree / "corpora/z.txt").symlink_to(other / "x.txt")
    (other / "sub/back").symlink_to(tree / "corpora/linked")  # into a folder that it lies in
    linked = ["linked/sub/y.txt", "linked/x.txt"]
    assert below(tree, "corpora")[-3:] == [*linked, "z.txt"]
    assert below(tree, "corpora/**/*.txt")[-3:] == [*linked, "z.txt"]
    assert below(tree, "corpora/link*/*.txt") == ["linked/x.txt"]
    assert below(tree, "corpora/linked") == linked
    assert [file.size for file in find_files("corpora/z.txt", root=tree, field="f")] == [1]


@pytest.mark.parametrize("path", ["corpora", "corpora/*.txt", "corpora/gone.txt"])
def test_a_link_that_leads_nowhere_is_named(tree: Path, path: str):
    (tree / "corpora/gone.txt").symlink_to("../moved.txt")
    with pytest.raises(UserError) as caught:
        find_files(path, root=tree, field="f")
    assert "gone.txt' is a link to '../moved.txt', which does not exist; fix" in str(caught.value)


def test_a_link_to_itself_is_named(tree: Path):
    (tree / "corpora/self").symlink_to("self")
    for path in ("corpora", "corpora/*", "corpora/self"):
        with pytest.raises(UserError, match="self' is a link to 'self', which does not exist"):
            find_files(path, root=tree, field="f")


def test_question_marks_and_depth_of_a_glob(tree: Path):
    assert below(tree, "corpora/?.txt") == ["a.txt", "b.txt"]
    assert below(tree, "corpora/*/*.txt") == ["deep/c.txt"]
    assert below(tree, "corpora/*/er/?.txt") == ["deep/er/a.txt"]


@pytest.mark.parametrize("path", ["x" * 300, "~nobody-here/a.txt", "x\0y"])
def test_what_is_no_path_is_one_line(tmp_path: Path, path: str):
    with pytest.raises(UserError) as caught:
        find_files(path, root=tmp_path, field="f")
    assert str(caught.value).startswith("f: ")
    assert len(str(caught.value).splitlines()) == 1
