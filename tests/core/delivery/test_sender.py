"""The Sender, input by input: what leaves when, what is told, what is kept."""

from __future__ import annotations

from math import inf

import pytest

from onionshh.core.base.chance import Chance
from onionshh.core.delivery import kept
from onionshh.core.delivery.actions import (
    Actions,
    Answered,
    EndLane,
    Failure,
    LaneId,
    NeedLane,
    Send,
    StopOpening,
    Tell,
)
from onionshh.core.delivery.outgoing import ASKABLE_SECONDS, State
from onionshh.core.delivery.receipts import OWED_MOST
from onionshh.core.delivery.record import (
    EXPIRED,
    RECEIPT,
    RECEIPTS_WAIT_SECONDS,
    REFUSED,
    TOO_FAR,
    WHISPER,
    Record,
    new_whisper,
    receipt_for,
    refusal_of,
)
from onionshh.core.delivery.sender import WAITING_MOST, Sender, TooMany
from onionshh.core.delivery.way import LANE_IDLE_SECONDS, SENDINGS_MOST
from onionshh.ids import WhisperId
from onionshh.reasons import Reason
from tests.seeded import seeded

WAIT = 10.0
ONE, TWO = LaneId(1), LaneId(2)
random_bytes = seeded(5)


def made() -> Sender:
    return Sender(receipt_seconds=WAIT, chance=Chance(seeded(1)))


def whisper(body: bytes = b"hello") -> Record:
    return new_whisper(body, expires=600, privacy_class=1, random_bytes=random_bytes)


def answer_to(record: Record, body: bytes = b"answer") -> Record:
    return new_whisper(
        body, expires=600, privacy_class=1, random_bytes=random_bytes, in_reply_to=record.whisper_id
    )


def states(actions: Actions) -> list[State]:
    return [one.state for one in actions if isinstance(one, Tell)]


def sent(actions: Actions) -> list[WhisperId | None]:
    return [one.whisper for one in actions if isinstance(one, Send)]


def out(sender: Sender, record: Record, now: float = 0.0) -> None:
    """Over a fresh lane, and left."""
    (need,) = sender.submit(record, now + 600, now)
    assert isinstance(need, NeedLane)
    assert states(sender.lane_opened(ONE, now, record.whisper_id, now)) == [State.OUT]


def test_the_first_whisper_opens_a_lane_and_the_next_one_waits_for_it() -> None:
    sender, first, second = made(), whisper(), whisper()
    assert sender.submit(first, 600, 0) == (NeedLane(first),)
    assert sender.submit(second, 600, 0) == ()
    actions = sender.lane_opened(ONE, 0, first.whisper_id, 1)
    assert states(actions) == [State.OUT]
    assert sent(actions) == [second.whisper_id]
    assert sender.submit(whisper(), 600, 1) != ()


def test_only_so_many_are_in_a_lane_and_the_rest_follows_in_order() -> None:
    sender = made()
    records = [whisper() for _ in range(5)]
    for record in records:
        sender.submit(record, 600, 0)
    left = sent(sender.lane_opened(ONE, 0, None, 0))
    assert len(left) == SENDINGS_MOST
    while len(left) < 5:
        left += sent(sender.lane_sent(ONE, left[-1], 1))
    assert left == [record.whisper_id for record in records]


def test_a_receipt_that_is_late_ends_the_lane_and_the_whisper_waits_twice_as_long_on_the_next() -> None:
    sender, record = made(), whisper()
    out(sender, record)
    assert sender.next_deadline() == WAIT
    assert sender.tick(WAIT - 0.1) == ()
    actions = sender.tick(WAIT)
    assert actions == (EndLane(ONE, Reason.RECEIPT_LATE), NeedLane(record))
    assert "does not answer" in sender.problem
    sender.lane_opened(TWO, WAIT, record.whisper_id, WAIT)
    assert sender.problem == ""
    assert sender.tick(WAIT + 2 * WAIT - 0.1) == ()
    assert sender.tick(WAIT + 2 * WAIT)[0] == EndLane(TWO, Reason.RECEIPT_LATE)


def test_a_receipt_over_any_lane_delivers_and_the_second_changes_nothing() -> None:
    sender, record = made(), whisper()
    out(sender, record)
    assert sender.lane_lost(ONE, 1) == ()  # nothing was heard: a pause first
    receipt = receipt_for(record, random_bytes)
    (told,) = sender.record_in(ONE, receipt, 1.0)
    assert told == Tell(record.whisper_id, State.DELIVERED, lane=ONE)
    assert sender.record_in(TWO, receipt, 2) == ()
    assert sender.waiting == 0


