"""How late tasks run: the longest delay since somebody looked."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.net.lag import LOOK_SECONDS, LoopLag


async def test_a_loop_that_is_on_time_has_no_lag(autojump_clock: MockClock) -> None:
    lag = LoopLag()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lag.run)
        await trio.sleep(10.5)
        assert lag.take() == 0.0
        nursery.cancel_scope.cancel()


async def test_what_holds_the_loop_up_is_seen_once(mock_clock: MockClock) -> None:
    lag = LoopLag()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lag.run)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(LOOK_SECONDS + 0.25)  # no task ran meanwhile
        await trio.testing.wait_all_tasks_blocked()
        assert lag.take() == pytest.approx(0.25)
        assert lag.take() == 0.0
        nursery.cancel_scope.cancel()


def test_the_longest_delay_counts() -> None:
    lag = LoopLag()
    for seconds in (0.1, 0.3, 0.2):
        lag.was_late(seconds)
    assert lag.take() == 0.3
