"""The messages of mailboxes: the one length, every other length, and what no field may hold (SPEC 14)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from onionshh import geometry as g
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason
from onionshh.wire import mailbox as w
from onionshh.wire.messages import ITEMS, KEPT, LIST, MOST, PUT
from tests.seeded import seeded

RANDOM = seeded(1)
BOX = w.Mailbox(w.PAIR, RANDOM(32), 20_000)
DEPOSIT = w.Put(BOX, RANDOM(32), 1_728_000_000, 7, 96, RANDOM(16), RANDOM(64), RANDOM(5328))
RECALL = replace(DEPOSIT, value=b"")
ASKED = w.List(BOX, w.HEADS, 2**63 - 1, 600, RANDOM(64))
KEPT_DEAR = w.Kept(w.DEAR, 0xFFFFFFFF)
ITEM = w.Item(RANDOM(32), 1_728_000_000, 7, RANDOM(64), RANDOM(5328))
VALUES = w.Items(w.STORED, 9, items=(ITEM,) * 3)
HEADS = w.Items(w.STORED, 300, heads=tuple(w.Head(RANDOM(32), n + 1, n) for n in range(300)))
NONE = w.Items(w.STORED, 9)


def values(body: bytes) -> w.Items:
    return w.Items.decode_untrusted(body, w.VALUES)


def heads(body: bytes) -> w.Items:
    return w.Items.decode_untrusted(body, w.HEADS)


Decode = Callable[[bytes], Any]
CASES: dict[str, tuple[Any, int, Decode]] = {
    "Mailbox": (BOX, 41, w.Mailbox.decode_untrusted),
    "Put": (DEPOSIT, 78 + 84 + 5328, w.Put.decode_untrusted),
    "recall": (RECALL, 78 + 84, w.Put.decode_untrusted),
    "List": (ASKED, 52 + 64, w.List.decode_untrusted),
    "Kept": (KEPT_DEAR, 5, w.Kept.decode_untrusted),
    "values": (VALUES, 11 + 3 * 5429, values),
    "heads": (HEADS, 11 + 300 * 44, heads),
    "no values": (NONE, 11, values),
    "no heads": (NONE, 11, heads),
}
each_message = pytest.mark.parametrize(("value", "size", "decode"), list(CASES.values()), ids=list(CASES))


@each_message
def test_whole(value: Any, size: int, decode: Decode) -> None:
    body = value.encode()
    assert len(body) == size
    assert decode(body) == value


@each_message
def test_truncated_or_with_trailing_junk(value: Any, size: int, decode: Decode) -> None:
    body = value.encode()
    for cut in {*range(min(size, 200)), size - 1}:
        if decode == w.Put.decode_untrusted and cut == g.PUT_HEADER:
            continue  # a recall is whole in itself
        with pytest.raises(ProtocolError):
            decode(body[:cut])
    for junk in (b"\0", bytes(g.PUT)):
        with pytest.raises(ProtocolError):
            decode(body + junk)


def test_what_is_signed_is_all_before_the_effort_and_all_before_the_signature() -> None:
    assert DEPOSIT.encode().startswith(DEPOSIT.head)
    expires = (1_728_000_000).to_bytes(4, "big")
    assert DEPOSIT.head == RECALL.head == BOX.encode() + DEPOSIT.item_id + expires + b"\x07"
    assert ASKED.asked == ASKED.encode()[:-64]
    assert len(ASKED.asked) == g.LIST_SIGNED


def test_every_message_fits_the_largest_of_its_type() -> None:
    assert len(DEPOSIT.encode()) <= MOST[PUT]
    assert len(ASKED.encode()) <= MOST[LIST]
    assert len(KEPT_DEAR.encode()) <= MOST[KEPT]
    assert max(len(VALUES.encode()), len(HEADS.encode())) <= MOST[ITEMS]


@pytest.mark.parametrize(
    ("body", "decode"),
    [
        (w.Mailbox(0, BOX.name, 1).encode(), w.Mailbox.decode_untrusted),
        (w.Mailbox(4, BOX.name, 1).encode(), w.Mailbox.decode_untrusted),
        (w.Mailbox(1, BOX.name, 2**63).encode(), w.Mailbox.decode_untrusted),
        (replace(DEPOSIT, mailbox=w.Mailbox(0, BOX.name, 1)).encode(), w.Put.decode_untrusted),
        (replace(ASKED, mode=2).encode(), w.List.decode_untrusted),
        (replace(ASKED, after=2**63).encode(), w.List.decode_untrusted),
        (replace(ASKED, wait=601).encode(), w.List.decode_untrusted),
        (w.Kept(5).encode(), w.Kept.decode_untrusted),
        (w.Items(w.STALE).encode(), values),
        (w.Items(w.DEAR).encode(), heads),
        (replace(VALUES, status=w.FULL).encode(), values),
        (replace(NONE, next=2**63).encode(), values),
        (replace(HEADS, next=299).encode(), heads),
    ],
)
def test_no_field_may_hold_anything_else(body: bytes, decode: Decode) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(body)
    assert caught.value.reason == Reason.MAILBOX_SHAPE


def test_a_page_has_a_most() -> None:
    for many, decode in (
        (replace(VALUES, items=(ITEM,) * 4), values),
        (replace(HEADS, next=301, heads=(*HEADS.heads, w.Head(bytes(32), 301, 1))), heads),
    ):
        with pytest.raises(ProtocolError):
            decode(many.encode())


def test_a_page_of_one_mode_is_not_read_as_one_of_the_other() -> None:
    with pytest.raises(ProtocolError):
        heads(VALUES.encode())
    with pytest.raises(ProtocolError):
        values(HEADS.encode())


def test_no_name_id_or_value_is_shown() -> None:
    shown = repr((DEPOSIT, ASKED, VALUES, HEADS))
    for secret in (BOX.name, DEPOSIT.item_id, DEPOSIT.value, ASKED.signature, HEADS.heads[0].item_id):
        assert repr(secret) not in shown
