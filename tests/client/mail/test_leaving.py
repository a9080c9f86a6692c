"""Letters left at relays: how many copies, in which order, until when, and how they are called back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.mail.deposits import DepositsInMemory
from onionshh.client.mail.leaving import PARTS_MOST, Leaving, NotStored, TooMuchMail
from onionshh.core.mailbox.copies import APART_LEAST_SECONDS, APART_MOST_SECONDS
from onionshh.core.mailbox.price import EFFORT_MOST
from onionshh.wire import mailbox as w
from tests.client.mail.postal import (
    LETTER,
    Heard,
    all_puts,
    bend,
    leaving,
    mailbox_of,
    places_of,
    relay_of,
    sealed,
)
from tests.client.world import QUIET, joined, small, until
from tests.inside import inside

HOUR = 3600
T = TypeVar("T")


@pytest.mark.parametrize("parts", [1, 4, 16])
async def test_each_part_is_at_four_relays_in_the_end(autojump_clock: MockClock, parts: int) -> None:
    async with small(6, **QUIET) as net, net.join() as node:
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
    async with small(6, **QUIET) as net, net.join() as node:
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
        assert heard.why == []


async def test_the_price_that_one_relay_asks_is_paid_once_and_sent_to_all(autojump_clock: MockClock) -> None:
    async with small(6, **QUIET) as net, net.join() as node:
        context, relays, heard = inside(node), bend(net), Heard()
        box = mailbox_of(context, w.PAIR)
        dear = places_of(context, box)[0][0]
        relays[dear].on_put = lambda put: w.Kept(w.DEAR, 700) if put.effort < 700 else None
        expires = context.clock.wall() + HOUR
        with all_puts(relays) as puts:
            async with leaving(context, DepositsInMemory(), heard) as made:
                await made.leave(LETTER, sealed(box, expires), expires)
                await until(lambda: made.copies(LETTER) == 4, 600)
        efforts = [put.effort for _, _, put in puts]
        assert efforts == sorted(efforts)
        assert set(efforts) == {24, 700}
        assert len({put.nonce for _, _, put in puts}) == 2
        assert len(puts) == 5


async def test_a_relay_that_always_wants_a_little_more_gets_nowhere(autojump_clock: MockClock) -> None:
    async with small(6, **QUIET) as net, net.join() as node:
        context, relays, heard = inside(node), bend(net), Heard()
        box = mailbox_of(context, w.PAIR)
        greedy = relays[places_of(context, box)[0][0]]
        greedy.on_put = lambda put: w.Kept(w.DEAR, put.effort + 1 if put.effort < 6000 else EFFORT_MOST + 1)
        expires = context.clock.wall() + 3 * HOUR
        async with leaving(context, DepositsInMemory(), heard) as made:
            await made.leave(LETTER, sealed(box, expires), expires)
            await until(lambda: made.copies(LETTER) == 3, 600)
            await trio.sleep(HOUR)
            assert made.copies(LETTER) == 3
        assert len({put.effort for _, put, _ in greedy.puts}) <= 8
        assert heard.copies[-1] == (3, True)


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
    async with small(6, **QUIET) as net, net.join() as node:
        context, relays, heard = inside(node), bend(net), Heard()
        for bent in relays.values():
            bent.on_put = lambda put: answer
        expires = context.clock.wall() + 8 * HOUR
        async with leaving(context, DepositsInMemory(), heard) as made:
            await made.leave(LETTER, sealed(mailbox_of(context), expires), expires)
            await until(lambda: bool(heard.why), 600)
            await trio.sleep(HOUR)
            assert (heard.why, heard.copies) == ([why], [])
            asked = sum(len(bent.puts) for bent in relays.values())
            assert 4 * 5 <= asked <= 4 * 9  # ever later
            for bent in relays.values():
                bent.on_put = lambda put: None
            await until(lambda: made.copies(LETTER) == 4, 2 * HOUR)
        assert heard.why == [why]


async def test_a_relay_that_is_away_gets_its_copy_when_it_is_back(autojump_clock: MockClock) -> None:
    async with small(6, **QUIET) as net, net.join() as node:
        context, heard = inside(node), Heard()
        box = mailbox_of(context)
        away = relay_of(net, places_of(context, box)[0][0])
        await away.stop()
        expires = context.clock.wall() + 8 * HOUR
        async with leaving(context, DepositsInMemory(), heard) as made:
            await made.leave(LETTER, sealed(box, expires), expires)
            await until(lambda: made.copies(LETTER) == 3, 900)
            await net.add_relay(again=away)
            await until(lambda: made.copies(LETTER) == 4, 2 * HOUR)


async def test_what_answers_nothing_or_nonsense_is_tried_again(autojump_clock: MockClock) -> None:
    async with small(6, **QUIET) as net, net.join() as node:
        context, relays, heard = inside(node), bend(net), Heard()
        box = mailbox_of(context)
        places = places_of(context, box)
        relays[places[0][0]].silent = True
        relays[places[1][0]].on_put = lambda put: w.Kept(77)
        expires = context.clock.wall() + 8 * HOUR
        async with leaving(context, DepositsInMemory(), heard) as made:
            await made.leave(LETTER, sealed(box, expires), expires)
            await until(lambda: context.drops.by_name().get("mailbox-shape", 0) > 0, 900)
            await until(lambda: bool(relays[places[0][0]].puts), 900)
            await trio.sleep(100)
            assert made.copies(LETTER) == 2
            relays[places[0][0]].silent = False
            relays[places[1][0]].on_put = lambda put: None
            await until(lambda: made.copies(LETTER) == 4, 2 * HOUR)


async def test_after_its_time_nobody_is_asked_and_nothing_is_kept(autojump_clock: MockClock) -> None:
    async with small(6, **QUIET) as net, net.join() as node:
        context, relays, heard, deposits = inside(node), bend(net), Heard(), DepositsInMemory()
        for bent in relays.values():
            bent.on_put = lambda put: w.Kept(w.FULL)
        wall = context.clock.wall()
        async with leaving(context, deposits, heard) as made:
            await made.leave(LETTER, sealed(mailbox_of(context), wall + 2 * HOUR), wall + HOUR)
            await trio.sleep(HOUR + 300)
            asked = sum(len(bent.puts) for bent in relays.values())
            assert asked
            assert LETTER in made
            assert await deposits.load()
            await trio.sleep(HOUR)
            assert sum(len(bent.puts) for bent in relays.values()) == asked
            assert LETTER not in made
            assert not await deposits.load()


async def test_a_letter_is_put_only_while_its_period_is_near(autojump_clock: MockClock) -> None:
    async with small(6, **QUIET) as net, net.join() as node:
        context, relays, heard = inside(node), bend(net), Heard()
        expires = context.clock.wall() + HOUR
        async with leaving(context, DepositsInMemory(), heard) as made:
            await made.leave(LETTER, sealed(mailbox_of(context, before=2), expires), expires)
            await trio.sleep(600)
            assert made.copies(LETTER) == 0
        assert not any(bent.puts for bent in relays.values())
        assert heard.why == []


# Recall.


async def test_a_recall_erases_every_copy(autojump_clock: MockClock) -> None:
    async with small(6, **QUIET) as net, net.join() as node:
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
    async with small(6, **QUIET) as net, net.join() as node:
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


class SlowDeposits(DepositsInMemory):
    """A value that is needed for a PUT comes when `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = trio.Event()
        self.asked = 0

    async def value(self, item_id: bytes) -> bytes:
        self.asked += 1
        if self.asked > 1:  # the first is for the proof
            await self.go.wait()
        return await super().value(item_id)


async def test_a_recall_waits_for_a_put_that_is_on_its_way(autojump_clock: MockClock) -> None:
    async with small(6, **QUIET) as net, net.join() as node:
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
    async with small(6, **QUIET) as net, net.join() as node:
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
    async with small(6, **QUIET) as net, net.join() as node:
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
    async with small(6, **QUIET) as net, net.join() as node:
        context, relays, heard, deposits = inside(node), bend(net), Heard(), DepositsInMemory()
        expires = context.clock.wall() + HOUR
        async with leaving(context, deposits, heard) as made:
            await made.leave(LETTER, sealed(mailbox_of(context), expires), expires)
            await until(lambda: made.copies(LETTER) == 4, 600)
            made.recall_soon(LETTER)
            made.recall_soon(LETTER)
            await until(lambda: LETTER not in made, 60)
        assert sum(bent.kept for bent in relays.values()) == 0


# Bounds and ends.


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
    async with small(6, **QUIET) as net, net.join() as node:
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


async def at_work(function: Callable[[], T], /) -> T:
    """A thread that needs its time, also in virtual time."""
    await trio.sleep(0.02)
    return function()


@pytest.mark.parametrize("recall", [False, True])
async def test_it_stops_within_a_moment_also_while_it_looks_for_a_proof(
    autojump_clock: MockClock, recall: bool
) -> None:
    async with small(6, **QUIET) as net, joined(net, "slow", net.clock, at_work) as node:
        context, relays, heard = inside(node), bend(net), Heard()
        for bent in relays.values():
            bent.on_put = lambda put: w.Kept(w.DEAR, EFFORT_MOST) if put.value else None
        expires = context.clock.wall() + HOUR
        async with leaving(context, DepositsInMemory(), heard) as made:
            await made.leave(LETTER, sealed(mailbox_of(context), expires), expires)
            await until(lambda: any(bent.puts for bent in relays.values()), 600)
            tries = heard.tries
            await trio.sleep(3)
            assert 3000 < heard.tries - tries < 20_000
            assert context.shared.proving.locked()
            before = trio.current_time()
            if recall:
                assert await made.recall(LETTER)
        assert trio.current_time() - before < 2
        assert not context.shared.proving.locked()
        assert not any(circuit.purpose == "mailbox" for circuit in context.circuits.circuits)
