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
    KeepAnswer,
    LaneId,
    NeedLane,
    Remember,
    Send,
    StopOpening,
    Tell,
    Unheard,
)
from onionshh.core.delivery.outgoing import ASKABLE_SECONDS, State
from onionshh.core.delivery.receipts import OWED_MOST
from onionshh.core.delivery.record import (
    ASK,
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
from onionshh.core.delivery.sender import ALONE_SECONDS, ASKS_SECONDS, WAITING_MOST, Sender, TooMany
from onionshh.core.delivery.way import IDLE_SECONDS, IDLE_WHILE_ASKED_SECONDS, SENDINGS_MOST
from onionshh.ids import WhisperId
from onionshh.reasons import Reason
from tests.seeded import seeded

WAIT = 10.0
ONE, TWO = LaneId(1), LaneId(2)
random_bytes = seeded(5)


def made(*, keeps_answers: bool = False) -> Sender:
    return Sender(receipt_seconds=WAIT, chance=Chance(seeded(1)), keeps_answers=keeps_answers)


def whisper(body: bytes = b"hello", *, receipt_wanted: bool = True) -> Record:
    return new_whisper(
        body,
        expires=600,
        privacy_class=1,
        random_bytes=random_bytes,
        receipt_wanted=receipt_wanted,
    )


def answer_to(record: Record, body: bytes = b"answer") -> Record:
    return new_whisper(
        body, expires=600, privacy_class=1, random_bytes=random_bytes, in_reply_to=record.whisper_id
    )


def states(actions: Actions) -> list[State]:
    return [one.state for one in actions if isinstance(one, Tell)]


def sent(actions: Actions) -> list[WhisperId | None]:
    return [one.whisper for one in actions if isinstance(one, Send)]


def next_at(sender: Sender, now: float) -> float:
    """When something is due, now that nothing is."""
    assert sender.tick(now) == ()
    return sender.next_deadline()


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
    assert Answered(record.whisper_id, answer) in actions
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
    assert isinstance(need, NeedLane)
    assert (need.first.kind, need.first.in_reply_to) == (ASK, record.whisper_id)
    assert states(sender.lane_opened(TWO, 3, record.whisper_id, 4)) == []  # delivered it stays
    answer = answer_to(record)
    actions = sender.record_in(TWO, answer, 5)
    assert actions == (Answered(record.whisper_id, answer),)


def test_no_answer_is_waited_for_that_cannot_come() -> None:
    sender, record = made(), whisper()
    out(sender, record)
    sender.record_in(ONE, receipt_for(record, random_bytes), 1)
    sender.await_answer(record.whisper_id, 2)
    late = 600 + ASKABLE_SECONDS
    sender.lane_used(ONE, late - 1)  # so that it is not idle
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


def test_an_idle_lane_is_given_up_and_one_that_is_awaited_on_later() -> None:
    sender, record = made(), whisper()
    out(sender, record)
    sender.record_in(ONE, receipt_for(record, random_bytes), 1)
    assert sender.tick(IDLE_SECONDS[0]) == ()
    assert sender.tick(1 + IDLE_SECONDS[1]) == (EndLane(ONE, Reason.IDLE),)
    sender, record = made(), whisper()
    out(sender, record)
    sender.record_in(ONE, receipt_for(record, random_bytes), 1)
    sender.await_answer(record.whisper_id, 2)
    assert next_at(sender, 2) == 1 + IDLE_WHILE_ASKED_SECONDS
    assert sender.tick(IDLE_WHILE_ASKED_SECONDS) == ()
    assert sender.tick(1 + IDLE_WHILE_ASKED_SECONDS) == (EndLane(ONE, Reason.IDLE),)


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
    (first,) = [one.first for one in actions if isinstance(one, NeedLane)]
    assert (first.kind, first.in_reply_to) == (ASK, records[4].whisper_id)


# Whispers that go alone.


def alone(sender: Sender, record: Record, now: float = 0.0) -> Actions:
    """Submitted, and gone in one cell. No lane is open."""
    assert sender.submit(record, now + 600, now) == (NeedLane(record),)
    return sender.went_alone(record.whisper_id, now, now)


def asks(actions: Actions) -> list[WhisperId]:
    """About which whispers a lane is needed for a question."""
    return [one.first.in_reply_to for one in actions if isinstance(one, NeedLane) and one.first.kind == ASK]


def test_a_receipt_that_comes_by_itself_acknowledges_one_that_went_alone() -> None:
    sender, record = made(), whisper()
    assert alone(sender, record) == (Tell(record.whisper_id, State.OUT),)
    assert sender.lane is None
    assert next_at(sender, WAIT) == ALONE_SECONDS
    (told,) = sender.record_in(TWO, receipt_for(record, random_bytes), 3.0)
    assert told == Tell(record.whisper_id, State.DELIVERED, lane=TWO, round_trip_seconds=3.0)
    assert next_at(sender, 3.0) == inf
    assert sender.is_idle


def test_one_that_went_alone_and_is_not_acknowledged_waits_again_and_goes_out_first() -> None:
    sender, record, other = made(), whisper(), whisper()
    alone(sender, record)
    assert sender.submit(other, 600, 1.0) == (NeedLane(other),)
    assert sender.tick(ALONE_SECONDS - 0.1) == ()
    unheard, told = sender.tick(ALONE_SECONDS)
    assert unheard == Unheard(record.whisper_id)
    assert isinstance(told, Tell)
    assert (told.whisper, told.state, bool(told.why)) == (record.whisper_id, State.QUEUED, True)
    actions = sender.lane_opened(ONE, 1.0, other.whisper_id, ALONE_SECONDS)
    assert sent(actions) == [record.whisper_id]
    assert sender.waiting == 2


def test_one_that_nobody_needs_any_more_when_it_went_alone_changes_nothing() -> None:
    sender, record = made(), whisper()
    sender.submit(record, 600, 0)
    sender.give_up(record.whisper_id, "not wanted", 0)
    assert sender.went_alone(record.whisper_id, 0, 1) == ()
    assert next_at(sender, 1) == inf


def test_others_that_wait_while_one_goes_alone_get_a_lane_at_once() -> None:
    sender, record, other = made(), whisper(), whisper()
    sender.submit(record, 600, 0)
    sender.submit(other, 600, 0)
    actions = sender.went_alone(record.whisper_id, 0, 1)
    assert actions == (Tell(record.whisper_id, State.OUT), NeedLane(other))


# Questions for answers.


def awaited(sender: Sender, record: Record, now: float = 1.0) -> None:
    """Gone alone, delivered, and its answer is awaited: no lane is open."""
    alone(sender, record)
    sender.await_answer(record.whisper_id, 0)
    sender.record_in(TWO, receipt_for(record, random_bytes), now)


def test_an_answer_is_asked_for_after_each_pause() -> None:
    sender, record = made(), whisper()
    sender.submit(record, 1e6, 0)
    sender.went_alone(record.whisper_id, 0, 0)
    sender.await_answer(record.whisper_id, 0)
    sender.record_in(TWO, receipt_for(record, random_bytes), 0)
    now = 0.0
    for pause in (*ASKS_SECONDS, ASKS_SECONDS[-1]):
        assert next_at(sender, now) == now + pause
        assert asks(sender.tick(now + pause)) == [record.whisper_id]
        assert sender.went_alone(record.whisper_id, now + pause, now + pause) == ()
        now += pause
        assert sender.record_in(TWO, receipt_for(record, random_bytes), now) == ()
    answer = answer_to(record)
    assert Answered(record.whisper_id, answer) in sender.record_in(TWO, answer, now)
    assert next_at(sender, now) == inf


def test_the_lane_of_a_question_ends_as_any_other_and_the_next_question_comes_later() -> None:
    """The first lane is kept longer: most answers come within two minutes."""
    sender, record = made(), whisper()
    sender.submit(record, 1e6, 0)
    sender.lane_opened(ONE, 0, record.whisper_id, 0)
    sender.record_in(ONE, receipt_for(record, random_bytes), 0)
    sender.await_answer(record.whisper_id, 0)
    now = IDLE_WHILE_ASKED_SECONDS
    assert sender.tick(now) == (EndLane(ONE, Reason.IDLE),)
    assert next_at(sender, now) == now + ASKS_SECONDS[0]
    now += ASKS_SECONDS[0]
    assert asks(sender.tick(now)) == [record.whisper_id]
    assert sender.lane_opened(TWO, now, record.whisper_id, now) == ()
    assert sender.record_in(TWO, receipt_for(record, random_bytes), now) == ()
    assert now + IDLE_SECONDS[0] <= next_at(sender, now) <= now + IDLE_SECONDS[1]
    now = sender.next_deadline()
    assert sender.tick(now) == (EndLane(TWO, Reason.IDLE),)
    assert next_at(sender, now) == now + ASKS_SECONDS[1]


@pytest.mark.parametrize("goes_alone", [True, False])
def test_if_nothing_comes_back_to_a_question_the_whole_whisper_goes_out_once(goes_alone: bool) -> None:
    sender, record = made(), whisper()
    awaited(sender, record)
    now = 1 + ASKS_SECONDS[0]
    assert asks(sender.tick(now)) == [record.whisper_id]
    if goes_alone:
        sender.went_alone(record.whisper_id, now, now)
        now += ALONE_SECONDS
        assert sender.tick(now) == (Unheard(record.whisper_id), NeedLane(record))
    else:
        sender.lane_opened(ONE, now, record.whisper_id, now)
        now = sender.next_deadline()
        assert sender.tick(now) == (EndLane(ONE, Reason.RECEIPT_LATE), NeedLane(record))
    assert sender.went_alone(record.whisper_id, now, now) == ()
    assert sender.record_in(TWO, receipt_for(record, random_bytes), now) == ()
    assert asks(sender.tick(now + ASKS_SECONDS[1])) == [record.whisper_id]


def test_a_late_receipt_of_a_question_leaves_one_question_alone_in_the_queue() -> None:
    sender, record = made(), whisper()
    awaited(sender, record)
    assert sender.await_answer(record.whisper_id, 2) != ()  # asked for at once
    assert sender.record_in(TWO, receipt_for(record, random_bytes), 3) == ()
    sender.went_alone(record.whisper_id, 2, 4)
    sender.record_in(TWO, receipt_for(record, random_bytes), 5)
    assert next_at(sender, 5) == 5 + ASKS_SECONDS[1]


def test_nothing_is_asked_once_nobody_waits() -> None:
    sender, record = made(), whisper()
    awaited(sender, record)
    assert sender.stop_awaiting(record.whisper_id) == ()
    assert next_at(sender, 1 + ASKS_SECONDS[0]) == inf


# Whispers without a receipt.


def test_one_without_a_receipt_is_sent_once_its_last_cell_has_left() -> None:
    sender, record = made(), whisper(receipt_wanted=False)
    sender.submit(record, 600, 0)
    (send,) = sender.lane_opened(ONE, 0, None, 0)
    assert isinstance(send, Send)
    assert sender.waiting == 1
    assert sender.lane_sent(ONE, record.whisper_id, 1) == (Tell(record.whisper_id, State.SENT, lane=ONE),)
    assert sender.waiting == 0
    assert sender.lane_lost(ONE, 2) == ()  # nothing to send again
    assert sender.is_idle


def test_one_without_a_receipt_that_is_lost_before_it_left_waits_again() -> None:
    sender, record = made(), whisper(receipt_wanted=False)
    sender.submit(record, 600, 0)
    sender.lane_opened(ONE, 0, None, 0)
    assert sender.lane_lost(ONE, 1) == ()  # a pause first
    assert sender.waiting == 1
    assert sender.tick(sender.next_deadline()) == (NeedLane(record),)


def test_one_without_a_receipt_that_rode_or_went_alone_is_sent_at_once() -> None:
    for goes_alone in (True, False):
        sender, record = made(), whisper(receipt_wanted=False)
        if goes_alone:
            actions = alone(sender, record)
        else:
            sender.submit(record, 600, 0)
            actions = sender.lane_opened(ONE, 0, record.whisper_id, 0)
        assert states(actions) == [State.SENT]
        assert sender.waiting == 0


def test_an_answer_shows_that_one_without_a_receipt_is_there() -> None:
    sender, record = made(), whisper(receipt_wanted=False)
    alone(sender, record)
    answer = answer_to(record)
    actions = sender.record_in(TWO, answer, 2)
    assert states(actions) == [State.DELIVERED]
    assert Answered(record.whisper_id, answer) in actions
    assert sender.waiting == 0


def test_a_refusal_of_one_that_was_sent_ends_the_wait_for_its_answer() -> None:
    sender, record = made(), whisper(receipt_wanted=False)
    alone(sender, record)
    sender.await_answer(record.whisper_id, 1)
    assert sender.record_in(TWO, refusal_of(record, EXPIRED, random_bytes), 2) == (
        Answered(record.whisper_id, None),
        StopOpening(),
    )


@pytest.mark.parametrize("goes_alone", [True, False])
def test_silence_after_a_question_about_one_without_a_receipt_says_nothing(goes_alone: bool) -> None:
    """No lane ends for it, and the next question comes after the next pause."""
    sender, record = made(), whisper(receipt_wanted=False)
    sender.submit(record, 1e6, 0)
    sender.await_answer(record.whisper_id, 0)
    assert states(sender.went_alone(record.whisper_id, 0, 0)) == [State.SENT]
    now = ASKS_SECONDS[0]
    assert next_at(sender, 0) == now
    assert asks(sender.tick(now)) == [record.whisper_id]
    if goes_alone:
        sender.went_alone(record.whisper_id, now, now)
    else:
        sender.lane_opened(ONE, now, record.whisper_id, now)
        now = next_at(sender, now)
        assert sender.tick(now) == (EndLane(ONE, Reason.IDLE),)
    assert next_at(sender, now) == now + ASKS_SECONDS[1]
    assert asks(sender.tick(now + ASKS_SECONDS[1])) == [record.whisper_id]


# Lanes that end because we want it, and lanes that the other end opens.


def test_what_is_drawn_anew_ends_the_lane_and_sends_again_what_is_not_acknowledged() -> None:
    sender, record = made(), whisper()
    assert sender.renew(0) == ()
    out(sender, record)
    assert sender.renew(1) == (EndLane(ONE, Reason.RENEWED), NeedLane(record))
    sender.lane_opened(TWO, 1, record.whisper_id, 1)
    sender.record_in(TWO, receipt_for(record, random_bytes), 2)
    assert sender.renew(3) == (EndLane(TWO, Reason.RENEWED),)
    assert sender.lane is None


def test_a_lane_that_the_other_end_opened_is_used_until_ours_is_open() -> None:
    """If both ends gave up their tries for the other's, none would be left."""
    sender, record = made(), whisper()
    sender.submit(record, 600, 0)
    (send,) = sender.lane_adopted(ONE, 1)
    assert isinstance(send, Send)
    assert (send.lane, send.whisper) == (ONE, record.whisper_id)
    assert sender.lane_adopted(TWO, 2) == ()
    assert sender.lane == ONE
    assert sender.lane_opened(TWO, 0, record.whisper_id, 3) == ()  # it has left, and copies do no harm
    assert sender.lane == TWO
    (send,) = sender.lane_lost(ONE, 4)  # it was not acknowledged there
    assert isinstance(send, Send)
    assert (send.lane, send.whisper) == (TWO, record.whisper_id)
    assert sender.lane == TWO
    (told,) = sender.record_in(TWO, receipt_for(record, random_bytes), 5)
    assert isinstance(told, Tell)
    assert told.state is State.DELIVERED
    sender = made()
    assert sender.lane_adopted(ONE, 1) == ()
    assert sender.lane == ONE
    sender.close("closed")
    assert sender.lane_lost(ONE, 2) == ()
    assert sender.lane_adopted(TWO, 3) == ()
    assert sender.lane is None


def test_a_lane_that_the_other_end_opened_is_never_ended_by_us() -> None:
    """It may wait there for an answer, and may read nothing that we say first."""
    sender, record = made(), whisper()
    sender.lane_adopted(ONE, 0)
    (send,) = sender.submit(record, 600, 0)
    assert isinstance(send, Send)
    actions = sender.lane_sent(ONE, record.whisper_id, 0) + sender.tick(WAIT)
    assert states(actions) == [State.OUT]
    assert not [one for one in actions if isinstance(one, EndLane)]
    assert sender.lane is None  # but nothing more is said there
    assert sender.lane_adopted(TWO, WAIT + 1) != ()
    sender.record_in(TWO, receipt_for(record, random_bytes), WAIT + 2)
    assert sender.tick(WAIT + 1000) == ()
    assert sender.lane == TWO


def test_a_new_way_is_tried_at_once() -> None:
    sender, record = made(), whisper()
    sender.submit(record, 600, 0)
    sender.lane_failed(Failure("no way", nobody=True), 0)
    assert sender.tick(0.1) == ()
    assert sender.way_is_new(0.2) == (NeedLane(record),)
    assert sender.way_is_new(0.3) == ()


# Answers that are kept.


def kept_row(actions: Actions) -> tuple[int, Record]:
    (remember,) = [one for one in actions if isinstance(one, Remember)]
    (row,) = remember.rows
    assert isinstance(row, KeepAnswer)
    return remember.token, row.answer


def test_an_answer_is_shown_and_acknowledged_once_it_is_on_disk() -> None:
    sender, record = made(keeps_answers=True), whisper()
    out(sender, record)
    answer = answer_to(record)
    actions = sender.record_in(ONE, answer, 1)
    assert states(actions) == [State.DELIVERED]
    assert not [one for one in actions if isinstance(one, Answered)]
    token, row = kept_row(actions)
    assert row == answer
    assert sender.tick(5) == ()  # nothing is owed so far
    assert sender.remembered(token, 6) == (Answered(record.whisper_id, answer),)
    (send,) = sender.tick(7)
    assert isinstance(send, Send)
    assert [(one.kind, one.in_reply_to) for one in send.records] == [(RECEIPT, answer.whisper_id)]
    assert sender.remembered(token, 8) == ()


def test_a_copy_of_an_answer_that_is_being_written_is_not_written_twice() -> None:
    sender, record = made(keeps_answers=True), whisper()
    out(sender, record)
    answer = answer_to(record)
    token, _ = kept_row(sender.record_in(ONE, answer, 1))
    assert sender.record_in(ONE, answer, 2) == ()
    sender.remembered(token, 3)
    sender.tick(4)
    assert sender.record_in(ONE, answer, 5) == ()  # written before: only acknowledged again
    (send,) = sender.tick(6)
    assert isinstance(send, Send)
    assert [one.kind for one in send.records] == [RECEIPT]


def test_an_answer_that_could_not_be_written_is_not_acknowledged_and_is_asked_for_again() -> None:
    sender, record = made(keeps_answers=True), whisper()
    awaited(sender, record)
    sender.await_answer(record.whisper_id, 1)
    sender.went_alone(record.whisper_id, 1, 1)
    answer = answer_to(record)
    token, _ = kept_row(sender.record_in(TWO, answer, 2))
    assert sender.not_remembered(token, 3) == ()
    assert asks(sender.tick(next_at(sender, 3))) == [record.whisper_id]
    sender.went_alone(record.whisper_id, 100, 100)
    token, _ = kept_row(sender.record_in(TWO, answer, 101))
    assert Answered(record.whisper_id, answer) in sender.remembered(token, 102)


def test_an_answer_to_what_was_delivered_in_an_earlier_run_is_kept_and_given() -> None:
    sender, record = made(keeps_answers=True), whisper()
    sender.restored(record, 600)
    assert sender.knows(record.whisper_id)
    assert sender.is_idle
    answer = answer_to(record)
    token, _ = kept_row(sender.record_in(TWO, answer, 1))
    assert Answered(record.whisper_id, answer) in sender.remembered(token, 2)


@pytest.mark.parametrize("state", [State.SENT, State.DELIVERED])
def test_what_left_in_an_earlier_run_is_asked_about_and_never_sent_without_its_body(state: State) -> None:
    """Its body is erased: a copy of it would be another whisper under the same id."""
    sender, record = made(keeps_answers=True), whisper(b"")
    sender.restored(record, 600, state)
    (need,) = sender.await_answer(record.whisper_id, 0)
    assert isinstance(need, NeedLane)
    now, gone = 0.0, 0
    while now < 600 + ASKABLE_SECONDS:
        assert (need.first.kind, need.first.in_reply_to) == (ASK, record.whisper_id)
        actions = sender.lane_opened(LaneId(gone + 1), now, need.first.whisper_id, now)
        for action in actions:
            if isinstance(action, Send):
                assert {one.kind for one in action.records} == {ASK}
                sender.lane_sent(action.lane, action.whisper, now)
        needed: list[NeedLane] = []
        while not needed and now < 600 + ASKABLE_SECONDS:
            now = max(now + 0.001, sender.next_deadline())
            needed = [one for one in sender.tick(now) if isinstance(one, NeedLane)]
        gone += 1
        if needed:
            (need,) = needed
    assert gone > 2
    assert not sender.knows(record.whisper_id) or sender.await_answer(record.whisper_id, now) == (
        Answered(record.whisper_id, None),
    )


def test_without_a_lane_in_use_a_receipt_goes_back_over_the_lane_that_its_answer_came_over() -> None:
    sender, record = made(), whisper()
    alone(sender, record)
    answer = answer_to(record)
    (send,) = [one for one in sender.record_in(TWO, answer, 2) if isinstance(one, Send)]
    assert (send.lane, send.whisper) == (TWO, None)
    assert [(one.kind, one.in_reply_to) for one in send.records] == [(RECEIPT, answer.whisper_id)]
    assert next_at(sender, 2) == inf
    refused = answer_to(whisper())
    (send,) = [one for one in sender.record_in(TWO, refused, 2, refuse=EXPIRED) if isinstance(one, Send)]
    assert [one.kind for one in send.records] == [REFUSED]


def test_a_receipt_that_is_owed_when_our_lane_ends_leaves_over_the_next() -> None:
    """Also if the answer was being written to disk then."""
    sender, record = made(keeps_answers=True), whisper()
    out(sender, record)
    token, answer = kept_row(sender.record_in(ONE, answer_to(record), 1))
    sender.lane_lost(ONE, 2)
    assert sender.remembered(token, 3) == (Answered(record.whisper_id, answer),)
    following = whisper()
    sender.submit(following, 600, 4)
    (send,) = sender.lane_opened(TWO, 4, None, 5)
    assert isinstance(send, Send)
    assert [one.kind for one in send.records] == [RECEIPT, WHISPER]
