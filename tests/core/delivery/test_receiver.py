"""The Receiver, input by input: what is shown to whom, what is acknowledged when, what waits for room."""

from __future__ import annotations

from math import inf

import pytest

from onionshh.core.delivery import inbox, replies
from onionshh.core.delivery import receiver as module
from onionshh.core.delivery.actions import (
    Actions,
    CallBack,
    Count,
    EndLane,
    Erase,
    Finish,
    Judge,
    Keep,
    LaneId,
    Offer,
    Pause,
    Remember,
    Repeat,
    RepeatAll,
    Resume,
    Send,
    Tell,
)
from onionshh.core.delivery.outgoing import State
from onionshh.core.delivery.receiver import (
    LANES_MOST,
    VISITOR_IDLE_SECONDS,
    Receiver,
)
from onionshh.core.delivery.record import (
    EXPIRED,
    RECEIPT,
    RECEIPTS_WAIT_SECONDS,
    REFUSED,
    WHISPER,
    Record,
    new_whisper,
    question_for,
    receipt_for,
    refusal_of,
)
from onionshh.core.delivery.replies import REPLIES_MOST
from onionshh.core.delivery.visitor_lane import RECEIPTS_TOGETHER, VISITOR_SENDINGS_MOST
from onionshh.ids import WhisperId
from onionshh.reasons import Reason
from tests.seeded import seeded

ONE, TWO = LaneId(1), LaneId(2)
random_bytes = seeded(6)


def made(
    *,
    most: int | None = None,
    give_up_after: int | None = None,
    receipts: bool = True,
    lanes_wait: bool = True,
    session: bytes | None = None,
) -> Receiver:
    """One that serves two lanes of one peer."""
    receiver = Receiver(
        seeded(1), most=most, give_up_after=give_up_after, receipts=receipts, lanes_wait=lanes_wait
    )
    receiver.lane_opened(ONE, 0, 0.0, session)
    receiver.lane_opened(TWO, 0, 0.0, session)
    return receiver


def whisper(body: bytes = b"hello", expires: int = 600, *, receipt_wanted: bool = True) -> Record:
    return new_whisper(
        body,
        expires=expires,
        privacy_class=1,
        random_bytes=random_bytes,
        receipt_wanted=receipt_wanted,
    )


def reply_to(record: Record, body: bytes = b"answer") -> Record:
    return new_whisper(
        body, expires=900, privacy_class=1, random_bytes=random_bytes, in_reply_to=record.whisper_id
    )


def bring(
    receiver: Receiver,
    record: Record,
    *,
    lane: LaneId = ONE,
    known: bool = False,
    more: bool = False,
    refuse: int | None = None,
    best: int = 0,
    now: float = 0.0,
) -> Actions:
    return receiver.record_in(
        lane, record, known=known, refuse=refuse, more=more, received_at=now, best=best, now=now
    )


def only(actions: Actions, kind: type) -> list[object]:
    return [one for one in actions if isinstance(one, kind)]


def remembered(receiver: Receiver, actions: Actions, now: float = 0.0) -> Actions:
    """Everything that is to be committed is."""
    after: Actions = ()
    for one in actions:
        if isinstance(one, Remember):
            after += receiver.remembered(one.token, 0, now)
    return after


def kinds(actions: Actions) -> list[list[int]]:
    return [[record.kind for record in one.records] for one in actions if isinstance(one, Send)]


def test_nobody_waits_so_it_is_written_and_then_acknowledged() -> None:
    receiver, record = made(), whisper()
    (remember,) = bring(receiver, record)
    assert isinstance(remember, Remember)
    (row,) = remember.rows
    assert isinstance(row, Keep)
    assert (row.whisper.body, row.shown) == (b"hello", 0)
    (send,) = receiver.remembered(remember.token, 0, 1.0)
    assert isinstance(send, Send)
    assert [one.in_reply_to for one in send.records] == [record.whisper_id]


