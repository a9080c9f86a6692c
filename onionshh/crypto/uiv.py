"""The cipher of one onion layer, UIV+: compiled where that was built, else in Python (SPEC 3).

Both give the same bytes; the compiled one takes a third of the time. ONIONSHH_PURE=1 chooses Python all the
same. This is the only place that chooses. Nothing else imports `_uiv` or `uiv_python`, but for tests.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from onionshh.crypto import uiv_python

PURE: Final = "ONIONSHH_PURE"
"""The environment variable. Empty and 0 are as if it was not set."""


class Encryptor(Protocol):
    """The non-malleable direction. A relay does only this to a cell."""

    def encrypt(self, tweak: bytes, left: bytes, right: bytes, /) -> tuple[bytes, bytes]:
        """XL of 16 bytes and XR of 493, under a tweak of 17 bytes."""

    def next_state(self, seed: bytes, /) -> bytes:
        """Update (SPEC 3): the next keys 64 ‖ nonce 16, from a 16-byte seed."""


class Decryptor(Protocol):
    """The inverse. A client does only this to its own circuit's cells."""

    def decrypt(self, tweak: bytes, left: bytes, right: bytes, /) -> tuple[bytes, bytes]:
        """XL of 16 bytes and XR of 493, under a tweak of 17 bytes."""

    def next_state(self, seed: bytes, /) -> bytes:
        """As `Encryptor.next_state`."""


@dataclass(frozen=True, slots=True)
class Cipher:
    """One way to do it. Both directions are made from a key of 64 bytes. `name`: for people."""

    name: str
    encryptor: Callable[[bytes], Encryptor]
    decryptor: Callable[[bytes], Decryptor]


PYTHON: Final = Cipher("Python", uiv_python.UIVEncryptor, uiv_python.UIVDecryptor)


def compiled() -> Cipher | None:
    """The compiled cipher, if it is there."""
    try:
        from onionshh.crypto import _uiv
    except ImportError:  # it was not built, or OpenSSL is not there any more
        return None
    return Cipher("compiled", _uiv.UIVEncryptor, _uiv.UIVDecryptor)


def _chosen() -> Cipher:
    wants_python = os.environ.get(PURE, "") not in ("", "0")
    return PYTHON if wants_python else compiled() or PYTHON


CIPHER: Final = _chosen()
"""The cipher of this process."""