def test_a_whisper_that_expires_while_its_lane_opens_stops_the_opening() -> None:
    sender, record = made(), whisper()
    sender.submit(record, 5, 0)
    assert sender.next_deadline() == 5
    actions = sender.tick(5)
    assert states(actions) == [State.EXPIRED]
    assert actions[-1] == StopOpening()
    assert sender.next_deadline() == inf


def test_nobody_there_is_waited_for_until_the_time_is_over() -> None:
    """A TTL means what it says; only what can never work ends early."""
    sender, record = made(), whisper()
    now, tries = 0.0, 0
    actions: Actions = sender.submit(record, 600, now)
    while State.EXPIRED not in states(actions):
        if any(isinstance(one, NeedLane) for one in actions):
            tries += 1
            actions = sender.lane_failed(Failure("nobody", nobody=True), now)
            assert states(actions) in ([], [State.QUEUED])
        else:
            now = sender.next_deadline()
            actions = sender.tick(now)
    assert now == 600
    assert 10 <= tries <= 40
    assert actions[0] == Tell(record.whisper_id, State.EXPIRED, "nobody")


def test_what_can_never_work_fails_at_once() -> None:
    sender, record = made(), whisper()
    sender.submit(record, 600, 0)
    actions = sender.lane_failed(Failure("no such path", hopeless=True), 1)
    assert actions == (
        Tell(record.whisper_id, State.FAILED, "no such path"),
        Answered(record.whisper_id, None),
    )


@pytest.mark.parametrize(("why", "state"), [(EXPIRED, State.EXPIRED), (TOO_FAR, State.FAILED)])
def test_a_refusal_is_final_and_says_why(why: int, state: State) -> None:
    sender, record = made(), whisper()
    out(sender, record)
    told, answered = sender.record_in(ONE, refusal_of(record, why, random_bytes), 2)
    assert told == Tell(record.whisper_id, state, refused=why, seconds_left=598)
    assert answered == Answered(record.whisper_id, None)
    assert sender.record_in(ONE, receipt_for(record, random_bytes), 3) == ()


def test_an_answer_delivers_settles_and_is_acknowledged_with_the_next_whisper() -> None:
    sender, record = made(), whisper()
    out(sender, record)
    answer = answer_to(record)
    actions = sender.record_in(ONE, answer, 1)
    assert states(actions) == [State.DELIVERED]
    assert Answered(record.whisper_id, b"answer") in actions
    assert sender.next_deadline() == pytest.approx(1 + RECEIPTS_WAIT_SECONDS)
    following = whisper()
    (send,) = sender.submit(following, 600, 1)
    assert isinstance(send, Send)
    assert [one.kind for one in send.records] == [RECEIPT, WHISPER]
    assert send.records[0].in_reply_to == answer.whisper_id


def test_with_nothing_to_ride_along_a_receipt_leaves_by_itself() -> None:
    sender, record = made(), whisper()
    out(sender, record)
    sender.record_in(ONE, answer_to(record), 1)
    (send,) = sender.tick(1 + RECEIPTS_WAIT_SECONDS)
    assert isinstance(send, Send)
    assert (send.whisper, [one.kind for one in send.records]) == (None, [RECEIPT])


def test_an_answer_of_a_wrong_date_is_refused() -> None:
    sender, record = made(), whisper()
    out(sender, record)
    actions = sender.record_in(ONE, answer_to(record), 1, refuse=EXPIRED)
    assert not [one for one in actions if isinstance(one, Answered)]
    (send,) = sender.tick(2)
    assert isinstance(send, Send)
    assert [one.kind for one in send.records] == [REFUSED]


def test_a_copy_of_an_answer_that_was_taken_on_is_acknowledged_though_its_time_is_over() -> None:
    sender, record = made(), whisper()
    out(sender, record)
    sender.record_in(ONE, answer_to(record), 1)
    (send,) = sender.tick(2)
    sender.record_in(ONE, answer_to(record), 3, refuse=EXPIRED)
    (send,) = sender.tick(4)
    assert isinstance(send, Send)
    assert [one.kind for one in send.records] == [RECEIPT]


def test_answers_that_nobody_asked_for_are_acknowledged_and_owed_up_to_a_number() -> None:
    sender, record = made(), whisper()
    out(sender, record)
    for _ in range(SENDINGS_MOST):
        sender.submit(whisper(), 600, 0)  # the lane takes nothing more
    for _ in range(500):
        assert sender.record_in(ONE, answer_to(whisper()), 1) == ()
    (send,) = sender.lane_sent(ONE, None, 2)
    assert isinstance(send, Send)
    assert len(send.records) == OWED_MOST


