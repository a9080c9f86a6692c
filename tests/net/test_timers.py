"""One heap for all deadlines of a node: who comes up when, and what that costs."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random

import trio
from trio.testing import MockClock

from onionshh.core.base.timers import NEVER, Timers
from onionshh.net.clocks import Clock
from onionshh.net.timers import STEP_SECONDS, Timed, TimerHeap


class Only(enum.IntEnum):
    IT = 0


class Machine:
    """One deadline; `again` so much later once it was due, or never."""

    def __init__(self, name: str, at: float, again: float = NEVER) -> None:
        self.name = name
        self.again = again
        self.looks = 0
        self.timers = Timers(Only)
        self.timers.set(Only.IT, at)
        self.done: list[float] = []

    def put_off(self, at: float) -> None:
        self.timers.at[Only.IT] = at

    def tick(self, now: float) -> None:
        self.looks += 1
        if self.timers.expired(now) is not None:
            self.done.append(now)
            self.timers.set(Only.IT, now + self.again)


class Wakes:
    """Ticks whoever is due, and notes who shared a wake."""

    def __init__(self) -> None:
        self.together: list[list[str]] = []

    def __call__(self, due: Sequence[Timed], now: float) -> None:
        names = []
        for one in due:
            assert isinstance(one, Machine)
            names.append(one.name)
            one.tick(now)
        self.together.append(names)


@asynccontextmanager
async def running(*machines: Machine) -> AsyncIterator[tuple[TimerHeap, Wakes]]:
    heap, wakes = TimerHeap(Clock()), Wakes()
    for machine in machines:
        heap.add(machine)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heap.run, wakes)
        yield heap, wakes
        nursery.cancel_scope.cancel()


def near(found: list[float], *expected: float) -> bool:
    """The same times but for rounding."""
    return len(found) == len(expected) and all(
        abs(one - other) < 1e-6 for one, other in zip(found, expected, strict=True)
    )


async def test_each_acts_at_its_own_time_and_again(autojump_clock: MockClock) -> None:
    first, second = Machine("first", 1.003, 2.0), Machine("second", 1.5)
    async with running(second, first) as (heap, wakes):
        await trio.sleep(4)
        assert near(first.done, 1.003, 3.003)
        assert near(second.done, 1.5)
        assert wakes.together == [["first"], ["second"], ["first"]]
        assert len(heap) == 1


async def test_what_is_put_off_is_looked_at_once_in_vain(autojump_clock: MockClock) -> None:
    machine = Machine("m", 1.0)
    async with running(machine):
        for tenth in range(9):
            await trio.sleep(0.1)
            machine.put_off(tenth / 10 + 5.0)
        await trio.sleep(4)
        assert machine.done == []
        assert machine.looks == 1
        await trio.sleep(1)
        assert near(machine.done, 5.8)


async def test_what_comes_nearer_is_in_time(autojump_clock: MockClock) -> None:
    machine, other = Machine("m", 100.0, 100.0), Machine("other", 50.0)
    async with running(machine, other) as (heap, _):
        await trio.sleep(1)
        machine.timers.set(Only.IT, 2.0)
        assert machine.timers.nearer
        heap.add(machine)
        await trio.sleep(4)
        assert near(machine.done, 2.0)
        await trio.sleep(98)  # its first entry comes up, and is nobody's
        assert machine.looks == 2
        assert near(machine.done, 2.0, 102.0)
        assert len(heap) == 1


async def test_one_that_is_added_while_it_ticks_stands_once(autojump_clock: MockClock) -> None:
    machine = Machine("m", 1.0, 1.0)
    async with running(machine) as (heap, _):
        tick = machine.tick

        def tick_and_add(now: float) -> None:
            tick(now)
            heap.add(machine)

        machine.tick = tick_and_add  # type: ignore[method-assign]
        await trio.sleep(10.5)
        assert machine.looks == len(machine.done) == 10
        assert len(heap) == 1


async def test_whoever_ended_is_forgotten_when_it_comes_up(autojump_clock: MockClock) -> None:
    machine = Machine("m", 5.0)
    async with running(machine) as (heap, _):
        await trio.sleep(1)
        machine.timers.clear_all()
        await trio.sleep(5)
        assert machine.done == []
        assert len(heap) == 0


async def test_thousands_make_a_hundred_wakes_a_second(autojump_clock: MockClock) -> None:
    random = Random(1)
    machines = [Machine(str(number), random.uniform(0, 1), 1.0) for number in range(5000)]
    due = [machine.timers.next() for machine in machines]
    async with running(*machines) as (_, wakes):
        await trio.sleep(1.0 + 2 * STEP_SECONDS)
        assert len(wakes.together) <= 1 / STEP_SECONDS + 4
        late = [machine.done[0] - at for machine, at in zip(machines, due, strict=True)]
        assert min(late) >= 0
        assert max(late) <= STEP_SECONDS + 1e-6


async def test_a_few_share_no_wake(autojump_clock: MockClock) -> None:
    machines = [Machine(str(number), 1.0 + 0.011 * number) for number in range(20)]
    async with running(*machines) as (_, wakes):
        await trio.sleep(2)
        assert [len(names) for names in wakes.together] == [1] * 20


async def test_many_new_ones_put_nobody_off(autojump_clock: MockClock) -> None:
    """Each is the first to be due, and wakes the task that sleeps."""
    machine = Machine("m", 0.5)
    async with running(machine) as (heap, _):
        for number in range(200):
            heap.add(Machine("new", 1000.0 - number))
            await trio.sleep(0.005)
        assert near(machine.done, 0.5)


async def test_a_deadline_in_the_past_is_due_at_once_and_never_turns_the_loop_round(
    autojump_clock: MockClock,
) -> None:
    machine = Machine("m", -5.0, -1.0)  # always due again
    async with running(machine):
        await trio.sleep(1.0)
        assert 90 <= machine.looks <= 101


async def test_thousands_cost_little_however_often_they_are_put_off(autojump_clock: MockClock) -> None:
    random = Random(1)
    machines = [Machine(str(number), random.uniform(1.5, 9.5)) for number in range(2000)]
    async with running(*machines):
        for second in range(1, 51):  # each sends every second, and is never due
            for machine in machines:
                machine.put_off(second + random.uniform(1.5, 9.5))
            await trio.sleep(1)
        assert not any(machine.done for machine in machines)
        assert sum(machine.looks for machine in machines) < 2 * 2000 * 50 / 1.5
