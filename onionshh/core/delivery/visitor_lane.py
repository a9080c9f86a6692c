"""One visitor's lane in a Receiver: which receipts it owes, and whether it is read. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Final

from onionshh.core.delivery.record import Record
from onionshh.ids import WhisperId

VISITOR_SENDINGS_MOST: Final = 4
"""With this many sendings waiting for a visitor's window, nothing more is read from the visitor."""
RECEIPTS_TOGETHER: Final = 8
"""How many receipts may wait for the next whisper."""


@dataclass(slots=True)
class Owed:
    """A receipt that is owed. `receipt`: None if the sender wants none, or gets none here. `again`: the
    whisper arrived before, so its reply is sent again too. `offered`: the program has just got the whisper
    and may reply."""

    receipt: Record | None
    again: bool
    offered: bool


@dataclass(slots=True)
class VisitorLane:
    """Times are monotonic seconds."""

    used_at: float
    session: bytes | None = None
    """That of the peer, if there is one."""
    owed: dict[WhisperId, Owed] = field(default_factory=dict)
    since: float = inf
    """When the first receipt began to wait."""
    more: bool = False
    """Whether another record is on its way."""
    leaving: int = 0
    blocked: Record | None = None
    """The record that waits for room."""
    waited_for: bool = True
    """Whether the record had not expired when it began to wait."""
    judging: bool = False
    """Whether the driver is asking the disk about the record again."""
    paused: bool = False
    replies: set[WhisperId] = field(default_factory=set)
    """Replies that were handed to it and are not acknowledged. None goes over one lane twice."""

    @property
    def may_be_read(self) -> bool:
        """Whether more is read from this visitor."""
        return self.blocked is None and not self.judging and self.leaving < VISITOR_SENDINGS_MOST

    @property
    def may_wait(self) -> bool:
        """Whether the receipts may wait for the next whisper or for a reply."""
        offered = any(debt.offered for debt in self.owed.values())
        return len(self.owed) < RECEIPTS_TOGETHER and (self.more or offered)
