from __future__ import annotations

from dataclasses import replace

import pytest

from onionshh.core.delivery.record import (
    ASK,
    EXPIRED,
    EXPIRY_GRACE_SECONDS,
    NO_ID,
    NOT_WHOLE,
    PART,
    PROVE,
    RECEIPT,
    REFRESH,
    REFRESHED,
    REFUSED,
    SESSION_KINDS,
    TOO_FAR,
    TTL_MOST_SECONDS,
    WAY_BACK,
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


@pytest.mark.parametrize("kind", [0, *range(10, 256)])
def test_an_unknown_kind(kind: int) -> None:
    data = bytearray(whisper(b"").encode())
    data[37] = kind
    with pytest.raises(ProtocolError, match=Reason.RECORD_KIND):
        Record.decode_untrusted(bytes(data))


NEVER, PERHAPS, ALWAYS = range(3)
KINDS: dict[int, tuple[set[int] | range, int, bool]] = {
    WHISPER: (range(65_536), PERHAPS, True),
    RECEIPT: ({0, 1}, ALWAYS, False),
    ASK: ({0}, ALWAYS, False),
    PART: (range(22, 65_536), NEVER, True),
    REFRESH: ({1220}, NEVER, False),
    REFRESHED: ({1124}, NEVER, False),
    WAY_BACK: ({137}, NEVER, False),
    PROVE: ({72}, NEVER, False),
    REFUSED: ({1}, ALWAYS, False),
}
"""By kind: lengths of the body, whether it names another record, whether it may do without a receipt."""

LENGTHS = (*range(300), 1023, 1024, 1025, *range(1119, 1130), *range(1215, 1226), 4096, 4097, 16385, 65535)


def raw(kind: int, length: int, in_reply_to: bytes, class_byte: int = 1) -> bytes:
    """A record whose body is ones and whose padding is right."""
    head = b"i" * 16 + in_reply_to + WALL.to_bytes(4, "big") + bytes((class_byte, kind))
    size = min(size for size in RECORD_SIZES if size >= length)
    return head + length.to_bytes(2, "big") + b"\1" * length + bytes(size - length)


def test_kinds_have_the_numbers_of_the_specification() -> None:
    kinds = [WHISPER, RECEIPT, ASK, PART, REFRESH, REFRESHED, WAY_BACK, PROVE, REFUSED]
    assert kinds == [*range(1, 10)] == [*KINDS]
    assert frozenset(range(5, 9)) == SESSION_KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_every_length_of_every_kind(kind: int) -> None:
    """The table over kind and length, with and without another record's id."""
    lengths, names, _ = KINDS[kind]
    for length in LENGTHS:
        for in_reply_to in (NO_ID, b"r" * 16):
            data = raw(kind, length, in_reply_to)
            if names == (ALWAYS if in_reply_to == NO_ID else NEVER):
                reason = Reason.RECORD_REPLY
            elif length not in lengths:
                reason = Reason.RECORD_BODY
            else:
                record = Record.decode_untrusted(data)
                assert record.encode() == data
                assert (record.kind, len(record.body), record.in_reply_to) == (kind, length, in_reply_to)
                continue
            with pytest.raises(ProtocolError, match=reason):
                Record.decode_untrusted(data)


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_byte_of_every_kind(kind: int) -> None:
    """Two bits for the class, one to do without a receipt where that may be, and zeros."""
    lengths, names, silent = KINDS[kind]
    length, in_reply_to = min(lengths), b"r" * 16 if names == ALWAYS else NO_ID
    for class_byte in range(256):
        data = raw(kind, length, in_reply_to, class_byte)
        if class_byte & ~(0b0100_0011 if silent else 0b11):
            with pytest.raises(ProtocolError, match=Reason.RECORD_CLASS):
                Record.decode_untrusted(data)
            continue
        record = Record.decode_untrusted(data)
        assert record.encode() == data
        assert (record.privacy_class, record.receipt_wanted) == (class_byte & 3, class_byte < 0x40)


@pytest.mark.parametrize("kind", KINDS)
def test_truncation_and_junk_of_every_kind(kind: int) -> None:
    lengths, names, _ = KINDS[kind]
    data = raw(kind, min(lengths), b"r" * 16 if names == ALWAYS else NO_ID)
    Record.decode_untrusted(data)
    for wrong in (*(data[:size] for size in range(len(data))), data + b"\0", data + data):
        with pytest.raises(ProtocolError):
            Record.decode_untrusted(wrong)


def test_a_whisper_may_want_no_receipt() -> None:
    wanted = whisper(b"hello")
    assert wanted.receipt_wanted
    unwanted = new_whisper(
        b"hello", expires=WALL + 600, privacy_class=1, random_bytes=seeded(1), receipt_wanted=False
    )
    assert unwanted == replace(wanted, receipt_wanted=False)
    assert Record.decode_untrusted(unwanted.encode()) == unwanted
    one, other = wanted.encode(), unwanted.encode()
    assert [at for at in range(len(one)) if one[at] != other[at]] == [36]
    assert (one[36], other[36]) == (1, 0x41)


def test_a_receipt_is_for_something_and_almost_empty() -> None:
    receipt = receipt_for(whisper(b""), seeded(1))
    of_nothing = Record(receipt.whisper_id, NO_ID, WALL, 1, RECEIPT, b"")
    with pytest.raises(ProtocolError, match=Reason.RECORD_REPLY):
        Record.decode_untrusted(of_nothing.encode())
    of_shares = Record(receipt.whisper_id, receipt.in_reply_to, WALL, 1, RECEIPT, b"\6")
    assert Record.decode_untrusted(of_shares.encode()) == of_shares
    with_a_body = replace(of_shares, body=b"xy")
    with pytest.raises(ProtocolError, match=Reason.RECORD_BODY):
        Record.decode_untrusted(with_a_body.encode())


@pytest.mark.parametrize("why", [EXPIRED, TOO_FAR, NOT_WHOLE])
def test_a_refusal_says_of_what_and_why_and_looks_like_a_receipt(why: int) -> None:
    record = whisper(b"too late" * 100)
    refusal = refusal_of(record, why, seeded(1))
    assert Record.decode_untrusted(refusal.encode()) == refusal
    assert (refusal.in_reply_to, refusal.body) == (record.whisper_id, bytes((why,)))
    assert len(refusal.encode()) == len(receipt_for(record, seeded(1)).encode())


@pytest.mark.parametrize("body", [b"", b"\0", b"\4", b"\xff", b"\1\1", b"\1\0"])
def test_a_refusal_of_another_shape_is_refused(body: bytes) -> None:
    refusal = refusal_of(whisper(b""), EXPIRED, seeded(1))
    with pytest.raises(ProtocolError, match=Reason.RECORD_BODY):
        Record.decode_untrusted(replace(refusal, body=body).encode())
    with pytest.raises(ProtocolError, match=Reason.RECORD_REPLY):
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
