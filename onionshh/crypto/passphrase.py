"""A secret on disk under a passphrase: scrypt makes the key, AES-256-GCM seals.

scrypt takes 128 MiB and about half a second here, so guessing is dear for whoever has a copy of the file. It
does not make a short passphrase a good one. The salt is drawn for each sealing, so a key is used once and the
nonce can be zeros.
"""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Final

from onionshh.crypto.primitives import aead_open, aead_seal
from onionshh.geometry import AEAD_NONCE, KEY
from onionshh.ids import RandomBytes

SALT: Final = 16
_N: Final = 2**17
_R: Final = 8
_P: Final = 1
_MEMORY: Final = 256 * _N * _R
"""Twice what scrypt takes; the library wants a limit."""


def seal_under(passphrase: str, secret: bytes, about: bytes, random_bytes: RandomBytes) -> bytes:
    """salt 16 ‖ ciphertext ‖ tag 16. `about` is not hidden, and cannot be changed either."""
    salt = random_bytes(SALT)
    return salt + aead_seal(_key(passphrase, salt), bytes(AEAD_NONCE), secret, about)


def open_under(passphrase: str, sealed: bytes, about: bytes) -> bytes:
    """The secret. CryptoError for another passphrase, and for bytes that were changed."""
    return aead_open(_key(passphrase, sealed[:SALT]), bytes(AEAD_NONCE), sealed[SALT:], about)


def _key(passphrase: str, salt: bytes) -> bytes:
    # One text has one form, whatever keyboard it was typed on.
    password = unicodedata.normalize("NFC", passphrase).encode()
    return hashlib.scrypt(password, salt=salt, n=_N, r=_R, p=_P, maxmem=_MEMORY, dklen=KEY)
