"""Copies of databases: one moment of them, and none but ours are taken back."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from onionshh.cli.saving.snapshot import check_database, snapshot
from onionshh.errors import BadData
from onionshh.net.database import open_database
from tests.cli.saving.folders import database, rows

MIGRATIONS = ("CREATE TABLE pairs (one INTEGER, other INTEGER)", "CREATE INDEX by_one ON pairs (one)")


def test_it_is_of_one_moment_while_a_program_writes(tmp_path: Path) -> None:
    """Each transaction writes two rows; no copy has one of them alone."""
    path, over = tmp_path / "live.db", threading.Event()
    database(path, MIGRATIONS)

    def write() -> None:
        with closing(open_database(path, MIGRATIONS)) as connection:
            number = 0
            while not over.is_set():
                number += 1
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO pairs VALUES (?, 1)", (number,))
                connection.execute("INSERT INTO pairs VALUES (?, 2)", (number,))
                connection.execute("COMMIT")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for n in range(10):
            assert snapshot(path, tmp_path / f"copy{n}", MIGRATIONS, "") == 2
    finally:
        over.set()
        writer.join()
    counts = [rows(tmp_path / f"copy{n}", "SELECT COUNT(*), SUM(other) FROM pairs")[0] for n in range(10)]
    assert all(isinstance(count, int) and count % 2 == 0 for count, _ in counts)
    check_database(tmp_path / "copy9", MIGRATIONS, 2)
    assert (tmp_path / "copy9").stat().st_mode & 0o777 == 0o600


def test_what_is_left_behind_is_in_no_page(tmp_path: Path) -> None:
    path, secret = tmp_path / "live.db", 0x5EC2E7_5EC2E7
    database(path, MIGRATIONS, "INSERT INTO pairs VALUES (?, ?)", secret, secret)
    assert secret.to_bytes(6, "big") in path.read_bytes()
    snapshot(path, tmp_path / "copy", MIGRATIONS, "DELETE FROM pairs;")
    assert secret.to_bytes(6, "big") not in (tmp_path / "copy").read_bytes()


def test_an_earlier_format_is_brought_up_first(tmp_path: Path) -> None:
    database(tmp_path / "old.db", MIGRATIONS[:1])
    assert snapshot(tmp_path / "old.db", tmp_path / "copy", MIGRATIONS, "") == 1
    with pytest.raises(BadData, match="start its program once"):
        snapshot(tmp_path / "old.db", tmp_path / "copy2", MIGRATIONS, "DELETE FROM pairs;")


def test_what_cannot_be_copied_is_said(tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"junk" * 5000)
    with pytest.raises(BadData, match="cannot be copied"):
        snapshot(tmp_path / "junk", tmp_path / "copy", MIGRATIONS, "")
    with pytest.raises(BadData, match="cannot be copied"):
        snapshot(tmp_path / "missing", tmp_path / "copy2", MIGRATIONS, "")


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TRIGGER evil AFTER INSERT ON pairs BEGIN DELETE FROM pairs; END",
        "CREATE VIEW evil AS SELECT 1",
        "CREATE TABLE more (x)",
        "DROP INDEX by_one",
        "PRAGMA user_version = 1",
    ],
)
def test_a_database_with_anything_else_in_it_is_refused(tmp_path: Path, script: str) -> None:
    database(tmp_path / "live.db", MIGRATIONS)
    snapshot(tmp_path / "live.db", tmp_path / "copy", MIGRATIONS, "")
    check_database(tmp_path / "copy", MIGRATIONS, 2)
    with closing(sqlite3.connect(tmp_path / "copy")) as connection:
        connection.execute(script)
        connection.commit()
    with pytest.raises(BadData, match="not a database of onionshh"):
        check_database(tmp_path / "copy", MIGRATIONS, 2)


def test_a_damaged_or_later_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"junk" * 5000)
    with pytest.raises(BadData, match="not a database"):
        check_database(tmp_path / "junk", MIGRATIONS, 2)
    for version in (0, 3):
        with pytest.raises(BadData, match="later version"):
            check_database(tmp_path / "junk", MIGRATIONS, version)
