"""The key exchange that renews a session: X25519 and ML-KEM-768 together (SPEC 12).

It needs no authentication of its own: both messages travel inside a session, and the session's old secret
goes into the new one. One side offers X and EK, the other answers Y and CT.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey

from onionshh.crypto.primitives import KeyPair, dh
from onionshh.errors import CryptoError
from onionshh.geometry import KEM_CIPHERTEXT, KEM_KEY, POINT
from onionshh.ids import RandomBytes
from onionshh.reasons import Reason

OFFER: Final = POINT + KEM_KEY
"""Bytes of an offer: X 32 ‖ EK 1 184."""
ANSWER: Final = POINT + KEM_CIPHERTEXT
"""Bytes of an answer: Y 32 ‖ CT 1 088."""
_KEM_SEED: Final = 64
SEED: Final = POINT + _KEM_SEED
"""Bytes from which an offer comes."""


class Offer:
    """The asking side of one exchange, in memory only. `public`: the bytes of the offer."""

    __slots__ = ("_curve", "_kem", "public")

    def __init__(self, random_bytes: RandomBytes) -> None:
        self._curve = KeyPair.generate(random_bytes)
        self._kem = MLKEM768PrivateKey.from_seed_bytes(random_bytes(_KEM_SEED))
        self.public: bytes = self._curve.public + self._kem.public_key().public_bytes_raw()

    @classmethod
    def of_seed(cls, seed: bytes) -> Offer:
        """The offer that comes from these 96 secret bytes, the same each time."""
        left = iter((seed[:POINT], seed[POINT:]))
        return cls(lambda size: next(left)[:size])

    def __repr__(self) -> str:
        return "Offer()"

    def finish_untrusted(self, answer: bytes) -> tuple[bytes, bytes]:
        """The two shared secrets, 32 bytes each: of X25519 and of ML-KEM. Raises CryptoError."""
        if len(answer) != ANSWER:
            raise CryptoError(Reason.KEY_SIZE)
        try:
            kem = self._kem.decapsulate(answer[POINT:])
        except Exception as error:
            raise CryptoError(Reason.HANDSHAKE_KEM_CIPHERTEXT) from error
        return dh(self._curve.private, answer[:POINT]), kem


def respond_untrusted(offer: bytes, random_bytes: RandomBytes) -> tuple[bytes, bytes, bytes]:
    """The answer to an offer, then the two shared secrets as in `Offer.finish_untrusted`. Raises
    CryptoError."""
    if len(offer) != OFFER:
        raise CryptoError(Reason.KEY_SIZE)
    curve = KeyPair.generate(random_bytes)
    shared = dh(curve.private, offer[:POINT])
    try:
        kem, ciphertext = MLKEM768PublicKey.from_public_bytes(offer[POINT:]).encapsulate()
    except Exception as error:  # a key whose coefficients are out of range
        raise CryptoError(Reason.HANDSHAKE_KEM_KEY) from error
    return curve.public + ciphertext, shared, kem
