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
        ("s3://name:pass@bucket/a", "holds a credential"),
        ("s3://bucket/a?secret_key=abc", "holds a credential"),
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
    with pytest.raises(UserError, match="lies below it"):
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
