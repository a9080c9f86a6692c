"""Replies that no visitor has acknowledged: what their program is told, and what is erased."""

from __future__ import annotations

import pytest

from onionshh.core.delivery import replies as replies_file
from onionshh.core.delivery.actions import Erase, Tell
from onionshh.core.delivery.outgoing import State
from onionshh.core.delivery.record import EXPIRED, Record, new_whisper, receipt_for, refusal_of
from onionshh.core.delivery.replies import CLOSED, Replies
from tests.seeded import seeded

random_bytes = seeded(5)


def reply() -> Record:
    return new_whisper(b"answer", expires=900, privacy_class=1, random_bytes=random_bytes)


def made(record: Record, session: bytes | None = None) -> Replies:
    replies = Replies()
    replies.made(record.whisper_id, 900.0)
    assert replies.kept(record.whisper_id, session) == ()
    assert len(replies) == 1
    return replies


def test_it_leaves_is_acknowledged_and_erased_once() -> None:
    record = reply()
    replies = made(record)
    assert replies.left(record.whisper_id) == (Tell(record.whisper_id, State.OUT),)
    receipt = receipt_for(record, random_bytes)
    assert replies.acknowledged(receipt) == (
        Erase(record.whisper_id),
        Tell(record.whisper_id, State.DELIVERED),
    )
    assert replies.acknowledged(receipt) == ()
    assert replies.left(record.whisper_id) == ()
    assert replies.left(None) == ()
    assert len(replies) == 0


def test_one_that_the_visitor_refuses_is_over() -> None:
    record = reply()
    replies = made(record)
    erase, tell = replies.acknowledged(refusal_of(record, EXPIRED, random_bytes))
    assert erase == Erase(record.whisper_id)
    assert isinstance(tell, Tell)
    assert tell.state is State.EXPIRED


def test_what_is_not_ours_makes_no_work() -> None:
    assert made(reply()).acknowledged(receipt_for(reply(), random_bytes)) == ()


def test_one_of_an_earlier_run_is_erased_and_nobody_is_told() -> None:
    replies, record = Replies(), reply()
    replies.counted([(record.whisper_id, None)])
    assert replies.acknowledged(receipt_for(record, random_bytes)) == (Erase(record.whisper_id),)


def test_one_that_was_not_written_or_had_to_make_room_is_not_there() -> None:
    record = reply()
    replies = Replies()
    replies.made(record.whisper_id, 900.0)
    replies.not_kept(record.whisper_id)
    assert replies.close() == ()
    replies = made(record)
    replies.dropped([record.whisper_id])
    assert replies.acknowledged(receipt_for(record, random_bytes)) == ()


def test_those_that_nobody_comes_for_expire() -> None:
    record = reply()
    replies = made(record)
    assert replies.expire(899.0) == ()
    (tell,) = replies.expire(900.0)
    assert isinstance(tell, Tell)
    assert (tell.whisper, tell.state) == (record.whisper_id, State.EXPIRED)
    assert replies.expire(901.0) == ()


def test_of_too_many_the_oldest_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies_file, "REPLIES_MOST", 1)
    first, second = reply(), reply()
    replies = made(first)
    replies.made(second.whisper_id, 900.0)
    (tell,) = replies.kept(second.whisper_id, None)
    assert isinstance(tell, Tell)
    assert (tell.whisper, tell.state) == (first.whisper_id, State.FAILED)


def test_at_the_end_each_program_is_told_once() -> None:
    record = reply()
    replies = made(record)
    assert replies.close() == (Tell(record.whisper_id, State.FAILED, CLOSED),)
    assert replies.close() == ()


def test_those_that_wait_for_one_peer_are_known_until_they_are_acknowledged() -> None:
    one, other, session = reply(), reply(), b"s" * 16
    replies = made(one, session)
    assert replies.wait_for(session)
    assert not replies.wait_for(b"t" * 16)
    replies.counted([(one.whisper_id, session), (other.whisper_id, session)])
    replies.acknowledged(receipt_for(one, random_bytes))
    assert replies.wait_for(session)
    replies.dropped([other.whisper_id])
    assert not replies.wait_for(session)
    assert one.whisper_id not in replies
