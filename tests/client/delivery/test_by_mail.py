"""A record that lay in a mailbox, as a lane: what is sent at once is collected, and then it is over."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.delivery.by_mail import CameByMail
from onionshh.core.delivery.record import (
    EXPIRED,
    TOO_FAR,
    Record,
    new_whisper,
    receipt_for,
    refusal_of,
)
from onionshh.net.circuits import CircuitFailed
from onionshh.net.clocks import Clock
from tests.client.world import WALL
from tests.seeded import seeded

random_bytes = seeded(9)


def whisper(expires: int = WALL + 600) -> Record:
    return new_whisper(b"hello", expires=expires, privacy_class=1, random_bytes=random_bytes)


async def test_receipts_and_refusals_are_collected_and_replies_go_their_way(
    autojump_clock: MockClock,
) -> None:
    replies: list[Record] = []
    lane, record, reply = CameByMail(replies.append, Clock(WALL)), whisper(), whisper()
    receipt, refusal = receipt_for(record, random_bytes), refusal_of(record, EXPIRED, random_bytes)
    assert lane.send_at_once(receipt, reply)
    await lane.send(refusal)
    assert (lane.owed, replies, lane.more_is_coming) == ([receipt, refusal], [reply], False)


async def test_once_it_is_over_nothing_is_taken_and_whoever_waits_is_woken(autojump_clock: MockClock) -> None:
    lane, record = CameByMail(lambda reply: None, Clock(WALL)), whisper()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            with pytest.raises(CircuitFailed):
                await lane.receive()

        nursery.start_soon(lane.closed)
        await trio.sleep(1)
        was_open = lane.open
        lane.close()
    assert (was_open, lane.open) == (True, False)
    with pytest.raises(CircuitFailed):
        lane.send_at_once(receipt_for(record, random_bytes))
    with pytest.raises(CircuitFailed):
        await lane.send(receipt_for(record, random_bytes))
    assert lane.owed == []


async def test_dates_are_judged_as_on_any_lane(autojump_clock: MockClock) -> None:
    lane = CameByMail(lambda reply: None, Clock(WALL))
    assert lane.why_refused(whisper()) is None
    assert lane.why_refused(whisper(WALL + 8 * 86_400)) == TOO_FAR