def test_a_program_that_waits_is_shown_it_first_and_has_20_ms() -> None:
    receiver, record = made(), whisper()
    assert receiver.inbox.want(0) == ()
    (offer,) = bring(receiver, record)
    assert isinstance(offer, Offer)
    assert offer.taken is not None
    assert receiver.next_deadline() == RECEIPTS_WAIT_SECONDS
    (remember,) = receiver.tick(RECEIPTS_WAIT_SECONDS)
    assert isinstance(remember, Remember)
    assert remember.rows[0].shown == 1  # type: ignore[union-attr]
    assert receiver.next_deadline() == inf


def test_a_quick_reply_is_the_receipt_and_its_body_was_never_written() -> None:
    receiver, record = made(), whisper()
    receiver.inbox.want(0)
    bring(receiver, record)
    reply = reply_to(record)
    remember = receiver.finish(record.whisper_id, reply, 900.0)
    (row,) = remember.rows
    assert isinstance(row, Finish)
    assert (row.fresh is not None, row.reply) == (True, reply)
    actions = receiver.remembered(remember.token, 0, 0.01)
    assert kinds(actions) == [[WHISPER]]
    assert len(receiver.inbox) == 0
    assert receiver.next_deadline() == inf


def test_before_a_long_reply_goes_a_receipt() -> None:
    receiver, record = made(), whisper()
    receiver.inbox.want(0)
    bring(receiver, record)
    remember = receiver.finish(record.whisper_id, reply_to(record, bytes(60_000)), 900.0)
    assert kinds(receiver.remembered(remember.token, 0, 0.01)) == [[RECEIPT, WHISPER]]


def test_one_that_is_done_quickly_is_acknowledged_once_that_is_on_disk() -> None:
    receiver, record = made(), whisper()
    receiver.inbox.want(0)
    bring(receiver, record)
    remember = receiver.finish(record.whisper_id, None)
    assert receiver.tick(RECEIPTS_WAIT_SECONDS) == ()  # it is just being written
    assert kinds(receiver.remembered(remember.token, 0, 0.03)) == [[RECEIPT]]


def test_an_ending_that_fails_is_as_if_it_never_was() -> None:
    receiver, record = made(), whisper()
    receiver.inbox.want(0)
    bring(receiver, record)
    remember = receiver.finish(record.whisper_id, None)
    (keep,) = receiver.not_remembered(remember.token, 0, 0.01)  # the receipt waits no longer for the program
    assert isinstance(keep, Remember)
    assert kinds(receiver.remembered(keep.token, 0, 0.02)) == [[RECEIPT]]
    again = receiver.finish(record.whisper_id, None)
    assert again.rows[0] == Finish(record.whisper_id, None, None)


def test_what_could_not_be_written_is_not_acknowledged_and_its_visitor_comes_again() -> None:
    receiver, record = made(), whisper()
    (remember,) = bring(receiver, record)
    assert isinstance(remember, Remember)
    assert receiver.not_remembered(remember.token, 0, 0.0) == (EndLane(ONE, Reason.NOT_KEPT),)
    (again,) = bring(receiver, record, lane=TWO)
    assert kinds(remembered(receiver, (again,))) == [[RECEIPT]]


def test_receipts_share_a_frame_while_more_is_on_its_way() -> None:
    receiver = made()
    actions: Actions = ()
    for number in range(RECEIPTS_TOGETHER):
        assert not actions, number
        actions = bring(receiver, whisper(), more=True)
    assert kinds(remembered(receiver, actions)) == [[RECEIPT] * RECEIPTS_TOGETHER]
    bring(receiver, whisper(), more=True)
    assert kinds(remembered(receiver, bring(receiver, whisper()))) == [[RECEIPT] * 2]


def test_a_copy_gets_its_receipt_again_and_what_was_replied() -> None:
    receiver, record = made(), whisper()
    remembered(receiver, bring(receiver, record))
    actions = bring(receiver, record, lane=TWO)  # unfinished
    assert kinds(actions) == [[RECEIPT]]
    assert only(actions, Repeat) == [Repeat(TWO, record.whisper_id)]
    old = whisper()
    actions = bring(receiver, old, known=True)  # finished long ago
    assert kinds(actions) == [[RECEIPT]]
    reply = reply_to(old)
    assert receiver.repeated(ONE, reply) == ()  # acknowledged while it was read
    receiver.counted(2, [(reply.whisper_id, None)], 0, 0.0)
    assert kinds(receiver.repeated(ONE, reply)) == [[WHISPER]]
    assert len(receiver.inbox) == 1


