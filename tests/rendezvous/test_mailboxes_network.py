"""Mailboxes over real circuits: what is left at a relay is there for whoever holds the mailbox's key."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from onionshh.client.context import Context
from onionshh.core.mailbox.item import ItemKey, check_item_untrusted
from onionshh.core.mailbox.places import readable, writable
from onionshh.crypto.identity import SigningKey
from onionshh.wire import mailbox as w
from onionshh.wire.descriptor import CAPABILITY_MAILBOXES
from tests.client.world import bytes_on_disk, small
from tests.inside import inside
from tests.rendezvous.mailbox_client import ask_once, deposit, put_once
from tests.seeded import seeded

OWNER = SigningKey.generate(seeded(5))
VALUE = bytes(range(111)) * 48
MARK = VALUE[:111]
"""A large value is not in one piece on disk."""


def mailbox(context: Context, kind: int = w.INBOX) -> w.Mailbox:
    return w.Mailbox(kind, OWNER.public, context.view.period)


def paid(context: Context, key: ItemKey, box: w.Mailbox, value: bytes, effort: int, seconds: int) -> w.Put:
    """A deposit with a proof of this effort."""
    expires = context.clock.wall() + seconds
    return deposit(context, box, value, effort=effort, expires=expires, key=key, random_bytes=seeded(1))


async def test_what_is_left_is_listed_read_and_then_gone(autojump_clock: MockClock) -> None:
    async with small(5) as net, net.join() as node:
        context = inside(node)
        box, key = mailbox(context), ItemKey.generate(seeded(9))
        places = writable(context.view, box)
        assert places is not None
        row = places[0][0]
        dear = await put_once(context, row, paid(context, key, box, VALUE, 0, 3600))
        assert dear == w.Kept(w.DEAR, 96)
        put = paid(context, key, box, VALUE, dear.effort, 3600)
        assert await put_once(context, row, put) == w.Kept(w.STORED)
        assert await put_once(context, row, put) == w.Kept(w.STORED)
        heads = await ask_once(context, row, box, OWNER)
        assert [(head.item_id, head.expires) for head in heads.heads] == [(key.public, put.expires)]
        found = await ask_once(context, row, box, OWNER, mode=w.VALUES)
        (item,) = found.items
        check_item_untrusted(box, item)
        assert (item.item_id, item.value) == (key.public, VALUE)
        assert found.next == heads.next == heads.heads[0].number
        assert MARK in bytes_on_disk(net.folder)
        assert await ask_once(context, row, box, OWNER, after=found.next) == w.Items(w.STORED, found.next)
        await trio.sleep(2)
        assert MARK not in bytes_on_disk(net.folder)
        assert await put_once(context, row, put) == w.Kept(w.STALE)


async def test_a_reader_who_waits_gets_an_item_when_it_comes(autojump_clock: MockClock) -> None:
    async with small(5) as net, net.join() as node:
        context = inside(node)
        box = mailbox(context, w.PAIR)
        places = readable(context.view, box)
        assert places is not None
        got: list[w.Items] = []

        async def wait() -> None:
            got.append(await ask_once(context, places[0][0], box, OWNER, mode=w.VALUES, wait=600))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(300)
            assert not got
            put = paid(context, ItemKey.generate(seeded(9)), box, VALUE, 24, 3600)
            assert (await put_once(context, places[0][0], put)).status == w.STORED
        assert [item.value for item in got[0].items] == [VALUE]


async def test_a_relay_says_that_it_keeps_mailboxes(autojump_clock: MockClock) -> None:
    async with small(3) as net:
        for running in net.relays:
            assert running.relay.publisher.about.capabilities & CAPABILITY_MAILBOXES
            assert running.relay.statistics().roles["mailbox_items"] == 0
