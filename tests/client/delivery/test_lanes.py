"""Lanes over real circuits that meet at a real point, and the users that share them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.delivery.lanes import Lane, LaneSet
from onionshh.core.circuit.inbox import INBOX_MESSAGES
from onionshh.core.delivery.actions import LaneId, Send
from onionshh.core.delivery.record import NO_ID, WHISPER, Record
from onionshh.core.endpoint.introduce import EndToEndKeys
from onionshh.ids import WhisperId
from onionshh.net.clocks import Clock
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from tests.net.test_circuits import COOKIE, Pair, met

LARGE = 60_000
"""Bytes of a record: the window takes a few of them at once."""
MANY = INBOX_MESSAGES + 10
"""More than the other end holds before it is read."""
ONE = LaneId(1)


@dataclass
class Ends:
    """A joined circuit as both ends have it, and the clock of the one whose lane is looked at."""

    near: JoinedCircuit
    far: JoinedCircuit
    clock: Clock


@asynccontextmanager
async def ends() -> AsyncIterator[Ends]:
    keys = EndToEndKeys(*Pair.keys, bytes(32))
    async with met() as (pair, visitor, endpoint):
        pair.endpoint.accept()
        pair.endpoint.send(m.RENDEZVOUS1, m.Rendezvous1(COOKIE, pair.sealed).encode())
        far = JoinedCircuit(pair.endpoint, keys, as_visitor=False, clock=endpoint.clock, drops=endpoint.drops)
        await pair.visitor.receive()
        near = JoinedCircuit(pair.visitor, keys, as_visitor=True, clock=visitor.clock, drops=visitor.drops)
        yield Ends(near, far, visitor.clock)


def sending(number: int, size: int = LARGE, lane: LaneId = ONE) -> Send:
    whisper_id = WhisperId(number.to_bytes(16))
    record = Record(whisper_id, NO_ID, 1_790_000_000, 1, WHISPER, bytes((number,)) * size)
    return Send(lane, (record,), whisper_id)


class User:
    """A driver that uses lanes: what it is told of them."""

    def __init__(self) -> None:
        self.gone: list[LaneId] = []
        self.used: list[LaneId] = []

    def lane_gone(self, number: LaneId) -> None:
        self.gone.append(number)

    def lane_used(self, number: LaneId) -> None:
        self.used.append(number)


@dataclass
class Used:
    """Lanes with two users, one lane of them, and what has left."""

    lanes: LaneSet
    lane: Lane
    users: tuple[User, User]
    left: list[WhisperId | None]

    def send(self, *sendings: Send) -> None:
        for one in sendings:
            self.lanes.send(one, lambda send: self.left.append(send.whisper))


@asynccontextmanager
async def used(writers: int = 1) -> AsyncIterator[tuple[Used, Ends]]:
    """A lane that so many tasks write to."""
    async with ends() as both, trio.open_nursery() as nursery:
        lanes, users = LaneSet(), (User(), User())
        lanes.users += users
        lanes.nursery = nursery
        yield Used(lanes, lanes.add(both.near, writers=writers), users, []), both
        nursery.cancel_scope.cancel()


# A lane.


@pytest.mark.parametrize("writers", [1, 2, 4])
async def test_records_leave_whole_and_in_order_over_a_lane_whose_window_is_full(
    writers: int, autojump_clock: MockClock
) -> None:
    async with used(writers) as (it, both):
        sendings = [sending(number) for number in range(MANY)]
        it.send(*sendings)
        await wait_all_tasks_blocked()
        assert 0 < len(it.left) < MANY  # the other end reads nothing so far
        assert [await both.far.receive() for _ in sendings] == [one.records[0] for one in sendings]
        await wait_all_tasks_blocked()
        assert sorted(map(bytes, filter(None, it.left))) == [one.whisper for one in sendings]


async def test_what_one_task_leaves_open_of_the_window_another_fills(autojump_clock: MockClock) -> None:
    """One record is leaving, and the next stands behind it already, so that no gap is between them."""
    for writers, behind in ((1, 1), (2, 2)):
        async with used(writers) as (it, both):
            for number in range(MANY):
                it.send(sending(number))
            await wait_all_tasks_blocked()
            assert both.near.circuit.waiting_messages == behind


async def test_what_the_window_takes_leaves_at_once_and_needs_no_task(autojump_clock: MockClock) -> None:
    async with used(writers=0) as (it, both):
        it.send(sending(1, 10))
        assert it.left == [sending(1).whisper]
        assert await both.far.receive() == sending(1, 10).records[0]


async def test_a_small_record_overtakes_no_large_one_that_waits(autojump_clock: MockClock) -> None:
    async with used() as (it, both):
        it.send(*(sending(number) for number in range(MANY)))
        it.send(sending(MANY, 1))
        order = [(await both.far.receive()).whisper_id for _ in range(MANY + 1)]
        assert order == [sending(number).whisper for number in range(MANY + 1)]


async def test_a_lane_that_ends_wakes_its_tasks(autojump_clock: MockClock) -> None:
    async with ends() as both:
        lane = Lane(ONE, both.near, None)
        lane.pause(True)
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lane.write)
                nursery.start_soon(lane.readable)
                await wait_all_tasks_blocked()
                assert len(nursery.child_tasks) == 2
                lane.end(Reason.IDLE)
        assert both.near.circuit.failed == Reason.IDLE


async def test_a_lane_that_the_other_end_closes_wakes_its_reader_though_it_is_paused(
    autojump_clock: MockClock,
) -> None:
    async with ends() as both:
        lane = Lane(ONE, both.near, None)
        lane.pause(True)
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lane.readable)
                await wait_all_tasks_blocked()
                both.far.close()


async def test_nothing_is_read_from_a_paused_lane_until_it_is_resumed(autojump_clock: MockClock) -> None:
    async with ends() as both:
        lane = Lane(ONE, both.near, None)
        assert not lane.paused
        await lane.readable()
        lane.pause(True)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def resume() -> None:
                await trio.sleep(3)
                lane.pause(True)  # once more changes nothing
                await trio.sleep(4)
                lane.pause(False)

            await lane.readable()
            assert trio.current_time() == 7
        assert not lane.paused


# Several lanes, and several users.


async def test_a_lane_that_is_lost_is_told_of_once_and_takes_nothing_more(autojump_clock: MockClock) -> None:
    async with used() as (it, both):
        assert list(it.lanes) == [it.lane]
        both.far.close()
        await both.near.closed()
        it.lanes.lost(it.lane)
        it.lanes.lost(it.lane)
        it.send(sending(1, 1))
        assert [user.gone for user in it.users] == [[ONE], [ONE]]
        assert it.left == []
        assert list(it.lanes) == []
        assert it.lanes.get(ONE) is None


async def test_whoever_ends_a_lane_is_not_told_of_it_and_the_others_are(autojump_clock: MockClock) -> None:
    async with used() as (it, both):
        one, other = it.users
        it.lanes.end(ONE, Reason.IDLE, by=one)
        it.lanes.end(ONE, Reason.CLOSED, by=other)
        it.lanes.lost(it.lane)
        assert (one.gone, other.gone) == ([], [ONE])
        assert both.near.circuit.failed == Reason.IDLE


async def test_a_user_that_goes_while_it_is_told_keeps_no_other_from_being_told(
    autojump_clock: MockClock,
) -> None:
    async with used() as (it, _):
        one, other = it.users

        class Leaves(User):
            def lane_gone(self, number: LaneId) -> None:
                super().lane_gone(number)
                it.lanes.users.remove(self)

        it.lanes.users.insert(0, Leaves())
        it.lanes.lost(it.lane)
        assert (one.gone, other.gone) == ([ONE], [ONE])


async def test_what_one_user_does_is_told_to_the_others(autojump_clock: MockClock) -> None:
    async with used() as (it, _):
        one, other = it.users
        it.lanes.used(ONE, one)
        assert (one.used, other.used) == ([], [ONE])


async def test_each_lane_has_a_number_of_its_own_for_good(autojump_clock: MockClock) -> None:
    async with used() as (it, both):
        other = it.lanes.add(both.far, writers=0)
        assert (it.lane.number, other.number) == (1, 2)
        assert it.lanes.get(other.number) is other
        assert it.lanes.get(None) is None
        it.lanes.end(other.number, Reason.IDLE)
        assert it.lanes.add(both.near, writers=0).number == 3


async def test_before_and_after_its_time_no_task_is_started() -> None:
    lanes = LaneSet()
    ran: list[int] = []

    async def task(number: int) -> None:
        ran.append(number)

    lanes.soon(task, 1)
    async with trio.open_nursery() as nursery:
        lanes.nursery = nursery
        lanes.soon(task, 2)
    lanes.nursery = None
    lanes.soon(task, 3)
    await wait_all_tasks_blocked()
    assert ran == [2]
