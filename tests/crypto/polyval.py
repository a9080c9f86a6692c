"""POLYVAL (RFC 8452), the hash of the published UIV+ vectors. Slow and plain: only tests use it."""

from __future__ import annotations

from onionshh.crypto.uiv_python import Hashes

BLOCK = 16
_MODULUS = 1 << 128 | 1 << 127 | 1 << 126 | 1 << 121 | 1


def polyval(key: bytes, data: bytes) -> bytes:
    """The data, filled with zeros to blocks of 16, evaluated at the key; 16 bytes, no length block."""
    h = int.from_bytes(key, "little")
    total = 0
    for at in range(0, len(data), BLOCK):
        total = _dot(total ^ int.from_bytes(data[at : at + BLOCK], "little"), h)
    return total.to_bytes(BLOCK, "little")


def _dot(a: int, b: int) -> int:
    """a · b · x^-128 in GF(2^128), bit by bit: add, then halve."""
    product = 0
    for bit in range(128):
        if a >> bit & 1:
            product ^= b
        if product & 1:
            product ^= _MODULUS
        product >>= 1
    return product


class _Keyed:
    def __init__(self, key: bytes) -> None:
        self._key = key

    def update(self, data: bytes) -> bytes:
        return polyval(self._key, data)

    def encrypt(self, nonce: bytes, nothing: bytes, data: bytes) -> bytes:
        return polyval(self._key, data)


POLYVAL = Hashes(universal=_Keyed, counter_start=_Keyed)
