"""Packing under fire: for any bytes at all, either the one encoding of a value or ProtocolError."""

from __future__ import annotations

import struct
import tracemalloc
from random import Random
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onionshh.errors import ProtocolError
from onionshh.reasons import Reason
from onionshh.wire.packing import (
    Bin,
    Int,
    ListOf,
    Shape,
    Text,
    fields,
    pack,
    unpack_untrusted,
    unpack_version_untrusted,
    version_untrusted,
)

ROW = fields(Bin(32), Text(19), Int(65535), ListOf(Int(9), most=4))
DOCUMENT = fields(Int(), Bin(most=64), Text(20), ListOf(ROW, most=8, least=1))
VALUE = (
    7,
    b"bytes",
    "text",
    (
        (bytes(32), "one", 9001, (1, 2)),
        (bytes(range(32)), "two-ü", 0, ()),
    ),
)
MOST = 4096


def refused(data: bytes, shape: Shape = DOCUMENT, most_bytes: int = MOST) -> str:
    """The reason why the data is refused; fails if it is taken or anything but ProtocolError comes."""
    with pytest.raises(ProtocolError) as caught:
        unpack_untrusted(data, shape, most_bytes)
    return caught.value.reason


def test_there_and_back() -> None:
    assert unpack_untrusted(pack(VALUE), DOCUMENT, MOST) == VALUE


def test_lists_and_tuples_pack_alike() -> None:
    assert pack([1, [b"x"]]) == pack((1, (b"x",))) == b"\x92\x01\x91\xc4\x01x"


# -- the bytes ------------------------------------------------------------------------------------------


def test_every_truncation() -> None:
    data = pack(VALUE)
    for end in range(len(data)):
        refused(data[:end])


@pytest.mark.parametrize("junk", [b"\x00", b"\xc0", b"\xc1", b"\x90", b"\xdd\xff\xff\xff\xff"])
def test_trailing_junk(junk: bytes) -> None:
    refused(pack(VALUE) + junk)
    refused(pack(VALUE) + pack(VALUE))


def test_every_flipped_bit_is_refused_or_is_another_value() -> None:
    data = pack(VALUE)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        taken_or_refused(bytes(flipped))


def test_random_bytes() -> None:
    random = Random(20)
    for _ in range(3000):
        taken_or_refused(random.randbytes(random.randrange(60)))


def test_random_bytes_in_a_place_of_a_good_document() -> None:
    random = Random(21)
    good = pack(VALUE)
    for _ in range(3000):
        at = random.randrange(len(good))
        size = random.randrange(1, 6)
        taken_or_refused(good[:at] + random.randbytes(size) + good[at + random.randrange(size + 1) :])


@given(st.binary(max_size=80))
def test_any_bytes(data: bytes) -> None:
    taken_or_refused(data)


@given(
    st.tuples(
        st.integers(0, 2**63 - 1),
        st.binary(max_size=64),
        st.text(max_size=20).filter(lambda text: text == "" or text.isprintable()),
        st.lists(
            st.tuples(
                st.binary(min_size=32, max_size=32),
                st.just("name"),
                st.integers(0, 65535),
                st.lists(st.integers(0, 9), max_size=4).map(tuple),
            ),
            min_size=1,
            max_size=8,
        ).map(tuple),
    )
)
def test_any_value_of_the_shape(value: Any) -> None:
    assert unpack_untrusted(pack(value), DOCUMENT, MOST) == value


def taken_or_refused(data: bytes) -> None:
    try:
        value = unpack_untrusted(data, DOCUMENT, MOST)
    except ProtocolError:
        return
    assert pack(value) == data


# -- what documents use -----------------------------------------------------------------------------------


def test_bytes_that_may_be_left_out_are_there_whole_or_not_at_all() -> None:
    shape = Bin(3, or_empty=True)
    for good in (b"", b"abc"):
        assert unpack_untrusted(pack(good), shape, MOST) == good
    for bad in (b"a", b"ab", b"abcd", "", None, 0):
        assert refused(pack(bad), shape) == Reason.DOCUMENT_SHAPE
    assert refused(pack(b""), Bin(3)) == Reason.DOCUMENT_SHAPE


