"""Introductions that are not as they should be: a named drop each, nothing else, and the endpoint goes on
(SPEC 11). All of them come over the wire, through a real introducer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.answering import Answering
from onionshh.client.endpoint import Endpoint
from onionshh.client.known import Found
from onionshh.core.whisper import NO_ID, RECEIPT, WHISPER, Record
from onionshh.ids import WhisperId
from onionshh.net.circuits import Circuit, CircuitFailed
from onionshh.wire import messages as m
from onionshh.wire.endpoint import IntroducerEntry
from tests.client.world import WALL, Stranger, altered, context_of, dropped, hosted, small

LATE = WALL + 12 * 3600
"""In the period's second half, when the next one's keys are there too."""


def with_flipped_seal(message: bytes, at: int) -> bytes:
    sealed = bytearray(m.Introduce.decode_untrusted(message).sealed)
    sealed[at] ^= 1
    return altered(message, sealed=bytes(sealed))


def encoded(kind: int = WHISPER, expires: int = LATE + 600, body: bytes = b"x") -> bytes:
    in_reply_to = WhisperId(b"r" * 16) if kind == RECEIPT else NO_ID
    return Record(WhisperId(b"i" * 16), in_reply_to, expires, 1, kind, body).encode()


Bad = Callable[[Stranger, Found, IntroducerEntry], bytes]

BAD: dict[str, tuple[str, Bad]] = {
    "unknown period": (
        "introduce-period",
        lambda s, f, e: altered(s.introduction(f, e).message, period_byte=(f.period + 3) & 0xFF),
    ),
    "the neighbour's period": (
        "seal-open",
        lambda s, f, e: altered(s.introduction(f, e).message, period_byte=(f.period + 1) & 0xFF),
    ),
    "another kind": ("introduce-kind", lambda s, f, e: altered(s.introduction(f, e).message, kind=2)),
    "garbage": ("seal-open", lambda s, f, e: altered(s.introduction(f, e).message, sealed=b"\x5a" * 2860)),
    "a bit of the key share": (
        "seal-open",
        lambda s, f, e: with_flipped_seal(s.introduction(f, e).message, 0),
    ),
    "a bit of the end": ("seal-open", lambda s, f, e: with_flipped_seal(s.introduction(f, e).message, 2859)),
    "sealed for another address": (
        "seal-open",
        lambda s, f, e: s.introduction(Found(f.descriptor, f.period, bytes(32)), e).message,
    ),
    "an unknown rendezvous point": (
        "rendezvous-unknown-relay",
        lambda s, f, e: s.introduction(f, e, rendezvous_point=b"\x07" * 32).message,
    ),
    "a record of a wrong size": (
        "record-size",
        lambda s, f, e: s.introduction(f, e, record=b"too short").message,
    ),
    "a record with bad padding": (
        "record-padding",
        lambda s, f, e: s.introduction(f, e, record=encoded()[:-1] + b"\1").message,
    ),
    "an expired record": (
        "record-expired",
        lambda s, f, e: s.introduction(f, e, record=encoded(expires=LATE - 3600)).message,
    ),
    "a record for too long": (
        "record-far-future",
        lambda s, f, e: s.introduction(f, e, record=encoded(expires=LATE + 9 * 86400)).message,
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
            assert len(message) == 2934, name
            before = _answers(node)
            await dropped(node, reason, stranger.send, entry, message)
            assert _answers(node) == before, name
            assert not endpoint._correspondence._exchanges, name
        # Nothing of it was kept, and whoever comes now is served.
        assert await endpoint._inbox.next_unfinished(()) is None
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
        answering = _answering_of(endpoint)
        message = stranger.introduction(found, one, body=b"hello").message
        await dropped(node, "introduce-auth-key", answering.introduced, message, other.auth_key)
        await answering.introduced(message, one.auth_key)
        with trio.fail_after(30):
            assert await endpoint._next() is not None


def _answering_of(endpoint: Endpoint) -> Answering:
    return endpoint._reachability._answering


async def test_junk_does_not_fill_the_replay_log(autojump_clock: MockClock) -> None:
    async with small(replay_log_entries=6) as net, net.join("visitor") as visitor:
        async with hosted(net) as (node, endpoint):
            stranger = Stranger(visitor, endpoint.address)
            found = await stranger.find()
            entry = found.descriptor.introducers[0]
            for number in range(20):
                message = with_flipped_seal(stranger.introduction(found, entry).message, 1200 + number)
                await _answering_of(endpoint).introduced(message, entry.auth_key)
            assert node.drops()["seal-open"] == 20
            keys = endpoint._vault.named(found.period & 0xFF)
            assert keys is not None
            assert len(keys.replay) <= 4


@pytest.mark.parametrize("failures", [1, 2])
async def test_at_most_two_tries_with_the_very_same_bytes(
    failures: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with small() as net, net.join("visitor") as visitor, hosted(net) as (node, endpoint):
        stranger = Stranger(visitor, endpoint.address)
        found = await stranger.find()
        entry = found.descriptor.introducers[0]
        sent: list[bytes] = []
        real = Circuit.send

        def send(self: Circuit, message_type: int, body: bytes) -> None:
            if message_type == m.RENDEZVOUS1:
                sent.append(body)
                if len(sent) <= failures:
                    self.close("test")
                    raise CircuitFailed("test")
            real(self, message_type, body)

        monkeypatch.setattr(Circuit, "send", send)
        before = node.drops().get("rendezvous-failed", 0)
        await _answering_of(endpoint).introduced(
            stranger.introduction(found, entry, body=b"x").message, entry.auth_key
        )
        assert len(sent) == 2
        assert sent[0] == sent[1]
        assert node.drops().get("rendezvous-failed", 0) == before + (failures == 2)


async def test_nothing_is_answered_before_the_replay_log_is_on_disk(autojump_clock: MockClock) -> None:
    async with small() as net, net.join("visitor") as visitor, hosted(net) as (node, endpoint):
        stranger = Stranger(visitor, endpoint.address)
        found = await stranger.find()
        entry = found.descriptor.introducers[0]
        await trio.sleep(30)
        assert endpoint._database is not None
        await endpoint._database._turn.acquire()  # a disk that takes its time
        await stranger.send(entry, stranger.introduction(found, entry, body=b"x").message)
        await trio.sleep(20)
        assert _answers(node) == 0
        endpoint._database._turn.release()
        with trio.fail_after(30):
            assert await endpoint._next() is not None


async def test_a_flood_waits_in_a_short_line(autojump_clock: MockClock) -> None:
    """A rendezvous point that never answers holds at most so many of our tasks, and no more wait for them."""
    async with small() as net, net.join("visitor") as visitor, hosted(net) as (node, endpoint):
        stranger = Stranger(visitor, endpoint.address)
        found = await stranger.find()
        entry = found.descriptor.introducers[0]
        answering = _answering_of(endpoint)
        assert endpoint._database is not None
        await endpoint._database._turn.acquire()
        messages = [stranger.introduction(found, entry).message for _ in range(70)]
        async with trio.open_nursery() as nursery:
            for message in messages:
                nursery.start_soon(answering.introduced, message, entry.auth_key)
            await trio.sleep(1)
            assert node.drops()["introductions-waiting"] == 70 - 64
            endpoint._database._turn.release()
        assert context_of(node).drops.counts["introductions-waiting"] == 6
