"""Which relays answer: rounds and newcomers, how many at once, what a fault of the probe's means, and what is
told of addresses that may be a stranger's."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.core.base.params import Params
from onionshh.directory.checks import ELSEWHERE_AT_ONCE, PROBES_AT_ONCE, Checks
from onionshh.directory.own_clock import OwnClock
from onionshh.directory.registry import Registry, Verdict
from onionshh.net.clocks import Clock
from onionshh.net.tcp import ONLY_TOR
from onionshh.wire.descriptor import Address
from tests.directory.world import WALL, Prober, descriptor, one_machine


class World:
    """A registry, a probe and the checks between them."""

    def __init__(self, relays: int = 0, params: Params | None = None) -> None:
        params = params or one_machine()
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
        await self.settle_newcomers()
        await self.checks.check_everyone()
        self.prober.asked.clear()

    async def settle_newcomers(self) -> None:
        """Everyone has answered."""
        for relay in self.registry.take_fresh():
            self.registry.checked(relay, None, WALL)
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
    assert world.registry.status(descriptor(1).identity, WALL).word != "failing"


STRANGER, SERVICE = Address.of("2600::1", 22), Address.of("a2" * 28 + ".onion", 9001)


async def knocked_at_a_stranger(prober: Prober) -> tuple[float, dict[Address, str]]:
    """A relay at work names two more addresses. After how long the directory is done with them, and what it
    says of them."""
    world = World(params=Params())
    world.checks = Checks(world.registry, prober, OwnClock(Clock(WALL), by_address=True))
    relay = descriptor(1, addresses=(*descriptor(1).addresses, STRANGER, SERVICE))
    assert world.registry.submit(relay, relay.host, WALL).verdict is Verdict.ACCEPTED
    for fresh in world.registry.take_fresh():
        world.registry.checked(fresh, None, WALL)
    began = trio.current_time()
    await world.checks.check_everyone()
    entry = world.registry.entry(relay.identity)
    assert entry is not None
    return trio.current_time() - began, dict(entry.missed)


async def test_a_strangers_port_is_told_in_the_same_words_after_the_same_time(
    autojump_clock: MockClock,
) -> None:
    """Closed, silent, or another program's: nothing tells them apart."""
    there = str(STRANGER)
    refused, other = Prober(dead={there: "nothing listens"}), Prober(dead={there: "another program"})
    for prober in (refused, other):
        prober.dead[str(SERVICE)] = ONLY_TOR
    said = [await knocked_at_a_stranger(prober) for prober in (refused, other, Prober(silent={there}))]
    assert {seconds for seconds, _ in said} == {11.0}
    words = f"it did not answer at {STRANGER}"
    assert said[0][1] == said[1][1] == {STRANGER: words, SERVICE: ONLY_TOR}
    assert said[2][1][STRANGER] == words
    seconds, missed = await knocked_at_a_stranger(Prober(dead={str(SERVICE): ONLY_TOR}))
    assert seconds < 1
    assert missed == {SERVICE: ONLY_TOR}


async def test_strangers_hold_up_no_round_and_no_newcomer(autojump_clock: MockClock) -> None:
    """All their ports are silent, and more are named than can be asked at once."""
    world, count = World(params=Params()), 3 * ELSEWHERE_AT_ONCE
    for number in range(count):
        names = (*descriptor(number).addresses, Address.of(f"2600:{number:x}::1", 22))
        world.registry.submit(descriptor(number, addresses=names), names[0].host, WALL)
        world.prober.silent.add(str(names[1]))
    await world.settle_newcomers()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.checks.check_everyone)
        await trio.sleep(1)
        assert not world.checks.round_going
        assert world.prober.at_once == ELSEWHERE_AT_ONCE
        await world.checks.check_everyone()  # asks all at their own addresses, and nobody elsewhere
        assert trio.current_time() < 2
        assert [world.prober.asked[descriptor(number).address] for number in range(count)] == [1] * count
        assert world.prober.at_once == ELSEWHERE_AT_ONCE
    assert max(world.prober.asked.values()) == 1
    assert trio.current_time() == pytest.approx(3 * 11, abs=1)


async def test_a_fault_of_the_probe_elsewhere_says_nothing(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    _, missed = await knocked_at_a_stranger(Prober(broken={str(STRANGER)}))
    assert missed == {}
    assert "a check failed inside the directory" in caplog.text
