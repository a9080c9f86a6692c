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
from onionshh.core.delivery import transfer_out
from onionshh.core.delivery.parts import MOST_BYTES, PART_DATA, Part, TransferId, part_record
from onionshh.core.delivery.record import NO_ID, PART, Record
from onionshh.core.delivery.transfer_out import GROUP_LEAST, GROUP_MOST
from onionshh.ids import WhisperId
from onionshh.reasons import Reason
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
    relays: int = 8, *, session: bool = True
) -> AsyncIterator[tuple[testing.Network, Node, Endpoint, Contact]]:
    """An endpoint, and a contact to it."""
    async with (
        small(relays) as net,
        hosted(net) as (_, endpoint),
        net.join("visitor") as node,
        node.contact(endpoint.address, session=session) as contact,
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
        assert trio.current_time() > began  # by the pauses between groups, which chance draws
        assert contact.session is not None
        assert contact.session.resumed >= groups - 2


@pytest.mark.parametrize("size", [0, 1, PART_DATA, PART_DATA + 1])
async def test_what_is_small_arrives_as_well(size: int, autojump_clock: MockClock) -> None:
    async with pair() as (_, _, endpoint, contact):
        transfer = contact.transfer(some(size))
        assert await (await next_of(endpoint)).whole() == some(size)
        assert (await transfer.final()).status == "delivered"
        assert len(transfer.paths) == 1


async def test_an_endpoint_that_is_killed_in_the_middle_gets_the_rest(autojump_clock: MockClock) -> None:
    whole = some(700_000)
    async with small(8) as net, net.join("visitor") as node:
        async with killed(net) as (_, endpoint):
            contact = node.contact(endpoint.address)
            await contact.__aenter__()
            transfer = contact.transfer(whole)
            async for progress in transfer:
                if progress.sent_bytes > 200_000:
                    break
        assert not transfer.is_final
        async with hosted(net) as (_, endpoint):
            assert parts(endpoint).peers.transfers.machine.stored_bytes > 200_000
            incoming = await next_of(endpoint)
            assert await incoming.whole() == whole
            assert (await transfer.final()).status == "delivered"
        contact.close()


async def test_every_circuit_may_end_in_the_middle(autojump_clock: MockClock) -> None:
    async with pair() as (_, node, endpoint, contact):
        transfer = contact.transfer(some(500_000))
        killed_at = 0
        with trio.fail_after(LONG_SECONDS):
            async for progress in transfer:
                if progress.sent_bytes >= killed_at:
                    killed_at += 150_000
                    for circuit in list(inside(node).circuits.circuits):
                        circuit.close()
        assert transfer.status == "delivered"
        assert await (await next_of(endpoint)).whole() == some(500_000)


async def test_two_transfers_and_whispers_at_once(autojump_clock: MockClock) -> None:
    async with pair() as (_, _, endpoint, contact), trio.open_nursery() as nursery:

        async def shout(whisper: onionshh.Whisper) -> bytes:
            return whisper.body.upper()

        nursery.start_soon(endpoint.serve, shout)
        transfers = [contact.transfer(some(500_000, seed)) for seed in range(2)]
        asked = 0
        with trio.fail_after(LONG_SECONDS):
            while not all(transfer.is_final for transfer in transfers):
                assert await contact.ask(b"%d" % asked) == b"%d" % asked
                asked += 1
                await trio.sleep(0.2)
        assert asked > 1
        arrived = {}
        for _ in range(2):
            incoming = await next_of(endpoint)
            arrived[incoming.id] = await incoming.whole()
            await incoming.done()
        assert arrived == {transfer.id: some(500_000, seed) for seed, transfer in enumerate(transfers)}
        assert not set(transfers[0].paths) & set(transfers[1].paths)
        nursery.cancel_scope.cancel()


# How they end.


async def stalled(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    await trio.sleep_forever()


async def test_a_ttl_that_ends_in_the_middle_is_a_failure_at_both_ends(autojump_clock: MockClock) -> None:
    async with pair() as (_, _, endpoint, contact):
        transfer = contact.transfer(stalled(some(3 * PART_DATA)), ttl_seconds=100)
        with trio.fail_after(150):
            await transfer.final()
        assert transfer.status == "expired"
        assert transfer.why == "its time to live ended before all of it had arrived"
        incoming = await next_of(endpoint)
        assert incoming.failed == "its time to live ended before all of it had come"
        assert incoming.size == transfer.sent_bytes == 2 * PART_DATA
        assert incoming.id == transfer.id
        with pytest.raises(onionshh.BadData, match="its time to live ended"):
            await incoming.whole()
        await incoming.done()
        assert parts(endpoint).peers.transfers.machine.stored_bytes == 0


async def test_an_endpoint_that_is_gone_lets_it_expire(autojump_clock: MockClock) -> None:
    async with small(8) as net, net.join("visitor") as node:
        async with hosted(net) as (_, endpoint):
            address = endpoint.address
        async with node.contact(address) as contact:
            transfer = contact.transfer(b"x", ttl_seconds=60)
            await trio.sleep(30)
            before = transfer.status
            assert transfer.why != ""
            await transfer.final()
            assert [before, transfer.status] == ["sending", "expired"]


async def test_the_contact_or_the_node_is_closed(autojump_clock: MockClock) -> None:
    async with small(8) as net, hosted(net) as (_, endpoint):
        async with net.join("visitor") as node:
            async with node.contact(endpoint.address, name="named") as contact:
                first = contact.transfer(stalled(some(PART_DATA + 1)))
                await trio.sleep(20)
                assert behind(contact).transfers
            assert (first.status, first.why) == ("failed", transferring.CLOSED)
            assert not behind(contact).transfers
            contact = node.contact(endpoint.address)
            await contact.__aenter__()
            second = contact.transfer(stalled(some(PART_DATA + 1)))
            await trio.sleep(3)
        assert (second.status, second.why) == ("failed", transferring.CLOSED)


async def test_one_that_is_cancelled_leaves_no_lane(autojump_clock: MockClock) -> None:
    async with pair() as (_, _, _, contact):
        transfer = contact.transfer(stalled(some(2 * PART_DATA)))  # one part, and its group waits for another
        await until(lambda: transfer.sent_bytes == PART_DATA)
        assert circuits_of(behind(contact).lanes)
        transfer.cancel()
        transfer.cancel()
        assert (transfer.status, transfer.why) == ("failed", transferring.GIVEN_UP)
        assert not circuits_of(behind(contact).lanes)
        assert [progress async for progress in transfer] == [onionshh.TransferProgress(PART_DATA, None)]


async def test_a_source_that_fails(autojump_clock: MockClock) -> None:
    closed = []

    async def broken() -> AsyncIterator[bytes]:
        yield some(3 * PART_DATA)
        raise OSError("the disk is gone")

    async def wrong() -> AsyncIterator[bytes]:
        try:
            yield "text"  # type: ignore[misc]
        finally:
            closed.append(1)

    async with pair() as (_, _, _, contact):
        transfer = contact.transfer(broken())
        await transfer.final()
        assert (transfer.status, transfer.why) == ("failed", "its source failed: OSError: the disk is gone")
        transfer = contact.transfer(wrong())
        await transfer.final()
        assert transfer.why == "its source gave str in place of bytes"
        assert closed
        transfer = contact.transfer(stalled(b"1234"), size=3)
        await transfer.final()
        assert transfer.why == "its source gave more than the 3 bytes that were announced"


async def test_more_than_8_mebibytes(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with pair() as (_, _, _, contact):
        for source, size in ((bytes(MOST_BYTES + 1), None), (stalled(), MOST_BYTES + 1)):
            with pytest.raises(onionshh.TooLarge, match="transfers are not for bulk"):
                contact.transfer(source, size=size)
        monkeypatch.setattr(transfer_out, "MOST_BYTES", 200_000)
        transfer = contact.transfer(stalled(some(200_000), b"x"))
        with trio.fail_after(PATIENCE_SECONDS):
            await transfer.final()
        assert transfer.status == "failed"
        assert transfer.why.endswith("transfers are not for bulk, since every byte passes up to seven relays")


async def test_an_endpoint_without_receipts_gets_none(autojump_clock: MockClock) -> None:
    async with small(8) as net, net.join("host") as host, net.join("visitor") as node:
        async with host.host(net.folder / "identity", introducers=2, receipts=False) as endpoint:
            await endpoint.reachable()
            with pytest.raises(ValueError, match="receipts"):
                endpoint.transfers()
            async with node.contact(endpoint.address) as contact:
                transfer = contact.transfer(some(200_000))
                with trio.fail_after(PATIENCE_SECONDS):
                    await transfer.final()
                assert (transfer.status, transfer.why) == ("failed", transferring.NO_RECEIPTS)
                await contact.whisper(b"x")
                with pytest.raises(ValueError, match="sends no receipts"):
                    contact.transfer(b"x")


async def test_what_cannot_be_a_transfer(autojump_clock: MockClock) -> None:
    async with pair() as (_, _, _, contact):
        with pytest.raises(ValueError, match="said to be 3"):
            contact.transfer(b"four", size=3)
        with pytest.raises(TypeError, match="not str"):
            contact.transfer("text")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="number of bytes"):
            contact.transfer(stalled(), size="1")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="TTL"):
            contact.transfer(b"x", ttl_seconds=0)
        for _ in range(TRANSFERS_MOST):
            contact.transfer(stalled())
        with pytest.raises(onionshh.Full, match="16 transfers"):
            contact.transfer(b"x")
    with pytest.raises(onionshh.Closed):
        contact.transfer(b"x")


# At the endpoint.


async def test_strangers_circuits_bring_one_transfer(autojump_clock: MockClock) -> None:
    async with pair(session=False) as (_, _, endpoint, contact):
        transfer = contact.transfer(some(500_000))
        incoming = await next_of(endpoint)
        assert await incoming.whole() == some(500_000)
        assert incoming.peer is None
        assert (await transfer.final()).status == "delivered"
        assert len(transfer.paths) > 1


async def test_it_waits_on_disk_until_the_program_has_finished_it(autojump_clock: MockClock) -> None:
    async with small(8) as net, net.join("visitor") as node:
        async with hosted(net) as (_, endpoint), node.contact(endpoint.address) as contact:
            assert (await contact.transfer(some(100_000)).final()).status == "delivered"
            incoming = await next_of(endpoint)
            assert incoming.shown == 1
            assert incoming.received_at > 0
            incoming.let_go()
            with pytest.raises(onionshh.Closed):
                await incoming.whole()
            incoming = await next_of(endpoint)
            assert incoming.shown == 2
        with pytest.raises(onionshh.Closed):
            await incoming.done()
        async with hosted(net) as (_, endpoint):
            async for incoming in endpoint.transfers():
                assert incoming.shown == 3
                assert incoming.peer is not None
                assert await incoming.whole() == some(100_000)
                await incoming.done()
                await incoming.done()
                break
            machine = parts(endpoint).peers.transfers.machine
            assert (machine.unfinished, machine.stored_bytes) == (0, 0)
        async with hosted(net) as (_, endpoint):
            with trio.move_on_after(60) as scope:
                await next_of(endpoint)
            assert scope.cancelled_caught


async def test_a_slow_reader_holds_up_nobody(autojump_clock: MockClock) -> None:
    async with pair() as (_, _, endpoint, contact):
        first = contact.transfer(some(200_000))
        incoming = await next_of(endpoint)
        pieces = []
        async for piece in incoming:
            pieces.append(piece)
            assert (await contact.transfer(piece).final()).status == "delivered"
            await trio.sleep(60)
        assert b"".join(pieces) == some(200_000)
        assert (await first.final()).status == "delivered"
        assert parts(endpoint).peers.transfers.machine.unfinished == 1 + len(pieces)


# Senders that keep to no rule.


def cut(whole: bytes, name: bytes, whole_hash: bytes | None = None) -> list[Part]:
    pieces = [whole[at : at + PART_DATA] for at in range(0, len(whole), PART_DATA)]
    last = len(pieces) - 1
    whole_hash = sha3_256(whole).digest() if whole_hash is None else whole_hash
    return [
        Part(TransferId(name.ljust(16, b".")), number, data, whole_hash if number == last else None)
        for number, data in enumerate(pieces)
    ]


async def sent(contact: Contact, node: Node, part: Part, ttl_seconds: int = 600) -> onionshh.Receipt:
    """A part by itself, and what became of it."""
    clock = inside(node).clock
    record = part_record(
        part,
        expires=clock.best() // 100_000 * 100_000 + 100_000,
        privacy_class=1,
        random_bytes=inside(node).chance.bytes,
    )
    return await behind(contact).sending.submit(record, clock.monotonic() + ttl_seconds).final()


async def test_a_whole_with_another_hash_is_refused_and_erased(autojump_clock: MockClock) -> None:
    async with pair() as (_, node, endpoint, contact):
        first, last = cut(some(PART_DATA + 5), b"wrong", whole_hash=bytes(32))
        assert (await sent(contact, node, first)).status == "delivered"
        refused = await sent(contact, node, last)
        assert refused.status == "failed"
        assert "do not fit together" in refused.why
        incoming = await next_of(endpoint)
        assert incoming.failed == "its parts do not fit together"
        again = await sent(contact, node, first)
        assert again.status == "failed"
        assert parts(endpoint).peers.transfers.machine.stored_bytes == 0


async def test_parts_of_somebody_else_end_a_transfer_and_no_other(autojump_clock: MockClock) -> None:
    async with pair() as (_, node, endpoint, contact):
        first, second, last = cut(some(2 * PART_DATA + 5), b"one")
        assert (await sent(contact, node, first)).status == "delivered"
        assert (await sent(contact, node, cut(b"other", b"another")[0])).status == "delivered"
        foreign = Part(first.transfer, 0, second.data)
        assert (await sent(contact, node, foreign)).status == "failed"
        assert (await sent(contact, node, last)).status == "failed"
        assert (await next_of(endpoint)).failed == "its parts do not fit together"
        assert await (await next_of(endpoint)).whole() == b"other"


async def test_without_its_last_part_nothing_is_shown(autojump_clock: MockClock) -> None:
    async with pair() as (_, node, endpoint, contact):
        for part in cut(some(3 * PART_DATA), b"no end")[:-1]:
            assert (await sent(contact, node, part)).status == "delivered"
        with trio.move_on_after(600) as scope:
            await next_of(endpoint)
        assert scope.cancelled_caught
        assert parts(endpoint).peers.transfers.machine.stored_bytes == 2 * PART_DATA


async def test_what_is_no_part_ends_its_circuit(autojump_clock: MockClock) -> None:
    async with small(8) as net, hosted(net) as (host, endpoint), net.join("visitor") as node:
        async with node.contact(endpoint.address) as contact:
            clock = inside(node).clock
            record = Record(
                WhisperId(b"i" * 16), NO_ID, clock.best() + 600, privacy_class=1, kind=PART, body=bytes(100)
            )
            receipt = behind(contact).sending.submit(record, clock.monotonic() + 60)
            await receipt.final()
            assert receipt.status == "expired"
        assert host.drops()[Reason.PART_SIZE.value] > 0
