"""Introducers: as many as wanted and to be had, replaced when they die, rotated with overlap (SPEC 11)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.endpoint import Endpoint
from onionshh.client.hosting.introducers import IN_HAND_MOST, Introducers, LookedAt
from onionshh.client.hosting.key_store import KEY_MIGRATIONS, KeyStore
from onionshh.client.node import Node
from onionshh.core.endpoint.introducers import JUNK_MOST
from onionshh.crypto.identity import IdentityKeys
from onionshh.geometry import INTRODUCE, KEY, RESUME_SEALED
from onionshh.net.database import Database
from onionshh.net.store import run_inline
from onionshh.reasons import Reason
from onionshh.relay import control as control_file
from onionshh.testing import Network
from onionshh.wire import messages as m
from tests.client.hostile import HostileIntroducer, by_id, junk, mount
from tests.client.world import Stranger, WrongClock, hosted, joined, small, until
from tests.inside import inside, parts


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

            introducers = parts(endpoint).introducers
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
            kept = await parts(endpoint).key_store.introducers(net.clock.wall())
            assert len(kept) == 4


@asynccontextmanager
async def held(
    node: Node, wanted: int, introduced: Callable[[bytes, bytes, LookedAt], Awaitable[None]]
) -> AsyncIterator[Introducers]:
    """Introducers of nobody's endpoint, and what is done with what they bring."""
    database = Database(":memory:", KEY_MIGRATIONS, run_inline)
    context = inside(node)
    key_store = KeyStore(database, context.chance.bytes, context.params.replay_log_entries)
    introducers = Introducers(context, key_store, wanted, introduced)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(introducers.run)
        await until(lambda: introducers.complete)
        yield introducers
        nursery.cancel_scope.cancel()
    database.close()


def take_over(node: Node, introducers: Introducers, net: Network, **hostile: Any) -> str:
    """The first introducer becomes hostile, and has to be established anew; its identity, hex."""
    bad = by_id(net, introducers.entries[0].relay_id.hex())
    mount(bad, HostileIntroducer(bad, **hostile))
    end_circuits(node, bad.id)
    return bad.id


def end_circuits(node: Node, identity: str) -> None:
    """End those that hold this introducer."""
    for circuit in [one for one in inside(node).circuits.circuits if one.purpose == "introducer"]:
        if circuit.path[-1].identity.hex() == identity:
            circuit.close(Reason.CLOSED)


@pytest.mark.parametrize(
    "body, reason",
    [
        (b"", Reason.MESSAGE_SIZE),
        (bytes(INTRODUCE), Reason.INTRODUCE_KIND),
        (junk(bytes(KEY), 0), Reason.INTRODUCE_AUTH_KEY),
        (m.Resume(bytes(KEY), b"", b"", bytes(RESUME_SEALED)).encode(), Reason.INTRODUCE_AUTH_KEY),
    ],
    ids=["empty", "no kind", "other key", "other key to resume"],
)
async def test_an_introducer_that_passes_on_what_no_stranger_can_have_sent_loses_its_circuit(
    body: bytes, reason: Reason, autojump_clock: MockClock
) -> None:
    """Else it could send us cells without end that do nothing but be seen at our guard."""
    async with small(5) as net, hosted(net) as (node, endpoint):
        introducers = parts(endpoint).introducers
        await until(lambda: introducers.complete)
        bad = take_over(node, introducers, net, brings=body)
        await until(lambda: reason in node.drops())
        assert node.drops()[reason] == 1
        await until(lambda: bad in standing(node) and len(standing(node)) == 2)  # another circuit to it


