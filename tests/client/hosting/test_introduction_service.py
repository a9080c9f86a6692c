"""Introductions that are not as they should be: a named drop each, nothing else, and the endpoint goes on
(SPEC 11). All of them come over the wire, through a real introducer."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from onionshh import geometry as g
from onionshh import testing
from onionshh.client.endpoint import Endpoint
from onionshh.client.hosting.introduction_service import OPENING_MOST, IntroductionService
from onionshh.client.node import Node
from onionshh.client.pool import STUBS
from onionshh.client.reach.descriptor_cache import CheckedDescriptor
from onionshh.core.base.patience import MEETING_SECONDS
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.delivery.record import NO_ID, RECEIPT, REFUSED, WHISPER, Record
from onionshh.core.link.port import LinkPort
from onionshh.ids import RelayId, WhisperId
from onionshh.net.circuits import Circuit, CircuitFailed
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from onionshh.wire.cell import CREATE
from onionshh.wire.consensus import RelayRow
from onionshh.wire.endpoint import IntroducerEntry
from tests.client.hostile import by_id
from tests.client.world import (
    WALL,
    Disk,
    Stranger,
    altered,
    dropped,
    echo,
    hosted,
    hosted_on,
    small,
)
from tests.inside import circuits_of, inside, parts

LATE = WALL + 12 * 3600
"""In the period's second half, when the next one's keys are there too."""


def service(endpoint: Endpoint) -> IntroductionService:
    return parts(endpoint).introduction_service


def with_flipped_seal(message: bytes, at: int) -> bytes:
    sealed = bytearray(m.Introduce.decode_untrusted(message).sealed)
    sealed[at] ^= 1
    return altered(message, sealed=bytes(sealed))


def encoded(kind: int = WHISPER, expires: int = LATE + 600, body: bytes = b"x") -> bytes:
    in_reply_to = WhisperId(b"r" * 16) if kind == RECEIPT else NO_ID
    return Record(WhisperId(b"i" * 16), in_reply_to, expires, 1, kind, body).encode()


def resumption(entry: IntroducerEntry) -> bytes:
    """The resumption of a session that never was."""
    salt, sealed = bytes(g.RESUME_SALT), bytes(g.RESUME_SEALED)
    return m.Resume(entry.auth_key, b"t" * g.SESSION_TAG, salt, sealed).encode()


Bad = Callable[[Stranger, CheckedDescriptor, IntroducerEntry], bytes]

BAD: dict[str, tuple[Reason, Bad]] = {
    "unknown period": (
        Reason.INTRODUCE_PERIOD,
        lambda s, f, e: altered(s.introduction(f, e).message, period_byte=(f.period + 3) & 0xFF),
    ),
    "the neighbour's period": (
        Reason.SEAL_OPEN,
        lambda s, f, e: altered(s.introduction(f, e).message, period_byte=(f.period + 1) & 0xFF),
    ),
    "a resumption": (Reason.RESUME_UNKNOWN, lambda s, f, e: resumption(e)),
    "three points": (Reason.INTRODUCE_LEGS, lambda s, f, e: s.introduction(f, e, legs=3).message),
    "a record of a kind that there is not": (
        Reason.RECORD_KIND,
        lambda s, f, e: s.introduction(f, e, record=encoded(10)).message,
    ),
    "a record that must name another and does not": (
        Reason.RECORD_REPLY,
        lambda s, f, e: s.introduction(f, e, record=encoded(REFUSED, body=b"\1")).message,
    ),
    "garbage": (
        Reason.SEAL_OPEN,
        lambda s, f, e: altered(s.introduction(f, e).message, sealed=b"\x5a" * 2860),
    ),
    "a bit of the key share": (
        Reason.SEAL_OPEN,
        lambda s, f, e: with_flipped_seal(s.introduction(f, e).message, 0),
    ),
    "a bit of the end": (
        Reason.SEAL_OPEN,
        lambda s, f, e: with_flipped_seal(s.introduction(f, e).message, 2859),
    ),
    "sealed for another address": (
        Reason.SEAL_OPEN,
        lambda s, f, e: s.introduction(CheckedDescriptor(f.descriptor, f.period, bytes(32)), e).message,
    ),
    "an unknown rendezvous point": (
        Reason.RENDEZVOUS_UNKNOWN_RELAY,
        lambda s, f, e: s.introduction(f, e, rendezvous_point=b"\x07" * 32).message,
    ),
    "a record of a wrong size": (
        Reason.RECORD_SIZE,
        lambda s, f, e: s.introduction(f, e, record=b"too short").message,
    ),
    "a record with bad padding": (
        Reason.RECORD_PADDING,
        lambda s, f, e: s.introduction(f, e, record=encoded()[:-1] + b"\1").message,
    ),
}


async def test_every_bad_introduction_is_one_named_drop_and_nothing_else(autojump_clock: MockClock) -> None:
    async with small(wall=LATE) as net, net.join("visitor") as visitor, hosted(net) as (node, endpoint):
        stranger = Stranger(visitor, endpoint.address)
        found = await stranger.find()
        await trio.sleep(30)  # what it tests and publishes at first is over
        for name, (reason, make) in BAD.items():
            entry = found.descriptor.introducers[0]
            message = make(stranger, found, entry)
            assert len(message) in (2934, 489), name
            before = _answers(node)
            await dropped(node, reason, stranger.send, entry, message)
            assert _answers(node) == before, name
            assert not circuits_of(parts(endpoint).peers.lanes), name
        # Nothing of it was kept, and whoever comes now is served.
        assert len(parts(endpoint).peers.receiving.receiver.inbox) == 0
        async with visitor.contact(endpoint.address) as contact:
            assert (await contact.whisper(b"hello")).status == "delivered"


def _answers(node: object) -> int:
    return sum(one.purpose == "answer" for one in node.circuits())  # type: ignore[attr-defined]


async def test_an_introduction_for_another_of_our_introducers_keys_is_dropped(
    autojump_clock: MockClock,
) -> None:
    """What comes over one introducer's circuit must be sealed for the key we are known by there: else an
    introducer could pass on what was meant for another and see whether it is the same endpoint."""
    async with small() as net, net.join("visitor") as visitor, hosted(net) as (node, endpoint):
        stranger = Stranger(visitor, endpoint.address)
        found = await stranger.find()
        one, other = found.descriptor.introducers
        answering = service(endpoint)
        message = stranger.introduction(found, one, body=b"hello").message
        await dropped(node, Reason.INTRODUCE_AUTH_KEY, answering.introduced, message, other.auth_key)
        await answering.introduced(message, one.auth_key)
        with trio.fail_after(30):
            assert await anext(aiter(endpoint)) is not None


async def test_junk_does_not_fill_the_replay_log(autojump_clock: MockClock) -> None:
    async with small(replay_log_entries=6) as net, net.join("visitor") as visitor:
        async with hosted(net) as (node, endpoint):
            stranger = Stranger(visitor, endpoint.address)
            found = await stranger.find()
            entry = found.descriptor.introducers[0]
            for number in range(20):
                message = with_flipped_seal(stranger.introduction(found, entry).message, 1200 + number)
                await service(endpoint).introduced(message, entry.auth_key)
            assert node.drops()[Reason.SEAL_OPEN] == 20
            keys = parts(endpoint).key_store.named(found.period & 0xFF)
            assert keys is not None
            assert len(keys.replay) <= 4


def _beside_the_guards(*nodes: Node) -> RelayId:
    """A relay that is none of their guards in use: without its guards a node has nothing to expect."""
    view = inside(nodes[0]).view
    guards = {guard for node in nodes for guard in inside(node).guard_file.first_hops(view)}
    return next(row.identity for row in view.relays if row.identity not in guards)


def closes_to_circuits(net: testing.Network, identity: bytes, way: str, patch: pytest.MonkeyPatch) -> None:
    """From now on this relay refuses every CREATE ("refuse"), or does not answer any ("silent")."""

    def create_cell(port: LinkPort, circuit_id: int, command: int, body: bytes) -> None:
        if way == "refuse" and command == CREATE:
            port.refuse(circuit_id, os.urandom)

    patch.setattr(by_id(net, identity.hex()).relay.switch.control.creates, "create_cell", create_cell)


@pytest.mark.parametrize("way", ["refuse", "silent"])
@pytest.mark.parametrize("stubs", [0, 2])
async def test_a_stranger_s_introduction_costs_two_circuits_at_most(
    way: str, stubs: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rendezvous point that he names refuses, or says nothing: not a try more than the budget."""
    async with small(8) as net, net.join("visitor") as visitor, hosted(net) as (node, endpoint):
        stranger = Stranger(visitor, endpoint.address)
        found = await stranger.find()
        await trio.sleep(60)
        context = inside(node)
        answering = context.builder.kind(Purpose.ANSWER)
        context.pool.leave(answering, stubs=STUBS)
        context.pool.use(answering, stubs=stubs)
        await trio.sleep(60)
        entry = found.descriptor.introducers[0]
        point = _beside_the_guards(node)
        closes_to_circuits(net, point, way, monkeypatch)
        asked: list[bytes] = []
        add = Circuit.add

        async def counted(self: Circuit, relay: RelayRow) -> None:
            if self.purpose == "answer" and relay.identity == point:
                asked.append(point)
            await add(self, relay)

        monkeypatch.setattr(Circuit, "add", counted)
        before = Counter(node.drops())
        started = trio.current_time()
        await service(endpoint).introduced(
            stranger.introduction(found, entry, rendezvous_point=point).message, entry.auth_key
        )
        assert 1 <= len(asked) <= 2
        assert trio.current_time() - started < MEETING_SECONDS + 0.1
        await trio.sleep(60)
        assert len(asked) <= 2
        new = Counter(node.drops()) - before
        assert new[Reason.RENDEZVOUS_FAILED] + new[Reason.RENDEZVOUS_TIMEOUT] == 1


