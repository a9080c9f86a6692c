"""Receipts that a Sender owes: how long they wait, how many, and what they say."""

from __future__ import annotations

from math import inf

from onionshh.core.delivery.receipts import OWED_MOST, ReceiptsOwed
from onionshh.core.delivery.record import (
    EXPIRED,
    RECEIPT,
    RECEIPTS_WAIT_SECONDS,
    REFUSED,
    Record,
    new_whisper,
)
from tests.seeded import seeded

random_bytes = seeded(5)


def answer() -> Record:
    return new_whisper(b"answer", expires=600, privacy_class=1, random_bytes=random_bytes)


def test_they_wait_for_a_moment_from_the_first_on() -> None:
    owed = ReceiptsOwed(seeded(1))
    assert owed.due_at == inf
    one, two = answer(), answer()
    owed.add(one, None, 10.0)
    owed.add(two, EXPIRED, 10.01)
    assert owed.due_at == 10.0 + RECEIPTS_WAIT_SECONDS
    records = owed.take()
    assert [(record.kind, record.in_reply_to) for record in records] == [
        (RECEIPT, one.whisper_id),
        (REFUSED, two.whisper_id),
    ]
    assert records[1].body == bytes([EXPIRED])
    assert owed.due_at == inf
    assert owed.take() == ()


def test_so_many_wait_for_nothing_and_of_more_the_oldest_goes() -> None:
    owed = ReceiptsOwed(seeded(1))
    answers = [answer() for _ in range(OWED_MOST + 1)]
    for one in answers[:-2]:
        owed.add(one, None, 10.0)
    assert owed.due_at > 10.0
    for one in answers[-2:]:
        owed.add(one, None, 10.0)
    assert owed.due_at < 10.0
    assert [record.in_reply_to for record in owed.take()] == [one.whisper_id for one in answers[1:]]
