"""The clock that the network goes by: what relays say of it, and when it is sure."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.directory.own_clock import OwnClock
from onionshh.directory.registry import Registry
from tests.directory.world import WALL, one_machine
from tests.net.test_clocks import Jumping


def hear(clock: OwnClock, *offsets: int) -> None:
    for number, offset in enumerate(offsets):
        clock.heard(bytes([number]) * 32, f"192.0.2.{number}", WALL + offset)


async def test_doubt_is_said_once_and_so_is_its_end(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    clock = OwnClock(Jumping(WALL), by_address=True)
    hear(clock, 7200, 7200)
    assert clock.doubt == ""
    for _ in range(3):
        hear(clock, 7200, 7200, 7200)
    assert "about 2 hours behind that of 3 of the 3 relays" in clock.doubt
    hear(clock, 0, 0, 0)
    assert clock.doubt == ""
    assert [message.split(" ")[0] for message in caplog.messages] == ["the", "most"]


async def test_a_clock_is_sure_once_it_has_rested(autojump_clock: MockClock) -> None:
    wall = Jumping(WALL)
    clock, registry = OwnClock(wall, by_address=False), Registry(one_machine())
    sure = []
    for second in range(1600):
        if second == 800:
            wall.ahead = 86_400
        clock.now(registry)
        sure.append(registry.sure)
        await trio.sleep(1)
    assert [sure[0], sure[590], sure[799], sure[850], sure[1380], sure[-1]] == [
        False,
        False,
        True,
        False,
        False,
        True,
    ]
    assert clock.now(registry) == WALL + 1600 + 86_400