async def test_a_silent_rendezvous_point_keeps_no_visitor_out(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """110 introductions to a point that keeps silent, and whoever comes meanwhile is served at once."""
    async with small(8) as net, net.join("visitor") as visitor, hosted(net) as (node, endpoint):
        stranger = Stranger(visitor, endpoint.address)
        found = await stranger.find()
        entry = found.descriptor.introducers[0]
        point = _beside_the_guards(visitor, node)
        async with visitor.contact(endpoint.address) as contact, trio.open_nursery() as nursery:
            closes_to_circuits(net, point, "silent", monkeypatch)
            for _ in range(110):
                message = stranger.introduction(found, entry, rendezvous_point=point).message
                nursery.start_soon(service(endpoint).introduced, message, entry.auth_key)
            await trio.sleep(1)
            started = trio.current_time()
            receipt = await contact.whisper(b"hello", ttl_seconds=120)
            assert receipt.status == "delivered", receipt.why
            # The visitor may choose that very point first, and then has to wait for its own patience.
            assert trio.current_time() - started < 60
            nursery.cancel_scope.cancel()


async def test_a_silent_rendezvous_point_named_to_every_introducer_keeps_no_visitor_out(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the wire, 5 a second through each introducer: nobody waits for what a stranger's point does not
    do, no test of our own finds an introducer busy, and none is given up."""
    async with small(10, interval_seconds=300) as net, net.join("visitor") as visitor:
        async with hosted(net, introducers=3) as (node, endpoint):
            stranger = Stranger(visitor, endpoint.address)
            found = await stranger.find()
            entries = found.descriptor.introducers
            point = _beside_the_guards(visitor, node)
            before = {entry.auth_key for entry in entries}
            waits: list[float] = []

            async def flood(entry: IntroducerEntry) -> None:
                while True:
                    message = stranger.introduction(found, entry, rendezvous_point=point).message
                    with suppress(CircuitFailed):
                        await stranger.send(entry, message)
                    await trio.sleep(0.2)

            # Its own paths go round that relay: whoever draws it waits for his own patience, flood or not.
            async with (
                net.join("honest", own_relays=[point.hex()]) as honest,
                trio.open_nursery() as nursery,
            ):
                closes_to_circuits(net, point, "silent", monkeypatch)
                for entry in entries:
                    nursery.start_soon(flood, entry)
                nursery.start_soon(echo, endpoint)
                await trio.sleep(20)
                for _ in range(6):
                    started = trio.current_time()
                    async with honest.contact(endpoint.address) as contact:
                        assert await contact.ask(b"hello", timeout_seconds=60) == b"hello"
                    waits.append(trio.current_time() - started)
                    await trio.sleep(10)
                nursery.cancel_scope.cancel()
            # A path of the endpoint's may lead through that relay: then it takes another after 10 s.
            assert sorted(waits)[2] < 2, waits
            assert before == {one.auth_key for one in parts(endpoint).introducers.entries}
            assert Reason.INTRODUCER_FAILED not in node.drops()


async def test_nothing_is_answered_before_the_replay_log_is_on_disk(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with small() as net, net.join("visitor") as visitor, hosted_on(net, disk) as (node, endpoint):
        stranger = Stranger(visitor, endpoint.address)
        found = await stranger.find()
        entry = found.descriptor.introducers[0]
        await trio.sleep(30)
        disk.hold()
        await stranger.send(entry, stranger.introduction(found, entry, body=b"x").message)
        await trio.sleep(20)
        assert _answers(node) == 0
        disk.release()
        with trio.fail_after(30):
            assert await anext(aiter(endpoint)) is not None


async def test_a_flood_waits_in_a_short_line(autojump_clock: MockClock) -> None:
    """A rendezvous point that never answers holds at most so many of our tasks, and no more wait for them."""
    disk = Disk()
    async with small() as net, net.join("visitor") as visitor, hosted_on(net, disk) as (node, endpoint):
        stranger = Stranger(visitor, endpoint.address)
        found = await stranger.find()
        entry = found.descriptor.introducers[0]
        answering = service(endpoint)
        disk.hold()
        messages = [stranger.introduction(found, entry).message for _ in range(70)]
        async with trio.open_nursery() as nursery:
            for message in messages:
                nursery.start_soon(answering.introduced, message, entry.auth_key)
            await trio.sleep(1)
            assert node.drops()[Reason.INTRODUCTIONS_WAITING] == len(messages) - OPENING_MOST
            disk.release()
        assert inside(node).drops.counts[Reason.INTRODUCTIONS_WAITING] == 6
