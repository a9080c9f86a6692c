"""A driver of a machine that is written out here, over a lane of real circuits.

The machine is a Sender's or Receiver's place: it says what is to be done, and when it wants to be woken.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from onionshh.client.delivery.driver import Driver
from onionshh.client.delivery.lanes import Lane, LaneSet
from onionshh.core.delivery.actions import Action, Actions, Count, LaneId, Send
from onionshh.ids import WhisperId
from onionshh.net.clocks import Clock
from onionshh.reasons import Reason
from tests.client.delivery.test_lanes import MANY, ONE, Ends, User, ends, sending


class Script:
    """A machine: its deadline, what it wants done then, and what it was told."""

    def __init__(self) -> None:
        self.deadline = inf
        self.wants: Actions = ()
        self.ticks: list[float] = []
        self.sent: list[WhisperId | None] = []
        self.used: list[LaneId] = []

    def tick(self, now: float) -> Actions:
        self.ticks.append(now)
        self.deadline = inf
        return self.wants

    def next_deadline(self) -> float:
        return self.deadline

    def lane_sent(self, lane: LaneId, whisper: WhisperId | None, now: float) -> Actions:
        self.sent.append(whisper)
        return ()

    def lane_used(self, lane: LaneId, now: float) -> Actions:
        self.used.append(lane)
        return ()


class Carrier(Driver):
    """Sends what is to be sent and notes the rest; `then` is what carrying out an action brings about."""

    def __init__(self, clock: Clock, lanes: LaneSet) -> None:
        self.script = Script()
        super().__init__(self.script, clock, lanes)
        self.done: list[Action] = []
        self.over: list[LaneId] = []
        self.then: dict[Action, Callable[[], None]] = {}

    def carry_out(self, action: Action) -> None:
        self.done.append(action)
        if isinstance(action, Send):
            self.send(action)
        self.then.pop(action, lambda: None)()

    def lane_gone(self, number: LaneId) -> None:
        self.over.append(number)
        self.do((Count(Reason.EXCHANGE_OVER),))


@asynccontextmanager
async def driven(writers: int = 1) -> AsyncIterator[tuple[Carrier, Lane, Ends]]:
    """A driver with one lane, which so many tasks write to."""
    async with ends() as both, trio.open_nursery() as nursery:
        lanes = LaneSet()
        lanes.nursery = nursery
        driver = Carrier(both.clock, lanes)
        yield driver, lanes.add(both.near, writers=writers), both
        nursery.cancel_scope.cancel()


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


async def test_what_has_left_is_told_to_the_machine_and_that_it_was_sent_to_the_others(
    autojump_clock: MockClock,
) -> None:
    async with driven() as (driver, _, both):
        other = User()
        driver.lanes.users.append(other)
        driver.do(tuple(sending(number) for number in range(MANY)))
        await wait_all_tasks_blocked()
        assert 0 < len(driver.script.sent) < MANY
        for _ in range(MANY):
            await both.far.receive()
        await wait_all_tasks_blocked()
        assert len(driver.script.sent) == MANY
        assert other.used == [ONE] * MANY
        assert driver.script.used == []
        driver.lanes.used(ONE, other)
        assert driver.script.used == [ONE]


async def test_what_is_sent_over_a_lane_that_has_ended_is_dropped(autojump_clock: MockClock) -> None:
    async with driven() as (driver, lane, _):
        driver.lanes.lost(lane)
        driver.do((sending(1, 1),))
        assert driver.script.sent == []
        assert driver.over == [ONE]
        assert driver.done == [Count(Reason.EXCHANGE_OVER), sending(1, 1)]


async def test_a_driver_that_uses_no_lanes_any_more_is_told_of_none(autojump_clock: MockClock) -> None:
    async with driven() as (driver, lane, _):
        driver.let_go_of_lanes()
        driver.let_go_of_lanes()
        driver.lanes.lost(lane)
        assert driver.over == []
