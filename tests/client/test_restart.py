"""An endpoint that was killed: same address, what it acknowledged is there, what it answered it answers not
again (SPEC 11, 13). `killed` puts the disk back to what it was while the endpoint still ran."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.endpoint import Endpoint
from onionshh.client.hosting.whisper_store import WhisperStore
from onionshh.client.whisper import Whisper
from onionshh.core.delivery.actions import Actions, LaneId
from onionshh.core.delivery.record import NO_ID, WHISPER, Record
from onionshh.ids import RandomBytes, WhisperId
from onionshh.reasons import Reason
from tests.client.world import Stranger, dropped, hosted, killed, small, until
from tests.inside import parts


async def test_what_was_acknowledged_and_not_finished_is_shown_again(autojump_clock: MockClock) -> None:
    async with small() as net, net.join("visitor") as visitor:
        async with killed(net) as (_, endpoint):
            address = endpoint.address
            async with visitor.contact(address) as contact:
                bodies = (b"done", b"replied", b"only shown", b"not even shown" * 1000)
                receipts = [await contact.whisper(body) for body in bodies]
            assert {one.status for one in receipts} == {"delivered"}
            iteration = aiter(endpoint)
            assert (await anext(iteration)).body == b"done"
            second = await anext(iteration)
            await second.reply(b"answer")
            third = await anext(iteration)
            assert (third.body, third.id) == (b"only shown", receipts[2].id)
        async with hosted(net) as (_, endpoint):
            assert endpoint.address == address
            again = [await shown(endpoint), await shown(endpoint)]
            assert [(one.id, one.body) for one in again] == [
                (receipts[3].id, bodies[3]),  # never shown, so before the one that perhaps ended the program
                (receipts[2].id, bodies[2]),
            ]
            assert again[1].received_at == third.received_at
            with trio.move_on_after(60) as nothing_more:
                await anext(aiter(endpoint))
            assert nothing_more.cancelled_caught


async def shown(endpoint: Endpoint) -> Whisper:
    """The next whisper that is not shown to anybody, without finishing the one before."""
    with trio.fail_after(30):
        whisper = await anext(aiter(endpoint))
    assert whisper is not None
    return whisper


async def test_a_finished_whisper_that_comes_again_is_acknowledged_and_not_shown(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The visitor never saw the receipt: it sends again, to an endpoint that knows the id from disk."""
    async with small() as net, net.join("visitor") as visitor:
        async with killed(net) as (_, endpoint):
            stranger = Stranger(visitor, endpoint.address)
            found = await stranger.find()
            entry = found.descriptor.introducers[0]
            sealed = stranger.introduction(found, entry, body=b"once")
            await stranger.send(entry, sealed.message)
            with trio.fail_after(30):
                whisper = await anext(aiter(endpoint))
            await whisper.done()
            again = stranger.introduction(found, entry, record=_record_of(whisper.id, b"once", stranger))
        async with hosted(net) as (_, endpoint):
            kept: list[WhisperId] = []
            owe = parts(endpoint).peers.receiving.receiver._pay

            def watched(lane: LaneId, owed: dict[WhisperId, object]) -> Actions:
                kept.extend(owed)
                return owe(lane, owed)  # type: ignore[arg-type]

            monkeypatch.setattr(parts(endpoint).peers.receiving.receiver, "_pay", watched)
            await stranger.send(entry, again.message)
            await until(lambda: bool(kept), 30)  # just before its receipt leaves
            with trio.move_on_after(30) as nothing:
                await anext(aiter(endpoint))
            assert nothing.cancelled_caught


def _record_of(whisper_id: str, body: bytes, stranger: Stranger) -> bytes:
    expires = stranger.context.clock.wall() + 600
    return Record(WhisperId(bytes.fromhex(whisper_id)), NO_ID, expires, 1, WHISPER, body).encode()


async def test_a_replayed_introduction_is_refused_before_and_after_a_restart(
    autojump_clock: MockClock,
) -> None:
    async with small() as net, net.join("visitor") as visitor:
        async with killed(net) as (node, endpoint):
            stranger = Stranger(visitor, endpoint.address)
            found = await stranger.find()
            entry, other = found.descriptor.introducers
            first = stranger.introduction(found, entry, body=b"hello")
            await stranger.send(entry, first.message)
            await (await shown(endpoint)).done()
            await trio.sleep(1)  # until the answer to it has found nobody at the rendezvous point

            # The same bytes, and over the same seed another introduction, to the other introducer.
            resealed = stranger.introduction(
                found, other, body=b"hello again", random_bytes=_first(first.seed, stranger)
            )
            assert resealed.cookie == first.cookie
            for to, message in ((entry, first.message), (other, resealed.message)):
                await dropped(node, Reason.INTRODUCE_REPLAYED, stranger.send, to, message)
        async with hosted(net) as (node, endpoint):
            kept = (await stranger.find()).descriptor.introducers
            assert {one.auth_key for one in kept} == {entry.auth_key, other.auth_key}
            assert {one.relay_id for one in kept} == {entry.relay_id, other.relay_id}
            for to, message in ((entry, first.message), (other, resealed.message)):
                await dropped(node, Reason.INTRODUCE_REPLAYED, stranger.send, to, message)
            with trio.move_on_after(10) as nothing:
                await anext(aiter(endpoint))
            assert nothing.cancelled_caught
            assert "answer" not in {one.purpose for one in node.circuits()}
            # And who comes with something new is served, under the keys of before.
            new = stranger.introduction(found, entry, body=b"new")
            await stranger.send(entry, new.message)
            assert (await shown(endpoint)).body == b"new"


def _first(seed: bytes, stranger: Stranger) -> RandomBytes:
    """Random bytes of which the first are this seed."""
    given = [seed]
    return lambda n: given.pop() if given else stranger.context.chance.bytes(n)


async def test_a_reply_of_before_the_crash_reaches_the_visitor_who_asks_again(
    autojump_clock: MockClock,
) -> None:
    async with small() as net, net.join("visitor") as visitor, trio.open_nursery() as nursery:
        assert net.memory is not None
        answers: list[bytes] = []

        async def ask() -> None:
            async with visitor.contact(address) as contact:
                answers.append(await contact.ask(b"question", timeout_seconds=500))

        async with killed(net) as (_, endpoint):
            address = endpoint.address
            nursery.start_soon(ask)
            with trio.fail_after(30):
                whisper = await anext(aiter(endpoint))
            net.memory.cut("visitor")
            await whisper.reply(b"the answer, from disk")
            await trio.sleep(5)
            assert not answers
        net.memory.heal("visitor")
        async with hosted(net) as (_, endpoint):
            await until(lambda: bool(answers), 300)
            assert answers == [b"the answer, from disk"]
            await trio.sleep(5)
            # The visitor acknowledged it: it is kept no longer; and the whisper was not shown a second time.
            store = WhisperStore(parts(endpoint).database)
            assert await store.replies_to(whisper._taken.whisper_id) == []
            assert len(parts(endpoint).peers.receiving.receiver.inbox) == 0


async def test_killed_again_and_again_it_keeps_its_address(autojump_clock: MockClock) -> None:
    async with small() as net, net.join("visitor") as visitor:
        addresses = []
        for _ in range(3):
            async with killed(net) as (_, endpoint):
                addresses.append(endpoint.address)
                async with visitor.contact(endpoint.address) as contact:
                    assert (await contact.whisper(b"hello")).status == "delivered"
        assert len(set(addresses)) == 1
