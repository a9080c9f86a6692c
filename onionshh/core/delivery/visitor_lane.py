"""One visitor's lane as a Receiver keeps it: what is owed over it, and whether more is read from it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Final

from onionshh.core.delivery.record import Record
from onionshh.ids import WhisperId

VISITOR_SENDINGS_MOST: Final = 4
"""Sendings that may wait for one visitor's window before nothing more is taken from him."""
RECEIPTS_TOGETHER: Final = 8
"""So many receipts may wait for the whisper that is on its way."""


@dataclass(slots=True)
class Owed:
    """A receipt that is due. `again`: for a whisper that was here before, so its reply is repeated too.
    `offered`: the program has just been given that whisper, and may reply."""

    receipt: Record
    again: bool
    offered: bool


@dataclass(slots=True)
class VisitorLane:
    """Times are monotonic seconds."""

    used_at: float
    owed: dict[WhisperId, Owed] = field(default_factory=dict)
    since: float = inf
    """When the first of them began to wait."""
    more: bool = False
    """Whether another record is on its way."""
    leaving: int = 0
    blocked: Record | None = None
    """What waits for room."""
    waited_for: bool = True
    """Whether its sender still waited for it when it came."""
    judging: bool = False
    """Whether the disk is asked about it once more."""
    paused: bool = False

    @property
    def may_be_read(self) -> bool:
        """Whether more is taken from this visitor."""
        return self.blocked is None and not self.judging and self.leaving < VISITOR_SENDINGS_MOST

    @property
    def may_wait(self) -> bool:
        """Whether what is owed waits for something worth waiting for."""
        offered = any(one.offered for one in self.owed.values())
        return len(self.owed) < RECEIPTS_TOGETHER and (self.more or offered)
