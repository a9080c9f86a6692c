"""HPKE: bytes that only the holder of one key can open, even against a quantum computer (SPEC 11, RFC 9180).

The KEM is ML-KEM-768 with X25519, with HKDF-SHA256 and AES-256-GCM, and one message per key. There is no AAD:
everything bound to the seal is in `info`.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from onionshh.errors import CryptoError
from onionshh.geometry import AEAD_TAG, HPKE_ENC, HPKE_KEY, KEM_KEY, KEY
from onionshh.ids import RandomBytes
from onionshh.reasons import Reason

_SUITE: Final = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_KEM_SEED: Final = 64


class SealKey:
    """The opening side: ML-KEM seed 64 ‖ X25519 private 32."""

    __slots__ = ("_bytes", "_key", "public")

    def __init__(self, kem_seed: bytes, x25519_private: bytes) -> None:
        kem = MLKEM768PrivateKey.from_seed_bytes(kem_seed)
        curve = X25519PrivateKey.from_private_bytes(x25519_private)
        self._bytes = kem_seed + x25519_private
        self._key = hpke.MLKEM768X25519PrivateKey(kem, curve)
        self.public: bytes = kem.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, random_bytes: RandomBytes) -> SealKey:
        return cls(random_bytes(_KEM_SEED), random_bytes(KEY))

    def to_bytes(self) -> bytes:
        """The 96 secret bytes, for a file of mode 0600."""
        return self._bytes

    @classmethod
    def from_bytes(cls, data: bytes) -> SealKey:
        """The inverse of `to_bytes`. CryptoError for a wrong length."""
        if len(data) != _KEM_SEED + KEY:
            raise CryptoError(Reason.KEY_SIZE)
        return cls(data[:_KEM_SEED], data[_KEM_SEED:])

    def open_untrusted(self, info: bytes, sealed: bytes) -> bytes:
        """The plaintext that `seal` sealed for this key and info, or CryptoError."""
        if len(sealed) < HPKE_ENC + AEAD_TAG:
            raise CryptoError(Reason.SEAL_SIZE)
        try:
            return _SUITE.decrypt(sealed, self._key, info)
        except Exception as error:
            raise CryptoError(Reason.SEAL_OPEN) from error

    def __repr__(self) -> str:
        return "SealKey()"


def seal(public: bytes, info: bytes, plaintext: bytes) -> bytes:
    """enc 1 120 ‖ ciphertext, 16 bytes longer than the plaintext, for a public key of 1 216 bytes.

    The key comes from someone else's descriptor. CryptoError if it is not a valid key, or if its curve part
    has small order.
    """
    if len(public) != HPKE_KEY:
        raise CryptoError(Reason.KEY_SIZE)
    try:
        kem = MLKEM768PublicKey.from_public_bytes(public[:KEM_KEY])
        curve = X25519PublicKey.from_public_bytes(public[KEM_KEY:])
        return _SUITE.encrypt(plaintext, hpke.MLKEM768X25519PublicKey(kem, curve), info)
    except Exception as error:
        raise CryptoError(Reason.SEAL_KEY) from error
