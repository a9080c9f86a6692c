"""What a node keeps on disk: small files, written completely or not at all, in its own folders.

If a data directory needs it, only one process at a time may use it (`lock`). All files are 0600, directories
0700. In a folder that others can write to, there may be a symbolic link in the place of our file: we never
write through one. If others could read or change something, we log it once. A file of keys is then closed to
them. A folder stays as it is, because many may share it.

Blocking work goes through an injected `run_blocking`: a thread in production, a plain call in tests whose
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
"""Our writes never take this long, so an older temporary file was left by a crash."""
WARNED_MOST = 256
UNFINISHED = ".restoring"
"""While this file is in a folder, a restore exchanges what is in it, or was cut off in the middle."""


class RunBlocking(Protocol):
    """Runs a blocking function to its end and returns its result."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]: ...


async def run_in_thread(function: Callable[[], T], /) -> T:
    """For production: run in a worker thread. A cancellation waits until the function ends."""
    return await trio.to_thread.run_sync(function)


class RunWhereQuick:
    """For short work in production: on the event loop while the disk is fast, otherwise in a thread.

    A thread must wait for the interpreter, up to 5 ms in each direction while the loop is busy. A sync on a
    good disk takes a tenth of that. After work that took `SLOW_SECONDS`, a thread is used for a while.
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
    """For tests in virtual time: run at once, on the event loop."""
    await trio.lowlevel.checkpoint()
    return function()


def atomic_write(path: Path, data: bytes, mode: int = 0o600, *, new: bool = False) -> None:
    """Replace a file and sync it, so that a crash leaves the old or the new file. `new`: FileExistsError if
    there is a file already."""
    # Nobody can guess this name and it must be new, so we never write to a file that others put there.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            now = os.fstat(file.fileno()).st_mtime  # the disk's clock, like the times compared with it
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
    sync_folder(path.parent)
    _remove_leftovers(path, now)


def _name(temporary: Path, path: Path) -> None:
    """Give the file its final name, unless another file has it."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a disk without hard links; the caller has just looked for such a file
        os.replace(temporary, path)
    else:
        os.unlink(temporary)


def _remove_leftovers(path: Path, now: float) -> None:
    """Remove what crashes left of earlier writes of this file: it may hold a key. Another process may be
    writing the file now, so only old files are removed."""
    ours = re.compile(re.escape(f".{path.name}.") + r"[0-9a-f]+\.new")
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if ours.fullmatch(entry.name):
                with contextlib.suppress(OSError):
                    if now - entry.stat(follow_symlinks=False).st_mtime > LEFTOVER_SECONDS:
                        os.unlink(entry.path)