def test_a_reply_goes_where_its_whisper_came_last() -> None:
    receiver, record = made(), whisper()
    remembered(receiver, bring(receiver, record))
    bring(receiver, record, lane=TWO)
    remember = receiver.finish(record.whisper_id, reply_to(record), 900.0)
    (send,) = only(receiver.remembered(remember.token, 0, 1.0), Send)
    assert send.lane == TWO  # type: ignore[attr-defined]


def test_a_whisper_of_a_wrong_date_is_refused_and_nothing_of_it_kept() -> None:
    receiver = made()
    actions = bring(receiver, whisper(), refuse=EXPIRED)
    assert kinds(actions) == [[REFUSED]]
    assert len(receiver.inbox) == 0


def test_without_room_nothing_is_read_and_whoever_waited_longest_is_first() -> None:
    receiver = made(most=1)
    first = whisper()
    remembered(receiver, bring(receiver, first))
    second, third = whisper(), whisper()
    assert bring(receiver, second) == (Pause(ONE),)
    assert bring(receiver, third, lane=TWO) == (Pause(TWO),)
    remember = receiver.finish(first.whisper_id, None)
    assert receiver.remembered(remember.token, 0, 1.0) == (Judge(ONE, second),)
    actions = bring(receiver, second, now=1.0)
    assert Resume(ONE) in actions
    assert kinds(remembered(receiver, actions)) == [[RECEIPT]]
    assert len(receiver.inbox) == 1
    assert receiver.lane_lost(TWO, 0, 1.0) == ()
    remember = receiver.finish(second.whisper_id, None)
    assert receiver.remembered(remember.token, 0, 2.0) == ()  # nobody waits any more


@pytest.mark.parametrize("turns_out", ["known", "refused", "lost"])
def test_room_that_one_who_waited_does_not_take_goes_to_the_next(turns_out: str) -> None:
    receiver = made(most=1)
    first, second, third = whisper(), whisper(), whisper()
    remembered(receiver, bring(receiver, first))
    bring(receiver, second)
    bring(receiver, third, lane=TWO)
    remember = receiver.finish(first.whisper_id, None)
    assert receiver.remembered(remember.token, 0, 1.0) == (Judge(ONE, second),)
    actions = (
        receiver.lane_lost(ONE, 0, 1.0)
        if turns_out == "lost"
        else bring(receiver, second, known=turns_out == "known", refuse=EXPIRED, now=1.0)
    )
    assert only(actions, Judge) == [Judge(TWO, third)]


def test_a_copy_of_what_was_taken_on_is_acknowledged_though_its_time_is_over() -> None:
    receiver, record = made(), whisper()
    remembered(receiver, bring(receiver, record))
    assert kinds(bring(receiver, record, lane=TWO, refuse=EXPIRED)) == [[RECEIPT]]
    remember = receiver.finish(record.whisper_id, None)
    receiver.remembered(remember.token, 0, 1.0)
    assert kinds(bring(receiver, record, known=True, refuse=EXPIRED)) == [[RECEIPT]]
    assert kinds(bring(receiver, whisper(), refuse=EXPIRED)) == [[REFUSED]]


def test_what_expired_while_it_waited_for_room_takes_none() -> None:
    receiver = made(most=1)
    first = whisper()
    remembered(receiver, bring(receiver, first))
    late, alive = whisper(expires=10), whisper(expires=600)
    bring(receiver, late)
    bring(receiver, alive, lane=TWO)
    remember = receiver.finish(first.whisper_id, None)
    actions = receiver.remembered(remember.token, 10, 1.0)
    assert kinds(actions) == [[REFUSED]]
    assert Resume(ONE) in actions
    assert Judge(TWO, alive) in actions


