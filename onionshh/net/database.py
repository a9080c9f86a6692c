"""SQLite for what must be exact: every transaction synced, every erased row overwritten.

Apart from `store.py`, so that a program that keeps nothing in a database does not load one.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import trio

from onionshh.errors import BadData, Closed
from onionshh.net.signals import Poke
from onionshh.net.store import RunBlocking, close_to_others, open_or_make

T = TypeVar("T")

ERASED_WITHIN_SECONDS = 1.0
BATCH_MOST = 256
"""Transactions that are synced together."""
BUSY_SECONDS = 0.1
"""How long another program may hold the file while everything here waits."""
CACHE_KIB = 512
"""Pages that SQLite keeps: rows are read once, soon after they were written."""
_EMPTY_LOG = "PRAGMA wal_checkpoint(TRUNCATE)"
_BESIDE = ("-journal", "-shm", "-wal")
"""Files that SQLite makes beside the database."""
_TO_DO = {
    sqlite3.SQLITE_FULL: "make room",
    sqlite3.SQLITE_IOERR: "the disk has gone, is full or fails; look at it and at the system's log",
    sqlite3.SQLITE_READONLY: "see that it may be written",
    sqlite3.SQLITE_PERM: "see that it may be written",
    sqlite3.SQLITE_CANTOPEN: "see that it may be written and that the limit of open files is not reached",
    sqlite3.SQLITE_BUSY: "another program holds it, end that one",
    sqlite3.SQLITE_LOCKED: "another program holds it, end that one",
    sqlite3.SQLITE_NOMEM: "end other programs, or allow this one more memory",
}


class Database:
    """A SQLite file: every transaction synced when it returns, erased rows overwritten.

    Transactions that are asked for while one is being written are written together, each in a savepoint of
    its own, with one sync for all: a sync costs milliseconds, and a hundred whispers may arrive in one.
    """

    def __init__(self, path: Path | str, migrations: Sequence[str], run_blocking: RunBlocking) -> None:
        """`migrations`: SQL scripts in order; the n-th makes format n of a file of format n - 1. What was
        written in any earlier format is brought up to the last one, and keeps what it holds."""
        self._path = path
        self._run_blocking = run_blocking
        self._turn = trio.Lock()
        self._alone = _Alone(self._turn)
        self._closed = False
        self._waiting: list[_Asked] = []
        self._log_holds_erased = False
        self._erased = Poke()
        self._connection = _open(path, migrations)

    async def transaction(self, work: Callable[[sqlite3.Connection], T], *, erases: bool = False) -> T:
        """Run `work` on the connection, alone; committed and on disk when this returns.

        With `erases` the write-ahead log, which holds what rows were before, is emptied soon after, by
        `keep_erased`.
        A cancellation is felt before the work starts or after it ended, never in between. BadData when the
        disk or the file fails, Closed after `close`, and whatever `work` raises; nothing of it is kept then.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        asked = _Asked(work, erases)
        self._waiting.append(asked)
        with trio.CancelScope(shield=True):
            async with self._alone:
                if not asked.done:
                    await trio.lowlevel.checkpoint()  # whoever asks meanwhile shares the sync
                try:
                    while not asked.done:
                        await self._run_waiting()
                finally:
                    if not asked.done:  # nothing could be run: nor shall it be later, unasked
                        self._waiting.remove(asked)
        if asked.error is not None:
            raise asked.error
        result: T = asked.result
        return result

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` finds, which changes nothing. Errors as in `transaction`."""
        async with self._alone:
            return await self._run_blocking(partial(self._look, work))

    def soon(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Erase something together with the next transaction, by `keep_erased` within a second if there is
        none. Nobody is told how it went; a crash before that undoes it."""
        self._waiting.append(_Asked(work, erases=True))
        self._empty_soon()

    async def _run_waiting(self) -> None:
        if await self._run_blocking(self._run):
            self._empty_soon()

    def _look(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise Closed("It was closed before this was read.")
        try:
            return work(self._connection)
        except sqlite3.Error as error:
            raise _unusable(self._path, error) from error

    def _run(self) -> bool:
        """All that wait now in one transaction; what fails alone is undone alone. Whether any erases."""
        batch = self._waiting[:BATCH_MOST]
        del self._waiting[: len(batch)]  # others may be added meanwhile, at the end
        if self._closed:
            for asked in batch:
                asked.error, asked.done = Closed("It was closed before this was on disk."), True
            return False
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
        except BaseException as error:
            # Whoever waits must not take for written what was rolled back, whatever interrupted it.
            failed = isinstance(error, sqlite3.Error)
            for asked in batch:
                asked.error = _unusable(self._path, error if failed else "it was interrupted")
            if not failed:
                raise
        finally:
            for asked in batch:
                asked.done = True
        return any(asked.erases for asked in batch)

    async def keep_erased(self) -> None:
        """Empty the log within a second of each erasure, until cancelled: many share what one costs."""
        while True:
            await self._erased.wait()
            await trio.sleep(ERASED_WITHIN_SECONDS)
            if self._log_holds_erased:
                await self.empty_log()

    async def empty_log(self) -> None:
        """Erase what is to be erased soon, and overwrite what the log still holds of it, now."""
        with trio.CancelScope(shield=True):
            async with self._alone:
                if not self._closed:
                    await self._run_all_waiting()
                    self._log_holds_erased = False
                    if not await self._run_blocking(self._empty_log):
                        self._empty_soon()  # another process reads: again in a second

    def _empty_soon(self) -> None:
        self._log_holds_erased = True
        self._erased.send()

    async def _run_all_waiting(self) -> None:
        while self._waiting:
            await self._run_waiting()

    def _empty_log(self) -> bool:
        try:
            busy, *_ = self._connection.execute(_EMPTY_LOG).fetchone()
        except sqlite3.Error:
            return False
        return not busy

    def close(self) -> None:
        """Close the file while no transaction runs; later ones raise Closed."""
        self._closed = True
        self._connection.close()

    async def aclose(self) -> None:
        """As `close`, after the transaction that runs, whatever is cancelled meanwhile."""
        with trio.CancelScope(shield=True):
            async with self._alone:
                if not self._closed:
                    await self._run_all_waiting()
                self.close()


class _Alone:
    """A lock; whoever finds it free does not wait for a turn of the event loop, as with the lock itself."""

    def __init__(self, lock: trio.Lock) -> None:
        self._lock = lock

    async def __aenter__(self) -> None:
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


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


def _unusable(path: Path | str, why: object) -> BadData:
    """What SQLite says, and what to do about it."""
    code = getattr(why, "sqlite_errorcode", 0) & 0xFF  # the rest tells more than a person can use
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return BadData(f"{path} is damaged: {why}. Move it away; what it held is lost.")
    todo = f"; {_TO_DO[code]}" if code in _TO_DO else ""
    return BadData(f"{path} cannot be used: {why}{todo}.")


def _make(path: Path | str) -> None:
    """Made before SQLite does it, so that others can read it at no moment; and no link leads elsewhere."""
    descriptor = open_or_make(path)
    try:
        close_to_others(descriptor, path, "one of them may know the whispers and the keys of these days")
    finally:
        os.close(descriptor)
    for name in _BESIDE:
        if os.path.islink(f"{path}{name}"):
            raise BadData(f"{path}{name} is a symbolic link, and SQLite makes none; remove it.")


def _open(path: Path | str, migrations: Sequence[str]) -> sqlite3.Connection:
    if str(path) != ":memory:":
        _make(path)
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        held: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if held > len(migrations):
            raise BadData(
                f"{path} was written by a later version of onionshh (format {held}, this one knows"
                f" {len(migrations)}); use that version, or move the file away."
            )
        for number, script in enumerate(migrations[held:], held + 1):
            # Whole or not at all, with the number of the format.
            connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version={number}; COMMIT")
        connection.execute(_EMPTY_LOG).fetchone()
    except sqlite3.Error as error:
        connection.close()
        raise _unusable(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection
