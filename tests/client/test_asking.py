"""Asking and putting: who is away, what waits for room, what a moment's numbers say, and the wrong loop."""

from __future__ import annotations

import asyncio

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh.client.identities import Identity
from onionshh.core.delivery import sender
from tests.client.world import echo, hosted, small, until
from tests.seeded import seeded

QUIET = dict(interval_seconds=300)


async def test_who_is_away_is_told_at_once_and_the_whisper_waits_on(autojump_clock: MockClock) -> None:
    async with small(**QUIET) as net, net.join("visitor") as visitor:
        address = Identity.load_or_create(net.folder / "identity", seeded(97)).address
        async with visitor.contact(address) as contact:
            started = trio.current_time()
            with pytest.raises(onionshh.Away, match="no endpoint is published") as caught:
                await contact.ask(b"hello", timeout_seconds=300, unless_away=True)
            assert trio.current_time() - started < 10
            assert caught.value.status == "queued"
            async with hosted(net) as (_, endpoint), trio.open_nursery() as nursery:
                with trio.fail_after(120):
                    whisper = await anext(aiter(endpoint))
                assert whisper.body == b"hello"  # it waited for its endpoint
                await whisper.done()
                nursery.start_soon(echo, endpoint)
                assert await contact.ask(b"and now", unless_away=True) == b"and now"
                nursery.cancel_scope.cancel()


async def test_a_whisper_may_outlive_the_patience_of_who_asks(autojump_clock: MockClock) -> None:
    async with small(**QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact:
            with pytest.raises(onionshh.NotDelivered, match="no reply came in time"):
                await contact.ask(b"hello", timeout_seconds=5, ttl_seconds=600)
            whisper = await anext(aiter(endpoint))
            assert whisper.expires_at - whisper.received_at > 500


async def test_what_is_put_waits_for_room(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "WAITING_MOST", 3)
    async with small(**QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact:
            with trio.fail_after(60):
                receipts = [await contact.put(b"%d" % number) for number in range(12)]
                for receipt in receipts:
                    assert (await receipt.final()).status == "delivered"


async def test_the_numbers_of_a_moment(autojump_clock: MockClock) -> None:
    async with small(**QUIET) as net, net.join("visitor") as visitor, hosted(net) as (node, endpoint):
        async with visitor.contact(endpoint.address) as contact:
            assert (await contact.whisper(b"hello")).status == "delivered"
            status = endpoint.status()
            assert (status.reachable, status.why, status.introducers) == (True, "", 2)
            assert (status.visitors, status.unfinished, status.replies_waiting) == (1, 1, 0)
            assert (status.effort, status.inbox_crowded) == (0, False)
            here = visitor.status()
            assert here.online
            assert here.guards_up >= 1
            assert (here.relays, here.circuits) == (5, len(visitor.circuits()))
            assert here.consensus_age_seconds is not None
            assert 0 <= here.consensus_age_seconds < 700
            assert here.drops == visitor.drops()
        await until(lambda: endpoint.status().visitors == 0)
        assert node.status().online


def test_another_loop_is_told_in_one_sentence() -> None:
    async def main() -> None:
        async with onionshh.join("net.toml", data_dir="visitor"):
            pass

    with pytest.raises(onionshh.WrongLoop, match=r"use trio\.run"):
        asyncio.run(main())
