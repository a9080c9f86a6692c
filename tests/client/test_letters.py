"""Letters through whole networks in virtual time: an endpoint that was away gets its whispers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock

import onionshh
from onionshh import testing
from onionshh.client.endpoint import Endpoint
from onionshh.client.node import Node
from tests.client.world import PATIENCE_SECONDS, QUIET, hosted, small

DAY = 86_400
LONG = 3 * DAY


@asynccontextmanager
async def away(relays: int = 8) -> AsyncIterator[tuple[testing.Network, Node, str]]:
    """A network, a visitor's node, and the address of an endpoint that was there and left."""
    async with small(relays, interval_seconds=600, **QUIET) as net:
        async with hosted(net) as (_, endpoint):
            address = endpoint.address
            await trio.sleep(60)
        async with net.join("visitor") as node:
            yield net, node, address


@asynccontextmanager
async def returned(net: testing.Network) -> AsyncIterator[Endpoint]:
    """The endpoint is back."""
    async with net.join("host") as node, node.host(net.folder / "identity", introducers=2) as endpoint:
        yield endpoint


async def next_of(endpoint: Endpoint, seconds: float = 3600.0) -> onionshh.Whisper:
    with trio.fail_after(seconds):
        return await anext(aiter(endpoint))


async def test_a_whisper_waits_for_an_endpoint_that_is_away(autojump_clock: MockClock) -> None:
    async with away() as (net, node, address), node.contact(address) as contact:
        receipt = contact.send(b"hello", ttl_seconds=LONG)
        with trio.fail_after(PATIENCE_SECONDS):
            await receipt.stored()
        with trio.fail_after(PATIENCE_SECONDS):
            while receipt.copies != (4, 4):
                await receipt.changed()
        assert receipt.status == "stored"
        assert receipt.proof_tries > 0
        await trio.sleep(3600)
        async with returned(net) as endpoint:
            whisper = await next_of(endpoint)
            assert (whisper.body, whisper.waited, whisper.id) == (b"hello", True, receipt.id)
            await whisper.reply(b"hello back")
            with trio.fail_after(7200):
                await receipt.final()
                assert receipt.status == "delivered"
                assert await receipt.reply() == b"hello back"
