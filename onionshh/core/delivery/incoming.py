"""The states of one received whisper, and what changes them: the table of the Receiver (SPEC 13). Pure.

| state   | REMEMBER | REMEMBERED | NOT_REMEMBERED | FINISH    | FINISHED | NOT_FINISHED |
|---------|----------|------------|----------------|-----------|----------|--------------|
| FRESH   | KEEPING  |            |                | ENDING    |          |              |
| KEEPING |          | KEPT       | FRESH          | ENDING    |          |              |
| KEPT    |          |            |                | ENDING    |          |              |
| ENDING  |          |            |                |           | DONE     | FRESH, KEPT  |
| DONE    |          |            |                |           |          |              |

FRESH: only in memory, and not acknowledged. KEEPING: its row is being written. KEPT: it is on disk and may be
acknowledged. ENDING: the program has finished it, and this is being written; its receipt waits until then.
DONE: only its id is left, on disk. If an ending cannot be written, the whisper returns to its earlier state.
If its row was being written then, it returns to what that led to meanwhile: `before` moves by the same table.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from onionshh.core.delivery.actions import LaneId
from onionshh.core.delivery.record import NO_ID, WHISPER, Record
from onionshh.ids import WhisperId


class Stage(enum.Enum):
    """The state of one received whisper."""

    FRESH = enum.auto()
    KEEPING = enum.auto()
    KEPT = enum.auto()
    ENDING = enum.auto()
    DONE = enum.auto()


class Event(enum.Enum):
    """What changes its state."""

    REMEMBER = enum.auto()
    REMEMBERED = enum.auto()
    NOT_REMEMBERED = enum.auto()
    FINISH = enum.auto()
    FINISHED = enum.auto()


TABLE: Final = MappingProxyType(
    {
        (Stage.FRESH, Event.REMEMBER): Stage.KEEPING,
        (Stage.KEEPING, Event.REMEMBERED): Stage.KEPT,
        (Stage.KEEPING, Event.NOT_REMEMBERED): Stage.FRESH,
        (Stage.FRESH, Event.FINISH): Stage.ENDING,
        (Stage.KEEPING, Event.FINISH): Stage.ENDING,
        (Stage.KEPT, Event.FINISH): Stage.ENDING,
        (Stage.ENDING, Event.FINISHED): Stage.DONE,
    }
)
"""The table above without NOT_FINISHED. An event that is not in it changes nothing."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A whisper as it was accepted. `received_at` and `expires`: Unix seconds. `session`: that of the peer,
    if there is one. `in_reply_to`: the whisper of ours that it answers, as its sender says. `waited`: whether
    it lay in a mailbox."""

    whisper_id: WhisperId
    body: bytes = field(repr=False)
    received_at: float
    expires: int
    privacy_class: int
    session: bytes | None = None
    in_reply_to: WhisperId = NO_ID
    receipt_wanted: bool = True
    waited: bool = False

    @property
    def record(self) -> Record:
        """The record that it came in."""
        return Record(
            self.whisper_id,
            self.in_reply_to,
            self.expires,
            self.privacy_class,
            WHISPER,
            self.body,
            self.receipt_wanted,
        )


@dataclass(slots=True)
class Incoming:
    """One whisper that the program has not finished."""

    size: int
    expires: int
    shown: int
    """How often in total."""
    taken: Taken | None
    """None when it is on disk."""
    stage: Stage
    before: Stage = Stage.FRESH
    """The stage before ENDING."""
    held: bool = False
    """Whether the program holds it."""
    aside: bool = False
    """Whether it was shown so often that it is shown again only on request."""
    lane: LaneId | None = None
    """The lane that it last arrived on. Its reply goes out there."""
    session: bytes | None = None

    def move(self, event: Event) -> bool:
        """Change the state by the table; returns whether it changed."""
        if self.stage is Stage.ENDING and event in (Event.REMEMBERED, Event.NOT_REMEMBERED):
            self.before = TABLE.get((self.before, event), self.before)
            if self.before is Stage.KEPT:
                self.taken = None
            return True
        becomes = TABLE.get((self.stage, event))
        if becomes is None:
            return False
        if becomes is Stage.ENDING:
            self.before = self.stage
        self.stage = becomes
        if becomes is Stage.KEPT:
            self.taken = None
        return True

    def not_finished(self) -> None:
        """Its ending could not be written: go back to the stage before it."""
        if self.stage is Stage.ENDING:
            self.stage = self.before
