"""What a relay signs with: its identity, or a signing key for which its identity has signed (SPEC 8).

The identity may be kept away from the relay, as a master key on another machine. Then the relay holds a
signing key, and a certificate of it:

    signing    key 32 ‖ expires u64 ‖ certificate 64
    certificate, by the identity, over "onionshh relay signing v1" ‖ key ‖ expires

The identity is not in that text, because nobody but the identity can make the signature under its key. Who
reads a certificate checks the signature first and its end after that. Each reader has a clock of its own to
judge by, so `open_signing_untrusted` does not look at dates.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from onionshh import geometry as g
from onionshh.crypto.identity import SigningKey, verify_untrusted
from onionshh.errors import CryptoError, ProtocolError
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.wire.descriptor import SIGNING

MOST_SECONDS = 400 * 86_400
"""A certificate may last this long from now. A longer one makes a stolen disk as bad as a stolen master."""
CLOCK_SECONDS = 600
"""For how long after its end a certificate still counts on a link, since clocks differ."""

_EXPIRES = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Certificate:
    """The public half of a signing key, with the end of its time in Unix seconds."""

    key: bytes
    expires: int
    signature: bytes = field(repr=False)

    def encode(self) -> bytes:
        """As it stands in descriptors and on links."""
        return self.key + _EXPIRES.pack(self.expires) + self.signature


def signing_text(key: bytes, expires: int) -> bytes:
    """The bytes that the identity signs."""
    return b"onionshh relay signing v1" + key + _EXPIRES.pack(expires)


def certify(master: SigningKey, key: bytes, expires: int) -> Certificate:
    """A certificate for the public key `key` until `expires` (Unix seconds)."""
    return Certificate(key, expires, master.sign(signing_text(key, expires)))


def open_signing_untrusted(identity: RelayId, signing: bytes) -> Certificate:
    """The certificate in these bytes, if `identity` signed it. ProtocolError. Its end is not looked at."""
    if len(signing) != SIGNING:
        raise ProtocolError(Reason.CERTIFICATE)
    key, rest = signing[: g.KEY], signing[g.KEY :]
    (expires,) = _EXPIRES.unpack_from(rest)
    certificate = Certificate(key, expires, rest[_EXPIRES.size :])
    try:
        verify_untrusted(identity, certificate.signature, signing_text(key, expires))
    except CryptoError as error:
        raise ProtocolError(Reason.CERTIFICATE) from error
    return certificate


def expires_of(signing: bytes) -> int:
    """When the time of a signing key ends, Unix seconds. For bytes that were checked before."""
    (expires,) = _EXPIRES.unpack_from(signing, g.KEY)
    return int(expires)


def is_over(certificate: Certificate, earliest: int) -> bool:
    """Whether its time has certainly ended. `earliest`: a time that has certainly passed, as far as
    consensuses can tell, Unix seconds."""
    return earliest >= certificate.expires + CLOCK_SECONDS


@dataclass(frozen=True, slots=True)
class RelaySigner:
    """What signs in the name of a relay. Without a certificate, `key` is the identity itself."""

    identity: RelayId
    key: SigningKey = field(repr=False)
    certificate: Certificate | None = None

    @classmethod
    def of(cls, identity: SigningKey) -> RelaySigner:
        """For a relay that has its identity at hand."""
        return cls(RelayId(identity.public), identity)

    @property
    def signing(self) -> bytes:
        """The descriptor's field: empty, or the encoded certificate."""
        return self.certificate.encode() if self.certificate is not None else b""

    def sign(self, message: bytes) -> bytes:
        """64 bytes. `message` begins with a text of its own."""
        return self.key.sign(message)
