"""The inbox: what may be acknowledged is on disk or finished, what is finished is gone, an id is known as
long as its whisper may come."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from onionshh.client.hosting.whisper_store import WHISPER_MIGRATIONS, WhisperStore
from onionshh.core.delivery import inbox as inbox_file
from onionshh.core.delivery.actions import (
    Actions,
    Erase,
    Finish,
    Keep,
    LaneId,
    Offer,
    Pause,
    Remember,
    Send,
)
from onionshh.core.delivery.incoming import Taken
from onionshh.core.delivery.receiver import Receiver
from onionshh.core.delivery.record import (
    EXPIRY_GRACE_SECONDS,
    RECEIPT,
    SEEN_EXTRA_SECONDS,
    WHISPER,
    Record,
    new_whisper,
)
from onionshh.errors import BadData
from onionshh.ids import WhisperId
from onionshh.net.database import Database
from onionshh.net.store import RunBlocking, run_inline
from tests.client.world import WALL, Disk, bytes_on_disk
from tests.seeded import seeded


def record(number: int, body: bytes = b"hello", expires: int = WALL + 600) -> Record:
    return Record(WhisperId(number.to_bytes(16)), WhisperId(bytes(16)), expires, 1, WHISPER, body)


def reply(to: Record, body: bytes = b"answer", expires: int = WALL + 600) -> Record:
    return new_whisper(
        body, expires=expires, privacy_class=1, random_bytes=seeded(7), in_reply_to=to.whisper_id
    )


LANE = LaneId(1)


class Whispers:
    """A Receiver and its rows, with one lane: a driver that does everything at once."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.inbox = WhisperStore(database)
        self.receiver = Receiver(seeded(8))
        self.receiver.lane_opened(LANE, 0, 0.0)
        self._held: set[WhisperId] = set()
        self._now = 0.0

    async def load(self, wall: int) -> None:
        await self.tidy(wall)
        self.receiver.inbox.restored(await self.inbox.held())

    async def accept(self, record: Record, received_at: float) -> str:
        """How it was taken: new, known or full."""
        async with self.inbox.known(record.whisper_id) as known:
            before = len(self.receiver.inbox)
            actions = self.receiver.record_in(
                LANE,
                record,
                known=known,
                refuse=None,
                more=True,
                received_at=received_at,
                best=WALL,
                now=self._now,
            )
            taken = len(self.receiver.inbox) > before
            full = any(isinstance(one, Pause) for one in actions)
            if full:  # whoever waits for room is let go, so that the next is looked at by itself
                self.receiver.lane_lost(LANE, 0, 0.0)
                self.receiver.lane_opened(LANE, 0, self._now)
        await self._do(actions)
        for one in actions:
            if isinstance(one, Remember):
                with suppress(BadData):
                    await self._commit(one)
        return "new" if taken else "full" if full else "known"

    async def keep(self, *_: object) -> None:
        """Whatever is owed for is on disk when this returns."""
        self._now += 1.0
        for action in self.receiver.tick(self._now):
            if isinstance(action, Remember):
                await self._commit(action)

    async def finish(self, whisper_id: WhisperId, reply: Record | None = None) -> None:
        await self._commit(self.receiver.finish(whisper_id, reply, 1e9))

    async def next_unfinished(self, held: Collection[WhisperId], now: int) -> Taken | None:
        """What is shown to a program that holds these."""
        for whisper_id in self._held.difference(held):
            self.receiver.inbox.let_go(whisper_id, now)
        self._held.intersection_update(held)
        for action in self.receiver.inbox.want(now):
            if isinstance(action, Offer):
                self._held.add(action.whisper)
                return action.taken or await self.inbox.show(action.whisper)
        self.receiver.inbox.unwant()
        return None

    async def reply_to(self, whisper_id: WhisperId) -> Record | None:
        found = await self.inbox.replies_to(whisper_id)
        if len(found) > 1:
            raise AssertionError("two replies to one whisper")
        return found[0] if found else None

    def reply_acknowledged(self, reply_id: WhisperId) -> None:
        receipt = Record(WhisperId(b"r" * 16), reply_id, 0, 1, RECEIPT, b"")
        for action in self.receiver.record_in(
            LANE, receipt, known=False, refuse=None, more=False, received_at=0.0, best=WALL, now=self._now
        ):
            if isinstance(action, Erase):
                self.inbox.erase_reply(action.reply)

    async def tidy(self, earliest: int) -> None:
        seen, replies = await self.inbox.tidy(earliest)
        self.receiver.counted(seen, replies, WALL, self._now)

    async def _do(self, actions: Actions) -> None:
        for action in actions:
            if isinstance(action, Send):
                self.receiver.lane_sent(LANE, action.whisper, self._now)

    async def _commit(self, remember: Remember) -> None:
        try:
            dropped = await self.inbox.commit(remember.rows)
        except BaseException:
            self.receiver.not_remembered(remember.token, 0, self._now)
            if not self.receiver.lanes:
                self.receiver.lane_opened(LANE, 0, self._now)
            raise
        await self._do(self.receiver.remembered(remember.token, WALL, self._now))
        self.receiver.replies.dropped(dropped)


