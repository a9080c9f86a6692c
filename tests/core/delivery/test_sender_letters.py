"""The Sender and mailboxes: when a whisper is left as a letter, and how it ends."""

from __future__ import annotations

from math import inf

import pytest

from onionshh.core.base.chance import Chance
from onionshh.core.delivery.actions import (
    Answered,
    Deposit,
    EndLane,
    Failure,
    LaneId,
    NeedLane,
    Recall,
    Send,
    Tell,
    Unheard,
)
from onionshh.core.delivery.lettering import LIVE_SECONDS
from onionshh.core.delivery.outgoing import State
from onionshh.core.delivery.record import ASK, WHISPER, Record, receipt_for
from onionshh.core.delivery.sender import ALONE_SECONDS, ASKS_SECONDS, Sender
from tests.core.delivery.test_sender import ONE, TWO, WAIT, answer_to, random_bytes, sent, states, whisper
from tests.seeded import seeded

TTL = 3 * 86_400.0
AWAY = Failure("nobody is published there", nobody=True)
BROKEN = Failure("the network does not carry us there")
THREE = LaneId(3)


def made(*, letters: bool = True) -> Sender:
    return Sender(receipt_seconds=WAIT, chance=Chance(seeded(1)), letters=letters)


def away(sender: Sender, record: Record, ttl: float = TTL) -> tuple[object, ...]:
    """Submitted, and nobody is there."""
    assert sender.submit(record, ttl, 0) == (NeedLane(record),)
    return sender.lane_failed(AWAY, 1)


def stored(sender: Sender, record: Record, ttl: float = TTL) -> None:
    away(sender, record, ttl)
    assert Tell(record.whisper_id, State.STORED) in sender.stored(record.whisper_id, 2)


def receipt(record: Record) -> Record:
    return receipt_for(record, random_bytes)


def test_a_whisper_to_somebody_away_is_left_at_once() -> None:
    sender, record = made(), whisper()
    actions = away(sender, record)
    assert Deposit(record) in actions
    assert [one.state for one in actions if isinstance(one, Tell)] == [State.QUEUED]
    assert sender.waiting == 1


@pytest.mark.parametrize("ttl", [20.0, 600.0])
def test_not_with_a_short_ttl(ttl: float) -> None:
    sender, record = made(), whisper()
    assert Deposit(record) not in away(sender, record, ttl)


def test_not_at_a_sender_that_leaves_no_letters() -> None:
    sender, record = made(letters=False), whisper()
    assert Deposit(record) not in away(sender, record)


def test_half_a_minute_without_a_receipt() -> None:
    sender, record = made(), whisper()
    sender.submit(record, TTL, 0)
    assert sender.next_deadline() <= LIVE_SECONDS
    assert sender.tick(LIVE_SECONDS - 1) == ()
    assert sender.tick(LIVE_SECONDS) == (Deposit(record),)
    assert sender.tick(LIVE_SECONDS + 1) == ()


def test_two_lanes_in_vain() -> None:
    sender, record = made(), whisper()
    sender.submit(record, TTL, 0)
    sender.lane_opened(ONE, 0, record.whisper_id, 0)
    assert Deposit(record) not in sender.lane_lost(ONE, 1)
    again = sender.tick(2)
    assert again == (NeedLane(record),)
    sender.lane_opened(TWO, 2, record.whisper_id, 2)
    lost = sender.lane_lost(TWO, 3)
    assert Deposit(record) in (*lost, *sender.tick(3))


def test_two_tries_that_lead_nowhere() -> None:
    sender, record = made(), whisper()
    sender.submit(record, TTL, 0)
    assert Deposit(record) not in sender.lane_failed(BROKEN, 1)
    sender.tick(5)
    assert Deposit(record) in sender.lane_failed(BROKEN, 6)


def test_a_receipt_that_is_late_on_two_lanes_or_alone() -> None:
    sender, record = made(), whisper()
    sender.submit(record, TTL, 0)
    sender.went_alone(record.whisper_id, 0, 0)
    actions = sender.tick(ALONE_SECONDS)
    assert Unheard(record.whisper_id) in actions
    assert Deposit(record) not in actions
    sender.went_alone(record.whisper_id, ALONE_SECONDS, ALONE_SECONDS + 1)
    late = sender.tick(ALONE_SECONDS + 30)
    assert Deposit(record) in (*actions, *late, *sender.tick(ALONE_SECONDS + 30))


def test_stored_is_told_and_asked_about_after_growing_pauses() -> None:
    sender, record = made(), whisper()
    stored(sender, record)
    assert sender.stored(record.whisper_id, 3) == (), "once"
    now = 2.0
    for pause in ASKS_SECONDS[:3]:
        now = max(now + pause, sender.next_deadline())
        (need,) = sender.tick(now)
        assert isinstance(need, NeedLane)
        assert need.first.kind == ASK
        assert need.first.in_reply_to == record.whisper_id
        sender.lane_failed(AWAY, now)
    assert sender.waiting == 1


def test_the_endpoint_that_returns_and_does_not_know_it_gets_it_live() -> None:
    sender, record = made(), whisper()
    stored(sender, record)
    now = 2 + ASKS_SECONDS[0]
    (need,) = sender.tick(now)
    assert isinstance(need, NeedLane)
    sender.lane_opened(ONE, now, None, now)
    actions = sender.tick(now + WAIT)
    assert any(isinstance(one, EndLane) for one in actions)
    (again,) = (one for one in (*actions, *sender.tick(now + WAIT)) if isinstance(one, NeedLane))
    assert again.first.kind == WHISPER
    assert again.first == record