def test_text_that_is_ascii_and_nothing_else() -> None:
    shape = Text(5, ascii=True)
    for good in ("", "a b", "~!"):
        assert unpack_untrusted(pack(good), shape, MOST) == good
    for bad in ("ü", "\x7f", "\n", "toolong", b"abc"):
        assert refused(pack(bad), shape) == Reason.DOCUMENT_SHAPE


def test_the_version_that_a_row_begins_with() -> None:
    assert version_untrusted(pack((7, "whatever", 1.5))) == 7
    assert version_untrusted(pack((127,))) == 127
    for none in (b"", b"\x91", pack((128,)), pack(("a",)), pack(5), pack([0] * 16), b"\x81\x07\x07"):
        assert version_untrusted(none) is None


def test_another_version_is_refused_by_name_and_never_for_its_shape() -> None:
    def read(data: bytes) -> tuple[Any, ...]:
        shape = fields(Int(255), Bin(2))
        return unpack_version_untrusted(data, shape, 64, version=2, otherwise=Reason.DOCUMENT_VERSION)

    def why(data: bytes) -> str:
        with pytest.raises(ProtocolError) as caught:
            read(data)
        return caught.value.reason

    assert read(pack((2, b"ab"))) == (b"ab",)
    for other in (pack((1, b"ab")), pack((3,)), pack((1, "a", 2.5)) + b"junk", pack((200, b"ab"))):
        assert why(other) == Reason.DOCUMENT_VERSION
    for shapeless in (b"", pack((2,)), pack((2, b"a")), pack((200,)), pack((256, b"ab")), pack(("2", b"ab"))):
        assert why(shapeless) == Reason.DOCUMENT_SHAPE
    assert why(pack((2, b"ab")) + b"\0") == Reason.DOCUMENT_NOT_CANONICAL
    assert why(pack((2, bytes(64)))) == Reason.DOCUMENT_SIZE


# -- one encoding a value -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, shape",
    [
        (b"\xcc\x07", Int()),
        (b"\xcd\x00\xff", Int()),
        (b"\xce\x00\x00\xff\xff", Int()),
        (b"\xcf\x00\x00\x00\x00\xff\xff\xff\xff", Int()),
        (b"\xd0\x07", Int()),
        (b"\xd3" + bytes(7) + b"\x01", Int()),
        (b"\xc5\x00\x01x", Bin(1)),
        (b"\xc6\x00\x00\x00\x01x", Bin(1)),
        (b"\xd9\x01x", Text(1)),
        (b"\xda\x00\x01x", Text(1)),
        (b"\xdc\x00\x01\x05", ListOf(Int(), most=1)),
        (b"\xdd\x00\x00\x00\x01\x05", ListOf(Int(), most=1)),
        (b"\xdc\x00\x01\x05", fields(Int())),
    ],
)
def test_longer_encodings_of_the_same_value(data: bytes, shape: Shape) -> None:
    assert refused(data, shape) == Reason.DOCUMENT_NOT_CANONICAL


# -- what no document holds -----------------------------------------------------------------------------

FORBIDDEN = {
    "nil": b"\xc0",
    "never used": b"\xc1",
    "false": b"\xc2",
    "true": b"\xc3",
    "float32": b"\xca" + struct.pack(">f", 7.0),
    "float64": msgpack.packb(7.0),
    "nan": msgpack.packb(float("nan")),
    "infinity": msgpack.packb(float("inf")),
    "empty map": b"\x80",
    "map": msgpack.packb({"a": 1}),
    "map 32": b"\xdf\xff\xff\xff\xff",
    "ext": msgpack.packb(msgpack.ExtType(5, b"abcd")),
    "timestamp": msgpack.packb(msgpack.Timestamp(1, 0)),
    "ext 8 of nothing": b"\xc7\x00\x05",
    "minus one": b"\xff",
    "int64": msgpack.packb(-(2**63)),
    "uint64 above int63": b"\xcf" + b"\xff" * 8,
    "bad utf-8": b"\xa2\xff\xfe",
    "surrogate": b"\xa3\xed\xa0\x80",
    "overlong utf-8": b"\xa2\xc0\x80",
    "newline": b"\xa1\n",
    "escape": b"\xa1\x1b",
    "zero": b"\xa1\x00",
    "right to left": b"\xa3\xe2\x80\xae",
}
SHAPES = [Int(), Bin(most=64), Text(64), ListOf(Int(), most=4), fields(Int())]


