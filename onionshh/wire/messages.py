"""Relay messages: their types, size caps and fixed layouts (SPEC 2, 10, 11).

A payload is `head u32 ‖ data ≤ 489 ‖ fresh random padding`. The head is type·2^24 + the bytes of the message
that remain, with this cell's bytes counted. core/circuit/conversation.py splits and joins; this file says
what each message holds. Every layout is fixed, so parsing is a length check and slices.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from onionshh import geometry as g
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason

CONTINUE: Final = 0
ACK: Final = 1
DROP: Final = 2
EXTEND: Final = 3
EXTENDED: Final = 4
ESTABLISH_INTRO: Final = 16
INTRO_ESTABLISHED: Final = 17
INTRODUCE1: Final = 18
INTRODUCE_ACK: Final = 19
INTRODUCE2: Final = 20
ESTABLISH_RENDEZVOUS: Final = 21
RENDEZVOUS_ESTABLISHED: Final = 22
RENDEZVOUS1: Final = 23
RENDEZVOUS2: Final = 24
INTRO_PROOF: Final = 26
INTRO_LOAD: Final = 27
PUBLISH: Final = 32
FETCH: Final = 33
FOUND: Final = 34
FETCH_CONSENSUS: Final = 35
CONSENSUS: Final = 36
PUT: Final = 37
LIST: Final = 38
KEPT: Final = 39
ITEMS: Final = 40
RECORD: Final = 48
SHARE: Final = 49
"""Reserved, not in use yet (SPEC 13). A layer that gets one ends its circuit."""

MOST: Final[dict[int, int]] = {
    ACK: g.TAG,
    DROP: 1,
    EXTEND: g.CONTROL_MAX,
    EXTENDED: g.CONTROL_MAX,
    ESTABLISH_INTRO: g.CONTROL_MAX,
    INTRO_ESTABLISHED: g.CONTROL_MAX,
    INTRODUCE1: g.CONTROL_MAX,
    INTRODUCE_ACK: g.CONTROL_MAX,
    INTRODUCE2: g.CONTROL_MAX,
    ESTABLISH_RENDEZVOUS: g.CONTROL_MAX,
    RENDEZVOUS_ESTABLISHED: g.CONTROL_MAX,
    RENDEZVOUS1: g.CONTROL_MAX,
    RENDEZVOUS2: g.CONTROL_MAX,
    INTRO_PROOF: g.CONTROL_MAX,
    INTRO_LOAD: g.CONTROL_MAX,
    PUBLISH: g.RING_MAX,
    FETCH: g.CONTROL_MAX,
    FOUND: g.RING_MAX,
    FETCH_CONSENSUS: g.CONTROL_MAX,
    CONSENSUS: g.CONSENSUS_MAX,
    PUT: g.RING_MAX,
    LIST: g.CONTROL_MAX,
    KEPT: g.CONTROL_MAX,
    ITEMS: g.RING_MAX,
    RECORD: g.WHISPER_MESSAGE_MAX,
}
"""The most bytes a message of each type may hold; a type that is not here is unknown."""

# INTRO_ESTABLISHED, INTRODUCE_ACK, RENDEZVOUS_ESTABLISHED carry one status byte.
OK: Final = 0
NO_SUCH_KEY: Final = 1
BUSY: Final = 2
TAKEN: Final = 3

# FOUND: status u8 ‖ descriptor. It answers FETCH and PUBLISH.
FOUND_IT: Final = 0
NOT_FOUND: Final = 1
STORED: Final = 2
STALE: Final = 3
REFUSED: Final = 4
FULL: Final = 5

# Kinds of INTRODUCE1 and INTRODUCE2.
INTRODUCE_NEW: Final = 1
INTRODUCE_RESUME: Final = 2

DROP_PLAIN: Final = b"\x00"
DROP_ECHO: Final = b"\x01"

_INTRODUCE = struct.Struct(f">{g.KEY}sBB{g.POW}s{g.INTRODUCE_SEALED}s")
_RESUME_HEADER = struct.Struct(f">{g.KEY}sB{g.SESSION_TAG}s{g.RESUME_SALT}s")
_PROOF = struct.Struct(f">{g.SEED}sII")
_LOAD = struct.Struct(">II")
_PAID = struct.Struct(">BI16s4s15s")
_FETCH = struct.Struct(f">{g.KEY}sQ")
_KNOWN = struct.Struct(">Q")


def exactly(body: bytes, size: int) -> bytes:
    """`body` if it has that size, else ProtocolError."""
    if len(body) != size:
        raise ProtocolError(Reason.MESSAGE_SIZE)
    return body


def status_untrusted(body: bytes) -> int:
    """The one status byte of an answer."""
    return exactly(body, 1)[0]


@dataclass(frozen=True, slots=True)
class EstablishIntro:
    """Auth key 32 ‖ its signature 64 over the bytes of `signed`."""

    auth_key: bytes
    signature: bytes

    def encode(self) -> bytes:
        return self.auth_key + self.signature

    @classmethod
    def decode_untrusted(cls, body: bytes) -> EstablishIntro:
        exactly(body, g.KEY + g.SIGNATURE)
        return cls(body[: g.KEY], body[g.KEY :])

    @staticmethod
    def signed(binding: bytes, introducer_id: bytes) -> bytes:
        """The bytes that the auth key signs: for this circuit at this introducer only."""
        return b"onionshh establish intro v1" + binding + introducer_id


@dataclass(frozen=True, slots=True)
class Introduce:
    """INTRODUCE1 and INTRODUCE2 of kind 1, 2 934 bytes: what the introducer sees, then the sealed part."""

    auth_key: bytes
    kind: int
    period_byte: int
    pow: bytes
    sealed: bytes

    def encode(self) -> bytes:
        return _INTRODUCE.pack(self.auth_key, self.kind, self.period_byte, self.pow, self.sealed)

    @classmethod
    def decode_untrusted(cls, body: bytes) -> Introduce:
        exactly(body, g.INTRODUCE)
        _check_kind(body, INTRODUCE_NEW)
        return cls(*_INTRODUCE.unpack(body))


@dataclass(frozen=True, slots=True)
class Resume:
    """INTRODUCE1 and INTRODUCE2 of kind 2, 489 bytes: `header` is what the introducer sees (SPEC 12)."""

    auth_key: bytes
    tag: bytes
    salt: bytes
    sealed: bytes

    @property
    def header(self) -> bytes:
        """Auth key 32 ‖ kind 2 ‖ tag 16 ‖ salt 12, to which the sealed part is bound."""
        return _RESUME_HEADER.pack(self.auth_key, INTRODUCE_RESUME, self.tag, self.salt)

    def encode(self) -> bytes:
        return self.header + self.sealed

    @classmethod
    def decode_untrusted(cls, body: bytes) -> Resume:
        exactly(body, g.RESUME)
        _check_kind(body, INTRODUCE_RESUME)
        auth_key, _, tag, salt = _RESUME_HEADER.unpack_from(body)
        return cls(auth_key, tag, salt, body[g.RESUME_HEADER :])


def introduced_untrusted(body: bytes) -> Introduce | Resume:
    """An INTRODUCE1 or INTRODUCE2 of either kind. Length and kind must agree. Raises ProtocolError."""
    return Resume.decode_untrusted(body) if len(body) == g.RESUME else Introduce.decode_untrusted(body)


@dataclass(frozen=True, slots=True)
class Paid:
    """What a visitor says of its proof of work, in the 40 bytes of INTRODUCE1: `1 ‖ effort u32 ‖ nonce 16 ‖
    the first 4 bytes of the seed ‖ zeros 15`. Zeros say that there is none."""

    effort: int
    nonce: bytes = field(repr=False)
    seed_head: bytes

    def encode(self) -> bytes:
        return _PAID.pack(1, self.effort, self.nonce, self.seed_head, bytes(15))

    @classmethod
    def decode_untrusted(cls, pow_bytes: bytes) -> Paid | None:
        """None for anything that is not of this form: it is worth nothing."""
        version, effort, nonce, seed_head, zeros = _PAID.unpack(exactly(pow_bytes, g.POW))
        return cls(effort, nonce, seed_head) if version == 1 and not any(zeros) else None


@dataclass(frozen=True, slots=True)
class IntroProof:
    """What strangers must prove from now on: seed 32 ‖ effort u32 ‖ expires u32 (Unix seconds). Effort 0:
    nothing."""

    seed: bytes
    effort: int
    expires: int

    def encode(self) -> bytes:
        return _PROOF.pack(self.seed, self.effort, self.expires)

    @classmethod
    def decode_untrusted(cls, body: bytes) -> IntroProof:
        return cls(*_PROOF.unpack(exactly(body, g.INTRO_PROOF)))


@dataclass(frozen=True, slots=True)
class IntroLoad:
    """How many introductions were turned away since this was said last, u32, and how many of these had proved
    what is wanted, u32."""

    turned_away: int
    paid: int

    def encode(self) -> bytes:
        return _LOAD.pack(self.turned_away, self.paid)

    @classmethod
    def decode_untrusted(cls, body: bytes) -> IntroLoad:
        turned_away, paid = _LOAD.unpack(exactly(body, g.INTRO_LOAD))
        if not 0 < turned_away >= paid:
            raise ProtocolError(Reason.MESSAGE_SHAPE)
        return cls(turned_away, paid)


def _check_kind(body: bytes, kind: int) -> None:
    """In both kinds the byte of the kind follows the auth key."""
    if body[g.KEY] != kind:
        raise ProtocolError(Reason.INTRODUCE_KIND)


@dataclass(frozen=True, slots=True)
class Rendezvous1:
    """Cookie 32 ‖ the sealed reply 1 168. Only the reply goes on, as RENDEZVOUS2."""

    cookie: bytes = field(repr=False)
    sealed: bytes = field(repr=False)

    def encode(self) -> bytes:
        return self.cookie + self.sealed

    @classmethod
    def decode_untrusted(cls, body: bytes) -> Rendezvous1:
        exactly(body, g.RENDEZVOUS1)
        return cls(body[: g.COOKIE], body[g.COOKIE :])


@dataclass(frozen=True, slots=True)
class Fetch:
    """Which endpoint descriptor: blinded key 32 ‖ period u64."""

    blinded: bytes
    period: int

    def encode(self) -> bytes:
        return _FETCH.pack(self.blinded, self.period)

    @classmethod
    def decode_untrusted(cls, body: bytes) -> Fetch:
        exactly(body, _FETCH.size)
        return cls(*_FETCH.unpack(body))


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to FETCH and PUBLISH: status u8 ‖ the descriptor, if it was asked for and is there."""

    status: int
    descriptor: bytes = b""

    def encode(self) -> bytes:
        return bytes((self.status,)) + self.descriptor

    @classmethod
    def decode_untrusted(cls, body: bytes) -> Found:
        if not body or body[0] > FULL or len(body) - 1 not in (0, g.DESCRIPTOR):
            raise ProtocolError(Reason.MESSAGE_SIZE)
        if (len(body) > 1) != (body[0] == FOUND_IT):
            raise ProtocolError(Reason.MESSAGE_SHAPE)
        return cls(body[0], body[1:])


def encode_fetch_consensus(valid_after: int) -> bytes:
    """FETCH_CONSENSUS asks for a later consensus than this. An empty CONSENSUS means there is none."""
    return _KNOWN.pack(valid_after)


def decode_fetch_consensus_untrusted(body: bytes) -> int:
    """The valid-after of the consensus the asker holds, 0 for none."""
    exactly(body, _KNOWN.size)
    known: int = _KNOWN.unpack(body)[0]
    return known
