"""Endpoint descriptors: what a ring relay refuses, and what a visitor refuses beyond that (SPEC 10)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from onionshh import geometry as g
from onionshh.core.base.chance import Chance
from onionshh.core.endpoint.descriptor import (
    EARLY_SECONDS,
    EXPIRY_MOST_SECONDS,
    REVISION_STEP_MAX,
    build_descriptor,
    check_outer_untrusted,
    next_revision,
    open_descriptor_untrusted,
)
from onionshh.crypto.identity import IdentityKeys, SigningKey, blind_public
from onionshh.crypto.primitives import KeyPair, aead_seal, kdf
from onionshh.crypto.seal import SealKey
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason
from onionshh.wire.endpoint import (
    NUMBER_MAX,
    EndpointDescriptor,
    Inner,
    IntroducerEntry,
    Outer,
    ProofWanted,
    period_key_signed,
    pq_signed,
)
from tests.seeded import seeded

PERIOD, PERIOD_SECONDS, WALL = 20_000, 86_400, 1_728_000_000
EXPIRY, CERTIFIED = WALL + 3_600, WALL + 86_400
IDENTITY = IdentityKeys.generate(seeded(1))
OTHER = IdentityKeys.generate(seeded(2))
PERIOD_KEY = SigningKey.generate(seeded(3))
DESCRIPTOR = EndpointDescriptor(
    revision=7,
    expiry=EXPIRY,
    rendezvous_key=KeyPair.generate(seeded(4)).public,
    seal_key=SealKey.generate(seeded(4)).public,
    introducers=(IntroducerEntry(bytes(32), PERIOD_KEY.public, EXPIRY),),
    P=IDENTITY.P,
    pq_public=IDENTITY.pq_public,
    proof=ProofWanted(bytes(32), 64, EXPIRY),
    letter_key=SealKey.generate(seeded(8)).public,
    letters_until=CERTIFIED,
)
NO_INBOX = replace(DESCRIPTOR, proof=None, letter_key=b"", letters_until=0)
DATA = build_descriptor(
    IDENTITY,
    DESCRIPTOR,
    period=PERIOD,
    period_seconds=PERIOD_SECONDS,
    period_key=PERIOD_KEY,
    random_bytes=seeded(5),
)
OUTER = Outer.decode_untrusted(DATA)


def opened(data: bytes, **changes: Any) -> EndpointDescriptor:
    options = {"A": IDENTITY.A, "period": PERIOD, "period_seconds": PERIOD_SECONDS, "wall": WALL}
    return open_descriptor_untrusted(data, **(options | changes))  # type: ignore[arg-type]


def refused(data: bytes, reason: Reason, **changes: Any) -> None:
    with pytest.raises(ProtocolError) as caught:
        opened(data, **changes)
    assert caught.value.reason == reason


def signed(outer: Outer) -> bytes:
    """By the period's own key: as far as an insider of the ring's checks can go."""
    return outer.encode()[: -g.SIGNATURE] + PERIOD_KEY.sign(outer.signed)


def around(inner: Inner | bytes, *, period: int = PERIOD, revision: int = 7) -> bytes:
    """Any plaintext, sealed and signed by one who has every classical secret of the identity.

    What is left to refuse it is the post-quantum half.
    """
    blinded = IDENTITY.blind(period, PERIOD_SECONDS)
    salt = bytes(g.SALT)
    key = kdf("descriptor", blinded.public, blinded.subcredential, revision.to_bytes(8), salt)
    plain = inner if isinstance(inner, bytes) else inner.encode()
    certified = period_key_signed(period, PERIOD_KEY.public, CERTIFIED)
    outer = Outer(
        blinded=blinded.public,
        period=period,
        revision=revision,
        salt=salt,
        period_key=PERIOD_KEY.public,
        expiry=CERTIFIED,
        certificate=blinded.sign(certified, seeded(6)),
        sealed=aead_seal(key, bytes(12), plain),
    )
    return signed(outer)


def inner(
    descriptor: EndpointDescriptor = DESCRIPTOR,
    *,
    by: IdentityKeys = IDENTITY,
    period: int = PERIOD,
    key_of: int | None = None,
) -> Inner:
    blinded = blind_public(IDENTITY.A, period if key_of is None else key_of, PERIOD_SECONDS)
    encoded = descriptor.encode()
    return Inner(descriptor, encoded, by.sign_pq(pq_signed(blinded, period, encoded)))


def test_a_visitor_reads_what_the_endpoint_wrote() -> None:
    assert len(DATA) == g.DESCRIPTOR
    assert opened(DATA) == DESCRIPTOR
    assert opened(around(inner())) == DESCRIPTOR


def test_a_ring_relay_reads_where_it_belongs_and_nothing_else() -> None:
    blinded = blind_public(IDENTITY.A, PERIOD, PERIOD_SECONDS)
    assert check_outer_untrusted(DATA, wall=WALL) == OUTER
    assert (OUTER.blinded, OUTER.period, OUTER.revision, OUTER.expiry) == (blinded, PERIOD, 7, CERTIFIED)
    assert IDENTITY.A not in DATA
    assert IDENTITY.P not in DATA
    assert DESCRIPTOR.rendezvous_key not in DATA


@pytest.mark.parametrize(
    "field", ["blinded", "period", "revision", "salt", "period_key", "expiry", "certificate", "sealed"]
)
@pytest.mark.parametrize("end", [0, -1])
def test_every_outer_field_is_refused_when_flipped(field: str, end: int) -> None:
    """By the ring, with the signature that was there; first and last byte of each field."""
    value = getattr(OUTER, field)
    data = bytearray(value.to_bytes(8) if isinstance(value, int) else value)
    data[end] ^= 1
    changed: Any = int.from_bytes(data) if isinstance(value, int) else bytes(data)
    broken = replace(OUTER, **{field: changed})
    with pytest.raises(ProtocolError):
        check_outer_untrusted(broken.encode(), wall=WALL)
    with pytest.raises(ProtocolError):
        opened(broken.encode())


@pytest.mark.parametrize("place", [0, 31, 32, 63])
def test_the_outer_signature_is_refused_when_flipped(place: int) -> None:
    data = bytearray(DATA)
    data[len(data) - 64 + place] ^= 1
    with pytest.raises(ProtocolError):
        check_outer_untrusted(bytes(data), wall=WALL)


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"period": PERIOD + 1}, "signature"),
        ({"expiry": CERTIFIED + 1}, "signature"),
        ({"blinded": blind_public(IDENTITY.A, PERIOD + 1, PERIOD_SECONDS)}, "signature"),
        ({"blinded": blind_public(OTHER.A, PERIOD, PERIOD_SECONDS)}, "signature"),
        ({"blinded": bytes(32)}, Reason.KEY_POINT),
        ({"certificate": bytes(64)}, "signature"),
    ],
)
def test_a_period_key_cannot_certify_itself(changes: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(ProtocolError) as caught:
        check_outer_untrusted(signed(replace(OUTER, **changes)), wall=WALL)
    assert caught.value.reason == reason


@pytest.mark.parametrize("changes", [{"revision": 8}, {"salt": bytes(16)}])
def test_who_has_only_the_period_key_cannot_seal(changes: dict[str, Any]) -> None:
    """The ring lets it pass, since the key vouches for it; the visitor's key fits no more."""
    data = signed(replace(OUTER, **changes))
    check_outer_untrusted(data, wall=WALL)
    refused(data, Reason.AEAD_OPEN)


