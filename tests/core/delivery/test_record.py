from __future__ import annotations

from dataclasses import replace

import pytest

from onionshh.core.delivery.record import (
    EXPIRED,
    EXPIRY_GRACE_SECONDS,
    NO_ID,
    RECEIPT,
    TOO_FAR,
    TTL_MOST_SECONDS,
    WHISPER,
    Record,
    check_body,
    check_ttl,
    new_whisper,
    receipt_for,
    refusal_of,
)
from onionshh.errors import ProtocolError, TooLarge
from onionshh.geometry import RECORD_HEADER, RECORD_SIZES
from onionshh.ids import WhisperId
from onionshh.reasons import Reason
from tests.seeded import seeded

WALL = 1_700_000_000


def whisper(body: bytes, reply_to: WhisperId = NO_ID) -> Record:
    return new_whisper(
        body, expires=WALL + 600, privacy_class=1, random_bytes=seeded(1), in_reply_to=reply_to
    )


SIZES = [0, 1, 255, 256, 257, 1024, 1025, 4096, 4097, 16384, 16385, 65535]


@pytest.mark.parametrize("size", SIZES)
def test_a_whisper_is_padded_to_its_class_and_comes_back(size: int) -> None:
    record = whisper(seeded(2)(size), WhisperId(b"r" * 16))
    data = record.encode()
    assert len(data) - RECORD_HEADER == min(one for one in RECORD_SIZES if size <= one)
    assert Record.decode_untrusted(data) == record


def test_a_receipt_looks_like_a_short_whisper() -> None:
    record = whisper(bytes(9000))
    receipt = receipt_for(record, seeded(3))
    assert len(receipt.encode()) == len(whisper(b"hi").encode())
    assert receipt.in_reply_to == record.whisper_id
    assert receipt.expires == record.expires
    assert receipt.whisper_id not in (record.whisper_id, NO_ID)
    assert Record.decode_untrusted(receipt.encode()) == receipt


def test_ids_are_fresh_and_the_body_stays_out_of_reprs() -> None:
    source = seeded(4)
    ids = {new_whisper(b"", expires=0, privacy_class=1, random_bytes=source).whisper_id for _ in range(9)}
    assert len(ids) == 9
    assert "secret" not in repr(whisper(b"secret"))


@pytest.mark.parametrize("size", [0, 1, RECORD_HEADER, RECORD_HEADER + 255, RECORD_HEADER + 257, 70_000])
def test_a_record_of_any_other_size(size: int) -> None:
    with pytest.raises(ProtocolError, match=Reason.RECORD_SIZE):
        Record.decode_untrusted(bytes(size))


def test_trailing_junk_and_truncation() -> None:
    data = whisper(b"hello").encode()
    for wrong in (data + b"\0", data[:-1], data[1:]):
        with pytest.raises(ProtocolError):
            Record.decode_untrusted(wrong)


@pytest.mark.parametrize("at", [RECORD_HEADER + 5, RECORD_HEADER + 100, RECORD_HEADER + 255])
def test_padding_is_zeros(at: int) -> None:
    data = bytearray(whisper(b"hello").encode())
    data[at] = 1
    with pytest.raises(ProtocolError, match=Reason.RECORD_PADDING):
        Record.decode_untrusted(bytes(data))


def test_zeros_inside_the_body_are_no_padding() -> None:
    record = whisper(b"\0a\0\0")
    assert Record.decode_untrusted(record.encode()).body == b"\0a\0\0"


@pytest.mark.parametrize("size, length", [(1024, 256), (1024, 0), (256, 257), (256, 65535), (65536, 16384)])
def test_one_body_has_one_encoding(size: int, length: int) -> None:
    """A length that belongs to another padding class."""
    header = bytes(36) + bytes((1, WHISPER)) + length.to_bytes(2, "big")
    with pytest.raises(ProtocolError, match=Reason.RECORD_LENGTH):
        Record.decode_untrusted(header + bytes(size))


