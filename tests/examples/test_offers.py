"""Offers are found while they stand, by everyone, and no longer."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

import onionshh
from tests.client.letterworld import HOUR, HOURS, slowly
from tests.client.world import small
from tests.examples import offers

TRADER = onionshh.Identity.generate()


async def test_offers_stay_findable_and_are_taken_back_also_in_a_later_run(
    autojump_clock: MockClock,
) -> None:
    with slowly(30.0):
        async with small(8, **HOURS) as net, net.join("buyer") as buyer, net.join("trader") as trader:
            async with trader.board(offers.MARKET, author=TRADER, name="trader") as board:
                bicycle = await offers.make(board, "a bicycle", "40 DAI", 3 * HOUR)
                lamp = await offers.make(board, "a lamp", "5 DAI", 600)
                for junk in (b"no offer at all", b"[" * 60_000, b'{"gives": 1}', b"\xff"):
                    await board.post(junk, ttl_seconds=600)
            async with buyer.board(offers.MARKET) as market:
                found = await offers.find(market)
                assert [(one.gives, one.wants) for one in found] == [
                    ("a bicycle", "40 DAI"),
                    ("a lamp", "5 DAI"),
                ]
                assert [one.id for one in found] == [bicycle.id, lamp.id]
                assert len({one.trader for one in found} - {None}) == 1
                await trio.sleep(601)
                assert [one.gives for one in await offers.find(market)] == ["a bicycle"]
                async with trader.board(offers.MARKET, author=TRADER, name="trader") as board:
                    assert await offers.take_back(board, bicycle.id)
                    with pytest.raises(LookupError):
                        await offers.take_back(board, "00" * 16)
                assert await offers.find(market) == []


def test_what_strangers_write_is_one_plain_line() -> None:
    assert offers.plain("a\ud800b\x1b[31m\nforged") == "a\ufffdb\ufffd[31m\ufffdforged"
