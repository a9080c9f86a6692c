"""A reply comes, or it is said that none will: nobody waits for what cannot come any more (SPEC 13)."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh.client.endpoint import Endpoint
from onionshh.client.reach.connect import connect
from onionshh.client.whisper import Whisper
from onionshh.core.delivery import inbox, kept, outgoing
from onionshh.core.delivery.actions import LaneId
from onionshh.core.delivery.record import new_whisper
from onionshh.core.delivery.visitor_lane import VISITOR_SENDINGS_MOST
from onionshh.core.delivery.way import IDLE_WHILE_ASKED_SECONDS
from onionshh.reasons import Reason
from tests.client.delivery.test_joined import of_visitor
from tests.client.delivery.test_receiving import replies_on_disk
from tests.client.world import Stranger, echo, hosted, small, until
from tests.inside import circuits_of, inside, parts, sending_of

QUIET = dict(interval_seconds=300)


async def answer_after(endpoint: Endpoint, seconds: float, only: bytes = b"") -> None:
    """Answer each whisper in a task of its own; those that begin with `only` after some seconds."""

    async def answer(whisper: Whisper) -> None:
        if whisper.body.startswith(only):
            await trio.sleep(seconds)
        await whisper.reply(b"answer to " + whisper.body[:8])

    async with trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(answer, await anext(aiter(endpoint)))


async def test_a_reply_wanted_once_another_circuit_is_there_is_asked_for_over_that(
    autojump_clock: MockClock,
) -> None:
    async with small(**QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact:
            question = await contact.whisper(b"question", ttl_seconds=3600)
            of_visitor(contact).circuit.close(Reason.CLOSED)
            await trio.sleep(1)
            assert (await contact.whisper(b"something else")).status == "delivered"
            whisper = await anext(aiter(endpoint))
            assert whisper.body == b"question"
            await whisper.reply(b"answer")  # the way back that the endpoint knows is gone
            with trio.fail_after(60):
                assert await question.reply() == b"answer"


async def test_a_slow_answer_finds_its_way_however_many_whispers_came_meanwhile(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "WHISPERS_MOST", 4)
    async with small(**QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact, visitor.contact(endpoint.address) as other:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer_after, endpoint, 5.0, b"slow")
                answers = []

                @nursery.start_soon
                async def ask() -> None:
                    answers.append(await contact.ask(b"slow", timeout_seconds=30))

                await trio.sleep(1)
                for number in range(20):
                    await other.ask(b"quick %d" % number)
                assert len(parts(endpoint).peers.receiving.receiver.inbox) <= 4
                await until(lambda: bool(answers), 10)
                assert answers == [b"answer to slow"]
                nursery.cancel_scope.cancel()
    assert not circuits_of(parts(endpoint).peers.lanes)


async def test_a_visitor_who_takes_no_replies_is_not_listened_to_for_long(autojump_clock: MockClock) -> None:
    """Else each of his smallest whispers would leave an answer of 64 KiB in the endpoint's memory."""
    async with small(**QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def serve() -> None:
                async for whisper in endpoint:
                    await whisper.reply(bytes(65_535))

            stranger, context = Stranger(visitor, endpoint.address), inside(visitor)
            found = await stranger.find()
            introducer = found.descriptor.introducers[0]
            exchange, _ = await connect(context, found, introducer, hops=2, privacy_class=1, record=b"")
            exchange.circuit._machine.pause()  # he acknowledges nothing
            for _ in range(100):
                whisper = new_whisper(
                    b"x",
                    expires=context.clock.wall() + 600,
                    privacy_class=1,
                    random_bytes=context.chance.bytes,
                )
                await exchange.send(whisper)
                await trio.sleep(0.1)
            (served,) = circuits_of(parts(endpoint).peers.lanes)
            assert served.circuit.waiting_messages <= 2 * VISITOR_SENDINGS_MOST
            assert len(parts(endpoint).peers.receiving.receiver.replies) < 20
            exchange.close()
            await until(lambda: not circuits_of(parts(endpoint).peers.lanes))
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("rounds", range(6))
async def test_a_reply_while_the_endpoint_closes_is_told_its_end(
    autojump_clock: MockClock, rounds: int
) -> None:
    async with small(**QUIET) as net, net.join("visitor") as visitor, net.join("host") as node:
        async with node.host(net.folder / "identity", introducers=2) as endpoint:
            await endpoint.reachable()
            async with visitor.contact(endpoint.address) as contact:
                await contact.whisper(b"question")
            whisper = await anext(aiter(endpoint))
            receipts = []
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def answer() -> None:
                    with suppress(onionshh.Closed):
                        receipts.append(await whisper.reply(b"answer"))

                for _ in range(rounds):
                    await trio.lowlevel.checkpoint()
                await endpoint.__aexit__()
            for receipt in receipts:
                with trio.fail_after(10):
                    await receipt.final()


async def test_replies_to_whispers_whose_bodies_are_forgotten_are_given_to_who_waits(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "WHOLE_BYTES", 1000)
    async with small(**QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact, trio.open_nursery() as nursery:
            nursery.start_soon(answer_after, endpoint, 5.0)
            receipts = [contact.send(b"%d" % number + bytes(500)) for number in range(6)]
            for receipt in receipts:
                await receipt.final()
            await trio.sleep(0.1)
            await contact.whisper(b"the last")
            with trio.fail_after(10):
                for number, receipt in enumerate(receipts):
                    assert await receipt.reply() == b"answer to %d" % number + bytes(7)
            nursery.cancel_scope.cancel()


async def test_what_is_forgotten_cannot_be_asked_for_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its circuit is lost: who waits for the reply is told so, and who asks for it later."""
    monkeypatch.setattr(kept, "WHOLE_BYTES", 10)
    async with small(**QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact, trio.open_nursery() as nursery:
            receipt = await contact.whisper(b"a long question")
            await contact.whisper(b"another one")
            replies = []

            @nursery.start_soon
            async def wait() -> None:
                replies.append(await receipt.reply())

            await trio.sleep(100)
            assert not replies
            of_visitor(contact).circuit.close(Reason.CLOSED)
            await trio.sleep(1)
            assert replies == [None]
            with trio.fail_after(1):
                assert await receipt.reply() is None


async def test_past_its_time_a_reply_can_come_on_its_circuit_alone(autojump_clock: MockClock) -> None:
    async with small(**QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact, trio.open_nursery() as nursery:
            slow, never = [await contact.whisper(body, ttl_seconds=5) for body in (b"slow", b"never")]
            replies: list[bytes | None] = []

            async def wait(receipt: onionshh.Receipt) -> None:
                replies.append(await receipt.reply())

            nursery.start_soon(wait, slow)
            nursery.start_soon(wait, never)
            for _ in range(6):
                await trio.sleep(100)
                await contact.whisper(b"so that the circuit stays")
            async for whisper in endpoint:  # those whose senders still wait come first
                if whisper.body == b"slow":
                    await whisper.reply(b"at last")
                    break
            await trio.sleep(1)
            assert replies == [b"at last"]
            of_visitor(contact).circuit.close(Reason.CLOSED)
            await trio.sleep(1)
            assert replies == [b"at last", None]


async def test_without_a_circuit_nobody_waits_past_the_time_in_which_one_can_ask(
    autojump_clock: MockClock,
) -> None:
    async with small(**QUIET) as net, net.join("visitor") as visitor:
        async with hosted(net) as (_, endpoint):
            async with visitor.contact(endpoint.address) as contact, trio.open_nursery() as nursery:
                receipt = await contact.whisper(b"question", ttl_seconds=60)
                replies = []

                @nursery.start_soon
                async def wait() -> None:
                    replies.append(await receipt.reply())

                await trio.sleep(1)
                await endpoint.__aexit__()
                await trio.sleep(200)
                assert not replies  # it may come back
                await trio.sleep(outgoing.ASKABLE_SECONDS)
                assert replies == [None]


async def test_a_closed_contact_keeps_nobody_waiting(autojump_clock: MockClock) -> None:
    async with small(**QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with trio.open_nursery() as nursery:
            replies = []
            async with visitor.contact(endpoint.address) as contact:
                receipt = await contact.whisper(b"question")

                @nursery.start_soon
                async def wait() -> None:
                    replies.append(await receipt.reply())

                await trio.sleep(1)
            await trio.sleep(1)
            assert replies == [None]
            with trio.fail_after(1):
                assert await receipt.reply() is None


async def test_an_answer_in_hand_counts_though_the_wait_for_it_just_ended(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with small(**QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact, trio.open_nursery() as nursery:
            nursery.start_soon(echo, endpoint)
            await contact.ask(b"x")
            await trio.sleep(1)
            exchange = of_visitor(contact)
            cell, delivery = exchange.circuit.cell, sending_of(contact)

            def then_late(command: int, body: bytes) -> None:
                cell(command, body)
                if exchange.more_is_coming and exchange.open:
                    delivery.lane_gone(LaneId(1))

            monkeypatch.setattr(exchange.circuit, "cell", then_late)
            receipt = contact.send(b"question")
            assert await receipt.reply() == b"question"
            assert receipt.status == "delivered"
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("pause_seconds", [1, 1300])
async def test_receipts_owed_for_too_long_end_no_circuit(
    pause_seconds: float, autojump_clock: MockClock
) -> None:
    """The endpoint is told over the next circuit that its answer came, however late that is."""
    async with small(**QUIET) as net, net.join("visitor") as visitor, hosted(net) as (node, endpoint):
        async with visitor.contact(endpoint.address) as contact, trio.open_nursery() as nursery:
            nursery.start_soon(echo, endpoint)
            await contact.ask(b"question")
            of_visitor(contact).circuit.close(Reason.CLOSED)  # before the receipt of the answer has left
            assert await replies_on_disk(endpoint) == 1
            await trio.sleep(pause_seconds)
            assert (await contact.whisper(b"after a pause")).status == "delivered"
            await trio.sleep(3)
            assert await replies_on_disk(endpoint) == 0
            assert Reason.RECORD_EXPIRED not in node.drops()
            nursery.cancel_scope.cancel()


async def test_nobody_waits_for_an_answer_to_an_answer(autojump_clock: MockClock) -> None:
    async with small(**QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact:
            receipt = contact.send(b"question")
            answered = await (await anext(aiter(endpoint))).reply(b"answer")
            assert await receipt.reply() == b"answer"
            with trio.fail_after(60):
                await answered.final()
                assert await answered.reply() is None
            await trio.sleep(IDLE_WHILE_ASKED_SECONDS + 20)
            assert circuits_of(sending_of(contact).lanes) == []  # nothing is waited for
