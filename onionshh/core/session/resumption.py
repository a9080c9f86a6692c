"""RESUME: one cell that goes on with a session, and the keys of the circuits that meet after it (SPEC 12).

```
auth key 32 ‖ kind 2 ‖ tag 16 ‖ salt 12 ‖ sealed 428
plain 412 = class u8 ‖ n u8 ‖ n × rendezvous point 32 ‖ length u16 ‖ record ‖ zeros        n = 0, 1 or 3
```

Whoever spends the step seals, so the session's two sides use this in the same way. Nothing in it is the same
in two resumptions, except the key that the introducer knows.

The answer on a leg, RENDEZVOUS1, has the size of any other, and looks as random:

```
cookie 32 ‖ answer salt 32 ‖ 1 120 zeros, sealed: 1 136
```

Each side puts a salt into the keys, and no key seals before the salt of the side that seals is in it. So a
copy of one side's disk that is put back may spend a step twice, or answer a step twice, but no key is used
twice.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from onionshh import geometry as g
from onionshh.core.endpoint.introduce import CLASS_BITS, EndToEndKeys, Leg, leg_of
from onionshh.core.session.chains import Step, tag_of
from onionshh.crypto.primitives import aead_open, aead_seal, kdf
from onionshh.errors import CryptoError, ProtocolError
from onionshh.ids import AuthKey, RelayId
from onionshh.reasons import Reason
from onionshh.wire.messages import Rendezvous1, Resume, exactly

LEGS: Final = (0, 1, 3)
ANSWER_SALT: Final = 32
_FIXED: Final = struct.Struct(">BB")
_LENGTH: Final = struct.Struct(">H")
_U64: Final = struct.Struct(">Q")
_ZERO_NONCE: Final = bytes(g.AEAD_NONCE)
"""Safe only here, because the salt of the side that answers is in the key."""
_ANSWER_ZEROS: Final = bytes(g.RENDEZVOUS_SERVER - ANSWER_SALT)


def record_most(legs: int) -> int:
    """How many bytes an encoded record may have in a RESUME with so many legs."""
    if legs == 3:
        return 0  # with shares, every record goes over the legs
    return g.RESUME_PLAIN - _FIXED.size - _LENGTH.size - legs * g.KEY


@dataclass(frozen=True, slots=True)
class Resumption:
    """What a RESUME says. `rendezvous_points`: 0, 1 or 3 relays. `record`: encoded, b"" for none."""

    privacy_class: int
    rendezvous_points: tuple[RelayId, ...]
    record: bytes = field(default=b"", repr=False)


class SpentStep:
    """A step in use for one RESUME. `salt`: 12 random bytes of the side that spends it."""

    __slots__ = ("_step", "salt")

    def __init__(self, step: Step, salt: bytes) -> None:
        self._step = step
        self.salt = salt

    def __repr__(self) -> str:
        return "SpentStep()"

    def seal(self, auth_key: AuthKey, resumption: Resumption) -> bytes:
        """The INTRODUCE1. ValueError for points, a record or a class that it cannot have."""
        points, record = resumption.rendezvous_points, resumption.record
        if not _good_points(points) or len(record) > record_most(len(points)):
            raise ValueError("a RESUME has 0, 1 or 3 different points, and a record that fits beside them")
        if resumption.privacy_class & ~CLASS_BITS:
            raise ValueError("the number of a privacy class has two bits")
        plain = _FIXED.pack(resumption.privacy_class, len(points)) + b"".join(points)
        plain += _LENGTH.pack(len(record)) + record
        message = Resume(auth_key, tag_of(self._step), self.salt, b"")
        sealed = aead_seal(self._key, self.salt, plain.ljust(g.RESUME_PLAIN, b"\0"), message.header)
        return Resume(auth_key, message.tag, self.salt, sealed).encode()

    def open_untrusted(self, message: Resume) -> Resumption:
        """What a RESUME under this step says. Every failure is a ProtocolError."""
        plain = aead_open(self._key, self.salt, message.sealed, message.header)
        if len(plain) != g.RESUME_PLAIN:
            raise CryptoError(Reason.RESUME_SHAPE)
        privacy_class, legs = _FIXED.unpack_from(plain)
        if privacy_class & ~CLASS_BITS or legs not in LEGS:
            raise ProtocolError(Reason.RESUME_SHAPE)
        at = _FIXED.size + legs * g.KEY
        points = tuple(RelayId(plain[start : start + g.KEY]) for start in range(_FIXED.size, at, g.KEY))
        length: int = _LENGTH.unpack_from(plain, at)[0]
        at += _LENGTH.size
        if length > record_most(legs) or plain.count(0, at + length) != len(plain) - at - length:
            raise ProtocolError(Reason.RESUME_SHAPE)
        if not _good_points(points):
            raise ProtocolError(Reason.RESUME_SHAPE)
        return Resumption(privacy_class, points, plain[at : at + length])

    def leg(self, number: int) -> Leg:
        """The cookie and the reply key of one leg. The reply key seals nothing itself."""
        return leg_of(kdf("leg", self._step, self.salt, _U64.pack(number)))

    def answer(self, number: int, answer_salt: bytes) -> tuple[bytes, EndToEndKeys]:
        """The RENDEZVOUS1 of one leg, and its keys. `answer_salt`: 32 random bytes of the side that answers.
        A second try must send the same bytes again."""
        leg = self.leg(number)
        sealed = aead_seal(_answer_key(leg, answer_salt), _ZERO_NONCE, _ANSWER_ZEROS)
        return Rendezvous1(leg.cookie, answer_salt + sealed).encode(), self._layers(number, answer_salt)

    def finish_untrusted(self, number: int, rendezvous2: bytes) -> EndToEndKeys:
        """The keys of one leg, if RENDEZVOUS2 is the other side's answer. Raises ProtocolError."""
        exactly(rendezvous2, g.RENDEZVOUS_SEALED)
        answer_salt, sealed = rendezvous2[:ANSWER_SALT], rendezvous2[ANSWER_SALT:]
        if aead_open(_answer_key(self.leg(number), answer_salt), _ZERO_NONCE, sealed) != _ANSWER_ZEROS:
            raise CryptoError(Reason.RESUME_SHAPE)
        return self._layers(number, answer_salt)

    @property
    def _key(self) -> bytes:
        return kdf("resume", self._step, self.salt)

    def _layers(self, number: int, answer_salt: bytes) -> EndToEndKeys:
        """`forward` is from the side that spent the step."""
        keystream = kdf(
            "leg layers", self._step, self.salt, answer_salt, _U64.pack(number), length=2 * g.LAYER_STATE
        )
        return EndToEndKeys(keystream[: g.LAYER_STATE], keystream[g.LAYER_STATE :], b"")


def _answer_key(leg: Leg, answer_salt: bytes) -> bytes:
    return kdf("answer", leg.reply_key, answer_salt)


def _good_points(points: Sequence[RelayId]) -> bool:
    return len(points) in LEGS and len(set(points)) == len(points)
