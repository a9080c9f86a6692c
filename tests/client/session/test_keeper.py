"""Sessions in memory and on disk: what is written before what, and what is forgotten (SPEC 12)."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from trio.testing import MockClock

from onionshh import testing
from onionshh.client.context import Context
from onionshh.client.delivery.lanes import LaneSet
from onionshh.client.hosting.key_store import KEY_MIGRATIONS, KeyStore
from onionshh.client.hosting.senders import Senders
from onionshh.client.session import keeper as keeper_file
from onionshh.client.session.keeper import SessionKeeper, SessionsInMemory, Store
from onionshh.config import Authority
from onionshh.core.delivery.actions import Finish, Keep, KeepAnswer
from onionshh.core.delivery.incoming import Taken
from onionshh.core.delivery.record import NO_ID, PROVE, Record, new_whisper
from onionshh.core.session.proof import Proof
from onionshh.core.session.resumption import Resumption
from onionshh.core.session.session import Session
from onionshh.core.session.table import IDLE_SECONDS
from onionshh.errors import BadData, ProtocolError
from onionshh.ids import AuthKey, RelayId, WhisperId
from onionshh.net.authority_client import DirectoryUnreachable
from onionshh.net.database import IN_MEMORY, Database
from onionshh.net.store import run_inline
from onionshh.reasons import Reason
from onionshh.wire.messages import Resume
from tests.client.delivery.pipe import Pipe
from tests.client.session.pair import Rows, both
from tests.client.world import WALL, small, until
from tests.inside import inside
from tests.seeded import seeded

KEY = AuthKey(b"k" * 32)
POINTS = tuple(RelayId(bytes((number,)) * 32) for number in (1, 2, 3))


@asynccontextmanager
async def context() -> AsyncIterator[Context]:
    async with small(3) as net, net.join() as node:
        yield inside(node)


async def resume(keeper: SessionKeeper, visitor: Session, legs: int = 1) -> Resume:
    """What the visitor sends to go on with a session that its keeper has."""
    _, step = await keeper.spend(visitor)
    return Resume.decode_untrusted(step.seal(KEY, Resumption(1, POINTS[:legs], b"")))


def connection() -> sqlite3.Connection:
    """For a disk that is none."""
    return sqlite3.connect(":memory:")


async def test_what_is_on_disk_is_taken_up_and_what_was_idle_too_long_is_erased(
    autojump_clock: MockClock,
) -> None:
    (_, old), (_, fresh) = both(1, WALL - IDLE_SECONDS - 3600), both(2, WALL - 3600)
    async with context() as it:
        rows = Rows(old, fresh)
        keeper = SessionKeeper(it, rows)
        await keeper.load()
        assert [one.session_id for one in keeper.table.sessions] == [fresh.session_id]
        assert set(rows.documents) == {fresh.session_id}
        assert keeper.get(old.session_id) is None
        assert keeper.get(None) is None


async def test_without_a_directory_sessions_go_on(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A circuit lives on when the consensus has expired. What its other end says is no reason to end."""

    async def silent(self: testing.LocalSource, authority: Authority) -> bytes:
        raise DirectoryUnreachable("connection refused")

    async with small(4, interval_seconds=10, valid_seconds=30) as net, net.join() as node:
        it = inside(node)
        for relay in list(net.relays):
            await relay.stop()
        monkeypatch.setattr(testing.LocalSource, "consensus", silent)
        await until(lambda: it.keeper.current is None, 300)
        rows, (_, endpoint) = Rows(), both(1, WALL)
        keeper = SessionKeeper(it, rows)
        await keeper.save(endpoint)
        assert set(rows.documents) == {endpoint.session_id}
        proof, held = Proof(b"a" * 32, 0, b"p" * 32), list[bool]()
        keys = KeyStore(Database(IN_MEMORY, KEY_MIGRATIONS, run_inline), seeded(1), 16)
        senders = Senders(it, b"k" * 32, keys, keeper, lambda session, hold: held.append(hold))
        lane = LaneSet().add(Pipe(), writers=0, session=endpoint)
        record = Record(WhisperId(b"i" * 16), NO_ID, WALL + 600, 0, PROVE, proof.encode())
        await senders.prove(lane, endpoint, record)
        assert (held, it.drops.counts[Reason.PROVE_WRONG]) == ([], 1)


async def test_of_too_many_on_disk_some_are_erased(autojump_clock: MockClock) -> None:
    async with context() as it:
        rows = Rows(*(both(number, WALL - 100 + number)[1] for number in range(1, 5)))
        keeper = SessionKeeper(it, rows, most=3)
        await keeper.load()
        assert len(keeper.table) == 3
        assert set(rows.documents) == {one.session_id for one in keeper.table.sessions}
        assert both(1)[1].session_id not in rows.documents


