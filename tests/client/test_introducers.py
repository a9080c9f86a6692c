"""Introducers: as many as wanted and to be had, replaced when they die, rotated with overlap (SPEC 11)."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.endpoint import Endpoint
from onionshh.client.node import Node
from onionshh.core.roles import Reply
from onionshh.geometry import INTRODUCE
from onionshh.rendezvous.introducer import Introducer
from onionshh.testing import Network
from onionshh.wire import messages as m
from tests.client.world import Stranger, context_of, hosted, small, until


def standing(node: Node) -> list[str]:
    """Identities of the relays that hold an introducer circuit of this node, hex."""
    return sorted(one.relays[-1] for one in node.circuits() if one.purpose == "introducer")


async def named(visitor: Node, endpoint: Endpoint) -> list[str]:
    """Identities of the introducers in the descriptor on the ring, hex."""
    found = await Stranger(visitor, endpoint.address).find()
    return sorted(entry.relay_id.hex() for entry in found.descriptor.introducers)


async def all_published(net: Network, visitor: Node, endpoint: Endpoint, count: int) -> list[str]:
    """Wait until the ring names so many introducers, all of them running."""
    running = {one.id for one in net.relays}
    with trio.fail_after(300):
        while True:
            names = await named(visitor, endpoint)
            if len(names) == count and set(names) <= running:
                return names
            await trio.sleep(1)


@pytest.mark.parametrize(
    "relays, wanted, expected", [(8, None, 6), (5, None, 5), (5, 1, 1), (8, 20, 8), (4, 2, 2)]
)
async def test_as_many_as_wanted_or_as_there_are(
    relays: int, wanted: int | None, expected: int, autojump_clock: MockClock
) -> None:
    async with small(relays) as net, net.join("visitor") as visitor, net.join() as node:
        identity = net.folder / "identity"
        made = node.host(identity) if wanted is None else node.host(identity, introducers=wanted)
        async with made as endpoint:
            await endpoint.reachable()
            names = await all_published(net, visitor, endpoint, expected)
            assert len(set(names)) == expected
            await until(lambda: standing(node) == names)
            await trio.sleep(30)
            assert standing(node) == names
            entries = (await Stranger(visitor, endpoint.address).find()).descriptor.introducers
            assert len({entry.auth_key for entry in entries}) == expected


@pytest.mark.parametrize("wanted", [0, 21, -1])
async def test_never_none_and_never_more_than_twenty(wanted: int, autojump_clock: MockClock) -> None:
    async with small(3) as net, net.join() as node:
        with pytest.raises(ValueError, match="1 to 20"):
            node.host(net.folder / "identity", introducers=wanted)


async def test_a_dead_introducer_is_replaced_and_the_descriptor_says_so(autojump_clock: MockClock) -> None:
    async with small(9) as net, net.join("visitor") as visitor, hosted(net) as (node, endpoint):
        before = await all_published(net, visitor, endpoint, 2)
        for dead in before:
            for relay in [one for one in net.relays if one.id == dead]:
                await relay.stop()
            now = await all_published(net, visitor, endpoint, 2)
            assert dead not in now
            await until(lambda now=now: standing(node) == now)  # type: ignore[misc]
            async with visitor.contact(endpoint.address) as contact:
                assert (await contact.whisper(b"hello")).status == "delivered"
        assert endpoint.reachability.reachable


async def test_an_introducer_that_refuses_is_given_up_for_another(autojump_clock: MockClock) -> None:
    """Every relay takes one key only: two endpoints must share the relays out among them."""
    async with small(4, introduction_keys=1) as net, net.join("visitor") as visitor:
        async with hosted(net, "one", identity="identity-one") as (one, first):
            async with hosted(net, "two", identity="identity-two") as (two, second):
                with trio.fail_after(300):
                    while len(set(standing(one) + standing(two))) < 4 or len(standing(two)) < 2:
                        await trio.sleep(1)
                for endpoint in (first, second):
                    async with visitor.contact(endpoint.address) as contact:
                        assert (await contact.whisper(b"hello")).status == "delivered"


async def test_rotation_has_no_moment_without(autojump_clock: MockClock) -> None:
    """Every introducer is another after its life, and meanwhile as many stand as are wanted."""
    life = dict(introducer_life_min_seconds=1800, introducer_life_max_seconds=2400)
    async with small(5, interval_seconds=300, **life) as net, net.join("visitor") as visitor:
        async with hosted(net) as (node, endpoint):
            await all_published(net, visitor, endpoint, 2)
            lost: list[str] = []

            async def watch() -> None:
                async for change in endpoint.reachability_changes():
                    if not change.reachable:
                        lost.append(change.why)  # noqa: PERF401

            introducers = endpoint._reachability._introducers
            fewest = len(introducers.entries)

            async def count() -> None:
                nonlocal fewest
                while True:
                    await introducers.changed()
                    fewest = min(fewest, len(introducers.entries))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch)
                nursery.start_soon(count)
                keys: set[bytes] = set()
                stranger = Stranger(visitor, endpoint.address)
                started = trio.current_time()
                while trio.current_time() < started + 2700:
                    await trio.sleep(90)
                    assert 2 <= len(standing(node)) <= 4
                    entries = (await stranger.find()).descriptor.introducers
                    # What the ring names stands, a moment for publishing apart.
                    live = {entry.auth_key for entry in introducers.entries}
                    assert {entry.auth_key for entry in entries} & live
                    keys |= {entry.auth_key for entry in entries}
                nursery.cancel_scope.cancel()
            assert 4 <= len(keys) <= 10  # each of two slots turned at least once, and not at every look
            assert fewest == 2
            assert not lost
            async with visitor.contact(endpoint.address) as contact:
                assert (await contact.whisper(b"hello")).status == "delivered"


async def test_after_a_restart_the_same_are_taken_up_and_what_is_too_many_is_dropped(
    autojump_clock: MockClock,
) -> None:
    async with small(6) as net, net.join("visitor") as visitor:
        async with hosted(net, introducers=4) as (_, endpoint):
            before = await all_published(net, visitor, endpoint, 4)
        async with hosted(net, introducers=4) as (_, endpoint):
            assert await all_published(net, visitor, endpoint, 4) == before
        async with hosted(net, introducers=2) as (_, endpoint):
            fewer = await all_published(net, visitor, endpoint, 2)
            assert set(fewer) < set(before)
        async with hosted(net, introducers=4) as (_, endpoint):
            assert set(fewer) < set(await all_published(net, visitor, endpoint, 4))
            kept = await endpoint._vault.introducers(net.clock.wall())
            assert len(kept) == 4


@pytest.mark.parametrize(
    "body, reason",
    [(b"", "message-size"), (bytes(INTRODUCE), "introduce-auth-key")],
    ids=["empty", "other key"],
)
async def test_an_introducer_that_passes_on_what_no_stranger_can_have_sent_loses_its_circuit(
    body: bytes, reason: str, autojump_clock: MockClock
) -> None:
    """Else it could send us cells without end that do nothing but be seen at our guard."""
    async with small(5) as net, hosted(net) as (node, _):
        (running, *_) = [one for one in net.relays if one.id == standing(node)[0]]
        switch = running.relay.switch
        (role,) = [one for one in switch._roles if isinstance(one, Introducer)]
        (circuit,) = role._key_of
        before = next(one for one in context_of(node).circuits.circuits if one.binding == circuit.binding)
        switch._carry_out((Reply(circuit, m.INTRODUCE2, body),))
        running.relay.links.flush()
        await until(lambda: before.failed is not None)
        assert node.drops()[reason] == 1
        await until(lambda: len(standing(node)) == 2)  # and another circuit in its place
