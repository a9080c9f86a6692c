"""Parts: one whole has one encoding, and whatever is not one is refused by name."""

from __future__ import annotations

import struct
from hashlib import sha3_256

import pytest

from onionshh.core.delivery.parts import (
    MOST_BYTES,
    PART_DATA,
    PARTS_MOST,
    Part,
    TransferId,
    check_size,
    part_record,
)
from onionshh.core.delivery.record import NO_ID, PART
from onionshh.errors import ProtocolError, TooLarge
from onionshh.geometry import WHISPER_MAX
from onionshh.ids import WhisperId
from onionshh.reasons import Reason
from tests.seeded import seeded

ID = TransferId(b"t" * 16)
HASH = sha3_256(b"whole").digest()
MIDDLE = Part(ID, 3, seeded(1)(PART_DATA))
LAST = Part(ID, 4, b"the end", HASH)


def body(number: int, flags: int, rest: bytes) -> bytes:
    return ID + struct.pack(">IB", number, flags) + rest


def end(total: int) -> bytes:
    return struct.pack(">Q", total) + HASH


def test_the_sizes() -> None:
    assert PART_DATA == 65_535 - 21 - 40
    assert MOST_BYTES == 8 * 1024 * 1024
    assert (PARTS_MOST - 1) * PART_DATA < MOST_BYTES <= PARTS_MOST * PART_DATA
    assert PARTS_MOST == 129


@pytest.mark.parametrize(
    "part",
    [
        MIDDLE,
        LAST,
        Part(ID, 0, b"", HASH),
        Part(ID, 0, b"x", HASH),
        Part(ID, 7, seeded(2)(PART_DATA), HASH),
        Part(ID, 2**32 - 1, seeded(1)(PART_DATA)),
        Part(ID, 0, b"a whisper", HASH, whisper=True),
        Part(ID, 0, seeded(1)(PART_DATA), whisper=True),
        Part(ID, PARTS_MOST - 1, bytes(MOST_BYTES - (PARTS_MOST - 1) * PART_DATA), HASH),
    ],
)
def test_a_part_comes_back(part: Part) -> None:
    encoded = part.encode()
    assert len(encoded) <= WHISPER_MAX
    assert Part.decode_untrusted(encoded) == part


def test_the_layout() -> None:
    assert MIDDLE.encode() == body(3, 0, MIDDLE.data)
    assert LAST.encode() == body(4, 1, end(4 * PART_DATA + 7) + b"the end")
    assert (MIDDLE.last, LAST.last) == (False, True)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (b"", Reason.PART_SIZE),
        (body(0, 0, b"")[:-1], Reason.PART_SIZE),
        (body(0, 0, b""), Reason.PART_SIZE),
        (body(0, 0, bytes(PART_DATA - 1)), Reason.PART_SIZE),
        (body(0, 0, bytes(PART_DATA + 1)), Reason.PART_SIZE),
        (body(0, 1, end(0)[:-1]), Reason.PART_SIZE),
        (body(1, 1, end(PART_DATA)), Reason.PART_SIZE),
        (body(0, 1, end(PART_DATA + 1) + bytes(PART_DATA + 1)), Reason.PART_SIZE),
        (body(0, 4, bytes(PART_DATA)), Reason.PART_FLAGS),
        (body(0, 0x80 | 1, end(1) + b"x"), Reason.PART_FLAGS),
        (body(0, 1, end(2) + b"x"), Reason.PART_TOTAL),
        (body(1, 1, end(1) + b"x"), Reason.PART_TOTAL),
        (body(PARTS_MOST, 1, end(PARTS_MOST * PART_DATA + 1) + b"x"), Reason.PART_TOTAL),
        (body(PARTS_MOST - 1, 1, end(PARTS_MOST * PART_DATA) + bytes(PART_DATA)), Reason.PART_TOTAL),
        (body(2**32 - 1, 1, end((2**32 - 1) * PART_DATA + 1) + b"x"), Reason.PART_TOTAL),
        (body(0, 1, end(2**64 - 1) + b"x"), Reason.PART_TOTAL),
    ],
)
def test_what_is_not_a_part(wrong: bytes, reason: Reason) -> None:
    with pytest.raises(ProtocolError, match=f"^{reason}$"):
        Part.decode_untrusted(wrong)


def test_the_data_is_in_no_repr() -> None:
    assert "the end" not in repr(LAST)


def test_the_record_of_a_part_has_an_id_of_its_own() -> None:
    source = seeded(3)
    records = [
        part_record(part, expires=600, privacy_class=1, random_bytes=source)
        for part in (MIDDLE, MIDDLE, LAST)
    ]
    assert len({record.whisper_id for record in records} | {WhisperId(ID), NO_ID}) == 5
    for record in records:
        assert (record.kind, record.in_reply_to, record.expires) == (PART, NO_ID, 600)
        assert record.size == (65_536 if record.body != LAST.encode() else 256)
    assert PART == 4


def test_a_size_past_the_cap_is_refused_in_words() -> None:
    check_size(0)
    check_size(MOST_BYTES)
    with pytest.raises(
        TooLarge, match=r"^A transfer holds at most 8388608 bytes \(8 MiB\), and this one has 8388609: "
    ):
        check_size(MOST_BYTES + 1)
    with pytest.raises(ValueError, match="not negative"):
        check_size(-1)
    for wrong in (True, 1.5, "1"):
        with pytest.raises(TypeError, match="number of bytes"):
            check_size(wrong)  # type: ignore[arg-type]