def test_a_lane_that_ends_while_the_disk_is_asked_leaves_its_place_to_the_next() -> None:
    receiver = made(most=2)
    first, second = whisper(), whisper()
    remembered(receiver, bring(receiver, first))
    (keep,) = only(bring(receiver, second, lane=TWO), Remember)
    waits, other = whisper(), whisper()
    bring(receiver, waits, lane=TWO)
    three = LaneId(3)
    receiver.lane_opened(three, 0, 0.0)
    assert Pause(three) in bring(receiver, other, lane=three)
    remember = receiver.finish(first.whisper_id, None)
    assert Judge(TWO, waits) in receiver.remembered(remember.token, 0, 1.0)
    assert isinstance(keep, Remember)
    assert receiver.not_remembered(keep.token, 0, 1.0) == (
        EndLane(TWO, Reason.NOT_KEPT),
        Judge(three, other),
    )


def test_a_lane_that_makes_room_for_another_leaves_its_place_in_the_inbox_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LANES_MOST", 2)
    receiver = made(most=1)
    first = whisper()
    remembered(receiver, bring(receiver, first, lane=TWO))
    waits, other = whisper(), whisper()
    bring(receiver, waits, lane=ONE, now=1.0)
    bring(receiver, other, lane=TWO, now=2.0)
    remember = receiver.finish(first.whisper_id, None)
    assert Judge(ONE, waits) in receiver.remembered(remember.token, 0, 3.0)
    assert receiver.lane_opened(LaneId(3), 0, 4.0) == (
        EndLane(ONE, Reason.EXCHANGES_MOST),
        Count(Reason.EXCHANGES_MOST),
        Judge(TWO, other),
    )


def test_a_row_that_was_written_while_its_whisper_could_not_be_finished_is_acknowledged() -> None:
    receiver, record = made(), whisper()
    receiver.inbox.want(0)
    bring(receiver, record)
    (keep,) = only(receiver.tick(RECEIPTS_WAIT_SECONDS), Remember)
    assert isinstance(keep, Remember)
    finish = receiver.finish(record.whisper_id, None)
    assert kinds(receiver.remembered(keep.token, 0, 0.03)) == [[RECEIPT]]
    receiver.not_remembered(finish.token, 0, 0.04)
    again = bring(receiver, record, lane=TWO, known=True, now=1.0)
    assert kinds(again + receiver.tick(1.0 + RECEIPTS_WAIT_SECONDS)) == [[RECEIPT]]
    assert receiver.next_deadline() == inf


def test_room_by_bytes_and_by_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "BYTES_MOST", 300)
    receiver = made()
    for _ in range(3):
        remembered(receiver, bring(receiver, whisper(bytes(100))))
    assert Pause(ONE) in bring(receiver, whisper(b"x"))
    monkeypatch.setattr(inbox, "SEEN_MOST", 2)
    receiver = made()
    receiver.counted(2, (), 0, 0.0)
    waits = whisper()
    assert bring(receiver, waits) == (Pause(ONE),)
    assert receiver.counted(1, (), 0, 1.0) == (Judge(ONE, waits),)


def test_whispers_never_shown_come_first_then_those_who_still_wait() -> None:
    receiver = made()
    records = [whisper(expires=expires) for expires in (50, 600, 50, 600)]
    for record in records:
        remembered(receiver, bring(receiver, record))
    order = []
    for best in (0, 50, 50, 50):
        (offer,) = receiver.inbox.want(best)
        assert isinstance(offer, Offer)
        order.append([one.whisper_id for one in records].index(offer.whisper))
    assert order == [0, 1, 3, 2]
    assert receiver.inbox.want(50) == ()
    (offer,) = receiver.inbox.let_go(records[3].whisper_id, 50)
    assert isinstance(offer, Offer)
    assert offer.whisper == records[3].whisper_id


def test_an_offer_goes_to_whoever_waits_and_to_nobody_else() -> None:
    receiver = made()
    receiver.inbox.want(0)
    receiver.inbox.unwant()
    assert not only(bring(receiver, whisper()), Offer)
    receiver = made()
    receiver.inbox.want(0)
    assert len(only(bring(receiver, whisper()), Offer)) == 1
    assert not only(bring(receiver, whisper()), Offer)


def test_one_that_was_not_shown_after_all_does_not_count_as_shown() -> None:
    receiver, first, second = made(), whisper(), whisper()
    remembered(receiver, bring(receiver, first))
    remembered(receiver, bring(receiver, second))
    receiver.inbox.want(0)
    assert receiver.inbox.not_shown(first.whisper_id, 0) == ()
    (offer,) = receiver.inbox.want(0)
    assert offer == Offer(first.whisper_id, None, 1)


