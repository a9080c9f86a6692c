"""Introducers: as many as wanted and to be had, replaced when they die, rotated with overlap (SPEC 11)."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.endpoint import Endpoint
from onionshh.client.hosting.introducers import IN_HAND_MOST, JUNK_MOST, LookedAt
from onionshh.client.node import Node
from onionshh.core.roles import Reply
from onionshh.geometry import INTRODUCE
from onionshh.net.clocks import Clock
from onionshh.relay import switch
from onionshh.rendezvous.introducer import Introducer
from onionshh.testing import Network
from onionshh.wire import messages as m
from tests.client.hostile import HostileIntroducer, by_id, junk, mount
from tests.client.world import QUIET, Stranger, context_of, hosted, small, until


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
            kept = await endpoint._keys.introducers(net.clock.wall())
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
        relay_switch = running.relay.switch
        (role,) = [one for one in relay_switch._roles if isinstance(one, Introducer)]
        (circuit,) = role._key_of
        before = next(one for one in context_of(node).circuits.circuits if one.binding == circuit.binding)
        relay_switch._carry_out((Reply(circuit, m.INTRODUCE2, body),))
        running.relay.links.flush()
        await until(lambda: before.failed is not None)
        assert node.drops()[reason] == 1
        await until(lambda: len(standing(node)) == 2)  # and another circuit in its place


async def taken_over(node: Node, endpoint: Endpoint, net: Network, **hostile: int) -> str:
    """One introducer of the endpoint becomes hostile; its identity, hex."""
    introducers = endpoint._reachability._introducers
    await until(lambda: introducers.complete)
    bad = by_id(net, introducers.entries[0].relay_id.hex())
    mount(bad, HostileIntroducer(bad, **hostile))
    for circuit in [one for one in node._context.circuits.circuits if one.purpose == "introducer"]:
        if circuit.path[-1].identity.hex() == bad.id:
            circuit.close("test")
    return bad.id


@pytest.mark.parametrize("rate", [0, 25])
async def test_an_introducer_that_invents_is_given_up_and_shunned(
    rate: int,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(switch, "REPLIES_WAITING_MOST", 10**6)  # a hostile relay ends nothing for it
    async with small(6, interval_seconds=300, introduce_rate=rate) as net, net.join("visitor") as visitor:
        async with hosted(net) as (node, endpoint):
            introducers = endpoint._reachability._introducers
            bad = await taken_over(node, endpoint, net, invents=1490)
            # Which of the two comes first depends on how fast its junk is opened.
            await until(lambda: bool({"introducer-floods", "introducer-junk"} & set(node.drops())), 120)
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
            assert sum(node.drops().get(one, 0) for one in ("seal-open", "introduce-period")) < 1500


async def test_as_fast_as_the_consensus_allows_is_no_flood(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=300, introduce_rate=25) as net, hosted(net) as (node, endpoint):

        async def opens(body: bytes, auth_key: bytes, looked_at: LookedAt) -> None:
            await trio.sleep(0.5)
            looked_at(True)

        introducers = endpoint._reachability._introducers
        introducers._introduced = opens
        bad = await taken_over(node, endpoint, net, invents=25)
        await trio.sleep(200)
        assert bad in standing(node)
        assert "introducer-floods" not in node.drops()


async def test_much_junk_and_the_introducer_is_replaced_but_only_so_often(
    autojump_clock: MockClock,
) -> None:
    """An honest one brings what it is given: a stranger's junk must not drive us through the network."""
    async with small(8, interval_seconds=300) as net, hosted(net) as (node, endpoint):
        introducers = endpoint._reachability._introducers
        await until(lambda: introducers.complete)

        async def unopened(body: bytes, auth_key: bytes, looked_at: LookedAt) -> None:
            await trio.lowlevel.checkpoint()
            looked_at(False)

        introducers._introduced = unopened
        for replaced in range(1, 5):
            key = introducers.entries[0].auth_key
            slot = introducers._slots[key]
            for number in range(JUNK_MOST):
                await slot.places.acquire()
                await introducers._introduce(slot, junk(key, number))
            assert key in {one.auth_key for one in introducers.entries}
            await slot.places.acquire()
            await introducers._introduce(slot, junk(key, 0))
            await trio.sleep(1)
            gone = key not in {one.auth_key for one in introducers.entries}
            assert gone == (replaced <= 2)  # as many as are wanted, within some hours
            await until(lambda: introducers.complete)
        assert node.drops()["introducer-junk"] == 2
        assert node.drops()["introducer-kept"] >= 2


