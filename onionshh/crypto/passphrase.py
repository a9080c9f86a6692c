"""Bytes that only the holder of a passphrase can open, in chunks of 64 KiB.

The key comes from scrypt with fixed costs (n 2^17, r 8, p 1: 128 MiB and some tenths of a second), so that a
file cannot ask for more. Each chunk is sealed with AES-256-GCM. Its nonce is its number and whether it is the
last, so no chunk can be left out, moved or added, and the end cannot be cut off.
"""

from __future__ import annotations

import hashlib
from typing import Final

from onionshh.crypto.primitives import aead_open, aead_seal
from onionshh.geometry import AEAD_TAG, KEY

CHUNK: Final = 64 * 1024
SEALED_CHUNK: Final = CHUNK + AEAD_TAG
SALT: Final = 32
_COST: Final = 1 << 17
_BLOCK: Final = 8
_MEMORY: Final = 256 * 1024 * 1024


def passphrase_key(passphrase: bytes, salt: bytes) -> bytes:
    """32 bytes. A salt of 32 random bytes is for one file."""
    return hashlib.scrypt(passphrase, salt=salt, n=_COST, r=_BLOCK, p=1, maxmem=_MEMORY, dklen=KEY)


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