def test_one_shown_too_often_is_set_aside_and_handed_out_when_asked_for() -> None:
    receiver, bad = made(give_up_after=2), whisper()
    remembered(receiver, bring(receiver, bad))
    for _ in range(2):
        assert only(receiver.inbox.want(0), Offer)
        told = receiver.inbox.let_go(bad.whisper_id, 0)
    assert told == (Count(Reason.WHISPER_GIVEN_UP),)
    assert receiver.inbox.want(0) == ()
    assert (len(receiver.inbox), receiver.inbox.given_up) == (1, 1)
    assert receiver.inbox.take_aside() == [Offer(bad.whisper_id, None, 2)]
    assert receiver.inbox.take_aside() == []  # one has it in hand
    assert receiver.inbox.let_go(bad.whisper_id, 0) == ()  # nor is it counted twice
    assert receiver.inbox.take_aside() == [Offer(bad.whisper_id, None, 2)]
    (finish,) = receiver.finish(bad.whisper_id, None).rows
    assert finish == Finish(bad.whisper_id, None, None)


def test_what_was_given_up_before_a_restart_stays_so_and_by_what_is_wanted_now() -> None:
    for give_up_after, aside in ((2, 1), (3, 0), (None, 0)):
        receiver = Receiver(seeded(1), give_up_after=give_up_after)
        receiver.inbox.restored(
            [(WhisperId(b"a" * 16), 5, 600, 2, None), (WhisperId(b"b" * 16), 5, 600, 1, None)]
        )
        assert receiver.inbox.given_up == aside


def test_what_is_being_finished_is_offered_to_nobody() -> None:
    receiver, record = made(), whisper()
    remembered(receiver, bring(receiver, record))
    receiver.inbox.want(0)
    receiver.finish(record.whisper_id, None)
    receiver.inbox.let_go(record.whisper_id, 0)
    assert receiver.inbox.want(0) == ()


def test_a_visitor_who_takes_nothing_is_read_no_further() -> None:
    receiver = made()
    for _ in range(VISITOR_SENDINGS_MOST - 1):
        actions = remembered(receiver, bring(receiver, whisper()))
        assert not only(actions, Pause)
    assert only(remembered(receiver, bring(receiver, whisper())), Pause) == [Pause(ONE)]
    assert receiver.lane_sent(ONE, None, 1.0) == (Resume(ONE),)
    assert receiver.lane_sent(ONE, None, 1.0) == ()


def test_a_reply_is_erased_once_acknowledged_and_its_sender_told() -> None:
    receiver, record = made(), whisper()
    remembered(receiver, bring(receiver, record))
    reply = reply_to(record)
    remember = receiver.finish(record.whisper_id, reply, 900.0)
    receiver.remembered(remember.token, 0, 1.0)
    assert receiver.lane_sent(ONE, reply.whisper_id, 1.0) == (Tell(reply.whisper_id, State.OUT),)
    receipt = receipt_for(reply, random_bytes)
    assert bring(receiver, receipt) == (Erase(reply.whisper_id), Tell(reply.whisper_id, State.DELIVERED))
    assert bring(receiver, receipt) == ()  # whoever acknowledges it again makes no work
    assert bring(receiver, receipt_for(whisper(), random_bytes)) == ()


def test_a_refused_reply_and_one_that_nobody_came_for() -> None:
    receiver = made()
    replies = []
    for _ in range(2):
        record = whisper()
        remembered(receiver, bring(receiver, record))
        replies.append(reply_to(record))
        remember = receiver.finish(record.whisper_id, replies[-1], 900.0)
        receiver.remembered(remember.token, 0, 1.0)
    erase, told = bring(receiver, refusal_of(replies[0], EXPIRED, random_bytes))
    assert erase == Erase(replies[0].whisper_id)
    assert (told.state, "refused" in told.why) == (State.EXPIRED, True)  # type: ignore[union-attr]
    assert receiver.tidy(899.0) == (EndLane(ONE, Reason.IDLE), EndLane(TWO, Reason.IDLE))
    (late,) = receiver.tidy(900.0)
    assert isinstance(late, Tell)
    assert (late.whisper, late.state) == (replies[1].whisper_id, State.EXPIRED)


