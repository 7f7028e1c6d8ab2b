"""Storage: what is refused, and that nothing is ever half there."""

from pathlib import Path

import pytest

from ccx_ray.errors import UserError
from ccx_ray.storage.publishing import (
    publish_bytes,
    publish_folder,
    resolve_storage,
    storage_folder,
)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"runtime\.storage: .*file/below.* cannot be written"):
        resolve_storage(str(tmp_path / "file" / "below"))


def test_a_file_uri_is_a_folder(tmp_path: Path):
    wanted = tmp_path / "with space"
    assert resolve_storage(wanted.as_uri()) == wanted
    assert wanted.is_dir()
    assert list(wanted.iterdir()) == []


def test_an_unsupported_scheme_is_refused():
    with pytest.raises(UserError, match="s3://bucket/x"):
        resolve_storage("s3://bucket/x")


def test_a_storage_of_nobody_is_one_line():
    with pytest.raises(UserError, match=r"'~nobody-of-this-name/x' is no path here"):
        storage_folder("~nobody-of-this-name/x")


def test_publishing_replaces_at_once(tmp_path: Path):
    publish_bytes(tmp_path / "a", b"one")
    publish_bytes(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_folder_replaces_an_unfinished_one(tmp_path: Path):
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "old").write_text("")
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside" / "new").write_text("")
    publish_folder(tmp_path / "aside", tmp_path / "final")
    assert [p.name for p in (tmp_path / "final").iterdir()] == ["new"]
