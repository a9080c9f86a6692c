"""Each record goes where it belongs, and what nobody takes is counted. The lanes' other ends are here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from onionshh.client.context import Context
from onionshh.client.delivery.lanes import Lane, LaneSet
from onionshh.client.delivery.reading import Destinations, Reader
from onionshh.client.delivery.receiving import Receiving
from onionshh.client.delivery.sending import NotReached, Opening, Sending
from onionshh.client.hosting.whisper_store import WHISPER_MIGRATIONS, WhisperStore
from onionshh.client.session.keeper import SessionKeeper, SessionsInMemory
from onionshh.core.delivery.actions import Failure
from onionshh.core.delivery.record import (
    ASK,
    EXPIRED,
    NO_ID,
    PART,
    PROVE,
    RECEIPT,
    REFRESH,
    WAY_BACK,
    WHISPER,
    Record,
    new_whisper,
    receipt_for,
    refusal_of,
)
from onionshh.core.session.session import Session
from onionshh.errors import ProtocolError
from onionshh.ids import WhisperId
from onionshh.net.database import Database
from onionshh.net.store import run_inline
from onionshh.reasons import Reason
from tests.client.delivery.pipe import Pipe
from tests.client.world import WALL, small
from tests.inside import inside
from tests.seeded import seeded

random_bytes = seeded(8)


class Nowhere:
    """A way that leads nowhere: lanes are here already."""

    def __init__(self) -> None:
        self.heard: list[WhisperId] = []

    async def once(self, record: Record, *, more: bool) -> Opening:
        await trio.lowlevel.checkpoint()
        raise NotReached(Failure("there is no way"))

    def arrived(self, whisper: WhisperId) -> None:
        self.heard.append(whisper)

    def silent(self, whisper: WhisperId) -> None:
        raise AssertionError("nothing goes alone here")


@dataclass
class End:
    """One end: what it reads with, and what its places were given."""

    context: Context
    lanes: LaneSet
    sending: Sending
    receiving: Receiving
    way: Nowhere
    of_session: list[Record]
    parts: list[Record]
    heard: list[Record]
    bad: list[Record]
    """Records that their place refuses."""

    def reader(self, *, reads: bool = True, sends: bool = True, parts: bool = True) -> Reader:
        """With these places, or without."""

        async def session_takes(lane: Lane, record: Record) -> None:
            if record in self.bad:
                raise ProtocolError(Reason.RECORD_BODY)
            self.of_session.append(record)

        async def parts_take(lane: Lane, record: Record) -> None:
            self.parts.append(record)

        async def hear(lane: Lane, record: Record) -> None:
            self.heard.append(record)

        destinations = Destinations(
            lambda lane, record: self.sending if sends else None,
            lambda: self.receiving if reads else None,
            session_takes,
            parts_take if parts else None,
            hear,
        )
        return Reader(self.lanes, destinations, self.context.drops)

    def add(self, pipe: Pipe, session: Session | None = None) -> Lane:
        lane = self.lanes.add(pipe, writers=1, session=session)
        self.receiving.lane_opened(lane)
        return lane

    def dropped(self) -> dict[Reason, int]:
        return dict(self.context.drops.counts)


@asynccontextmanager
async def end(folder: Path) -> AsyncIterator[End]:
    async with small(3) as net, net.join() as node:
        context, lanes, way = inside(node), LaneSet(), Nowhere()
        database = Database(folder / "endpoint.db", WHISPER_MIGRATIONS, run_inline)
        keeper = SessionKeeper(context, SessionsInMemory())
        receiving = Receiving(context, lanes, WhisperStore(database), keeper)
        sending = Sending(context, lanes, way)
        async with trio.open_nursery() as nursery:
            lanes.nursery = nursery
            nursery.start_soon(receiving.run)
            nursery.start_soon(sending.keep_time)
            yield End(context, lanes, sending, receiving, way, [], [], [], [])
            lanes.nursery = None
            nursery.cancel_scope.cancel()
        database.close()


def whisper(body: bytes = b"hello", in_reply_to: WhisperId = NO_ID) -> Record:
    return new_whisper(
        body, expires=WALL + 600, privacy_class=1, random_bytes=random_bytes, in_reply_to=in_reply_to
    )


def record(kind: int, body: bytes = b"", in_reply_to: WhisperId = NO_ID) -> Record:
    return Record(WhisperId(random_bytes(16)), in_reply_to, WALL + 600, 1, kind, body)


def session() -> Session:
    return Session.started(bytes(32), introduced=True, period=1, wall=WALL)


def kinds(pipe: Pipe) -> list[int]:
    return [one.kind for one in pipe.sent]


async def test_whispers_and_questions_about_them_go_to_the_receiver(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with end(tmp_path) as it:
        pipe, first = Pipe(), whisper()
        it.reader().start(it.add(pipe))
        pipe.come(first)
        await trio.sleep(1)
        assert len(it.receiving.receiver.inbox) == 1
        pipe.come(record(ASK, in_reply_to=first.whisper_id))
        await trio.sleep(1)
        assert [(one.kind, one.in_reply_to) for one in pipe.sent] == [(RECEIPT, first.whisper_id)] * 2
        assert it.heard == []
        assert it.dropped() == {}


async def test_receipts_and_answers_go_to_the_sender_of_the_peer(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with end(tmp_path) as it:
        pipe, ours = Pipe(), [whisper(), whisper()]
        lane = it.add(pipe)
        it.sending.adopt(lane, Opening(None, False, ()))
        it.reader().start(lane)
        receipts = [it.sending.submit(one, trio.current_time() + 600) for one in ours]
        await trio.sleep(1)
        assert kinds(pipe) == [WHISPER, WHISPER]
        receipt, answer = receipt_for(ours[0], random_bytes), whisper(b"answer", ours[1].whisper_id)
        pipe.come(receipt)
        pipe.come(answer)
        await trio.sleep(1)
        assert [one.status for one in receipts] == ["delivered", "delivered"]
        assert receipts[1].reply_body == b"answer"
        assert it.heard == [receipt, answer]
        assert it.way.heard == [one.whisper_id for one in ours]
        assert kinds(pipe)[2:] == [RECEIPT]
        refused = whisper()
        told = it.sending.submit(refused, trio.current_time() + 600)
        pipe.come(refusal_of(refused, EXPIRED, random_bytes))
        await trio.sleep(1)
        assert told.status == "expired"
        assert len(it.heard) == 2  # a refusal does not show that anything is kept there


async def test_a_receipt_of_a_reply_goes_to_the_receiver(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with end(tmp_path) as it:
        pipe, question = Pipe(), whisper()
        it.reader().start(it.add(pipe))
        pipe.come(question)
        found = await it.receiving.next()
        assert found is not None
        reply = whisper(b"answer", question.whisper_id)
        told = await it.receiving.finish(question.whisper_id, reply)
        pipe.come(receipt_for(reply, random_bytes))
        with trio.fail_after(5):
            await told.final()
        assert told.status == "delivered"
        assert len(it.receiving.receiver.replies) == 0


@pytest.mark.parametrize("kind, size", [(REFRESH, 1220), (WAY_BACK, 137), (PROVE, 72)])
async def test_what_keeps_a_session_goes_there_if_the_lane_has_one(
    kind: int, size: int, autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with end(tmp_path) as it:
        known, unknown = Pipe(), Pipe()
        reader = it.reader()
        reader.start(it.add(known, session()))
        reader.start(it.add(unknown))
        said = record(kind, bytes(size))
        known.come(said)
        unknown.come(said)
        await trio.sleep(1)
        assert it.of_session == [said]
        assert it.dropped() == {Reason.RECORD_WITHOUT_SESSION: 1}
        assert unknown.open


async def test_parts_go_to_what_collects_them_if_there_is_one(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with end(tmp_path) as it:
        taken, unread = Pipe(), Pipe()
        it.reader().start(it.add(taken))
        it.reader(parts=False).start(it.add(unread))
        part = record(PART, bytes(30))
        taken.come(part)
        unread.come(part)
        await trio.sleep(1)
        assert it.parts == [part]
        assert it.dropped() == {Reason.RECORD_UNREAD: 1}
        assert len(it.receiving.receiver.inbox) == 0


async def test_what_nobody_reads_is_counted_and_the_lane_goes_on(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with end(tmp_path) as it:
        deaf, dumb = Pipe(), Pipe()
        it.reader(reads=False).start(it.add(deaf))
        it.reader(sends=False).start(it.add(dumb))
        asked = record(ASK, in_reply_to=whisper().whisper_id)
        for one in (whisper(), asked):
            deaf.come(one)
        dumb.come(whisper(b"answer", whisper().whisper_id))
        await trio.sleep(1)
        assert it.dropped() == {Reason.RECORD_UNREAD: 3}
        for pipe in (deaf, dumb):
            pipe.come(record(RECEIPT, in_reply_to=asked.whisper_id))  # to nobody's harm
            assert pipe.open
        await trio.sleep(1)
        assert deaf.open
        assert dumb.open
        assert it.dropped() == {Reason.RECORD_UNREAD: 3}


async def test_what_came_with_the_opening_is_read_first(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with end(tmp_path) as it:
        pipe, first, second = Pipe(), whisper(b"first"), whisper(b"second")
        pipe.come(second)
        it.reader().start(it.add(pipe), first)
        for body in (b"first", b"second"):
            found = await it.receiving.next()
            assert found is not None
            assert found[0].body == body


async def test_a_record_that_its_place_refuses_ends_the_lane_and_its_users_are_told(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with end(tmp_path) as it:
        pipe, wrong = Pipe(), record(WAY_BACK, bytes(137))
        it.bad.append(wrong)
        it.reader().start(it.add(pipe, session()))
        assert it.receiving.receiver.lanes == 1
        pipe.come(wrong)
        await trio.sleep(1)
        assert pipe.ended is Reason.EXCHANGE_OVER
        assert it.receiving.receiver.lanes == 0
        assert it.dropped() == {Reason.RECORD_BODY: 1}


async def test_a_lane_whose_other_end_closes_is_lost(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with end(tmp_path) as it:
        pipe = Pipe()
        it.reader().start(it.add(pipe))
        await wait_all_tasks_blocked()
        pipe.close()
        await trio.sleep(1)
        assert list(it.lanes) == []
        assert it.receiving.receiver.lanes == 0


async def test_from_a_paused_lane_nothing_is_read(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with end(tmp_path) as it:
        pipe = Pipe()
        lane = it.add(pipe)
        lane.pause(True)
        it.reader().start(lane)
        pipe.come(whisper())
        await trio.sleep(5)
        assert len(it.receiving.receiver.inbox) == 0
        lane.pause(False)
        await trio.sleep(1)
        assert len(it.receiving.receiver.inbox) == 1


async def test_a_whisper_of_wrong_dates_is_refused(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with end(tmp_path) as it:
        pipe, late = Pipe(refuse=EXPIRED), whisper()
        it.reader().start(it.add(pipe))
        pipe.come(late)
        await trio.sleep(1)
        assert [(one.in_reply_to, one.body) for one in pipe.sent] == [(late.whisper_id, bytes([EXPIRED]))]
