"""What a program sees of a peer. What it says first on the network is in `test_speaking_first.py`."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.peer import Peer
from onionshh.core.delivery.sender import WAITING_MOST
from onionshh.errors import Closed, Full, NotDelivered, TooLarge
from tests.client.test_speaking_first import IDLE_MOST, met, world
from tests.client.world import QUIET, hosted, small


async def test_what_cannot_be_sent(autojump_clock: MockClock) -> None:
    async with world() as w:
        with pytest.raises(TypeError):
            w.peer.send("text")  # type: ignore[arg-type]
        with pytest.raises(TooLarge):
            w.peer.send(bytes(65_536))
        with pytest.raises(ValueError, match="TTL"):
            w.peer.send(b"x", ttl_seconds=0)
        with pytest.raises(ValueError, match="timeout_seconds"):
            await w.peer.ask(b"x", timeout_seconds=0)


async def test_there_is_an_end_to_what_waits(autojump_clock: MockClock) -> None:
    async with world() as w:
        await trio.sleep(IDLE_MOST + 40)
        for _ in range(WAITING_MOST):
            w.peer.send(b"x")
        with pytest.raises(Full, match="this peer"):
            w.peer.send(b"x")


async def test_the_same_key_is_the_same_whisper(autojump_clock: MockClock) -> None:
    async with world() as w:
        await trio.sleep(IDLE_MOST + 40)
        once, again = w.peer.send(b"x", key=b"one"), w.peer.send(b"x", key=b"one")
        assert once.id == again.id
        with pytest.raises(ValueError, match="another body"):
            w.peer.send(b"y", key=b"one")


async def test_a_question_that_gets_no_answer(autojump_clock: MockClock) -> None:
    async with world() as w:
        await trio.sleep(IDLE_MOST + 40)
        with pytest.raises(NotDelivered, match="cannot be called now"):
            await w.peer.ask(b"are you there?", timeout_seconds=20)


async def test_a_peer_of_a_closed_endpoint_says_nothing(autojump_clock: MockClock) -> None:
    async with small(8, **QUIET) as net, net.join("visitor") as visitor:
        async with hosted(net) as (_, endpoint), visitor.contact(endpoint.address) as contact:
            peer = await met(endpoint, contact)
        with pytest.raises(Closed):
            peer.send(b"x")
        with pytest.raises(Closed):
            await peer.keep()
        with pytest.raises(Closed):
            endpoint.peers()


async def test_peers_are_the_same_if_their_sessions_are(autojump_clock: MockClock) -> None:
    async with world() as w:
        (again,) = w.endpoint.peers()
        assert again == w.peer
        assert hash(again) == hash(w.peer)
        assert w.peer != w.peer.id
        assert repr(w.peer) == "<Peer>"
        assert isinstance(again, Peer)
        assert (await w.peer.whisper(b"x", ttl_seconds=5)).status in ("delivered", "expired")