def read_file(path: Path, most_bytes: int = 16 * 1024 * 1024, *, secret: bool = False) -> bytes | None:
    """The whole file, or None if there is none. If others could read a `secret` file, it is closed to them
    and this is logged."""
    try:
        # O_NONBLOCK: if there is a pipe, opening it would wait without end.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise BadData(f"{path} is not a file; move it away.")
            if secret:
                close_to_others(file.fileno(), path, "if one of them may have read it, make a new one")
            # Python makes room for all it may read. To free many megabytes once lets the C library keep as
            # much from then on.
            data = file.read(min(found.st_size, most_bytes) + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadData(f"Cannot read {path}: {error.strerror}{advice(error)}.") from error
    if len(data) > most_bytes:
        raise BadData(f"{path} is larger than any file of ours; move it away.")
    return data


def open_or_make(path: Path | str) -> int:
    """A descriptor of our file, which is made for us only if there is none. OSError for a symbolic link."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def close_to_others(descriptor: int, path: Path | str, then: str) -> None:
    """Close a secret file to everyone but its owner, and log this. `then`: what to do if others read it."""
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


def warn_of_writers(descriptor: int, path: Path | str, then: str) -> None:
    """Log it if everyone on this machine can change a file that is trusted. `then`: what they can do."""
    if os.fstat(descriptor).st_mode & stat.S_IWOTH:
        _warn(f"Everyone on this machine can write to {path}, and {then}; say `chmod o-w {path}`.")


def _is_others(about: os.stat_result) -> bool:
    return about.st_uid not in (os.geteuid(), 0)  # root has everything anyway


@lru_cache(WARNED_MOST)
def _warn(sentence: str) -> None:
    """Log a warning once, because several parts of a program open a folder."""
    logger.warning("%s", sentence)


def sync_folder(path: Path) -> None:
    """Wait until what was named, renamed or removed in this folder is on disk. OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make(folder: Path) -> None:
    """Make a folder and its parents for us only: `mkdir` would make the parents by the umask."""
    if not folder.is_dir():
        if folder.parent != folder:
            _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _check_folder(folder: Path) -> None:
    """Warn if others can put their files in the place of ours."""
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


def check_finished(folder: Path) -> None:
    """BadData after a restore that was cut off: what is in the folder does not fit together."""
    if os.path.lexists(folder / UNFINISHED):
        raise BadData(
            f"A restore into {folder} was cut off, so what is in it does not fit together; say"
            " `onionshh restore` again, which first puts back what was there."
        )


@contextlib.contextmanager
def turn(folder: Path, name: str, *, unfinished: bool = False) -> Iterator[None]:
    """Wait until no other process is in such a block. BadData after a restore that was cut off, unless the
    folder may be `unfinished`. Raises OSError."""
    descriptor = open_or_make(folder / name)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not unfinished:
            check_finished(folder)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def hold(folder: Path, name: str = "lock", *, unfinished: bool = False) -> Iterator[None]:
    """Hold a folder alone until the block ends. DataInUse if this or another process holds it already.
    BadData as for `turn`."""
    descriptor = open_or_make(folder / name)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataInUse(
                f"{folder} is in use already; stop what uses it, or take another data folder (--data)."
            ) from error
        except OSError as error:
            raise BadData(f"{folder} cannot be locked: {error.strerror}{advice(error)}.") from error
        if not unfinished:
            check_finished(folder)
        yield
    finally:
        os.close(descriptor)


class Folder(Protocol):
    """Where a node keeps its data: on disk (`DataDirectory`) or in memory (`memory_folder.py`)."""

    def read(self, name: str) -> bytes | None: ...
    def write(self, name: str, data: bytes) -> None: ...
    def inside(self, name: str) -> Folder: ...
    def database(self, name: str) -> str: ...
    def named(self, name: str) -> str: ...
    def lock(self) -> contextlib.AbstractContextManager[None]: ...
    def turn(self, name: str) -> contextlib.AbstractContextManager[None]: ...


class DataDirectory:
    """Our folder, created with 0700 if it does not exist. Raises BadData. ValueError for an empty path: it
    would be the current folder, but is probably a forgotten name. Use `Path.cwd()` for the current folder."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if path == "" or (isinstance(path, Path) and not path.parts):
            raise ValueError("A data folder needs a path, this is empty; Path.cwd() is the current folder.")
        try:
            _make(self.path)
            _check_folder(self.path)
        except OSError as error:
            raise BadData(
                f"Cannot use {self.path} as a data folder ({error.strerror});"
                " use another one (--data, or XDG_STATE_HOME)."
            ) from error

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def read(self, name: str) -> bytes | None:
        """The whole file of this name, or None if there is none. Raises BadData."""
        return read_file(self.path / name)

    def write(self, name: str, data: bytes) -> None:
        """Replace the file with `atomic_write`. Raises OSError."""
        atomic_write(self.path / name, data)

    def inside(self, name: str) -> DataDirectory:
        """A folder in this folder. BadData for a symbolic link."""
        if (self.path / name).is_symlink():
            raise BadData(f"{self.path / name} is a symbolic link, which we never make; remove it.")
        return DataDirectory(self.path / name)

    def database(self, name: str) -> str:
        """The path of the SQLite database with this name."""
        return str(self.path / name)

    def named(self, name: str) -> str:
        """The path of a file, for people."""
        return str(self.path / name)

    def is_held(self, name: str = "lock") -> bool:
        """Whether a process holds this `lock`. Others may ask at the same time. Raises OSError."""
        descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def turn(self, name: str) -> contextlib.AbstractContextManager[None]:
        """As `turn`, in this folder."""
        return turn(self.path, name)

    def lock(self, name: str = "lock") -> contextlib.AbstractContextManager[None]:
        """As `hold`, this folder."""
        return hold(self.path, name)