@pytest.mark.parametrize("what", FORBIDDEN)
@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_forbidden_kinds(what: str, shape: Shape) -> None:
    refused(FORBIDDEN[what], shape)


@pytest.mark.parametrize("what", FORBIDDEN)
def test_forbidden_kinds_inside(what: str) -> None:
    refused(b"\x92\x01" + FORBIDDEN[what], fields(Int(), Int()))
    refused(b"\x92\x01" + FORBIDDEN[what], fields(Int(), Bin(most=64)))
    refused(b"\x92\x01" + FORBIDDEN[what], fields(Int(), Text(64)))
    refused(b"\x92\x01" + FORBIDDEN[what], ListOf(Int(), most=2))


@pytest.mark.parametrize(
    "value, shape",
    [
        (b"text", Text(4)),
        ("bytes", Bin(most=5)),
        (1, Bin(1)),
        (b"\x01", Int()),
        ("1", Int()),
        ((1,), Int()),
        (1, ListOf(Int(), most=1)),
        (b"ab", ListOf(Int(), most=2)),
        (1, fields(Int())),
        (((1,),), fields(Int())),
    ],
)
def test_one_kind_where_another_is_due(value: Any, shape: Shape) -> None:
    assert refused(pack(value), shape) == Reason.DOCUMENT_SHAPE


# -- limits ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "inside, outside, shape",
    [
        (9, 10, Int(9)),
        (2**63 - 1, 2**63, Int()),
        (b"12345678", b"123456789", Bin(most=8)),
        (b"12345678", b"1234567", Bin(8)),
        (b"12345678", b"123456789", Bin(8)),
        ("üüü", "üüüü", Text(3)),
        ((1, 1), (1, 1, 1), ListOf(Int(), most=2)),
        ((1,), (), ListOf(Int(), most=2, least=1)),
        ((1, 2), (1,), fields(Int(), Int())),
        ((1, 2), (1, 2, 3), fields(Int(), Int())),
        (((1, 9),), ((1, 10),), ListOf(fields(Int(), Int(9)), most=1)),
    ],
)
def test_edges(inside: Any, outside: Any, shape: Shape) -> None:
    assert unpack_untrusted(pack(inside), shape, MOST) == inside
    assert refused(pack(outside), shape) == Reason.DOCUMENT_SHAPE


def test_too_many_bytes_are_not_even_decoded() -> None:
    data = pack(VALUE)
    assert unpack_untrusted(data, DOCUMENT, len(data)) == VALUE
    assert refused(data, most_bytes=len(data) - 1) == Reason.DOCUMENT_SIZE
    assert refused(b"\xc1" * (MOST + 1)) == Reason.DOCUMENT_SIZE


@pytest.mark.parametrize("claim", [b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff"])
@pytest.mark.parametrize("shape", [Bin(most=2**32), Text(2**32), ListOf(Int(), most=2**32)], ids=repr)
def test_a_claim_of_four_gigabytes_takes_none(claim: bytes, shape: Shape) -> None:
    assert peak_bytes(claim + b"x", shape) < 100_000


@pytest.mark.parametrize(
    "header", [b"\x91", b"\xdc\x3f\xff", b"\xdd\x00\x00\x3f\xff", b"\x81\x01", b"\xdf\x00\x00\x3f\xff"]
)
@pytest.mark.parametrize("depth", [5, 500, 3000])
def test_nested_bombs(header: bytes, depth: int) -> None:
    bomb = (header * depth)[: 2**14]
    peak = peak_bytes(bomb + bytes(2**14 - len(bomb)), DOCUMENT)
    assert peak < 200_000


def peak_bytes(data: bytes, shape: Shape) -> int:
    """The most memory that refusing the data took."""
    refused(b"\x80", shape)
    tracemalloc.start()
    try:
        refused(data, shape, 2**14)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
