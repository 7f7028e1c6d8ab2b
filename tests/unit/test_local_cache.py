"""The cache of fetched checkpoints: private, without leftovers, and not for ever."""

import os
import tempfile
import time
from pathlib import Path

import pytest

from ccx_ray.errors import UserError
from ccx_ray.storage.local_cache import cache_entry, cache_root, partial_entry, scratch_folder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def make(key: str) -> Path:
    with cache_entry(key) as entry:
        partial_entry(entry).mkdir()
        partial_entry(entry).rename(entry)
    return entry


def test_only_its_user_may_look_into_it(temporary: Path) -> None:
    root = cache_root()
    assert root.parent == temporary
    assert root.stat().st_mode & 0o777 == 0o700
    root.chmod(0o755)
    with pytest.raises(UserError, match="is accessible to other users"):
        cache_root()


def test_a_link_in_its_place_is_refused(temporary: Path) -> None:
    (temporary / "elsewhere").mkdir(mode=0o700)
    (temporary / f"ccx_ray-{os.getuid()}").symlink_to(temporary / "elsewhere")
    with pytest.raises(UserError, match="is accessible to other users"):
        cache_root()


def test_what_nobody_asked_for_during_an_hour_is_removed() -> None:
    old, used, new = make("old"), make("used"), make("new")
    for entry in (old, used):
        os.utime(entry, (time.time() - 7200, time.time() - 7200))
    with cache_entry("used") as entry:
        assert entry.is_dir()
    assert [entry.exists() for entry in (old, used, new)] == [False, True, True]


def test_what_a_dead_process_was_making_is_removed_but_not_what_a_living_one_is() -> None:
    (cache_root() / "key.partial").mkdir()
    (cache_root() / "writing-0.partial").mkdir()
    with scratch_folder() as living:
        make("other")
        assert living.is_dir()
        assert not (cache_root() / "key.partial").exists()
        assert not (cache_root() / "writing-0.partial").exists()
    assert not living.exists()


def test_a_failed_entry_is_not_there() -> None:
    with pytest.raises(ZeroDivisionError), cache_entry("key") as entry:
        partial_entry(entry).mkdir()
        _ = 1 / 0
    assert not entry.exists()
    with cache_entry("key") as entry:
        assert not partial_entry(entry).exists()
