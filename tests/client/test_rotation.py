"""Thirty hours: every key, period and introducer turns, and the endpoint stays reachable (SPEC 8, 10, 11)."""

from __future__ import annotations

import pytest
import trio

import onionshh
from onionshh import testing
from onionshh.client.reach.finder import find
from onionshh.crypto.identity import decode_address_untrusted
from onionshh.net import link_loop
from onionshh.wire.endpoint import IntroducerEntry
from tests.client.world import QUIET
from tests.inside import inside

HOUR = 3600
HOURS = 30
# 10:00 UTC: a change of period at 24:00 lies inside, and its next random value at 12:00.
WALL = 1_790_000_000 // (24 * HOUR) * 24 * HOUR + 10 * HOUR

PARAMS = {
    "interval_seconds": HOUR,
    "valid_seconds": 3 * HOUR,
    **QUIET,
}


async def echo(endpoint: onionshh.Endpoint) -> None:
    async for whisper in endpoint:
        await whisper.reply(whisper.body)


async def test_thirty_hours(autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_loop, "TICK_SECONDS", 20.0)  # or ticks would take most of the time
    async with (
        testing.network(6, wall_start=WALL, seed=1, params=PARAMS) as net,
        net.join("host") as host,
        net.join("visitor") as visitor,
        net.join("late") as late,
        host.host(
            net.folder / "identity", inbox=False
        ) as endpoint,  # or it would read it for most of the time
        trio.open_nursery() as nursery,
    ):
        await endpoint.reachable()
        nursery.start_soon(echo, endpoint)
        changes: list[onionshh.Reachability] = []

        async def watch() -> None:
            async for change in endpoint.reachability_changes():
                changes.append(change)  # noqa: PERF401 - it never ends

        nursery.start_soon(watch)
        nursery.start_soon(_hold_back, net, late)
        start = trio.current_time()
        onion_keys: dict[str, set[bytes]] = {}
        introducers: set[bytes] = set()
        periods: set[int] = set()
        consensuses: set[int] = set()
        old_asked = 0
        while trio.current_time() - start < HOURS * HOUR:
            await trio.sleep(0.75 * HOUR)
            for relay in net.relays:
                onion_keys.setdefault(relay.id, set()).add(relay.relay.keys.onion_key.public)
            view = inside(host).view
            periods.add(view.period)
            consensuses.add(view.consensus.valid_after)
            introducers |= {one.auth_key for one in await _introducers(visitor, endpoint.address)}
            async with visitor.contact(endpoint.address) as contact:
                assert await contact.ask(b"fresh consensus") == b"fresh consensus"
            newest = net.authority.consensus
            assert newest is not None
            if inside(late).view.consensus.valid_after < newest.valid_after:
                old_asked += 1
            async with late.contact(endpoint.address) as contact:
                assert await contact.ask(b"old consensus") == b"old consensus"
        assert [one.reachable for one in changes] == [True]  # gained once, never lost
        assert old_asked > HOURS // 2  # most of its visits were made with a consensus one interval old
        assert len(consensuses) >= HOURS - 1
        assert len(periods) == 2
        assert all(len(keys) == 2 for keys in onion_keys.values())
        assert len(introducers) >= 12  # six, and after 18 to 24 hours six others
        nursery.cancel_scope.cancel()


async def _introducers(node: onionshh.Node, address: str) -> tuple[IntroducerEntry, ...]:
    found = await find(inside(node), decode_address_untrusted(address))
    return found.descriptor.introducers


async def _hold_back(net: testing.Network, node: onionshh.Node) -> None:
    """From now on this node is handed the consensus before the newest, in place of the newest."""
    documents = [net.authority.document]

    async def one_before(valid_after: int) -> bytes:
        await trio.lowlevel.checkpoint()
        return documents[-2] if len(documents) > 1 else b""

    inside(node).keeper._over_circuit = one_before
    while True:
        await trio.sleep(30)
        if net.authority.document != documents[-1]:
            documents.append(net.authority.document)
