"""What a node keeps on disk: small files, written whole or not at all, in folders of its own.

A data directory belongs to one process at a time where its contents say so (`lock`); all files are 0600,
directories 0700. In a folder that others can write to, a link may stand where a file of ours should be:
nothing is written through one. What others could read or change is said, once, and closed to them where it
is a file of keys; a folder stays as it is, since it may be one that many share.

Blocking work goes through an injected `run_blocking`: a thread in production, a plain call where a test's
clock must not wait for threads.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Protocol, TypeVar

import trio

from onionshh.advice import advice
from onionshh.errors import BadData, DataInUse

logger = logging.getLogger("onionshh.net")

T = TypeVar("T")

SLOW_SECONDS = 0.03
SLOW_FOR_SECONDS = 60.0
LEFTOVER_SECONDS = 600
"""No write of ours takes as long: what is older was left by a crash."""
WARNED_MOST = 256


class RunBlocking(Protocol):
    """Runs a blocking function and returns its result; never abandons it half way."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]: ...


async def run_in_thread(function: Callable[[], T], /) -> T:
    """Production: in a worker thread, and a cancellation waits for it to end."""
    return await trio.to_thread.run_sync(function)


class RunWhereQuick:
    """Production, for work of a millisecond: on the event loop while the disk is quick, in a thread when not.

    A thread has to wait for the interpreter, up to 5 ms each way while the loop is busy; a sync of a good
    disk takes a tenth of that. One that took `SLOW_SECONDS` sends what follows to a thread for a while.
    """

    def __init__(self) -> None:
        self._slow_until = 0.0

    async def __call__(self, function: Callable[[], T], /) -> T:
        started = time.perf_counter()
        if started < self._slow_until:
            return await run_in_thread(function)
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            return function()
        finally:
            now = time.perf_counter()
            if now - started > SLOW_SECONDS:
                self._slow_until = now + SLOW_FOR_SECONDS


async def run_inline(function: Callable[[], T], /) -> T:
    """Tests in virtual time: at once, on the event loop."""
    await trio.lowlevel.checkpoint()
    return function()


def atomic_write(path: Path, data: bytes, mode: int = 0o600, *, new: bool = False) -> None:
    """Replace a file by another, so that a crash leaves the old one or the new one, and synced. `new`: not
    one that is there, FileExistsError then."""
    # A name that nobody can guess and that must be new: nothing planted there is written to.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            now = os.fstat(file.fileno()).st_mtime  # by the disk's clock, as what is compared with it
        if new:
            _name(temporary, path)
        else:
            os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None
        raise
    _sync_directory(path.parent)
    _remove_leftovers(path, now)


def _name(temporary: Path, path: Path) -> None:
    """Its name for good, unless another file has it."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a disk that knows no links: what is there was looked for a moment ago
        os.replace(temporary, path)
    else:
        os.unlink(temporary)


def _remove_leftovers(path: Path, now: float) -> None:
    """What crashes left of earlier writes of this file, with a key in it perhaps. Other processes may be
    writing it at this moment, hence the age."""
    ours = re.compile(re.escape(f".{path.name}.") + r"[0-9a-f]+\.new")
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if ours.fullmatch(entry.name):
                with contextlib.suppress(OSError):
                    if now - entry.stat(follow_symlinks=False).st_mtime > LEFTOVER_SECONDS:
                        os.unlink(entry.path)


def read_file(path: Path, most_bytes: int = 16 * 1024 * 1024, *, secret: bool = False) -> bytes | None:
    """The whole file, None if there is none. A `secret` one that others could read is closed to them, and
    that is said."""
    try:
        # Not waiting: a pipe that stands there would keep us waiting without end.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BadData(f"{path} is no file; move away what stands there.")
            if secret:
                close_to_others(file.fileno(), path, "if one of them may have read it, make a new one")
            data = file.read(most_bytes + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadData(f"Cannot read {path}: {error.strerror}{advice(error)}.") from error
    if len(data) > most_bytes:
        raise BadData(f"{path} is larger than any file of ours; move it away.")
    return data


def open_or_make(path: Path | str) -> int:
    """A descriptor of a file of ours, made for us alone if there is none; OSError if a link stands there."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def close_to_others(descriptor: int, path: Path | str, then: str) -> None:
    """Take a secret file from everyone but its owner, and say so; `then`: what follows if one has read it."""
    about = os.fstat(descriptor)
    if _is_others(about):
        _warn(f"{path} belongs to another user (uid {about.st_uid}), who has what is in it; use your own.")
    elif about.st_mode & 0o077:
        closed = "it is closed to them now"
        try:
            os.fchmod(descriptor, stat.S_IMODE(about.st_mode) & 0o700)
        except OSError:
            closed = f"close it with `chmod go= {path}`"
        _warn(
            f"{path} could be read by other users of this machine (mode {stat.S_IMODE(about.st_mode):04o});"
            f" {closed}, but {then}."
        )


