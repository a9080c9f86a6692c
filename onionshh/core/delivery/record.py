"""Records: whispers, receipts and refusals as they travel end to end (SPEC 13).

`id 16 ‖ in reply to 16 ‖ expires u32 ‖ class u8 ‖ kind u8 ‖ length u16`, then the body filled with zeros to
256, 1 024, 4 096, 16 384 or 65 536 bytes. Receipts and refusals have size 256, so they look like short
whispers. A refusal's body is one byte that says why.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from onionshh.errors import ProtocolError, TooLarge
from onionshh.geometry import RECORD_HEADER, RECORD_SIZES, WHISPER_ID, WHISPER_MAX, record_size
from onionshh.ids import RandomBytes, WhisperId
from onionshh.reasons import Reason

WHISPER: Final = 1
RECEIPT: Final = 2
REFUSED: Final = 9

EXPIRED: Final = 1
"""Refused: its time to live was over, by the network's time, before it was accepted."""
TOO_FAR: Final = 2
"""Refused: its expiry is later than any whisper may have."""
WHY_REFUSED: Final = frozenset((EXPIRED, TOO_FAR))

TTL_DEFAULT_SECONDS: Final = 600
TTL_MOST_SECONDS: Final = 7 * 24 * 3600
EXPIRY_GRACE_SECONDS: Final = 600
SEEN_EXTRA_SECONDS: Final = 3600
"""How long after its expiry (and grace) an id is kept, so that no copy is delivered again."""

RECEIPTS_WAIT_SECONDS: Final = 0.02
"""How long a receipt may wait to share a frame or be replaced by a reply. Each frame wakes seven relays."""

NO_ID: Final = WhisperId(bytes(WHISPER_ID))
_HEADER = struct.Struct(f">{WHISPER_ID}s{WHISPER_ID}sIBBH")


@dataclass(frozen=True, slots=True)
class Record:
    """One whisper, receipt or refusal. `expires`: Unix seconds, the same in every copy of it."""

    whisper_id: WhisperId
    in_reply_to: WhisperId
    expires: int
    privacy_class: int
    kind: int
    body: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes of the padded body."""
        return record_size(len(self.body))

    def encode(self) -> bytes:
        """Header and padded body."""
        header = _HEADER.pack(
            self.whisper_id, self.in_reply_to, self.expires, self.privacy_class, self.kind, len(self.body)
        )
        return header + self.body + bytes(self.size - len(self.body))

    @classmethod
    def decode_untrusted(cls, data: bytes) -> Record:
        """The record in these bytes, with its padding checked. Raises ProtocolError."""
        if len(data) < RECORD_HEADER or len(data) - RECORD_HEADER not in RECORD_SIZES:
            raise ProtocolError(Reason.RECORD_SIZE)
        whisper_id, in_reply_to, expires, privacy_class, kind, length = _HEADER.unpack_from(data)
        if kind not in (WHISPER, RECEIPT, REFUSED) or (kind != WHISPER and in_reply_to == NO_ID):
            raise ProtocolError(Reason.RECORD_KIND)
        size = len(data) - RECORD_HEADER
        if length > size or record_size(length) != size:
            raise ProtocolError(Reason.RECORD_LENGTH)
        body = data[RECORD_HEADER : RECORD_HEADER + length]
        if (kind == RECEIPT and body) or (kind == REFUSED and (length != 1 or body[0] not in WHY_REFUSED)):
            raise ProtocolError(Reason.RECORD_BODY)
        if data.count(0, RECORD_HEADER + length) != size - length:
            raise ProtocolError(Reason.RECORD_PADDING)
        return cls(WhisperId(whisper_id), WhisperId(in_reply_to), expires, privacy_class, kind, body)

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
) -> Record:
    """A whisper with a new random id."""
    check_body(body)
    whisper_id = WhisperId(random_bytes(WHISPER_ID))
    return Record(whisper_id, in_reply_to, expires, privacy_class, WHISPER, body)


def receipt_for(record: Record, random_bytes: RandomBytes) -> Record:
    """The receipt of one whisper."""
    return _about(record, RECEIPT, b"", random_bytes)


def refusal_of(record: Record, why: int, random_bytes: RandomBytes) -> Record:
    """The refusal of a whisper that arrived and will never be accepted. `why`: EXPIRED or TOO_FAR."""
    return _about(record, REFUSED, bytes((why,)), random_bytes)


def _about(record: Record, kind: int, body: bytes, random_bytes: RandomBytes) -> Record:
    whisper_id = WhisperId(random_bytes(WHISPER_ID))
    return Record(whisper_id, record.whisper_id, record.expires, record.privacy_class, kind, body)
