"""Cells: circuit id u32 ‖ command u8 ‖ body 509, big-endian, one size (SPEC 2)."""

from __future__ import annotations

import struct
from typing import Final

from onionshh.geometry import BODY, CELL, CELL_HEADER

PADDING: Final = 0
CREATE: Final = 1
CREATED: Final = 2
RELAY: Final = 3
DESTROY: Final = 4
LINK_AUTH: Final = 5
RELAY_EARLY: Final = 9
CREATE_MORE: Final = 10
CREATED_MORE: Final = 11

COMMANDS: Final = frozenset(
    (PADDING, CREATE, CREATED, RELAY, DESTROY, LINK_AUTH, RELAY_EARLY, CREATE_MORE, CREATED_MORE)
)

INITIATOR_BIT: Final = 0x8000_0000
"""Set in the circuit ids that the link's initiator picks, clear in the responder's."""

HEADER: Final = struct.Struct(">IB")
_CELL: Final = struct.Struct(f">IB{BODY}s")


def pack_cell(circuit_id: int, command: int, body: bytes) -> bytes:
    """One cell of 514 bytes. `body` is exactly 509 bytes."""
    if len(body) != BODY:
        raise ValueError(f"a cell body is {BODY} bytes, not {len(body)}")
    return _CELL.pack(circuit_id, command, body)


def split_cells(frame: bytes) -> list[tuple[int, int, bytes]]:
    """The (circuit id, command, body) of each cell in a frame's plaintext. `frame` holds whole cells only."""
    return [
        (*HEADER.unpack_from(frame, at), frame[at + CELL_HEADER : at + CELL])
        for at in range(0, len(frame), CELL)
    ]
