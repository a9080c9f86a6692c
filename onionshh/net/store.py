"""What a node keeps on disk: small files written whole or not at all, and SQLite for what must be exact.

A data directory belongs to one process at a time where its contents say so (`lock`); all files are 0600,
directories 0700. Blocking work goes through an injected `run_blocking`: a thread in production, a plain
call where a test's clock must not wait for threads.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import trio

from onionshh.errors import BadData, Closed, DataInUse

T = TypeVar("T")

ERASED_WITHIN_SECONDS = 1.0
SLOW_SECONDS = 0.03
SLOW_FOR_SECONDS = 60.0
BATCH_MOST = 256
"""Transactions that are synced together."""


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
        await trio.lowlevel.checkpoint()
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
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
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


class DataDirectory:
    """A folder of ours, created 0700 when absent."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise BadData(f"Cannot use {self.path} as a data folder: {error.strerror}.") from error

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


_EMPTY_LOG = "PRAGMA wal_checkpoint(TRUNCATE)"


class Database:
    """A SQLite file: every transaction synced when it returns, erased rows overwritten.

    Transactions that are asked for while one is being written are written together, each in a savepoint of
    its own, with one sync for all: a sync costs milliseconds, and a hundred whispers may arrive in one.
    """

    def __init__(self, path: Path | str, schema: str, version: int, run_blocking: RunBlocking) -> None:
        self._path = path
        self._run_blocking = run_blocking
        self._turn = trio.Lock()
        self._closed = False
        self._waiting: list[_Asked] = []
        self._erased = trio.Event()
        self._connection = _open(path, schema, version)

    async def transaction(self, work: Callable[[sqlite3.Connection], T], *, erases: bool = False) -> T:
        """Run `work` on the connection, alone; committed and on disk when this returns.

        With `erases` the write-ahead log, which holds what rows were before, is emptied soon after, by
        `keep_erased`.
        A cancellation is felt before the work starts or after it ended, never in between. BadData when the
        disk or the file fails, Closed after `close`, and whatever `work` raises; nothing of it is kept then.
        """
        await trio.lowlevel.checkpoint()
        asked = _Asked(work, erases)
        self._waiting.append(asked)
        with trio.CancelScope(shield=True):
            await self._turn.acquire()
            try:
                if not asked.done:
                    batch, self._waiting = self._waiting[:BATCH_MOST], self._waiting[BATCH_MOST:]
                    await self._run_blocking(lambda: self._run(batch))
                    if any(one.erases for one in batch):
                        self._erased.set()
            finally:
                self._turn.release()
        if asked.error is not None:
            raise asked.error
        result: T = asked.result
        return result

    def _run(self, batch: list[_Asked]) -> None:
        """All of a batch in one transaction; what fails alone is undone alone."""
        if self._closed:
            for asked in batch:
                asked.error, asked.done = Closed("It was closed before this was on disk."), True
            return
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                for asked in batch:
                    _run_one(connection, asked)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            for asked in batch:
                asked.error = BadData(f"{self._path} cannot be used: {error}.")
        finally:
            for asked in batch:
                asked.done = True

    async def keep_erased(self) -> None:
        """Empty the log within a second of each erasure, for ever: many share what one costs."""
        while True:
            await self._erased.wait()
            await trio.sleep(ERASED_WITHIN_SECONDS)
            await self.empty_log()

    async def empty_log(self) -> None:
        """Overwrite what the log still holds of erased rows, now."""
        self._erased = trio.Event()
        with trio.CancelScope(shield=True):
            async with self._turn:
                if not self._closed:
                    await self._run_blocking(self._empty_log)

    def _empty_log(self) -> None:
        try:
            self._connection.execute(_EMPTY_LOG).fetchone()
        except sqlite3.Error:
            self._erased.set()  # another process reads: again in a second

    def close(self) -> None:
        """Close the file while no transaction runs; later ones raise Closed."""
        self._closed = True
        self._connection.close()

    async def aclose(self) -> None:
        """As `close`, after the transaction that runs, whatever is cancelled meanwhile."""
        with trio.CancelScope(shield=True):
            async with self._turn:
                self.close()


class _Asked:
    """A transaction somebody waits for."""

    __slots__ = ("done", "erases", "error", "result", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], Any], erases: bool) -> None:
        self.work = work
        self.erases = erases
        self.done = False
        self.result: Any = None
        self.error: Exception | None = None


def _run_one(connection: sqlite3.Connection, asked: _Asked) -> None:
    connection.execute("SAVEPOINT one")
    try:
        asked.result = asked.work(connection)
    except sqlite3.Error:
        raise  # the disk or the file: nothing of the batch can be trusted to be there
    except Exception as error:
        asked.error = error
        connection.execute("ROLLBACK TO one")
    connection.execute("RELEASE one")


def _open(path: Path | str, schema: str, version: int) -> sqlite3.Connection:
    if str(path) != ":memory:":
        # Made here first, so that it is never readable by others, not even for a moment.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")
        held: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if held not in (0, version):
            raise BadData(
                f"{path} was written by another version of onionshh (format {held}, not {version})."
            )
        connection.executescript(schema)
        connection.execute(f"PRAGMA user_version={version}")
        connection.execute(_EMPTY_LOG).fetchone()
    except sqlite3.DatabaseError as error:
        connection.close()
        raise BadData(f"{path} is damaged: {error}. Restore it from a backup or move it away.") from error
    except BaseException:
        connection.close()
        raise
    return connection
