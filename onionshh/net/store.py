"""What a node keeps on disk: small files, written whole or not at all, in folders of its own.

A data directory belongs to one process at a time where its contents say so (`lock`); all files are 0600,
directories 0700. Blocking work goes through an injected `run_blocking`: a thread in production, a plain
call where a test's clock must not wait for threads.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import trio

from onionshh.errors import BadData, DataInUse

T = TypeVar("T")

SLOW_SECONDS = 0.03
SLOW_FOR_SECONDS = 60.0


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


def atomic_write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file by another, so that a crash leaves the old one or the new one, and synced."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise
    _sync_directory(path.parent)


def read_file(path: Path, most_bytes: int = 16 * 1024 * 1024) -> bytes | None:
    """The whole file, None if there is none."""
    try:
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadData(f"Cannot read {path}: {error.strerror}.") from error
    if len(data) > most_bytes:
        raise BadData(f"{path} is larger than any file of ours; move it away.")
    return data


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


class DataDirectory:
    """A folder of ours, created 0700 when absent."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            _make(self.path)
        except OSError as error:
            raise BadData(
                f"Cannot use {self.path} as a data folder ({error.strerror}); choose another."
            ) from error

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @contextlib.contextmanager
    def lock(self, name: str = "lock") -> Iterator[None]:
        """Hold the folder alone until the block ends; DataInUse when another process does."""
        descriptor = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise DataInUse(
                    f"{self.path} is in use by another process; stop that one or give another --data folder."
                ) from error
            yield
        finally:
            os.close(descriptor)