async def test_a_session_that_makes_room_for_another_is_counted_and_erased(
    autojump_clock: MockClock,
) -> None:
    async with context() as it:
        rows = Rows()
        keeper = SessionKeeper(it, rows, most=1)
        first, second = both(1)[1], both(2)[1]
        await keeper.save(first)
        await keeper.save(second)
        assert set(rows.documents) == {second.session_id}
        assert it.drops.counts[Reason.SESSION_DISPLACED] == 1


# The first row.


def rows_of(session: Session) -> tuple[Keep, Finish, KeepAnswer]:
    """One of each kind that the first row of a session may be written with, and one that it never is."""
    record = new_whisper(b"hello", expires=WALL + 600, privacy_class=1, random_bytes=seeded(1))
    peer = session.session_id
    taken = Taken(record.whisper_id, record.body, 1.0, record.expires, 1, peer)
    return Keep(taken, 0), Finish(record.whisper_id, taken, None, peer), KeepAnswer(record)


@pytest.mark.parametrize("number", [0, 1])
async def test_a_session_is_there_once_its_first_row_was_written_with_others(
    number: int, autojump_clock: MockClock
) -> None:
    async with context() as it:
        rows, (_, session), (_, other) = Rows(), both(1), both(2)
        keeper = SessionKeeper(it, rows)
        keeper.begun(session)
        keeper.begun(other)
        first = keeper.unwritten([rows_of(session)[number]])
        assert keeper.get(session.session_id) is None
        first.write(connection())
        assert set(rows.documents) == {session.session_id}
        assert keeper.get(session.session_id) is None  # the transaction may still fail
        first.written()
        assert keeper.get(session.session_id) is session
        assert keeper.unwritten([rows_of(session)[number]]).sessions == []


async def test_rows_of_others_write_no_session(autojump_clock: MockClock) -> None:
    async with context() as it:
        keeper = SessionKeeper(it, Rows())
        _, session = both(1)
        keeper.begun(session)
        keep, finish, answer = rows_of(both(2)[1])
        nobody = replace(keep, whisper=replace(keep.whisper, session=None))
        assert keeper.unwritten([keep, finish, answer, nobody]).sessions == []


async def test_exchanges_without_a_whisper_are_forgotten_when_they_are_many(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_file, "UNWRITTEN_MOST", 2)
    async with context() as it:
        keeper = SessionKeeper(it, Rows())
        sessions = [both(number)[1] for number in (1, 2, 3)]
        for session in sessions:
            keeper.begun(session)
        found = [keeper.unwritten([rows_of(session)[0]]).sessions for session in sessions]
        assert found == [[], [sessions[1]], [sessions[2]]]


async def test_a_session_that_is_over_is_nowhere(autojump_clock: MockClock) -> None:
    async with context() as it:
        rows = Rows()
        keeper = SessionKeeper(it, rows)
        (_, kept), (_, begun) = both(1), both(2)
        await keeper.save(kept)
        keeper.begun(begun)
        for session in (kept, begun):
            keeper.forget(session)
        assert rows.documents == {}
        assert keeper.get(kept.session_id) is None
        assert keeper.unwritten([rows_of(begun)[0]]).sessions == []


# Steps.


async def test_a_step_is_on_disk_before_it_can_be_used_and_is_never_used_twice(
    autojump_clock: MockClock,
) -> None:
    async with context() as it:
        rows, (visitor, _) = Rows(), both()
        keeper = SessionKeeper(it, rows)
        for index in (0, 1):
            spent, _ = await keeper.spend(visitor)
            assert spent.index == index
            assert rows.on_disk(visitor.session_id).spend().index == index + 1
        rows.full = True
        with pytest.raises(BadData):
            await keeper.spend(visitor)
        rows.full = False
        spent, _ = await keeper.spend(visitor)
        assert spent.index == 3


async def test_a_tag_is_burned_on_disk_before_anything_is_done_and_counts_once(
    autojump_clock: MockClock,
) -> None:
    async with context() as it:
        rows, (visitor, endpoint) = Rows(), both()
        ours, theirs = SessionKeeper(it, SessionsInMemory()), SessionKeeper(it, rows)
        await theirs.save(endpoint)
        message = await resume(ours, visitor)
        accepted = await theirs.accept(message)
        assert accepted is not None
        assert accepted.session is endpoint
        assert accepted.resumption.rendezvous_points == POINTS[:1]
        assert endpoint.history.resumed == 1
        assert await theirs.accept(message) is None
        again = SessionKeeper(it, rows)  # as after a crash right then
        await again.load()
        assert await again.accept(message) is None
        assert await again.accept(await resume(ours, visitor)) is not None


