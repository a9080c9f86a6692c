"""One part on its way: what it pays, whom it asks again, and when it stops."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.mail.deposits import DepositsInMemory
from onionshh.client.mail.one_item import RAISES_MOST, in_words
from onionshh.client.steps import STEPS
from onionshh.core.mailbox.price import EFFORT_MOST
from onionshh.wire import mailbox as w
from tests.client.mail.postal import (
    LETTER,
    Heard,
    SlowDeposits,
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


@pytest.mark.parametrize(
    "status, recalled, said",
    [
        (w.STORED, False, "keeps a copy"),
        (w.STORED, True, "has erased its copy"),
        (w.STALE, False, "had a copy, which was read or erased"),
        (w.FULL, False, "has no room for it"),
        (w.DEAR, False, "wants 700 tries of work for it"),
        (w.REFUSED, False, "refuses it"),
    ],
)
def test_what_a_relay_says_in_words(status: int, recalled: bool, said: str) -> None:
    assert in_words(w.Kept(status, 700), recalled=recalled) == said


async def test_each_step_is_told(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, STEPS)
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context = inside(node)
        expires = context.clock.wall() + HOUR
        async with leaving(context, DepositsInMemory(), Heard()) as made:
            await made.leave(LETTER, sealed(mailbox_of(context), expires), expires)
            await until(lambda: made.copies(LETTER) == 4, 600)
    told = [record.getMessage() for record in caplog.records if record.name == STEPS]
    assert told[:2] == ["we look for a proof of work, which takes 96 tries on average", "the proof is found"]
    assert sum(line.endswith(" keeps a copy") for line in told) == 4


async def test_the_price_that_one_relay_asks_is_paid_once_and_sent_to_all(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
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
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, heard = inside(node), bend(net), Heard()
        box = mailbox_of(context, w.PAIR)
        greedy = relays[places_of(context, box)[0][0]]
        greedy.on_put = lambda put: w.Kept(w.DEAR, put.effort + 1 if put.effort < 1000 else EFFORT_MOST + 1)
        expires = context.clock.wall() + 3 * HOUR
        async with leaving(context, DepositsInMemory(), heard) as made:
            await made.leave(LETTER, sealed(box, expires), expires)
            await until(lambda: made.copies(LETTER) == 3, 600)
            await trio.sleep(900)
            assert made.copies(LETTER) == 3
        assert len({put.effort for _, put, _ in greedy.puts}) <= 6 < RAISES_MOST
        assert heard.copies[-1] == (3, True)


async def test_a_relay_that_is_away_gets_its_copy_when_it_is_back(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
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
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
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


async def test_a_letter_is_put_only_while_its_period_is_near(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, heard = inside(node), bend(net), Heard()
        expires = context.clock.wall() + HOUR
        async with leaving(context, DepositsInMemory(), heard) as made:
            await made.leave(LETTER, sealed(mailbox_of(context, before=2), expires), expires)
            await trio.sleep(600)
            assert made.copies(LETTER) == 0
        assert not any(bent.puts for bent in relays.values())
        assert heard.why == []


async def at_work(function: Callable[[], T], /) -> T:
    """A thread that needs its time, also in virtual time."""
    await trio.sleep(0.02)
    return function()


@pytest.mark.parametrize("recall", [False, True])
async def test_it_stops_within_a_moment_also_while_it_looks_for_a_proof(
    autojump_clock: MockClock, recall: bool
) -> None:
    async with (
        small(6, interval_seconds=600, **QUIET) as net,
        joined(net, "slow", net.clock, at_work) as node,
    ):
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


async def test_only_the_hours_that_an_extension_adds_are_paid(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays = inside(node), bend(net)
        box = mailbox_of(context, w.BOARD)
        missed = places_of(context, box)[1][1]
        relays[missed].silent = True
        expires = context.clock.wall() + 3 * HOUR
        async with leaving(context, DepositsInMemory(), Heard()) as made:
            await made.leave(LETTER, sealed(box, expires), expires)
            await until(lambda: made.copies(LETTER) == 3, 600)
            for end, effort in ((expires + 2 * HOUR, 48), (expires - HOUR, 0)):
                before = [len(bent.puts) for bent in relays.values()]
                await made.extend(LETTER, end)
                assert made.copies(LETTER) == 0
                await until(lambda: made.copies(LETTER) == 3, 600)
                for bent, count in zip(relays.values(), before, strict=True):
                    for _, put, _ in bent.puts[count:]:
                        assert (put.expires, put.revision) == (end, 1 if effort else 2)
                        assert put.effort == effort
            relays[missed].silent = False  # it never had it, so it wants the whole price
            await until(lambda: made.copies(LETTER) == 4, HOUR)
            assert [put.effort for _, put, _ in relays[missed].puts][-1] >= 48
        assert len({put.value for bent in relays.values() for _, put, _ in bent.puts}) == 1


async def test_what_is_extended_during_its_work_is_left_with_the_new_end_only(
    autojump_clock: MockClock,
) -> None:
    async with (
        small(6, interval_seconds=600, **QUIET) as net,
        joined(net, "slow", net.clock, at_work) as node,
    ):
        context, relays = inside(node), bend(net)
        expires = context.clock.wall() + 48 * HOUR
        async with leaving(context, DepositsInMemory(), Heard()) as made:
            await made.leave(LETTER, sealed(mailbox_of(context, w.BOARD), expires), expires)
            with trio.fail_after(60):
                while not context.shared.proving.locked():  # it may be for a moment only
                    await trio.sleep(0.001)
            await made.extend(LETTER, expires + HOUR)
            await until(lambda: made.copies(LETTER) == 4, 900)
            assert made.expires(LETTER) == expires + HOUR
        puts = [put for bent in relays.values() for _, put, _ in bent.puts]
        assert {(put.expires, put.revision) for put in puts} == {(expires + HOUR, 1)}


async def test_a_relay_that_hears_of_the_end_before_is_asked_again(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, deposits = inside(node), bend(net), SlowDeposits()
        expires = context.clock.wall() + HOUR
        async with leaving(context, deposits, Heard()) as made:
            await made.leave(LETTER, sealed(mailbox_of(context), expires), expires)
            await until(lambda: deposits.asked == 2, 60)
            await made.extend(LETTER, expires + HOUR)  # the PUT is on its way
            deposits.go.set()
            await until(lambda: made.copies(LETTER) == 4, 900)
        ends = [[put.expires for _, put, _ in bent.puts] for bent in relays.values() if bent.puts]
        assert [expires] in [one[:1] for one in ends]
        assert [one[-1] for one in ends] == [expires + HOUR] * 4
