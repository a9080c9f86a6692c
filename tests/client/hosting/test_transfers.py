"""The driver of the transfers that arrive, over a real database. The lanes' other ends are here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import sha3_256
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from onionshh.client.delivery.lanes import Lane, LaneSet
from onionshh.client.hosting.part_store import PART_MIGRATIONS, PartStore
from onionshh.client.hosting.transfers import LOST_MOST, WRITING_MOST, Transfers
from onionshh.client.session.keeper import SessionKeeper
from onionshh.client.session.store import SESSION_MIGRATIONS, SessionStore
from onionshh.core.delivery.parts import PART_DATA, Part, TransferId, part_record
from onionshh.core.delivery.record import RECEIPT, REFUSED, Record
from onionshh.core.delivery.transfer_actions import OfferTransfer, TransferLost
from onionshh.core.session.session import Session
from onionshh.errors import Closed, ProtocolError
from onionshh.net.database import Database
from onionshh.net.store import run_inline
from onionshh.reasons import Reason
from tests.client.delivery.pipe import Pipe
from tests.client.world import WALL, Disk, small
from tests.inside import inside
from tests.seeded import seeded

random_bytes = seeded(9)
ID, OTHER = TransferId(b"t" * 16), TransferId(b"o" * 16)
WHOLE = bytes(PART_DATA) + b"end"


@dataclass
class End:
    """The endpoint's end."""

    transfers: Transfers
    lanes: LaneSet
    keeper: SessionKeeper
    database: Database
    disk: Disk
    nursery: trio.Nursery

    def lane(self, session: Session | None = None) -> tuple[Lane, Pipe]:
        pipe = Pipe()
        return self.lanes.add(pipe, writers=1, session=session), pipe


@asynccontextmanager
async def end(folder: Path) -> AsyncIterator[End]:
    async with small(3) as net, net.join() as node:
        context, lanes, disk = inside(node), LaneSet(), Disk()
        database = Database(folder / "endpoint.db", (PART_MIGRATIONS[0] + SESSION_MIGRATIONS[0],), disk)
        keeper = SessionKeeper(context, SessionStore(database))
        await keeper.load()
        transfers = Transfers(context, lanes, PartStore(database, run_inline), keeper)
        await transfers.load()
        async with trio.open_nursery() as nursery:
            lanes.nursery = nursery
            nursery.start_soon(transfers.run)
            await wait_all_tasks_blocked()
            yield End(transfers, lanes, keeper, database, disk, nursery)
            nursery.cancel_scope.cancel()
        database.close()


def cut(whole: bytes = WHOLE, name: TransferId = ID, whole_hash: bytes | None = None) -> list[Record]:
    pieces = [whole[at : at + PART_DATA] for at in range(0, len(whole), PART_DATA)]
    whole_hash = sha3_256(whole).digest() if whole_hash is None else whole_hash
    parts = [
        Part(name, number, data, whole_hash if number == len(pieces) - 1 else None)
        for number, data in enumerate(pieces)
    ]
    return [
        part_record(part, expires=WALL + 600, privacy_class=1, random_bytes=random_bytes) for part in parts
    ]


