"""Letters in a network where things go wrong: relays that are killed, periods that end, wrong clocks. Whole
networks in virtual time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.mail.one_letter import NotStored
from onionshh.core.mailbox.places import writable
from onionshh.crypto.identity import blind_public, decode_address_untrusted
from onionshh.ids import RelayId
from onionshh.wire import mailbox as w
from tests.client.letterworld import (
    DAY,
    HOUR,
    LONG,
    SHORT,
    Post,
    away,
    mailboxes_of,
    status_of,
    stored,
    waits_for,
)
from tests.client.mail.postal import Bent, bend, relay_of
from tests.client.world import WALL, WrongClock, joined, period_now
from tests.inside import inside

MIDNIGHT = WALL // DAY * DAY + DAY


def relays_of(post: Post) -> list[RelayId]:
    """The relays that letters for the endpoint are left at now."""
    view = inside(post.node).view
    name = blind_public(decode_address_untrusted(post.address), view.period, view.params.period_seconds)
    places = writable(view, w.Mailbox(w.INBOX, name, view.period))
    assert places is not None
    return [row.identity for rows in places for row in rows]


@pytest.mark.parametrize("survivor", [0, 3])
async def test_one_of_four_copies_is_enough(survivor: int, autojump_clock: MockClock) -> None:
    async with away(relays=10) as post:
        async with post.node.contact(post.address) as contact:
            receipt = contact.send(b"hello", ttl_seconds=2 * HOUR)
            await stored(receipt, copies=4)
        keep = relays_of(post)
        for relay in keep[:survivor] + keep[survivor + 1 :]:
            await relay_of(post.net, relay).stop()
        assert sum(mailboxes_of(running).kept for running in post.net.relays) == 1
        async with post.returned():
            await waits_for(lambda: bool(post.shown), 2 * HOUR)
        assert [whisper.id for whisper in post.shown] == [receipt.id]


async def test_a_relay_that_comes_back_still_has_its_copy(autojump_clock: MockClock) -> None:
    async with away(relays=8) as post:
        async with post.node.contact(post.address) as contact:
            receipt = contact.send(b"hello", ttl_seconds=3 * HOUR)
            await stored(receipt, copies=4)
        killed = [relay_of(post.net, relay) for relay in relays_of(post)]
        for running in killed:
            await running.stop()
        assert post.items == 0
        for running in killed:
            await post.net.add_relay(again=running)
        await post.net.settled()
        assert post.items == 4
        async with post.returned():
            await waits_for(lambda: bool(post.shown), 2 * HOUR)
        assert [whisper.id for whisper in post.shown] == [receipt.id]


@pytest.mark.parametrize("before", [60, 1200])
async def test_a_period_ends_between_deposit_and_reading(before: int, autojump_clock: MockClock) -> None:
    """Left shortly before midnight, or over it; read in the next period, live tries being over."""
    async with away(wall=MIDNIGHT - 5000) as post:
        await trio.sleep_until(trio.current_time() + MIDNIGHT - before - post.net.clock.wall())
        period = period_now(post.node)
        async with post.node.contact(post.address, name="press") as contact:
            receipt = contact.send(b"hello", ttl_seconds=LONG // 8)
            await stored(receipt, copies=4, seconds=HOUR)
        await waits_for(lambda: period_now(post.node) == period + 1)
        await trio.sleep(HOUR)
        async with post.returned(replies=True):
            await waits_for(lambda: bool(post.shown))
            await trio.sleep(600)
        async with post.node.contact(post.address, name="press") as contact:
            found = contact.receipt(receipt.id)
            assert found is not None
            with trio.fail_after(2 * HOUR):
                assert await found.reply() == b"HELLO"
            await waits_for(lambda: not post.items)
        assert [whisper.id for whisper in post.shown] == [receipt.id]


async def test_a_period_ends_while_an_answer_waits(autojump_clock: MockClock) -> None:
    async with away(wall=MIDNIGHT - 6000) as post:
        async with post.node.contact(post.address, name="press") as contact:
            receipt = contact.send(b"hello", ttl_seconds=LONG // 8)
            await stored(receipt, copies=4, seconds=HOUR)
        async with post.returned(replies=True):
            await waits_for(lambda: post.items == 4 and bool(post.shown))
            await trio.sleep(120)
        await trio.sleep_until(trio.current_time() + MIDNIGHT + 2 * HOUR - post.net.clock.wall())
        async with post.node.contact(post.address, name="press") as contact:
            found = contact.receipt(receipt.id)
            assert found is not None
            with trio.fail_after(2 * HOUR):
                assert await found.reply() == b"HELLO"
            assert found.status == "delivered"
        assert [whisper.id for whisper in post.shown] == [receipt.id]


@pytest.mark.parametrize("hours", [-30, 3])
async def test_the_senders_clock_is_wrong(hours: int, autojump_clock: MockClock) -> None:
    async with away() as post:
        clock = WrongClock(post.net)
        async with joined(post.net, "wrong", clock) as node, node.contact(post.address) as contact:
            clock.shift = hours * HOUR
            await trio.sleep(60)
            receipt = contact.send(b"hello", ttl_seconds=LONG)
            await stored(receipt, copies=4)
        await trio.sleep(HOUR)
        async with post.returned():
            await waits_for(lambda: bool(post.shown))
        assert [(whisper.id, whisper.waited) for whisper in post.shown] == [(receipt.id, True)]


@pytest.mark.parametrize("hours", [-3, 30])
async def test_the_endpoints_clock_is_wrong(hours: int, autojump_clock: MockClock) -> None:
    async with away() as post:
        async with post.node.contact(post.address, name="press") as contact:
            receipt = contact.send(b"hello", ttl_seconds=LONG)
            await stored(receipt, copies=4)
        clock = WrongClock(post.net)
        async with joined(post.net, "host", clock) as node:
            clock.shift = hours * HOUR
            await trio.sleep(60)
            async with node.host(post.net.folder / "identity", introducers=2) as endpoint:
                with trio.fail_after(HOUR):
                    whisper = await anext(aiter(endpoint))
                    assert (whisper.id, whisper.waited) == (receipt.id, True)
                    await whisper.reply(b"HELLO")
                await waits_for(lambda: post.items == 4)
                await trio.sleep(120)
        async with post.node.contact(post.address, name="press") as contact:
            found = contact.receipt(receipt.id)
            assert found is not None
            with trio.fail_after(2 * HOUR):
                assert await found.reply() == b"HELLO"
            assert found.status == "delivered"


@pytest.mark.parametrize(
    ("status", "why"), [(w.FULL, NotStored.FULL), (w.DEAR, NotStored.DEAR), (w.REFUSED, NotStored.REFUSED)]
)
async def test_no_relay_takes_it_until_one_does(
    status: int, why: NotStored, autojump_clock: MockClock
) -> None:
    async with away() as post, post.node.contact(post.address) as contact:
        relays = bend(post.net)
        for relay in relays.values():
            relay.on_put = lambda put: w.Kept(status, 1 << 30 if status == w.DEAR else 0)
        receipt = contact.send(b"hello", ttl_seconds=3 * HOUR)
        await waits_for(lambda: receipt.why_not_stored == why, 300)
        assert receipt.status == "queued"
        for relay in relays.values():
            relay.on_put = lambda put: None
        await stored(receipt, copies=4, seconds=2 * HOUR)
        async with post.returned():
            assert await status_of(receipt) == "delivered"


def liars(post: Post, count: int) -> list[Bent]:
    """So many of the relays that have the letter say that they have nothing."""
    relays = bend(post.net)
    chosen = [relays[relay] for relay in relays_of(post)[:count]]
    for bent in chosen:
        bent.on_list = lambda asked: w.Items(w.STORED, asked.after, (), ())
    return chosen


async def test_three_relays_of_four_hide_it(autojump_clock: MockClock) -> None:
    async with away() as post:
        async with post.node.contact(post.address) as contact:
            receipt = contact.send(b"hello", ttl_seconds=SHORT)
            await stored(receipt, copies=4)
        liars(post, 3)
        async with post.returned():
            await waits_for(lambda: bool(post.shown), HOUR)
        assert [whisper.id for whisper in post.shown] == [receipt.id]