@asynccontextmanager
async def opened(folder: Path, wall: int = WALL, disk: RunBlocking = run_inline) -> AsyncIterator[Whispers]:
    database = Database(folder / "endpoint.db", WHISPER_MIGRATIONS, disk)
    try:
        inbox = Whispers(database)
        await inbox.load(wall)
        yield inbox
    finally:
        database.close()


async def keep(inbox: Whispers, taken: Record, received_at: float = WALL) -> None:
    """Accepted, and on disk."""
    assert await inbox.accept(taken, received_at) == "new"
    await inbox.keep([taken.whisper_id])


def copied(folder: Path) -> Path:
    """The files as they are at this moment, as after a kill."""
    copy = folder / "copy"
    copy.mkdir()
    for path in folder.glob("endpoint.db*"):
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


async def test_what_is_kept_is_there_after_a_restart_until_it_is_finished(tmp_path: Path) -> None:
    async with opened(tmp_path) as inbox:
        await keep(inbox, record(2, b"first"), WALL + 0.5)
        await keep(inbox, record(1, b""), WALL + 1.0)
    async with opened(tmp_path) as inbox:
        stored = await inbox.next_unfinished((), 0)
        assert stored is not None
        assert (stored.whisper_id, stored.body, stored.received_at) == (
            record(2).whisper_id,
            b"first",
            WALL + 0.5,
        )
        assert (stored.expires, stored.privacy_class) == (WALL + 600, 1)
        second = await inbox.next_unfinished({stored.whisper_id}, 0)
        assert second is not None
        assert second.body == b""
        assert await inbox.next_unfinished({stored.whisper_id, second.whisper_id}, 0) is None
        await inbox.finish(stored.whisper_id)
    async with opened(tmp_path) as inbox:
        left = await inbox.next_unfinished((), 0)
        assert left is not None
        assert left.whisper_id == record(1).whisper_id


async def order(inbox: Whispers, now: int = WALL) -> list[int]:
    """The numbers of the whispers in the order in which a program that holds all of them is shown them."""
    held: list[WhisperId] = []
    while (stored := await inbox.next_unfinished(held, now)) is not None:
        held.append(stored.whisper_id)
    return [int.from_bytes(whisper_id) for whisper_id in held]


async def test_whispers_never_shown_come_first_and_of_these_those_who_still_wait(tmp_path: Path) -> None:
    async with opened(tmp_path) as inbox:
        for number, ttl in ((1, 50), (2, 600), (3, 50), (4, 600)):
            await keep(inbox, record(number, expires=WALL + ttl))
        first = await inbox.next_unfinished((), WALL)
        assert first is not None
        assert first.whisper_id == record(1).whisper_id
        assert await order(inbox, WALL + 50) == [2, 4, 3, 1]
        await inbox.accept(record(5, expires=WALL + 600), WALL)  # not on disk yet
        await inbox.accept(record(6, expires=WALL + 10), WALL)
        assert await order(inbox, WALL + 50) == [5, 6, 2, 4, 3, 1]


