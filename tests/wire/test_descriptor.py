"""Relay descriptors: one encoding each, and nothing but ProtocolError for whatever else comes."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from onionshh.errors import ProtocolError
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.wire import descriptor as wire
from onionshh.wire.descriptor import RelayDescriptor
from onionshh.wire.packing import pack

GOOD = RelayDescriptor(
    identity=RelayId(b"i" * 32),
    onion_key=b"o" * 32,
    nickname="Relay-1",
    host="192.0.2.7",
    port=9001,
    family=(RelayId(b"a" * 32), RelayId(b"b" * 32)),
    bandwidth=5_000_000,
    capabilities=wire.CAPABILITY_RING,
    versions=(1, 3),
    published=1_700_000_000,
)


def test_round_trip() -> None:
    assert wire.decode_body_untrusted(GOOD.encode_body()) == GOOD


def test_version_comes_first() -> None:
    assert GOOD.encode_body()[1] == wire.DESCRIPTOR_VERSION


def test_the_largest_descriptor_fits() -> None:
    large = replace(
        GOOD,
        nickname="n" * wire.NICKNAME_MOST,
        host="2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        port=65535,
        family=tuple(RelayId(bytes([i]) * 32) for i in range(wire.FAMILY_MOST)),
        bandwidth=wire.MOST_BANDWIDTH,
        capabilities=2**32 - 1,
        versions=tuple(range(65528, 65536)),
        published=2**62,
    )
    assert wire.decode_body_untrusted(large.encode_body()) == large
    assert len(wire.join(large.encode_body(), bytes(64))) <= wire.DESCRIPTOR_MAX


@pytest.mark.parametrize(
    "change",
    [
        {"identity": b"i" * 31},
        {"onion_key": b"o" * 33},
        {"nickname": ""},
        {"nickname": "n" * 20},
        {"nickname": "under_score"},
        {"nickname": "two words"},
        {"nickname": "<b>"},
        {"nickname": "line\n"},
        {"host": "example.org"},
        {"host": ""},
        {"host": "192.0.2.007"},
        {"host": "2001:DB8::1"},
        {"host": "::ffff:192.0.2.7"},
        {"host": "fe80::1%lo"},
        {"host": "[::1]"},
        {"port": 0},
        {"port": 65536},
        {"port": True},
        {"family": (b"b" * 32, b"a" * 32)},
        {"family": (b"a" * 32, b"a" * 32)},
        {"family": (b"i" * 32,)},
        {"family": tuple(bytes([i]) * 32 for i in range(9))},
        {"bandwidth": -1},
        {"bandwidth": 2**40 + 1},
        {"versions": ()},
        {"versions": (2, 1)},
        {"published": "now"},
        {"published": 1.5},
        {"published": None},
    ],
    ids=str,
)
def test_fields_out_of_bounds(change: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        wire.decode_body_untrusted(replace(GOOD, **change).encode_body())


def test_another_version_is_refused_by_name() -> None:
    body = bytearray(GOOD.encode_body())
    body[1] = 2
    with pytest.raises(ProtocolError) as caught:
        wire.decode_body_untrusted(bytes(body))
    assert caught.value.reason == Reason.DESCRIPTOR_VERSION


def test_every_truncation_and_trailing_byte() -> None:
    data = wire.join(GOOD.encode_body(), bytes(64))
    for cut in range(len(data)):
        with pytest.raises(ProtocolError):
            wire.split_untrusted(data[:cut])
    with pytest.raises(ProtocolError):
        wire.split_untrusted(data + b"\x00")
    body = GOOD.encode_body()
    for cut in range(len(body)):
        with pytest.raises(ProtocolError):
            wire.decode_body_untrusted(body[:cut])


def test_random_bytes_and_bit_flips_raise_one_error_or_decode() -> None:
    random = Random(1)
    body = GOOD.encode_body()
    for _ in range(2000):
        flipped = bytearray(body)
        flipped[random.randrange(len(body))] ^= 1 << random.randrange(8)
        for junk in (bytes(flipped), random.randbytes(random.randrange(400))):
            try:
                decoded = wire.decode_body_untrusted(junk)
            except ProtocolError:
                continue
            assert decoded.encode_body() == junk


def test_not_canonical() -> None:
    """The port in five bytes where three do: another encoding of the same words."""
    body = GOOD.encode_body()
    short = pack(GOOD.port)
    assert body.count(short) == 1
    long = b"\xce" + GOOD.port.to_bytes(4, "big")
    with pytest.raises(ProtocolError) as caught:
        wire.decode_body_untrusted(body.replace(short, long))
    assert caught.value.reason == Reason.DOCUMENT_NOT_CANONICAL


def test_oversize_is_refused_before_it_is_read() -> None:
    with pytest.raises(ProtocolError) as caught:
        wire.split_untrusted(b"\x91" * (wire.DESCRIPTOR_MAX + 1))
    assert caught.value.reason == Reason.DOCUMENT_SIZE


def test_addresses_as_people_write_them() -> None:
    assert GOOD.address == "192.0.2.7:9001"
    assert replace(GOOD, host="2001:db8::1").address == "[2001:db8::1]:9001"