@pytest.mark.parametrize("kind", [0, 3, 255])
def test_an_unknown_kind(kind: int) -> None:
    data = bytearray(whisper(b"").encode())
    data[37] = kind
    with pytest.raises(ProtocolError, match=Reason.RECORD_KIND):
        Record.decode_untrusted(bytes(data))


def test_a_receipt_is_for_something_and_empty() -> None:
    receipt = receipt_for(whisper(b""), seeded(1))
    of_nothing = Record(receipt.whisper_id, NO_ID, WALL, 1, RECEIPT, b"")
    with pytest.raises(ProtocolError, match=Reason.RECORD_KIND):
        Record.decode_untrusted(of_nothing.encode())
    with_a_body = Record(receipt.whisper_id, receipt.in_reply_to, WALL, 1, RECEIPT, b"x")
    with pytest.raises(ProtocolError, match=Reason.RECORD_BODY):
        Record.decode_untrusted(with_a_body.encode())


@pytest.mark.parametrize("why", [EXPIRED, TOO_FAR])
def test_a_refusal_says_of_what_and_why_and_looks_like_a_receipt(why: int) -> None:
    record = whisper(b"too late" * 100)
    refusal = refusal_of(record, why, seeded(1))
    assert Record.decode_untrusted(refusal.encode()) == refusal
    assert (refusal.in_reply_to, refusal.body) == (record.whisper_id, bytes((why,)))
    assert len(refusal.encode()) == len(receipt_for(record, seeded(1)).encode())


@pytest.mark.parametrize("body", [b"", b"\0", b"\3", b"\xff", b"\1\1", b"\1\0"])
def test_a_refusal_of_another_shape_is_refused(body: bytes) -> None:
    refusal = refusal_of(whisper(b""), EXPIRED, seeded(1))
    with pytest.raises(ProtocolError, match=Reason.RECORD_BODY):
        Record.decode_untrusted(replace(refusal, body=body).encode())
    with pytest.raises(ProtocolError, match=Reason.RECORD_KIND):
        Record.decode_untrusted(replace(refusal, in_reply_to=NO_ID).encode())


def test_dates_are_judged_by_what_the_consensus_confirmed() -> None:
    record = whisper(b"")
    over = record.expires + EXPIRY_GRACE_SECONDS
    assert record.why_refused(earliest=over, best=over) is None
    assert record.why_refused(earliest=over + 1, best=over + 1) == EXPIRED
    assert record.why_refused(earliest=0, best=over + 10**9) is None  # our clock alone proves nothing
    far = record.expires - TTL_MOST_SECONDS - EXPIRY_GRACE_SECONDS
    assert record.why_refused(earliest=0, best=far) is None
    assert record.why_refused(earliest=0, best=far - 1) == TOO_FAR


def test_a_body_of_65_536_bytes_is_too_large_and_says_so() -> None:
    check_body(bytes(65_535))
    with pytest.raises(TooLarge, match="at most 65535 bytes; this one has 65536"):
        check_body(bytes(65_536))
    with pytest.raises(TooLarge):
        whisper(bytes(65_536))
    with pytest.raises(TypeError, match="not str"):
        check_body("text")  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [0, -1, TTL_MOST_SECONDS + 1, float("nan"), float("inf")])
def test_a_ttl_is_more_than_nothing_and_at_most_a_week(wrong: float) -> None:
    with pytest.raises(ValueError):
        check_ttl(wrong)


@pytest.mark.parametrize("wrong", ["5", None, True, b"5"])
def test_a_ttl_is_a_number(wrong: object) -> None:
    with pytest.raises(TypeError, match="number of seconds"):
        check_ttl(wrong)  # type: ignore[arg-type]


def test_a_ttl_in_range() -> None:
    assert check_ttl(TTL_MOST_SECONDS) == TTL_MOST_SECONDS
    assert check_ttl(0.5) == 0.5