async def test_a_whisper_that_ends_the_program_each_time_keeps_no_other_waiting(tmp_path: Path) -> None:
    """The program is killed while it holds the first; the next start, and the next, show all others first."""
    async with opened(tmp_path) as inbox:
        for number in (1, 2, 3):
            await keep(inbox, record(number))
    shown = []
    for _ in range(6):
        async with opened(tmp_path) as inbox:
            stored = await inbox.next_unfinished((), WALL)
            assert stored is not None
            shown.append(int.from_bytes(stored.whisper_id))
    assert shown == [1, 2, 3, 1, 2, 3]


async def test_two_who_ask_at_once_are_shown_different_whispers(tmp_path: Path) -> None:
    async with opened(tmp_path) as inbox:
        for number in (1, 2, 3):
            await keep(inbox, record(number))
        got: list[int] = []

        async def ask() -> None:
            stored = await inbox.next_unfinished((), WALL)
            if stored is not None:
                got.append(int.from_bytes(stored.whisper_id))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
        assert sorted(got) == [1, 2, 3]


async def test_a_file_of_the_first_format_opens_and_keeps_its_whispers(tmp_path: Path) -> None:
    path = tmp_path / "endpoint.db"
    old = Database(path, WHISPER_MIGRATIONS[:1], run_inline)
    await old.transaction(
        lambda c: c.execute(
            "INSERT INTO inbox (id, body, received_at, expires, class) VALUES (?, ?, ?, ?, ?)",
            (record(7).whisper_id, b"from before", WALL, WALL + 600, 1),
        )
    )
    old.close()
    async with opened(tmp_path) as inbox:
        stored = await inbox.next_unfinished((), WALL)
        assert stored is not None
        assert stored.body == b"from before"


async def test_a_disk_that_takes_nothing_still_shows_what_it_holds(tmp_path: Path) -> None:
    """That it was shown cannot be noted; but the program may be what makes room."""
    async with opened(tmp_path) as inbox:
        await keep(inbox, record(1))
    path = tmp_path / "endpoint.db"
    database = Database(path, WHISPER_MIGRATIONS, run_inline)
    try:
        inbox = Whispers(database)
        await inbox.load(WALL)
        await database.read(lambda c: c.execute("PRAGMA query_only = ON"))
        stored = await inbox.next_unfinished((), WALL)
        assert stored is not None
        assert stored.body == b"hello"
        assert await inbox.next_unfinished({stored.whisper_id}, WALL) is None
    finally:
        database.close()


async def test_kept_is_committed_when_keep_returns(tmp_path: Path) -> None:
    """Another process that opens copies of the files at that moment, as after a kill, finds the whispers."""
    async with opened(tmp_path) as inbox:
        for number in (1, 3):
            assert await inbox.accept(record(number, b"kept"), WALL) == "new"
        await inbox.keep()
        assert await inbox.accept(record(2, b"not yet"), WALL) == "new"
        async with opened(copied(tmp_path)) as other:
            assert await other.accept(record(1), WALL) == "known"
            assert await other.accept(record(2), WALL) == "new"
            first = await other.next_unfinished((), 0)
            assert first is not None
            assert (first.whisper_id, first.body) == (record(1).whisper_id, b"kept")
            second = await other.next_unfinished({first.whisper_id}, 0)
            assert second is not None
            assert second.whisper_id == record(3).whisper_id


