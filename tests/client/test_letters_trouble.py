"""Letters beside strangers who pay, at relays whose clocks are wrong, and over an hour of traffic. Whole
networks in virtual time."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh import testing
from onionshh.client.hosting import inbox, pair_inbox
from onionshh.core.mailbox import price
from onionshh.core.mailbox.item import ItemKey
from onionshh.crypto.identity import blind_public, decode_address_untrusted
from onionshh.geometry import MAILBOX_VALUE
from onionshh.ids import RelayId
from onionshh.wire import mailbox as w
from tests.client.letterworld import HOUR, SHORT, Post, again, away, status_of, stored, waits_for
from tests.client.mail.postal import Bent, bend, relay_of
from tests.client.test_letters_faults import relays_of
from tests.client.test_letters_more import known
from tests.client.world import WrongClock
from tests.inside import inside, parts
from tests.rendezvous.mailbox_client import deposit, put_once
from tests.seeded import seeded

DAYS_WRONG = 30 * 24 * HOUR
ROUND_SECONDS = 1800
ENDS = ("visitor", "host")
"""Their folders. A relay's grow when it keeps something for the first time."""


async def stranger_fills(post: Post, count: int) -> None:
    """Someone who only knows the address leaves so much that is no letter, and pays what the relays ask."""
    context = inside(post.node)
    name = blind_public(decode_address_untrusted(post.address), context.view.period, _period_seconds(post))
    mailbox = w.Mailbox(w.INBOX, name, context.view.period)
    expires = post.net.clock.wall() + 2 * HOUR
    rows = [row for row in map(context.view.relay, relays_of(post)) if row is not None]
    for number in range(count):
        effort, key = 1, ItemKey.generate(seeded(number))
        waiting = list(rows)
        while waiting:
            item = deposit(context, mailbox, bytes(MAILBOX_VALUE), effort=effort, expires=expires, key=key)
            answers = [await put_once(context, row, item) for row in waiting]
            effort = max(answer.effort for answer in answers)
            waiting = [row for row, answer in zip(waiting, answers, strict=True) if answer.status == w.DEAR]
            assert {answer.status for answer in answers} <= {w.STORED, w.DEAR}


def _period_seconds(post: Post) -> int:
    return inside(post.node).view.params.period_seconds


def paid(relays: dict[RelayId, Bent]) -> int:
    """The most that was paid for one item since this was asked last."""
    efforts = [put.effort for bent in relays.values() for _, put, _ in bent.puts]
    for bent in relays.values():
        bent.puts.clear()
    return max(efforts)


