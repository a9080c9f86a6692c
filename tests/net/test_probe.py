"""A check of a relay says in words why it failed, and never fails itself (SPEC 8)."""

from __future__ import annotations

from trio.testing import MockClock

from onionshh.core.base.chance import Chance
from onionshh.net.clocks import Clock
from onionshh.net.probe import LinkProbe
from onionshh.net.tcp import ONLY_TOR
from onionshh.wire.descriptor import ONION, Address, RelayDescriptor
from tests.net.world import WALL, World
from tests.seeded import seeded


async def test_a_relay_proves_its_keys_or_not(autojump_clock: MockClock) -> None:
    world = World()
    relay = world.relay()

    async def check(onion_key: bytes, addresses: tuple[Address, ...] = relay.row.addresses) -> str | None:
        descriptor = RelayDescriptor(
            identity=relay.identity,
            onion_key=onion_key,
            nickname="x",
            addresses=addresses,
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
        untried = {address: ONLY_TOR for address in addresses if address.kind == ONION}
        missed = dict.fromkeys(relay.row.addresses, probed.why) if probed.why else {}
        assert dict(probed.missed) == missed | untried
        return probed.why or None

    async with world.running():
        assert await check(relay.onion.public) is None
        service = Address.of("a2" * 28 + ".onion", 9001)
        assert await check(relay.onion.public, (*relay.row.addresses, service)) is None
        assert await check(bytes(32)) == "the onion key that it published is not valid"
        wrong = await check(b"\t" + bytes(31))
        assert wrong is not None
        assert "does the program there hold these keys" in wrong
