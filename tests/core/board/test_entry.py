"""An entry: one part of a post, signed by its author for one item of one mailbox (SPEC 14)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from onionshh.core.board.entry import (
    NUMBER_MOST,
    PARTS_MOST,
    POST_MOST,
    Entry,
    open_entry_untrusted,
    seal_entry,
    split_post,
)
from onionshh.core.board.topic import Topic
from onionshh.core.mailbox.value import open_value_untrusted, seal_value
from onionshh.crypto.ed25519 import SigningKey
from onionshh.errors import CryptoError, ProtocolError
from onionshh.geometry import BOARD_CHUNK, BOARD_SIGNED, MAILBOX_VALUE
from onionshh.reasons import Reason
from onionshh.wire.mailbox import INBOX
from tests.crypto.test_ed25519 import BAD_POINTS
from tests.seeded import seeded

TOPIC = Topic.of(b"t" * 32)
BOX = TOPIC.mailbox(20_000)
ITEM = b"i" * 32
AUTHOR = SigningKey.generate(seeded(1))
OTHER = SigningKey.generate(seeded(2))
ENTRY = Entry(AUTHOR.public, 7, 28_800_000, b"p" * 16, 0, 1, b"hello")


def to_sign(signed: bytes, item_id: bytes = ITEM) -> bytes:
    return b"onionshh post v1" + BOX.name + (20_000).to_bytes(8, "big") + item_id + signed


def forged(signed: bytes, key: SigningKey = AUTHOR, item_id: bytes = ITEM) -> bytes:
    """The value of an item with these signed bytes, whatever they are."""
    plain = signed + key.sign(to_sign(signed))
    return seal_value(TOPIC.secret, BOX, item_id, plain, seeded(3))


def test_the_value_is_what_is_written_in_the_specification() -> None:
    head = AUTHOR.public + (7).to_bytes(4, "big") + (28_800_000).to_bytes(4, "big") + b"p" * 16
    signed = (head + b"\x00\x01" + (5).to_bytes(2, "big") + b"hello").ljust(5232, b"\0")
    assert ENTRY.encode() == signed
    assert Entry.decode_untrusted(signed) == ENTRY
    value = seal_entry(TOPIC, BOX, ITEM, AUTHOR, ENTRY, seeded(4))
    assert len(value) == MAILBOX_VALUE
    plain = open_value_untrusted(TOPIC.secret, BOX, ITEM, value)
    assert plain == signed + AUTHOR.sign(to_sign(signed))
    assert value == seal_value(TOPIC.secret, BOX, ITEM, plain, seeded(4))
    assert open_entry_untrusted(TOPIC, BOX, ITEM, value) == ENTRY


def test_an_entry_opens_for_its_topic_mailbox_and_item_only() -> None:
    value = seal_entry(TOPIC, BOX, ITEM, AUTHOR, ENTRY, seeded(5))
    for topic, box, item_id in (
        (Topic.of(b"u" * 32), BOX, ITEM),
        (TOPIC, TOPIC.mailbox(20_001), ITEM),
        (TOPIC, replace(BOX, kind=INBOX), ITEM),
        (TOPIC, BOX, b"j" * 32),
    ):
        with pytest.raises(CryptoError):
            open_entry_untrusted(topic, box, item_id, value)
    for wrong in (b"", value[:-1], value + b"\0", value[:-1] + bytes((value[-1] ^ 1,))):
        with pytest.raises(ProtocolError):
            open_entry_untrusted(TOPIC, BOX, ITEM, wrong)


def test_a_member_cannot_move_the_entry_of_another() -> None:
    """Who knows the topic can seal anything: the author's signature says where an entry belongs."""
    plain = open_value_untrusted(
        TOPIC.secret, BOX, ITEM, seal_entry(TOPIC, BOX, ITEM, AUTHOR, ENTRY, seeded(6))
    )
    for box, item_id in ((TOPIC.mailbox(20_001), ITEM), (BOX, b"j" * 32)):
        moved = seal_value(TOPIC.secret, box, item_id, plain, seeded(7))
        with pytest.raises(CryptoError) as caught:
            open_entry_untrusted(TOPIC, box, item_id, moved)
        assert caught.value.reason == Reason.SIGNATURE