@pytest.mark.parametrize("data", [b"", DATA[:-1], DATA + b"\0"], ids=len)
def test_another_size(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        check_outer_untrusted(data, wall=WALL)
    with pytest.raises(ProtocolError):
        opened(data)


def test_it_opens_until_the_outer_expiry_also_when_its_introducers_are_overdue() -> None:
    for wall in (EXPIRY - 1, EXPIRY, CERTIFIED - 1):
        assert opened(DATA, wall=wall) == DESCRIPTOR
        check_outer_untrusted(DATA, wall=wall)
    refused(DATA, Reason.DOCUMENT_EXPIRED, wall=CERTIFIED)
    with pytest.raises(ProtocolError):
        check_outer_untrusted(DATA, wall=CERTIFIED)


def test_without_an_inbox_the_ring_keeps_it_for_as_long_as_its_introducers_last() -> None:
    data = build_descriptor(
        IDENTITY,
        NO_INBOX,
        period=PERIOD,
        period_seconds=PERIOD_SECONDS,
        period_key=PERIOD_KEY,
        random_bytes=seeded(5),
    )
    assert len(data) == len(DATA) == g.DESCRIPTOR
    assert check_outer_untrusted(data, wall=WALL).expiry == EXPIRY
    assert opened(data, wall=EXPIRY - 1) == NO_INBOX
    refused(data, Reason.DOCUMENT_EXPIRED, wall=EXPIRY)


def test_no_expiry_further_ahead_than_a_week_and_a_day() -> None:
    last = WALL + EXPIRY_MOST_SECONDS + EARLY_SECONDS
    blinded = IDENTITY.blind(PERIOD, PERIOD_SECONDS)
    for expiry in (last, last + 1, 2**63 - 1):
        certified = period_key_signed(PERIOD, PERIOD_KEY.public, expiry)
        data = signed(replace(OUTER, expiry=expiry, certificate=blinded.sign(certified, seeded(6))))
        if expiry == last:
            check_outer_untrusted(data, wall=WALL)
            continue
        with pytest.raises(ProtocolError) as caught:
            check_outer_untrusted(data, wall=WALL)
        assert caught.value.reason == Reason.DOCUMENT_FAR_FUTURE


def test_another_address_or_period_is_not_this_one() -> None:
    refused(DATA, Reason.DESCRIPTOR_OF_ANOTHER, A=OTHER.A)
    refused(DATA, Reason.DESCRIPTOR_OF_ANOTHER, period=PERIOD + 1)
    refused(DATA, Reason.DESCRIPTOR_OF_ANOTHER, period_seconds=PERIOD_SECONDS + 1)
    with pytest.raises(ProtocolError):
        opened(DATA, A=bytes(32))


def test_a_row_signed_for_one_period_is_no_good_in_another() -> None:
    """Everything classical made anew for the next period; the post-quantum signature is the old one."""
    later = PERIOD + 1
    assert opened(around(inner(period=later), period=later), period=later) == DESCRIPTOR
    refused(around(inner(), period=later), Reason.SIGNATURE, period=later)
    refused(around(inner(period=later, key_of=PERIOD), period=later), Reason.SIGNATURE, period=later)
    refused(around(inner(period=PERIOD, key_of=later), period=later), Reason.SIGNATURE, period=later)


def test_the_post_quantum_signature_is_no_option() -> None:
    good = inner()
    refused(around(replace(good, signature=bytes(g.PQ_SIGNATURE))), Reason.SIGNATURE)
    refused(around(inner(by=OTHER)), Reason.SIGNATURE)
    flipped = bytes((good.signature[0] ^ 1,)) + good.signature[1:]
    refused(around(replace(good, signature=flipped)), Reason.SIGNATURE)
    cut = good.encoded.ljust(g.DESCRIPTOR_PLAIN, b"\0")
    refused(around(cut), Reason.SIGNATURE)


def test_keys_that_do_not_open_the_address() -> None:
    """One who can take discrete logarithms signs with a post-quantum key of their own."""
    for P, by in [(IDENTITY.P, OTHER), (OTHER.P, OTHER), (OTHER.P, IDENTITY)]:
        descriptor = replace(DESCRIPTOR, P=P, pq_public=by.pq_public)
        refused(around(inner(descriptor, by=by)), Reason.ADDRESS_OPENING)
    refused(around(inner(replace(DESCRIPTOR, P=bytes(32)))), Reason.KEY_POINT)


@pytest.mark.parametrize(
    "changes",
    [
        {"revision": 8},
        {"expiry": EXPIRY + 1},
        {"rendezvous_key": bytes(32)},
        {"seal_key": bytes(g.HPKE_KEY)},
        {"introducers": (replace(DESCRIPTOR.introducers[0], auth_key=bytes(32)),)},
        {"introducers": DESCRIPTOR.introducers * 2},
        {"proof": None},
        {"sends_no_receipts": True},
        {"classes": 8},
        {"letter_key": bytes(g.HPKE_KEY)},
        {"letter_key": b"", "letters_until": 0},
        {"letters_until": CERTIFIED + 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_inner_field_is_signed(changes: dict[str, Any]) -> None:
    changed = replace(DESCRIPTOR, **changes)
    refused(around(replace(inner(), encoded=changed.encode())), Reason.SIGNATURE)


def test_the_revision_is_the_same_inside_and_outside() -> None:
    refused(around(inner(), revision=8), Reason.DESCRIPTOR_REVISION)
    later = replace(DESCRIPTOR, revision=8)
    assert opened(around(inner(later), revision=8)) == later


def test_the_fill_and_the_shape_are_checked_inside() -> None:
    plain = inner().encode()
    refused(around(plain[:-1] + b"\1"), Reason.DOCUMENT_NOT_CANONICAL)
    refused(around(b"\0\0" + plain[2:]), Reason.DOCUMENT_NOT_CANONICAL)
    refused(around(bytes(len(plain))), Reason.DOCUMENT_SHAPE)


def test_every_upload_is_sealed_anew() -> None:
    again = build_descriptor(
        IDENTITY,
        DESCRIPTOR,
        period=PERIOD,
        period_seconds=PERIOD_SECONDS,
        period_key=PERIOD_KEY,
        random_bytes=seeded(7),
    )
    assert opened(again) == DESCRIPTOR
    assert Outer.decode_untrusted(again).salt != OUTER.salt


def test_a_proof_is_half_of_the_salt_and_the_rest_is_fresh() -> None:
    salts = []
    for seed in (7, 8):
        data = build_descriptor(
            IDENTITY,
            DESCRIPTOR,
            period=PERIOD,
            period_seconds=PERIOD_SECONDS,
            period_key=PERIOD_KEY,
            random_bytes=seeded(seed),
            nonce=b"provenby",
        )
        assert opened(data) == DESCRIPTOR
        salts.append(Outer.decode_untrusted(data).salt)
    assert {salt[:8] for salt in salts} == {b"provenby"}
    assert len(set(salts)) == 2
    assert OUTER.salt[:8] == bytes(8)


def test_only_ones_own_keys_are_published() -> None:
    with pytest.raises(ValueError, match="another identity"):
        build_descriptor(
            OTHER,
            DESCRIPTOR,
            period=PERIOD,
            period_seconds=PERIOD_SECONDS,
            period_key=PERIOD_KEY,
            random_bytes=seeded(5),
        )


def test_revisions_rise_by_random_steps() -> None:
    chance = Chance(seeded(8))
    revisions = [0]
    for _ in range(200):
        revisions.append(next_revision(revisions[-1], chance))
    steps = {after - before for before, after in pairwise(revisions)}
    assert 1 <= min(steps) < max(steps) <= REVISION_STEP_MAX
    assert len(steps) > 190


def test_no_revision_is_beyond_the_last() -> None:
    """Another machine with the same identity may have published under it."""
    chance = Chance(seeded(8))
    assert {next_revision(NUMBER_MAX - before, chance) for before in (0, 1)} == {NUMBER_MAX}
    assert next_revision(NUMBER_MAX - REVISION_STEP_MAX, chance) <= NUMBER_MAX
