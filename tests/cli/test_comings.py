"""Which relays came and went, and why."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from onionshh.cli import comings
from onionshh.cli.comings import Comings
from onionshh.cli.log_lines import INFO, WARNING
from tests.client.world import small


async def test_a_relay_that_goes_is_named_with_the_reason_and_without_its_address(
    autojump_clock: MockClock,
) -> None:
    async with small(3) as net:
        looking = Comings(net.authority)
        assert list(looking.look()) == [("3 relays listed", INFO)]
        assert list(looking.look()) == []
        gone = net.relays[0]
        await gone.stop()
        said: list[tuple[str, int]] = []
        with trio.fail_after(36_000):
            while not said:
                await trio.sleep(60)
                said += looking.look()
        assert said[0] == ("2 relays listed", INFO)
        line, level = said[1]
        assert line.startswith(f"relay {gone.about.nickname} ({gone.id}) went: no connection to it: ")
        assert level == WARNING
        assert gone.host not in line
        await net.add_relay(again=gone)
        await net.settled()
        assert list(looking.look()) == [
            ("3 relays listed", INFO),
            (f"relay {gone.about.nickname} ({gone.id}) came", INFO),
        ]


async def test_many_at_a_time_are_counted(autojump_clock: MockClock) -> None:
    async with small(1) as net:
        looking = Comings(net.authority)
        list(looking.look())
        for _ in range(comings.NAMED_MOST + 2):
            await net.add_relay()
        await net.settled()
        said = [line for line, _ in looking.look()]
    assert len(said) == comings.NAMED_MOST + 2
    assert said[-1] == "2 more relays came"