async def test_a_part_is_acknowledged_once_it_is_on_disk(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with end(tmp_path) as it:
        lane, pipe = it.lane()
        first, last = cut()
        it.disk.hold()
        it.nursery.start_soon(it.transfers.bring, lane, first)
        await wait_all_tasks_blocked()
        assert pipe.sent == []
        it.disk.release()
        await wait_all_tasks_blocked()
        await it.transfers.bring(lane, last)
        assert [record.in_reply_to for record in pipe.sent] == [first.whisper_id, last.whisper_id]
        assert {record.kind for record in pipe.sent} == {RECEIPT}
        shown = await it.transfers.next()
        assert isinstance(shown, OfferTransfer)
        assert (shown.transfer, shown.size, shown.parts) == (ID, len(WHOLE), 2)
        assert WALL <= shown.received_at < WALL + 600
        assert [await it.transfers.read(ID, number) for number in range(2)] == [WHOLE[:PART_DATA], b"end"]
        await it.transfers.finish(ID)
        await it.transfers.finish(ID)
        assert await it.transfers.read(ID, 0) is None


async def test_what_an_earlier_run_left_goes_on(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with end(tmp_path) as it:
        await it.transfers.bring(it.lane()[0], cut()[1])
        await it.transfers.bring(it.lane()[0], cut(b"x", OTHER)[0])
    async with end(tmp_path) as it:
        assert it.transfers.machine.unfinished == 2
        found = await it.transfers.next()
        assert found is not None
        assert found.transfer == OTHER
        await it.transfers.bring(it.lane()[0], cut()[0])
        assert await it.transfers.next() is not None


async def test_the_first_row_of_a_session_is_written_with_its_first_part(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    session = Session.started(bytes(32), introduced=False, period=1, wall=WALL)
    async with end(tmp_path) as it:
        it.keeper.begun(session)
        assert not list(it.keeper.table.sessions)
        await it.transfers.bring(it.lane(session)[0], cut(b"x")[0])
        assert list(it.keeper.table.sessions) == [session]
    async with end(tmp_path) as it:
        assert [one.session_id for one in it.keeper.table.sessions] == [session.session_id]
        found = await it.transfers.next()
        assert found is not None
        assert found.session == session.session_id


async def test_one_that_is_not_whole_is_told(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with end(tmp_path) as it:
        lane, pipe = it.lane()
        found: list[object] = []

        async def ask() -> None:
            found.append(await it.transfers.next())

        it.nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        (bad,) = cut(b"x", whole_hash=bytes(32))
        await it.transfers.bring(lane, bad)
        await wait_all_tasks_blocked()
        assert found == [TransferLost(ID, 1, Reason.TRANSFER_NOT_WHOLE)]
        assert [record.kind for record in pipe.sent] == [REFUSED]
        for number in range(LOST_MOST + 2):
            (bad,) = cut(b"x", TransferId(number.to_bytes(16, "big")), bytes(32))
            await it.transfers.bring(lane, bad)
        oldest = await it.transfers.next()
        assert oldest is not None
        assert oldest.transfer == (2).to_bytes(16, "big")
        await it.transfers.bring(lane, cut(b"y", OTHER)[0])
        for _ in range(LOST_MOST - 1):
            assert isinstance(await it.transfers.next(), TransferLost)
        assert isinstance(await it.transfers.next(), OfferTransfer)


async def test_whoever_goes_away_takes_nothing_along(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with end(tmp_path) as it:
        with trio.move_on_after(1):
            await it.transfers.next()
        await it.transfers.bring(it.lane()[0], cut(b"x")[0])
        with trio.CancelScope() as scope:
            scope.cancel()
            await it.transfers.next()
        found = await it.transfers.next()
        assert isinstance(found, OfferTransfer)
        assert found.shown == 1
        it.transfers.let_go_soon(ID)
        await wait_all_tasks_blocked()
        found = await it.transfers.next()
        assert isinstance(found, OfferTransfer)
        assert found.shown == 2


async def test_a_full_disk_acknowledges_nothing_and_loses_nothing(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with end(tmp_path) as it:
        lane, pipe = it.lane()
        await it.database.read(lambda connection: connection.execute("PRAGMA query_only = ON"))
        await it.transfers.bring(lane, cut(b"x")[0])
        assert pipe.sent == []
        assert it.transfers.machine.unfinished == 0
        assert "could not be kept" in caplog.text
        await it.database.read(lambda connection: connection.execute("PRAGMA query_only = OFF"))
        await it.transfers.bring(lane, cut(b"x")[0])
        assert [record.kind for record in pipe.sent] == [RECEIPT]


async def test_a_disk_that_is_slow_gets_few_parts_at_a_time(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with end(tmp_path) as it:
        it.disk.hold()
        for number in range(WRITING_MOST + 5):
            (record,) = cut(b"x", TransferId(number.to_bytes(16, "big")))
            it.nursery.start_soon(it.transfers.bring, it.lane()[0], record)
        await wait_all_tasks_blocked()
        assert it.transfers.machine.unfinished == WRITING_MOST
        it.disk.release()
        await wait_all_tasks_blocked()
        assert it.transfers.machine.unfinished == WRITING_MOST + 5


async def test_what_is_no_part_is_the_lanes_end(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with end(tmp_path) as it:
        (record,) = cut(b"x")
        with pytest.raises(ProtocolError):
            await it.transfers.bring(it.lane()[0], replace(record, body=bytes(30)))


async def test_once_it_is_over_nobody_gets_anything(tmp_path: Path, autojump_clock: MockClock) -> None:
    found: list[object] = []
    async with end(tmp_path) as it:

        async def ask() -> None:
            with trio.CancelScope(shield=True):
                found.append(await it.transfers.next())

        it.nursery.start_soon(ask)
        await wait_all_tasks_blocked()
    assert found == [None]
    assert await it.transfers.next() is None
    with pytest.raises(Closed):
        await it.transfers.finish(ID)
    it.transfers.let_go_soon(ID)
