"""Endpoint descriptors: how they are sealed, signed, checked and opened (SPEC 10).

Three parties use one document. The endpoint makes it. A ring relay does not know the address. It checks that
the document is signed for the blinded key it is stored under. So nobody can store junk under another's name
or put an old document back. A visitor knows the address and opens the document. It trusts nothing until it
has verified A = P + H(P ‖ bundle)·B, and that this post-quantum key signed this row for this period. The
checks of endpoint and ring relay depend on Ed25519 only. The visitor's check holds even against someone who
can compute discrete logarithms.
"""

from __future__ import annotations

from typing import Final

from onionshh.core.base.chance import Chance
from onionshh.core.endpoint.effort import NO_PROOF
from onionshh.crypto.identity import (
    IdentityKeys,
    SigningKey,
    blind_public,
    check_opening_untrusted,
    subcredential,
    verify_pq_untrusted,
    verify_untrusted,
)
from onionshh.crypto.primitives import aead_open, aead_seal, kdf
from onionshh.errors import ProtocolError
from onionshh.geometry import AEAD_NONCE, SALT, SIGNATURE
from onionshh.ids import RandomBytes
from onionshh.reasons import Reason
from onionshh.wire.endpoint import (
    NUMBER_MAX,
    EndpointDescriptor,
    Inner,
    Outer,
    period_key_signed,
    pq_signed,
)

REVISION_STEP_MAX: Final = 1 << 16
EXPIRY_MOST_SECONDS: Final = 8 * 86_400
"""How far in the future a descriptor may expire."""
EARLY_SECONDS: Final = 600
"""How far the maker's clock may be ahead of the network's time."""

_ZERO_NONCE = bytes(AEAD_NONCE)  # the key is fresh with every salt


def next_revision(current: int, chance: Chance) -> int:
    """A later revision, by a random step, so it shows neither the time nor how often we published.

    After `stale` the endpoint passes the revision that it fetched; 0 means none yet. Another machine with the
    same identity may have published under the last revision that there is. Nothing is later than that one, so
    it comes again: the ring keeps the other's descriptor until the period is over.
    """
    return min(NUMBER_MAX, current + 1 + chance.below(REVISION_STEP_MAX))


def build_descriptor(
    identity: IdentityKeys,
    descriptor: EndpointDescriptor,
    *,
    period: int,
    period_seconds: int,
    period_key: SigningKey,
    random_bytes: RandomBytes,
    nonce: bytes = NO_PROOF,
) -> bytes:
    """`geometry.DESCRIPTOR` bytes to store on the ring of `period`.

    `period_key` is an ordinary key for this period only, certified for as long as the ring keeps the
    descriptor. `nonce` is a proof of work for the name and the period (core/endpoint/effort.py), and half of
    the salt. ValueError if the descriptor does not contain this identity's own P and post-quantum key.
    """
    if (descriptor.P, descriptor.pq_public) != (identity.P, identity.pq_public):
        raise ValueError("the descriptor has the keys of another identity")
    blinded = identity.blind(period, period_seconds)
    expiry = descriptor.kept_until
    encoded = descriptor.encode()
    inner = Inner(descriptor, encoded, identity.sign_pq(pq_signed(blinded.public, period, encoded)))
    salt = nonce + random_bytes(SALT - len(nonce))
    key = _sealing_key(blinded.public, blinded.subcredential, descriptor.revision, salt)
    certified = period_key_signed(period, period_key.public, expiry)
    outer = Outer(
        blinded=blinded.public,
        period=period,
        revision=descriptor.revision,
        salt=salt,
        period_key=period_key.public,
        expiry=expiry,
        certificate=blinded.sign(certified, random_bytes),
        sealed=aead_seal(key, _ZERO_NONCE, inner.encode()),
    )
    return outer.encode()[:-SIGNATURE] + period_key.sign(outer.signed)


def check_outer_untrusted(data: bytes, *, wall: int) -> Outer:
    """The check without the address: ProtocolError unless the blinded key's signatures are valid now.

    The ring role checks whether this relay serves the period, and whether the revision is later than the
    stored one.
    """
    outer = Outer.decode_untrusted(data)
    if outer.expiry > wall + EXPIRY_MOST_SECONDS + EARLY_SECONDS:
        raise ProtocolError(Reason.DOCUMENT_FAR_FUTURE)
    _check_outer(outer, wall)
    return outer


def open_descriptor_untrusted(
    data: bytes, *, A: bytes, period: int, period_seconds: int, wall: int
) -> EndpointDescriptor:
    """The check with the address: the descriptor if everything is valid, else ProtocolError.

    A descriptor opens until its outer expiry (`wall`, Unix seconds). Its introducers may be overdue by then:
    compare the inner expiry.
    """
    outer = Outer.decode_untrusted(data)
    blinded = blind_public(A, period, period_seconds)
    if (outer.blinded, outer.period) != (blinded, period):
        raise ProtocolError(Reason.DESCRIPTOR_OF_ANOTHER)
    _check_outer(outer, wall)
    key = _sealing_key(blinded, subcredential(A, blinded), outer.revision, outer.salt)
    inner = Inner.decode_untrusted(aead_open(key, _ZERO_NONCE, outer.sealed))
    descriptor = inner.descriptor
    check_opening_untrusted(A, descriptor.P, descriptor.pq_public)
    verify_pq_untrusted(descriptor.pq_public, inner.signature, pq_signed(blinded, period, inner.encoded))
    if descriptor.revision != outer.revision:
        raise ProtocolError(Reason.DESCRIPTOR_REVISION)
    return descriptor


def _check_outer(outer: Outer, wall: int) -> None:
    if wall >= outer.expiry:
        raise ProtocolError(Reason.DOCUMENT_EXPIRED)
    certified = period_key_signed(outer.period, outer.period_key, outer.expiry)
    verify_untrusted(outer.blinded, outer.certificate, certified)
    verify_untrusted(outer.period_key, outer.signature, outer.signed)


def _sealing_key(blinded: bytes, subcredential: bytes, revision: int, salt: bytes) -> bytes:
    """The sealing key. Only someone who knows the address can make the subcredential, and so this key."""
    return kdf("descriptor", blinded, subcredential, revision.to_bytes(8), salt)