def test_of_too_many_replies_the_oldest_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert REPLIES_MOST == 1024
    monkeypatch.setattr(replies, "REPLIES_MOST", 1)
    receiver = made()
    told: list[object] = []
    for _ in range(2):
        record = whisper()
        remembered(receiver, bring(receiver, record))
        remember = receiver.finish(record.whisper_id, reply_to(record), 900.0)
        told += only(receiver.remembered(remember.token, 0, 1.0), Tell)
    assert [one.state for one in told] == [State.FAILED]  # type: ignore[attr-defined]


def test_lanes_that_idle_or_are_too_many_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = made()
    bring(receiver, whisper(), lane=TWO, now=100.0)
    assert receiver.tidy(VISITOR_IDLE_SECONDS) == (EndLane(ONE, Reason.IDLE),)
    monkeypatch.setattr(module, "LANES_MOST", 2)
    receiver = made()
    bring(receiver, whisper(), now=1.0)
    assert receiver.lane_opened(LaneId(3), 0, 2.0) == (
        EndLane(TWO, Reason.EXCHANGES_MOST),
        Count(Reason.EXCHANGES_MOST),
    )
    assert receiver.lanes == 2


def test_what_a_lost_lane_owed_is_not_sent_and_what_it_brought_stays() -> None:
    receiver, record = made(), whisper()
    (remember,) = bring(receiver, record)
    assert isinstance(remember, Remember)
    assert receiver.lane_lost(ONE, 0, 1.0) == ()
    assert receiver.remembered(remember.token, 0, 1.0) == ()
    assert len(receiver.inbox) == 1
    assert bring(receiver, whisper(), lane=ONE) == ()


def test_closing_tells_whose_replies_wait() -> None:
    receiver, record = made(), whisper()
    remembered(receiver, bring(receiver, record))
    reply = reply_to(record)
    remember = receiver.finish(record.whisper_id, reply, 900.0)
    receiver.remembered(remember.token, 0, 1.0)
    actions = receiver.close()
    assert len(only(actions, EndLane)) == 2
    (told,) = only(actions, Tell)
    assert told.whisper == reply.whisper_id  # type: ignore[attr-defined]


def test_what_was_there_before_is_shown_and_counted() -> None:
    receiver = made(most=1)
    old = WhisperId(b"o" * 16)
    receiver.inbox.restored([(old, 100, 600, 2, None)])
    assert Pause(ONE) in bring(receiver, whisper())
    assert receiver.inbox.want(0) == (Offer(old, None, 3),)
    receiver.inbox.forget(old)
    assert len(receiver.inbox) == 0


# Without receipts.


@pytest.mark.parametrize("by_whom", ["endpoint", "sender"])
def test_without_receipts_a_whisper_is_kept_and_nothing_is_said(by_whom: str) -> None:
    receiver, record = made(receipts=by_whom != "endpoint"), whisper(receipt_wanted=by_whom != "sender")
    (remember,) = bring(receiver, record)
    assert isinstance(remember, Remember)
    assert isinstance(remember.rows[0], Keep)
    assert receiver.remembered(remember.token, 0, 1.0) == ()
    assert bring(receiver, record, lane=TWO, now=2.0) == (Repeat(TWO, record.whisper_id),)
    reply = reply_to(record)
    finish = receiver.finish(record.whisper_id, reply, 900.0)
    (send,) = receiver.remembered(finish.token, 0, 3.0)
    assert isinstance(send, Send)
    assert (send.lane, send.records) == (TWO, (reply,))


@pytest.mark.parametrize("by_whom", ["endpoint", "sender"])
def test_without_receipts_a_reply_goes_alone_however_long_it_is(by_whom: str) -> None:
    receiver, record = made(receipts=by_whom != "endpoint"), whisper(receipt_wanted=by_whom != "sender")
    receiver.inbox.want(0)
    (offer,) = bring(receiver, record)
    assert isinstance(offer, Offer)
    finish = receiver.finish(record.whisper_id, reply_to(record, bytes(60_000)), 900.0)
    assert kinds(receiver.remembered(finish.token, 0, 0.01)) == [[WHISPER]]
    assert receiver.next_deadline() == inf


