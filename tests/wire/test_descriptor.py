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
from onionshh.wire.descriptor import IPV4, IPV6, ONION, Address, Paced, RelayDescriptor
from onionshh.wire.packing import pack

FOUR = Address(IPV4, "192.0.2.7", 9001)
SIX = Address(IPV6, "2001:db8::7", 9001)
SERVICE = Address(ONION, "a2" * 28 + ".onion", 443)
GOOD = RelayDescriptor(
    identity=RelayId(b"i" * 32),
    onion_key=b"o" * 32,
    nickname="Relay-1",
    addresses=(FOUR,),
    family=(RelayId(b"a" * 32), RelayId(b"b" * 32)),
    bandwidth=5_000_000,
    capabilities=wire.CAPABILITY_RING | wire.CAPABILITY_MAILBOXES,
    versions=(1, 3),
    software="onionshh 0.1.0",
    paced=Paced(64, 1),
    published=1_700_000_000,
)
FULL = replace(GOOD, addresses=(FOUR, SIX, SERVICE), signing=bytes(range(104)))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"addresses": (SIX,)},
        {"addresses": (SERVICE,)},
        {"addresses": (FOUR, FOUR._replace(port=9002), SIX, SERVICE)},
        {"signing": bytes(range(104))},
        {"software": ""},
        {"software": "~" * 32},
        {"paced": Paced()},
        {"paced": Paced(0, 4096)},
        {"family": ()},
    ],
    ids=str,
)
def test_round_trip(changes: dict[str, Any]) -> None:
    word = replace(GOOD, **changes)
    decoded = wire.decode_body_untrusted(word.encode_body())
    assert decoded == word
    assert isinstance(decoded.paced, Paced)
    assert all(isinstance(address, Address) for address in decoded.addresses)


def test_version_comes_first() -> None:
    assert GOOD.encode_body()[1] == wire.DESCRIPTOR_VERSION


