"""Letters of a contact with a name, which ends and goes on: the same whisper, with one receipt. Whole
networks in virtual time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.correspondence import OPENED_AGAIN
from onionshh.client.hosting import peers
from onionshh.client.peer import Peer
from tests.client.dying import copy_of, put_back
from tests.client.letterworld import (
    HOUR,
    SHORT,
    Post,
    again,
    away,
    status_of,
    stored,
    waits_for,
)
from tests.client.mail.postal import bend
from tests.client.world import PATIENCE_SECONDS

LATER = 3 * HOUR
"""A time to live that leaves time for what comes back."""


@pytest.mark.parametrize("seconds", [0.0, 5.0, 20.0, 45.0])
async def test_it_may_end_at_any_moment_and_go_on(seconds: float, autojump_clock: MockClock) -> None:
    """Before the letter is sealed, while it is left, and once all four relays have it."""
    async with away() as post:
        async with post.node.contact(post.address, name="press") as contact:
            first = contact.send(b"hello", ttl_seconds=LATER)
            await trio.sleep(seconds)
            status = first.status
        assert (first.status, first.why) == ("failed", OPENED_AGAIN)
        await trio.sleep(600)
        async with post.node.contact(post.address, name="press") as contact:
            (second,) = contact.pending()
            assert (second.id, again(contact, second)) == (first.id, second)
            if status == "stored":
                assert second.status == "stored"
            await stored(second, copies=4)
            assert post.items == 4, "under the same ids"
        async with post.returned(replies=True):
            await waits_for(lambda: bool(post.shown))
            await trio.sleep(600)
        async with post.node.contact(post.address, name="press") as contact:
            third = again(contact, first)
            assert await status_of(third) == "delivered"
            with trio.fail_after(2 * HOUR):
                assert await third.reply() == b"HELLO"
            assert contact.pending() == []
            await waits_for(lambda: not post.items)
        assert [whisper.id for whisper in post.shown] == [first.id]


async def test_it_may_be_killed_once_it_is_stored(autojump_clock: MockClock) -> None:
    """What was on its disk at some moments is put back, as after a kill."""
    async with away() as post:
        folder, moments = post.net.folder / "visitor", []
        async with post.node.contact(post.address, name="press") as contact:
            receipt = contact.send(b"hello", ttl_seconds=LATER)
            for _ in range(6):
                moments.append(copy_of(folder / "contacts"))
                await trio.sleep(12)
            await stored(receipt, copies=4)
            moments.append(copy_of(folder / "contacts"))
        async with post.returned():
            await waits_for(lambda: bool(post.shown))
            await trio.sleep(300)
            for kept in moments:
                put_back(folder / "contacts", kept)
                async with post.node.contact(post.address, name="press") as contact:
                    assert [one.id for one in contact.pending()] == [receipt.id]
                    assert await status_of(again(contact, receipt)) == "delivered"
                    await trio.sleep(60)
        assert [whisper.id for whisper in post.shown] == [receipt.id]


async def test_a_recall_goes_on_in_the_next_run(autojump_clock: MockClock) -> None:
    async with away() as post:
        async with post.node.contact(post.address, name="press") as contact:
            receipt = contact.send(b"hello", ttl_seconds=LATER)
            await stored(receipt, copies=4)
            relays = bend(post.net)
            for relay in relays.values():
                relay.silent = True
            with trio.fail_after(120):
                assert not await receipt.recall()
            assert (receipt.status, post.items) == ("failed", 4)
        for relay in relays.values():
            relay.silent = False
        async with post.node.contact(post.address, name="press") as contact:
            assert contact.pending() == []
            assert again(contact, receipt).status == "failed"
            await waits_for(lambda: not post.items, 300)
        async with post.returned():
            await trio.sleep(1800)
        assert post.shown == []


async def test_what_expired_while_it_was_closed_is_told(autojump_clock: MockClock) -> None:
    async with away() as post:
        async with post.node.contact(post.address, name="press") as contact:
            receipt = contact.send(b"hello", ttl_seconds=SHORT)
            await stored(receipt)
        await trio.sleep(2 * SHORT)
        assert post.items == 0
        async with post.node.contact(post.address, name="press") as contact:
            assert again(contact, receipt).status == "expired"


async def test_a_late_reply_waits_for_a_contact_that_is_away(autojump_clock: MockClock) -> None:
    """The visitor is away when the endpoint replies, and the endpoint when the visitor comes back."""
    async with away() as post:
        async with post.node.contact(post.address, name="press") as contact:
            receipt = contact.send(b"hello", ttl_seconds=LATER)
            await stored(receipt, copies=4)
        async with post.returned(replies=True):
            await waits_for(lambda: post.items == 4 and bool(post.shown))  # its reply, and the letter is gone
            await trio.sleep(120)
        async with post.node.contact(post.address, name="press") as contact:
            with trio.fail_after(2 * HOUR):
                assert await again(contact, receipt).reply() == b"HELLO"
            assert again(contact, receipt).status == "delivered"
            await waits_for(lambda: not post.items)


async def met(post: Post) -> Peer:
    """The peer that the named contact is to the endpoint that runs now."""
    async with post.node.contact(post.address, name="press") as contact:
        receipt = contact.send(b"met")
        assert await status_of(receipt) == "delivered"
        await waits_for(lambda: bool(post.shown))
        peer = post.shown[-1].peer
        assert peer is not None
        await trio.sleep(10)
        return peer


async def test_an_endpoint_speaks_first_to_a_peer_that_is_away(autojump_clock: MockClock) -> None:
    async with away() as post:
        async with post.returned():
            peer = await met(post)
            await trio.sleep(600)
            receipt = peer.send(b"news", ttl_seconds=LATER)
            await stored(receipt, copies=4)
            assert post.items == 4
            async with post.node.contact(post.address, name="press") as contact:
                with trio.fail_after(PATIENCE_SECONDS + 2 * HOUR):
                    async for whisper in contact:
                        assert (whisper.body, whisper.id) == (b"news", receipt.id)
                        await whisper.done()
                        break
                assert await status_of(receipt) == "delivered"
                await waits_for(lambda: not post.items)


async def test_what_an_endpoint_said_is_had_while_both_are_never_there_together(
    autojump_clock: MockClock,
) -> None:
    async with away() as post:
        async with post.returned():
            peer = await met(post)
            receipt = peer.send(b"news", ttl_seconds=LATER)
            await stored(receipt, copies=4)
        assert (receipt.status, receipt.why) == ("failed", peers.RUNS_AGAIN)
        async with post.node.contact(post.address, name="press") as contact:
            with trio.fail_after(2 * HOUR):
                whisper = await anext(aiter(contact))
                assert (whisper.body, whisper.waited) == (b"news", True)
                await whisper.done()
            await trio.sleep(900)
            assert post.items == 0
        async with post.returned():  # it does not know that it was read, so it leaves it anew, or says it
            await trio.sleep(600)
            async with post.node.contact(post.address, name="press") as contact:
                with trio.move_on_after(1800):
                    await anext(aiter(contact))
                    raise AssertionError("it was shown twice")
