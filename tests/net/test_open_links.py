"""The links that a node has: who is found by relay, what is counted, what a flush sends."""

from __future__ import annotations

import gc

import pytest
import trio
from trio.testing import MockClock

from onionshh.core.link.outbox import Outbox
from onionshh.core.link.port import LinkPort
from onionshh.geometry import BODY
from onionshh.net.link_driver import LinkDriver
from onionshh.net.open_links import LinkStatistics
from onionshh.reasons import Reason
from onionshh.wire.cell import PADDING, pack_cell
from tests.net.test_links import network, port_of
from tests.net.world import dial_as_peer


async def test_each_kind_is_counted(autojump_clock: MockClock) -> None:
    async with network(2) as (world, (relay, other), client):
        await client.build(relay, other)
        await dial_as_peer(world.network.dialer("40.0.0.1"), relay)
        await dial_as_peer(world.network.dialer("40.0.0.1"), relay, open_it=False)
        await trio.testing.wait_all_tasks_blocked()
        numbers = relay.links.statistics()
        assert (numbers.relays, numbers.clients, numbers.opening) == (1, 2, 1)
        assert (numbers.open, numbers.dialling, numbers.addresses) == (3, 0, 2)
        assert numbers.open == relay.links.open_links == len(relay.links.ports())
        assert numbers.cells_sent == relay.links.cells_sent > numbers.frames_sent
        assert numbers.frames_sent == relay.links.frames_sent > 0
        assert numbers.unsent_bytes == 0
        assert numbers.deadlines >= 5  # one a link, and what is done once a second
        theirs = client.links.statistics()
        assert (theirs.relays, theirs.clients, theirs.addresses) == (1, 0, 0)


async def test_what_is_dialled_is_counted_until_it_is_there(autojump_clock: MockClock) -> None:
    async with network(1) as (world, (relay,), client):
        world.silence(relay)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.links.to, relay.row)
            await trio.sleep(1)
            numbers = client.links.statistics()
            assert (numbers.dialling, numbers.opening, numbers.open) == (1, 1, 0)
            nursery.cancel_scope.cancel()
        await trio.sleep(10)
        numbers = client.links.statistics()
        assert (numbers.dialling, numbers.opening, numbers.open) == (0, 0, 0)


async def test_what_left_over_ended_links_stays_counted(autojump_clock: MockClock) -> None:
    async with network(1) as (_, (relay,), client):
        await client.build(relay)
        before: LinkStatistics = client.links.statistics()
        (port,) = client.links.ports()
        client.links.end(port, Reason.LINK_ENDED)
        after = client.links.statistics()
        assert (after.open, after.cells_sent) == (0, before.cells_sent)
        assert client.links.ports() == []
        assert client.links.peers() == []
        assert client.links.open_to(relay.identity) is None


def kept() -> int:
    """How many drivers and ports there are in this process."""
    gc.collect()
    return sum(isinstance(found, (LinkDriver, LinkPort)) for found in gc.get_objects())


async def test_nothing_of_a_link_that_ended_is_kept(autojump_clock: MockClock) -> None:
    before = kept()
    async with network(2) as (world, (relay, other), client):
        await client.build(relay, other)
        peer = await dial_as_peer(world.network.dialer("40.0.0.1"), relay, identity=other.key)
        await peer.read_until(lambda: peer.opened)
        peer.stream.close()
        for host in ("20.1.0.1", relay.row.host, other.row.host):
            world.network.cut(host)
        await trio.sleep(60)  # so long its deadlines may stand in the heap
        assert kept() == before


async def test_a_flush_sends_what_waits_on_every_link_that_was_touched(autojump_clock: MockClock) -> None:
    async with network(1) as (world, (relay,), _):
        peers = [await dial_as_peer(world.network.dialer(f"40.0.0.{number}"), relay) for number in range(3)]
        ports = await port_of(relay, 3)
        sent = relay.links.frames_sent
        for port in ports[:2]:
            for _ in range(5):
                port.send(0, PADDING, bytes(BODY))
        relay.links.flush()
        relay.links.flush()
        assert relay.links.frames_sent == sent + 2
        for peer in peers[:2]:
            await peer.read_until(lambda peer=peer: peer.frames)  # type: ignore[misc]
        assert peers[2].frames == []


async def test_a_fault_in_a_flush_ends_that_link_alone(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with network(1) as (world, (relay,), _):
        for number in range(2):
            await dial_as_peer(world.network.dialer(f"40.0.0.{number}"), relay)
        bad, good = await port_of(relay, 2)

        take = Outbox.take

        def broken(outbox: Outbox, most: int) -> list[bytes]:
            if outbox is bad.outbox:
                raise ZeroDivisionError
            return take(outbox, most)

        monkeypatch.setattr(Outbox, "take", broken)
        for port in (bad, good):
            port.outbox.push(port.control, pack_cell(0, PADDING, bytes(BODY)))
        relay.links.flush()
        left: list[LinkPort] = await port_of(relay, 1)
        assert left == [good]
        assert relay.drops.counts[Reason.INTERNAL_FAULT] == 1
