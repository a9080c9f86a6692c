"""A clock that is wrong makes nobody deaf, and what is refused for its dates is told (SPEC 13)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.endpoint import Endpoint
from onionshh.client.whisper import Whisper
from onionshh.core.delivery.record import EXPIRED, TTL_MOST_SECONDS, new_whisper, refusal_of
from onionshh.ids import WhisperId
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from tests.client.delivery.test_joined import again, of_visitor, only
from tests.client.world import WALL, WrongClock, echo, hosted, joined, small, until
from tests.seeded import seeded

HOUR = 3600
FAST = dict(interval_seconds=5, valid_seconds=12 * HOUR)


@pytest.mark.parametrize("ttl", [5, 30, 600])
@pytest.mark.parametrize("shift", [11 * 60 + 1, 3 * HOUR])
async def test_an_endpoint_whose_clock_is_ahead_hears_its_visitors(
    shift: int, ttl: int, autojump_clock: MockClock
) -> None:
    async with small(**FAST) as net, net.join("visitor") as visitor:
        async with joined(net, "host", WrongClock(net, shift)) as node:
            async with node.host(net.folder / "identity", introducers=2) as endpoint:
                with trio.fail_after(120):
                    await endpoint.reachable()
                async with visitor.contact(endpoint.address) as contact, trio.open_nursery() as nursery:
                    nursery.start_soon(echo, endpoint)
                    for body in (b"rides along", b"over the open circuit"):
                        receipt = await contact.whisper(body, ttl_seconds=ttl)
                        assert receipt.status == "delivered", receipt.why
                        assert await receipt.reply() == body
                    nursery.cancel_scope.cancel()
                assert Reason.RECORD_EXPIRED not in node.drops()


@pytest.mark.parametrize("shift", [-2 * HOUR, -400 * 24 * HOUR, 2 * HOUR])
async def test_a_visitor_whose_clock_jumps_is_heard(shift: int, autojump_clock: MockClock) -> None:
    async with small(**FAST) as net, hosted(net) as (_, endpoint):
        clock = WrongClock(net)
        async with joined(net, "visitor", clock) as visitor, trio.open_nursery() as nursery:
            nursery.start_soon(echo, endpoint)
            clock.shift = shift
            async with visitor.contact(endpoint.address) as contact:
                receipt = await contact.whisper(b"hello", ttl_seconds=20)
                assert receipt.status == "delivered", receipt.why
                assert await receipt.reply() == b"hello"
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("first", [True, False])
async def test_an_expired_whisper_is_refused_in_words_and_ends_no_circuit(
    first: bool, autojump_clock: MockClock
) -> None:
    """Alone with the introduction, or over an open circuit: its sender knows at once, and knows why."""
    async with small(5, interval_seconds=60) as net, net.join("visitor") as visitor:
        async with hosted(net) as (node, endpoint), visitor.contact(endpoint.address) as contact:
            if not first:
                assert (await contact.whisper(b"hello")).status == "delivered"
            record = new_whisper(b"old", expires=WALL - HOUR, privacy_class=1, random_bytes=seeded(3))
            receipt = again(contact, record, 30)
            with trio.fail_after(10):
                await receipt.final()
            assert receipt.status == "expired"
            assert receipt.why.startswith("the endpoint refused it: by the network's time")
            assert "this machine's clock is at least 10 minutes behind" in receipt.why
            assert node.drops()[Reason.RECORD_EXPIRED] == 1
            assert of_visitor(contact).open
            assert (await contact.whisper(b"after it")).status == "delivered"
            assert [one.body for one in await _shown(endpoint)] == [b"hello"] * (not first) + [b"after it"]


async def test_a_whisper_for_too_long_is_refused_in_words(autojump_clock: MockClock) -> None:
    """The clock of one end is a day off; a week's whisper cannot be kept by the other's count."""
    async with small(**FAST) as net, hosted(net) as (node, endpoint):
        clock = WrongClock(net)
        async with joined(net, "visitor", clock) as visitor:
            clock.shift = 5 * HOUR
            await trio.sleep(60)  # a jump is followed once it has lasted
            async with visitor.contact(endpoint.address) as contact:
                receipt = await contact.whisper(b"hello", ttl_seconds=TTL_MOST_SECONDS)
                assert receipt.status == "failed"
                assert "than any whisper may: this machine's clock is about 4 hours ahead" in receipt.why
                assert node.drops()[Reason.RECORD_FAR_FUTURE] == 1
                assert (await contact.whisper(b"hello")).status == "delivered"


async def test_a_reply_that_is_refused_is_told_to_the_endpoint(autojump_clock: MockClock) -> None:
    async with small(5, interval_seconds=60) as net, net.join("visitor") as visitor:
        async with hosted(net) as (_, endpoint), visitor.contact(endpoint.address) as contact:
            asked = contact.send(b"question")
            (whisper,) = await _shown(endpoint)
            answered = await whisper.reply(b"answer")
            of_ours = new_whisper(b"answer", expires=WALL + 600, privacy_class=1, random_bytes=seeded(6))
            of_ours = replace(of_ours, whisper_id=WhisperId(bytes.fromhex(answered.id)))
            refusal = refusal_of(of_ours, EXPIRED, seeded(4))
            of_visitor(contact).circuit.send(m.RECORD, refusal.encode())
            with trio.fail_after(5):
                await answered.final()
            assert answered.status in ("expired", "delivered")
            assert await asked.reply() == b"answer"
            # And one that really is too late.
            old = replace(of_ours, in_reply_to=WhisperId(b"n" * 16), expires=WALL - HOUR)
            only(endpoint).circuit.send(m.RECORD, old.encode())
            await until(lambda: visitor.drops().get(Reason.RECORD_EXPIRED) == 1, 10)
            assert of_visitor(contact).open


async def test_a_clock_that_jumps_forgets_no_id(autojump_clock: MockClock) -> None:
    """A year ahead for ten minutes, and back: what was delivered is not delivered twice."""
    async with small(5, interval_seconds=60) as net, net.join("visitor") as visitor:
        clock = WrongClock(net)
        async with joined(net, "host", clock) as node:
            async with node.host(net.folder / "identity", introducers=2) as endpoint:
                with trio.fail_after(120):
                    await endpoint.reachable()
                async with visitor.contact(endpoint.address) as contact:
                    sent = new_whisper(
                        b"once", expires=WALL + 6 * HOUR, privacy_class=1, random_bytes=seeded(5)
                    )
                    await again(contact, sent).final()
                    (whisper,) = await _shown(endpoint)
                    await whisper.done()
                    clock.shift = 365 * 24 * HOUR
                    await trio.sleep(600)
                    clock.shift = 0
                    await trio.sleep(600)
                    copy = again(contact, sent)
                    await copy.final()
                    assert copy.status == "delivered"
                    assert await _shown(endpoint) == []


async def test_what_expires_while_it_waits_for_room_is_refused_and_not_shown(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onionshh.core.delivery.inbox.WHISPERS_MOST", 1)
    async with small(5, interval_seconds=60) as net, net.join("visitor") as visitor:
        async with hosted(net) as (node, endpoint), visitor.contact(endpoint.address) as contact:
            assert (await contact.whisper(b"fills it")).status == "delivered"
            (held,) = await _shown(endpoint)
            receipt = await contact.whisper(b"too late", ttl_seconds=5)
            assert receipt.status == "expired"
            await held.done()
            await until(lambda: Reason.RECORD_EXPIRED_WAITING in node.drops(), 30)
            assert (await contact.whisper(b"in time")).status == "delivered"
            assert [one.body for one in await _shown(endpoint)] == [b"in time"]


async def _shown(endpoint: Endpoint) -> list[Whisper]:
    """Every whisper that can be shown within a few seconds; they stay held by who asked."""
    shown = []
    with trio.move_on_after(5):
        while True:
            shown.append(await anext(aiter(endpoint)))
    return shown
