"""What time it is: the wall clock without jumps that do not last, and what consensuses confirm."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.net.clocks import LASTS_SECONDS, Clock

WALL = 1_790_000_000
DAY = 86_400


class Jumping(Clock):
    """A wall clock that somebody else sets: `ahead` seconds from where it should be."""

    ahead = 0

    def wall(self) -> int:
        return max(0, super().wall() + self.ahead)


@pytest.mark.parametrize("jump", [-7200, 7200, -DAY, DAY, 365 * DAY, -WALL])
async def test_a_jump_counts_once_it_has_lasted(autojump_clock: MockClock, jump: int) -> None:
    clock = Jumping(WALL)
    assert clock.steady() == WALL
    await trio.sleep(100)
    clock.ahead = jump
    for seconds in range(8):
        assert abs(clock.steady() - WALL - 100 - seconds) <= 1
        await trio.sleep(1)
    clock.ahead = 0
    assert clock.steady() == WALL + 108
    clock.ahead = jump
    clock.steady()
    await trio.sleep(LASTS_SECONDS)
    assert clock.steady() == clock.wall() == max(0, WALL + 123 + jump)
    clock.ahead = 0
    assert abs(clock.steady() - clock.wall()) > 600, "nor is it followed back at once"
    await trio.sleep(LASTS_SECONDS)
    assert clock.steady() == clock.wall()


async def test_a_clock_that_jumps_about_is_not_followed_until_it_rests(autojump_clock: MockClock) -> None:
    clock = Jumping(WALL)
    clock.steady()
    for number in range(1, 50):
        clock.ahead = number * 7200
        assert abs(clock.steady() - WALL - number) <= 1
        await trio.sleep(1)


@pytest.mark.parametrize("step", [-600, 600])
async def test_a_clock_that_is_set_a_little_is_followed_at_once(autojump_clock: MockClock, step: int) -> None:
    clock = Jumping(WALL)
    clock.steady()
    clock.ahead = step
    assert clock.steady() == clock.wall()


async def test_what_a_consensus_confirmed_rises_and_comes_back_with_an_older_one(
    autojump_clock: MockClock,
) -> None:
    clock = Jumping(WALL)
    assert clock.earliest() == 0
    clock.confirm(WALL - 3600)
    await trio.sleep(1800)
    assert clock.earliest() == WALL - 1800
    clock.confirm(WALL - 3000)  # it came late: what was sure stays sure
    assert clock.earliest() == WALL - 1800
    clock.confirm(WALL + 365 * DAY)
    await trio.sleep(10)
    assert clock.earliest() == WALL + 365 * DAY + 10
    clock.confirm(WALL)  # older than the last: that one was from the future
    assert clock.earliest() == WALL
    clock.confirm(WALL + 5)
    assert clock.earliest() == WALL + 5


async def test_dates_that_we_write_follow_no_jump(autojump_clock: MockClock) -> None:
    clock = Jumping(WALL)
    clock.confirm(WALL - 3600)
    assert clock.best() == WALL
    for jump in (365 * DAY, -WALL):
        clock.ahead = jump
        assert abs(clock.best() - WALL) <= 1
    await trio.sleep(100)
    assert clock.best() == WALL - 3500, "the clock of 1970 has lasted: what is sure is better"
