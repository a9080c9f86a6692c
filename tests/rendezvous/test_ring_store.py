"""The ring's file: what was answered `stored` is there after any crash, what was erased is nowhere."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from onionshh.core.roles import Store
from onionshh.errors import BadData
from onionshh.net.memory_folder import InMemory
from onionshh.net.store import DataDirectory
from onionshh.rendezvous.ring_store import RING_FILE, RingStore, open_ring_store
from onionshh.rendezvous.shelf import Erase, Row
from onionshh.wire import messages as m
from tests.core.networks import DAY, START
from tests.rendezvous.dying_ring import PLACES, PUBLISHED
from tests.rendezvous.test_ring import WALL, WEEK, Disk, document, fetch, make, publish, room_for

PERIOD = START // DAY
ROOT = Path(__file__).parents[2]


def row(serial: int, key: int, document: bytes = b"document", period: int = PERIOD) -> Row:
    return Row(serial, (bytes([key]) * 32, period), 10 * key, 64, "label", document)


def store(folder: Path) -> RingStore:
    return RingStore(str(folder / RING_FILE))


def test_rows_come_back_as_they_were_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    ring = store(tmp_path)
    assert ring.rows() == []
    ring.commit([row(3, 1), row(4, 2)])
    ring.commit([row(9, 1, period=PERIOD + 1)])
    assert store(tmp_path).rows() == [row(3, 1), row(4, 2), row(9, 1, period=PERIOD + 1)]


def test_a_row_takes_the_place_of_the_one_of_its_name(tmp_path: Path) -> None:
    ring = store(tmp_path)
    ring.commit([row(1, 1, b"first"), row(2, 2), row(3, 1, b"second")])
    ring.commit([row(4, 1, b"third")])
    assert ring.rows() == [row(2, 2), row(4, 1, b"third")]


def test_an_erasure_takes_the_rows_that_it_names_and_no_later_ones(tmp_path: Path) -> None:
    ring = store(tmp_path)
    ring.commit([row(1, 1), row(2, 2), row(3, 3)])
    ring.commit([row(4, 1), Erase((1, 2, 77))])
    ring.commit([Erase((1, 2))])
    assert ring.rows() == [row(3, 3), row(4, 1)]


def test_a_commit_is_whole_or_nothing(tmp_path: Path) -> None:
    ring = store(tmp_path)
    ring.commit([row(1, 1)])
    with pytest.raises(TypeError):
        ring.commit([row(2, 2), Erase((1,)), "no row"])
    assert ring.rows() == [row(1, 1)]
    with pytest.raises(sqlite3.Error):
        ring.commit([Erase((1,)), row(3, 3, None)])  # type: ignore[arg-type]
    assert ring.rows() == [row(1, 1)]


def test_what_was_erased_or_replaced_is_in_no_file(tmp_path: Path) -> None:
    ring = store(tmp_path)
    secret = b"a descriptor that nobody should find again" * 200
    ring.commit([row(1, 1, secret), row(2, 2, secret)])
    assert secret[:42] in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    ring.commit([row(3, 1), Erase((2,))])
    assert [path.name for path in tmp_path.iterdir()] == [RING_FILE]
    assert secret[:42] not in (tmp_path / RING_FILE).read_bytes()


def test_the_file_is_for_the_relay_alone_and_no_link(tmp_path: Path) -> None:
    store(tmp_path).commit([row(1, 1)])
    assert stat.S_IMODE((tmp_path / RING_FILE).stat().st_mode) == 0o600
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / RING_FILE).symlink_to(tmp_path / RING_FILE)
    with pytest.raises((BadData, OSError)):
        store(folder).commit([row(2, 2)])
    assert store(tmp_path).rows() == [row(1, 1)]


def test_a_data_folder_has_a_store_and_one_in_memory_has_none(tmp_path: Path) -> None:
    assert open_ring_store(InMemory()) == (None, [])
    opened, rows = open_ring_store(DataDirectory(tmp_path))
    assert rows == []
    assert opened is not None
    opened.commit([row(1, 1)])
    assert open_ring_store(DataDirectory(tmp_path))[1] == [row(1, 1)]


def test_a_file_that_cannot_be_read_is_told_and_left_alone_and_the_relay_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = b"this is no database" * 100
    (tmp_path / RING_FILE).write_bytes(damaged)
    (tmp_path / RING_FILE).chmod(0o600)
    opened, rows = open_ring_store(DataDirectory(tmp_path))
    assert rows == []
    assert "damaged" in caplog.text
    assert RING_FILE in caplog.text
    assert opened is not None
    relay, _, _ = make(disk=Elsewhere(tmp_path / "unused", opened))
    assert publish(relay, document(1, expiry=WEEK)) == m.FULL
    assert publish(relay, document(1, expiry=WALL + 60)) == m.STORED
    assert (tmp_path / RING_FILE).read_bytes() == damaged


class Elsewhere(Disk):
    """A disk whose commits go to another store."""

    def __init__(self, folder: Path, opened: Store) -> None:
        folder.mkdir()
        super().__init__(folder)
        self._opened = opened

    def commit(self, rows: Sequence[object]) -> None:
        self._opened.commit(rows)


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_what_is_no_file_of_ours_is_told_too(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if kind == "link":
        (tmp_path / RING_FILE).symlink_to(tmp_path / "other")
    else:
        (tmp_path / RING_FILE).mkdir()
    opened, rows = open_ring_store(DataDirectory(tmp_path))
    assert rows == []
    assert "a few hours only" in caplog.text
    assert opened is not None
    with pytest.raises(BadData):
        opened.commit([row(1, 1)])


# Crashes.


class Mortal(Disk):
    """Dies after so many commits: the last one may be on disk, but nobody hears of it."""

    def __init__(self, path: Path, commits: int, *, written: bool) -> None:
        super().__init__(path)
        self._left = commits
        self._written = written

    def commit(self, rows: Sequence[object]) -> None:
        if self._left == 0:
            if self._written:
                super().commit(rows)
            raise Dead
        self._left -= 1
        super().commit(rows)


class Dead(BaseException):
    """The process is no more."""


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("commits", range(13))
def test_what_was_stored_is_there_after_a_crash_at_any_commit(
    commits: int, written: bool, tmp_path: Path
) -> None:
    """With displaced names and erasures in between, which are commits too."""
    relay, _, _ = make(disk=Mortal(tmp_path, commits, written=written), params=room_for(PLACES))
    stored: dict[int, int] = {}
    taken = []
    try:
        for at, (key, revision) in enumerate(PUBLISHED):
            taken.append((key, revision))
            if publish(relay, document(key, revision=revision, expiry=WEEK), f"origin{at % 3}") == m.STORED:
                stored[key] = revision
            relay.tick()
    except Dead:
        pass
    else:
        assert commits > len(stored)
    check(tmp_path, stored, displaced=relay.drops.count("publish-displaced"))


def check(folder: Path, stored: dict[int, int], displaced: int) -> None:
    """After a restart every name that was answered `stored` is there, of that revision or of a later one that
    was being written, but for those that were displaced since."""
    relay, role, _ = make(disk=Disk(folder))
    gone = 0
    for key, revision in stored.items():
        found = fetch(relay, key)
        if found.status != m.FOUND_IT:
            gone += 1
            continue
        later = {number for other, number in PUBLISHED if other == key and number >= revision}
        assert found.descriptor in {document(key, revision=number, expiry=WEEK) for number in later}
    assert gone <= displaced
    assert role.kept <= PLACES + 2


def test_what_was_stored_is_there_after_the_process_was_killed_at_any_statement(tmp_path: Path) -> None:
    """Real processes and real kills, in the middle of transactions and between them."""
    subprocess.run(
        [sys.executable, "-m", "tests.rendezvous.dying_ring", str(tmp_path)],
        capture_output=True,
        cwd=ROOT,
        timeout=120,
        check=True,
    )
    lives = sorted(tmp_path.iterdir(), key=lambda folder: int(folder.name))
    assert len(lives) > 30
    heard = []
    for folder in lives:
        lines = (folder / "stored").read_text().split("\n")[:-1]
        assert ("all" in lines) == (folder is lives[-1])
        stored = {int(line.split()[0]): int(line.split()[1]) for line in lines if line != "all"}
        check(folder, stored, displaced=0)
        heard.append(len(lines))
    assert heard == sorted(heard)
    assert {0, 2, 4, 5} <= set(heard)
