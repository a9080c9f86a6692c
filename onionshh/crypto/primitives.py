"""The few primitives that everything else uses (SPEC 4, 5).

The whole project has one key derivation: SHAKE-256 over length-prefixed parts. The first part names the
purpose, so no two purposes can share an input. AES-256-GCM is the only AEAD and SHA-3 the only hash. X25519
(libsodium's, the fastest available) is the only Diffie-Hellman. A library's exception stops here.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass, field
from typing import Final

import nacl.bindings as sodium
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from onionshh.errors import CryptoError
from onionshh.geometry import AEAD_NONCE, KEY, POINT
from onionshh.ids import RandomBytes
from onionshh.reasons import Reason

FRAMES_PER_KEY: Final = 1 << 20

_LENGTH = struct.Struct(">Q")
_ZERO_POINT = bytes(POINT)


def encap(data: bytes) -> bytes:
    """u64 length ‖ data. It keeps neighbouring fields in a hash apart."""
    return _LENGTH.pack(len(data)) + data


def kdf(label: str, *parts: bytes, length: int = KEY) -> bytes:
    """`length` bytes for the purpose `label`, from any number of parts (SPEC 4)."""
    state = hashlib.shake_256(encap(b"onionshh1:" + label.encode()))
    for part in parts:
        state.update(encap(part))
    return state.digest(length)


def sha3_256(*parts: bytes) -> bytes:
    """SHA3-256 of the parts, one after another, 32 bytes."""
    return hashlib.sha3_256(b"".join(parts)).digest()


def sha3_512(*parts: bytes) -> bytes:
    """SHA3-512 of the parts, one after another, 64 bytes."""
    return hashlib.sha3_512(b"".join(parts)).digest()


def equal(a: bytes, b: bytes) -> bool:
    """Whether two strings are the same. The time it takes does not show where they differ."""
    return hmac.compare_digest(a, b)


def aead_seal(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes = b"") -> bytes:
    """AES-256-GCM: ciphertext ‖ tag 16. The key is 32 and the nonce 12 bytes; never use a pair twice."""
    return _gcm(key).encrypt(_exact_nonce(nonce), plaintext, aad)


def aead_open(key: bytes, nonce: bytes, ciphertext: bytes, aad: bytes = b"") -> bytes:
    """The plaintext; CryptoError if ciphertext, tag, nonce or aad is not what was sealed."""
    try:
        return _gcm(key).decrypt(_exact_nonce(nonce), ciphertext, aad)
    except Exception as error:  # InvalidTag, ValueError: callers see one type
        raise CryptoError(Reason.AEAD_OPEN) from error


def dh(private: bytes, public: bytes) -> bytes:
    """X25519. CryptoError if the result is zero, which small-order points give."""
    if len(public) != POINT:
        raise CryptoError(Reason.KEY_SIZE)
    try:
        shared: bytes = sodium.crypto_scalarmult(private, public)
    except Exception as error:  # libsodium refuses a zero result; we check it too
        raise CryptoError(Reason.KEY_SMALL_ORDER) from error
    if equal(shared, _ZERO_POINT):
        raise CryptoError(Reason.KEY_SMALL_ORDER)
    return shared


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An X25519 key pair, 32 bytes each."""

    private: bytes = field(repr=False)
    public: bytes

    @classmethod
    def generate(cls, random_bytes: RandomBytes) -> KeyPair:
        return cls.from_private(random_bytes(KEY))

    @classmethod
    def from_private(cls, private: bytes) -> KeyPair:
        """The pair of a stored private key. CryptoError if the key is not 32 bytes."""
        if len(private) != KEY:
            raise CryptoError(Reason.KEY_SIZE)
        return cls(private, sodium.crypto_scalarmult_base(private))


class FrameCipher:
    """One direction of a link: AES-256-GCM with a counter as the nonce (SPEC 5).

    The counter is never reset while the link lives. Every `frames_per_key` frames a hash of the key replaces
    the key. This bounds what one key protects and what a stolen key opens. A frame that does not open makes
    the cipher dead: the stream has no second try.
    """

    __slots__ = ("_aead", "_counter", "_dead", "_frames_per_key", "_key")

    def __init__(self, key: bytes, *, frames_per_key: int = FRAMES_PER_KEY) -> None:
        self._key = key
        self._aead = _gcm(key)
        self._counter = 0
        self._dead = False
        self._frames_per_key = frames_per_key

    def seal(self, plaintext: bytes, aad: bytes) -> bytes:
        """The next frame's ciphertext ‖ tag 16."""
        nonce = self._next_nonce()  # before `_aead` is used: this may change the key
        return self._aead.encrypt(nonce, plaintext, aad)

    def open(self, ciphertext: bytes | memoryview, aad: bytes) -> bytes:
        """The next frame's plaintext. After one CryptoError, every later call raises it too."""
        if self._dead:
            raise CryptoError(Reason.FRAME_OPEN)
        nonce = self._next_nonce()
        try:
            return self._aead.decrypt(nonce, ciphertext, aad)
        except Exception as error:
            self._dead = True
            raise CryptoError(Reason.FRAME_OPEN) from error

    def _next_nonce(self) -> bytes:
        counter = self._counter
        if counter and counter % self._frames_per_key == 0:
            self._key = kdf("rekey", self._key)
            self._aead = _gcm(self._key)
        self._counter = counter + 1
        return counter.to_bytes(AEAD_NONCE, "big")


def _gcm(key: bytes) -> AESGCM:
    if len(key) != KEY:  # AESGCM would also accept 16 bytes, as AES-128
        raise CryptoError(Reason.KEY_SIZE)
    return AESGCM(key)


def _exact_nonce(nonce: bytes) -> bytes:
    if len(nonce) != AEAD_NONCE:  # GCM hashes other lengths, so one nonce could have two forms
        raise CryptoError(Reason.NONCE_SIZE)
    return nonce
