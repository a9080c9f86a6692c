"""Parts: what is longer than a whisper travels in numbered records (SPEC 13). Pure.

`transfer 16 ‖ number u32 ‖ flags u8 ‖ data`. In the last part, `total u64 ‖ SHA3-256 32` of the whole stand
before the data. Flags: bit 0, this part is the last; bit 1, the whole is a whisper and `transfer` its id.

Every part but the last has exactly `PART_DATA` bytes of data, and the last has at least one, unless the whole
is empty. So a whole has one encoding, part n begins at byte n · `PART_DATA` of it, and the last part alone
tells how many parts there are.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final, NewType

from onionshh.core.delivery.record import NO_ID, PART, Record
from onionshh.errors import ProtocolError, TooLarge
from onionshh.geometry import HASH, WHISPER_ID, WHISPER_MAX
from onionshh.ids import RandomBytes, WhisperId
from onionshh.reasons import Reason

MOST_BYTES: Final = 8 * 1024 * 1024
"""The largest whole."""
NOT_FOR_BULK: Final = "transfers are not for bulk, since every byte passes up to seven relays"

TransferId = NewType("TransferId", bytes)
"""The random name of one transfer, 16 bytes. Only its two ends know it."""

_HEADER = struct.Struct(f">{WHISPER_ID}sIB")
_END = struct.Struct(f">Q{HASH}s")
_LAST = 1
_WHISPER = 2

PART_DATA: Final = WHISPER_MAX - _HEADER.size - _END.size
"""Bytes of the whole in each part but the last: 65 474, so that any of them fits a last part too."""
PARTS_MOST: Final = -(-MOST_BYTES // PART_DATA)


@dataclass(frozen=True, slots=True)
class Part:
    """One part. `number`: from 0. `whole_hash`: SHA3-256 of the whole in the last part, None in the others.
    `whisper`: the whole is a whisper."""

    transfer: TransferId
    number: int
    data: bytes = field(repr=False)
    whole_hash: bytes | None = None
    whisper: bool = False

    @property
    def last(self) -> bool:
        """Whether it is the last one."""
        return self.whole_hash is not None

    @property
    def total(self) -> int:
        """Bytes of the whole up to the end of this part."""
        return self.number * PART_DATA + len(self.data)

    def encode(self) -> bytes:
        """The body of its record."""
        flags = (_LAST if self.last else 0) | (_WHISPER if self.whisper else 0)
        header = _HEADER.pack(self.transfer, self.number, flags)
        end = b"" if self.whole_hash is None else _END.pack(self.total, self.whole_hash)
        return header + end + self.data

    @classmethod
    def decode_untrusted(cls, body: bytes) -> Part:
        """The part in the body of a record. Raises ProtocolError."""
        if len(body) < _HEADER.size:
            raise ProtocolError(Reason.PART_SIZE)
        transfer, number, flags = _HEADER.unpack_from(body)
        if flags & ~(_LAST | _WHISPER):
            raise ProtocolError(Reason.PART_FLAGS)
        whisper = bool(flags & _WHISPER)
        if not flags & _LAST:
            if len(body) != _HEADER.size + PART_DATA:
                raise ProtocolError(Reason.PART_SIZE)
            return cls(TransferId(transfer), number, body[_HEADER.size :], None, whisper)
        begin = _HEADER.size + _END.size
        if len(body) < begin or (len(body) == begin and number) or len(body) > begin + PART_DATA:
            raise ProtocolError(Reason.PART_SIZE)
        total, whole_hash = _END.unpack_from(body, _HEADER.size)
        part = cls(TransferId(transfer), number, body[begin:], whole_hash, whisper)
        if total != part.total or total > MOST_BYTES:
            raise ProtocolError(Reason.PART_TOTAL)
        return part


def part_record(part: Part, *, expires: int, privacy_class: int, random_bytes: RandomBytes) -> Record:
    """The record of a part, with a new random id. `expires`: Unix seconds, the same for all parts."""
    record_id = WhisperId(random_bytes(WHISPER_ID))
    return Record(record_id, NO_ID, expires, privacy_class, PART, part.encode())


def check_size(size: int) -> None:
    """TooLarge for a whole of more than 8 MiB. TypeError, ValueError for what is not a size in bytes."""
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"A size is a number of bytes, not {type(size).__name__}.")
    if size < 0:
        raise ValueError("A size is not negative.")
    if size > MOST_BYTES:
        raise TooLarge(
            f"A transfer holds at most {MOST_BYTES} bytes (8 MiB), and this one has {size}: {NOT_FOR_BULK}."
        )
