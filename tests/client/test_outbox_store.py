"""The outbox's rows: what comes back after a restart, what is found, what is erased and when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from onionshh.client import outbox_store
from onionshh.client.outbox_store import (
    AT_A_CONTACT,
    KEPT_SECONDS,
    OUTBOX_MIGRATIONS,
    TRIM_EVERY,
    OutboxStore,
    PeerOutbox,
)
from onionshh.core.delivery.outgoing import ASKABLE_SECONDS
from onionshh.core.delivery.record import NO_ID, WHISPER, Record, new_whisper
from onionshh.errors import BadData, Closed
from onionshh.ids import WhisperId
from onionshh.net.database import Database
from onionshh.net.store import run_inline
from tests.client.world import WALL, bytes_on_disk
from tests.seeded import seeded

EXPIRES = WALL + 600


def whisper(number: int, body: bytes = b"hello", expires: int = EXPIRES) -> Record:
    return Record(WhisperId(number.to_bytes(16)), NO_ID, expires, 1, WHISPER, body, number % 2 == 0)


def answer(to: Record, body: bytes = b"answer", seed: int = 7, expires: int = EXPIRES) -> Record:
    return new_whisper(
        body, expires=expires, privacy_class=1, random_bytes=seeded(seed), in_reply_to=to.whisper_id
    )


@contextmanager
def opened(folder: Path) -> Iterator[OutboxStore]:
    database = Database(folder / "db", OUTBOX_MIGRATIONS, run_inline)
    try:
        yield OutboxStore(database)
    finally:
        database.close()


async def written(store: OutboxStore) -> None:
    """Whatever was to be done soon is done."""
    await store.database.transaction(lambda connection: None)


async def pending(outbox: PeerOutbox) -> list[int]:
    return [int.from_bytes(row.record.whisper_id) for row in await outbox.load(WALL) if row.status is None]


async def test_what_was_accepted_comes_back_in_order_and_whole(tmp_path: Path) -> None:
    records = [whisper(number, b"body %d" % number) for number in (5, 3, 9, 1)]
    with opened(tmp_path) as store:
        for record in records:
            store.of(AT_A_CONTACT).accept(record, None)
    with opened(tmp_path) as store:
        rows = await store.of(AT_A_CONTACT).load(WALL)
        assert [row.record for row in rows] == records
        assert {(row.status, row.why, row.answer) for row in rows} == {(None, "", None)}


async def test_what_is_final_keeps_its_status_and_not_its_body(tmp_path: Path) -> None:
    secret = b"the body of a whisper"
    with opened(tmp_path) as store:
        outbox = store.of(AT_A_CONTACT)
        for number in (1, 2, 3, 4):
            outbox.accept(whisper(number, secret + b"%d" % number), None)
        for number, status, why in ((1, "delivered", ""), (2, "expired", "late"), (3, "sent", "")):
            outbox.settled(whisper(number).whisper_id, status, why)  # type: ignore[arg-type]
        await written(store)
        await store.database.empty_log()
        assert bytes_on_disk(tmp_path).count(secret) == bytes_on_disk(tmp_path).count(secret + b"4") == 1
        rows = {int.from_bytes(row.record.whisper_id): row for row in await outbox.load(WALL)}
        assert {number: row.status for number, row in rows.items()} == {1: "delivered", 3: "sent", 4: None}
        assert rows[1].record == Record(whisper(1).whisper_id, NO_ID, EXPIRES, 1, WHISPER, b"")
        expired = outbox.find(whisper(2).whisper_id)
        assert expired is not None
        assert (expired.status, expired.why, expired.record.body) == ("expired", "late", b"")


async def test_what_can_have_no_answer_any_more_is_not_loaded(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        outbox = store.of(AT_A_CONTACT)
        for number in (1, 2):
            outbox.accept(whisper(number), None)
            outbox.settled(whisper(number).whisper_id, "delivered", "")
        await outbox.keep_answer(answer(whisper(1)))
        assert [int.from_bytes(row.record.whisper_id) for row in await outbox.load(WALL)] == [2]
        assert await outbox.load(EXPIRES + int(ASKABLE_SECONDS)) == []
        found = outbox.find(whisper(1).whisper_id)
        assert found is not None
        assert found.answer == answer(whisper(1))


async def test_late_answers_are_listed_until_they_are_shown(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        outbox = store.of(AT_A_CONTACT)
        first, second = answer(whisper(1), seed=1, expires=EXPIRES + 1), answer(whisper(2), seed=2)
        for one in (first, second, first, answer(whisper(1), b"another", seed=3)):
            await outbox.keep_answer(one)
        assert await outbox.late_answers() == [second, first]
        outbox.shown(second.whisper_id)
        assert await outbox.late_answers() == [first]
    with opened(tmp_path) as store:
        assert await store.of(AT_A_CONTACT).late_answers() == [first]
        assert await store.of(b"another").late_answers() == []


async def test_a_key_names_one_whisper_of_one_peer(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        here, there = store.of(b"here"), store.of(b"there")
        here.accept(whisper(1, b"body"), b"key")
        there.accept(whisper(2, b"body"), b"key")
        here.accept(whisper(3), None)
        here.accept(whisper(4), None)
        found, other = here.with_key(b"key"), there.with_key(b"key")
        assert found is not None
        assert other is not None
        assert (found[0], other[0]) == (whisper(1).whisper_id, whisper(2).whisper_id)
        assert found[1] != other[1]  # the mark of a body is another one for each whisper
        assert here.with_key(b"another") is None


async def test_peers_share_a_file_and_nothing_else(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        here, there = store.of(b"here"), store.of(b"there")
        there.accept(whisper(2), None)
        here.accept(whisper(1), None)
        there.accept(whisper(3), b"key")
        await there.keep_answer(answer(whisper(2)))
        assert await store.peers() == [b"there", b"here"]
        assert (await pending(here), await pending(there)) == ([1], [2, 3])
        assert here.find(whisper(2).whisper_id) is None
        store.forget_soon(b"there")
        assert await there.late_answers() == []
        assert await pending(there) == []
        assert await store.peers() == [b"here"]


async def test_what_is_settled_goes_a_week_after_its_expiry(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        outbox = store.of(AT_A_CONTACT)
        for number in (1, 2):
            outbox.accept(whisper(number), b"%d" % number)
        outbox.settled(whisper(1).whisper_id, "delivered", "")
        await outbox.keep_answer(answer(whisper(1)))
        await store.tidy(EXPIRES + KEPT_SECONDS)
        assert outbox.with_key(b"1") is not None
        assert len(await outbox.late_answers()) == 1
        await store.tidy(EXPIRES + KEPT_SECONDS + 1)
        assert outbox.with_key(b"1") is None
        assert await outbox.late_answers() == []
        assert await pending(outbox) == [2]  # not settled: the Sender says what becomes of it


async def test_an_answer_that_was_shown_goes_when_it_expires(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        outbox = store.of(AT_A_CONTACT)
        for number in (1, 2):
            outbox.accept(whisper(number), None)
            await outbox.keep_answer(answer(whisper(number), b"text %d" % number, seed=number))
        outbox.shown(answer(whisper(1), seed=1).whisper_id)
        for earliest, left in ((EXPIRES, {1, 2}), (EXPIRES + 1, {2})):
            await store.tidy(earliest)
            found = {number: outbox.find(whisper(number).whisper_id) for number in (1, 2)}
            assert {number for number, row in found.items() if row is not None and row.answer} == left


async def test_there_are_never_many_more_than_the_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_store, "SETTLED_MOST", 10)
    with opened(tmp_path) as store:
        outbox = store.of(AT_A_CONTACT)
        waits = whisper(999)
        outbox.accept(waits, None)
        for number in range(1, TRIM_EVERY + 1):
            outbox.accept(whisper(number), None)
            outbox.settled(whisper(number).whisper_id, "delivered", "")
        await written(store)
        left = [int.from_bytes(row.record.whisper_id) for row in await outbox.load(WALL)]
        assert left == [999, *range(TRIM_EVERY - 9, TRIM_EVERY + 1)]
        for number in range(20):
            await outbox.keep_answer(answer(whisper(number), seed=number, expires=EXPIRES + number))
        await store.tidy(WALL)
        assert [one.in_reply_to for one in await outbox.late_answers()] == [
            whisper(number).whisper_id for number in range(10, 20)
        ]


async def test_a_closed_or_damaged_file_takes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        outbox = store.of(AT_A_CONTACT)
        await store.database.transaction(lambda connection: connection.execute("DROP TABLE outbox") and None)
        with pytest.raises(BadData):
            outbox.accept(whisper(1), None)
        with pytest.raises(BadData):
            outbox.find(whisper(1).whisper_id)
    with pytest.raises(Closed):
        outbox.accept(whisper(1), None)
    with pytest.raises(Closed):
        outbox.with_key(b"key")