def test_a_refusal_is_no_receipt_and_is_sent_anyway() -> None:
    receiver = made(receipts=False)
    assert kinds(bring(receiver, whisper(receipt_wanted=False), refuse=EXPIRED)) == [[REFUSED]]


# Questions for replies.


def test_a_question_about_a_whisper_that_is_known_is_answered_as_a_copy_of_it_is() -> None:
    receiver, record = made(), whisper()
    remembered(receiver, bring(receiver, record))
    question = question_for(record, random_bytes)
    actions = bring(receiver, question, lane=TWO)  # unfinished
    (send,) = only(actions, Send)
    assert isinstance(send, Send)
    assert [(one.kind, one.in_reply_to) for one in send.records] == [(RECEIPT, record.whisper_id)]
    assert only(actions, Repeat) == [Repeat(TWO, record.whisper_id)]
    assert len(receiver.inbox) == 1
    remember = receiver.finish(record.whisper_id, reply_to(record), 900.0)
    (send,) = only(receiver.remembered(remember.token, 0, 1.0), Send)
    assert isinstance(send, Send)
    assert send.lane == TWO  # where it was asked for
    actions = bring(receiver, question, known=True, refuse=EXPIRED)  # finished, and its time is over
    assert kinds(actions) == [[RECEIPT]]
    assert only(actions, Repeat) == [Repeat(ONE, record.whisper_id)]


def test_a_question_about_a_whisper_that_is_only_in_memory_waits_for_the_disk() -> None:
    receiver, record = made(), whisper()
    receiver.inbox.want(0)
    bring(receiver, record)
    (remember,) = bring(receiver, question_for(record, random_bytes), lane=TWO)
    assert isinstance(remember, Remember)
    assert isinstance(remember.rows[0], Keep)
    assert kinds(receiver.remembered(remember.token, 0, 0.01)) == [[RECEIPT]]


@pytest.mark.parametrize("refuse", [None, EXPIRED])
def test_a_question_about_what_never_came_gets_nothing_and_takes_no_room(refuse: int | None) -> None:
    receiver = made(most=1)
    assert bring(receiver, question_for(whisper(), random_bytes), refuse=refuse) == ()
    assert len(receiver.inbox) == 0
    remembered(receiver, bring(receiver, whisper()))
    assert bring(receiver, question_for(whisper(), random_bytes)) == ()  # nor does it wait for any


def test_without_receipts_a_question_gets_a_reply_or_nothing() -> None:
    receiver, record = made(receipts=False), whisper()
    remembered(receiver, bring(receiver, record))
    assert bring(receiver, question_for(record, random_bytes)) == (Repeat(ONE, record.whisper_id),)


# Peers with a session.

PEER, OTHER = b"p" * 16, b"o" * 16


def finished(receiver: Receiver, record: Record, now: float = 1.0) -> tuple[Record, Actions]:
    """A reply to this whisper, which is on disk, and what follows."""
    reply = reply_to(record)
    remember = receiver.finish(record.whisper_id, reply, 900.0)
    (row,) = remember.rows
    assert isinstance(row, Finish)
    return reply, receiver.remembered(remember.token, 0, now)


def test_what_is_written_says_whose_it_is() -> None:
    receiver, record = made(session=PEER), whisper()
    (keep,) = bring(receiver, record)
    assert isinstance(keep, Remember)
    assert [row.whisper.session for row in keep.rows if isinstance(row, Keep)] == [PEER]
    receiver.remembered(keep.token, 0, 0.0)
    (row,) = receiver.finish(record.whisper_id, None).rows
    assert isinstance(row, Finish)
    assert row.session == PEER


