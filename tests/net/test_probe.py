"""A check of a relay says in words why it failed, and never fails itself (SPEC 8)."""

from __future__ import annotations

from trio.testing import MockClock

from onionshh.core.base.chance import Chance
from onionshh.net.clocks import Clock
from onionshh.net.probe import LinkProbe
from onionshh.wire.descriptor import RelayDescriptor
from tests.net.world import WALL, World
from tests.seeded import seeded


async def test_a_relay_proves_its_keys_or_not(autojump_clock: MockClock) -> None:
    world = World()
    relay = world.relay()

    async def check(onion_key: bytes) -> str | None:
        descriptor = RelayDescriptor(
            identity=relay.identity,
            onion_key=onion_key,
            nickname="x",
            addresses=relay.row.addresses,
            published=WALL,
            bandwidth=1,
        )
        probe = LinkProbe(
            dialer=world.network.dialer("9.9.9.9"),
            clock=Clock(WALL),
            params=world.params,
            chance=Chance(seeded(5)),
        )
        assert (probe.slower_seconds, probe.reaches_onions) == (0.0, False)
        probed = await probe(descriptor)
        assert probed.answered == (() if probed.why else relay.row.addresses)
        return probed.why or None

    async with world.running():
        assert await check(relay.onion.public) is None
        assert await check(bytes(32)) == "the onion key that it published is not valid"
        wrong = await check(b"\t" + bytes(31))
        assert wrong is not None
        assert "does the program there hold these keys" in wrong
