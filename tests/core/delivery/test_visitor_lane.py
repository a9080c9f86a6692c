"""One visitor's lane: when it is read, and when what it owes may wait."""

from __future__ import annotations

from onionshh.core.delivery.record import new_whisper, receipt_for
from onionshh.core.delivery.visitor_lane import RECEIPTS_TOGETHER, VISITOR_SENDINGS_MOST, Owed, VisitorLane
from tests.seeded import seeded

random_bytes = seeded(5)


def owe(lane: VisitorLane, *, offered: bool = False, wanted: bool = True) -> None:
    record = new_whisper(b"hello", expires=600, privacy_class=1, random_bytes=random_bytes)
    receipt = receipt_for(record, random_bytes) if wanted else None
    lane.owed[record.whisper_id] = Owed(receipt, again=False, offered=offered)


def test_it_is_read_unless_something_waits_for_room_for_the_disk_or_for_its_window() -> None:
    record = new_whisper(b"hello", expires=600, privacy_class=1, random_bytes=random_bytes)
    assert VisitorLane(0.0).may_be_read
    assert not VisitorLane(0.0, blocked=record).may_be_read
    assert not VisitorLane(0.0, judging=True).may_be_read
    assert VisitorLane(0.0, leaving=VISITOR_SENDINGS_MOST - 1).may_be_read
    assert not VisitorLane(0.0, leaving=VISITOR_SENDINGS_MOST).may_be_read


def test_a_receipt_waits_for_another_record_or_for_a_program_and_for_nothing_else() -> None:
    lane = VisitorLane(0.0)
    owe(lane)
    waits = [lane.may_wait]
    lane.more = True
    waits.append(lane.may_wait)
    lane.more = False
    owe(lane, offered=True)
    waits.append(lane.may_wait)
    assert waits == [False, True, True]


def test_so_many_wait_for_nothing() -> None:
    lane = VisitorLane(0.0, more=True)
    waits = []
    for _ in range(RECEIPTS_TOGETHER):
        owe(lane)
        waits.append(lane.may_wait)
    assert waits == [*[True] * (RECEIPTS_TOGETHER - 1), False]


def test_what_gets_no_receipt_waits_for_the_disk_as_the_others_do() -> None:
    lane = VisitorLane(0.0, more=True)
    waits = []
    for _ in range(RECEIPTS_TOGETHER):
        owe(lane, wanted=False)
        waits.append(lane.may_wait)
    assert waits == [*[True] * (RECEIPTS_TOGETHER - 1), False]
