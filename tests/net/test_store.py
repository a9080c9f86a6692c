from __future__ import annotations

import errno
import fcntl
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


def test_a_new_file_takes_no_other_s_place(tmp_path: Path) -> None:
    atomic_write(tmp_path / "identity", b"first", new=True)
    with pytest.raises(FileExistsError):
        atomic_write(tmp_path / "identity", b"second", new=True)
    assert (tmp_path / "identity").read_bytes() == b"first"
    assert [one.name for one in tmp_path.iterdir()] == ["identity"]
    assert stat.S_IMODE((tmp_path / "identity").stat().st_mode) == 0o600


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "identity")
    with pytest.raises(BadData, match="identity is not a file"):
        read_file(tmp_path / "identity", secret=True)
    with pytest.raises(BadData):
        read_file(tmp_path)


def test_whether_a_folder_is_held_can_be_asked_by_many_at_once(tmp_path: Path) -> None:
    """Asking takes no place: two who ask do not take each other for the one who holds it."""
    folder = DataDirectory(tmp_path)
    with folder.lock():
        assert folder.is_held()
    with open(tmp_path / "lock", "rb") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        assert not folder.is_held()
    assert not folder.is_held()


def test_no_link_leads_a_folder_of_ours_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "endpoints").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadData, match="symbolic link"):
        DataDirectory(tmp_path / "data").inside("endpoints")


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
        with pytest.raises(DataInUse, match="is in use already"), other.lock():
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


# What others planted or can reach.


def test_no_link_is_followed_to_where_a_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even by who knows the name in advance."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    monkeypatch.setattr("secrets.token_hex", lambda size: "ab" * size)
    (tmp_path / f".file.{'ab' * 8}.new").symlink_to(victim)
    with pytest.raises(FileExistsError):
        atomic_write(tmp_path / "file", b"ours")
    assert victim.read_bytes() == b"mine"


def test_names_of_unfinished_files_are_not_told_in_advance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []
    replace = os.replace

    def note(source: Path, target: Path) -> None:
        names.append(source.name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", note)
    for _ in range(3):
        atomic_write(tmp_path / "file", b"")
    assert len(set(names)) == 3


def test_a_link_in_place_of_the_file_is_replaced(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / "file").symlink_to(victim)
    atomic_write(tmp_path / "file", b"ours")
    assert victim.read_bytes() == b"mine"
    assert read_file(tmp_path / "file") == b"ours"


def test_what_a_crash_left_goes_with_a_later_write(tmp_path: Path) -> None:
    old, new = tmp_path / ".file.1234.new", tmp_path / f".file.{'0' * 16}.new"
    others = [tmp_path / name for name in (".file-two.12.new", ".file.txt.new", "file.12.new", ".file.12")]
    for path in (old, new, *others):
        path.write_bytes(b"a key")
        long_ago = path.stat().st_mtime - store.LEFTOVER_SECONDS - 60
        if path is not new:
            os.utime(path, (long_ago, long_ago))
    atomic_write(tmp_path / "file", b"")
    assert not old.exists()
    assert new.exists()  # another process may be writing it
    assert all(path.exists() for path in others)


def test_a_lock_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError) as caught, DataDirectory(tmp_path).lock():
        pass
    assert caught.value.errno == errno.ELOOP
    assert not (tmp_path / "victim").exists()


def test_a_lock_that_cannot_be_had_is_not_held_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(BadData, match="cannot be locked: No locks available; choose a folder on a disk"):
        with DataDirectory(tmp_path).lock():
            pass


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777, 0o702])
def test_a_folder_that_others_can_change_is_told_once(
    mode: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And left as it is: it may be /tmp, or somebody's home."""
    folder = tmp_path / f"{mode:o}"
    folder.mkdir()
    folder.chmod(mode)
    for _ in range(2):
        DataDirectory(folder)
    (said,) = caplog.messages
    assert f"can be changed by other users of this machine (mode {mode:04o})" in said
    assert f"`chmod go-w {folder}`" in said
    assert stat.S_IMODE(folder.stat().st_mode) == mode


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o750])
def test_a_folder_that_others_can_only_look_into_is_fine(
    mode: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode)
    folder.chmod(mode)
    DataDirectory(folder)
    assert caplog.messages == []


def test_what_belongs_to_another_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"key")
    path.chmod(0o640)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    if tmp_path.stat().st_uid == 0:  # whose files are nobody else's affair
        os.chown(path, 1234, -1)
        os.chown(tmp_path, 1234, -1)
    DataDirectory(tmp_path)
    assert read_file(path, secret=True) == b"key"
    assert [f"(uid {tmp_path.stat().st_uid})" in said for said in caplog.messages] == [True, True]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_an_empty_path_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for empty in ("", Path(""), Path()):
        with pytest.raises(ValueError, match=r"Path.cwd\(\) is the current folder"):
            DataDirectory(empty)
    assert DataDirectory(Path.cwd()).path == tmp_path
    assert DataDirectory(".").path.samefile(tmp_path)


def test_a_file_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="Is a directory; give a file, not a folder"):
        read_file(tmp_path)
