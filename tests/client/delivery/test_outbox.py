"""What a contact without a name remembers: keys, for one run."""

from __future__ import annotations

import pytest

from onionshh.client.delivery import outbox as outbox_file
from onionshh.client.delivery.outbox import InMemoryOutbox, mark_of
from onionshh.core.delivery.record import Record, new_whisper
from tests.seeded import seeded


def whisper(number: int, body: bytes = b"hello") -> Record:
    return new_whisper(body, expires=600, privacy_class=1, random_bytes=seeded(number))


def test_a_key_is_remembered_and_the_oldest_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_file, "KEYS_MOST", 3)
    outbox = InMemoryOutbox()
    records = [whisper(number) for number in range(5)]
    for number, record in enumerate(records):
        outbox.accept(record, b"%d" % number)
        outbox.accept(whisper(100 + number), None)
    assert [outbox.with_key(b"%d" % number) is not None for number in range(5)] == [False, False, *[True] * 3]
    assert outbox.with_key(b"4") == (records[4].whisper_id, mark_of(records[4].whisper_id, b"hello"))
    assert not outbox.lasts
    assert outbox.find(records[4].whisper_id) is None


def test_a_mark_tells_bodies_apart_and_says_nothing_about_other_whispers() -> None:
    one, two = whisper(1).whisper_id, whisper(2).whisper_id
    marks = {mark_of(one, b"a"), mark_of(one, b"b"), mark_of(two, b"a"), mark_of(one, b"")}
    assert len(marks) == 4
    assert mark_of(one, b"a") == mark_of(one, b"a")
