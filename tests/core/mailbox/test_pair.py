"""What the two sides of a session leave for each other (SPEC 14)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from onionshh.core.delivery.record import NO_ID, RECEIPT, WHISPER, Record
from onionshh.core.mailbox.pair import (
    FROM_ENDPOINT,
    FROM_VISITOR,
    PARTS_MOST,
    PairPart,
    open_pair_untrusted,
    pack_records,
    pair_key,
    pair_mailbox,
    seal_pair,
    split,
    unpack_records_untrusted,
)
from onionshh.crypto.primitives import aead_open, kdf
from onionshh.errors import CryptoError, ProtocolError
from onionshh.geometry import MAILBOX_VALUE, PAIR_CHUNK, PAIR_PLAIN, RECORD_SIZES, WHISPER_MAX
from onionshh.ids import WhisperId
from onionshh.wire.mailbox import PAIR, Mailbox
from tests.seeded import seeded

MAIL = b"m" * 32
BOX = pair_mailbox(MAIL, FROM_ENDPOINT, 20_000)
PART = PairPart(WhisperId(b"w" * 16), 0, 1, b"records")


def record(size: int) -> bytes:
    return Record(WhisperId(b"w" * 16), NO_ID, 1_728_000_000, 1, WHISPER, b"x" * size).encode()


def receipt(number: int) -> bytes:
    whisper = WhisperId(number.to_bytes(16, "big"))
    return Record(WhisperId(b"r" * 16), whisper, 1_728_000_000, 1, RECEIPT, b"").encode()


def test_each_direction_and_period_has_its_own_key() -> None:
    assert pair_key(MAIL, FROM_ENDPOINT).seed == kdf("pair", MAIL, (1).to_bytes(8, "big"))
    assert pair_key(MAIL, FROM_VISITOR).seed == kdf("pair", MAIL, bytes(8))
    assert Mailbox(PAIR, pair_key(MAIL, FROM_ENDPOINT).public, 20_000) == BOX
    keys = {pair_key(mail, direction).public for mail in (MAIL, b"n" * 32) for direction in (0, 1)}
    assert len(keys) == 4


def test_the_value_is_what_is_written_in_the_specification() -> None:
    plain = (b"w" * 16 + b"\x00\x01" + (7).to_bytes(2, "big") + b"records").ljust(5296, b"\0")
    assert PART.encode() == plain
    value = seal_pair(MAIL, BOX, b"i" * 32, PART, seeded(1))
    assert len(value) == MAILBOX_VALUE
    key = kdf("mailbox value", MAIL, value[:16])
    associated = b"\x03" + BOX.name + (20_000).to_bytes(8, "big") + b"i" * 32
    assert aead_open(key, bytes(12), value[16:], associated) == plain


def test_a_value_opens_for_its_session_mailbox_and_item_only() -> None:
    draw = seeded(2)
    value = seal_pair(MAIL, BOX, b"i" * 32, PART, draw)
    assert open_pair_untrusted(MAIL, BOX, b"i" * 32, value) == PART
    other = pair_mailbox(MAIL, FROM_VISITOR, 20_000)
    for mail, box, item_id in (
        (b"n" * 32, BOX, b"i" * 32),
        (MAIL, other, b"i" * 32),
        (MAIL, replace(BOX, period=20_001), b"i" * 32),
        (MAIL, BOX, b"j" * 32),
    ):
        with pytest.raises(CryptoError):
            open_pair_untrusted(mail, box, item_id, value)
    for wrong in (b"", value[:-1], value + b"\0"):
        with pytest.raises(ProtocolError):
            open_pair_untrusted(MAIL, BOX, b"i" * 32, wrong)
    assert seal_pair(MAIL, BOX, b"i" * 32, PART, draw)[:16] != value[:16]


def test_seventeen_receipts_fit_one_value() -> None:
    records = tuple(receipt(number) for number in range(17))
    chunks = split(pack_records(records))
    assert len(chunks) == 1
    assert unpack_records_untrusted(chunks[0]) == records
    assert len(split(pack_records((*records, receipt(17))))) == 2


@pytest.mark.parametrize(("size", "parts"), list(zip(RECORD_SIZES, (1, 1, 1, 4, 13), strict=True)))
def test_every_size_of_record_comes_together_again(size: int, parts: int) -> None:
    records = (record(min(size, WHISPER_MAX)),)
    chunks = split(pack_records(records))
    assert len(chunks) == parts
    for part, chunk in enumerate(chunks):
        piece = PairPart(WhisperId(b"w" * 16), part, parts, chunk)
        assert PairPart.decode_untrusted(piece.encode()) == piece
    assert unpack_records_untrusted(b"".join(chunks)) == records


def test_records_that_take_too_many_parts_are_our_own_fault() -> None:
    most = PARTS_MOST * PAIR_CHUNK
    assert len(split(bytes(most))) == PARTS_MOST
    for wrong in (b"", bytes(most + 1)):
        with pytest.raises(ValueError, match="parts"):
            split(wrong)


@pytest.mark.parametrize(
    "changes",
    [
        {"parts": 0},
        {"parts": 2},
        {"part": 1},
        {"parts": 17, "part": 16},
        {"chunk": b""},
        {"chunk": b"c" * 5277},
    ],
)
def test_no_other_parts_and_lengths_are_taken(changes: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        PairPart.decode_untrusted(replace(PART, **changes).encode())


def test_nothing_but_the_one_form_is_taken() -> None:
    plain = PART.encode()
    assert len(plain) == PAIR_PLAIN
    for wrong in (
        b"",
        plain[:-1],
        plain + b"\0",
        plain[:-1] + b"\x01",
        plain[:18] + b"\x00\x06" + plain[20:],
        plain[:18] + b"\xff\xff" + plain[20:],
    ):
        with pytest.raises(ProtocolError):
            PairPart.decode_untrusted(wrong)


def test_nothing_but_whole_records_is_unpacked() -> None:
    packed = pack_records([record(1), record(300)])
    assert len(unpack_records_untrusted(packed)) == 2
    for wrong in (
        b"",
        packed[:-1],
        packed + b"\0",
        packed[:2],
        (295).to_bytes(4, "big") + bytes(295),
        bytes(4),
        b"\xff" * 4 + packed[4:],
    ):
        with pytest.raises(ProtocolError):
            unpack_records_untrusted(wrong)