async def test_what_is_accepted_is_shown_before_it_is_on_disk(tmp_path: Path) -> None:
    async with opened(tmp_path) as inbox:
        await inbox.accept(record(1, b"only in memory"), WALL + 0.5)
        stored = await inbox.next_unfinished((), 0)
        assert stored is not None
        assert (stored.body, stored.received_at) == (b"only in memory", WALL + 0.5)
        assert b"only in memory" not in bytes_on_disk(tmp_path)


async def test_what_a_quick_program_finished_is_known_for_ever_and_its_body_never_on_disk(
    tmp_path: Path,
) -> None:
    secret = b"nobody will have read this"
    async with opened(tmp_path) as inbox:
        await inbox.accept(record(1, secret), WALL)
        await inbox.finish(record(1).whisper_id)
        await inbox.accept(record(2, secret), WALL)
        answer = reply(record(2))
        await inbox.finish(record(2).whisper_id, answer)
        await inbox.keep([record(1).whisper_id, record(2).whisper_id])  # nothing is left of them to keep
        assert secret not in bytes_on_disk(tmp_path)
        async with opened(copied(tmp_path)) as other:
            assert await other.accept(record(1), WALL) == "known"
            assert await other.accept(record(2), WALL) == "known"
            assert await other.next_unfinished((), 0) is None
            assert await other.reply_to(record(2).whisper_id) == answer


@pytest.mark.parametrize("first", ["keep", "finish"])
async def test_keeping_and_finishing_at_once_leaves_nothing_to_show(tmp_path: Path, first: str) -> None:
    disk = Disk()
    async with opened(tmp_path, disk=disk) as inbox:
        await inbox.accept(record(1), WALL)
        disk.hold()  # both wait for the same transaction
        async with trio.open_nursery() as nursery:
            steps = {
                "keep": lambda: inbox.keep([record(1).whisper_id]),
                "finish": lambda: inbox.finish(record(1).whisper_id),
            }
            for step in (first, *({*steps} - {first})):
                nursery.start_soon(steps[step])
                await trio.testing.wait_all_tasks_blocked()
            disk.release()
        assert await inbox.next_unfinished((), 0) is None
    async with opened(tmp_path) as inbox:
        assert await inbox.next_unfinished((), 0) is None
        assert await inbox.accept(record(1), WALL) == "known"


async def test_a_copy_that_comes_meanwhile_waits_for_the_judgement(tmp_path: Path) -> None:
    async with opened(tmp_path) as inbox:
        results: list[str] = []

        async def accept() -> None:
            results.append(await inbox.accept(record(1), WALL))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(accept)
        assert sorted(results) == ["known"] * 4 + ["new"]


async def test_an_id_is_accepted_once_even_when_its_whisper_is_finished(tmp_path: Path) -> None:
    async with opened(tmp_path) as inbox:
        await keep(inbox, record(1))
        assert await inbox.accept(record(1, b"another body"), WALL) == "known"
        await inbox.finish(record(1).whisper_id)
        assert await inbox.accept(record(1), WALL) == "known"
        assert await inbox.next_unfinished((), 0) is None
    async with opened(tmp_path) as inbox:
        assert await inbox.accept(record(1), WALL) == "known"


async def test_an_id_is_known_until_no_copy_can_be_accepted_any_more(tmp_path: Path) -> None:
    last = WALL + 600 + EXPIRY_GRACE_SECONDS + SEEN_EXTRA_SECONDS
    async with opened(tmp_path) as inbox:
        await inbox.accept(record(1), WALL)
        await inbox.finish(record(1).whisper_id)
        await inbox.tidy(last)
        assert await inbox.accept(record(1), WALL) == "known"
        await inbox.tidy(last + 1)
        assert await inbox.accept(record(1), WALL) == "new"


def by_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_file, "WHISPERS_MOST", 3)


def by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_file, "BYTES_MOST", 300)


