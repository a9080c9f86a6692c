"""A letter: a record, or a part of one, sealed for an endpoint that is away (SPEC 14).

```
value 5 328 = HPKE to the letter key of the endpoint's descriptor
info        "onionshh letter v1" ‖ u64 period of the key ‖ its subcredential ‖ item id
plain 4 192 = kind u8 ‖ sender 32 ‖ letter 16 ‖ class u8 ‖ part u8 ‖ parts u8 ‖ length u16 ‖ chunk ‖ zeros
sender      kind 1: a seed, from which a new session comes          kind 2: session id 16 ‖ proof 16
```

The item's id is in `info`, so a relay cannot show the value under another id. `proof` shows that the writer
has the session's mail key. It is bound to the item's id: only the depositor can use the id, and each part has
its own.

A record has one of five sizes, and each makes one part, four or sixteen. Every part but the last is full. So
nobody but the endpoint can tell letters apart that have the same number of parts.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from onionshh import geometry as g
from onionshh.core.session.session import SessionId
from onionshh.crypto.primitives import equal, kdf
from onionshh.crypto.seal import SealKey, seal
from onionshh.errors import ProtocolError
from onionshh.ids import WhisperId
from onionshh.reasons import Reason

_NEW: Final = 1
_KNOWN: Final = 2
_CLASS_BITS: Final = 0b0000_0011
_INFO: Final = b"onionshh letter v1"
_U64: Final = struct.Struct(">Q")
_LAYOUT: Final = struct.Struct(f">B{g.SEED}s{g.WHISPER_ID}sBBBH")

_RECORDS: Final = tuple(g.RECORD_HEADER + size for size in g.RECORD_SIZES)
"""The sizes that an encoded record may have."""
PARTS: Final = (1, 4, 16)


def parts_of(record_bytes: int) -> int:
    """How many parts an encoded record of this size makes. ValueError for a size that none has."""
    if record_bytes not in _RECORDS:
        raise ValueError("this is not the size of a record")
    return next(parts for parts in PARTS if record_bytes <= parts * g.LETTER_CHUNK)


_CHUNKS: Final = frozenset(
    (parts, part, min(g.LETTER_CHUNK, size - part * g.LETTER_CHUNK))
    for size in _RECORDS
    for parts in (parts_of(size),)
    for part in range(parts)
)
"""(parts, part, length) of everything that a letter may hold."""


@dataclass(frozen=True, slots=True)
class NewSender:
    """Someone who has no session with the endpoint. `seed`: 32 random bytes, the same in all parts."""

    seed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KnownSender:
    """Someone who has a session. `proof`: from `letter_proof`."""

    session_id: SessionId
    proof: bytes = field(repr=False)

    def holds(self, mail_key: bytes, item_id: bytes) -> bool:
        """Whether the writer has the session's mail key of the mailbox's period."""
        return equal(self.proof, letter_proof(mail_key, item_id))


@dataclass(frozen=True, slots=True)
class Letter:
    """One part of a letter. `letter_id`: the id of the record. `chunk`: this part of the encoded record."""

    sender: NewSender | KnownSender = field(repr=False)
    letter_id: WhisperId
    privacy_class: int
    part: int
    parts: int
    chunk: bytes = field(repr=False)

    def encode(self) -> bytes:
        """The plaintext, 4 192 bytes."""
        match self.sender:
            case NewSender(seed):
                kind, sender = _NEW, seed
            case KnownSender(session_id, proof):
                kind, sender = _KNOWN, session_id + proof
        head = _LAYOUT.pack(
            kind, sender, self.letter_id, self.privacy_class, self.part, self.parts, len(self.chunk)
        )
        return (head + self.chunk).ljust(g.LETTER_PLAIN, b"\0")

    @classmethod
    def decode_untrusted(cls, plain: bytes) -> Letter:
        """The letter in these bytes. Raises ProtocolError for any other form than the one `encode` gives."""
        if len(plain) != g.LETTER_PLAIN:
            raise ProtocolError(Reason.LETTER_SHAPE)
        kind, sender, letter_id, privacy_class, part, parts, length = _LAYOUT.unpack_from(plain)
        end = _LAYOUT.size + length
        if (
            kind not in (_NEW, _KNOWN)
            or privacy_class & ~_CLASS_BITS
            or (parts, part, length) not in _CHUNKS
            or plain.count(0, end) != len(plain) - end
        ):
            raise ProtocolError(Reason.LETTER_SHAPE)
        known = SessionId(sender[: g.SESSION_ID])
        return cls(
            NewSender(sender) if kind == _NEW else KnownSender(known, sender[g.SESSION_ID :]),
            WhisperId(letter_id),
            privacy_class,
            part,
            parts,
            plain[_LAYOUT.size : end],
        )


def split(record: bytes) -> tuple[bytes, ...]:
    """The chunks of an encoded record, one for each part: 1, 4 or 16. ValueError for what is not a record."""
    parts_of(len(record))
    return tuple(record[at : at + g.LETTER_CHUNK] for at in range(0, len(record), g.LETTER_CHUNK))


def letter_info(key_period: int, subcredential: bytes, item_id: bytes) -> bytes:
    """What a letter's seal is bound to. `key_period`, `subcredential`: of the letter key, which may be older
    than the mailbox."""
    return _INFO + _U64.pack(key_period) + subcredential + item_id


def letter_proof(mail_key: bytes, item_id: bytes) -> bytes:
    """16 bytes that only the two sides of a session can make. `mail_key`: of the mailbox's period."""
    return kdf("letter proof", mail_key, item_id, length=g.LETTER_PROOF)


def letter_root(seed: bytes, blinded: bytes, period: int) -> bytes:
    """The root of the session that begins with a letter of a new sender. `blinded`, `period`: of the inbox in
    which the letter lies."""
    return kdf("letter", seed, blinded, _U64.pack(period))


def seal_letter(letter_key: bytes, info: bytes, letter: Letter) -> bytes:
    """The value, 5 328 bytes. `letter_key`: the public one of a descriptor. CryptoError if it is not valid.
    The seal is drawn, so seal once and keep the value."""
    return seal(letter_key, info, letter.encode())


def open_letter_untrusted(letter_key: SealKey, info: bytes, value: bytes) -> Letter:
    """The letter in a value that was sealed for this key and info. Every failure is a ProtocolError."""
    if len(value) != g.MAILBOX_VALUE:
        raise ProtocolError(Reason.LETTER_SHAPE)
    return Letter.decode_untrusted(letter_key.open_untrusted(info, value))
