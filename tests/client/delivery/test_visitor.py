"""A whisper goes there and its reply comes back, over 0 to 3 hops, whole and once (SPEC 13)."""

from __future__ import annotations

from collections import Counter

import pytest
import trio

import onionshh
from onionshh import testing
from onionshh.geometry import WHISPER_MAX
from tests.client.delivery.test_joined import of_visitor

WALL = 1_790_000_000


def body_of(size: int) -> bytes:
    """Bytes in which no part is like another, so that a lost or swapped cell shows."""
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))[:size]


async def echo(endpoint: onionshh.Endpoint) -> None:
    async for whisper in endpoint:
        await whisper.reply(whisper.body)


@pytest.mark.parametrize("hops", [0, 1, 2, 3])
async def test_every_size_there_and_back(hops: int, autojump_clock: trio.testing.MockClock) -> None:
    async with testing.network(wall_start=WALL, seed=hops) as net, net.join() as host, net.join() as visitor:
        async with (
            host.host(net.folder / "identity") as endpoint,
            visitor.contact(endpoint.address, hops=hops) as contact,
            trio.open_nursery() as nursery,
        ):
            await endpoint.reachable()
            nursery.start_soon(echo, endpoint)
            # Nothing, one byte, both sides of each padding class, and the most there is.
            for size in (0, 1, 256, 257, 1024, 1025, 4097, 16385, WHISPER_MAX):
                assert await contact.ask(body_of(size)) == body_of(size)
            receipt = await contact.whisper(b"the last")
            assert (receipt.status, receipt.hops, receipt.why) == ("delivered", hops, "")
            with pytest.raises(onionshh.TooLarge):
                contact.send(bytes(WHISPER_MAX + 1))
            meeting = [one for one in visitor.circuits() if one.purpose == "rendezvous"]
            assert [len(one.path) for one in meeting] == [hops + 1]
            nursery.cancel_scope.cancel()


async def test_many_at_once_are_each_delivered_once(autojump_clock: trio.testing.MockClock) -> None:
    async with testing.network(wall_start=WALL, seed=5) as net, net.join() as host, net.join() as visitor:
        got: Counter[bytes] = Counter()
        async with host.host(net.folder / "identity") as endpoint:
            await endpoint.reachable()

            async def read() -> None:
                async for whisper in endpoint:
                    got[whisper.body] += 1

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                async with visitor.contact(endpoint.address) as one, visitor.contact(endpoint.address) as two:
                    receipts = [
                        contact.send(f"{name} {number}".encode())
                        for name, contact in (("one", one), ("two", two))
                        for number in range(150)
                    ]
                    assert {receipt.status for receipt in receipts} == {"queued"}
                    for receipt in receipts:
                        await receipt.final()
                    assert {receipt.status for receipt in receipts} == {"delivered"}
                    assert all(receipt.round_trip_seconds is not None for receipt in receipts)
                await trio.sleep(1)
                nursery.cancel_scope.cancel()
        assert len(got) == 300
        assert set(got.values()) == {1}


async def test_the_first_whisper_rides_along_with_the_introduction(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A 256-byte whisper needs no cell of its own on the new circuit: one introduction and it is there."""
    async with (
        testing.network(wall_start=WALL, seed=6) as net,
        net.join() as host,
        net.join() as visitor,
        host.host(net.folder / "identity") as endpoint,
        visitor.contact(endpoint.address) as contact,
    ):
        await endpoint.reachable()
        assert (await contact.whisper(body_of(256))).status == "delivered"
        exchange = of_visitor(contact)
        assert exchange is not None
        # Delivered and acknowledged, and yet no counted cell has left end to end.
        assert exchange.circuit.sent_cells == 0
        assert (await contact.whisper(body_of(256))).status == "delivered"
        assert exchange.circuit.sent_cells == 1
