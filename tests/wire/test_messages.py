"""Relay messages: the one length, every other length, and their numbers on the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from onionshh import geometry as g
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from tests.seeded import seeded

RANDOM = seeded(1)
ESTABLISH = m.EstablishIntro(RANDOM(g.KEY), RANDOM(g.SIGNATURE))
INTRODUCE = m.Introduce(RANDOM(g.KEY), m.INTRODUCE_NEW, 0xC3, RANDOM(g.POW), RANDOM(g.INTRODUCE_SEALED))
RESUME = m.Resume(RANDOM(g.KEY), RANDOM(g.SESSION_TAG), RANDOM(g.RESUME_SALT), RANDOM(g.RESUME_SEALED))
RENDEZVOUS = m.Rendezvous1(RANDOM(g.COOKIE), RANDOM(g.RENDEZVOUS_SEALED))
PAID = m.Paid(0x01020304, RANDOM(g.PROOF_NONCE), RANDOM(4))
PROOF = m.IntroProof(RANDOM(g.SEED), 0x01020304, 0x05060708)
LOAD = m.IntroLoad(0x01020304, 0x01020303)
FETCH = m.Fetch(RANDOM(g.KEY), 2**64 - 2)
FOUND = m.Found(m.FOUND_IT, RANDOM(g.DESCRIPTOR))

Decode = Callable[[bytes], Any]
CASES: list[tuple[bytes, Any, Decode]] = [
    (ESTABLISH.encode(), ESTABLISH, m.EstablishIntro.decode_untrusted),
    (INTRODUCE.encode(), INTRODUCE, m.Introduce.decode_untrusted),
    (RESUME.encode(), RESUME, m.Resume.decode_untrusted),
    (INTRODUCE.encode(), INTRODUCE, m.introduced_untrusted),
    (RESUME.encode(), RESUME, m.introduced_untrusted),
    (RENDEZVOUS.encode(), RENDEZVOUS, m.Rendezvous1.decode_untrusted),
    (PROOF.encode(), PROOF, m.IntroProof.decode_untrusted),
    (LOAD.encode(), LOAD, m.IntroLoad.decode_untrusted),
    (PAID.encode(), PAID, m.Paid.decode_untrusted),
    (FETCH.encode(), FETCH, m.Fetch.decode_untrusted),
    (FOUND.encode(), FOUND, m.Found.decode_untrusted),
    (m.encode_fetch_consensus(1_700_000_000), 1_700_000_000, m.decode_fetch_consensus_untrusted),
    (b"\x03", 3, m.status_untrusted),
]
NAMES = [
    "EstablishIntro",
    "Introduce",
    "Resume",
    "introduced:new",
    "introduced:resume",
    "Rendezvous1",
    "IntroProof",
    "IntroLoad",
    "Paid",
    "Fetch",
    "Found",
    "fetch_consensus",
    "status",
]
each_message = pytest.mark.parametrize("body, value, decode", CASES, ids=NAMES)


@each_message
def test_whole(body: bytes, value: Any, decode: Decode) -> None:
    assert decode(body) == value


@each_message
def test_truncated(body: bytes, value: Any, decode: Decode) -> None:
    whole_in_itself = 1 if decode == m.Found.decode_untrusted else None  # a status alone is another message
    for size in {*range(min(len(body), 200)), len(body) - 1}:
        if size == whole_in_itself:
            continue
        with pytest.raises(ProtocolError):
            decode(body[:size])


@each_message
def test_trailing_junk(body: bytes, value: Any, decode: Decode) -> None:
    for junk in (b"\x00", bytes(len(body))):
        with pytest.raises(ProtocolError):
            decode(body + junk)


@each_message
def test_random_bytes_of_the_right_size(body: bytes, value: Any, decode: Decode) -> None:
    random = seeded(2)
    for _ in range(200):
        data = random(len(body))
        try:
            again = decode(data)
        except ProtocolError:
            continue
        if hasattr(again, "encode"):
            assert again.encode() == data


def test_layouts_are_big_endian_and_in_the_order_of_the_specification() -> None:
    introduce = m.Introduce(b"k" * 32, 1, 2, b"p" * 40, b"s" * 2860)
    assert introduce.encode() == b"k" * 32 + b"\x01\x02" + b"p" * 40 + b"s" * 2860
    resume = m.Resume(b"k" * 32, b"t" * 16, b"n" * 12, b"s" * 428)
    assert resume.header == b"k" * 32 + b"\x02" + b"t" * 16 + b"n" * 12
    assert resume.encode() == resume.header + b"s" * 428
    assert m.Fetch(b"a" * 32, 258).encode() == b"a" * 32 + b"\0\0\0\0\0\0\1\2"
    assert m.encode_fetch_consensus(258) == b"\0\0\0\0\0\0\1\2"
    assert m.IntroProof(b"s" * 32, 258, 772).encode() == b"s" * 32 + b"\0\0\1\2" + b"\0\0\3\4"
    assert m.IntroLoad(772, 258).encode() == b"\0\0\3\4" + b"\0\0\1\2"
    paid = m.Paid(258, b"n" * 16, b"head").encode()
    assert paid == b"\1" + b"\0\0\1\2" + b"n" * 16 + b"head" + bytes(15)
    assert ESTABLISH.encode() == ESTABLISH.auth_key + ESTABLISH.signature
    assert RENDEZVOUS.encode()[32:] == RENDEZVOUS.sealed  # which alone is RENDEZVOUS2


def test_what_is_no_proof_of_this_form_is_worth_nothing() -> None:
    good = PAID.encode()
    assert len(good) == g.POW
    assert m.Paid.decode_untrusted(bytes(g.POW)) is None
    for version in {*range(256)} - {1}:
        assert m.Paid.decode_untrusted(bytes((version,)) + good[1:]) is None
    for at in range(25, g.POW):
        assert m.Paid.decode_untrusted(good[:at] + b"\1" + good[at + 1 :]) is None


@pytest.mark.parametrize("turned_away, paid", [(0, 0), (0, 1), (1, 2), (5, 0xFFFFFFFF)])
def test_a_load_of_nobody_or_of_more_who_paid_than_came_is_none(turned_away: int, paid: int) -> None:
    with pytest.raises(ProtocolError, match=Reason.MESSAGE_SHAPE):
        m.IntroLoad.decode_untrusted(m.IntroLoad(turned_away, paid).encode())
    for most in (m.IntroLoad(1, 0), m.IntroLoad(1, 1), m.IntroLoad(0xFFFFFFFF, 0xFFFFFFFF)):
        assert m.IntroLoad.decode_untrusted(most.encode()) == most


@pytest.mark.parametrize("kind", range(256))
def test_the_kind_of_an_introduction_belongs_to_its_length(kind: int) -> None:
    for good, whole in ((m.INTRODUCE_NEW, INTRODUCE), (m.INTRODUCE_RESUME, RESUME)):
        body = bytearray(whole.encode())
        body[g.KEY] = kind
        if kind == good:
            assert m.introduced_untrusted(bytes(body)) == whole
            continue
        for decode in (m.introduced_untrusted, type(whole).decode_untrusted):
            with pytest.raises(ProtocolError, match=Reason.INTRODUCE_KIND):
                decode(bytes(body))


@pytest.mark.parametrize("size", [0, 1, 33, 61, 488, 490, 978, 2933, 2935])
def test_an_introduction_has_one_of_two_lengths(size: int) -> None:
    for kind in (m.INTRODUCE_NEW, m.INTRODUCE_RESUME):
        with pytest.raises(ProtocolError, match=Reason.MESSAGE_SIZE):
            m.introduced_untrusted(bytes((kind,)) * size)


@pytest.mark.parametrize("status", range(256))
def test_found_brings_a_descriptor_exactly_when_it_says_so(status: int) -> None:
    alone, full = bytes((status,)), bytes((status,)) + bytes(g.DESCRIPTOR)
    if status == m.FOUND_IT:
        assert m.Found.decode_untrusted(full).descriptor == bytes(g.DESCRIPTOR)
        with pytest.raises(ProtocolError):
            m.Found.decode_untrusted(alone)
        return
    with pytest.raises(ProtocolError):
        m.Found.decode_untrusted(full)
    if status <= m.FULL:
        assert m.Found.decode_untrusted(alone) == m.Found(status)
    else:
        with pytest.raises(ProtocolError):
            m.Found.decode_untrusted(alone)


def test_what_an_endpoint_signs_names_this_circuit_and_this_introducer() -> None:
    signed = m.EstablishIntro.signed(b"b" * 32, b"i" * 32)
    assert signed == b"onionshh establish intro v1" + b"b" * 32 + b"i" * 32


def test_type_numbers() -> None:
    circuit = [m.CONTINUE, m.ACK, m.DROP, m.EXTEND, m.EXTENDED]
    introduction = [m.ESTABLISH_INTRO, m.INTRO_ESTABLISHED, m.INTRODUCE1, m.INTRODUCE_ACK, m.INTRODUCE2]
    rendezvous = [m.ESTABLISH_RENDEZVOUS, m.RENDEZVOUS_ESTABLISHED, m.RENDEZVOUS1, m.RENDEZVOUS2]
    load = [m.INTRO_PROOF, m.INTRO_LOAD]
    ring = [m.PUBLISH, m.FETCH, m.FOUND, m.FETCH_CONSENSUS, m.CONSENSUS]
    whispers = [m.RECORD, m.SHARE]
    assert circuit == [*range(5)]
    assert introduction + rendezvous == [*range(16, 25)]
    assert load == [26, 27]
    assert ring == [*range(32, 37)]
    assert whispers == [48, 49]


def test_every_type_is_known_and_capped() -> None:
    spoken = [*range(1, 5), *range(16, 25), 26, 27, *range(32, 41), m.RECORD]
    assert sorted(m.MOST) == spoken
    assert m.MOST[m.ACK] == 16
    assert m.MOST[m.DROP] == len(m.DROP_ECHO) == len(m.DROP_PLAIN) == 1
