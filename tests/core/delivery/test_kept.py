"""Delivered whispers whose answers may still be asked for: what is kept of them, and for how many."""

from __future__ import annotations

import pytest

from onionshh.core.delivery import kept as kept_file
from onionshh.core.delivery.kept import Kept
from onionshh.core.delivery.outgoing import OutgoingWhisper, Question
from onionshh.core.delivery.record import new_whisper
from onionshh.ids import WhisperId
from tests.seeded import seeded

random_bytes = seeded(5)


def put(kept: Kept, body: bytes = b"hello", *, answered: bool = False) -> WhisperId:
    record = new_whisper(body, expires=600, privacy_class=1, random_bytes=random_bytes)
    kept.put(record.whisper_id, OutgoingWhisper(record, 600.0, question=Question(answered=answered)))
    return record.whisper_id


def body_of(kept: Kept, whisper_id: WhisperId) -> bytes | None:
    whisper = kept.get(whisper_id)
    return None if whisper is None else whisper.record.body


def test_an_unanswered_one_keeps_its_body_and_an_answered_one_does_not() -> None:
    kept = Kept()
    assert body_of(kept, put(kept)) == b"hello"
    assert body_of(kept, put(kept, answered=True)) == b""


def test_those_that_were_answered_are_known_for_a_short_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_file, "ANSWERED_MOST", 2)
    kept = Kept()
    waits = put(kept)
    answered = [put(kept, answered=True) for _ in range(4)]
    assert [kept.get(one) is not None for one in answered] == [False, False, True, True]
    assert body_of(kept, waits) == b"hello"
    assert kept.take(answered[3]) is not None
    later = put(kept, answered=True)
    assert [kept.get(one) is not None for one in (answered[2], later)] == [True, True]


def test_one_that_is_answered_meanwhile_gives_its_body_up() -> None:
    kept = Kept()
    whisper_id = put(kept)
    whisper = kept.get(whisper_id)
    assert whisper is not None
    whisper.question.answered = True
    kept.put(whisper_id, whisper)
    assert body_of(kept, whisper_id) == b""


def test_one_that_is_taken_is_kept_elsewhere_and_its_bytes_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_file, "WHOLE_BYTES", 2000)
    kept = Kept()
    half = bytes(1000)
    first, second = put(kept, half), put(kept, half)
    assert kept.take(first) is not None
    assert kept.get(first) is None
    assert kept.take(first) is None
    third = put(kept, half)
    assert body_of(kept, second) == body_of(kept, third) == half


def test_bodies_are_bounded_in_number_and_bytes_and_ids_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_file, "WHOLE_MOST", 2)
    monkeypatch.setattr(kept_file, "WHOLE_BYTES", 2000)
    monkeypatch.setattr(kept_file, "KNOWN_MOST", 3)
    kept = Kept()
    ids = [put(kept) for _ in range(4)]
    assert [body_of(kept, one) for one in ids] == [None, b"", b"hello", b"hello"]
    large = put(kept, bytes(2000))
    assert [body_of(kept, one) for one in ids[2:]] == [b"", b""]
    assert body_of(kept, large) == bytes(2000)
