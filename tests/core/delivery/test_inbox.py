"""Unfinished whispers: how many there may be, and which is shown next."""

from __future__ import annotations

import pytest

from onionshh.core.delivery import inbox as inbox_file
from onionshh.core.delivery.actions import Actions, Count, LaneId, Offer
from onionshh.core.delivery.inbox import Inbox
from onionshh.core.delivery.incoming import Event
from onionshh.core.delivery.record import new_whisper
from onionshh.ids import WhisperId
from onionshh.reasons import Reason
from tests.seeded import seeded

ONE = LaneId(1)
random_bytes = seeded(5)


def take(inbox: Inbox, body: bytes = b"hello", expires: int = 600, session: bytes | None = None) -> WhisperId:
    record = new_whisper(body, expires=expires, privacy_class=1, random_bytes=random_bytes)
    inbox.take_on(record, ONE, session, 5.0)
    return record.whisper_id


def shown(actions: Actions) -> list[tuple[WhisperId, int]]:
    return [(one.whisper, one.shown) for one in actions if isinstance(one, Offer)]


def test_the_oldest_that_was_never_shown_comes_first() -> None:
    inbox = Inbox()
    first, second = take(inbox), take(inbox)
    assert shown(inbox.want(0)) == [(first, 1)]
    assert shown(inbox.let_go(first, 0)) == []
    assert shown(inbox.want(0)) == [(second, 1)]
    assert shown(inbox.let_go(second, 0)) == []
    assert shown(inbox.want(0)) == [(first, 2)]


def test_one_whose_sender_still_waits_comes_before_one_that_has_expired() -> None:
    inbox = Inbox()
    expired, awaited = take(inbox, expires=100), take(inbox, expires=600)
    assert shown(inbox.want(100)) == [(awaited, 1)]
    assert shown(inbox.want(100)) == [(expired, 1)]


def test_who_asked_first_is_offered_what_comes_or_what_is_let_go() -> None:
    inbox = Inbox()
    assert inbox.want(0) == ()
    whisper = take(inbox)
    assert shown(inbox.offer(0)) == [(whisper, 1)]
    assert inbox.want(0) == ()
    assert shown(inbox.let_go(whisper, 0)) == [(whisper, 2)]
    assert inbox.want(0) == ()
    inbox.unwant()
    assert inbox.let_go(whisper, 0) == ()


def test_one_that_was_offered_and_not_shown_was_shown_no_oftener() -> None:
    inbox = Inbox(give_up_after=2)
    whisper = take(inbox)
    for _ in range(5):
        assert shown(inbox.want(0)) == [(whisper, 1)]
        assert inbox.not_shown(whisper, 0) == ()
    assert inbox.given_up == 0


def test_one_that_is_being_finished_is_offered_to_nobody() -> None:
    inbox = Inbox()
    whisper = inbox.get(take(inbox))
    assert whisper is not None
    whisper.move(Event.FINISH)
    assert inbox.want(0) == ()
    whisper.not_finished()
    assert len(inbox.offer(0)) == 1


def test_what_was_shown_so_often_is_set_aside_and_taken_on_request_alone() -> None:
    inbox = Inbox(give_up_after=2)
    whisper = take(inbox)
    inbox.want(0)
    assert inbox.let_go(whisper, 0) == ()
    inbox.want(0)
    assert inbox.let_go(whisper, 0) == (Count(Reason.WHISPER_GIVEN_UP),)
    assert inbox.want(0) == ()
    assert inbox.given_up == 1
    assert shown(tuple(inbox.take_aside())) == [(whisper, 2)]
    assert inbox.take_aside() == []
    assert inbox.let_go(whisper, 0) == ()  # counted once
    assert len(inbox.take_aside()) == 1


def test_what_was_set_aside_stays_so_across_a_restart() -> None:
    inbox = Inbox(give_up_after=2)
    ids = [WhisperId(bytes([number]) * 16) for number in (1, 2)]
    inbox.restored([(ids[0], 5, 600, 2, None), (ids[1], 5, 600, 1, b"s" * 16)])
    assert (len(inbox), inbox.given_up) == (2, 1)
    restored = [inbox.get(whisper_id) for whisper_id in ids]
    assert [whisper.session for whisper in restored if whisper] == [None, b"s" * 16]
    assert shown(inbox.want(0)) == [(ids[1], 2)]


def test_room_is_by_number_by_bytes_and_by_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_file, "BYTES_MOST", 300)
    monkeypatch.setattr(inbox_file, "SEEN_MOST", 4)
    inbox = Inbox(most=3)
    large = take(inbox, bytes(200))
    room = [inbox.has_room(100), inbox.has_room(101)]
    inbox.forget(large)
    room.append(inbox.has_room(101))
    assert inbox.forget(large) is None
    for _ in range(3):
        take(inbox, b"")
    room.append(inbox.has_room(0))  # by number
    inbox.seen = 3
    inbox.forget(take(inbox, b""))
    room.append(inbox.has_room(0))
    inbox = Inbox()
    inbox.seen = 4
    room.append(inbox.has_room(0))  # by ids
    assert room == [True, False, True, False, False, False]


def test_a_whisper_is_that_of_its_peer() -> None:
    inbox = Inbox()
    for session in (None, b"s" * 16):
        whisper = inbox.get(take(inbox, session=session))
        assert whisper is not None
        assert whisper.taken is not None
        assert whisper.session == whisper.taken.session == session
