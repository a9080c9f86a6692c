"""One letter on its way: what is told of it, and how it is called back."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.mail.deposits import DepositsInMemory
from onionshh.client.mail.leaving import Leaving
from onionshh.client.mail.one_letter import NotStored
from onionshh.core.mailbox.price import EFFORT_MOST
from onionshh.wire import mailbox as w
from tests.client.mail.postal import (
    LETTER,
    Heard,
    SlowDeposits,
    bend,
    leaving,
    mailbox_of,
    places_of,
    sealed,
)
from tests.client.world import QUIET, small, until
from tests.inside import inside

HOUR = 3600


@pytest.mark.parametrize(
    "answer, why",
    [
        (w.Kept(w.DEAR, EFFORT_MOST + 1), NotStored.DEAR),
        (w.Kept(w.DEAR, 1), NotStored.DEAR),
        (w.Kept(w.FULL), NotStored.FULL),
        (w.Kept(w.REFUSED), NotStored.REFUSED),
    ],
)
async def test_when_no_relay_takes_it_that_is_said_once_and_it_goes_on(
    autojump_clock: MockClock, answer: w.Kept, why: NotStored
) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, heard = inside(node), bend(net), Heard()
        for bent in relays.values():
            bent.on_put = lambda put: answer
        expires = context.clock.wall() + 8 * HOUR
        async with leaving(context, DepositsInMemory(), heard) as made:
            await made.leave(LETTER, sealed(mailbox_of(context), expires), expires)
            await until(lambda: bool(heard.why), 600)
            await trio.sleep(900)
            assert (heard.why, heard.copies) == ([why], [])
            asked = sum(len(bent.puts) for bent in relays.values())
            assert 4 * 4 <= asked <= 4 * 7  # ever later
            for bent in relays.values():
                bent.on_put = lambda put: None
            await until(lambda: made.copies(LETTER) == 4, 2 * HOUR)
        assert set(heard.why) == {why}  # said again while one place has it and the other does not


async def test_a_letter_whose_mailbox_is_over_is_given_back_unless_it_is_stored(
    autojump_clock: MockClock,
) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, heard, deposits = inside(node), bend(net), Heard(), DepositsInMemory()
        expires = context.clock.wall() + HOUR
        async with leaving(context, deposits, heard) as made:
            old = mailbox_of(context, before=2)
            await made.leave(LETTER, sealed(old, expires), expires)
            await until(lambda: LETTER not in made, 120)
            assert heard.gone == [LETTER]
            assert not await deposits.load()
            assert sum(len(bent.puts) for bent in relays.values()) == 0

            await made.leave(LETTER, sealed(mailbox_of(context, before=1), expires), expires)
            await until(lambda: made.copies(LETTER) == 4, 600)
            await trio.sleep(300)
            assert heard.gone == [LETTER]


async def test_a_recall_erases_every_copy(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, heard, deposits = inside(node), bend(net), Heard(), DepositsInMemory()
        expires = context.clock.wall() + HOUR
        async with leaving(context, deposits, heard) as made:
            await made.leave(LETTER, sealed(mailbox_of(context), expires, 4), expires)
            await until(lambda: made.copies(LETTER) == 4, 600)
            assert sum(bent.kept for bent in relays.values()) == 16
            before = trio.current_time()
            assert await made.recall(LETTER)
            assert trio.current_time() - before < 30
            assert sum(bent.kept for bent in relays.values()) == 0
            await until(lambda: LETTER not in made, 10)
            assert not await deposits.load()
            assert await made.recall(LETTER)  # it is unknown now
        assert heard.copies[-1] == (4, True)


async def test_a_recall_in_the_midst_stops_the_rest(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, heard = inside(node), bend(net), Heard()
        expires = context.clock.wall() + HOUR
        async with leaving(context, DepositsInMemory(), heard) as made:
            await made.leave(LETTER, sealed(mailbox_of(context), expires, 4), expires)
            await until(lambda: sum(bent.kept for bent in relays.values()) >= 3, 600)
            assert await made.recall(LETTER)
            await trio.sleep(300)
        assert sum(bent.kept for bent in relays.values()) == 0
        for bent in relays.values():
            erased = False
            for _, put, _ in bent.puts:
                erased = erased or not put.value
                assert erased == (not put.value)


async def test_a_recall_waits_for_a_put_that_is_on_its_way(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, heard, deposits = inside(node), bend(net), Heard(), SlowDeposits()
        expires = context.clock.wall() + HOUR
        async with leaving(context, deposits, heard) as made:
            await made.leave(LETTER, sealed(mailbox_of(context), expires), expires)
            await until(lambda: deposits.asked == 2, 60)
            made.recall_soon(LETTER)
            await trio.sleep(10)
            assert not any(bent.puts for bent in relays.values())
            deposits.go.set()
            assert await made.recall(LETTER)
        assert [bool(put.value) for bent in relays.values() for _, put, _ in bent.puts] == [True, False]
        assert sum(bent.kept for bent in relays.values()) == 0


async def test_a_recall_before_any_put_leaves_no_trace(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, heard = inside(node), bend(net), Heard()
        expires = context.clock.wall() + HOUR
        made = Leaving(context, DepositsInMemory(), heard)
        await made.leave(LETTER, sealed(mailbox_of(context), expires), expires)
        assert await made.recall(LETTER)
        with trio.move_on_after(300):
            await made.run()
        assert not any(bent.puts for bent in relays.values())
        assert LETTER not in made


async def test_a_relay_that_is_away_is_told_later_that_it_is_called_back(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, heard = inside(node), bend(net), Heard()
        box = mailbox_of(context)
        expires = context.clock.wall() + 8 * HOUR
        async with leaving(context, DepositsInMemory(), heard) as made:
            await made.leave(LETTER, sealed(box, expires), expires)
            await until(lambda: made.copies(LETTER) == 4, 600)
            relays[places_of(context, box)[0][0]].silent = True
            assert not await made.recall(LETTER)
            assert made.copies(LETTER) == 0
            assert sum(bent.kept for bent in relays.values()) == 1
            for bent in relays.values():
                bent.silent = False
            await until(lambda: LETTER not in made, HOUR)
        assert sum(bent.kept for bent in relays.values()) == 0


async def test_a_recall_in_the_background(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, heard, deposits = inside(node), bend(net), Heard(), DepositsInMemory()
        expires = context.clock.wall() + HOUR
        async with leaving(context, deposits, heard) as made:
            await made.leave(LETTER, sealed(mailbox_of(context), expires), expires)
            await until(lambda: made.copies(LETTER) == 4, 600)
            made.recall_soon(LETTER)
            made.recall_soon(LETTER)
            await until(lambda: LETTER not in made, 60)
        assert sum(bent.kept for bent in relays.values()) == 0


async def test_a_letter_that_is_extended_lives_on_and_can_be_called_back(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, heard = inside(node), bend(net), Heard()
        expires = context.clock.wall() + 1800
        async with leaving(context, DepositsInMemory(), heard) as made:
            await made.leave(LETTER, sealed(mailbox_of(context), expires, 4), expires)
            await until(lambda: made.copies(LETTER) == 4, 600)
            await made.extend(LETTER, expires + HOUR)
            assert heard.copies[-1] == (0, False)
            await until(lambda: made.copies(LETTER) == 4, 900)
            assert heard.copies[-1] == (4, True)
            await trio.sleep(1800 + 120)  # past its first end
            assert LETTER in made
            assert sum(bent.kept for bent in relays.values()) == 16
            assert await made.recall(LETTER)
        assert sum(bent.kept for bent in relays.values()) == 0


async def test_a_letter_that_is_shortened_ends_earlier(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays = inside(node), bend(net)
        expires = context.clock.wall() + 8 * HOUR
        async with leaving(context, DepositsInMemory(), Heard()) as made:
            await made.leave(LETTER, sealed(mailbox_of(context), expires), expires)
            await until(lambda: made.copies(LETTER) == 4, 600)
            await made.extend(LETTER, context.clock.wall() + 600)
            await until(lambda: made.copies(LETTER) == 4, 300)
            await until(lambda: LETTER not in made, 1800)
            await until(lambda: not any(bent.kept for bent in relays.values()), 900)
