from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path
from typing import TypeVar

import pytest

from onionshh.errors import BadData, DataInUse
from onionshh.net import store
from onionshh.net.store import (
    DataDirectory,
    atomic_write,
    read_file,
)

T = TypeVar("T")
SCHEMA = "CREATE TABLE IF NOT EXISTS things (name TEXT PRIMARY KEY, body BLOB)"


# Files.


def test_a_file_is_replaced_whole_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o644)
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    atomic_write(path, b"old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_it_is_synced_before_it_takes_the_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_sync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def note_replace(source: Path, target: Path) -> None:
        steps.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    atomic_write(tmp_path / "file", b"x")
    assert steps == ["file", "replace", "folder"]


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert read_file(path) is None
    path.write_bytes(b"12345")
    assert read_file(path) == b"12345"
    assert read_file(path, most_bytes=5) == b"12345"
    with pytest.raises(BadData, match="file is larger"):
        read_file(path, most_bytes=4)
    with pytest.raises(BadData, match="Cannot read"):
        read_file(tmp_path)


# Folders.


def test_a_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    folder = DataDirectory(tmp_path / "a" / "b")
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert folder / "x" == tmp_path / "a" / "b" / "x"


def test_a_folder_that_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for wrong in (tmp_path / "file", tmp_path / "file" / "under"):
        with pytest.raises(BadData, match="as a data folder"):
            DataDirectory(wrong)


def test_a_lock_is_held_by_one_and_given_back(tmp_path: Path) -> None:
    one, other = DataDirectory(tmp_path), DataDirectory(tmp_path)
    with one.lock():
        with pytest.raises(DataInUse, match="is in use by another process"), other.lock():
            pass
        with other.lock("another"):
            pass
    with other.lock():
        pass
    with pytest.raises(KeyError), one.lock():
        raise KeyError
    with other.lock():
        pass


# The database.


async def test_a_disk_that_is_slow_once_gets_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    run = store.RunWhereQuick()
    loop = threading.get_ident()

    def slow() -> int:
        nonlocal now
        now += 2 * store.SLOW_SECONDS
        return threading.get_ident()

    assert await run(threading.get_ident) == loop
    assert await run(slow) == loop
    assert await run(threading.get_ident) != loop
    now += store.SLOW_FOR_SECONDS + 1
    assert await run(threading.get_ident) == loop


def test_folders_above_ours_are_for_us_alone_too(tmp_path: Path) -> None:
    DataDirectory(tmp_path / "state" / "endpoints" / "one")
    for folder in (tmp_path / "state", tmp_path / "state" / "endpoints"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_could_not_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as caught:
        atomic_write(tmp_path / "file", b"")
    assert caught.value.filename == str(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
