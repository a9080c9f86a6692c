"""Mailboxes over real circuits: what is left at a relay is there for whoever holds the mailbox's key."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from onionshh.client.context import Context
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.mailbox.item import ItemKey, check_item_untrusted, make_list, make_put
from onionshh.core.mailbox.places import readable, writable
from onionshh.core.mailbox.work import Search, put_task
from onionshh.crypto.identity import SigningKey
from onionshh.net.circuits import Circuit
from onionshh.reasons import Reason
from onionshh.wire import mailbox as w
from onionshh.wire import messages as m
from onionshh.wire.consensus import RelayRow
from onionshh.wire.descriptor import CAPABILITY_MAILBOXES
from tests.client.world import bytes_on_disk, small
from tests.inside import inside
from tests.seeded import seeded

OWNER = SigningKey.generate(seeded(5))
VALUE = bytes(range(111)) * 48
MARK = VALUE[:111]
"""A large value is not in one piece on disk."""


def mailbox(context: Context, kind: int = w.INBOX) -> w.Mailbox:
    return w.Mailbox(kind, OWNER.public, context.view.period)


def paid(context: Context, key: ItemKey, box: w.Mailbox, value: bytes, effort: int, seconds: int) -> w.Put:
    """A deposit with a proof of this effort."""
    random, expires = context.view.shared_random(box.period), context.clock.wall() + seconds
    assert random is not None
    search = Search(put_task(random, box, key.public, expires, value), effort, seeded(1))
    while not search.look(1000):
        pass
    return make_put(key, box, expires=expires, revision=0, value=value, effort=effort, nonce=search.nonce)


async def circuit_to(context: Context, row: RelayRow) -> Circuit:
    circuit = await context.builder.build(Purpose.INTRODUCE, last=row.identity)
    circuit.accept(m.KEPT, m.ITEMS)
    return circuit


async def leave(context: Context, row: RelayRow, put: w.Put) -> w.Kept:
    circuit = await circuit_to(context, row)
    try:
        return w.Kept.decode_untrusted(await circuit.ask(m.PUT, put.encode(), m.KEPT, 20))
    finally:
        circuit.close(Reason.FINISHED)


async def listed(
    context: Context, row: RelayRow, box: w.Mailbox, mode: int = w.VALUES, after: int = 0, wait: int = 0
) -> w.Items:
    circuit = await circuit_to(context, row)
    try:
        asked = make_list(
            box,
            mode=mode,
            after=after,
            wait=wait,
            binding=circuit.binding,
            relay_id=row.identity,
            sign=OWNER.sign,
        )
        return w.Items.decode_untrusted(await circuit.ask(m.LIST, asked.encode(), m.ITEMS, 700), mode)
    finally:
        circuit.close(Reason.FINISHED)


async def test_what_is_left_is_listed_read_and_then_gone(autojump_clock: MockClock) -> None:
    async with small(5) as net, net.join() as node:
        context = inside(node)
        box, key = mailbox(context), ItemKey.generate(seeded(9))
        places = writable(context.view, box)
        assert places is not None
        row = places[0][0]
        dear = await leave(context, row, paid(context, key, box, VALUE, 0, 3600))
        assert dear == w.Kept(w.DEAR, 96)
        put = paid(context, key, box, VALUE, dear.effort, 3600)
        assert await leave(context, row, put) == w.Kept(w.STORED)
        assert await leave(context, row, put) == w.Kept(w.STORED)
        heads = await listed(context, row, box, w.HEADS)
        assert [(head.item_id, head.expires) for head in heads.heads] == [(key.public, put.expires)]
        found = await listed(context, row, box)
        (item,) = found.items
        check_item_untrusted(box, item)
        assert (item.item_id, item.value) == (key.public, VALUE)
        assert found.next == heads.next == heads.heads[0].number
        assert MARK in bytes_on_disk(net.folder)
        assert await listed(context, row, box, after=found.next) == w.Items(w.STORED, found.next)
        await trio.sleep(2)
        assert MARK not in bytes_on_disk(net.folder)
        assert await leave(context, row, put) == w.Kept(w.STALE)


async def test_a_reader_who_waits_gets_an_item_when_it_comes(autojump_clock: MockClock) -> None:
    async with small(5) as net, net.join() as node:
        context = inside(node)
        box = mailbox(context, w.PAIR)
        places = readable(context.view, box)
        assert places is not None
        got: list[w.Items] = []

        async def wait() -> None:
            got.append(await listed(context, places[0][0], box, wait=600))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(300)
            assert not got
            put = paid(context, ItemKey.generate(seeded(9)), box, VALUE, 24, 3600)
            assert (await leave(context, places[0][0], put)).status == w.STORED
        assert [item.value for item in got[0].items] == [VALUE]


async def test_a_relay_says_that_it_keeps_mailboxes(autojump_clock: MockClock) -> None:
    async with small(3) as net:
        for running in net.relays:
            assert running.relay.publisher.about.capabilities & CAPABILITY_MAILBOXES
            assert running.relay.statistics().roles["mailbox_items"] == 0