def _is_others(about: os.stat_result) -> bool:
    return about.st_uid not in (os.geteuid(), 0)  # root has everything anyway


@lru_cache(WARNED_MOST)
def _warn(sentence: str) -> None:
    """Once: a folder is opened by several parts of a program."""
    logger.warning("%s", sentence)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make(folder: Path) -> None:
    """With its parents, all for us alone: `mkdir` would make those as the umask says."""
    if not folder.is_dir():
        if folder.parent != folder:
            _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _check_folder(folder: Path) -> None:
    """Say who else can put files of theirs in the place of ours."""
    about = folder.stat()
    if _is_others(about):
        _warn(
            f"The folder {folder} belongs to another user (uid {about.st_uid}), who can replace the keys in"
            " it; use one of your own."
        )
    elif about.st_mode & 0o022:
        _warn(
            f"The folder {folder} can be changed by other users of this machine (mode"
            f" {stat.S_IMODE(about.st_mode):04o}), who can replace the keys in it; close it with"
            f" `chmod go-w {folder}`, or use one of your own."
        )


class Folder(Protocol):
    """Where a node keeps what it keeps: on disk (`DataDirectory`) or in memory (`memory_folder.py`)."""

    def read(self, name: str) -> bytes | None: ...
    def write(self, name: str, data: bytes) -> None: ...
    def inside(self, name: str) -> Folder: ...
    def database(self, name: str) -> str: ...
    def named(self, name: str) -> str: ...
    def lock(self) -> contextlib.AbstractContextManager[None]: ...
    def turn(self, name: str) -> contextlib.AbstractContextManager[None]: ...


class DataDirectory:
    """A folder of ours, created 0700 when absent. ValueError for an empty path, which is a name that was
    never filled in and would be the current folder: `Path.cwd()` says that one. BadData."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if path == "" or (isinstance(path, Path) and not path.parts):
            raise ValueError("A data folder needs a path, this is empty; Path.cwd() is the current folder.")
        try:
            _make(self.path)
            _check_folder(self.path)
        except OSError as error:
            raise BadData(
                f"Cannot use {self.path} as a data folder ({error.strerror}); give another --data folder."
            ) from error

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def read(self, name: str) -> bytes | None:
        """The file of this name whole, None if there is none. BadData."""
        return read_file(self.path / name)

    def write(self, name: str, data: bytes) -> None:
        """Replace it, as `atomic_write`. OSError."""
        atomic_write(self.path / name, data)

    def inside(self, name: str) -> DataDirectory:
        """A folder in this one. BadData where a link would lead elsewhere."""
        if (self.path / name).is_symlink():
            raise BadData(f"{self.path / name} is a symbolic link, and we make none; remove it.")
        return DataDirectory(self.path / name)

    def database(self, name: str) -> str:
        """Where SQLite keeps the database of this name."""
        return str(self.path / name)

    def named(self, name: str) -> str:
        """The path of a file, for people."""
        return str(self.path / name)

    def is_held(self, name: str = "lock") -> bool:
        """Whether a process holds it by `lock`; others may ask at the same moment. OSError."""
        descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    @contextlib.contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """Wait until no other process is in such a block. OSError."""
        descriptor = open_or_make(self.path / name)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def lock(self, name: str = "lock") -> Iterator[None]:
        """Hold the folder alone until the block ends; DataInUse when this or another process does already."""
        descriptor = open_or_make(self.path / name)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DataInUse(
                    f"{self.path} is in use already; stop what uses it, or take another data folder (--data)."
                ) from error
            except OSError as error:
                raise BadData(f"{self.path} cannot be locked: {error.strerror}{advice(error)}.") from error
            yield
        finally:
            os.close(descriptor)
