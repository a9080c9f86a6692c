"""A whisper goes there and its reply comes back, over 0 to 3 hops, whole and once (SPEC 13)."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

import onionshh
from onionshh import testing
from onionshh.client.correspondence import LINGER_SECONDS
from onionshh.client.delivery.lanes import LaneSet
from onionshh.client.delivery.sending import NotReached, Opening, Sending
from onionshh.client.receipt import PathInfo
from onionshh.core.delivery.actions import Failure
from onionshh.core.delivery.record import Record, new_whisper, receipt_for
from onionshh.core.delivery.way import PAUSES_NOBODY_SECONDS
from onionshh.geometry import WHISPER_MAX
from onionshh.ids import WhisperId
from onionshh.reasons import Reason
from tests.client.delivery.pipe import Pipe
from tests.client.delivery.test_joined import of_visitor, only
from tests.client.hostile import HostileIntroducer, mount
from tests.client.world import hosted, small
from tests.inside import circuits_of, inside, sending_of
from tests.seeded import seeded

WALL = 1_790_000_000
QUIET = dict(interval_seconds=300)


def body_of(size: int) -> bytes:
    """Bytes in which no part is like another, so that a lost or swapped cell shows."""
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))[:size]


async def first_of(endpoint: onionshh.Endpoint, count: int) -> AsyncIterator[bytes]:
    iteration = aiter(endpoint)
    for _ in range(count):
        yield (await anext(iteration)).body


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
        # Delivered and acknowledged, and yet no counted cell has left end to end.
        assert exchange.circuit.sent_cells == 0
        assert (await contact.whisper(body_of(256))).status == "delivered"
        assert exchange.circuit.sent_cells == 1


async def test_a_lane_that_is_lost_costs_no_whisper(autojump_clock: trio.testing.MockClock) -> None:
    """The next one goes over another lane, and the endpoint is shown each once."""
    async with (
        small(**QUIET) as net,
        net.join("visitor") as visitor,
        hosted(net) as (_, endpoint),
    ):
        async with visitor.contact(endpoint.address) as contact:
            await contact.whisper(b"first")
            lost = of_visitor(contact)
            lost.circuit.close(Reason.CLOSED)
            receipt = contact.send(b"second")
            with trio.fail_after(5):  # not first when a receipt of it is overdue
                await receipt.final()
            assert receipt.status == "delivered"
            assert of_visitor(contact) is not lost
            got = []
            with trio.move_on_after(5):
                async for whisper in endpoint:
                    got.append(whisper.body)  # noqa: PERF401
            assert got == [b"first", b"second"]


async def test_nobody_is_left_with_a_lane_once_the_contact_is_closed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A moment late: the end of a circuit would overtake what waits in it."""
    async with (
        small(**QUIET) as net,
        net.join("visitor") as visitor,
        hosted(net) as (_, endpoint),
    ):
        async with visitor.contact(endpoint.address) as contact:
            await contact.whisper(b"hello")
            mine, theirs = of_visitor(contact), only(endpoint)
            late = contact.send(bytes(60_000))
        assert (late.status, late.why) == ("failed", "the contact was closed before a receipt came")
        await trio.sleep(LINGER_SECONDS / 2)
        assert mine.open
        await trio.sleep(LINGER_SECONDS)
        assert (mine.open, theirs.open) == (False, False)
        assert [whisper async for whisper in first_of(endpoint, 2)] == [b"hello", bytes(60_000)]


