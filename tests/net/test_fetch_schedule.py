"""When the next consensus is due, whatever the wall clock does meanwhile."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.core.base.chance import Chance
from onionshh.core.trust import read_consensus_untrusted
from onionshh.net.clocks import Clock
from onionshh.net.fetch_schedule import AGAIN_MOST_SECONDS, FetchSchedule
from onionshh.wire.consensus import Consensus
from tests.net.test_clocks import Jumping
from tests.net.test_consensus_keeper import INTERVAL, WALL, document, network
from tests.seeded import seeded


def consensus(after: int = 0) -> Consensus:
    return read_consensus_untrusted(document(after), network())


def schedule(clock: Clock, *, early: bool = False, seed: int = 1) -> FetchSchedule:
    made = FetchSchedule(clock, Chance(seeded(seed)), early=early)
    made.came(consensus(), INTERVAL, from_disk=False)
    return made


async def due_after(made: FetchSchedule) -> float:
    started = trio.current_time()
    await made.until_due()
    return trio.current_time() - started


@pytest.mark.parametrize("early, low, high", [(True, 0.02, 0.1), (False, 0.2, 0.9)])
async def test_relays_ask_early_and_clients_at_a_random_moment(
    autojump_clock: MockClock, early: bool, low: float, high: float
) -> None:
    waits = [await due_after(schedule(Clock(WALL), early=early, seed=seed)) for seed in range(20)]
    assert all(INTERVAL * (1 + low) <= wait <= INTERVAL * (1 + high) for wait in waits)
    assert max(waits) - min(waits) > INTERVAL * (high - low) / 2


async def test_before_the_first_it_is_due_at_once(autojump_clock: MockClock) -> None:
    assert await due_after(FetchSchedule(Clock(WALL), Chance(seeded(1)), early=False)) == 0


async def test_whoever_wants_it_now_need_not_wait(autojump_clock: MockClock) -> None:
    made = schedule(Clock(WALL))
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def want() -> None:
            await trio.sleep(17)
            made.soon()

        assert await due_after(made) == 17


async def test_one_from_the_future_makes_the_next_one_due_at_once(autojump_clock: MockClock) -> None:
    clock = Clock(WALL - 7200)
    made = schedule(clock)
    assert not made.counts(consensus())
    assert await due_after(made) == 0


async def test_seconds_asleep_count_and_a_clock_set_back_does_not(autojump_clock: MockClock) -> None:
    clock = Jumping(WALL)
    made = schedule(clock)
    clock.ahead = -300
    await trio.sleep(10)
    clock.ahead = 2 * INTERVAL  # the machine was asleep, and monotonic seconds stood still
    assert await due_after(made) == 0


async def test_without_guards_the_directory_is_asked_once_in_a_while(autojump_clock: MockClock) -> None:
    made = schedule(Clock(WALL))
    assert made.again_seconds == AGAIN_MOST_SECONDS
    asked = []
    for _ in range(200):
        asked.append(made.directory_may_be_asked())
        await trio.sleep(1)
    assert [at for at, may in enumerate(asked) if may] == [0, 60, 120, 180]


@pytest.mark.parametrize("interval, again", [(1, 1.0), (60, 10.0), (300, 50.0), (3600, 60.0)])
async def test_tries_are_no_denser_than_lists_are_made(
    autojump_clock: MockClock, interval: int, again: float
) -> None:
    made = FetchSchedule(Clock(WALL), Chance(seeded(1)), early=False)
    made.came(consensus(), interval, from_disk=False)
    assert made.again_seconds == again
