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
from onionshh.client.endpoint import Endpoint, Whisper
from onionshh.client.node import Node
from tests.client.world import PATIENCE_SECONDS, hosted, small
from tests.inside import behind, parts

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
        assert sessions is not None and sessions.current is not None
        assert sessions.current.history.resumed == 1
