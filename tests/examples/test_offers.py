"""Offers are found while they stand, by everyone, and no longer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh.core.board.topic import Topic
from tests.client.letterworld import HOUR, HOURS, slowly
from tests.client.mail.postal import bend, places_of
from tests.client.world import small
from tests.examples import chat, offers
from tests.inside import inside

TRADER = onionshh.Identity.generate()


async def test_offers_stay_findable_and_are_taken_back_also_in_a_later_run(
    autojump_clock: MockClock,
) -> None:
    with slowly(30.0):
        async with small(8, **HOURS) as net, net.join("buyer") as buyer, net.join("trader") as trader:
            async with trader.board(offers.MARKET, author=TRADER, name="trader") as board:
                bicycle = await offers.make(board, "a bicycle", "40 DAI", 3 * HOUR)
                assert bicycle.copies[0] < 4  # nobody waits for all, but this program does
                began = trio.current_time()
                assert (await offers.copied(bicycle)).copies == (4, 4)
                assert trio.current_time() - began < offers.COPIES_SECONDS
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
                    with pytest.raises(offers.NotMine):
                        await offers.take_back(board, "00" * 16)
                assert await offers.find(market) == []


async def test_relays_that_do_not_answer_are_not_waited_for_long(autojump_clock: MockClock) -> None:
    async with small(8, **HOURS) as net, net.join("trader") as trader:
        relays = bend(net)
        async with trader.board(offers.MARKET) as board:
            first, second = places_of(
                inside(trader), Topic.of(offers.MARKET).mailbox(inside(trader).view.period)
            )
            speak = {first[0], next(relay for relay in second if relay != first[0])}
            for relay, bent in relays.items():
                bent.silent = relay not in speak
            posting = await offers.make(board, "a lamp", "5 DAI", 600)
            began = trio.current_time()
            assert (await offers.copied(posting)).copies == (2, 4)
            assert trio.current_time() - began == offers.COPIES_SECONDS


@pytest.mark.parametrize("ended", [offers.ended, chat.ended])
def test_a_mistake_gets_one_sentence(
    ended: Callable[[Callable[[], Awaitable[None]]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    async def wrong() -> None:
        async with trio.open_nursery():
            raise onionshh.BadNetworkFile("There is no network file.")

    async def ended_by_hand() -> None:
        raise KeyboardInterrupt

    assert ended(wrong) == 1
    assert capsys.readouterr().err == "There is no network file.\n"
    assert ended(ended_by_hand) == 0
    assert capsys.readouterr().err == ""


def test_what_strangers_write_is_one_plain_line() -> None:
    assert offers.plain("a\ud800b\x1b[31m\nforged") == "a\ufffdb\ufffd[31m\ufffdforged"
