"""Either side can speak first (SPEC 12): over an open exchange, by a way back, or when the visitor comes.
Whole networks in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock

from onionshh import testing
from onionshh.client.contact import Contact
from onionshh.client.endpoint import Endpoint
from onionshh.client.identities import Identity
from onionshh.client.node import Node
from onionshh.client.peer import Peer
from onionshh.client.whisper import Whisper
from onionshh.errors import Closed
from tests.client.world import PATIENCE_SECONDS, QUIET, hosted, small, until
from tests.inside import behind, parts

IDLE_MOST = 60.0


async def first(holder: Contact | Endpoint, seconds: float = PATIENCE_SECONDS) -> Whisper:
    """The next whisper, finished."""
    with trio.fail_after(seconds):
        async for whisper in holder:
            await whisper.done()
            return whisper
    raise AssertionError("it was closed")


@dataclass
class World:
    net: testing.Network
    visitor: Node
    host: Node
    endpoint: Endpoint
    contact: Contact
    peer: Peer


async def met(endpoint: Endpoint, contact: Contact) -> Peer:
    """The peer that this contact is to the endpoint, once both have their session on disk."""
    receipt = contact.send(b"hello")
    whisper = await first(endpoint)
    with trio.fail_after(PATIENCE_SECONDS):
        await receipt.final()
    assert whisper.peer is not None
    return whisper.peer


def called(contact: Contact) -> bool:
    """Whether the endpoint knows a way back of this contact that stands."""
    ways = behind(contact).ways
    return ways is not None and ways.call_us


@asynccontextmanager
async def world(*, way_back: bool = False, name: str | None = None, **params: int) -> AsyncIterator[World]:
    async with (
        small(8, **{**QUIET, **params}) as net,
        hosted(net) as (host, endpoint),
        net.join("visitor") as visitor,
        visitor.contact(endpoint.address, way_back=way_back, name=name) as contact,
    ):
        peer = await met(endpoint, contact)
        if way_back:
            await until(lambda: called(contact))
        yield World(net, visitor, host, endpoint, contact, peer)


async def test_an_endpoint_speaks_first_over_an_open_exchange(autojump_clock: MockClock) -> None:
    async with world() as w:
        aiter(w.contact)  # from now on it listens
        receipt = w.peer.send(b"news")
        whisper = await first(w.contact)
        assert (whisper.body, whisper.id, whisper.in_reply_to) == (b"news", receipt.id, "")
        assert whisper.peer is None
        assert whisper.derive_key("x") == receipt.derive_key("x")
        with trio.fail_after(PATIENCE_SECONDS):
            assert (await receipt.final()).status == "delivered"


async def test_without_a_way_it_waits_until_the_visitor_comes(autojump_clock: MockClock) -> None:
    async with world() as w:
        aiter(w.contact)
        await trio.sleep(IDLE_MOST + 40)
        assert not list(parts(w.endpoint).peers.lanes)
        receipt = w.peer.send(b"news", ttl_seconds=600)
        await trio.sleep(300)
        assert receipt.status == "queued"
        w.contact.send(b"I am back")
        assert (await first(w.contact)).body == b"news"
        with trio.fail_after(PATIENCE_SECONDS):
            assert (await receipt.final()).status == "delivered"
        assert (await first(w.endpoint)).body == b"I am back"


async def test_what_waits_for_a_peer_expires(autojump_clock: MockClock) -> None:
    async with world() as w:
        await trio.sleep(IDLE_MOST + 40)
        receipt = w.peer.send(b"news", ttl_seconds=60)
        with trio.fail_after(90):
            assert (await receipt.final()).status == "expired"


async def test_a_way_back_brings_it_while_the_conversation_is_idle(autojump_clock: MockClock) -> None:
    async with world(way_back=True) as w:
        await trio.sleep(IDLE_MOST + 40)
        assert not list(parts(w.endpoint).peers.lanes)
        receipt = w.peer.send(b"x" * 1000)  # too large for one cell
        assert (await first(w.contact)).body == b"x" * 1000
        with trio.fail_after(PATIENCE_SECONDS):
            await receipt.final()
        assert receipt.status == "delivered"
        assert receipt.resumed


async def test_a_visitor_replies_and_the_endpoint_gets_it(autojump_clock: MockClock) -> None:
    async with world(way_back=True) as w, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def answer() -> None:
            async for whisper in w.contact:
                receipt = await whisper.reply(whisper.body.upper())
                assert (await receipt.final()).status == "delivered"
                break

        assert await w.peer.ask(b"are you there?") == b"ARE YOU THERE?"


async def test_a_late_reply_is_shown(autojump_clock: MockClock) -> None:
    async with world() as w:
        aiter(w.contact)
        receipt = w.contact.send(b"question")
        async for whisper in w.endpoint:
            await whisper.reply(b"answer")
            break
        late = await first(w.contact)
        assert (late.body, late.in_reply_to) == (b"answer", receipt.id)
        assert receipt.reply_body == b"answer"


async def test_a_late_reply_of_a_visitor_is_shown_to_the_endpoint(autojump_clock: MockClock) -> None:
    async with world() as w:
        receipt = w.peer.send(b"question")
        async for whisper in w.contact:
            await whisper.reply(b"answer")
            break
        late = await first(w.endpoint)
        assert (late.body, late.in_reply_to) == (b"answer", receipt.id)
        assert late.peer == w.peer


async def test_a_short_whisper_and_its_receipt_are_one_cell_each(autojump_clock: MockClock) -> None:
    async with world(way_back=True) as w:
        await trio.sleep(IDLE_MOST + 40)
        receipt = w.contact.send(b"short")
        with trio.fail_after(PATIENCE_SECONDS):
            await receipt.final()
        assert (receipt.status, receipt.resumed) == ("delivered", True)
        assert (await first(w.endpoint)).body == b"short"
        for node in (w.visitor, w.host):
            purposes = {circuit.purpose for circuit in node.circuits()}
            assert not purposes & {"rendezvous", "answer", "call"}


async def test_both_sides_go_on_at_once(autojump_clock: MockClock) -> None:
    async with world(way_back=True) as w:
        await trio.sleep(IDLE_MOST + 40)
        ours, theirs = w.contact.send(b"x" * 2000), w.peer.send(b"y" * 2000)
        assert (await first(w.endpoint)).body == b"x" * 2000
        assert (await first(w.contact)).body == b"y" * 2000
        with trio.fail_after(PATIENCE_SECONDS):
            assert (await ours.final()).status == (await theirs.final()).status == "delivered"


async def test_a_peer_is_kept_and_forgotten(autojump_clock: MockClock) -> None:
    async with world() as w:
        assert w.endpoint.peers() == [w.peer]
        assert len(w.peer.id) == 32
        assert w.peer.since <= w.net.clock.wall()
        await w.peer.keep()
        receipt = w.peer.send(b"never arrives")
        await w.peer.forget()
        assert w.endpoint.peers() == []
        with trio.fail_after(5):
            assert (await receipt.final()).status == "failed"
        with pytest.raises(Closed):
            w.peer.send(b"too late")
        again = await met(w.endpoint, w.contact)
        assert again != w.peer


async def test_iterating_needs_a_session(autojump_clock: MockClock) -> None:
    async with small(5) as net, net.join("visitor") as node:
        address = Identity.generate().address
        with pytest.raises(ValueError, match="session"):
            node.contact(address, session=False, way_back=True)
        async with node.contact(address, session=False) as contact:
            with pytest.raises(ValueError, match="session"):
                aiter(contact)
