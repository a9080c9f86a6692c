"""Records as they travel end to end: whispers, their receipts, and what keeps a session (SPEC 13).

`id 16 ‖ in reply to 16 ‖ expires u32 ‖ class u8 ‖ kind u8 ‖ length u16`, then the body filled with zeros to
256, 1 024, 4 096, 16 384 or 65 536 bytes. Receipts, refusals and ASKs have size 256, so they look like short
whispers. A refusal's body is one byte that says why.

One table says what each kind may be: how long its body is, whether it names another record, and whether its
sender may do without a receipt.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from onionshh.crypto.primitives import kdf, sha3_256
from onionshh.errors import ProtocolError, TooLarge
from onionshh.geometry import (
    PART_HEADER,
    PROVE_BODY,
    RECORD_HEADER,
    RECORD_SIZES,
    REFRESH_BODY,
    REFRESHED_BODY,
    WAY_BACK_BODY,
    WHISPER_ID,
    WHISPER_MAX,
    record_size,
)
from onionshh.ids import RandomBytes, WhisperId
from onionshh.reasons import Reason

WHISPER: Final = 1
RECEIPT: Final = 2
"""A whisper or part is on disk. The one byte that it may hold says which shares came (SPEC 13)."""
ASK: Final = 3
"""Asks for the reply to a whisper that was receipted. It is answered like a copy of that whisper."""
PART: Final = 4
"""A piece of something longer than one record. It is receipted as a whisper is."""
REFRESH: Final = 5
REFRESHED: Final = 6
WAY_BACK: Final = 7
PROVE: Final = 8
REFUSED: Final = 9

SESSION_KINDS: Final = frozenset((REFRESH, REFRESHED, WAY_BACK, PROVE))
"""What keeps a session (SPEC 12): shown to nobody, never receipted, and it may be repeated."""

EXPIRED: Final = 1
"""Refused: its time to live was over, by the network's time, before it was accepted."""
TOO_FAR: Final = 2
"""Refused: its expiry is later than any whisper may have."""
NOT_WHOLE: Final = 3
"""Refused: the parts of a transfer do not fit together."""
WHY_REFUSED: Final = frozenset((EXPIRED, TOO_FAR, NOT_WHOLE))

TTL_DEFAULT_SECONDS: Final = 600
TTL_MOST_SECONDS: Final = 7 * 24 * 3600
EXPIRY_GRACE_SECONDS: Final = 600
SEEN_EXTRA_SECONDS: Final = 3600
"""How long after its expiry (and grace) an id is kept, so that no copy is delivered again."""

RECEIPTS_WAIT_SECONDS: Final = 0.02
"""How long a receipt may wait to share a frame or be replaced by a reply. Each frame wakes seven relays."""

NO_ID: Final = WhisperId(bytes(WHISPER_ID))
_HEADER = struct.Struct(f">{WHISPER_ID}s{WHISPER_ID}sIBBH")
_CLASS_BITS: Final = 0b0000_0011
_NO_RECEIPT: Final = 0b0100_0000


class _Names(enum.Enum):
    """Whether `in reply to` holds the id of another record."""

    NEVER = enum.auto()
    PERHAPS = enum.auto()
    ALWAYS = enum.auto()


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a record of one kind may be. `least`, `most`: bytes of its body."""

    least: int
    most: int
    names: _Names
    class_bits: int = _CLASS_BITS


_ACKNOWLEDGED: Final = _CLASS_BITS | _NO_RECEIPT
_RULES: Final[Mapping[int, _Rule]] = MappingProxyType(
    {
        WHISPER: _Rule(0, WHISPER_MAX, _Names.PERHAPS, _ACKNOWLEDGED),
        RECEIPT: _Rule(0, 1, _Names.ALWAYS),
        ASK: _Rule(0, 0, _Names.ALWAYS),
        PART: _Rule(PART_HEADER + 1, WHISPER_MAX, _Names.NEVER, _ACKNOWLEDGED),
        REFRESH: _Rule(REFRESH_BODY, REFRESH_BODY, _Names.NEVER),
        REFRESHED: _Rule(REFRESHED_BODY, REFRESHED_BODY, _Names.NEVER),
        WAY_BACK: _Rule(WAY_BACK_BODY, WAY_BACK_BODY, _Names.NEVER),
        PROVE: _Rule(PROVE_BODY, PROVE_BODY, _Names.NEVER),
        REFUSED: _Rule(1, 1, _Names.ALWAYS),
    }
)


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `expires`: Unix seconds, the same in every copy of it.

    `receipt_wanted` may be false only in a whisper or a part.
    """

    whisper_id: WhisperId
    in_reply_to: WhisperId
    expires: int
    privacy_class: int
    kind: int
    body: bytes = field(repr=False)
    receipt_wanted: bool = True

    @property
    def size(self) -> int:
        """Bytes of the padded body."""
        return record_size(len(self.body))

    def encode(self) -> bytes:
        """Header and padded body."""
        class_byte = self.privacy_class | (0 if self.receipt_wanted else _NO_RECEIPT)
        header = _HEADER.pack(
            self.whisper_id, self.in_reply_to, self.expires, class_byte, self.kind, len(self.body)
        )
        return header + self.body + bytes(self.size - len(self.body))

    @classmethod
    def decode_untrusted(cls, data: bytes) -> Record:
        """The record in these bytes, with its padding checked. Raises ProtocolError."""
        if len(data) < RECORD_HEADER or len(data) - RECORD_HEADER not in RECORD_SIZES:
            raise ProtocolError(Reason.RECORD_SIZE)
        whisper_id, in_reply_to, expires, class_byte, kind, length = _HEADER.unpack_from(data)
        rule = _RULES.get(kind)
        if rule is None:
            raise ProtocolError(Reason.RECORD_KIND)
        if class_byte & ~rule.class_bits:
            raise ProtocolError(Reason.RECORD_CLASS)
        if rule.names is (_Names.ALWAYS if in_reply_to == NO_ID else _Names.NEVER):
            raise ProtocolError(Reason.RECORD_REPLY)
        size = len(data) - RECORD_HEADER
        if record_size(length) != size:
            raise ProtocolError(Reason.RECORD_LENGTH)
        body = data[RECORD_HEADER : RECORD_HEADER + length]
        if not rule.least <= length <= rule.most or (kind == REFUSED and body[0] not in WHY_REFUSED):
            raise ProtocolError(Reason.RECORD_BODY)
        if data.count(0, RECORD_HEADER + length) != size - length:
            raise ProtocolError(Reason.RECORD_PADDING)
        return cls(
            WhisperId(whisper_id),
            WhisperId(in_reply_to),
            expires,
            class_byte & _CLASS_BITS,
            kind,
            body,
            not class_byte & _NO_RECEIPT,
        )

    def why_refused(self, *, earliest: int, best: int) -> int | None:
        """Why a whisper with these dates is refused: EXPIRED or TOO_FAR, or None if it is accepted.

        Only the consensus (`Clock.earliest`) decides that a whisper has expired, because either end's clock
        may be wrong. An expiry too far ahead is measured by `Clock.best`, which must not be slow.
        """
        if earliest > self.expires + EXPIRY_GRACE_SECONDS:
            return EXPIRED
        if self.expires > best + TTL_MOST_SECONDS + EXPIRY_GRACE_SECONDS:
            return TOO_FAR
        return None


