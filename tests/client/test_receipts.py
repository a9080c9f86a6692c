"""Receipts: alone at once, together while whispers follow each other, never behind a full inbox."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio
from trio.testing import MockClock

from onionshh.client import courier, inbox
from onionshh.client.correspondence import RECEIPTS_WAIT_SECONDS
from onionshh.client.exchange import Exchange
from onionshh.core.whisper import RECEIPT, Record
from tests.client.world import hosted, small, until

BULK = bytes(60_000)


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many receipts each sending held."""
    counts: list[int] = []
    send = Exchange.send

    async def counted(self: Exchange, *records: Record) -> None:
        if records and records[0].kind == RECEIPT:
            counts.append(len(records))
        await send(self, *records)

    monkeypatch.setattr(Exchange, "send", counted)
    return counts


async def test_a_lone_whisper_is_acknowledged_at_once(autojump_clock: MockClock, together: list[int]) -> None:
    async with small() as net, hosted(net) as (_, endpoint), net.join("visitor") as visitor:
        async with visitor.contact(endpoint.address) as contact:
            await contact.whisper(b"first")
            receipt = await contact.whisper(b"alone")
            assert receipt.status == "delivered"
            assert receipt.round_trip_seconds is not None
            assert receipt.round_trip_seconds < RECEIPTS_WAIT_SECONDS / 2
            await contact.whisper(BULK)
            assert together == [1, 1, 1]


async def test_receipts_share_a_frame_while_whispers_follow(
    autojump_clock: MockClock, together: list[int]
) -> None:
    async with small() as net, hosted(net) as (_, endpoint), net.join("visitor") as visitor:
        async with visitor.contact(endpoint.address) as contact:
            await contact.whisper(b"first")
            together.clear()
            receipts = [contact.send(BULK) for _ in range(12)]
            with trio.fail_after(60):
                assert {(await one.final()).status for one in receipts} == {"delivered"}
            assert sum(together) == 12
            assert 1 < max(together) <= 8
            assert len(together) <= 6


async def test_what_is_kept_is_acknowledged_before_the_endpoint_waits_for_room(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "WHISPERS_MOST", 3)
    async with small() as net, hosted(net) as (_, endpoint), net.join("visitor") as visitor:
        async with visitor.contact(endpoint.address) as contact:
            receipts = [contact.send(BULK, ttl_seconds=3600) for _ in range(6)]
            start = trio.current_time()
            await until(lambda: sum(one.is_final for one in receipts) == 3, 60)
            assert trio.current_time() - start < 30
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def read() -> None:
                    async for whisper in endpoint:
                        await whisper.done()

                with trio.fail_after(600):
                    assert {(await one.final()).status for one in receipts} == {"delivered"}
                nursery.cancel_scope.cancel()


async def test_room_in_the_inbox_is_offered_to_all_who_wait_for_it(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "WHISPERS_MOST", 1)
    async with small() as net, hosted(net) as (_, endpoint), net.join("visitor") as visitor:
        async with AsyncExitStack() as stack:
            contacts = [await stack.enter_async_context(visitor.contact(endpoint.address)) for _ in range(6)]
            receipts = [contact.send(b"hello", ttl_seconds=3600) for contact in contacts]
            await until(lambda: sum(one.is_final for one in receipts) == 1, 60)
            await trio.sleep(5)
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def read() -> None:
                    async for whisper in endpoint:
                        await whisper.done()

                with trio.fail_after(4):  # before anyone tries another path
                    assert {(await one.final()).status for one in receipts} == {"delivered"}
                nursery.cancel_scope.cancel()


async def test_old_receipts_hold_no_bodies(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "KEPT_BYTES", 2 * len(BULK))
    async with small() as net, hosted(net) as (_, endpoint), net.join("visitor") as visitor:
        async with visitor.contact(endpoint.address) as contact:
            receipts = [await contact.whisper(BULK) for _ in range(6)]
            contact.send(b"one more")
            kept = [len(one.record.body) for one in receipts]
            assert sum(kept) <= 2 * len(BULK)
            assert kept[0] == 0
            assert all(one.status == "delivered" for one in receipts)
