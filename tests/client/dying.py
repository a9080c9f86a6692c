"""A disk that dies: after so many commits every further one fails, as on a full disk.

What was on it at that moment can be put back later. So a test sees both: a program that goes on with a full
disk, and one that was killed at that moment and is started again.
"""

from __future__ import annotations

import sqlite3
from math import inf
from pathlib import Path
from typing import Any

import pytest


class DyingDisk:
    """The disk under all databases of one file name that are opened from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, file_name: str) -> None:
        self.dead = False
        self.commits = 0
        self._left = inf
        self._folder: Path | None = None
        self._kept: dict[Path, bytes] = {}
        connect = sqlite3.connect
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
                if disk.dead and (sql == "COMMIT" or sql.startswith("PRAGMA wal_checkpoint")):
                    error = sqlite3.OperationalError("database or disk is full")
                    error.sqlite_errorcode = sqlite3.SQLITE_FULL
                    raise error
                cursor = super().execute(sql, parameters)
                if sql == "COMMIT":
                    disk._committed()
                return cursor

        def connected(path: Path | str, **options: Any) -> sqlite3.Connection:
            if Path(path).name == file_name:
                options["factory"] = Connection
            connection: sqlite3.Connection = connect(path, **options)
            return connection

        monkeypatch.setattr(sqlite3, "connect", connected)

    def dies_after(self, commits: int, folder: Path) -> None:
        """The disk takes so many more commits. `folder`: what is put back by `restore`."""
        self._left, self._folder = commits, folder
        if not commits:
            self._die()

    def restore(self) -> None:
        """The folder is as it was when the disk died. The disk works again."""
        if self._folder is None or not self.dead:
            raise ValueError("it has not died")
        put_back(self._folder, self._kept)
        self.dead, self._left = False, inf

    def _committed(self) -> None:
        self.commits += 1
        self._left -= 1
        if self._left == 0:
            self._die()

    def _die(self) -> None:
        self.dead = True
        if self._folder is not None:
            self._kept = copy_of(self._folder)


def copy_of(folder: Path) -> dict[Path, bytes]:
    """All files of a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def put_back(folder: Path, kept: dict[Path, bytes]) -> None:
    """The folder has these files and no others."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.unlink()
    for path, data in kept.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o600)