def test_whoever_opens_a_lane_asks_about_what_is_stored() -> None:
    sender, first, second = made(), whisper(), whisper()
    stored(sender, first)
    sender.submit(second, TTL, 40)
    sender.tick(100)
    actions = sender.lane_opened(ONE, 100, second.whisper_id, 100)
    assert sent(actions) == [first.whisper_id]


def test_a_receipt_ends_it_and_recalls_the_letter() -> None:
    sender, record = made(), whisper()
    stored(sender, record)
    actions = sender.record_in(THREE, receipt(record), 50)
    assert states(actions) == [State.DELIVERED]
    assert Recall(record.whisper_id) in actions
    assert sender.waiting == 0
    assert Recall(record.whisper_id) not in sender.record_in(THREE, receipt(record), 51), "once"


def test_an_answer_by_mailbox_is_an_answer() -> None:
    sender, record = made(), whisper()
    stored(sender, record)
    sender.await_answer(record.whisper_id, 3)
    answer = answer_to(record)
    actions = sender.record_in(THREE, answer, 50, owes=False)
    assert states(actions) == [State.DELIVERED]
    assert Answered(record.whisper_id, answer) in actions


def test_a_receipt_before_it_is_stored_recalls_what_was_left_so_far() -> None:
    sender, record = made(), whisper()
    away(sender, record)
    assert Recall(record.whisper_id) in sender.record_in(THREE, receipt(record), 5)
    assert sender.stored(record.whisper_id, 6) == ()


def test_a_live_copy_and_the_letter_at_once() -> None:
    sender, record = made(), whisper()
    sender.submit(record, TTL, 0)
    assert sender.tick(LIVE_SECONDS) == (Deposit(record),)
    sender.lane_opened(ONE, 30, record.whisper_id, 31)
    assert states(sender.stored(record.whisper_id, 32)) == [State.STORED]
    assert sender.lane == ONE
    actions = sender.record_in(ONE, receipt(record), 33)
    assert states(actions) == [State.DELIVERED]
    assert Recall(record.whisper_id) in actions


def test_its_time_to_live_ends() -> None:
    sender, record = made(), whisper()
    stored(sender, record)
    sender.tick(100)
    actions = sender.tick(TTL)
    assert states(actions) == [State.EXPIRED]
    assert Recall(record.whisper_id) in actions


def test_the_program_recalls_it() -> None:
    sender, record = made(), whisper()
    stored(sender, record)
    actions = sender.give_up(record.whisper_id, "recalled", 5)
    assert states(actions) == [State.FAILED]
    assert Recall(record.whisper_id) in actions


def test_the_sender_that_is_closed_leaves_the_letter_where_it_is() -> None:
    sender, record, queued = made(), whisper(), whisper()
    stored(sender, record)
    sender.submit(queued, TTL, 3)
    actions = sender.close("closed", "stored, but closed")
    told = {one.whisper: one.why for one in actions if isinstance(one, Tell)}
    assert told == {record.whisper_id: "stored, but closed", queued.whisper_id: "closed"}
    assert not [one for one in actions if isinstance(one, Recall)]


def test_without_a_receipt_stored_is_the_last_that_is_known() -> None:
    sender, record = made(), whisper(receipt_wanted=False)
    away(sender, record)
    actions = sender.stored(record.whisper_id, 2)
    assert states(actions) == [State.SENT]
    assert not [one for one in actions if isinstance(one, Recall)]
    assert sender.waiting == 0


def test_an_endpoint_without_receipts_says_nothing_either() -> None:
    sender, record = made(), whisper()
    sender.gets_receipts = False
    away(sender, record)
    assert states(sender.stored(record.whisper_id, 2)) == [State.SENT]


def test_what_cannot_be_left_is_tried_again() -> None:
    sender, record = made(), whisper()
    away(sender, record)
    actions = sender.not_stored(record.whisper_id, "the endpoint has no inbox", 601)
    assert [one.why for one in actions if isinstance(one, Tell)] == ["the endpoint has no inbox"]
    assert Deposit(record) in (*sender.tick(600), *sender.tick(601))
    sender.not_stored(record.whisper_id, "", inf)
    assert Deposit(record) not in sender.tick(5000)


def test_no_path_fails_what_waits_but_not_what_is_stored() -> None:
    sender, first, second = made(), whisper(), whisper()
    stored(sender, first)
    sender.submit(second, TTL, 3)
    sender.tick(100)
    hopeless = Failure("no path of that length", hopeless=True)
    told = [(one.whisper, one.state) for one in sender.lane_failed(hopeless, 101) if isinstance(one, Tell)]
    assert told == [(second.whisper_id, State.FAILED)]


def test_a_lane_with_nothing_but_a_stored_whisper_becomes_idle() -> None:
    sender, record, other = made(), whisper(), whisper()
    stored(sender, record)
    sender.submit(other, TTL, 40)
    sender.tick(100)
    sender.lane_opened(ONE, 100, other.whisper_id, 100)
    sender.record_in(ONE, receipt(other), 101)
    ask = [one.records[-1] for one in sender.lane_sent(ONE, record.whisper_id, 101) if isinstance(one, Send)]
    assert ask == []
    now = 101 + WAIT
    assert any(isinstance(one, EndLane) for one in (*sender.tick(now), *sender.tick(now + 60)))


def test_one_that_was_left_in_an_earlier_run_is_not_left_again() -> None:
    sender, record = made(), whisper()
    sender.submit(record, TTL, 0)
    sender.restored_letter(record.whisper_id)
    assert Deposit(record) not in sender.lane_failed(AWAY, 1)
    assert sender.tick(LIVE_SECONDS) in ((), (NeedLane(record),))
    assert sender.next_deadline() > LIVE_SECONDS, "or the driver would never sleep"
    assert states(sender.stored(record.whisper_id, 40)) == [State.STORED]