@pytest.mark.parametrize("limit", [by_count, by_bytes])
async def test_a_full_inbox_takes_no_more_until_one_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: Callable[[pytest.MonkeyPatch], None]
) -> None:
    limit(monkeypatch)
    async with opened(tmp_path) as inbox:
        for number in (1, 2, 3):
            await keep(inbox, record(number, bytes(100)))
        assert await inbox.accept(record(4, b"x"), WALL) == "full"
        assert await inbox.accept(record(3, bytes(100)), WALL) == "known"
    async with opened(tmp_path) as inbox:  # it counts what it finds
        assert await inbox.accept(record(4, b"x"), WALL) == "full"
        await inbox.finish(record(2).whisper_id)
        await inbox.finish(record(2).whisper_id)  # twice makes no more room than once
        assert await inbox.accept(record(4, bytes(100)), WALL) == "new"
        assert await inbox.accept(record(5, b"x"), WALL) == "full"


async def test_whispers_that_come_at_once_do_not_pass_the_limit_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_file, "WHISPERS_MOST", 3)
    async with opened(tmp_path) as inbox:
        results: list[str] = []

        async def accept(number: int) -> None:
            results.append(await inbox.accept(record(number), WALL))

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(accept, number)
        assert sorted(results) == ["full"] * 7 + ["new"] * 3


async def test_what_could_not_be_written_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_file, "WHISPERS_MOST", 1)
    async with opened(tmp_path) as inbox:
        block = sqlite3.connect(tmp_path / "endpoint.db", timeout=0)
        await inbox.database.read(lambda connection: connection.execute("PRAGMA busy_timeout=0"))
        await inbox.accept(record(1), WALL)
        block.execute("BEGIN IMMEDIATE")  # as a disk that refuses
        with pytest.raises(BadData):
            await inbox.keep([record(1).whisper_id])
        with pytest.raises(BadData):
            await inbox.finish(record(1).whisper_id)
        assert await inbox.accept(record(1), WALL) == "known"
        assert await inbox.accept(record(2), WALL) == "full"
        block.rollback()
        assert await inbox.accept(record(1), WALL) == "known"  # its visitor comes again
        await inbox.keep()
        async with opened(copied(tmp_path)) as other:
            assert await other.next_unfinished((), 0) is not None
        await inbox.finish(record(1).whisper_id)
        assert await inbox.accept(record(2), WALL) == "new"
        assert await inbox.accept(record(3), WALL) == "full"
        block.close()


def test_the_limits_of_the_inbox() -> None:
    assert (inbox_file.WHISPERS_MOST, inbox_file.BYTES_MOST) == (1024, 16 * 1024 * 1024)


@pytest.mark.parametrize("size", [100, 60_000])
async def test_a_finished_whisper_is_in_no_file_any_more(tmp_path: Path, size: int) -> None:
    secret = b"nobody may read this later"
    async with opened(tmp_path) as inbox:
        await keep(inbox, record(1, secret.ljust(size)))
        await keep(inbox, record(2, b"another one stays"))
        assert secret in bytes_on_disk(tmp_path)
        await inbox.finish(record(1).whisper_id)
        await inbox.database.empty_log()
        assert secret not in bytes_on_disk(tmp_path)
        assert b"another one stays" in bytes_on_disk(tmp_path)


async def test_an_acknowledged_reply_is_in_no_file_any_more(tmp_path: Path) -> None:
    secret = b"this was the answer"
    async with opened(tmp_path) as inbox:
        await inbox.accept(record(1), WALL)
        answer = reply(record(1), secret)
        await inbox.finish(record(1).whisper_id, answer)
        assert secret in bytes_on_disk(tmp_path)
        inbox.reply_acknowledged(answer.whisper_id)
        await inbox.database.empty_log()
        assert secret not in bytes_on_disk(tmp_path)


