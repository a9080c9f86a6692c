"""Proofs of work: they hold, take turns, and end when nobody wants them any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.mail.proving import PIECE_TRIES, prove
from onionshh.core.mailbox.price import EFFORT_MOST
from onionshh.core.mailbox.work import holds_untrusted
from tests.client.world import QUIET, joined, small
from tests.inside import inside

T = TypeVar("T")
TASK = bytes(range(32))


class Thread:
    """A thread that needs a second for each piece. `together`: the most pieces at a time."""

    def __init__(self) -> None:
        self.running = self.together = self.pieces = 0

    async def __call__(self, function: Callable[[], T], /) -> T:
        self.running += 1
        self.together = max(self.together, self.running)
        self.pieces += 1
        try:
            await trio.sleep(1)
            return function()
        finally:
            self.running -= 1


async def test_a_proof_holds_and_the_work_is_told(autojump_clock: MockClock) -> None:
    async with (
        small(3, interval_seconds=600, **QUIET) as net,
        joined(net, "slow", net.clock, Thread()) as node,
    ):
        context = inside(node)
        told: list[tuple[float, int]] = []
        nonce = await prove(context, TASK, 1000, lambda seconds, tries: told.append((seconds, tries)))
        assert holds_untrusted(TASK, nonce, 1000)
        assert all(seconds == 1 for seconds, _ in told)
        assert all(tries == PIECE_TRIES for _, tries in told[:-1])
        assert 0 < told[-1][1] <= PIECE_TRIES


async def test_there_is_one_at_a_time_for_the_whole_node(autojump_clock: MockClock) -> None:
    thread = Thread()
    async with small(3, interval_seconds=600, **QUIET) as net, joined(net, "slow", net.clock, thread) as node:
        context = inside(node)
        async with trio.open_nursery() as nursery:
            thread.together = 0
            for number in range(4):
                nursery.start_soon(prove, context, bytes((number,)) * 32, 300)
        assert thread.together == 1


async def test_dear_proofs_do_not_keep_others_waiting(autojump_clock: MockClock) -> None:
    async with (
        small(3, interval_seconds=600, **QUIET) as net,
        joined(net, "slow", net.clock, Thread()) as node,
    ):
        context = inside(node)
        worked = []
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(prove, context, bytes((number,)) * 32, EFFORT_MOST)
            await trio.sleep(5)
            began = trio.current_time()
            await prove(context, TASK, 1000, lambda seconds, tries: worked.append(seconds))
            assert trio.current_time() - began < 4 * sum(worked) + 5
            nursery.cancel_scope.cancel()


async def test_it_ends_after_the_piece_in_hand(autojump_clock: MockClock) -> None:
    thread = Thread()
    async with small(3, interval_seconds=600, **QUIET) as net, joined(net, "slow", net.clock, thread) as node:
        context = inside(node)
        before = thread.pieces
        with trio.move_on_after(10.5) as scope:
            await prove(context, TASK, EFFORT_MOST)
        assert scope.cancelled_caught
        assert thread.pieces - before == 11
        assert not context.shared.proving.locked()


async def test_no_node_pays_more_than_the_most(autojump_clock: MockClock) -> None:
    async with small(3, interval_seconds=600, **QUIET) as net, net.join() as node:
        with pytest.raises(ValueError):
            await prove(inside(node), TASK, EFFORT_MOST + 1)
        assert await prove(inside(node), TASK, 0) == bytes(16)