async def test_an_inbox_that_a_stranger_fills_costs_more_and_still_takes_letters(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(price.ITEMS_MOST, w.INBOX, 16)
    async with away() as post:
        relays = bend(post.net)
        async with post.node.contact(post.address, name="before") as contact:
            early = contact.send(b"before", ttl_seconds=SHORT)
            await stored(early, copies=4)
        least = paid(relays)
        await stranger_fills(post, 8)
        paid(relays)
        async with post.node.contact(post.address, name="after") as contact:
            late = contact.send(b"after", ttl_seconds=SHORT)
            await stored(late, copies=4)
        assert paid(relays) == 16 * least
        async with post.returned():
            await waits_for(lambda: len(post.shown) == 2)
            await waits_for(lambda: post.items == 8)  # what the stranger left is erased; receipts wait
        assert sorted(post.bodies) == [b"after", b"before"]
        for name, receipt in (("before", early), ("after", late)):
            async with post.node.contact(post.address, name=name) as contact:
                assert await status_of(again(contact, receipt)) == "delivered"


async def test_a_letter_for_an_inbox_that_a_stranger_has_filled_waits_until_it_is_read(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(price.ITEMS_MOST, w.INBOX, 4)
    async with away() as post:
        await stranger_fills(post, 4)
        async with post.node.contact(post.address) as contact:
            receipt = contact.send(b"hello", ttl_seconds=3 * HOUR)
            await waits_for(lambda: bool(receipt.why_not_stored), 600)
            assert (receipt.status, post.items) == ("queued", 16)
            async with post.returned():
                assert await status_of(receipt) == "delivered"
                await waits_for(lambda: not post.items)
        assert post.bodies == [b"hello"]


@pytest.mark.parametrize("kept", [True, False])
async def test_who_is_known_leaves_it_beside_an_inbox_that_a_stranger_has_filled(
    kept: bool, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pair mailbox of a kept peer is always read, that of one of many while the inbox is crowded."""
    monkeypatch.setitem(price.ITEMS_MOST, w.INBOX, 4)
    monkeypatch.setattr(pair_inbox, "OTHERS_MOST", 0)
    if kept:
        monkeypatch.setattr(inbox, "CROWDED_SECONDS", 0.0)
    async with away() as post:
        async with post.returned() as endpoint:
            await known(post, "press")
            if kept:
                await endpoint.peers()[0].keep()
        await stranger_fills(post, 4)
        async with post.node.contact(post.address, name="press") as contact:
            receipt = contact.send(b"hello", ttl_seconds=6 * HOUR)
            await stored(receipt, copies=4)
            assert (receipt.status, receipt.why_not_stored) == ("stored", "")
        async with post.returned():
            await waits_for(lambda: len(post.shown) == 2)
            await trio.sleep(HOUR)  # receipts wait for each other, and are left
        assert (post.shown[1].id, post.shown[1].waited) == (receipt.id, True)
        assert post.shown[0].peer == post.shown[1].peer
        async with post.node.contact(post.address, name="press") as contact:
            assert await status_of(again(contact, receipt)) == "delivered"


async def test_what_was_left_beside_the_inbox_goes_on_in_the_next_run_and_is_recalled(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(price.ITEMS_MOST, w.INBOX, 4)
    async with away() as post:
        async with post.returned():
            await known(post, "press")
        await stranger_fills(post, 4)
        async with post.node.contact(post.address, name="press") as contact:
            receipt = contact.send(b"hello", ttl_seconds=6 * HOUR)
            await stored(receipt, copies=2)
        async with post.node.contact(post.address, name="press") as contact:
            found = again(contact, receipt)
            await stored(found, copies=4)
            assert post.items == 4 * 4 + 4
            assert await found.recall()
        assert post.items == 4 * 4
        async with post.returned():
            await trio.sleep(HOUR // 2)
        assert len(post.shown) == 1


async def left_in_both(post: Post) -> onionshh.Receipt:
    """The inbox takes a letter only after the pair mailbox did."""
    relays = bend(post.net).values()
    for relay in relays:
        relay.on_put = lambda put: w.Kept(w.FULL) if put.mailbox.kind == w.INBOX else None
    async with post.node.contact(post.address, name="press") as contact:
        receipt = contact.send(b"hello", ttl_seconds=6 * HOUR)
        await stored(receipt, copies=4)
        for relay in relays:
            relay.on_put = lambda put: None
        await waits_for(lambda: post.items == 8, 2 * HOUR)
        assert (receipt.status, receipt.copies) == ("stored", (4, 4))
    return receipt


async def test_what_the_inbox_takes_after_all_is_shown_once(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The letter for the inbox is still tried when the other one is stored."""
    async with away() as post:
        async with post.returned():
            await known(post, "press")
        receipt = await left_in_both(post)
        async with post.returned():
            await trio.sleep(HOUR)
        assert post.bodies == [b"met", b"hello"]
        async with post.node.contact(post.address, name="press") as contact:
            assert await status_of(again(contact, receipt)) == "delivered"
            await waits_for(lambda: not post.items)


async def test_whom_the_endpoint_has_forgotten_is_heard_from_its_inbox(autojump_clock: MockClock) -> None:
    async with away() as post:
        async with post.returned() as endpoint:
            await known(post, "press")
            await endpoint.peers()[0].forget()
        receipt = await left_in_both(post)
        async with post.returned():
            await waits_for(lambda: post.bodies == [b"met", b"hello"])
        assert post.shown[1].id == receipt.id


async def test_a_price_that_nobody_pays_is_paid_beside_the_inbox(autojump_clock: MockClock) -> None:
    async with away() as post:
        async with post.returned():
            await known(post, "press")
        for relay in bend(post.net).values():
            relay.on_put = lambda put: w.Kept(w.DEAR, 1 << 30) if put.mailbox.kind == w.INBOX else None
        async with post.node.contact(post.address, name="press") as contact:
            receipt = contact.send(b"hello", ttl_seconds=6 * HOUR)
            await stored(receipt, copies=4)
        async with post.node.contact(post.address) as contact:  # nobody knows this one
            receipt = contact.send(b"hello", ttl_seconds=6 * HOUR)
            await waits_for(lambda: bool(receipt.why_not_stored), 600)


@contextmanager
def wrong_clock(net: testing.Network) -> Iterator[WrongClock]:
    """A relay that starts within the block goes by a clock of its own."""
    usual, made = net.clock, WrongClock(net)
    net.clock = made
    try:
        yield made
    finally:
        net.clock = usual


async def start_with_clocks(post: Post) -> list[WrongClock]:
    """Every relay that letters for the endpoint are left at starts again, with a clock of its own."""
    clocks = []
    for relay in relays_of(post):
        running = relay_of(post.net, relay)
        await running.stop()
        with wrong_clock(post.net) as clock:
            await post.net.add_relay(again=running)
        clocks.append(clock)
    await post.net.settled()
    return clocks


async def test_clocks_that_jump_at_relays_erase_nothing_before_its_time_and_keep_nothing_much_longer(
    autojump_clock: MockClock,
) -> None:
    """A relay whose clock is wrong goes by what consensuses confirm, which are ten minutes apart here."""
    async with away() as post:
        clocks = await start_with_clocks(post)
        async with post.node.contact(post.address, name="press") as contact:
            receipt = contact.send(b"hello", ttl_seconds=SHORT)
            await stored(receipt, copies=4, seconds=HOUR // 2)
        for clock, step in zip(clocks, (DAYS_WRONG, 2 * HOUR, -2 * HOUR, -DAYS_WRONG), strict=True):
            clock.shift = step
        await trio.sleep(HOUR // 4)
        assert post.items == 4
        for clock in clocks:
            clock.shift = -clock.shift
        await trio.sleep(HOUR // 4)
        assert post.items == 4
        await trio.sleep(SHORT)
        assert post.items == 0


def descriptors(net: testing.Network) -> int:
    """How many files this process has open, without the databases of relays: each opens its own when first
    something is kept there."""
    opened = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own
            opened.append(os.readlink(f"/proc/self/fd/{name}"))
    return sum(not path.startswith(f"{net.folder}/relay") for path in opened)


def bytes_in(folder: Path) -> int:
    """What the files of a folder take."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def objects() -> int:
    """Objects that something refers to."""
    gc.collect()
    return len(gc.get_objects())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files as Linux shows them")
async def test_an_hour_of_traffic_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    """Whispers, replies, letters, recalls and contacts that come and go: after more rounds of half
    an hour there are as many files open, bytes on disk and objects in memory as after the first."""
    async with away() as post:
        seen, started = [], trio.current_time()
        for round_ in range(4):
            async with post.returned(replies=True) as endpoint:
                async with post.node.contact(post.address, name="press") as contact:
                    for number in range(20):
                        assert await contact.ask(b"%d" % number, ttl_seconds=120) == b"%d" % number
                        await trio.sleep(15)
                await trio.sleep(120)
                assert len(parts(endpoint).peers.known()) <= 2
            async with post.node.contact(post.address, name="press") as contact:
                kept = contact.send(b"kept", ttl_seconds=2 * HOUR)
                recalled = contact.send(b"recalled", ttl_seconds=2 * HOUR)
                for receipt in (kept, recalled):
                    await stored(receipt)
                assert await recalled.recall()
            async with post.returned(replies=True):
                await trio.sleep(300)
            async with post.node.contact(post.address, name="press") as contact:
                assert await again(contact, kept).reply() == b"KEPT"
                await waits_for(lambda: not post.items)
            await trio.sleep_until(started + ROUND_SECONDS * (round_ + 1))
            post.shown.clear()
            seen.append(
                (descriptors(post.net), sum(bytes_in(post.net.folder / name) for name in ENDS), objects())
            )
        (files, size, count), *_, (files_now, size_now, count_now) = seen
        assert files_now <= files
        assert size_now <= size * 1.1 + 65_536
        assert count_now <= count * 1.1