async def test_it_says_what_is_in_the_way_and_wakes_whoever_waits_for_news(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with small(**QUIET) as net, net.join("visitor") as visitor:
        async with hosted(net) as (_, endpoint):
            address = endpoint.address
        async with visitor.contact(address) as contact:
            delivery = sending_of(contact)
            assert (delivery.sender.away, delivery.sender.problem) == (False, "")
            receipt = contact.send(b"anybody?", ttl_seconds=600)
            with trio.fail_after(60):
                await delivery.changed()
            assert receipt.why == delivery.sender.problem != ""
            async with hosted(net):
                with trio.fail_after(300):
                    await receipt.final()
            assert (receipt.status, delivery.sender.away, delivery.sender.problem) == ("delivered", False, "")


async def test_a_way_that_nobody_needs_any_more_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    """Its whisper expired while the endpoint was awaited at the meeting point."""
    async with small(**QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        for running in net.relays:  # each says that it passes introductions on, and does not
            mount(running, HostileIntroducer(running))
        async with visitor.contact(endpoint.address) as contact:
            receipt = contact.send(b"hello", ttl_seconds=5)
            await trio.sleep(4)
            waiting = [one for one in visitor.circuits() if one.purpose == "rendezvous"]
            assert len(waiting) == 1
            await receipt.final()
            await trio.sleep(1)
            assert receipt.status == "expired"
            assert not [one for one in visitor.circuits() if one.purpose == "rendezvous"]
            assert circuits_of(sending_of(contact).lanes) == []


class Doors:
    """A way to the other end without circuits: each try ends as `ends` says, in order."""

    def __init__(self, *ends: Opening | NotReached) -> None:
        self._ends = list(ends)
        self.tried: list[bytes] = []
        self.heard: list[bytes] = []

    async def once(self, record: Record, *, more: bool) -> Opening:
        await trio.lowlevel.checkpoint()
        self.tried.append(record.body)
        end = self._ends.pop(0)
        if isinstance(end, NotReached):
            raise end
        return end

    def arrived(self, whisper: WhisperId) -> None:
        self.heard.append(whisper)

    def silent(self, whisper: WhisperId) -> None:
        self.heard.clear()


@asynccontextmanager
async def driven(*ends: Opening | NotReached) -> AsyncIterator[tuple[Sending, Doors, LaneSet]]:
    async with small(3) as net, net.join() as node, trio.open_nursery() as nursery:
        lanes, doors = LaneSet(), Doors(*ends)
        lanes.nursery = nursery
        sending = Sending(inside(node), lanes, doors)
        nursery.start_soon(sending.keep_time)
        yield sending, doors, lanes
        nursery.cancel_scope.cancel()


def small_whisper(body: bytes) -> Record:
    return new_whisper(body, expires=WALL + 600, privacy_class=1, random_bytes=seeded(4))


async def test_what_goes_alone_is_sent_and_its_receipt_may_come_over_any_lane(
    autojump_clock: trio.testing.MockClock,
) -> None:
    alone = Opening(None, True, (PathInfo(2, ("aa", "bb", "cc")),), resumed=True)
    async with driven(alone) as (sending, doors, lanes):
        record = small_whisper(b"hello")
        receipt = sending.accept(record, trio.current_time() + 600)
        await trio.testing.wait_all_tasks_blocked()
        status = receipt.status
        assert (status, receipt.resumed, receipt.hops) == ("sent", True, 2)
        sending.bring(lanes.add(Pipe(), writers=1), receipt_for(record, seeded(5)))
        assert [status, receipt.status] == ["sent", "delivered"]
        assert (doors.tried, doors.heard) == ([b"hello"], [record.whisper_id])


async def test_a_failed_try_is_told_and_the_next_one_begins_after_a_pause(
    autojump_clock: trio.testing.MockClock,
) -> None:
    failed = NotReached(Failure("the bridge is down", nobody=True))
    async with driven(failed, Opening(None, True, ())) as (sending, doors, _):
        receipt = sending.accept(small_whisper(b"hello"), trio.current_time() + 600)
        with trio.fail_after(1):
            await sending.changed()
        status = receipt.status
        assert (status, sending.sender.problem) == ("queued", "the bridge is down")
        await trio.sleep(PAUSES_NOBODY_SECONDS[0])
        assert len(doors.tried) == 2
        assert [status, receipt.status] == ["queued", "sent"]


async def test_one_key_is_one_whisper(autojump_clock: trio.testing.MockClock) -> None:
    async with driven(Opening(None, True, ())) as (sending, _, _):
        record, deadline = small_whisper(b"a lamp"), trio.current_time() + 600
        receipt = sending.accept(record, deadline, b"order 17")
        assert sending.accept(small_whisper(b"a lamp"), deadline, b"order 17") is receipt
        with pytest.raises(ValueError, match="another body"):
            sending.accept(small_whisper(b"two lamps"), deadline, b"order 17")
        assert sending.pending() == [receipt]
        sending.close("it was closed")
        assert (sending.pending(), receipt.status, receipt.why) == ([], "failed", "it was closed")
