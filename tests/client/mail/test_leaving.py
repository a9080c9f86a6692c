"""Letters left at relays: how many copies, in which order, until when, and how they are called back."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.mail.deposits import DepositsInMemory
from onionshh.client.mail.leaving import PARTS_MOST, Leaving, NotStored, TooMuchMail
from onionshh.core.mailbox.copies import APART_LEAST_SECONDS, APART_MOST_SECONDS
from onionshh.wire import mailbox as w
from tests.client.mail.postal import (
    LETTER,
    Heard,
    all_puts,
    bend,
    leaving,
    mailbox_of,
    places_of,
    sealed,
)
from tests.client.world import QUIET, small, until
from tests.inside import inside

HOUR = 3600


@pytest.mark.parametrize("parts", [1, 4, 16])
async def test_each_part_is_at_four_relays_in_the_end(autojump_clock: MockClock, parts: int) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, heard = inside(node), bend(net), Heard()
        box = mailbox_of(context)
        expires = context.clock.wall() + HOUR
        with all_puts(relays) as puts:
            async with leaving(context, DepositsInMemory(), heard) as made:
                await made.leave(LETTER, sealed(box, expires, parts), expires)
                await until(lambda: made.copies(LETTER) == 4, 600)
        assert [copies for copies, _ in heard.copies] == sorted({copies for copies, _ in heard.copies})
        assert heard.copies[-1] == (4, True)
        assert heard.tries > 0
        assert heard.why == []
        assert Counter(put.item_id for _, _, put in puts) == {
            item.item_id: 4 for item in sealed(box, expires, parts)
        }
        places = [side[:2] for side in places_of(context, box)]
        for item in sealed(box, expires, parts):
            ours = [(now, relay) for now, relay, put in puts if put.item_id == item.item_id]
            assert {relay for _, relay in ours} == {*places[0], *places[1]}
            first_two = [relay for _, relay in ours[:2]]
            assert {relay in places[0] for relay in first_two} == {True, False}
            for (earlier, _), (later, _) in pairwise(ours):
                assert APART_LEAST_SECONDS <= later - earlier <= APART_MOST_SECONDS + 10
        assert all(put.effort == 96 for _, _, put in puts)
        circuits = [circuit for bent in relays.values() for _, _, circuit in bent.puts]
        assert len(set(circuits)) == len(circuits) == 4 * parts


async def test_it_is_stored_when_both_places_have_it(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, heard = inside(node), bend(net), Heard()
        box = mailbox_of(context)
        for relay in places_of(context, box)[1]:
            relays[relay].on_put = lambda put: w.Kept(w.FULL)
        expires = context.clock.wall() + HOUR
        async with leaving(context, DepositsInMemory(), heard) as made:
            await made.leave(LETTER, sealed(box, expires), expires)
            await until(lambda: made.copies(LETTER) == 2, 300)
            await trio.sleep(300)
            assert heard.copies == [(1, False), (2, False)]
            for bent in relays.values():
                bent.on_put = lambda put: None
            await until(lambda: made.copies(LETTER) == 4, HOUR)
        assert heard.copies == [(1, False), (2, False), (3, True), (4, True)]
        assert set(heard.why) == {NotStored.FULL}  # of one place


async def test_after_its_time_nobody_is_asked_and_nothing_is_kept(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, heard, deposits = inside(node), bend(net), Heard(), DepositsInMemory()
        for bent in relays.values():
            bent.on_put = lambda put: w.Kept(w.FULL)
        wall = context.clock.wall()
        async with leaving(context, deposits, heard) as made:
            await made.leave(LETTER, sealed(mailbox_of(context), wall + HOUR), wall + 600)
            await trio.sleep(900)
            asked = sum(len(bent.puts) for bent in relays.values())
            assert asked
            assert LETTER in made
            assert await deposits.load()
            await trio.sleep(HOUR)
            assert sum(len(bent.puts) for bent in relays.values()) == asked
            assert LETTER not in made
            assert not await deposits.load()


async def test_only_so_many_parts_are_left_at_a_time(autojump_clock: MockClock) -> None:
    async with small(3) as net, net.join() as node:
        context = inside(node)
        made = Leaving(context, DepositsInMemory(), Heard())
        box, expires = mailbox_of(context), context.clock.wall() + HOUR
        for number in range(PARTS_MOST // 16):
            await made.leave(
                type(LETTER)(bytes((number,)) * 16), sealed(box, expires, 16, str(number)), expires
            )
        with pytest.raises(TooMuchMail):
            await made.leave(LETTER, sealed(box, expires), expires)
        made.forget(type(LETTER)(bytes(16)))
        await made.leave(LETTER, sealed(box, expires), expires)
        await made.leave(LETTER, sealed(box, expires, 16, "other"), expires)  # known: nothing happens
        assert len(made) == PARTS_MOST // 16


async def test_what_is_forgotten_is_not_tried_any_more(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, heard, deposits = inside(node), bend(net), Heard(), DepositsInMemory()
        expires = context.clock.wall() + HOUR
        async with leaving(context, deposits, heard) as made:
            await made.leave(LETTER, sealed(mailbox_of(context), expires), expires)
            await until(lambda: made.copies(LETTER) == 1, 600)
            made.forget(LETTER)
            made.forget(LETTER)
            assert (LETTER in made, made.copies(LETTER)) == (False, 0)
            await trio.sleep(300)
        assert sum(bent.kept for bent in relays.values()) == 1
        assert not await deposits.load()
        assert heard.copies == [(1, False)]


async def test_what_is_known_of_a_letter(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, deposits = inside(node), DepositsInMemory()
        box, expires = mailbox_of(context, w.BOARD), context.clock.wall() + HOUR
        async with leaving(context, deposits, Heard()) as made:
            assert (made.period(LETTER), made.expires(LETTER), made.kind(LETTER)) == (None, None, None)
            assert not made.is_enough(LETTER)
            await made.leave(LETTER, sealed(box, expires, 4), expires)
            assert (made.period(LETTER), made.expires(LETTER)) == (box.period, expires)
            assert (made.kind(LETTER), made.is_enough(LETTER)) == (w.BOARD, False)
            await until(lambda: made.is_enough(LETTER), 600)
            assert made.copies(LETTER) >= 2


async def test_an_extension_is_kept_first_and_goes_on_after_a_restart(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, deposits = inside(node), bend(net), DepositsInMemory()
        expires = context.clock.wall() + HOUR
        async with leaving(context, deposits, Heard()) as made:
            await made.extend(LETTER, expires)  # unknown: nothing happens
            await made.leave(LETTER, sealed(mailbox_of(context), expires), expires)
            await until(lambda: made.copies(LETTER) == 4, 600)
            for bent in relays.values():
                bent.silent = True
            await made.extend(LETTER, expires + HOUR)
            (kept,) = await deposits.load()
            assert (kept.until, kept.items[0].expires, kept.items[0].revision) == (
                expires + HOUR,
                expires + HOUR,
                1,
            )
            await trio.sleep(60)
        for bent in relays.values():
            bent.silent = False
        async with leaving(context, deposits, Heard()) as made:
            assert (made.copies(LETTER), made.expires(LETTER)) == (0, expires + HOUR)
            await until(lambda: made.copies(LETTER) == 4, 900)
            assert await made.recall(LETTER)
            await made.extend(LETTER, expires + 2 * HOUR)  # called back: nothing happens
            assert await made.recall(LETTER)
        assert sum(bent.kept for bent in relays.values()) == 0


async def test_a_letter_of_an_older_period_is_extended_where_it_lies(autojump_clock: MockClock) -> None:
    """No relay takes a new item for such a period, but those that have it keep it longer."""
    async with small(6, interval_seconds=600, period_seconds=HOUR, **QUIET) as net, net.join() as node:
        context, relays, heard = inside(node), bend(net), Heard()
        period, expires = context.view.period, context.clock.wall() + 5 * HOUR
        async with leaving(context, DepositsInMemory(), heard) as made:
            await made.leave(LETTER, sealed(mailbox_of(context, w.BOARD), expires), expires)
            await until(lambda: made.copies(LETTER) == 4, 600)
            await trio.sleep(3 * HOUR)
            assert context.view.period > period + 1
            await made.extend(LETTER, expires + 3 * HOUR)
            await until(lambda: made.copies(LETTER) == 4, 900)
        last = [bent.puts[-1][1] for bent in relays.values() if bent.puts]
        assert {put.expires for put in last} == {expires + 3 * HOUR}
        assert {put.effort for put in last} == {3 * 24}
        assert heard.gone == []