def check_body(body: bytes) -> None:
    """TooLarge for more than 65 535 bytes, TypeError for anything but bytes."""
    if not isinstance(body, bytes):
        raise TypeError(f"A whisper is bytes, not {type(body).__name__}.")
    if len(body) > WHISPER_MAX:
        raise TooLarge(f"A whisper holds at most {WHISPER_MAX} bytes; this one has {len(body)}.")


def check_ttl(ttl_seconds: float) -> float:
    """ValueError unless the TTL is more than 0 and at most 7 days."""
    if isinstance(ttl_seconds, bool) or not isinstance(ttl_seconds, int | float):
        raise TypeError(f"A TTL is a number of seconds, not {type(ttl_seconds).__name__}.")
    if not 0 < ttl_seconds <= TTL_MOST_SECONDS:
        raise ValueError(f"A TTL must be more than 0 and at most {TTL_MOST_SECONDS} seconds (7 days).")
    return ttl_seconds


def new_whisper(
    body: bytes,
    *,
    expires: int,
    privacy_class: int,
    random_bytes: RandomBytes,
    in_reply_to: WhisperId = NO_ID,
    receipt_wanted: bool = True,
) -> Record:
    """A whisper with a new random id."""
    check_body(body)
    whisper_id = WhisperId(random_bytes(WHISPER_ID))
    return Record(whisper_id, in_reply_to, expires, privacy_class, WHISPER, body, receipt_wanted)


HANDED_OVER_MOST: Final = 64


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What is needed of a whisper to derive keys from it, without its body (SPEC 12)."""

    whisper_id: WhisperId
    privacy_class: int
    digest: bytes = field(repr=False)
    """SHA3-256 of the encoded record."""

    @classmethod
    def of(cls, record: Record) -> HandedOver:
        """Of this whisper."""
        return cls(record.whisper_id, record.privacy_class, sha3_256(record.encode()))

    def key(self, purpose: str, length: int) -> bytes:
        """A secret that both ends of the whisper can derive, to hand over to another protocol. ValueError for
        a length that is not 1 to 64, TypeError for a purpose that is not text."""
        if not isinstance(purpose, str):
            raise TypeError(f"A purpose is text, not {type(purpose).__name__}.")
        if type(length) is not int or not 1 <= length <= HANDED_OVER_MOST:
            raise ValueError(f"A key has 1 to {HANDED_OVER_MOST} bytes, not {length!r}.")
        return kdf("hand over", self.whisper_id, self.digest, purpose.encode(), length=length)


def about(record: Record) -> WhisperId:
    """The whisper that a whisper or an ASK is about: the whisper itself, or the one whose reply is asked
    for."""
    return record.in_reply_to if record.kind == ASK else record.whisper_id


def question_for(record: Record, random_bytes: RandomBytes) -> Record:
    """An ASK: is there a reply to this whisper?"""
    return _about(record, ASK, b"", random_bytes)


def receipt_for(record: Record, random_bytes: RandomBytes) -> Record:
    """The receipt of one whisper, or of the whisper that an ASK is about."""
    return _about(record, RECEIPT, b"", random_bytes)


def refusal_of(record: Record, why: int, random_bytes: RandomBytes) -> Record:
    """The refusal of a whisper that arrived and will never be accepted. `why`: one of WHY_REFUSED."""
    return _about(record, REFUSED, bytes((why,)), random_bytes)


def _about(record: Record, kind: int, body: bytes, random_bytes: RandomBytes) -> Record:
    whisper_id = WhisperId(random_bytes(WHISPER_ID))
    return Record(whisper_id, about(record), record.expires, record.privacy_class, kind, body)
