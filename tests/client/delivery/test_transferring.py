"""The driver of one transfer: it asks for pieces as it needs them, and gives up its lane after each group.
The other end is here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from trio.testing import MockClock

from onionshh.client.context import Context
from onionshh.client.delivery.lanes import Lane, LaneSet
from onionshh.client.delivery.outbox import Outbox
from onionshh.client.delivery.reading import Destinations, Reader
from onionshh.client.delivery.sending import NotReached, Opener, Opening, Sending
from onionshh.client.delivery.transferring import CLOSED, GIVEN_UP, Source, ToSend, Transferring
from onionshh.core.delivery.actions import Failure
from onionshh.core.delivery.parts import PART_DATA, Part
from onionshh.core.delivery.record import EXPIRED, NOT_WHOLE, Record, receipt_for, refusal_of
from onionshh.core.delivery.transfer_out import GROUP_LEAST, GROUP_MOST
from onionshh.ids import WhisperId
from tests.client.delivery.pipe import Pipe
from tests.client.world import WALL, small, until
from tests.inside import inside
from tests.seeded import seeded

random_bytes = seeded(8)


class Answers(Pipe):
    """The endpoint's end of a lane: each part gets this answer at once."""

    def __init__(self, answer: Callable[[Record], Record | None]) -> None:
        super().__init__()
        self._answer = answer

    def send_at_once(self, *records: Record) -> bool:
        for record in records:
            answer = self._answer(record)
            if answer is not None:
                self.come(answer)
        return super().send_at_once(*records)


def receipted(record: Record) -> Record | None:
    return receipt_for(record, random_bytes)


@dataclass
class End:
    """A contact's end, and all lanes that it was given so far."""

    context: Context
    lanes: LaneSet
    answer: Callable[[Record], Record | None] = receipted
    pipes: list[Pipe] = field(default_factory=list)
    over: list[Transferring] = field(default_factory=list)
    made: list[Transferring] = field(default_factory=list)

    async def once(self, record: Record, *, more: bool) -> Opening:
        """There is no circuit here: the Sender is told of a lane that we opened."""
        await trio.lowlevel.checkpoint()
        pipe = Answers(self.answer)
        self.pipes.append(pipe)
        lane = self.lanes.add(pipe, writers=2)
        self.reader.start(lane)
        sending, now = self.made[-1].sending, self.context.clock.monotonic()
        sending.do(sending.sender.lane_opened(lane.number, now, None, now))
        raise NotReached(Failure("it is open already"))

    def arrived(self, whisper: WhisperId) -> None:
        """Nothing goes alone."""

    def silent(self, whisper: WhisperId) -> None:
        """Nothing goes alone."""

    @property
    def reader(self) -> Reader:
        async def nothing(lane: Lane, record: Record) -> None:
            raise AssertionError("no session here")

        destinations = Destinations(lambda lane, record: self.made[-1].sending, lambda: None, nothing)
        return Reader(self.lanes, destinations, self.context.drops)

    def start(self, source: Source, ttl_seconds: float = 600.0) -> Transferring:
        what = ToSend(source, None, WALL + 600, trio.current_time() + ttl_seconds, 1)

        def make_sending(opener: Opener, outbox: Outbox) -> Sending:
            return Sending(self.context, self.lanes, opener, outbox=outbox)

        transferring = Transferring(self.context, what, self, make_sending, self.over.append)
        self.made.append(transferring)
        self.lanes.soon(transferring.run)
        return transferring


@asynccontextmanager
async def end() -> AsyncIterator[End]:
    async with small(3) as net, net.join() as node:
        async with trio.open_nursery() as nursery:
            lanes = LaneSet()
            lanes.nursery = nursery
            yield End(inside(node), lanes)
            nursery.cancel_scope.cancel()


async def test_each_group_has_a_lane_of_its_own(autojump_clock: MockClock) -> None:
    whole = random_bytes(20 * PART_DATA + 7)
    async with end() as it:
        transferring = it.start(whole)
        with trio.fail_after(300):
            await transferring.course.final.wait()
        assert transferring.course.status == "delivered"
        assert it.over == [transferring]
        groups = [[Part.decode_untrusted(record.body) for record in pipe.sent] for pipe in it.pipes]
        assert b"".join(part.data for group in groups for part in group) == whole
        assert all(GROUP_LEAST <= len(group) <= GROUP_MOST for group in groups[:-1])
        assert all(pipe.ended is not None for pipe in it.pipes)
        assert not list(it.lanes)
        assert not it.lanes.users


async def test_the_source_is_asked_only_as_parts_arrive(autojump_clock: MockClock) -> None:
    asked = 0

    async def source() -> AsyncIterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield bytes(PART_DATA)

    async with end() as it:
        it.answer = lambda record: None
        transferring = it.start(source(), ttl_seconds=5)
        await trio.sleep(1)
        assert GROUP_LEAST < asked <= GROUP_MOST + 2
        await transferring.course.final.wait()
        assert transferring.course.status == "expired"


async def test_what_the_other_end_refuses_ends_it(autojump_clock: MockClock) -> None:
    for why, status in ((NOT_WHOLE, "failed"), (EXPIRED, "expired")):
        async with end() as it:
            it.answer = lambda record, why=why: refusal_of(record, why, random_bytes)  # type: ignore[misc]
            transferring = it.start(bytes(10 * PART_DATA))
            with trio.fail_after(60):
                await transferring.course.final.wait()
            assert transferring.course.status == status
            assert transferring.course.why.startswith("the endpoint refused it")
            assert transferring.course.sent_bytes == 0


async def test_a_part_without_a_receipt_goes_again_as_it_was(autojump_clock: MockClock) -> None:
    lose = [True, False]

    async with end() as it:
        it.answer = lambda record: None if lose and lose.pop(0) else receipted(record)
        transferring = it.start(b"hello")
        with trio.fail_after(300):
            await transferring.course.final.wait()
        assert transferring.course.status == "delivered"
        first, second = [record for pipe in it.pipes for record in pipe.sent]
        assert first == second


async def test_nothing_of_it_stays_in_memory(autojump_clock: MockClock) -> None:
    async with end() as it:
        transferring = it.start(bytes(9 * PART_DATA))
        with trio.fail_after(300):
            await transferring.course.final.wait()
        for pipe in it.pipes:
            for record in pipe.sent:
                assert not transferring.sending.sender.knows(record.whisper_id)
                assert transferring.sending.receipt(record.whisper_id) is None


async def test_it_is_given_up_once(autojump_clock: MockClock) -> None:
    async with end() as it:
        it.answer = lambda record: None
        transferring = it.start(bytes(10 * PART_DATA))
        await until(lambda: bool(it.pipes))
        transferring.close(GIVEN_UP)
        transferring.close(CLOSED)
        assert (transferring.course.status, transferring.course.why) == ("failed", GIVEN_UP)
        assert it.over == [transferring]
        assert not list(it.lanes)
    async with end() as it:
        it.answer = lambda record: None
        transferring = it.start(bytes(10 * PART_DATA))
        await until(lambda: bool(it.pipes))
    assert (transferring.course.status, transferring.course.why) == ("failed", CLOSED)
