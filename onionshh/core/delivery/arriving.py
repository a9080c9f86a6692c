"""The stages of one transfer that arrives, and what changes them (SPEC 13). Pure.

| stage    | COMPLETE | FITS    | MARKED | FINISH | FINISHED | GIVE_UP  | DROPPED | DISK_FAILED |
|----------|----------|---------|--------|--------|----------|----------|---------|-------------|
| COMING   | CHECKING |         |        |        |          | DROPPING |         |             |
| CHECKING |          | MARKING |        |        |          | DROPPING |         | COMING      |
| MARKING  |          |         | WHOLE  |        |          |          |         | COMING      |
| WHOLE    |          |         |        | ENDING |          |          |         |             |
| ENDING   |          |         |        |        | DONE     |          |         | WHOLE       |
| DROPPING |          |         |        |        |          |          | BAD     | COMING      |
| DONE     |          |         |        |        |          |          |         |             |
| BAD      |          |         |        |        |          |          |         |             |

COMPLETE: all parts are on disk. FITS: the hash of the whole is the one that the last part names. MARKED: that
is on disk, so the transfer may be shown. FINISH, FINISHED: the program has finished it, and that is on disk.
GIVE_UP: the parts do not fit together, or its time is over, or it made room for another. DROPPED: its parts
are erased. DISK_FAILED: what was asked of the disk failed; the next copy of a part tries again. DONE and BAD:
only the id is left.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from onionshh.core.delivery.actions import LaneId
from onionshh.core.delivery.parts import PARTS_MOST, Part
from onionshh.core.delivery.record import Record


class InStage(enum.Enum):
    """The stage of an incoming transfer."""

    COMING = enum.auto()
    CHECKING = enum.auto()
    MARKING = enum.auto()
    WHOLE = enum.auto()
    ENDING = enum.auto()
    DROPPING = enum.auto()
    DONE = enum.auto()
    BAD = enum.auto()


class InEvent(enum.Enum):
    """What changes its stage."""

    COMPLETE = enum.auto()
    FITS = enum.auto()
    MARKED = enum.auto()
    FINISH = enum.auto()
    FINISHED = enum.auto()
    GIVE_UP = enum.auto()
    DROPPED = enum.auto()
    DISK_FAILED = enum.auto()


TABLE: Final = MappingProxyType(
    {
        (InStage.COMING, InEvent.COMPLETE): InStage.CHECKING,
        (InStage.COMING, InEvent.GIVE_UP): InStage.DROPPING,
        (InStage.CHECKING, InEvent.FITS): InStage.MARKING,
        (InStage.CHECKING, InEvent.GIVE_UP): InStage.DROPPING,
        (InStage.CHECKING, InEvent.DISK_FAILED): InStage.COMING,
        (InStage.MARKING, InEvent.MARKED): InStage.WHOLE,
        (InStage.MARKING, InEvent.DISK_FAILED): InStage.COMING,
        (InStage.WHOLE, InEvent.FINISH): InStage.ENDING,
        (InStage.ENDING, InEvent.FINISHED): InStage.DONE,
        (InStage.ENDING, InEvent.DISK_FAILED): InStage.WHOLE,
        (InStage.DROPPING, InEvent.DROPPED): InStage.BAD,
        (InStage.DROPPING, InEvent.DISK_FAILED): InStage.COMING,
    }
)
"""The table above. An event that is not in it changes nothing."""


class Kept(enum.IntEnum):
    """The state of a transfer on disk."""

    COMING = 0
    WHOLE = 1
    DONE = 2
    BAD = 3


@dataclass(slots=True)
class Piece:
    """One part. `size`: bytes of its data. `kept`: whether it is on disk."""

    digest: bytes
    size: int
    kept: bool = False


@dataclass(frozen=True, slots=True)
class LastPart:
    """What the last part of a transfer says: its own number, and the hash of the whole."""

    number: int
    whole_hash: bytes


@dataclass(slots=True)
class Arriving:
    """One transfer that is not finished. `heard_at`: when its last new part came, monotonic seconds."""

    expires: int
    heard_at: float
    stage: InStage = InStage.COMING
    pieces: dict[int, Piece] = field(default_factory=dict)
    last: LastPart | None = None
    """What its last part says, if that came."""
    waiting: dict[int, tuple[LaneId, Record]] = field(default_factory=dict)
    """Who is answered once the disk has answered, by number: the latest lane, and the record without its
    body."""
    shown: int = 0
    order: int = 0
    """Its place among the whole ones."""
    held: bool = False
    """Whether the program holds it."""
    session: bytes | None = None
    """That of the lane that its last new part came over, if there is one."""
    received_at: int = 0
    """When it was found to be whole, Unix seconds."""

    def move(self, event: InEvent) -> bool:
        """Change the stage by the table; returns whether it changed."""
        becomes = TABLE.get((self.stage, event))
        if becomes is None:
            return False
        self.stage = becomes
        return True

    @property
    def size(self) -> int:
        """Bytes of data so far."""
        return sum(piece.size for piece in self.pieces.values())

    @property
    def settled(self) -> bool:
        """Whether no part of it is being written."""
        return all(piece.kept for piece in self.pieces.values())

    @property
    def complete(self) -> bool:
        """Whether all parts are on disk."""
        return self.last is not None and len(self.pieces) == self.last.number + 1 and self.settled

    def contradicts(self, part: Part, expires: int) -> bool:
        """Whether a new part cannot belong to it."""
        if part.number in self.pieces or expires != self.expires:
            return True
        if part.whisper or part.number >= PARTS_MOST:
            return True
        if self.last is not None:
            return part.last or part.number > self.last.number
        return part.last and any(number > part.number for number in self.pieces)

    def wait(self, number: int, lane: LaneId, record: Record) -> None:
        """Answer this record later."""
        if number in self.waiting or len(self.waiting) < PARTS_MOST:
            self.waiting[number] = (lane, replace(record, body=b""))
