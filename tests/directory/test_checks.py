"""Which relays answer: rounds and newcomers, how many at once, and what a fault of the probe's means."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.directory.checks import PROBES_AT_ONCE, Checks
from onionshh.directory.own_clock import OwnClock
from onionshh.directory.registry import Registry, Verdict
from onionshh.net.clocks import Clock
from tests.directory.world import WALL, Prober, descriptor, one_machine


class World:
    """A registry, a probe and the checks between them."""

    def __init__(self, relays: int = 0) -> None:
        params = one_machine()
        self.registry = Registry(params)
        self.prober = Prober()
        self.checks = Checks(self.registry, self.prober, OwnClock(Clock(WALL), by_address=False))
        for number in range(1, relays + 1):
            self.heard(number)

    def heard(self, number: int) -> str:
        """It posts its descriptor; its address."""
        relay = descriptor(number, host="127.0.0.1", port=9000 + number)
        assert self.registry.submit(relay, "127.0.0.1", WALL).verdict is Verdict.ACCEPTED
        return relay.address

    async def settle(self) -> None:
        """Everyone has answered, and an interval is over: the next round asks all."""
        for relay in self.registry.take_fresh():
            self.registry.checked(relay, None, WALL)
        await self.checks.check_everyone()
        self.prober.asked.clear()

    def listed(self) -> int:
        return len(self.registry.listed())


async def test_newcomers_are_checked_at_once(autojump_clock: MockClock) -> None:
    world = World()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.checks.check_newcomers)
        for number in (1, 2):
            world.heard(number)
            world.checks.look_at_newcomers()
            await trio.sleep(1)
            assert world.listed() == number
        nursery.cancel_scope.cancel()
    assert set(world.prober.asked.values()) == {1}


async def test_a_round_checks_everyone_and_only_so_many_at_once(autojump_clock: MockClock) -> None:
    world = World(2 * PROBES_AT_ONCE)
    await world.settle()
    await world.checks.check_everyone()
    assert sorted(world.prober.asked.values()) == [1] * 2 * PROBES_AT_ONCE
    assert world.prober.most_at_once == PROBES_AT_ONCE
    assert not world.checks.round_going


async def test_one_round_at_a_time(autojump_clock: MockClock) -> None:
    world = World(1)
    world.prober.silent = {world.heard(2)}
    await world.settle()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.checks.check_everyone)
        await trio.testing.wait_all_tasks_blocked()
        going = world.checks.round_going
        await world.checks.check_everyone()  # returns at once, and asks nobody
        assert going
    assert sorted(world.prober.asked.values()) == [1, 1]


async def test_a_fault_of_the_probe_says_nothing_about_the_relay(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    world.prober.broken = {world.heard(1)}
    await world.settle()
    await world.checks.check_everyone()
    assert "a check failed inside the directory" in caplog.text
    assert world.listed() == 1
    assert world.registry.status(descriptor(1).identity).word != "failing"