def test_replies_that_wait_for_a_peer_leave_over_its_next_lane() -> None:
    receiver, record = made(session=PEER), whisper()
    remembered(receiver, bring(receiver, record))
    reply, _ = finished(receiver, record)
    three, four, five = LaneId(3), LaneId(4), LaneId(5)
    assert receiver.lane_opened(three, 0, 2.0, OTHER) == ()
    assert receiver.lane_opened(four, 0, 2.0, None) == ()
    assert receiver.lane_opened(five, 0, 2.0, PEER) == (RepeatAll(PEER),)
    (send,) = receiver.repeated(five, reply)
    assert isinstance(send, Send)
    assert (send.lane, send.records, send.whisper) == (five, (reply,), reply.whisper_id)
    assert receiver.repeated(five, reply) == ()  # it went over this lane before
    assert bring(receiver, receipt_for(reply, random_bytes), lane=five)[0] == Erase(reply.whisper_id)
    assert receiver.lane_opened(LaneId(6), 0, 3.0, PEER) == ()


def test_replies_of_an_earlier_run_leave_over_the_next_lane_of_their_peer() -> None:
    receiver = Receiver(seeded(1))
    receiver.counted(1, [(reply_to(whisper()).whisper_id, PEER)], 0, 0.0)
    assert receiver.lane_opened(ONE, 0, 1.0, PEER) == (RepeatAll(PEER),)


def test_replies_that_the_last_lane_of_a_peer_did_not_bring_over_go_another_way() -> None:
    receiver, record = made(session=PEER), whisper()
    remembered(receiver, bring(receiver, record))
    reply, _ = finished(receiver, record)
    assert receiver.lane_lost(ONE, 0, 2.0) == ()  # another lane of the peer is there
    assert receiver.lane_lost(TWO, 0, 2.0) == (RepeatAll(PEER),)
    receiver.lane_opened(ONE, 0, 3.0, PEER)
    bring(receiver, receipt_for(reply, random_bytes), now=3.0)
    assert receiver.lane_lost(ONE, 0, 4.0) == ()


def test_a_reply_whose_lane_has_ended_goes_over_another_of_its_peer() -> None:
    receiver, record = made(session=PEER), whisper()
    receiver.lane_opened(LaneId(3), 0, 0.0, OTHER)
    remembered(receiver, bring(receiver, record))
    receiver.lane_lost(ONE, 0, 0.5)
    reply, (send,) = finished(receiver, record)
    assert isinstance(send, Send)
    assert (send.lane, send.records) == (TWO, (reply,))


@pytest.mark.parametrize("restored", [True, False])
def test_a_reply_to_a_peer_without_a_lane_calls_it_back(restored: bool) -> None:
    receiver, record = made(session=PEER), whisper()
    if restored:
        receiver = Receiver(seeded(1))
        receiver.inbox.restored([(record.whisper_id, 5, 600, 1, PEER)])
    else:
        remembered(receiver, bring(receiver, record))
    for lane in (ONE, TWO):
        receiver.lane_lost(lane, 0, 0.5)
    receiver.lane_opened(LaneId(3), 0, 0.0, OTHER)
    reply, actions = finished(receiver, record)
    assert actions == (CallBack(PEER, reply),)


def test_a_reply_to_nobody_who_is_known_waits() -> None:
    receiver, record = made(), whisper()
    remembered(receiver, bring(receiver, record))
    receiver.lane_lost(ONE, 0, 0.5)
    _, actions = finished(receiver, record)
    assert actions == ()
    assert len(receiver.replies) == 1


def test_the_other_direction_keeps_a_lane_from_being_idle() -> None:
    receiver = made()
    receiver.lane_used(ONE, 50.0)
    receiver.lane_used(LaneId(9), 50.0)
    assert receiver.tidy(VISITOR_IDLE_SECONDS) == (EndLane(TWO, Reason.IDLE),)
    assert LANES_MOST == 1024


# Where lanes do not wait.


def test_where_lanes_do_not_wait_what_finds_no_room_is_left_to_its_sender() -> None:
    receiver, record = made(most=1, lanes_wait=False), whisper()
    remembered(receiver, bring(receiver, record))
    late = whisper()
    assert bring(receiver, late) == (Count(Reason.NO_ROOM_FOR_WHISPER),)
    receipt = bring(receiver, record)  # the lane is read on
    assert kinds(receipt) == [[RECEIPT]]
    remember = receiver.finish(record.whisper_id, None)
    assert receiver.remembered(remember.token, 0, 1.0) == ()  # nobody waits for the room
    assert kinds(remembered(receiver, bring(receiver, late))) == [[RECEIPT]]