@pytest.mark.parametrize(
    "changes",
    [{"number": 8}, {"post_id": b"q" * 16}, {"chunk": b"hallo"}, {"author": OTHER.public}, {"minute": 1}],
)
def test_a_member_cannot_change_the_entry_of_another(changes: dict[str, Any]) -> None:
    plain = replace(ENTRY, **changes).encode() + AUTHOR.sign(to_sign(ENTRY.encode()))
    with pytest.raises(CryptoError):
        open_entry_untrusted(TOPIC, BOX, ITEM, seal_value(TOPIC.secret, BOX, ITEM, plain, seeded(8)))
    with pytest.raises(CryptoError):  # nor write in its name
        open_entry_untrusted(TOPIC, BOX, ITEM, forged(ENTRY.encode(), OTHER))


@pytest.mark.parametrize("point", BAD_POINTS.values(), ids=BAD_POINTS.keys())
def test_a_bad_point_is_no_author(point: bytes) -> None:
    with pytest.raises(CryptoError):
        open_entry_untrusted(TOPIC, BOX, ITEM, forged(replace(ENTRY, author=point).encode()))


@pytest.mark.parametrize(
    ("size", "parts"),
    [(0, 1), (1, 1), (BOARD_CHUNK, 1), (BOARD_CHUNK + 1, 2), (2 * BOARD_CHUNK, 2), (POST_MOST, PARTS_MOST)],
)
def test_every_size_comes_together_again(size: int, parts: int) -> None:
    body = seeded(9)(size)
    chunks = split_post(body)
    assert (len(chunks), b"".join(chunks)) == (parts, body)
    for part, chunk in enumerate(chunks):
        entry = replace(ENTRY, part=part, parts=parts, chunk=chunk)
        assert Entry.decode_untrusted(entry.encode()) == entry


@pytest.mark.parametrize(
    "changes",
    [
        {"parts": 0},
        {"part": 1},
        {"part": 0, "parts": 2},
        {"part": 1, "parts": 2, "chunk": b""},
        {"part": 0, "parts": 2, "chunk": b"c" * (BOARD_CHUNK - 1)},
        {"part": 2, "parts": 2, "chunk": b"c" * BOARD_CHUNK},
        {"part": 0, "parts": PARTS_MOST + 1, "chunk": b"c" * BOARD_CHUNK},
        {"part": 255, "parts": 255},
        {"part": PARTS_MOST - 1, "parts": PARTS_MOST, "chunk": b"c" * (POST_MOST % BOARD_CHUNK + 1)},
    ],
)
def test_no_other_parts_and_lengths_are_taken(changes: dict[str, Any]) -> None:
    signed = replace(ENTRY, **changes).encode()
    assert len(signed) == BOARD_SIGNED
    for attempt in (Entry.decode_untrusted, lambda one: open_entry_untrusted(TOPIC, BOX, ITEM, forged(one))):
        with pytest.raises(ProtocolError) as caught:
            attempt(signed)
        assert caught.value.reason == Reason.BOARD_SHAPE


def test_nothing_but_the_one_form_is_taken() -> None:
    signed, length_at = ENTRY.encode(), 58
    for wrong in (
        b"",
        signed[:-1],
        signed + b"\0",
        signed[:-1] + b"\x01",
        signed[:length_at] + (4).to_bytes(2, "big") + signed[length_at + 2 :],  # "o" stands in the padding
        signed[:length_at] + (BOARD_CHUNK + 1).to_bytes(2, "big") + signed[length_at + 2 :],
        signed[:length_at] + b"\xff\xff" + signed[length_at + 2 :],
    ):
        with pytest.raises(ProtocolError):
            Entry.decode_untrusted(wrong)


def test_zeros_at_the_end_of_a_post_are_kept() -> None:
    entry = replace(ENTRY, chunk=b"a\0\0")
    assert Entry.decode_untrusted(entry.encode()).chunk == b"a\0\0"


def test_the_last_number_and_minute_that_there_are() -> None:
    entry = replace(ENTRY, number=NUMBER_MOST, minute=2**32 - 1)
    assert Entry.decode_untrusted(entry.encode()) == entry
    assert "hello" not in repr(entry)
