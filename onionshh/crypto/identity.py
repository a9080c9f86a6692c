"""An endpoint's identity, its address, and the keys it shows for one period (SPEC 9).

The address names A = P + c·B, where c is a hash of an Ed25519 point P and an ML-DSA-65 key. So A is an
ordinary key that can be blinded for each period. A is also a commitment: a P and a post-quantum key with
A = P + c·B are the keys of this address. Even someone who can compute discrete logarithms cannot find
another opening. Nobody can sign a descriptor without the ML-DSA secret.

Blinding is Tor's (v3), with our own constants. The constants are an argument, so a test runs Tor's known
answer through the same functions.
"""

from __future__ import annotations

import struct
import unicodedata
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

from onionshh.crypto import bech32m
from onionshh.crypto.ed25519 import (
    SigningKey,
    add_points,
    add_scalars,
    base,
    check_point_untrusted,
    check_scalar_untrusted,
    multiply_point,
    multiply_scalars,
    reduce,
    sign_with_scalar,
    verify_untrusted,
)
from onionshh.crypto.primitives import equal, kdf, sha3_256, sha3_512
from onionshh.errors import BadAddress, CryptoError
from onionshh.geometry import HASH, KEY, POINT, PQ_KEY, PQ_SIGNATURE
from onionshh.ids import RandomBytes
from onionshh.reasons import Reason

__all__ = [
    "ONIONSHH",
    "BlindedKey",
    "Blinding",
    "IdentityKeys",
    "SigningKey",
    "blind_public",
    "check_opening_untrusted",
    "check_point_untrusted",
    "decode_address_untrusted",
    "encode_address",
    "subcredential",
    "verify_pq_untrusted",
    "verify_untrusted",
]

_PREFIX: Final = "shh"
_VERSION: Final = 1
_ADDRESS_BYTES: Final = 1 + POINT
_ADDRESS_LETTERS: Final = 63
_TEXT_MOST: Final = 4096
_SCHEME: Final = f"{_PREFIX}:"
_AROUND: Final = "\"'`´“”„‟‘’‚‛«»‹›<>()[]{}.,;:!?/|*~"
"""Characters that may surround an address in a letter or a program, and are never inside one."""
_PERIOD = struct.Struct(">QQ")
_STORED: Final = 1 + KEY + KEY + KEY


@dataclass(frozen=True, slots=True)
class Blinding:
    """The texts that make one blinding scheme different from another."""

    blind: bytes
    base_point: bytes
    period: bytes
    credential: bytes
    subcredential: bytes

    def factor(self, public: bytes, period: int, period_length: int) -> bytes:
        """h, clamped: a number of 255 bits, a multiple of 8."""
        number = bytearray(
            sha3_256(self.blind, public, self.base_point, self.period, _PERIOD.pack(period, period_length))
        )
        number[0] &= 248
        number[31] = number[31] & 63 | 64
        return bytes(number)


ONIONSHH: Final = Blinding(
    blind=b"onionshh blind v1",
    base_point=b"",
    period=b"onionshh period v1",
    credential=b"onionshh credential v1",
    subcredential=b"onionshh subcredential v1",
)


def blind_public(A: bytes, period: int, period_seconds: int, scheme: Blinding = ONIONSHH) -> bytes:
    """A' = hA: this endpoint's name on the ring in this period. CryptoError if A is not a valid point."""
    check_point_untrusted(A)
    return multiply_point(scheme.factor(A, period, period_seconds), A)


def subcredential(A: bytes, A_blinded: bytes, scheme: Blinding = ONIONSHH) -> bytes:
    """32 bytes for this period's key. Only someone who knows the address can make them."""
    return sha3_256(scheme.subcredential, sha3_256(scheme.credential, A), A_blinded)


@dataclass(frozen=True, slots=True)
class BlindedKey:
    """An identity's key for one period: `public` A', its subcredential, and the right to sign."""

    public: bytes
    subcredential: bytes = field(repr=False)
    _secret: bytes = field(repr=False)
    _nonce_secret: bytes = field(repr=False)

    def sign(self, message: bytes, random_bytes: RandomBytes) -> bytes:
        """64 bytes, an ordinary Ed25519 signature under `public`."""
        return sign_with_scalar(self._secret, self.public, self._nonce_secret, message, random_bytes(KEY))


def blind_secret(
    a: bytes, nonce_secret: bytes, A: bytes, period: int, period_seconds: int, scheme: Blinding = ONIONSHH
) -> BlindedKey:
    """a' = ha with everything that belongs to it; `A` is a·B."""
    secret = multiply_scalars(scheme.factor(A, period, period_seconds), a)
    public = blind_public(A, period, period_seconds, scheme)
    if not equal(base(secret), public):
        raise CryptoError(Reason.BLINDING)
    return BlindedKey(public, subcredential(A, public, scheme), secret, nonce_secret)


def encode_address(A: bytes) -> str:
    """The address text, `shh1…`, 63 characters, of the 32 bytes A."""
    return bech32m.encode(_PREFIX, bytes((_VERSION,)) + A)


