"""Letters through whole networks in virtual time: an endpoint that is away gets its whispers when it
returns."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh.client.correspondence import CLOSED
from onionshh.client.delivery.sending import RECALLED, STORED_AND_CLOSED
from onionshh.client.mail.letters import NO_INBOX, NOBODY
from onionshh.core.delivery.lettering import LIVE_SECONDS
from onionshh.crypto.identity import IdentityKeys
from tests.client.letterworld import (
    DAY,
    DAYS,
    HOUR,
    LONG,
    SHORT,
    again,
    away,
    status_of,
    stored,
    waits_for,
)
from tests.seeded import seeded

STRANGER = IdentityKeys.generate(seeded(11)).address


async def test_a_whisper_waits_for_an_endpoint_that_is_away(autojump_clock: MockClock) -> None:
    async with away() as post, post.node.contact(post.address) as contact:
        began = trio.current_time()
        receipt = contact.send(b"hello", ttl_seconds=LONG)
        await stored(receipt)
        assert trio.current_time() - began > LIVE_SECONDS / 30
        await stored(receipt, copies=4)
        assert (receipt.status, receipt.copies, post.items) == ("stored", (4, 4), 4)
        assert receipt.proof_tries > 0
        assert receipt.why_not_stored == ""
        await trio.sleep(HOUR)
        async with post.returned(replies=True):
            await waits_for(lambda: bool(post.shown))
            (whisper,) = post.shown
            assert (whisper.body, whisper.waited, whisper.id) == (b"hello", True, receipt.id)
            assert await status_of(receipt) == "delivered"
            with trio.fail_after(HOUR):
                assert await receipt.reply() == b"HELLO"
            await waits_for(lambda: not post.items)  # the letter and its answer are erased
        assert len(post.shown) == 1


async def test_an_endpoint_away_for_three_days(autojump_clock: MockClock) -> None:
    """The sender's machine is off too, from when it was stored until the endpoint has it."""
    async with away(params=DAYS) as post:
        async with post.net.join("visitor") as node, node.contact(post.address, name="press") as contact:
            receipt = contact.send(b"hello", ttl_seconds=4 * DAY)
            await stored(receipt, copies=4)
        await trio.sleep(3 * DAY)
        async with post.returned(replies=True):
            await waits_for(lambda: bool(post.shown))
            await trio.sleep(HOUR)
        assert [(whisper.id, whisper.waited) for whisper in post.shown] == [(receipt.id, True)]
        async with post.net.join("visitor") as node, node.contact(post.address, name="press") as contact:
            with trio.fail_after(3 * HOUR):
                assert await again(contact, receipt).reply() == b"HELLO"
            assert again(contact, receipt).status == "delivered"


async def test_the_sender_may_end_for_good(autojump_clock: MockClock) -> None:
    async with away() as post:
        async with post.node.contact(post.address) as contact:
            receipt = contact.send(b"farewell", ttl_seconds=SHORT)
            await stored(receipt)
        assert (receipt.status, receipt.why) == ("failed", STORED_AND_CLOSED)
        await trio.sleep(600)
        async with post.returned():
            await waits_for(lambda: bool(post.shown))
            await trio.sleep(HOUR)
        assert [(whisper.body, whisper.id) for whisper in post.shown] == [(b"farewell", receipt.id)]


async def test_a_sender_that_ends_before_it_is_stored_is_told_so(autojump_clock: MockClock) -> None:
    async with away() as post:
        async with post.node.contact(post.address) as contact:
            receipt = contact.send(b"hello", ttl_seconds=SHORT)
        assert (receipt.status, receipt.why) == ("failed", CLOSED)


@pytest.mark.parametrize("parts", [4, 16])
async def test_a_long_whisper_is_a_letter_of_several_parts(parts: int, autojump_clock: MockClock) -> None:
    body = seeded(parts)(4000 * parts)
    async with away() as post, post.node.contact(post.address) as contact:
        receipt = contact.send(body, ttl_seconds=2 * HOUR)
        await stored(receipt, copies=4, seconds=HOUR)
        assert post.items == 4 * parts
        async with post.returned():
            assert await status_of(receipt) == "delivered"
            await waits_for(lambda: not post.items)
        assert [(whisper.body, whisper.waited) for whisper in post.shown] == [(body, True)]


