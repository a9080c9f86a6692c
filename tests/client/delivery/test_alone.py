"""A record that came alone, and the way for its answers: as a lane it is there for a while."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from onionshh.client.delivery.alone import ANSWERED_SECONDS, CameAlone
from onionshh.core.delivery.record import EXPIRED, EXPIRY_GRACE_SECONDS, Record, new_whisper, receipt_for
from onionshh.net.circuits import CircuitFailed
from onionshh.net.clocks import Clock
from onionshh.reasons import Reason
from tests.client.world import WALL
from tests.seeded import seeded

random_bytes = seeded(8)


def whisper(expires: int = WALL + 600) -> Record:
    return new_whisper(b"hello", expires=expires, privacy_class=1, random_bytes=random_bytes)


class Answers:
    """Where answers go: they are noted, or fail."""

    def __init__(self, record: Record, *, fails: bool = False) -> None:
        self.sent: list[Record] = []
        self._fails = fails
        self.clock = Clock(WALL)
        self.lane = CameAlone(record, self._send, self.clock)

    async def _send(self, record: Record) -> None:
        await trio.sleep(1)
        if self._fails:
            raise CircuitFailed(Reason.NOT_CONNECTED)
        self.sent.append(record)


async def test_its_record_comes_once_and_then_it_ends_by_itself(autojump_clock: MockClock) -> None:
    record = whisper()
    lane = Answers(record).lane
    was_open = [lane.open]
    assert not lane.more_is_coming
    assert await lane.receive() == record
    with pytest.raises(CircuitFailed):
        await lane.receive()
    assert trio.current_time() == ANSWERED_SECONDS
    assert [*was_open, lane.open] == [True, False]
    with trio.fail_after(1):
        await lane.closed()


async def test_each_answer_leaves_by_itself_and_in_order(autojump_clock: MockClock) -> None:
    record = whisper()
    answers = Answers(record)
    first, second = receipt_for(record, random_bytes), receipt_for(record, random_bytes)
    assert not answers.lane.send_at_once(first)
    await answers.lane.send(first, second)
    assert answers.sent == [first, second]
    assert trio.current_time() == 2


async def test_an_answer_that_cannot_be_sent_fails(autojump_clock: MockClock) -> None:
    record = whisper()
    with pytest.raises(CircuitFailed):
        await Answers(record, fails=True).lane.send(receipt_for(record, random_bytes))


async def test_once_it_is_closed_nothing_leaves_and_whoever_reads_it_is_woken(
    autojump_clock: MockClock,
) -> None:
    record = whisper()
    answers = Answers(record)
    await answers.lane.receive()
    failed: list[bool] = []

    async def read() -> None:
        try:
            await answers.lane.receive()
        except CircuitFailed:
            failed.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        answers.lane.close(Reason.IDLE)
    assert failed == [True]
    assert trio.current_time() == 0
    with pytest.raises(CircuitFailed):
        await answers.lane.send(receipt_for(record, random_bytes))
    assert answers.sent == []


async def test_dates_are_judged_as_on_a_circuit(autojump_clock: MockClock) -> None:
    answers = Answers(whisper())
    answers.clock.confirm(WALL)
    assert answers.lane.why_refused(whisper()) is None
    assert answers.lane.why_refused(whisper(WALL - EXPIRY_GRACE_SECONDS - 1)) == EXPIRED