def test_an_awaited_answer_is_asked_for_over_another_lane() -> None:
    sender, record = made(), whisper()
    out(sender, record)
    sender.record_in(ONE, receipt_for(record, random_bytes), 1)
    assert sender.await_answer(record.whisper_id, 2) == ()
    (need,) = sender.lane_lost(ONE, 3)
    assert need == NeedLane(record)
    assert states(sender.lane_opened(TWO, 3, record.whisper_id, 4)) == []  # delivered it stays
    actions = sender.record_in(TWO, answer_to(record), 5)
    assert actions == (Answered(record.whisper_id, b"answer"),)


def test_no_answer_is_waited_for_that_cannot_come() -> None:
    sender, record = made(), whisper()
    out(sender, record)
    sender.record_in(ONE, receipt_for(record, random_bytes), 1)
    sender.await_answer(record.whisper_id, 2)
    late = 600 + ASKABLE_SECONDS
    assert Answered(record.whisper_id, None) not in sender.tick(late)  # the lane it went on is there
    assert sender.lane_lost(ONE, late) == (Answered(record.whisper_id, None),)
    assert sender.await_answer(record.whisper_id, late) == (Answered(record.whisper_id, None),)


def test_who_stops_waiting_asks_no_more() -> None:
    sender, record = made(), whisper()
    out(sender, record)
    sender.record_in(ONE, receipt_for(record, random_bytes), 1)
    sender.await_answer(record.whisper_id, 2)
    sender.lane_lost(ONE, 3)
    assert sender.stop_awaiting(record.whisper_id) == (StopOpening(),)
    assert sender.tick(sender.next_deadline()) == ()
    assert sender.next_deadline() == inf


def test_an_idle_lane_is_given_up_and_one_that_is_awaited_on_is_not() -> None:
    sender, record = made(), whisper()
    out(sender, record)
    sender.record_in(ONE, receipt_for(record, random_bytes), 1)
    assert sender.tick(LANE_IDLE_SECONDS) == ()
    assert sender.tick(1 + LANE_IDLE_SECONDS) == (EndLane(ONE, Reason.IDLE),)
    sender, record = made(), whisper()
    out(sender, record)
    sender.record_in(ONE, receipt_for(record, random_bytes), 1)
    sender.await_answer(record.whisper_id, 2)
    assert sender.tick(1 + 2 * LANE_IDLE_SECONDS) == ()


def test_lanes_that_fail_are_tried_less_and_less_often() -> None:
    sender = made()
    sender.submit(whisper(), 600, 0)
    pauses, now = [], 0.0
    for _ in range(8):
        sender.lane_failed(Failure("busy"), now)
        pauses.append(sender.next_deadline() - now)
        now = sender.next_deadline()
        assert isinstance(sender.tick(now)[0], NeedLane)
    assert pauses[0] < 0.2
    assert all(2.5 <= pause <= 5 for pause in pauses[4:])


def test_closing_ends_all_and_pays_what_is_owed() -> None:
    sender, record, waiting = made(), whisper(), whisper()
    out(sender, record)
    sender.record_in(ONE, answer_to(record), 1)
    sender.submit(waiting, 600, 1)
    sender.record_in(ONE, answer_to(record), 1)
    actions = sender.close("closed")
    assert Tell(waiting.whisper_id, State.FAILED, "closed") in actions
    assert [one.kind for one in actions[-1].records] == [RECEIPT]  # type: ignore[union-attr]
    assert sender.await_answer(record.whisper_id, 2) == (Answered(record.whisper_id, None),)


def test_at_most_so_many_wait() -> None:
    sender = made()
    for _ in range(WAITING_MOST):
        sender.submit(whisper(), 600, 0)
    with pytest.raises(TooMany):
        sender.submit(whisper(), 600, 0)
    sender.tick(600)
    sender.submit(whisper(), 1200, 600)


def test_delivered_ones_are_kept_whole_up_to_a_size_and_known_up_to_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept, "WHOLE_BYTES", 100)
    monkeypatch.setattr(kept, "KNOWN_MOST", 3)
    sender = made()
    out(sender, first := whisper())
    records = [first, *(whisper(bytes(60)) for _ in range(4))]
    for record in records[1:]:
        sender.submit(record, 600, 0)
        sender.lane_sent(ONE, record.whisper_id, 0)
    for record in records:
        sender.record_in(ONE, receipt_for(record, random_bytes), 1)
    assert sender.await_answer(records[0].whisper_id, 2) == (Answered(records[0].whisper_id, None),)
    assert sender.await_answer(records[2].whisper_id, 2) == ()  # known, and its lane is there
    assert sender.await_answer(records[4].whisper_id, 2) == ()
    # Without the lane the one whose body is gone cannot go out again.
    actions = sender.lane_lost(ONE, 3)
    assert Answered(records[2].whisper_id, None) in actions
    assert NeedLane(records[4]) in actions