@pytest.mark.parametrize(
    ("ttl_seconds", "options"),
    [(600, {}), (SHORT, {"store": False}), (SHORT, {"session": False})],
    ids=["short", "store=False", "session=False"],
)
async def test_some_whispers_make_no_letter(
    ttl_seconds: int, options: dict[str, bool], autojump_clock: MockClock
) -> None:
    async with away() as post, post.node.contact(post.address, **options) as contact:  # type: ignore[arg-type]
        receipt = contact.send(b"hello", ttl_seconds=ttl_seconds)
        await trio.sleep(590)
        assert (receipt.status, receipt.copies, post.items) == ("queued", (0, 4), 0)
        if ttl_seconds == 600:
            with pytest.raises(onionshh.NotStored) as raised:
                await receipt.stored()
            assert raised.value.status == "expired"
        else:
            async with post.returned():
                assert await status_of(receipt) == "delivered"
                assert [whisper.waited for whisper in post.shown] == [False]


async def test_an_endpoint_without_an_inbox_is_waited_for(autojump_clock: MockClock) -> None:
    async with away(inbox=False) as post, post.node.contact(post.address) as contact:
        receipt = contact.send(b"hello", ttl_seconds=3 * HOUR)
        await waits_for(lambda: receipt.why_not_stored == NO_INBOX, 60)
        await trio.sleep(600)
        assert (receipt.status, receipt.why_not_stored, receipt.copies) == ("queued", NO_INBOX, (0, 4))
        async with post.net.join("host") as node, node.host(post.net.folder / "identity", inbox=False):
            assert await status_of(receipt) == "delivered"


async def test_nobody_was_ever_published(autojump_clock: MockClock) -> None:
    async with away() as post, post.node.contact(STRANGER) as contact:
        receipt = contact.send(b"hello", ttl_seconds=SHORT)
        await waits_for(lambda: receipt.why_not_stored == NOBODY, 60)
        await trio.sleep(900)
        assert (receipt.status, post.items, receipt.copies) == ("queued", 0, (0, 4))


async def test_recalled_before_the_endpoint_returns_it_is_never_seen(autojump_clock: MockClock) -> None:
    async with away() as post, post.node.contact(post.address) as contact:
        gone, stays = (contact.send(body, ttl_seconds=SHORT) for body in (b"gone", b"stays"))
        await stored(gone, copies=4)
        await stored(stays, copies=4)
        assert post.items == 8
        with trio.fail_after(120):
            assert await gone.recall()
        assert (gone.status, gone.why, post.items) == ("failed", RECALLED, 4)
        async with post.returned():
            assert await status_of(stays) == "delivered"
            await trio.sleep(HOUR)
        assert post.bodies == [b"stays"]


async def test_what_was_delivered_cannot_be_recalled(autojump_clock: MockClock) -> None:
    async with away() as post, post.node.contact(post.address) as contact:
        receipt = contact.send(b"hello", ttl_seconds=SHORT)
        await stored(receipt, copies=4)
        async with post.returned():
            assert await status_of(receipt) == "delivered"
            with trio.fail_after(120):
                assert not await receipt.recall()
        assert (receipt.status, post.bodies) == ("delivered", [b"hello"])


async def test_recalled_while_it_is_being_left(autojump_clock: MockClock) -> None:
    """At any moment of the way, from before its proof until it is stored."""
    async with away() as post, post.node.contact(post.address) as contact:
        for tenths in (0, 1, 10, 30, 60, 120, 300, 600):
            receipt = contact.send(b"%d" % tenths, ttl_seconds=SHORT)
            await trio.sleep(tenths / 10)
            with trio.fail_after(120):
                assert await receipt.recall()
            assert (receipt.status, post.items) == ("failed", 0)
        async with post.returned():
            await trio.sleep(1800)
        assert post.bodies == []


async def test_without_a_receipt_stored_is_sent(autojump_clock: MockClock) -> None:
    async with away() as post:
        async with post.node.contact(post.address) as contact:
            receipt = contact.send(b"hello", ttl_seconds=SHORT, receipt=False)
            assert await status_of(receipt) == "sent"
            await waits_for(lambda: post.items == 4, 300)
            assert receipt.copies == (4, 4)
            async with post.returned():
                await waits_for(lambda: bool(post.shown))
                await trio.sleep(1800)
        assert post.bodies == [b"hello"]


async def test_a_letter_and_its_live_copy_are_one_whisper(autojump_clock: MockClock) -> None:
    """The endpoint returns between the deposit and the next live try, and is asked to show it once."""
    async with away() as post, post.node.contact(post.address) as contact:
        for seconds in (0.0, 5.0, 20.0, 65.0):
            body = b"%d" % int(seconds)
            receipt = contact.send(body, ttl_seconds=SHORT)
            await stored(receipt)
            await trio.sleep(seconds)
            async with post.returned():
                assert await status_of(receipt) == "delivered"
                await trio.sleep(1800)
            assert post.bodies == [body]
            post.shown.clear()
            await waits_for(lambda: not post.items)
