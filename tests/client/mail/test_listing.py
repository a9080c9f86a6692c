"""One LIST: a page from one relay, over a circuit of its own."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.mail.listing import ask_page, circuit_to
from onionshh.core.base.patience import CIRCUIT_SECONDS, LIST_ANSWER_SECONDS
from onionshh.errors import NetworkUnreachable, ProtocolError
from onionshh.net.circuits import CircuitFailed
from onionshh.reasons import Reason
from onionshh.wire import mailbox as w
from tests.client.mail.postal import OWNER, bend, mailbox_of, place, places_of, sealed
from tests.client.world import QUIET, small
from tests.inside import inside

HOUR = 3600


async def test_a_page_has_what_lies_beyond_a_number_and_may_be_waited_for(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays = inside(node), bend(net)
        box = mailbox_of(context, w.BOARD)
        relay = places_of(context, box)[0][0]
        row = context.view.relay(relay)
        assert row is not None
        items = sealed(box, context.clock.wall() + HOUR, 5)
        await place(context, items[:4], relay)
        circuit = await circuit_to(context, row)
        assert circuit.path[-1].identity == relay

        async def ask(mode: int, after: int, wait: int = 0) -> w.Items:
            return await ask_page(circuit, row, box, OWNER.sign, mode=mode, after=after, wait=wait)

        heads = await ask(w.HEADS, 0)
        assert [head.item_id for head in heads.heads] == [item.item_id for item in items[:4]]
        assert heads.next == heads.heads[-1].number
        values = await ask(w.VALUES, heads.heads[0].number)
        assert [item.value for item in values.items] == [item.value for item in items[1:4]]
        assert await ask(w.HEADS, heads.next) == w.Items(w.STORED, heads.next)

        began = trio.current_time()
        assert await ask(w.HEADS, heads.next, 60) == w.Items(w.STORED, heads.next)
        assert 60 <= trio.current_time() - began < 75
        async with trio.open_nursery() as nursery:
            nursery.start_soon(place, context, items[4:], relay)
            page = await ask(w.HEADS, heads.next, 600)
        assert [head.item_id for head in page.heads] == [items[4].item_id]
        assert trio.current_time() - began < 150

        for status in (w.REFUSED, w.FULL):
            relays[relay].on_list = lambda asked, status=status: w.Items(status)  # type: ignore[misc]
            with pytest.raises(CircuitFailed) as caught:
                await ask(w.HEADS, 0)
            assert caught.value.reason == Reason.MAILBOX_UNREAD
        relays[relay].on_list = lambda asked: w.Items(w.STORED, 1, heads=(w.Head(bytes(32), 5, 0),))
        with pytest.raises(ProtocolError):
            await ask(w.HEADS, 0)
        relays[relay].silent = True
        began = trio.current_time()
        with pytest.raises(CircuitFailed):
            await ask(w.HEADS, 0, 100)
        assert trio.current_time() - began <= 100 + LIST_ANSWER_SECONDS + 1


async def test_offline_a_circuit_is_not_waited_for_without_end(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context = inside(node)
        row = context.view.relays[0]
        for running in list(net.relays):
            await running.stop()
        began = trio.current_time()
        with pytest.raises((CircuitFailed, NetworkUnreachable)):
            await circuit_to(context, row)
        assert trio.current_time() - began <= CIRCUIT_SECONDS + 1
