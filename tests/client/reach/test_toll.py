"""What a visitor pays to be let in by an endpoint under load (SPEC 15)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.context import Context
from onionshh.client.reach.toll import DEAR_SECONDS, WORK_SECONDS, Toll, TooDear
from onionshh.core.endpoint.toll import pays_untrusted
from onionshh.core.mailbox import price
from onionshh.wire.endpoint import ProofWanted
from onionshh.wire.messages import Introduce, Paid
from tests.client.world import QUIET, WALL, joined, small
from tests.inside import inside
from tests.rendezvous.test_introducer import KEY, introduction

T = TypeVar("T")
MESSAGE = introduction(KEY)
WANTED = ProofWanted(b"s" * 32, 8, WALL + 7200)


class Thread:
    """A thread that needs a second for each piece. `lazy`: it only takes its time, and finds nothing."""

    def __init__(self) -> None:
        self.lazy = False
        self.pieces = 0

    async def __call__(self, function: Callable[[], T], /) -> T:
        self.pieces += 1
        await trio.sleep(1)
        return (lambda: None)() if self.lazy else function()  # type: ignore[return-value]


@asynccontextmanager
async def visitor() -> AsyncIterator[tuple[Context, Thread]]:
    thread = Thread()
    async with (
        small(3, interval_seconds=600, **QUIET) as net,
        joined(net, "visitor", net.clock, thread) as node,
    ):
        yield inside(node), thread


def effort_of(message: bytes) -> int:
    """What this INTRODUCE1 proves."""
    introduce = Introduce.decode_untrusted(message)
    paid = Paid.decode_untrusted(introduce.pow)
    assert paid is not None
    assert paid.seed_head == WANTED.seed[:4]
    assert pays_untrusted(paid, WANTED.seed, introduce)
    return paid.effort


def count(told: list[tuple[float, int]]) -> Callable[[float, int], None]:
    return lambda seconds, tries: told.append((seconds, tries))


async def test_it_pays_what_is_wanted_and_twice_as_much_after_each_refusal(autojump_clock: MockClock) -> None:
    async with visitor() as (context, _):
        toll, told = Toll(context), list[tuple[float, int]]()

        async def pays() -> int:
            return effort_of(await toll.paid(MESSAGE, WANTED, count(told)))

        assert await pays() == WANTED.effort
        assert await pays() == WANTED.effort, "nobody was busy"
        for effort in (16, 32, 64):
            toll.turned_away()
            assert await pays() == effort
        toll.let_in()
        assert await pays() == WANTED.effort
        toll.turned_away()
        raised = replace(WANTED, effort=100)
        assert effort_of(await toll.paid(MESSAGE, raised, count(told))) == 100, "the more of both"
        paid = await toll.paid(MESSAGE, WANTED, count(told))
        assert replace(Introduce.decode_untrusted(paid), pow=bytes(40)).encode() == MESSAGE
        assert sum(seconds for seconds, _ in told) >= 8
        assert sum(tries for _, tries in told) > 8


@pytest.mark.parametrize("wanted", [None, replace(WANTED, expires=WALL)], ids=["nothing", "expired"])
async def test_where_nothing_is_wanted_or_the_time_is_over_nothing_is_paid(
    wanted: ProofWanted | None, autojump_clock: MockClock
) -> None:
    async with visitor() as (context, thread):
        toll, before = Toll(context), thread.pieces
        assert await toll.paid(MESSAGE, wanted, count([])) == MESSAGE
        toll.turned_away()
        assert await toll.paid(MESSAGE, wanted, count([])) == MESSAGE
        assert effort_of(await toll.paid(MESSAGE, WANTED, count([]))) == WANTED.effort
        assert thread.pieces > before


async def test_it_works_for_a_minute_at_most_and_tells_of_the_work(autojump_clock: MockClock) -> None:
    async with visitor() as (context, thread):
        thread.lazy, told, began = True, list[tuple[float, int]](), trio.current_time()
        toll = Toll(context)
        with pytest.raises(TooDear):
            await toll.paid(MESSAGE, WANTED, count(told))
        assert trio.current_time() - began == WORK_SECONDS == 60
        assert sum(seconds for seconds, _ in told) >= WORK_SECONDS - 2
        thread.lazy = False
        await trio.sleep(DEAR_SECONDS)
        assert effort_of(await toll.paid(MESSAGE, WANTED, count(told))) == WANTED.effort
        # What was never paid is not doubled.
        thread.lazy = True
        with pytest.raises(TooDear):
            await toll.paid(MESSAGE, WANTED, count(told))
        thread.lazy = False
        toll.turned_away()
        await trio.sleep(DEAR_SECONDS)
        assert effort_of(await toll.paid(MESSAGE, WANTED, count(told))) == WANTED.effort


async def test_what_was_too_dear_is_not_tried_again_soon_unless_something_else_is_wanted(
    autojump_clock: MockClock,
) -> None:
    async with visitor() as (context, thread):
        toll = Toll(context)
        thread.lazy = True
        with pytest.raises(TooDear):
            await toll.paid(MESSAGE, WANTED, count([]))
        thread.lazy = False
        began, pieces = trio.current_time(), thread.pieces
        with pytest.raises(TooDear):
            await toll.paid(MESSAGE, WANTED, count([]))
        assert (trio.current_time(), thread.pieces) == (began, pieces)
        await toll.paid(MESSAGE, replace(WANTED, seed=b"t" * 32), count([]))
        assert thread.pieces > pieces


async def test_it_never_works_for_more_than_a_node_ever_pays(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onionshh.client.reach.toll.EFFORT_MOST", 20)
    async with visitor() as (context, thread):
        toll = Toll(context)
        assert effort_of(await toll.paid(MESSAGE, replace(WANTED, effort=20), count([]))) == 20
        toll.turned_away()
        assert effort_of(await toll.paid(MESSAGE, WANTED, count([]))) == 20
        pieces = thread.pieces
        with pytest.raises(TooDear):  # no less than all of it would be enough
            await toll.paid(MESSAGE, replace(WANTED, effort=21), count([]))
        assert thread.pieces == pieces
    assert price.EFFORT_MOST > 20


async def test_work_that_is_cancelled_ends(autojump_clock: MockClock) -> None:
    async with visitor() as (context, thread):
        thread.lazy = True
        with trio.move_on_after(5) as scope:
            await Toll(context).paid(MESSAGE, WANTED, count([]))
        assert scope.cancelled_caught
        await trio.sleep(3)
        pieces = thread.pieces
        await trio.sleep(30)
        assert thread.pieces == pieces
        thread.lazy = False
        assert effort_of(await Toll(context).paid(MESSAGE, WANTED, count([]))) == 8, "its turn is given back"


async def test_what_was_doubled_falls_again_once_it_was_too_dear(autojump_clock: MockClock) -> None:
    async with visitor() as (context, thread):
        toll = Toll(context)
        await toll.paid(MESSAGE, WANTED, count([]))
        toll.turned_away()
        thread.lazy = True
        with pytest.raises(TooDear):
            await toll.paid(MESSAGE, WANTED, count([]))
        thread.lazy = False
        await trio.sleep(DEAR_SECONDS)
        assert effort_of(await toll.paid(MESSAGE, WANTED, count([]))) == WANTED.effort
