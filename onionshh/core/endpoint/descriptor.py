"""Endpoint descriptors sealed, signed, judged and opened (SPEC 10).

Three parties look at one document. The endpoint makes it. A ring relay, who does not know the address,
checks that the blinded key it is stored under vouches for it, so nobody stores junk under another's name
or puts an old one back. A visitor, who knows the address, opens it and believes nothing until the address
itself opens: A = P + H(P ‖ bundle)·B, and the post-quantum key found so has signed this very row for this
very period. The first two rest on Ed25519 alone; the last holds even where discrete logarithms do not.
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
    EndpointDescriptor,
    Inner,
    Outer,
    period_key_signed,
    pq_signed,
)

REVISION_STEP_MAX: Final = 1 << 16
EXPIRY_MOST_SECONDS: Final = 8 * 86_400
"""So far ahead a descriptor may expire."""
EARLY_SECONDS: Final = 600
"""So much the clock of who made it may be ahead of the network's."""

_ZERO_NONCE = bytes(AEAD_NONCE)  # the key is fresh with every salt


def next_revision(current: int, chance: Chance) -> int:
    """A later revision, by a random step: neither the time nor a count of what was published.

    After `stale` the endpoint passes the revision it fetched; 0 stands for none yet.
    """
    return current + 1 + chance.below(REVISION_STEP_MAX)


def build_descriptor(
    identity: IdentityKeys,
    descriptor: EndpointDescriptor,
    *,
    period: int,
    period_seconds: int,
    period_key: SigningKey,
    expiry: int,
    random_bytes: RandomBytes,
    nonce: bytes = NO_PROOF,
) -> bytes:
    """`geometry.DESCRIPTOR` bytes to store on the ring of `period`.

    `period_key` is an ordinary key for this period alone, certified until `expiry` (Unix seconds). `nonce`
    is a proof of work for the name and the period (core/endpoint/effort.py), and half of the salt.
    ValueError if the descriptor does not show this identity's own P and post-quantum key.
    """
    if (descriptor.P, descriptor.pq_public) != (identity.P, identity.pq_public):
        raise ValueError("the descriptor shows keys of another identity")
    blinded = identity.blind(period, period_seconds)
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
    """For who does not know the address: ProtocolError unless the blinded key vouches for it now.

    Whether the period is one that this relay serves, and the revision later than the one held, is the
    ring's to judge.
    """
    outer = Outer.decode_untrusted(data)
    if outer.expiry > wall + EXPIRY_MOST_SECONDS + EARLY_SECONDS:
        raise ProtocolError(Reason.DOCUMENT_FAR_FUTURE)
    _check_outer(outer, wall)
    return outer


def open_descriptor_untrusted(
    data: bytes, *, A: bytes, period: int, period_seconds: int, wall: int
) -> EndpointDescriptor:
    """For whoever knows the address: the descriptor, if everything about it holds; else ProtocolError."""
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
    if wall >= descriptor.expiry:
        raise ProtocolError(Reason.DOCUMENT_EXPIRED)
    return descriptor


def _check_outer(outer: Outer, wall: int) -> None:
    if wall >= outer.expiry:
        raise ProtocolError(Reason.DOCUMENT_EXPIRED)
    certified = period_key_signed(outer.period, outer.period_key, outer.expiry)
    verify_untrusted(outer.blinded, outer.certificate, certified)
    verify_untrusted(outer.period_key, outer.signature, outer.signed)


def _sealing_key(blinded: bytes, subcredential: bytes, revision: int, salt: bytes) -> bytes:
    """Known only to those who can make the subcredential, that is, who know the address."""
    return kdf("descriptor", blinded, subcredential, revision.to_bytes(8), salt)
