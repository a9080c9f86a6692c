"""Lanes over real circuits that meet at a real point, and a driver of a machine that is written out here.

The machine is a Sender's or Receiver's place: it says what is to be done, and when it wants to be woken.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.delivery.lanes import Driver, Lane
from onionshh.core.circuit.inbox import INBOX_MESSAGES
from onionshh.core.delivery.actions import Action, Actions, Count, LaneId, Send
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


class Script:
    """A machine: its deadline, what it wants done then, and what it was told."""

    def __init__(self) -> None:
        self.deadline = inf
        self.wants: Actions = ()
        self.ticks: list[float] = []
        self.sent: list[WhisperId | None] = []

    def tick(self, now: float) -> Actions:
        self.ticks.append(now)
        self.deadline = inf
        return self.wants

    def next_deadline(self) -> float:
        return self.deadline

    def lane_sent(self, lane: LaneId, whisper: WhisperId | None, now: float) -> Actions:
        self.sent.append(whisper)
        return ()


class Carrier(Driver):
    """Sends what is to be sent and notes the rest; `then` is what carrying out an action brings about."""

    def __init__(self, clock: Clock) -> None:
        self.script = Script()
        super().__init__(self.script, clock)
        self.done: list[Action] = []
        self.over: list[LaneId] = []
        self.then: dict[Action, Callable[[], None]] = {}

    def carry_out(self, action: Action) -> None:
        self.done.append(action)
        if isinstance(action, Send):
            self.send(action)
        self.then.pop(action, lambda: None)()

    def lane_lost(self, number: LaneId) -> Actions:
        self.over.append(number)
        return (Count(Reason.EXCHANGE_OVER),)


@asynccontextmanager
async def driven(writers: int = 1) -> AsyncIterator[tuple[Carrier, Lane, Ends]]:
    """A driver with one lane, which so many tasks write to."""
    async with ends() as both, trio.open_nursery() as nursery:
        driver = Carrier(both.clock)
        driver.nursery = nursery
        yield driver, driver.add_lane(both.near, writers=writers), both
        nursery.cancel_scope.cancel()


# A lane.


@pytest.mark.parametrize("writers", [1, 2, 4])
async def test_records_leave_whole_and_in_order_over_a_lane_whose_window_is_full(
    writers: int, autojump_clock: MockClock
) -> None:
    async with driven(writers) as (driver, _, both):
        sendings = [sending(number) for number in range(MANY)]
        driver.do(tuple(sendings))
        await wait_all_tasks_blocked()
        assert 0 < len(driver.script.sent) < MANY  # the other end reads nothing so far
        assert [await both.far.receive() for _ in sendings] == [one.records[0] for one in sendings]
        await wait_all_tasks_blocked()
        assert sorted(map(bytes, filter(None, driver.script.sent))) == [one.whisper for one in sendings]


async def test_what_one_task_leaves_open_of_the_window_another_fills(autojump_clock: MockClock) -> None:
    """One record is leaving, and the next stands behind it already, so that no gap is between them."""
    for writers, behind in ((1, 1), (2, 2)):
        async with driven(writers) as (driver, _, both):
            for number in range(MANY):
                driver.do((sending(number),))
            await wait_all_tasks_blocked()
            assert both.near.circuit.waiting_messages == behind


async def test_what_the_window_takes_leaves_at_once_and_needs_no_task(autojump_clock: MockClock) -> None:
    async with driven(writers=0) as (driver, _, both):
        driver.do((sending(1, 10),))
        assert driver.script.sent == [sending(1).whisper]
        assert await both.far.receive() == sending(1, 10).records[0]


async def test_a_small_record_overtakes_no_large_one_that_waits(autojump_clock: MockClock) -> None:
    async with driven() as (driver, _, both):
        driver.do(tuple(sending(number) for number in range(MANY)))
        driver.do((sending(MANY, 1),))
        order = [(await both.far.receive()).whisper_id for _ in range(MANY + 1)]
        assert order == [sending(number).whisper for number in range(MANY + 1)]


async def test_a_lane_that_ends_wakes_its_tasks(autojump_clock: MockClock) -> None:
    async with ends() as both:
        lane = Lane(ONE, both.near, lambda send: None)
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
        lane = Lane(ONE, both.near, lambda send: None)
        lane.pause(True)
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lane.readable)
                await wait_all_tasks_blocked()
                both.far.close()


async def test_nothing_is_read_from_a_paused_lane_until_it_is_resumed(autojump_clock: MockClock) -> None:
    async with ends() as both:
        lane = Lane(ONE, both.near, lambda send: None)
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


# The driver.


async def test_actions_brought_about_by_actions_run_behind_those_that_are_there(
    autojump_clock: MockClock,
) -> None:
    async with driven() as (driver, _, _):
        first, second, third = (Count(reason) for reason in (Reason.IDLE, Reason.CLOSED, Reason.FINISHED))
        meanwhile: list[list[Action]] = []

        def bring_about() -> None:
            driver.do((third,))
            meanwhile.append(list(driver.done))

        driver.then[first] = bring_about
        driver.do((first, second))
        assert meanwhile == [[first]], "one action is done before the next one begins"
        assert driver.done == [first, second, third]


async def test_an_action_that_fails_keeps_none_of_the_later_ones_from_being_done(
    autojump_clock: MockClock,
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async with driven() as (driver, _, _):
        first, second = Count(Reason.IDLE), Count(Reason.CLOSED)
        driver.then[first] = fail
        with pytest.raises(ZeroDivisionError):
            driver.do((first, second))
        driver.do(())
        assert driver.done == [first, second]


async def test_a_deadline_that_comes_nearer_wakes_the_one_who_keeps_time(autojump_clock: MockClock) -> None:
    async with driven() as (driver, _, _):
        async with trio.open_nursery() as nursery:
            start = driver.now()
            driver.script.deadline = start + 100
            driver.script.wants = (Count(Reason.IDLE),)
            nursery.start_soon(driver.keep_time)
            await trio.sleep(10)
            assert driver.script.ticks == []
            driver.script.deadline = start + 20
            driver.do(())
            await trio.sleep(15)
            assert driver.script.ticks == [start + 20]
            assert driver.done == [Count(Reason.IDLE)]
            driver.script.deadline = start + 30  # without any deadline it had slept on
            driver.do(())
            await trio.sleep(100)
            assert driver.script.ticks == [start + 20, start + 30]
            nursery.cancel_scope.cancel()


async def test_a_lane_that_is_lost_is_told_of_once_and_takes_nothing_more(autojump_clock: MockClock) -> None:
    async with driven() as (driver, lane, both):
        assert driver.joined_circuits == [both.near]
        both.far.close()
        await both.near.closed()
        driver.lost(lane)
        driver.lost(lane)
        driver.do((sending(1, 1),))
        assert driver.over == [ONE]
        assert driver.script.sent == []
        assert driver.done == [Count(Reason.EXCHANGE_OVER), sending(1, 1)]
        assert driver.joined_circuits == []
        assert driver.lane(ONE) is None


async def test_a_lane_that_the_machine_ends_is_not_told_of(autojump_clock: MockClock) -> None:
    async with driven() as (driver, lane, both):
        driver.end_lane(ONE, Reason.IDLE)
        driver.end_lane(ONE, Reason.CLOSED)
        driver.lost(lane)
        assert driver.over == []
        assert both.near.circuit.failed == Reason.IDLE


async def test_each_lane_has_a_number_of_its_own(autojump_clock: MockClock) -> None:
    async with driven() as (driver, lane, both):
        other = driver.add_lane(both.far, writers=0, connect_seconds=0.5)
        assert (lane.number, other.number) == (1, 2)
        assert (lane.connect_seconds, other.connect_seconds) == (None, 0.5)
        assert driver.lane(other.number) is other
        assert driver.lane(None) is None
        driver.end_lane(other.number, Reason.IDLE)
        assert driver.add_lane(both.near, writers=0).number == 3


async def test_before_and_after_its_time_a_driver_runs_no_task(autojump_clock: MockClock) -> None:
    async with ends() as both:
        driver = Carrier(both.clock)
        ran: list[int] = []

        async def task(number: int) -> None:
            ran.append(number)

        driver.soon(task, 1)
        async with trio.open_nursery() as nursery:
            driver.nursery = nursery
            driver.soon(task, 2)
        driver.nursery = None
        driver.soon(task, 3)
        await wait_all_tasks_blocked()
        assert ran == [2]
