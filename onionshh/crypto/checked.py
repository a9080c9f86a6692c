"""A document nobody has verified yet cannot be read: it is wrapped, and the one way in checks (SPEC 8, 10).

A parser hands out an `Unverified[T]`; the signature and the dates are judged in one place, and code that
forgets to do so has no `T` to work with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from onionshh.crypto.identity import verify_untrusted
from onionshh.errors import CryptoError, ProtocolError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, repr=False)
class Unverified(Generic[T]):
    """A parsed value with the bytes, signature, key and dates it claims.

    `message` is exactly what was signed, `claimed_key` what the document says signed it, and the dates
    are Unix seconds: good from `not_before` up to, not including, `not_after`.
    """

    _value: T
    message: bytes
    signature: bytes
    claimed_key: bytes
    not_before: int = 0
    not_after: int = field(default=2**63 - 1)

    def check_untrusted(self, key: bytes, *, wall: int) -> T:
        """The value, if `key` signed it and it is valid at `wall`; else ProtocolError.

        For a document that vouches for itself alone (a relay's descriptor), `key` is `claimed_key`.
        """
        if key != self.claimed_key:
            raise CryptoError("document-key")
        verify_untrusted(key, self.signature, self.message)
        if wall < self.not_before:
            raise ProtocolError("document-not-yet")
        if wall >= self.not_after:
            raise ProtocolError("document-expired")
        return self._value

    def __repr__(self) -> str:
        return "Unverified()"
