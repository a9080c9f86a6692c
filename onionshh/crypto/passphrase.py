"""What only the holder of a passphrase can open: a secret in one piece, or a file in chunks of 64 KiB.

The key comes from scrypt with fixed costs (n 2^17, r 8, p 1: 128 MiB and some tenths of a second). So
guessing is dear for whoever has a copy of the file, and a file cannot ask for more. It does not make a short
passphrase a good one. AES-256-GCM seals. The salt is drawn for each sealing, so a key is used once: a secret
in one piece has a nonce of zeros. A chunk's nonce is its number and whether it is the last, so no chunk can
be left out, moved or added, and the end cannot be cut off.
"""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Final

from onionshh.crypto.primitives import aead_open, aead_seal
from onionshh.geometry import AEAD_NONCE, AEAD_TAG, KEY
from onionshh.ids import RandomBytes

CHUNK: Final = 64 * 1024
SEALED_CHUNK: Final = CHUNK + AEAD_TAG
SALT: Final = 16
_N: Final = 2**17
_R: Final = 8
_MEMORY: Final = 256 * _N * _R
"""Twice what scrypt takes; the library wants a limit."""


def passphrase_key(passphrase: str, salt: bytes) -> bytes:
    """32 bytes. One text has one key, whatever keyboard it was typed on."""
    password = unicodedata.normalize("NFC", passphrase).encode()
    return hashlib.scrypt(password, salt=salt, n=_N, r=_R, p=1, maxmem=_MEMORY, dklen=KEY)


def seal_under(passphrase: str, secret: bytes, about: bytes, random_bytes: RandomBytes) -> bytes:
    """salt 16 ‖ ciphertext ‖ tag 16. `about` is not hidden, and cannot be changed either."""
    salt = random_bytes(SALT)
    return salt + aead_seal(passphrase_key(passphrase, salt), bytes(AEAD_NONCE), secret, about)


def open_under(passphrase: str, sealed: bytes, about: bytes) -> bytes:
    """The secret. CryptoError for another passphrase, and for bytes that were changed."""
    return aead_open(passphrase_key(passphrase, sealed[:SALT]), bytes(AEAD_NONCE), sealed[SALT:], about)


class ChunkCipher:
    """Seals or opens the chunks of one file in order. `head`: what stands before them, bound to each."""

    __slots__ = ("_head", "_key", "_number")

    def __init__(self, key: bytes, head: bytes) -> None:
        self._key = key
        self._head = head
        self._number = 0

    def seal(self, chunk: bytes, *, last: bool) -> bytes:
        """The next chunk, 16 bytes longer. All but the last are 64 KiB."""
        return aead_seal(self._key, self._nonce(last), chunk, self._head)

    def open_untrusted(self, sealed: bytes, *, last: bool) -> bytes:
        """The inverse of `seal`, or CryptoError."""
        return aead_open(self._key, self._nonce(last), sealed, self._head)

    def _nonce(self, last: bool) -> bytes:
        self._number += 1
        return self._number.to_bytes(11, "big") + bytes((last,))

    def __repr__(self) -> str:
        return "ChunkCipher()"
