"""What a contact has sent: unfinished, finished, and which of it is kept for a late reply."""

from __future__ import annotations

import pytest

from onionshh.client import outstanding
from onionshh.client.outstanding import REPLY_GRACE_SECONDS, Outstanding
from onionshh.client.receipt import Receipt
from onionshh.core.whisper import NO_ID, WHISPER, Record
from onionshh.ids import WhisperId


def sent(number: int, body: bytes = b"hello") -> Receipt:
    return Receipt(Record(WhisperId(number.to_bytes(16)), NO_ID, 600, 1, WHISPER, body), deadline=600.0)


def test_what_is_delivered_is_finished_until_its_reply_is_wanted_and_again_once_that_came() -> None:
    now = 0.0
    whispers = Outstanding(lambda: now)
    one, two = sent(1), sent(2)
    whispers.add(one)
    whispers.add(two)
    assert whispers.unfinished() == [one, two]
    one.conclude("delivered")
    assert whispers.unfinished() == [two]
    assert whispers.get(one.record.whisper_id) is one
    one.reply_wanted = 1
    whispers.reopen(one)
    assert whispers.unfinished() == [two, one]
    one.answer(b"yes")
    assert whispers.unfinished() == [two]
    two.conclude("delivered")
    two.reply_wanted = 1
    assert whispers.unfinished() == [two]
    now = 600.0 + REPLY_GRACE_SECONDS  # no copy would be taken any more
    assert whispers.unfinished() == []
    assert len(whispers) == 0


def test_finished_ones_are_kept_up_to_a_number_and_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outstanding, "KEPT_MOST", 3)
    monkeypatch.setattr(outstanding, "KEPT_BYTES", 100)
    whispers = Outstanding(lambda: 0.0)

    def kept(receipts: list[Receipt]) -> list[bool]:
        for receipt in receipts:
            whispers.add(receipt)
            receipt.conclude("delivered")
        assert whispers.unfinished() == []
        assert all(whispers.get(one.record.whisper_id) is one for one in receipts)  # while somebody holds it
        return [not one.forgotten for one in receipts]

    small = [sent(number) for number in range(5)]
    assert kept(small) == [False, False, True, True, True]
    assert small[0].record.body == b""
    large = [sent(number, bytes(60)) for number in range(10, 12)]
    assert kept(large) == [False, True]
    assert small[4].forgotten
    forgotten = small.pop().record.whisper_id
    assert whispers.get(forgotten) is None


def test_a_forgotten_one_is_not_reopened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outstanding, "KEPT_MOST", 0)
    whispers = Outstanding(lambda: 0.0)
    one = sent(1)
    whispers.add(one)
    one.conclude("delivered")
    assert whispers.unfinished() == []
    one.reply_wanted = 1
    whispers.reopen(one)
    assert whispers.unfinished() == []