async def test_one_introducers_flood_does_not_keep_anothers_introductions_waiting(
    autojump_clock: MockClock,
) -> None:
    async with small(5) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        introducers = endpoint._reachability._introducers
        await until(lambda: introducers.complete)
        crowded, other = introducers.entries
        at_work: list[bytes] = []

        async def introduced(body: bytes, auth_key: bytes, looked_at: LookedAt) -> None:
            at_work.append(auth_key)
            if auth_key == crowded.auth_key:
                await trio.sleep_forever()
            looked_at(True)

        introducers._introduced = introduced
        stranger = Stranger(visitor, endpoint.address)
        found = await stranger.find()
        message = stranger.introduction(found, crowded).message
        statuses = []
        for _ in range(IN_HAND_MOST + 150):
            statuses.append(await stranger.send(crowded, message))  # noqa: PERF401
        assert at_work.count(crowded.auth_key) == IN_HAND_MOST // 2
        assert statuses[0] == m.OK
        assert statuses[-1] == m.BUSY, "the introducer says so, and visitors go to another"
        assert await stranger.send(other, stranger.introduction(found, other).message) == m.OK
        await trio.sleep(1)
        assert at_work[-1] == other.auth_key


async def test_an_introducer_that_ends_its_circuits_is_given_up(autojump_clock: MockClock) -> None:
    """Each time at once after it was established: that is no introducer."""

    async with small(6, interval_seconds=300) as net, hosted(net) as (node, endpoint):
        introducers = endpoint._reachability._introducers
        await until(lambda: introducers.complete)
        bad = introducers.entries[0]

        async def end_them() -> None:
            while True:
                await trio.sleep(0.5)
                for circuit in list(node._context.circuits.circuits):
                    if circuit.purpose == "introducer" and circuit.path[-1].identity == bad.relay_id:
                        circuit.close("test")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_them)
            await until(lambda: bad.auth_key not in introducers._slots, 60)
            nursery.cancel_scope.cancel()


async def test_what_is_shunned_is_a_third_of_the_relays_at_most(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=1800, **QUIET) as net, hosted(net) as (node, endpoint):
        introducers = endpoint._reachability._introducers
        for _ in range(5):
            await until(lambda: introducers.complete)
            introducers._give_up(introducers.entries[0].auth_key, "introducer-floods", "floods")
            await trio.sleep(1)
        await until(lambda: introducers.complete)
        view = node._context.view
        assert len(introducers._shunned) > 2
        latest = sorted(introducers._shunned, key=lambda one: introducers._shunned[one])[-2:]
        assert introducers._shun(view) == set(latest)
        assert not {one.relay_id for one in introducers.entries} & set(latest)
        await trio.sleep(5 * 3600)
        assert not introducers._shun(view)


async def test_an_introducer_that_left_the_network_is_replaced_though_its_circuit_stands(
    autojump_clock: MockClock,
) -> None:
    """Visitors do not find it in their consensus."""
    async with small(7) as net, hosted(net) as (node, endpoint):
        assert net.memory is not None
        introducers = endpoint._reachability._introducers
        await until(lambda: introducers.complete)
        gone = by_id(net, introducers.entries[0].relay_id.hex())
        for host, port in list(net.memory.listeners):
            if host == gone.host:  # the directory cannot reach it any more, and what stands stays
                del net.memory.listeners[host, port]
        relay = bytes.fromhex(gone.id)
        await until(lambda: node._context.view.any_relay(relay) is None, 600)
        await until(lambda: gone.id not in standing(node), 3)
        assert node.drops()["introducer-left"] == 1
        await until(lambda: introducers.complete, 60)


async def test_lives_are_told_by_the_network_s_time(autojump_clock: MockClock) -> None:
    """A clock that is years off when introducers are drawn or taken up makes none stay or go."""
    async with small(6, interval_seconds=900) as net, net.join("host") as node:
        context = node._context

        async def held(years: int, wanted: int) -> tuple[set[bytes], list[float]]:
            strange = Clock(net.clock.wall() + years * 365 * 86400)
            strange.confirm(context.view.consensus.valid_after)
            object.__setattr__(context, "clock", strange)
            async with node.host(net.folder / "identity", introducers=wanted) as endpoint:
                introducers = endpoint._reachability._introducers
                await until(lambda: introducers.complete)
                lives = [slot.ends - strange.monotonic() for slot in introducers._slots.values()]
                return {one.relay_id for one in introducers.entries}, lives

        first, _ = await held(0, 2)
        for years in (20, -20, 0):
            again, lives = await held(years, 2)
            assert again == first
            assert all(15 * 3600 < life <= 24 * 3600 for life in lives)
        for years, wanted in ((20, 3), (-20, 4)):
            drawn, _ = await held(years, wanted)
            assert len(drawn) == wanted
            kept, lives = await held(0, wanted)
            assert kept == drawn
            assert all(15 * 3600 < life <= 24 * 3600 for life in lives)
