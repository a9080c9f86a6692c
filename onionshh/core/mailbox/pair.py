"""The pair mailbox of a session: what its two sides leave for each other (SPEC 14).

Both sides have the session's mail key of each period, and from it the mailbox's key and the keys of its
values. Direction 0 is written by the side that introduced itself, direction 1 by the other.

```
plain 5 296 = letter 16 ‖ part u8 ‖ parts u8 ‖ length u16 ‖ bytes ‖ zeros
bytes       of all parts together: u32 length ‖ record, for each record
```

Every part but the last is full. Seventeen receipts fit one value. It is sealed as `value.py` says.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from onionshh import geometry as g
from onionshh.core.mailbox.value import open_value_untrusted, seal_value
from onionshh.crypto.ed25519 import SigningKey
from onionshh.crypto.primitives import kdf
from onionshh.errors import ProtocolError
from onionshh.ids import RandomBytes, WhisperId
from onionshh.reasons import Reason
from onionshh.wire.mailbox import PAIR, Mailbox

FROM_VISITOR: Final = 0
FROM_ENDPOINT: Final = 1
"""The two directions: who writes."""
PARTS_MOST: Final = 16
"""The largest record takes thirteen."""

_RECORDS: Final = frozenset(g.RECORD_HEADER + size for size in g.RECORD_SIZES)
_U64: Final = struct.Struct(">Q")
_LENGTH: Final = struct.Struct(">I")
_LAYOUT: Final = struct.Struct(f">{g.WHISPER_ID}sBBH")


@dataclass(frozen=True, slots=True)
class PairPart:
    """One part of what one side leaves. `letter_id`: drawn for all its parts together."""

    letter_id: WhisperId
    part: int
    parts: int
    chunk: bytes = field(repr=False)

    def encode(self) -> bytes:
        """The plaintext, 5 296 bytes."""
        head = _LAYOUT.pack(self.letter_id, self.part, self.parts, len(self.chunk))
        return (head + self.chunk).ljust(g.PAIR_PLAIN, b"\0")

    @classmethod
    def decode_untrusted(cls, plain: bytes) -> PairPart:
        """The part in these bytes. Raises ProtocolError for any other form than the one `encode` gives."""
        if len(plain) != g.PAIR_PLAIN:
            raise ProtocolError(Reason.PAIR_SHAPE)
        letter_id, part, parts, length = _LAYOUT.unpack_from(plain)
        end = _LAYOUT.size + length
        least = 1 if part == parts - 1 else g.PAIR_CHUNK
        if (
            not 0 < parts <= PARTS_MOST
            or part >= parts
            or not least <= length <= g.PAIR_CHUNK
            or plain.count(0, end) != len(plain) - end
        ):
            raise ProtocolError(Reason.PAIR_SHAPE)
        return cls(WhisperId(letter_id), part, parts, plain[_LAYOUT.size : end])


def writes_to(introduced: bool) -> int:
    """The direction that a side writes. `introduced`: whether it introduced itself."""
    return FROM_VISITOR if introduced else FROM_ENDPOINT


def reads_from(introduced: bool) -> int:
    """The direction that a side reads."""
    return writes_to(not introduced)


def pair_key(mail_key: bytes, direction: int) -> SigningKey:
    """The key of the mailbox of one direction, by which both sides list it."""
    return SigningKey(kdf("pair", mail_key, _U64.pack(direction)))


def pair_mailbox(mail_key: bytes, direction: int, period: int) -> Mailbox:
    """The mailbox of one direction. `mail_key`: that of this period."""
    return Mailbox(PAIR, pair_key(mail_key, direction).public, period)


def pack_records(records: Iterable[bytes]) -> bytes:
    """Encoded records, one after another, each with its length."""
    return b"".join(_LENGTH.pack(len(record)) + record for record in records)


def unpack_records_untrusted(data: bytes) -> tuple[bytes, ...]:
    """The encoded records, at least one. Raises ProtocolError for a length that no record has."""
    records = []
    at = 0
    while at < len(data):
        if len(data) < at + _LENGTH.size:
            raise ProtocolError(Reason.PAIR_SHAPE)
        length: int = _LENGTH.unpack_from(data, at)[0]
        at += _LENGTH.size
        if length not in _RECORDS or len(data) < at + length:
            raise ProtocolError(Reason.PAIR_SHAPE)
        records.append(data[at : at + length])
        at += length
    if not records:
        raise ProtocolError(Reason.PAIR_SHAPE)
    return tuple(records)


def split(data: bytes) -> tuple[bytes, ...]:
    """The chunks of packed records, one for each part. ValueError if they are none, or too many."""
    chunks = tuple(data[at : at + g.PAIR_CHUNK] for at in range(0, len(data), g.PAIR_CHUNK))
    if not 0 < len(chunks) <= PARTS_MOST:
        raise ValueError(f"records for a pair mailbox take 1 to {PARTS_MOST} parts")
    return chunks


def seal_pair(
    mail_key: bytes, mailbox: Mailbox, item_id: bytes, part: PairPart, random_bytes: RandomBytes
) -> bytes:
    """The value, 5 328 bytes. `mail_key`: that of the mailbox's period."""
    return seal_value(mail_key, mailbox, item_id, part.encode(), random_bytes)


def open_pair_untrusted(mail_key: bytes, mailbox: Mailbox, item_id: bytes, value: bytes) -> PairPart:
    """The part in a value of this mailbox and item. Every failure is a ProtocolError."""
    return PairPart.decode_untrusted(open_value_untrusted(mail_key, mailbox, item_id, value))
