"""Records over a joined circuit: a bad one ends it and nothing else, an idle one is let go (SPEC 13)."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.contact import Contact
from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.endpoint import Endpoint
from onionshh.client.hosting.whisper_store import WhisperStore
from onionshh.client.receipt import Receipt
from onionshh.core.delivery import receiver
from onionshh.core.delivery.record import ASK, NO_ID, PART, PROVE, RECEIPT, REFUSED, WHISPER, Record
from onionshh.core.delivery.way import IDLE_SECONDS
from onionshh.ids import WhisperId
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from tests.client.world import WALL, echo, hosted, small, until
from tests.inside import circuits_of, parts, sending_of

QUIET = dict(interval_seconds=300)


def record(
    kind: int = WHISPER,
    *,
    whisper_id: bytes = b"i" * 16,
    in_reply_to: bytes = NO_ID,
    expires: int = WALL + 600,
    body: bytes = b"",
) -> Record:
    return Record(WhisperId(whisper_id), WhisperId(in_reply_to), expires, 1, kind, body)


BAD = {
    Reason.RECORD_SIZE: record().encode() + b"\0",
    Reason.RECORD_KIND: record(10).encode(),
    Reason.RECORD_REPLY: record(RECEIPT).encode(),
    Reason.RECORD_PADDING: record(body=b"x").encode()[:-1] + b"\1",
    Reason.RECORD_LENGTH: record().encode()[:38] + b"\xff\xff" + bytes(256),
    Reason.RECORD_BODY: record(REFUSED, in_reply_to=b"y" * 16, body=b"\x09").encode(),
}


def of_visitor(contact: Contact) -> JoinedCircuit:
    (joined,) = circuits_of(sending_of(contact).lanes)
    return joined


def again(contact: Contact, record: Record, seconds: float = 600.0) -> Receipt:
    """A copy of a whisper, or one of other dates, sent as if it was new."""
    return sending_of(contact).submit(record, trio.current_time() + seconds)


def only(endpoint: Endpoint) -> JoinedCircuit:
    (exchange,) = circuits_of(parts(endpoint).peers.lanes)
    return exchange


async def test_a_bad_record_ends_its_circuit_and_no_other(autojump_clock: MockClock) -> None:
    async with small(5, **QUIET) as net, net.join() as visitor, hosted(net) as (node, endpoint):
        async with visitor.contact(endpoint.address) as good, visitor.contact(endpoint.address) as bad:
            assert (await good.whisper(b"hello")).status == "delivered"
            untouched = of_visitor(good)
            for reason, data in BAD.items():
                assert (await bad.whisper(b"hello")).status == "delivered"
                exchange = of_visitor(bad)
                exchange.circuit.send(m.RECORD, data)
                await until(lambda it=exchange: not it.open, 30)  # type: ignore[misc]
                assert node.drops()[reason] == 1
                assert untouched.open
            assert (await bad.whisper(b"hello")).status == "delivered"
            assert of_visitor(good) is untouched
            assert len(circuits_of(parts(endpoint).peers.lanes)) == 2


async def test_a_bad_record_from_the_endpoint_ends_the_circuit_too(autojump_clock: MockClock) -> None:
    async with small(5, **QUIET) as net, net.join() as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact:
            for reason, data in BAD.items():
                assert (await contact.whisper(b"hello")).status == "delivered"
                exchange = of_visitor(contact)
                only(endpoint).circuit.send(m.RECORD, data)
                await until(lambda it=exchange: not it.open, 30)  # type: ignore[misc]
                assert visitor.drops()[reason] == 1
            assert (await contact.whisper(b"hello")).status == "delivered"


async def test_a_kind_that_nobody_there_reads_is_dropped_and_the_circuit_goes_on(
    autojump_clock: MockClock,
) -> None:
    """From either side, before something that counts. The endpoint reads a question, and does not know what
    it is about; it reads parts as well, and the visitor reads none."""
    unread = [record(ASK, in_reply_to=b"x" * 16), record(PROVE, body=bytes(72))]
    async with small(5, **QUIET) as net, net.join() as visitor, hosted(net) as (node, endpoint):
        async with visitor.contact(endpoint.address, session=False) as contact:
            await contact.whisper(b"hello")
            exchange = of_visitor(contact)
            for side in (exchange, only(endpoint)):
                for one in unread:
                    side.circuit.send(m.RECORD, one.encode())
            only(endpoint).circuit.send(m.RECORD, record(PART, body=bytes(22)).encode())
            assert (await contact.whisper(b"hello again")).status == "delivered"
            await trio.sleep(5)
            assert of_visitor(contact) is exchange
            assert node.drops() == {Reason.RECORD_WITHOUT_SESSION: 1}
            assert visitor.drops() == {Reason.RECORD_UNREAD: 2, Reason.RECORD_WITHOUT_SESSION: 1}


async def test_what_nobody_asked_for_changes_nothing(autojump_clock: MockClock) -> None:
    """Receipts and replies to whispers that never were, from either side."""
    async with small(5, **QUIET) as net, net.join() as visitor, hosted(net) as (node, endpoint):
        async with visitor.contact(endpoint.address) as contact:
            waiting = contact.send(b"question")
            await waiting.final()
            for exchange in (of_visitor(contact), only(endpoint)):
                stray = record(RECEIPT, in_reply_to=b"x" * 16, whisper_id=b"1" * 16)
                exchange.circuit.send(m.RECORD, stray.encode())
            answer = record(in_reply_to=b"y" * 16, whisper_id=b"2" * 16, body=b"to nobody")
            only(endpoint).circuit.send(m.RECORD, answer.encode())
            await trio.sleep(5)
            assert of_visitor(contact).open
            assert waiting.reply_body is None
            assert node.drops() == visitor.drops() == {}
            # A second answer to one whisper is acknowledged and forgotten.
            whisper = await anext(aiter(endpoint))
            for body in (b"first", b"second"):
                record_of = record(
                    in_reply_to=bytes.fromhex(whisper.id), whisper_id=body.ljust(16), body=body
                )
                only(endpoint).circuit.send(m.RECORD, record_of.encode())
            assert await waiting.reply() == b"first"
            await trio.sleep(5)
            assert await waiting.reply() == b"first"


async def test_the_same_whisper_on_two_circuits_is_shown_once_and_acknowledged_twice(
    autojump_clock: MockClock,
) -> None:
    async with small(5, **QUIET) as net, net.join() as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as one, visitor.contact(endpoint.address) as two:
            receipt = await one.whisper(b"hello")
            await two.whisper(b"another")
            copy = again(two, record(whisper_id=bytes.fromhex(receipt.id), body=b"hello"))
            assert (await copy.final()).status == "delivered"
            got = []
            with trio.move_on_after(5):
                async for whisper in endpoint:
                    got.append(whisper.body)  # noqa: PERF401
            assert got == [b"hello", b"another"]


async def test_circuits_that_idle_are_let_go(autojump_clock: MockClock) -> None:
    async with small(5, **QUIET) as net, net.join() as visitor, hosted(net) as (_, endpoint):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo, endpoint)
            async with visitor.contact(endpoint.address) as contact:
                assert await contact.ask(b"hello") == b"hello"
                exchange = of_visitor(contact)
                await trio.sleep(IDLE_SECONDS[0] - 5)
                assert await contact.ask(b"again") == b"again"
                assert of_visitor(contact) is exchange
                await trio.sleep(IDLE_SECONDS[0] - 5)
                ended = [exchange.circuit.failed]
                await trio.sleep(IDLE_SECONDS[1])
                ended.append(exchange.circuit.failed)
                assert ended == [None, "idle"]
                assert not circuits_of(parts(endpoint).peers.lanes)
                assert await contact.ask(b"and anew") == b"and anew"
                # A visitor who neither speaks nor leaves is let go by the endpoint.
                await trio.sleep(receiver.VISITOR_IDLE_SECONDS + 120)
                assert not circuits_of(parts(endpoint).peers.lanes)
            nursery.cancel_scope.cancel()


async def test_with_too_many_visitors_the_one_silent_longest_goes(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert receiver.LANES_MOST == 1024
    monkeypatch.setattr(receiver, "LANES_MOST", 2)
    async with small(5, **QUIET) as net, net.join() as visitor, hosted(net) as (node, endpoint):
        address = endpoint.address
        async with (
            visitor.contact(address) as a,
            visitor.contact(address) as b,
            visitor.contact(address) as c,
        ):
            for contact in (a, b, a):
                assert (await contact.whisper(b"hello")).status == "delivered"
                await trio.sleep(1)
            kept, goes = of_visitor(a), of_visitor(b)
            assert (await c.whisper(b"hello")).status == "delivered"
            await until(lambda: not goes.open, 10)
            assert kept.open
            assert node.drops() == {Reason.EXCHANGES_MOST: 1}
            assert (await b.whisper(b"hello")).status == "delivered"


async def test_a_reply_waits_on_disk_for_its_visitor_and_expires(autojump_clock: MockClock) -> None:
    async with small(5, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact:
            await contact.whisper(b"question")
        whisper = await anext(aiter(endpoint))
        await trio.sleep(10)  # the visitor has gone
        receipt = await whisper.reply(b"answer")
        await trio.sleep(30)
        assert receipt.status == "queued"
        stored = WhisperId(bytes.fromhex(whisper.id))
        store = WhisperStore(parts(endpoint).database)
        assert len(await store.replies_to(stored)) == 1
        with trio.fail_after(800):
            await receipt.final()
        assert (receipt.status, receipt.why) == ("expired", "the visitor did not come back for it in time")
        await trio.sleep(61)
        assert await store.replies_to(stored) == []
