"""The file of mailboxes: what was acknowledged is there after any crash, what was erased is nowhere."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from onionshh.errors import BadData
from onionshh.net.memory_folder import InMemory
from onionshh.net.store import DataDirectory
from onionshh.rendezvous.mailbox_rows import Blank, Change, Erase, Held, Keep
from onionshh.rendezvous.mailbox_store import (
    MAILBOX_FILE,
    ItemsInMemory,
    MailboxStore,
    open_mailbox_store,
)
from onionshh.wire import mailbox as w
from tests.rendezvous.dying_mailboxes import SAID, fate
from tests.rendezvous.mailbox_world import BOARD, INBOX, House, mark, value

ROOT = Path(__file__).parents[2]


def held(serial: int, mailbox: w.Mailbox = INBOX, *, number: int | None = None, expires: int = 99) -> Held:
    return Held(
        serial,
        mailbox,
        serial.to_bytes(32, "big"),
        10 * serial if number is None else number,
        expires,
        0,
        b"s" * 64,
        b"d" * 32,
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MailboxStore]:
    made = MailboxStore(str(tmp_path / MAILBOX_FILE))
    yield made
    made.close()


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def test_items_come_back_as_they_were_in_the_order_of_their_numbers(
    store: MailboxStore, tmp_path: Path
) -> None:
    assert store.rows() == []
    store.commit([Keep(held(3), value(3)), Keep(held(4, BOARD, number=5), value(4))])
    assert MailboxStore(str(tmp_path / MAILBOX_FILE)).rows() == [held(4, BOARD, number=5), held(3)]
    assert store.read([4, 3, 99]) == [value(4), value(3), None]
    assert store.read([]) == []


def test_a_change_a_blank_and_an_erasure_name_one_item_and_may_come_twice(store: MailboxStore) -> None:
    store.commit([Keep(held(number), value(number)) for number in range(1, 5)])
    for _ in range(2):
        store.commit([Change(1, 500, 2, b"t" * 64), Blank(2, 600, 3), Erase(3), Erase(77), Blank(78, 1, 1)])
    changed, blank, kept = store.rows()
    assert (changed.expires, changed.revision, changed.signature) == (500, 2, b"t" * 64)
    assert (blank.serial, blank.expires, blank.revision, blank.is_erased) == (2, 600, 3, True)
    assert (blank.mailbox, blank.item_id, blank.number) == (INBOX, held(2).item_id, 20)
    assert kept == held(4)
    assert store.read([1, 2, 3, 4]) == [value(1), None, None, value(4)]
    store.commit([Erase(2)])
    assert [row.serial for row in store.rows()] == [1, 4]


def test_a_commit_is_whole_or_nothing_and_the_next_one_works(store: MailboxStore) -> None:
    store.commit([Keep(held(1), value(1))])
    with pytest.raises(TypeError):
        store.commit([Keep(held(2), value(2)), Erase(1), "no row"])
    with pytest.raises(sqlite3.IntegrityError):
        store.commit([Erase(1), Keep(held(2), value(2)), Keep(held(2), value(2))])
    assert store.rows() == [held(1)]
    store.commit([Keep(held(2), value(2))])
    assert store.read([1, 2]) == [value(1), value(2)]


class LateFailure(sqlite3.Connection):
    """A disk that fails once when the rows are on it already."""

    fails = False

    def execute(self, *statement: Any) -> sqlite3.Cursor:
        done = super().execute(*statement)
        if LateFailure.fails and statement[0] == "COMMIT":
            LateFailure.fails = False
            raise sqlite3.OperationalError("disk I/O error")
        return done


def test_what_a_failed_commit_has_written_all_the_same_does_not_stay(
    store: MailboxStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody was told that it is kept, so nobody would erase it in its time."""
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=LateFailure))
    store.commit([Keep(held(1), value(1))])
    LateFailure.fails = True
    with pytest.raises(sqlite3.OperationalError):
        store.commit([Keep(held(2), value(2)), Keep(held(3), value(3))])
    assert mark(3) in on_disk(tmp_path)
    store.commit([Keep(held(2), value(2))])  # each is tried by itself
    assert store.rows() == [held(1), held(2)]
    assert mark(3) not in on_disk(tmp_path)


