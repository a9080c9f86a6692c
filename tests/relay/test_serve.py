"""A whole relay: what it needs to start, what roles get to know of it, what it tells its operator."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from onionshh import testing
from onionshh.config import Authority
from onionshh.core.base.chance import Chance
from onionshh.core.base.params import Params
from onionshh.core.roles import Role
from onionshh.errors import ClockWrong, NoDirectory
from onionshh.ids import RelayId
from onionshh.net.authority_client import DirectorySource, DirectoryUnreachable
from onionshh.net.clocks import Clock
from onionshh.net.store import DataDirectory
from onionshh.reasons import Reason
from onionshh.relay.mirror import Mirror
from onionshh.relay.publish import About
from onionshh.relay.serve import Mounting, Relay
from simulations.world import Parrot
from tests.client.world import WrongClock
from tests.seeded import seeded

WALL = 1_700_000_000
HOST = "10.9.0.1"
QUICK = {"interval_seconds": 60, "valid_seconds": 180, "onion_key_seconds": 900}
"""An hour has few consensuses then, and a key its time in a quarter."""


class NoAnswer:
    """A directory that nobody reaches."""

    async def consensus(self, authority: Authority) -> bytes:
        raise DirectoryUnreachable("connection refused")

    async def publish(self, authority: Authority, descriptor: bytes) -> str | None:
        raise DirectoryUnreachable("connection refused")

    async def status(self, authority: Authority, relay: RelayId) -> dict[str, object]:
        raise DirectoryUnreachable("connection refused")

    def date(self, authority: Authority) -> int | None:
        return None


class Falling:
    """A directory that is there until it is `down`."""

    def __init__(self, there: DirectorySource) -> None:
        self._there = there
        self.down = False

    def _now(self) -> DirectorySource:
        return NoAnswer() if self.down else self._there

    async def consensus(self, authority: Authority) -> bytes:
        return await self._now().consensus(authority)

    async def publish(self, authority: Authority, descriptor: bytes) -> str | None:
        return await self._now().publish(authority, descriptor)

    async def status(self, authority: Authority, relay: RelayId) -> dict[str, object]:
        return await self._now().status(authority, relay)

    def date(self, authority: Authority) -> int | None:
        return self._now().date(authority)


class Operator:
    """One more relay of a network, and what it said to whoever runs it."""

    def __init__(
        self, net: testing.Network, *, source: DirectorySource | None = None, clock: Clock | None = None
    ) -> None:
        self.said: list[str] = []
        self.mountings: list[Mounting] = []
        self.parrot = Parrot()
        assert net.memory is not None
        listener = net.memory.listen(HOST)
        self.relay = Relay(
            network=net.file,
            source=source or net.source(HOST),
            dialer=net.dialer(HOST),
            listeners=[listener],
            folder=DataDirectory(net.folder / "mine"),
            about=About("mine", *listener.address),
            clock=clock or net.clock,
            chance=Chance(seeded(1)),
            mount=self._mount,
            say=self.said.append,
        )

    def _mount(self, mounting: Mounting) -> Sequence[Role]:
        self.mountings.append(mounting)
        return (self.parrot,)


async def test_a_relay_starts_with_the_consensus_and_is_listed(autojump_clock: MockClock) -> None:
    async with (
        testing.network(3, params={"queue_cap": 1777}, wall_start=WALL, seed=1) as net,
        trio.open_nursery() as nursery,
    ):
        mine = Operator(net)
        relay, (mounting,) = mine.relay, mine.mountings
        assert relay.params() == Params()
        assert mounting.view() is None
        await nursery.start(lambda task_status: relay.run(task_status=task_status))
        assert relay.params().queue_cap == mounting.params().queue_cap == 1777
        assert mounting.relay_id == relay.keys.relay_id
        with trio.fail_after(120):
            while "listed" not in mine.said:
                await trio.sleep(1)
        assert mounting.view() is relay.keeper.view
        mirror, parrot = relay.switch.control.mounted.roles
        assert isinstance(mirror, Mirror)
        assert parrot is mine.parrot
        assert mine.parrot.ticks  # roles hear of the time that a consensus has confirmed
        assert WALL <= mine.parrot.ticks[-1][1] <= net.clock.wall()
        nursery.cancel_scope.cancel()


async def test_without_a_directory_it_does_not_start(autojump_clock: MockClock) -> None:
    async with testing.network(3, wall_start=WALL, seed=1) as net:
        with pytest.raises(NoDirectory):
            await Operator(net, source=NoAnswer()).relay.run()


async def test_with_a_wrong_clock_it_does_not_start_and_the_directory_hears_why(
    autojump_clock: MockClock,
) -> None:
    async with testing.network(3, wall_start=WALL, seed=1) as net:
        relay = Operator(net, clock=Clock(WALL + 86_400)).relay
        with pytest.raises(ClockWrong):
            await relay.run()
        assert relay.publisher.published >= WALL + 86_400


async def test_its_numbers_are_of_this_moment_and_nothing_tells_who(autojump_clock: MockClock) -> None:
    async with (
        testing.network(3, params=QUICK, wall_start=WALL, seed=1) as net,
        trio.open_nursery() as nursery,
    ):
        mine = Operator(net)
        before = mine.relay.statistics()
        assert (before.circuits, before.consensus_age_seconds, before.drops) == (0, None, {})
        assert set(before.circuits_by_stage.values()) == {0}
        assert (before.handshakes_served, before.handshakes_refused, before.listed) == (0, 0, False)
        await nursery.start(lambda task_status: mine.relay.run(task_status=task_status))
        mine.relay.drops.count(Reason.UNKNOWN_CIRCUIT, 3)
        await trio.sleep(60)
        numbers = mine.relay.statistics()
        assert numbers.consensus_age_seconds is not None
        assert 0 <= numbers.consensus_age_seconds <= 60
        assert numbers.drops["unknown-circuit"] == 3
        assert sum(numbers.circuits_by_stage.values()) == numbers.circuits
        assert HOST not in repr(numbers)
        assert mine.relay.keys.relay_id.hex()[:8] not in repr(numbers)
        nursery.cancel_scope.cancel()


async def test_it_says_why_others_do_not_use_it(autojump_clock: MockClock) -> None:
    async with (
        testing.network(3, params=QUICK, wall_start=WALL, seed=1) as net,
        trio.open_nursery() as nursery,
    ):
        relay = Operator(net).relay
        assert relay.why_not_well() == "This relay has no consensus yet."
        await nursery.start(lambda task_status: relay.run(task_status=task_status))
        assert relay.why_not_well().startswith("The consensus does not list this relay")
        with trio.fail_after(600):
            while relay.why_not_well():
                await trio.sleep(1)
        assert relay.statistics().listed
        nursery.cancel_scope.cancel()


async def test_a_clock_that_keeps_it_from_the_next_consensus_is_named(autojump_clock: MockClock) -> None:
    async with (
        testing.network(3, params=QUICK, wall_start=WALL, seed=1) as net,
        trio.open_nursery() as nursery,
    ):
        clock = WrongClock(net)
        relay = Operator(net, clock=clock).relay
        await nursery.start(lambda task_status: relay.run(task_status=task_status))
        clock.shift = -86_400
        await trio.sleep(QUICK["valid_seconds"] + 600)
        assert relay.why_not_well() == (
            "The consensus that this relay has is over, and its clock and the network's differ."
        )
        nursery.cancel_scope.cancel()


async def test_a_consensus_that_is_over_is_named(autojump_clock: MockClock) -> None:
    async with (
        testing.network(3, params=QUICK, wall_start=WALL, seed=1) as net,
        trio.open_nursery() as nursery,
    ):
        source = Falling(net.source(HOST))
        relay = Operator(net, source=source).relay
        await nursery.start(lambda task_status: relay.run(task_status=task_status))
        with trio.fail_after(600):
            while relay.why_not_well():
                await trio.sleep(1)
        source.down = True
        await trio.sleep(QUICK["valid_seconds"] + 120)
        assert relay.why_not_well() == (
            "The consensus that this relay has is over, and no newer one could be had."
        )
        nursery.cancel_scope.cancel()


async def test_a_key_that_has_had_its_time_is_turned_and_said_at_once(autojump_clock: MockClock) -> None:
    """The directory holds the new one long before the next word would be due."""
    async with (
        testing.network(3, params=QUICK, wall_start=WALL, seed=1) as net,
        trio.open_nursery() as nursery,
    ):
        mine = Operator(net)
        keys = mine.relay.keys
        await nursery.start(lambda task_status: mine.relay.run(task_status=task_status))
        await trio.sleep(60)
        first, said = keys.onion_key, mine.relay.publisher.published
        life = mine.relay.params().onion_key_seconds
        with trio.fail_after(life + 1800):
            while keys.onion_key == first:
                await trio.sleep(10)
        assert keys.onion_keys() == (keys.onion_key, first)
        await trio.sleep(1)
        assert mine.relay.publisher.published > said
        assert net.clock.wall() - mine.relay.publisher.published < 30
        nursery.cancel_scope.cancel()
