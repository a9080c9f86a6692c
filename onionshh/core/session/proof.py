"""PROVE: a sender shows to one endpoint, in one session, which address is its own (SPEC 12).

`sender's address key 32 ‖ period u64 ‖ proof 32`. The proof follows from a Diffie-Hellman value of the two
rendezvous keys that both descriptors of that period show. So only the two of them can make it. The endpoint
could have made it itself, so it convinces nobody else. It is classical: anyone who can compute discrete
logarithms can forge it. Anyone who steals the endpoint's key can lie to the endpoint.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from onionshh.core.session.session import SessionId
from onionshh.crypto.primitives import KeyPair, dh, equal, kdf
from onionshh.errors import CryptoError, ProtocolError
from onionshh.geometry import KEY, PROVE_BODY
from onionshh.reasons import Reason

_LAYOUT: Final = struct.Struct(f">{KEY}sQ{KEY}s")
_U64: Final = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Proof:
    """The body of a PROVE. `sender`: the sender's address key. `value`: 32 bytes."""

    sender: bytes
    period: int
    value: bytes = field(repr=False)

    def encode(self) -> bytes:
        """The body, 72 bytes."""
        return _LAYOUT.pack(self.sender, self.period, self.value)

    @classmethod
    def decode_untrusted(cls, body: bytes) -> Proof:
        """A length check and slices. Raises ProtocolError."""
        if len(body) != PROVE_BODY:
            raise ProtocolError(Reason.PROVE_SHAPE)
        return cls(*_LAYOUT.unpack(body))

    def holds(self, session_id: SessionId, *, receiver: bytes, ours: KeyPair, theirs: bytes) -> bool:
        """Whether the sender has the private key of `theirs`, the rendezvous key in its descriptor of this
        period. `ours`: the receiver's pair of this period; `receiver`: its address key."""
        try:
            expected = _value(ours, theirs, session_id, self.sender, receiver, self.period)
        except CryptoError:  # a key of small order
            return False
        return equal(expected, self.value)


def prove(
    session_id: SessionId, *, sender: bytes, receiver: bytes, period: int, ours: KeyPair, theirs: bytes
) -> Proof:
    """The proof for this session. `ours`: the sender's pair of that period; `theirs`: the rendezvous key in
    the receiver's descriptor of that period. Raises CryptoError for a key of small order."""
    return Proof(sender, period, _value(ours, theirs, session_id, sender, receiver, period))


def _value(
    ours: KeyPair, theirs: bytes, session_id: SessionId, sender: bytes, receiver: bytes, period: int
) -> bytes:
    shared = dh(ours.private, theirs)
    return kdf("sender", shared, session_id, sender, receiver, _U64.pack(period))
