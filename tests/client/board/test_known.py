"""Items are known by their ids, with all ends that they had."""

from __future__ import annotations

import pytest

from onionshh.client.board import known as module
from onionshh.client.board.known import KnownItems
from onionshh.client.board.store import ItemRow

POST = (b"a" * 32, b"p" * 16)


def row(number: int, expires: int = 100, revision: int = 0) -> ItemRow:
    return ItemRow(bytes((number,)) * 32, expires, revision)


def test_an_item_is_wanted_once_with_each_end() -> None:
    known = KnownItems()
    assert known.wants(row(1).item_id, 100)
    known.note(row(1), POST)
    assert not known.wants(row(1).item_id, 100)
    assert known.wants(row(1).item_id, 200)
    assert known.renew(row(1, 200, 2))
    assert not known.renew(row(1, 150, 1))  # an earlier one, late
    assert not known.renew(row(1, 300, 3), counts=False)
    assert not any(known.wants(row(1).item_id, end) for end in (100, 150, 200, 300))
    assert known.rows_of(POST) == (row(1, 200, 2),)


def test_junk_goes_first_and_a_post_can_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KNOWN_MOST", 3)
    known = KnownItems()
    known.note(row(1), POST)
    for number in (2, 3, 4):
        known.note(row(number), None)
    assert [row(number).item_id in known for number in (1, 2, 3, 4)] == [True, False, True, True]
    assert known.has(POST)
    known.forget_post(POST)
    assert not known.has(POST)
    assert len(known) == 2
    known.expire(99)
    assert len(known) == 2
    known.expire(100)
    assert len(known) == 0
