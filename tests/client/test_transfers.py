"""Transfers through whole networks in virtual time: what arrives, over which ways, and how they end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha3_256
from random import Random

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh import testing
from onionshh.client.contact import Contact
from onionshh.client.correspondence import TRANSFERS_MOST
from onionshh.client.delivery import transferring
from onionshh.client.endpoint import Endpoint
from onionshh.client.node import Node
from onionshh.core.delivery.parts import MOST_BYTES, PART_DATA
from onionshh.core.delivery.transfer_out import GROUP_LEAST, GROUP_MOST
from tests.client.world import PATIENCE_SECONDS, hosted, killed, small, until
from tests.inside import behind, circuits_of, inside, parts

LONG_SECONDS = 1200.0
MIB = 1024 * 1024


def some(size: int, seed: int = 1) -> bytes:
    return Random(seed).randbytes(size)


async def next_of(endpoint: Endpoint, seconds: float = LONG_SECONDS) -> onionshh.IncomingTransfer:
    with trio.fail_after(seconds):
        return await anext(endpoint.transfers())


@asynccontextmanager
async def pair(
    relays: int = 8, **terms: bool
) -> AsyncIterator[tuple[testing.Network, Node, Endpoint, Contact]]:
    """An endpoint, and a contact to it."""
    async with (
        small(relays) as net,
        hosted(net) as (_, endpoint),
        net.join("visitor") as node,
        node.contact(endpoint.address, **terms) as contact,
    ):
        yield net, node, endpoint, contact


async def test_a_mebibyte_arrives_whole_over_many_ways(autojump_clock: MockClock) -> None:
    async with pair(relays=12) as (_, _, endpoint, contact):
        whole = some(MIB)
        began = trio.current_time()
        transfer = contact.transfer(whole)
        incoming = await next_of(endpoint)
        assert incoming.size == MIB
        assert sha3_256(await incoming.whole()).digest() == sha3_256(whole).digest()
        assert incoming.id == transfer.id
        assert incoming.peer is not None
        await transfer.final()
        assert (transfer.status, transfer.sent_bytes, transfer.size) == ("delivered", MIB, MIB)
        groups = len(transfer.paths)
        count = -(-MIB // PART_DATA)
        assert count / GROUP_MOST <= groups <= count / GROUP_LEAST
        assert {path.hops for path in transfer.paths} == {2, 3}
        points = {path.relays[-1] for path in transfer.paths}
        assert len(points) > 1
        assert trio.current_time() > began + groups - 1  # pauses of 2 s on average
        assert contact.session is not None
        assert contact.session.resumed >= groups - 2