async def test_a_reply_is_kept_until_it_is_acknowledged(tmp_path: Path) -> None:
    answer = reply(record(1))
    async with opened(tmp_path) as inbox:
        await inbox.accept(record(1), WALL)
        await inbox.finish(record(1).whisper_id, answer)
        await inbox.finish(record(1).whisper_id, reply(record(1), b"second thoughts"))
    async with opened(tmp_path) as inbox:
        assert await inbox.reply_to(record(1).whisper_id) == answer
        assert await inbox.reply_to(record(2).whisper_id) is None
        inbox.reply_acknowledged(record(2).whisper_id)
        await inbox.database.empty_log()
        assert await inbox.reply_to(record(1).whisper_id) == answer
        inbox.reply_acknowledged(answer.whisper_id)
        await inbox.database.empty_log()
        assert await inbox.reply_to(record(1).whisper_id) is None


async def test_a_reply_nobody_fetched_is_forgotten_when_it_expires(tmp_path: Path) -> None:
    async with opened(tmp_path) as inbox:
        await inbox.accept(record(1), WALL)
        await inbox.finish(record(1).whisper_id, reply(record(1), expires=WALL + 50))
        await inbox.tidy(WALL + 50)
        assert await inbox.reply_to(record(1).whisper_id) is not None
        await inbox.tidy(WALL + 51)
        assert await inbox.reply_to(record(1).whisper_id) is None


async def test_an_unfinished_whisper_does_not_expire(tmp_path: Path) -> None:
    """It was acknowledged: nothing may take it from the program."""
    async with opened(tmp_path) as inbox:
        await keep(inbox, record(1))
    async with opened(tmp_path, WALL + 30 * 86400) as inbox:
        assert await inbox.next_unfinished((), 0) is not None


async def test_every_file_is_for_the_owner_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as inbox:
        await keep(inbox, record(1))
        files = list(tmp_path.glob("endpoint.db*"))
        assert files
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


async def test_a_database_of_another_version_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "endpoint.db"
    Database(path, (*WHISPER_MIGRATIONS, "SELECT 1"), run_inline).close()
    with pytest.raises(BadData, match=r"endpoint\.db was written by a later version .*format 5, this one"):
        Database(path, WHISPER_MIGRATIONS, run_inline)
    Database(path, (*WHISPER_MIGRATIONS, "SELECT 1"), run_inline).close()  # and left as it was


def garbage(data: bytes) -> bytes:
    return b"this is no database" * 300


def junk_pages(data: bytes) -> bytes:
    return data[:4096] + b"\xa5" * (len(data) - 4096)


def cut_short(data: bytes) -> bytes:
    return data[:5000]


@pytest.mark.parametrize("damage", [garbage, junk_pages, cut_short])
async def test_a_damaged_database_is_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    async with opened(tmp_path) as inbox:
        await keep(inbox, record(1))
    path = tmp_path / "endpoint.db"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadData, match=r"endpoint\.db (is damaged|cannot be used: .*malformed)"):
        async with opened(tmp_path) as inbox:
            await inbox.next_unfinished((), 0)


async def test_what_fails_half_way_changes_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "endpoint.db", WHISPER_MIGRATIONS, run_inline)
    inbox = Whispers(database)
    await keep(inbox, record(1))

    def broken(connection: object) -> None:
        connection.execute("DELETE FROM inbox")  # type: ignore[attr-defined]
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        await database.transaction(broken)
    assert await inbox.next_unfinished((), 0) is not None
    database.close()


async def test_who_acknowledges_what_was_never_sent_makes_no_work(tmp_path: Path) -> None:
    async with opened(tmp_path) as inbox:
        await inbox.accept(record(1), WALL)
        answer = reply(record(1))
        await inbox.finish(record(1).whisper_id, answer)
        for number in range(2, 10_000):
            inbox.reply_acknowledged(record(number).whisper_id)
        for _ in range(1000):
            inbox.reply_acknowledged(answer.whisper_id)
        done: list[str] = []
        await inbox.database.read(lambda connection: connection.set_trace_callback(done.append))
        await inbox.database.empty_log()
        assert sum(statement.startswith("DELETE") for statement in done) == 1
    async with opened(tmp_path) as inbox:  # a reply of before is known after a restart
        inbox.reply_acknowledged(answer.whisper_id)
        await inbox.database.empty_log()
        assert await inbox.reply_to(record(1).whisper_id) is None


