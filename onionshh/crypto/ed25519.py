"""Ed25519 with seeds, scalars and points, all by libsodium, so that all nodes agree (SPEC 9).

Scalars are 32 bytes, little-endian, below the group order L. libsodium does all arithmetic on secret scalars.
A point from outside is used only if it is canonical, in the group of order L, and not the identity.
"""

from __future__ import annotations

import hashlib

import nacl.bindings as sodium

from onionshh.crypto.primitives import equal
from onionshh.errors import CryptoError
from onionshh.geometry import HASH, KEY, POINT, SIGNATURE
from onionshh.ids import RandomBytes
from onionshh.reasons import Reason

_ZERO = bytes(KEY)


class SigningKey:
    """An ordinary Ed25519 key from a 32-byte seed (RFC 8032)."""

    __slots__ = ("_expanded", "public", "seed")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEY:
            raise CryptoError(Reason.KEY_SIZE)
        self.seed = seed
        public, expanded = sodium.crypto_sign_seed_keypair(seed)
        self.public: bytes = public
        self._expanded: bytes = expanded

    @classmethod
    def generate(cls, random_bytes: RandomBytes) -> SigningKey:
        return cls(random_bytes(KEY))

    def sign(self, message: bytes) -> bytes:
        """64 bytes, the same for the same message. `message` begins with its own "onionshh … v1" text."""
        signed: bytes = sodium.crypto_sign(message, self._expanded)
        return signed[:SIGNATURE]

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.hex()})"


def verify_untrusted(public: bytes, signature: bytes, message: bytes) -> None:
    """CryptoError unless `public` is a valid point and signed exactly `message`."""
    check_point_untrusted(public)
    if len(signature) != SIGNATURE:
        raise CryptoError(Reason.SIGNATURE_SIZE)
    try:
        sodium.crypto_sign_open(signature + message, public)
    except Exception as error:
        raise CryptoError(Reason.SIGNATURE) from error


def check_point_untrusted(point: bytes) -> None:
    """CryptoError unless the point is canonical, in the prime-order group and not the identity."""
    if len(point) != POINT:
        raise CryptoError(Reason.KEY_SIZE)
    if not sodium.crypto_core_ed25519_is_valid_point(point):
        raise CryptoError(Reason.KEY_POINT)


def reduce(wide: bytes) -> bytes:
    """64 bytes mod L. CryptoError for zero, which an honest hash or random value never gives."""
    scalar: bytes = sodium.crypto_core_ed25519_scalar_reduce(wide)
    if equal(scalar, _ZERO):
        raise CryptoError(Reason.SCALAR_ZERO)
    return scalar


def check_scalar_untrusted(scalar: bytes) -> None:
    """CryptoError unless the scalar is 32 bytes, reduced and not zero."""
    if len(scalar) != KEY or not equal(reduce(scalar + bytes(HASH)), scalar):
        raise CryptoError(Reason.SCALAR)


def add_scalars(a: bytes, b: bytes) -> bytes:
    """a + b mod L."""
    total: bytes = sodium.crypto_core_ed25519_scalar_add(a, b)
    return total


def multiply_scalars(a: bytes, b: bytes) -> bytes:
    """a · b mod L; either may be a clamped number above L."""
    product: bytes = sodium.crypto_core_ed25519_scalar_mul(a, b)
    return product


def base(scalar: bytes) -> bytes:
    """scalar · B, for a scalar that is not zero."""
    try:
        point: bytes = sodium.crypto_scalarmult_ed25519_base_noclamp(scalar)
    except Exception as error:
        raise CryptoError(Reason.SCALAR_ZERO) from error
    return point


def add_points(p: bytes, q: bytes) -> bytes:
    """P + Q, for points that are already checked."""
    try:
        total: bytes = sodium.crypto_core_ed25519_add(p, q)
    except Exception as error:
        raise CryptoError(Reason.KEY_POINT) from error
    return total


def multiply_point(scalar: bytes, p: bytes) -> bytes:
    """scalar · P, for a point that is already checked."""
    try:
        product: bytes = sodium.crypto_scalarmult_ed25519_noclamp(scalar, p)
    except Exception as error:
        raise CryptoError(Reason.KEY_POINT) from error
    return product


def sign_with_scalar(
    secret: bytes, public: bytes, nonce_secret: bytes, message: bytes, random: bytes
) -> bytes:
    """An Ed25519 signature under `public` = secret · B, for keys without a seed (blinded keys, boxes).

    The nonce is a hash over `nonce_secret`, the public key, 32 fresh random bytes and the message. The public
    key must be part of it: two keys of one identity with the same nonce would reveal the identity.
    """
    drawn = b"onionshh nonce v1" + nonce_secret + public + random + message
    r = reduce(hashlib.sha3_512(drawn).digest())
    commitment = base(r)
    challenge = reduce(hashlib.sha512(commitment + public + message).digest())
    return commitment + add_scalars(r, multiply_scalars(challenge, secret))