@pytest.mark.parametrize("row", [Erase(2), Blank(2, 999, 1)])
def test_what_was_erased_is_in_no_file_when_the_commit_returns(
    store: MailboxStore, tmp_path: Path, row: object
) -> None:
    store.commit([Keep(held(number), value(number)) for number in range(1, 40)])
    assert mark(2) in on_disk(tmp_path)
    store.commit([row])
    assert {path.name for path in tmp_path.iterdir()} > {MAILBOX_FILE, f"{MAILBOX_FILE}-wal"}
    data = on_disk(tmp_path)
    assert mark(2) not in data
    assert all(mark(number) in data for number in range(1, 40) if number != 2)


def test_a_log_that_another_process_reads_is_emptied_by_the_next_commit(
    store: MailboxStore, tmp_path: Path
) -> None:
    store.commit([Keep(held(1), value(1))])
    reader = sqlite3.connect(tmp_path / MAILBOX_FILE)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM items").fetchone()
    store.commit([Erase(1)])
    assert mark(1) in on_disk(tmp_path)
    reader.execute("COMMIT")
    reader.close()
    store.commit([Keep(held(2), value(2))])
    assert mark(1) not in on_disk(tmp_path)


def test_a_thread_may_read_while_another_commits(store: MailboxStore) -> None:
    store.commit([Keep(held(1), value(1))])
    wrong: list[object] = []

    def read() -> None:
        for _ in range(200):
            found = store.read([1])
            if found != [value(1)]:
                wrong.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(2, 60):
        store.commit([Keep(held(number), value(number)), Erase(number - 2) if number > 3 else Erase(99)])
    reader.join()
    assert wrong == []


def test_others_cannot_read_the_file(store: MailboxStore, tmp_path: Path) -> None:
    store.commit([Keep(held(1), value(1))])
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_a_file_that_is_no_database_is_said_and_every_deposit_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / MAILBOX_FILE).write_bytes(b"not a database" * 1000)
    store, rows = open_mailbox_store(DataDirectory(tmp_path))
    assert rows == []
    assert "takes nothing into mailboxes" in caplog.text
    with pytest.raises(BadData):
        store.commit([Keep(held(1), value(1))])
    with pytest.raises(BadData):
        store.read([1])
    house = House(store)
    assert house.leaves(house.put(1)) == w.Kept(w.FULL)
    house.role.ended()


def test_a_folder_in_memory_keeps_items_in_memory() -> None:
    store, rows = open_mailbox_store(InMemory())
    assert isinstance(store, ItemsInMemory)
    assert rows == []
    house = House(store)
    house.keeps(1)
    assert [item.value for item in house.lists(mode=w.VALUES).items] == [value(1)]
    house.leaves(house.put(1, revision=1, empty=True))
    assert store.read([1]) == [None]
    house.role.ended()


def test_a_disk_without_room_keeps_what_was_acknowledged_and_takes_more_once_there_is_room(
    store: MailboxStore, tmp_path: Path
) -> None:
    """The file may not grow past a limit, as on a disk that is full."""
    program = f"""
import resource, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.rendezvous.test_mailbox_store import *
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
store = MailboxStore({str(tmp_path / MAILBOX_FILE)!r})
stored, number = [], 0
while True:
    number += 1
    try:
        store.commit([Keep(held(number), value(number))])
    except Exception as error:
        break
    stored.append(number)
assert store.read(stored) == [value(one) for one in stored]
try:
    store.commit([Erase(stored[0])])  # an erasure may need room too
except Exception:
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.commit([Erase(stored[0])])
store.commit([Keep(held(number), value(number))])
assert [row.serial for row in store.rows()] == [*stored[1:], number]
print(len(stored))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 5
    assert mark(1) not in on_disk(tmp_path)


def test_a_relay_that_is_killed_at_any_moment_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    """One process for each of SQLite's statements; the last one comes to its end."""
    subprocess.run(
        [sys.executable, "-m", "tests.rendezvous.dying_mailboxes", str(tmp_path)],
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    moments = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
    assert len(moments) > 30
    assert (moments[-1] / SAID).read_text().splitlines()[-1] == "all"
    for moment in moments:
        fate(moment)
