"""WAY_BACK: where the endpoint can reach its visitor, so that it can speak first (SPEC 12).

`count u8 ‖ 2 × (relay id 32 ‖ auth key 32 ‖ expires u32)`, unused ones zeros. Count 0: there is none, forget
mine. Count 255: yours is on my disk.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from onionshh.errors import ProtocolError
from onionshh.geometry import KEY
from onionshh.ids import AuthKey, RelayId
from onionshh.reasons import Reason

WAYS_MOST: Final = 2
RECEIVED: Final = 255
_ENTRY: Final = struct.Struct(f">{KEY}s{KEY}sI")
SIZE: Final = 1 + WAYS_MOST * _ENTRY.size
RECEIVED_BODY: Final = bytes((RECEIVED,)) + bytes(SIZE - 1)
"""The body that says that the other side's ways are on disk."""


@dataclass(frozen=True, slots=True)
class WayBack:
    """A relay that passes a RESUME on to the visitor, under a key made for one session. `expires`: Unix
    seconds."""

    relay: RelayId
    auth_key: AuthKey = field(repr=False)
    expires: int


def encode_ways(ways: Sequence[WayBack]) -> bytes:
    """The body of WAY_BACK for at most two ways, whose keys differ. ValueError."""
    if len(ways) > WAYS_MOST or len({way.auth_key for way in ways}) != len(ways):
        raise ValueError(f"a WAY_BACK has at most {WAYS_MOST} ways, each with a key of its own")
    entries = b"".join(_ENTRY.pack(way.relay, way.auth_key, way.expires) for way in ways)
    return (bytes((len(ways),)) + entries).ljust(SIZE, b"\0")


def decode_ways_untrusted(body: bytes) -> tuple[WayBack, ...] | None:
    """The ways in a WAY_BACK, None if it says that ours are on disk. Raises ProtocolError."""
    if len(body) != SIZE:
        raise ProtocolError(Reason.WAY_BACK_SHAPE)
    count = body[0]
    if count == RECEIVED:
        if body != RECEIVED_BODY:
            raise ProtocolError(Reason.WAY_BACK_SHAPE)
        return None
    used = 1 + count * _ENTRY.size
    if count > WAYS_MOST or body.count(0, used) != SIZE - used:
        raise ProtocolError(Reason.WAY_BACK_SHAPE)
    ways = []
    for start in range(1, used, _ENTRY.size):
        relay, auth_key, expires = _ENTRY.unpack_from(body, start)
        ways.append(WayBack(RelayId(relay), AuthKey(auth_key), expires))
    if len({way.auth_key for way in ways}) != count:
        raise ProtocolError(Reason.WAY_BACK_SHAPE)
    return tuple(ways)
