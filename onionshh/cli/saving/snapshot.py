"""A copy of a SQLite file while a program writes to it, and whether a copy is what it should be."""

from __future__ import annotations

import mmap
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from onionshh.cli.saving.owner import is_reachable
from onionshh.errors import BadData

_WAIT_SECONDS: Final = 10.0


def snapshot(path: Path, into: Path, migrations: Sequence[str], leaves: str) -> int:
    """Copy a database by SQLite's backup API: one moment of it, whatever its program does meanwhile. Then
    `leaves` runs on the copy, and what it erased is in no page of it. Returns the format. BadData,
    OSError."""
    os.close(os.open(into, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with (
            closing(sqlite3.connect(uri, uri=True, timeout=_WAIT_SECONDS)) as source,
            closing(sqlite3.connect(into, isolation_level=None)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
            copy.execute("PRAGMA secure_delete=ON")
            version: int = copy.execute("PRAGMA user_version").fetchone()[0]
            if leaves and version == len(migrations):
                copy.executescript(f"BEGIN; {leaves} COMMIT;")
            elif leaves:
                raise BadData(f"{path} has an earlier format; start its program once, then back it up.")
            copy.execute("PRAGMA temp_store=MEMORY")  # else what is large lies on another disk for a while
            copy.execute("VACUUM")
        with open(into, "rb") as file:
            os.fsync(file.fileno())
    except sqlite3.Error as error:
        raise BadData(f"{path} cannot be copied: {error}.") from error
    return version


def check_database(path: Path, migrations: Sequence[str], version: int) -> None:
    """Check that a copy is whole, of this format, and has just the tables that this format has: no trigger or
    view that would run later. BadData."""
    if not 0 < version <= len(migrations):
        raise BadData(f"{path.name} was written by a later version of onionshh; use that version.")
    try:
        with closing(open_copy(path)) as copy:
            copy.execute("PRAGMA trusted_schema=OFF")
            whole = copy.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok"
            right = copy.execute("PRAGMA user_version").fetchone()[0] == version
            same = _schema(copy) == _expected(tuple(migrations[:version]))
    except sqlite3.Error as error:
        raise BadData(f"{path.name} is not a database, or is damaged: {error}.") from error
    if not (whole and right and same):
        raise BadData(f"{path.name} is damaged, or not a database of onionshh.")


def open_copy(path: Path) -> sqlite3.Connection:
    """Open a copy, to which nobody writes, for reading. sqlite3.Error, OSError."""
    if is_reachable(path):
        return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    copy = sqlite3.connect(":memory:")  # SQLite comes from above in any case, and cannot here: see owner.py
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    copy.deserialize(content)
    except BaseException:
        copy.close()
        raise
    return copy


def _expected(migrations: tuple[str, ...]) -> set[tuple[str, ...]]:
    with closing(sqlite3.connect(":memory:")) as fresh:
        for script in migrations:
            fresh.executescript(script)
        return _schema(fresh)


def _schema(connection: sqlite3.Connection) -> set[tuple[str, ...]]:
    rows = connection.execute("SELECT type, name, tbl_name, COALESCE(sql, '') FROM sqlite_master")
    return set(rows.fetchall())