async def test_the_reply_that_expires_first_is_found_without_reading_all(tmp_path: Path) -> None:
    """A thousand replies of 64 KiB would be read for each answer; the index has their dates."""
    database = Database(tmp_path / "db", WHISPER_MIGRATIONS, run_inline)
    plan = await database.read(
        lambda connection: connection.execute(
            "EXPLAIN QUERY PLAN SELECT id FROM replies ORDER BY expires DESC LIMIT -1 OFFSET 1024"
        ).fetchall()
    )
    assert [step[-1] for step in plan] == ["SCAN replies USING COVERING INDEX replies_expires"]
    database.close()


def answer_of(number: int, lives: int) -> Record:
    """The reply to the record of this number."""
    to = record(number).whisper_id
    return Record(WhisperId(bytes([number + 100]) * 16), to, WALL + lives, 1, WHISPER, b"answer")


async def test_what_is_on_disk_says_whose_it_is(tmp_path: Path) -> None:
    """Whispers and replies keep the session of their peer, or that there was none."""
    peer = b"s" * 16
    async with opened(tmp_path) as inbox:
        store = inbox.inbox
        for number, session in ((1, peer), (2, None)):
            of = record(number)
            taken = Taken(of.whisper_id, of.body, 1.0, of.expires, 1, session)
            await store.commit([Keep(taken, 0)])
        assert [(row[0], row[4]) for row in await store.held()] == [
            (record(1).whisper_id, peer),
            (record(2).whisper_id, None),
        ]
        shown = await store.show(record(1).whisper_id)
        assert shown is not None
        assert shown.session == peer
        answers = [answer_of(number, 600) for number in (1, 2)]
        for number, answer, session in ((1, answers[0], peer), (2, answers[1], None)):
            await store.commit([Finish(record(number).whisper_id, None, answer, session)])
        _, waiting = await store.tidy(WALL)
        assert sorted(waiting, key=lambda row: row[1] is None) == [
            (answers[0].whisper_id, peer),
            (answers[1].whisper_id, None),
        ]


async def test_all_replies_for_one_peer_come_in_the_order_in_which_they_expire(tmp_path: Path) -> None:
    peer, other = b"s" * 16, b"t" * 16
    async with opened(tmp_path) as inbox:
        store = inbox.inbox
        rows = ((1, peer, 300), (2, other, 100), (3, peer, 200), (4, None, 50))
        made = {}
        for number, session, lives in rows:
            made[number] = answer_of(number, lives)
            await store.commit([Finish(record(number).whisper_id, None, made[number], session)])
        assert await store.replies_for(peer) == [made[3], made[1]]
        assert await store.replies_for(other) == [made[2]]
        assert await store.replies_for(b"u" * 16) == []
        store.erase_reply(made[3].whisper_id)
        await store.tidy(WALL)
        assert await store.replies_for(peer) == [made[1]]


async def test_what_others_write_is_committed_together_with_the_rows_or_not_at_all(tmp_path: Path) -> None:
    async with opened(tmp_path) as inbox:
        store, of = inbox.inbox, record(1)
        taken = Taken(of.whisper_id, of.body, 1.0, of.expires, 1, b"s" * 16)

        def fails(connection: sqlite3.Connection) -> None:
            connection.execute("CREATE TABLE others (id BLOB)")
            raise sqlite3.OperationalError("disk full")

        def works(connection: sqlite3.Connection) -> None:
            connection.execute("CREATE TABLE others (id BLOB)")

        with pytest.raises(BadData):
            await store.commit([Keep(taken, 0)], also=fails)
        assert await store.held() == []
        await store.commit([Keep(taken, 0)], also=works)
        assert len(await store.held()) == 1