@pytest.mark.parametrize("rate", [0, 25])
async def test_an_introducer_that_invents_is_given_up_and_shunned(
    rate: int,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(control_file, "REPLIES_WAITING_MOST", 10**6)  # a hostile relay ends nothing for it
    async with small(6, interval_seconds=300, introduce_rate=rate) as net, net.join("visitor") as visitor:
        async with hosted(net) as (node, endpoint):
            introducers = parts(endpoint).introducers
            await until(lambda: introducers.complete)
            bad = take_over(node, introducers, net, invents=1490)
            # Which of the two comes first depends on how fast its junk is opened.
            await until(
                lambda: bool({Reason.INTRODUCER_FLOODS, Reason.INTRODUCER_JUNK} & set(node.drops())), 120
            )
            await until(lambda: introducers.complete and bad not in standing(node))
            lines = [one.getMessage() for one in caplog.records if "introducer" in one.getMessage()]
            assert len(lines) == 1
            assert not any(secret in lines[0] for secret in (bad[:8], endpoint.address))
            for _ in range(3):
                await trio.sleep(1200)
                assert bad not in standing(node)
            async with visitor.contact(endpoint.address) as contact:
                assert (await contact.whisper(b"hello")).status == "delivered"
            # What was opened in vain is bounded, whatever it sent.
            assert sum(node.drops().get(one, 0) for one in (Reason.SEAL_OPEN, Reason.INTRODUCE_PERIOD)) < 1500


async def test_as_fast_as_the_consensus_allows_is_no_flood(autojump_clock: MockClock) -> None:
    async def opens(body: bytes, auth_key: bytes, looked_at: LookedAt) -> None:
        await trio.sleep(0.5)
        looked_at(True)

    async with small(6, interval_seconds=300, introduce_rate=25) as net, net.join("host") as node:
        async with held(node, 2, opens) as introducers:
            bad = take_over(node, introducers, net, invents=25)
            await trio.sleep(200)
            assert bad in standing(node)
            assert Reason.INTRODUCER_FLOODS not in node.drops()


async def test_an_introducer_that_brings_much_junk_is_replaced(autojump_clock: MockClock) -> None:
    async def unopened(body: bytes, auth_key: bytes, looked_at: LookedAt) -> None:
        await trio.lowlevel.checkpoint()
        looked_at(False)

    async with small(8, interval_seconds=300) as net, net.join("host") as node:
        async with held(node, 2, unopened) as introducers:
            bad = take_over(node, introducers, net, invents=20)
            await until(lambda: Reason.INTRODUCER_JUNK in node.drops(), JUNK_MOST / 20 + 10)
            await until(lambda: introducers.complete and bad not in standing(node))
            assert node.drops()[Reason.INTRODUCER_JUNK] == 1


async def test_one_introducers_flood_does_not_keep_anothers_introductions_waiting(
    autojump_clock: MockClock,
) -> None:
    at_work: list[bytes] = []

    async def introduced(body: bytes, auth_key: bytes, looked_at: LookedAt) -> None:
        at_work.append(auth_key)
        if auth_key == introducers.entries[0].auth_key:
            await trio.sleep_forever()
        looked_at(True)

    async with small(5) as net, net.join("visitor") as visitor, net.join("host") as node:
        async with held(node, 2, introduced) as introducers:
            crowded, other = introducers.entries
            stranger = Stranger(visitor, IdentityKeys.generate(inside(visitor).chance.bytes).address)
            statuses = []
            for number in range(IN_HAND_MOST + 150):
                message = junk(crowded.auth_key, number)
                statuses.append(await stranger.send(crowded, message))
            assert at_work.count(crowded.auth_key) == IN_HAND_MOST // 2
            assert statuses[0] == m.OK
            assert statuses[-1] == m.BUSY, "the introducer says so, and visitors go to another"
            assert await stranger.send(other, junk(other.auth_key, 0)) == m.OK
            await trio.sleep(1)
            assert at_work[-1] == other.auth_key


async def test_an_introducer_that_ends_its_circuits_is_given_up(autojump_clock: MockClock) -> None:
    """Each time at once after it was established: that is no introducer."""
    async with small(6, interval_seconds=300) as net, hosted(net) as (node, endpoint):
        introducers, key_store = parts(endpoint).introducers, parts(endpoint).key_store
        await until(lambda: introducers.complete)
        bad = introducers.entries[0]

        async def end_them() -> None:
            while True:
                await trio.sleep(0.5)
                end_circuits(node, bad.relay_id.hex())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_them)
            with trio.fail_after(60):
                while bad.auth_key in {one.key.public for one in await key_store.introducers(0)}:
                    await trio.sleep(1)
            nursery.cancel_scope.cancel()


async def test_what_was_given_up_is_not_taken_again(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=1800) as net, hosted(net) as (node, endpoint):
        introducers = parts(endpoint).introducers
        await until(lambda: introducers.complete)
        given_up = introducers.entries[0]
        introducers.failed(given_up.auth_key, "refuses introductions")
        await until(lambda: introducers.complete)
        for _ in range(3):  # the hours themselves are a matter of the pure machine
            await trio.sleep(900)
            assert given_up.relay_id not in {one.relay_id for one in introducers.entries}
        assert node.drops()[Reason.INTRODUCER_FAILED] == 1


async def test_an_introducer_that_left_the_network_is_replaced_though_its_circuit_stands(
    autojump_clock: MockClock,
) -> None:
    """Visitors do not find it in their consensus."""
    async with small(7) as net, hosted(net) as (node, endpoint):
        assert net.memory is not None
        introducers = parts(endpoint).introducers
        await until(lambda: introducers.complete)
        gone = by_id(net, introducers.entries[0].relay_id.hex())
        for host, port in list(net.memory.listeners):
            if host == gone.host:  # the directory cannot reach it any more, and what stands stays
                del net.memory.listeners[host, port]
        relay = bytes.fromhex(gone.id)
        await until(lambda: inside(node).view.any_relay(relay) is None, 600)
        await until(lambda: gone.id not in standing(node), 3)
        assert node.drops()[Reason.INTRODUCER_LEFT] == 1
        await until(lambda: introducers.complete, 60)


async def test_lives_are_told_by_the_network_s_time(autojump_clock: MockClock) -> None:
    """A clock that is years off when introducers are drawn or taken up makes none stay or go."""
    async with small(6, interval_seconds=900) as net:
        clock = WrongClock(net)

        async def seen(years: int, wanted: int) -> dict[bytes, float]:
            """The introducers of an endpoint whose clock is so far off, and what is left of their lives."""
            clock.shift = years * 365 * 86400
            await trio.sleep(20)  # until the jump is believed
            async with node.host(net.folder / "identity", introducers=wanted) as endpoint:
                introducers = parts(endpoint).introducers
                await until(lambda: introducers.complete)
                return {one.relay_id: one.expiry - net.clock.wall() for one in introducers.entries}

        async with joined(net, "host", clock) as node:
            first = await seen(0, 2)
            for years in (20, -20, 0):
                again = await seen(years, 2)
                assert set(again) == set(first)
                assert all(15 * 3600 < life <= 24 * 3600 for life in again.values())
            for years, wanted in ((20, 3), (-20, 4)):
                drawn = await seen(years, wanted)
                assert len(drawn) == wanted
                assert set(await seen(0, wanted)) == set(drawn)
