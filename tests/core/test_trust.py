"""Whom to believe: each check of a consensus refuses what it names, in the order that costs least."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from onionshh import geometry as g
from onionshh.config import Authority, NetworkFile
from onionshh.core.base.params import Params
from onionshh.core.certificate import certify
from onionshh.core.trust import (
    ConsensusExpired,
    ConsensusNotYet,
    open_consensus_untrusted,
    open_descriptor_untrusted,
    read_consensus_untrusted,
    sign_descriptor,
)
from onionshh.crypto.identity import SigningKey
from onionshh.directory.signing import sign_consensus
from onionshh.errors import CryptoError, ProtocolError
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.wire import consensus as wire
from onionshh.wire import descriptor as wire_descriptor
from onionshh.wire.consensus import Consensus
from onionshh.wire.descriptor import Address, RelayDescriptor
from onionshh.wire.packing import pack

KEYS = [SigningKey(bytes([i + 1]) * 32) for i in range(5)]
STRANGER = SigningKey(b"s" * 32)
NOW = 1_700_000_000


def network(count: int, threshold: int) -> NetworkFile:
    return NetworkFile(
        "net", threshold, tuple(Authority(f"http://h:{i}", KEYS[i].public) for i in range(count))
    )


ONE = network(1, 1)
BODY = Consensus(
    network="net",
    valid_after=NOW,
    fresh_until=NOW + 3600,
    valid_until=NOW + 86400,
    params=Params().to_pairs(),
    shared_random=(),
    relays=(),
)
GOOD = sign_consensus(BODY.encode_body(), KEYS[:1])


def refused(
    data: bytes, *, trusted: NetworkFile = ONE, wall: int = NOW, held: Consensus | None = None
) -> str:
    with pytest.raises(ProtocolError) as caught:
        open_consensus_untrusted(data, network=trusted, wall=wall, held=held)
    return caught.value.reason


def signed(body: Consensus, *keys: SigningKey) -> bytes:
    return sign_consensus(body.encode_body(), keys or KEYS[:1])


def test_a_good_one() -> None:
    assert open_consensus_untrusted(GOOD, network=ONE, wall=NOW) == BODY
    assert open_consensus_untrusted(GOOD, network=ONE, wall=NOW, held=BODY) == BODY


def test_dates() -> None:
    for wall in (NOW - 600, NOW + 86399):
        assert open_consensus_untrusted(GOOD, network=ONE, wall=wall) == BODY
    with pytest.raises(ConsensusNotYet) as early:
        open_consensus_untrusted(GOOD, network=ONE, wall=NOW - 601)
    assert early.value.offset_seconds == -601
    with pytest.raises(ConsensusExpired) as late:
        open_consensus_untrusted(GOOD, network=ONE, wall=NOW + 86400)
    assert late.value.offset_seconds == 86400


def test_one_from_disk_may_be_of_any_date_but_not_of_any_hand() -> None:
    assert read_consensus_untrusted(GOOD, ONE) == BODY
    with pytest.raises(CryptoError):
        read_consensus_untrusted(signed(BODY, STRANGER), ONE)


def test_rollback() -> None:
    newer = replace(BODY, valid_after=NOW + 1)
    assert refused(GOOD, held=newer) == Reason.CONSENSUS_ROLLBACK
    assert open_consensus_untrusted(signed(newer), network=ONE, wall=NOW, held=BODY) == newer


def test_another_network() -> None:
    assert refused(signed(replace(BODY, network="other"))) == Reason.CONSENSUS_NETWORK


def test_params_out_of_range() -> None:
    assert refused(signed(replace(BODY, params=(("window", 0),)))) == Reason.PARAMS_RANGE


@pytest.mark.parametrize(
    ("count", "threshold", "signers", "good"),
    [
        (1, 1, 1, True),
        (3, 2, 1, False),
        (3, 2, 2, True),
        (3, 1, 1, False),  # the threshold cannot go below more than half
        (4, 1, 2, False),
        (4, 1, 3, True),
        (5, 5, 4, False),
        (5, 5, 5, True),
    ],
)
def test_thresholds(count: int, threshold: int, signers: int, good: bool) -> None:
    data = signed(BODY, *KEYS[:signers])
    trusted = network(count, threshold)
    if good:
        assert open_consensus_untrusted(data, network=trusted, wall=NOW) == BODY
    else:
        assert refused(data, trusted=trusted) == Reason.CONSENSUS_SIGNATURES


def test_strangers_do_not_count_and_do_not_harm() -> None:
    assert refused(signed(BODY, STRANGER)) == Reason.CONSENSUS_SIGNATURES
    assert refused(signed(BODY, KEYS[0], STRANGER), trusted=network(3, 2)) == Reason.CONSENSUS_SIGNATURES
    assert open_consensus_untrusted(signed(BODY, KEYS[0], STRANGER), network=ONE, wall=NOW) == BODY


def test_one_authority_cannot_sign_twice() -> None:
    body = BODY.encode_body()
    pair = (KEYS[0].public, KEYS[0].sign(wire.SIGNED + body))
    assert refused(wire.join(body, (pair, pair)), trusted=network(3, 2)) == Reason.CONSENSUS_SIGNATURES


def test_a_broken_signature_does_not_count_and_does_not_spoil_the_others() -> None:
    body = BODY.encode_body()
    pairs = tuple((key.public, key.sign(wire.SIGNED + body)) for key in KEYS[:3])
    spoiled = ((pairs[0][0], bytes(64)), *pairs[1:])
    trusted = network(3, 2)
    assert open_consensus_untrusted(wire.join(body, spoiled), network=trusted, wall=NOW) == BODY
    assert refused(wire.join(body, spoiled[:2]), trusted=trusted) == Reason.CONSENSUS_SIGNATURES


def test_the_signature_is_over_the_purpose_too() -> None:
    body = BODY.encode_body()
    bare = ((KEYS[0].public, KEYS[0].sign(body)),)
    assert refused(wire.join(body, bare)) == Reason.CONSENSUS_SIGNATURES


def test_every_flipped_bit_is_refused() -> None:
    random = Random(3)
    for _ in range(300):
        data = bytearray(GOOD)
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        refused(bytes(data))
    for cut in range(0, len(GOOD), 7):
        refused(GOOD[:cut])
    refused(GOOD + b"\x00")
    for _ in range(300):
        refused(random.randbytes(random.randrange(200)))


def test_nothing_is_parsed_before_enough_have_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(body: bytes) -> Consensus:
        raise AssertionError("parsed")

    monkeypatch.setattr(wire, "decode_body_untrusted", parse)
    refused(signed(BODY, STRANGER))
    with pytest.raises(AssertionError, match="parsed"):
        open_consensus_untrusted(GOOD, network=ONE, wall=NOW)


def test_size_comes_first() -> None:
    assert refused(b"\x92" + bytes(g.CONSENSUS_MAX)) == Reason.DOCUMENT_SIZE


def test_what_is_signed_must_still_be_in_shape() -> None:
    assert refused(sign_consensus(pack((wire.CONSENSUS_VERSION, "net")), KEYS[:1])) == Reason.DOCUMENT_SHAPE


RELAY = SigningKey(b"r" * 32)
WORD = RelayDescriptor(
    identity=RelayId(RELAY.public),
    onion_key=b"o" * 32,
    nickname="relay",
    addresses=(Address.of("192.0.2.1", 9001),),
    published=NOW,
)


def test_descriptor_round_trip() -> None:
    assert open_descriptor_untrusted(sign_descriptor(WORD, RELAY)) == WORD


def test_a_descriptor_is_signed_by_whom_it_names() -> None:
    with pytest.raises(ValueError, match="identity"):
        sign_descriptor(WORD, STRANGER)
    body = WORD.encode_body()
    for signature in (
        STRANGER.sign(wire_descriptor.SIGNED + body),
        RELAY.sign(body),
        RELAY.sign(wire.SIGNED + body),
        bytes(64),
    ):
        with pytest.raises(CryptoError):
            open_descriptor_untrusted(wire_descriptor.join(body, signature))


def test_a_descriptor_with_no_key_to_speak_of() -> None:
    """The identity all zeros is a small-order point, under which anyone can make a signature hold."""
    zero = replace(WORD, identity=RelayId(bytes(32)))
    forged = wire_descriptor.join(zero.encode_body(), bytes([1]) + bytes(63))
    with pytest.raises(CryptoError):
        open_descriptor_untrusted(forged)


def test_every_flipped_bit_of_a_descriptor_is_refused() -> None:
    good = sign_descriptor(WORD, RELAY)
    for bit in range(8 * len(good)):
        data = bytearray(good)
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ProtocolError):
            open_descriptor_untrusted(bytes(data))


SIGNING_KEY = SigningKey(b"k" * 32)
SIGNED_WORD = replace(WORD, signing=certify(RELAY, SIGNING_KEY.public, NOW + 86_400).encode())


def test_a_descriptor_with_a_signing_key_is_signed_by_that_key() -> None:
    assert open_descriptor_untrusted(sign_descriptor(SIGNED_WORD, SIGNING_KEY)) == SIGNED_WORD
    with pytest.raises(ValueError, match="signing key"):
        sign_descriptor(SIGNED_WORD, RELAY)
    body = SIGNED_WORD.encode_body()
    for key in (RELAY, STRANGER):  # not even by the identity: one document has one right signer
        with pytest.raises(CryptoError):
            open_descriptor_untrusted(wire_descriptor.join(body, key.sign(wire_descriptor.SIGNED + body)))


def test_nobody_but_the_identity_certifies_a_signing_key() -> None:
    certificate = certify(RELAY, SIGNING_KEY.public, NOW + 86_400)
    for signing in (
        certify(STRANGER, SIGNING_KEY.public, NOW + 86_400),
        replace(certificate, expires=NOW + 86_401),
        replace(certificate, key=SIGNING_KEY.public, signature=bytes(64)),
    ):
        forged = replace(WORD, signing=signing.encode())
        with pytest.raises(ProtocolError, match=Reason.CERTIFICATE):
            open_descriptor_untrusted(sign_descriptor(forged, SIGNING_KEY))


def test_whoever_has_the_signing_key_cannot_leave_its_certificate_out() -> None:
    body = WORD.encode_body()
    with pytest.raises(CryptoError):
        open_descriptor_untrusted(wire_descriptor.join(body, SIGNING_KEY.sign(wire_descriptor.SIGNED + body)))


def test_every_flipped_bit_of_a_descriptor_with_a_signing_key_is_refused() -> None:
    good = sign_descriptor(SIGNED_WORD, SIGNING_KEY)
    for bit in range(8 * len(good)):
        data = bytearray(good)
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ProtocolError):
            open_descriptor_untrusted(bytes(data))