def decode_address_untrusted(text: str) -> bytes:
    """A: 32 bytes, a valid point. BadAddress says what is wrong.

    This first removes all blanks and line breaks, quotes, brackets and full stops around the address, and
    `shh:` or `shh://` before it. The checksum then shows whether the rest is an address.
    """
    if not isinstance(text, str):
        raise TypeError(f"An address is text (str), not {type(text).__name__}.")
    if len(text) > _TEXT_MOST:
        raise BadAddress(f"An address has {_ADDRESS_LETTERS} characters, and this text has {len(text)}.")
    address = _bare(text)
    if not address:
        raise BadAddress(f'An address begins with "{_PREFIX}1", and this text is empty.')
    try:
        data = bech32m.decode_untrusted(_PREFIX, address)
    except bech32m.BadChecksum:
        more = len(address) - _ADDRESS_LETTERS
        if not more:
            raise
        amount = f"{more} too many" if more > 0 else f"{-more} missing"
        raise BadAddress(
            f"An address has {_ADDRESS_LETTERS} characters and this one has {len(address)}, {amount};"
            " copy the whole address again."
        ) from None
    if not data or data[0] != _VERSION:
        raise BadAddress("This program does not know this version of address.")
    if len(data) != _ADDRESS_BYTES:
        raise BadAddress("This address has a wrong length; copy the whole address again.")
    try:
        check_point_untrusted(data[1:])
    except CryptoError:
        raise BadAddress("This address does not contain a valid key, so nobody can answer at it.") from None
    return data[1:]


def _bare(text: str) -> str:
    """The text without what surrounds a pasted address, and without invisible characters."""
    seen = "".join(
        letter for letter in text if not letter.isspace() and unicodedata.category(letter) != "Cf"
    ).strip(_AROUND)
    if seen[: len(_SCHEME)].lower() == _SCHEME:
        seen = seen[len(_SCHEME) :].strip(_AROUND)
    if seen[:1] == "S" and seen[1:] == seen[1:].lower():  # a phone wrote a capital first letter
        return seen.lower()
    return seen


def check_opening_untrusted(A: bytes, P: bytes, pq_public: bytes) -> None:
    """CryptoError unless A = P + H(P ‖ bundle)·B: P and the ML-DSA key are this address's own."""
    check_point_untrusted(A)
    check_point_untrusted(P)
    if len(pq_public) != PQ_KEY:
        raise CryptoError(Reason.KEY_SIZE)
    if not equal(add_points(P, base(_opening(P, pq_public))), A):
        raise CryptoError(Reason.ADDRESS_OPENING)


def verify_pq_untrusted(pq_public: bytes, signature: bytes, message: bytes) -> None:
    """CryptoError unless this ML-DSA-65 key signed exactly `message`."""
    if len(pq_public) != PQ_KEY or len(signature) != PQ_SIGNATURE:
        raise CryptoError(Reason.SIGNATURE_SIZE)
    try:
        MLDSA65PublicKey.from_public_bytes(pq_public).verify(signature, message)
    except Exception as error:
        raise CryptoError(Reason.SIGNATURE) from error


class IdentityKeys:
    """All secrets of one endpoint: p, the ML-DSA seed, and the secret that goes into its nonces."""

    __slots__ = ("A", "P", "_a", "_nonce_secret", "_p", "_pq", "_pq_seed", "address", "pq_public")

    def __init__(self, p: bytes, pq_seed: bytes, nonce_secret: bytes) -> None:
        check_scalar_untrusted(p)
        self._p = p
        self._pq_seed = pq_seed
        self._nonce_secret = nonce_secret
        self._pq = MLDSA65PrivateKey.from_seed_bytes(pq_seed)
        self.pq_public = self._pq.public_key().public_bytes_raw()
        self.P = base(p)
        self._a = add_scalars(p, _opening(self.P, self.pq_public))
        self.A = base(self._a)
        self.address = encode_address(self.A)
        check_opening_untrusted(self.A, self.P, self.pq_public)

    @classmethod
    def generate(cls, random_bytes: RandomBytes) -> Self:
        """New secrets."""
        return cls(reduce(random_bytes(2 * HASH)), random_bytes(KEY), random_bytes(KEY))

    def to_bytes(self) -> bytes:
        """Version 1 ‖ p 32 ‖ ML-DSA seed 32 ‖ nonce secret 32, for a file of mode 0600."""
        return bytes((_VERSION,)) + self._p + self._pq_seed + self._nonce_secret

    @classmethod
    def from_bytes_untrusted(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`, or CryptoError."""
        if len(data) != _STORED or data[0] != _VERSION:
            raise CryptoError(Reason.IDENTITY_SHAPE)
        return cls(data[1 : 1 + KEY], data[1 + KEY : 1 + 2 * KEY], data[1 + 2 * KEY :])

    def blind(self, period: int, period_seconds: int) -> BlindedKey:
        """The key under which visitors find this endpoint in this period."""
        return blind_secret(self._a, self._nonce_secret, self.A, period, period_seconds)

    def author_key(self, topic_secret: bytes) -> SigningKey:
        """The key of this endpoint as an author on the board of one topic (SPEC 14). Nobody can link it to
        the address, or to its key on another board."""
        return SigningKey(kdf("author", self._nonce_secret, topic_secret))

    def sign_pq(self, message: bytes) -> bytes:
        """An ML-DSA-65 signature, 3 309 bytes."""
        return self._pq.sign(message)

    def __repr__(self) -> str:
        return "IdentityKeys()"


def _opening(P: bytes, pq_public: bytes) -> bytes:
    """c, which ties the point and the post-quantum key to A."""
    return reduce(sha3_512(b"onionshh address v1", P, sha3_256(pq_public)))