async def test_a_tag_that_could_not_be_burned_on_disk_serves_nobody(autojump_clock: MockClock) -> None:
    async with context() as it:
        rows, (visitor, endpoint) = Rows(), both()
        ours, theirs = SessionKeeper(it, SessionsInMemory()), SessionKeeper(it, rows)
        await theirs.save(endpoint)
        rows.full = True
        message = await resume(ours, visitor)
        with pytest.raises(BadData):
            await theirs.accept(message)
        rows.full = False
        assert await theirs.accept(message) is None


async def test_a_tag_that_nobody_has_is_none(autojump_clock: MockClock) -> None:
    async with context() as it:
        ours, theirs = SessionKeeper(it, SessionsInMemory()), SessionKeeper(it, Rows())
        assert await theirs.accept(await resume(ours, both()[0])) is None


async def test_a_cell_that_was_changed_or_asks_for_too_much_burns_no_tag(autojump_clock: MockClock) -> None:
    async with context() as it:
        visitor, endpoint = both()
        ours, theirs = SessionKeeper(it, SessionsInMemory()), SessionKeeper(it, Rows())
        await theirs.save(endpoint)
        message = await resume(ours, visitor)
        sealed = bytearray(message.sealed)
        sealed[0] ^= 1
        with pytest.raises(ProtocolError) as caught:
            await theirs.accept(replace(message, sealed=bytes(sealed)))
        assert caught.value.reason is Reason.AEAD_OPEN
        assert await theirs.accept(message) is not None
        three = await resume(ours, visitor, legs=3)
        with pytest.raises(ProtocolError) as caught:
            await theirs.accept(three)
        assert caught.value.reason is Reason.RESUME_LEGS


async def test_in_memory_alone_nothing_is_left(autojump_clock: MockClock) -> None:
    async with context() as it:
        store: Store = SessionsInMemory()
        keeper = SessionKeeper(it, store)
        visitor, _ = both()
        await keeper.save(visitor)
        assert keeper.get(visitor.session_id) is visitor
        keeper.begun(both(2)[0])
        store.write(connection(), store.rows([visitor]))
        keeper.forget(visitor)
        again = SessionKeeper(it, store)
        await again.load()
        assert len(again.table) == 0


async def test_an_exchange_that_stays_open_keeps_its_session(autojump_clock: MockClock) -> None:
    """It may last longer than any idle session, and resume nothing meanwhile."""
    (_, open_one), (_, idle) = both(1, WALL - 2), both(2, WALL - 2)
    async with context() as it:
        rows = Rows(open_one, idle)
        keeper = SessionKeeper(it, rows)
        await keeper.load()
        kept = keeper.get(open_one.session_id)
        assert kept is not None
        kept.history.used_at -= keeper_file.USED_SECONDS
        keeper.used(kept)
        assert rows.on_disk(kept.session_id).history.used_at >= WALL - 600
        keeper.used(open_one)  # a copy that is not in use
        keeper.forget(kept)
        keeper.used(kept)
        assert set(rows.documents) == {idle.session_id}


async def test_a_session_that_had_to_go_does_not_come_back(autojump_clock: MockClock) -> None:
    """Something may still be about to spend a step of it."""
    (_, old), (_, new) = both(1, WALL - 100), both(2)
    async with context() as it:
        rows = Rows(old)
        keeper = SessionKeeper(it, rows, most=1)
        await keeper.load()
        gone = keeper.get(old.session_id)
        assert gone is not None
        await keeper.save(new)
        with pytest.raises(BadData):
            await keeper.spend(gone)
        assert set(rows.documents) == {new.session_id}


async def test_what_was_answered_is_on_disk(autojump_clock: MockClock) -> None:
    visitor, _ = both()
    async with context() as it:
        rows = Rows(visitor)
        keeper = SessionKeeper(it, rows)
        await keeper.load()
        session = keeper.get(visitor.session_id)
        assert session is not None
        spent, _ = await keeper.spend(session)
        assert rows.on_disk(session.session_id).chains.spend.unanswered == 1
        keeper.answered(session, spent)
        assert rows.on_disk(session.session_id).chains.spend.unanswered == 0
        keeper.forget(session)
        keeper.answered(session, spent)
        assert rows.documents == {}