def test_the_largest_descriptor_fits() -> None:
    large = replace(
        GOOD,
        nickname="n" * wire.NICKNAME_MOST,
        addresses=(
            Address(IPV6, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
            *(Address(ONION, letter * 56 + ".onion", 65535) for letter in "abc"),
        ),
        signing=bytes(wire.SIGNING),
        family=tuple(RelayId(bytes([i]) * 32) for i in range(wire.FAMILY_MOST)),
        bandwidth=wire.MOST_BANDWIDTH,
        capabilities=2**32 - 1,
        versions=tuple(range(65528, 65536)),
        software="s" * wire.SOFTWARE_MOST,
        paced=Paced(wire.MOST_PACED, wire.MOST_PACED),
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
        {"addresses": ()},
        {"addresses": (SIX, FOUR)},
        {"addresses": (FOUR, FOUR)},
        {"addresses": (FOUR._replace(port=9002), FOUR)},
        {"addresses": tuple(FOUR._replace(port=port) for port in range(9001, 9006))},
        {"addresses": (FOUR._replace(kind=0),)},
        {"addresses": (FOUR._replace(kind=IPV6),)},
        {"addresses": (SIX._replace(kind=IPV4),)},
        {"addresses": (FOUR, Address(ONION, "192.0.2.7", 1))},
        {"addresses": (FOUR, SERVICE._replace(kind=4))},
        {"addresses": (Address(IPV4, SERVICE.host, 1),)},
        {"addresses": (FOUR, SERVICE._replace(host=SERVICE.host.upper()))},
        {"addresses": (FOUR, SERVICE._replace(host="b" + SERVICE.host))},
        {"addresses": (FOUR, SERVICE._replace(host=SERVICE.host[1:]))},
        {"addresses": (FOUR, SERVICE._replace(host="1" + SERVICE.host[1:]))},
        {"addresses": (FOUR, SERVICE._replace(port=0))},
        {"addresses": ((1, "192.0.2.7"),)},
        {"addresses": ((1, "192.0.2.7", 9001, 0),)},
        {"addresses": (Address.of("example.org", 9001),)},
        {"addresses": (Address.of("", 9001),)},
        {"addresses": (Address.of("192.0.2.007", 9001),)},
        {"addresses": (Address.of("2001:DB8::1", 9001),)},
        {"addresses": (Address.of("::ffff:192.0.2.7", 9001),)},
        {"addresses": (Address.of("fe80::1%lo", 9001),)},
        {"addresses": (Address.of("[::1]", 9001),)},
        {"addresses": (FOUR._replace(port=0),)},
        {"addresses": (FOUR._replace(port=65536),)},
        {"addresses": (FOUR._replace(port=True),)},
        {"signing": bytes(103)},
        {"signing": bytes(105)},
        {"signing": b"\0"},
        {"software": "s" * 33},
        {"software": "onionshh ü"},
        {"software": "line\n"},
        {"software": "\x7f"},
        {"software": b"bytes"},
        {"paced": (3, 0)},
        {"paced": (0, 8192)},
        {"paced": (1,)},
        {"paced": (1, 1, 1)},
        {"paced": (-1, 0)},
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


OLD = pack((1, b"i" * 32, b"o" * 32, "Relay-1", "192.0.2.7", 9001, (), 5_000_000, 1, (1, 3), 1_700_000_000))
"""What a relay of version 1 said of itself."""


def test_another_version_is_refused_by_name() -> None:
    """Whatever its shape is: the one before, ones to come, one whose number takes two bytes."""
    body = GOOD.encode_body()
    long = bytes((body[0], 0xCC, 200)) + body[2:]
    for other in (OLD, bytes((body[0], 1)) + body[2:], bytes((body[0], 3)) + body[2:], b"\x91\x03", long):
        with pytest.raises(ProtocolError) as caught:
            wire.decode_body_untrusted(other)
        assert caught.value.reason == Reason.DESCRIPTOR_VERSION


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"addresses": (Address(0, SERVICE.host, 1),)}, Reason.DESCRIPTOR_ADDRESS),
        ({"addresses": (FOUR, FOUR)}, Reason.DESCRIPTOR_ADDRESS),
        ({"paced": (3, 0)}, Reason.DESCRIPTOR_PACED),
        ({"paced": (4, 6)}, Reason.DESCRIPTOR_PACED),
        ({"software": "ü"}, Reason.DOCUMENT_SHAPE),
        ({"signing": bytes(103)}, Reason.DOCUMENT_SHAPE),
    ],
    ids=str,
)
def test_why(changes: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(ProtocolError) as caught:
        wire.decode_body_untrusted(replace(GOOD, **changes).encode_body())
    assert caught.value.reason == reason


def test_every_truncation_and_trailing_byte() -> None:
    data = wire.join(FULL.encode_body(), bytes(64))
    for cut in range(len(data)):
        with pytest.raises(ProtocolError):
            wire.split_untrusted(data[:cut])
    with pytest.raises(ProtocolError):
        wire.split_untrusted(data + b"\x00")
    body = FULL.encode_body()
    for cut in range(len(body)):
        with pytest.raises(ProtocolError):
            wire.decode_body_untrusted(body[:cut])
    with pytest.raises(ProtocolError):
        wire.decode_body_untrusted(body + b"\x00")


def test_random_bytes_and_bit_flips_raise_one_error_or_decode() -> None:
    random = Random(1)
    body = FULL.encode_body()
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
    short = pack(FOUR.port)
    assert body.count(short) == 1
    long = b"\xce" + FOUR.port.to_bytes(4, "big")
    with pytest.raises(ProtocolError) as caught:
        wire.decode_body_untrusted(body.replace(short, long))
    assert caught.value.reason == Reason.DOCUMENT_NOT_CANONICAL


def test_oversize_is_refused_before_it_is_read() -> None:
    with pytest.raises(ProtocolError) as caught:
        wire.split_untrusted(b"\x91" * (wire.DESCRIPTOR_MAX + 1))
    assert caught.value.reason == Reason.DOCUMENT_SIZE


def test_addresses_as_people_write_them() -> None:
    assert (GOOD.address, str(FOUR), str(SERVICE)) == (
        "192.0.2.7:9001",
        "192.0.2.7:9001",
        "a2" * 28 + ".onion:443",
    )
    assert replace(GOOD, addresses=(SIX,)).address == "[2001:db8::7]:9001"
    assert [Address.of(one.host, one.port) for one in FULL.addresses] == list(FULL.addresses)


def test_the_first_address_is_an_ip_address_if_there_is_one() -> None:
    assert (FULL.host, FULL.port, FULL.address) == (FOUR.host, FOUR.port, str(FOUR))
    only_six = replace(FULL, addresses=(SIX, SERVICE))
    assert (only_six.host, only_six.port) == (SIX.host, SIX.port)
    only_tor = replace(FULL, addresses=(SERVICE,))
    assert (only_tor.host, only_tor.port) == (SERVICE.host, SERVICE.port)
    for word, hidden in ((FULL, False), (only_six, False), (only_tor, True)):
        assert wire.only_over_tor(word.addresses) is hidden
