"""UIV+: the wide-block cipher of one onion layer (SPEC 3; Tor proposal 359, eprint 2025/583).

A cell body of 509 bytes is one block XL 16 ‖ XR 493. A hash of the tweak and XR masks one AES call over XL.
The result Y seeds the keystream for XR. If any bit changes before enciphering, everything becomes noise. That
is true for enciphering only. So the two directions are two types: a relay holds a `UIVEncryptor` and cannot
decipher by mistake, and a client's `UIVDecryptor` cannot encipher.

The two hashes are arguments. Production uses GMAC with a fixed nonce, and AES; both are fast here. Tests use
POLYVAL and reproduce the published vectors through the same lines. A GMAC under a repeated nonce is a sound
universal hash *only* while its output stays masked. So it is used only inside these two methods, and is never
stored, returned or logged. Its key has no other use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import local
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from onionshh.geometry import AEAD_NONCE, LAYER_KEYS, LAYER_STATE, PAYLOAD, TAG


class Mac(Protocol):
    """Bytes to 16 bytes under a key, with an AEAD's signature. This and `Block` take the library's objects
    directly: a bound method or partial around each would cost a cold cache line per cell."""

    def encrypt(self, nonce: bytes, nothing: bytes, data: bytes, /) -> bytes: ...


class Block(Protocol):
    """16 bytes to 16 bytes under a key, with a cipher context's signature."""

    def update(self, data: bytes, /) -> bytes: ...


class _Contexts(local):
    """Makes AES contexts, all with one shared algorithm object, which gets each key in turn.

    A context reads the key only when it is made. With an algorithm object of its own it would keep a copy of
    the key as long as it lives. That would be a third of the time to make a context, and a quarter of a
    circuit's memory at a relay. Each thread has one object, so no other thread can change the key between
    setting and reading it.
    """

    def __init__(self) -> None:
        self._aes = algorithms.AES128(bytes(16))
        self._ecb = Cipher(self._aes, modes.ECB())
        self._ctr = Cipher(self._aes, modes.CTR(bytes(16)))

    def block_encryptor(self, key: bytes) -> Block:
        self._aes.key = key
        return self._ecb.encryptor()

    def block_decryptor(self, key: bytes) -> Block:
        self._aes.key = key
        return self._ecb.decryptor()

    def keystream(self, key: bytes) -> Any:
        self._aes.key = key
        return self._ctr.encryptor()


_contexts: Final = _Contexts()
_FIXED_NONCE: Final = bytes(AEAD_NONCE)
_int: Final = int.from_bytes


@dataclass(frozen=True, slots=True)
class Hashes:
    """The universal hash over tweak ‖ XR, and the hash that chooses where the keystream starts."""

    universal: Callable[[bytes], Mac]
    counter_start: Callable[[bytes], Block]


GMAC: Final = Hashes(universal=AESGCM, counter_start=_contexts.block_encryptor)

# The low six bits of a counter start are clear, so both keystreams of one start (block 0 for the cell,
# block 31 for the next keys, 36 in all) lie below the next possible start.
_LOW_CLEAR: Final = tuple(bytes((low & 0xC0,)) for low in range(256))
_BLOCK: Final = 16
_UPDATE_BLOCK: Final = -(-PAYLOAD // _BLOCK)
_UPDATE_AT: Final = tuple(bytes((low & 0xC0 | _UPDATE_BLOCK,)) for low in range(256))


class _UIV:
    """What both directions share: the key's parts KB ‖ KU ‖ K ‖ B, and the keystream."""

    __slots__ = ("_block", "_keystream", "_start", "_universal")

    _block: Block

    def __init__(self, keys: bytes, hashes: Hashes) -> None:
        if len(keys) != LAYER_KEYS:
            raise ValueError(f"an onion layer's key is {LAYER_KEYS} bytes")
        self._universal = hashes.universal(keys[16:32])
        # The CTR context is kept and gets a new nonce per cell: a new context would cost more than the cell.
        self._keystream: Any = _contexts.keystream(keys[32:48])
        self._start = hashes.counter_start(keys[48:64])

    def next_state(self, seed: bytes) -> bytes:
        """Update (SPEC 3): the next keys 64 ‖ nonce 16, from a 16-byte seed."""
        start = self._start.update(seed)
        self._keystream.reset_nonce(start[:15] + _UPDATE_AT[start[15]])
        state: bytes = self._keystream.update(bytes(LAYER_STATE))
        return state


class UIVEncryptor(_UIV):
    """The non-malleable direction. A relay does only this to a cell."""

    __slots__ = ()

    def __init__(self, keys: bytes, hashes: Hashes = GMAC) -> None:
        super().__init__(keys, hashes)
        self._block = _contexts.block_encryptor(keys[:16])

    def encrypt(self, tweak: bytes, left: bytes, right: bytes) -> tuple[bytes, bytes]:
        """XL of 16 bytes and XR of 493, under a tweak of 17 bytes."""
        mask = _int(self._universal.encrypt(_FIXED_NONCE, b"", tweak + right))
        left = (_int(left) ^ mask).to_bytes(TAG)
        left = (_int(self._block.update(left)) ^ mask).to_bytes(TAG)
        start = self._start.update(left)
        keystream = self._keystream
        keystream.reset_nonce(start[:15] + _LOW_CLEAR[start[15]])
        return left, keystream.update(right)


class UIVDecryptor(_UIV):
    """The inverse. A client does only this to its own circuit's cells."""

    __slots__ = ()

    def __init__(self, keys: bytes, hashes: Hashes = GMAC) -> None:
        super().__init__(keys, hashes)
        self._block = _contexts.block_decryptor(keys[:16])

    def decrypt(self, tweak: bytes, left: bytes, right: bytes) -> tuple[bytes, bytes]:
        """XL of 16 bytes and XR of 493, under a tweak of 17 bytes."""
        start = self._start.update(left)
        keystream = self._keystream
        keystream.reset_nonce(start[:15] + _LOW_CLEAR[start[15]])
        right = keystream.update(right)
        mask = _int(self._universal.encrypt(_FIXED_NONCE, b"", tweak + right))
        left = (_int(left) ^ mask).to_bytes(TAG)
        return (_int(self._block.update(left)) ^ mask).to_bytes(TAG), right
