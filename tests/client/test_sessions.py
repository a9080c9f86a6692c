"""A conversation that pauses holds no circuit, and goes on with one cell (SPEC 12). Whole networks in virtual
time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from onionshh import testing
from onionshh.client.contact import Contact
from onionshh.client.endpoint import Endpoint
from onionshh.client.node import Node
from onionshh.client.whisper import Whisper
from onionshh.core.session import session as session_machine
from tests.client.hostile import by_id, mount_deaf
from tests.client.world import PATIENCE_SECONDS, hosted, killed, small
from tests.inside import behind, inside, parts

IDLE_MOST = 60.0


async def shout(whisper: Whisper) -> bytes | None:
    return whisper.body.upper()


@asynccontextmanager
async def conversation(relays: int = 8) -> AsyncIterator[tuple[testing.Network, Node, Endpoint, Contact]]:
    """An endpoint that answers, and a contact that has talked to it once."""
    async with (
        small(relays) as net,
        hosted(net) as (_, endpoint),
        net.join("visitor") as node,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(endpoint.serve, shout)
        async with node.contact(endpoint.address) as contact:
            with trio.fail_after(PATIENCE_SECONDS):
                assert await contact.ask(b"first") == b"FIRST"
            yield net, node, endpoint, contact
        nursery.cancel_scope.cancel()


def purposes(node: Node) -> set[str]:
    return {circuit.purpose for circuit in node.circuits()}


async def test_an_idle_conversation_holds_no_circuit_and_goes_on(autojump_clock: MockClock) -> None:
    async with conversation() as (_, node, endpoint, contact):
        assert "rendezvous" in purposes(node)
        await trio.sleep(IDLE_MOST)
        assert purposes(node) <= {"ready", "consensus"}
        assert not list(parts(endpoint).peers.lanes)
        with trio.fail_after(PATIENCE_SECONDS):
            receipt = contact.send(b"again")
            assert await receipt.reply() == b"AGAIN"
        assert receipt.resumed
        sessions = behind(contact).sessions
        assert sessions is not None
        assert sessions.current is not None
        assert sessions.current.history.resumed == 1


async def test_every_circuit_may_end_at_once(autojump_clock: MockClock) -> None:
    async with conversation() as (_, node, endpoint, contact):
        for number in range(5):
            for circuit in list(inside(node).circuits.circuits):
                circuit.close()
            with trio.fail_after(PATIENCE_SECONDS):
                receipt = contact.send(b"%d" % number)
                assert await receipt.reply() == b"%d" % number
            assert receipt.resumed
        assert len(parts(endpoint).peers.keeper.table) == 1


async def test_the_two_sides_know_the_session_by_the_same_name(autojump_clock: MockClock) -> None:
    async with conversation() as (_, _, endpoint, contact):
        (theirs,) = parts(endpoint).peers.keeper.table.sessions
        sessions = behind(contact).sessions
        assert sessions is not None
        assert sessions.current is not None
        assert sessions.current.session_id == theirs.session_id
        assert sessions.current.mail.key == theirs.mail.key


async def goes_on(resumed: bool, contact: Contact, body: bytes = b"more", seconds: float = 120.0) -> None:
    """A whisper arrives and is answered, in the way that is expected."""
    with trio.fail_after(seconds):
        receipt = contact.send(body)
        assert await receipt.reply() == body.upper()
    assert receipt.resumed is resumed


async def test_an_endpoint_that_was_killed_goes_on(autojump_clock: MockClock) -> None:
    async with small(8) as net, net.join("visitor") as node, trio.open_nursery() as nursery:
        async with killed(net) as (_, endpoint):
            nursery.start_soon(endpoint.serve, shout)
            contact = node.contact(endpoint.address)
            await contact.__aenter__()
            await goes_on(False, contact, b"first")
            await goes_on(False, contact, b"over the same circuit")
        async with hosted(net) as (_, endpoint):
            nursery.start_soon(endpoint.serve, shout)
            await goes_on(True, contact)
            await trio.sleep(IDLE_MOST)
            await goes_on(True, contact)
            nursery.cancel_scope.cancel()
        contact.close()


async def test_an_endpoint_that_lost_its_sessions_is_met_anew(autojump_clock: MockClock) -> None:
    async with conversation() as (_, _, endpoint, contact):
        keeper = parts(endpoint).peers.keeper
        for session in list(keeper.table.sessions):
            keeper.forget(session)
        await trio.sleep(IDLE_MOST)
        await goes_on(False, contact)
        await trio.sleep(IDLE_MOST)
        await goes_on(True, contact)
        assert len(keeper.table) == 1


async def test_an_introducer_that_drops_resumptions_is_gone_round(autojump_clock: MockClock) -> None:
    async with conversation() as (net, _, endpoint, contact):
        await trio.sleep(IDLE_MOST)
        entries = parts(endpoint).introducers.entries
        mount_deaf(by_id(net, entries[0].relay_id.hex()))
        for _ in range(4):
            await trio.sleep(IDLE_MOST)
            with trio.fail_after(PATIENCE_SECONDS):
                assert await contact.ask(b"x", timeout_seconds=100) == b"X"


async def test_chains_are_renewed(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_machine, "REFRESH_TAGS", 3)
    async with conversation() as (_, _, endpoint, contact):
        epochs = []
        for _ in range(12):
            await trio.sleep(IDLE_MOST)
            await goes_on(True, contact)
            (theirs,) = parts(endpoint).peers.keeper.table.sessions
            epochs.append(theirs.chains.epoch)
        assert epochs[-1] >= 2
        assert epochs == sorted(epochs)


async def test_a_reply_that_takes_an_hour_holds_no_circuit(autojump_clock: MockClock) -> None:
    async with small(8) as net, hosted(net) as (_, endpoint), net.join("visitor") as node:
        async with node.contact(endpoint.address) as contact:
            receipt = contact.send(b"slow", ttl_seconds=7200)
            replies: list[bytes | None] = []
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def wait() -> None:
                    replies.append(await receipt.reply())

                whisper = await anext(endpoint.__aiter__())
                await trio.sleep(300)
                held = []
                for _ in range(30):
                    await trio.sleep(100)
                    held.append("rendezvous" in purposes(node))
                assert sum(held) < 15
                await whisper.reply(b"at last")
                with trio.fail_after(1900):
                    while not replies:
                        await trio.sleep(1)
            assert replies == [b"at last"]
