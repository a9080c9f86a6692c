"""Splits long data into cells: messages into payloads, handshakes into three CREATE cells (SPEC 2)."""

from __future__ import annotations

import struct
from typing import Final

from onionshh.errors import ProtocolError
from onionshh.geometry import BODY, CREATE_CELLS, DATA
from onionshh.ids import RandomBytes
from onionshh.reasons import Reason
from onionshh.wire.messages import CONTINUE

_HEAD: Final = struct.Struct(">I")
_TYPE_SHIFT: Final = 24
_REMAINING_MASK: Final = (1 << _TYPE_SHIFT) - 1


def build_payload(message_type: int, body: bytes, offset: int, random_bytes: RandomBytes) -> bytes:
    """The payload that carries `body` from `offset` on: the first payload, or a CONTINUE."""
    remaining = len(body) - offset
    data = body[offset : offset + DATA]
    kind = CONTINUE if offset else message_type
    payload = _HEAD.pack(kind << _TYPE_SHIFT | remaining) + data
    return payload + random_bytes(DATA - len(data)) if len(data) < DATA else payload


def parse_head(payload: bytes) -> tuple[int, int]:
    """The type, and how many bytes of the message remain, with this cell's bytes counted."""
    head: int = _HEAD.unpack_from(payload)[0]
    return head >> _TYPE_SHIFT, head & _REMAINING_MASK


def split_handshake(handshake: bytes, random_bytes: RandomBytes) -> list[bytes]:
    """The bodies of CREATE and its two CREATE_MORE: u16 length ‖ handshake ‖ random."""
    whole = len(handshake).to_bytes(2, "big") + handshake
    whole += random_bytes(CREATE_CELLS * BODY - len(whole))
    return [whole[at : at + BODY] for at in range(0, len(whole), BODY)]


class HandshakeParts:
    """Joins the three bodies of a CREATE or CREATED. `size` is the handshake's exact length in bytes."""

    __slots__ = ("_parts", "_size", "since")

    def __init__(self, size: int, since: float) -> None:
        self._size = size
        self._parts: list[bytes] = []
        self.since = since

    def add(self, body: bytes, *, first: bool) -> bytes | None:
        """The whole handshake after the third part. ProtocolError for a wrong order or a wrong size."""
        if first == bool(self._parts) or len(self._parts) == CREATE_CELLS:
            raise ProtocolError(Reason.CREATE_ORDER)
        self._parts.append(body)
        if len(self._parts) < CREATE_CELLS:
            return None
        whole = b"".join(self._parts)
        if int.from_bytes(whole[:2], "big") != self._size:
            raise ProtocolError(Reason.CREATE_SIZE)
        return whole[2 : 2 + self._size]
