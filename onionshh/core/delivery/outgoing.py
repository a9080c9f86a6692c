"""The states of one outgoing whisper, and what changes them: the table of the Sender (SPEC 13). Pure.

| state     | LEFT | LOST   | UNTOLD | STORED | ACKNOWLEDGED | OVERDUE | REFUSED | EXPIRES | HOPELESS |
|-----------|------|--------|--------|--------|--------------|---------|---------|---------|----------|
| QUEUED    | OUT  |        |        | STORED | DELIVERED    | EXPIRED | FAILED  | EXPIRED | FAILED   |
| OUT       |      | QUEUED | SENT   | STORED | DELIVERED    | EXPIRED | FAILED  | EXPIRED | FAILED   |
| STORED    |      |        | SENT   |        | DELIVERED    | EXPIRED | FAILED  | EXPIRED | FAILED   |
| SENT      |      |        |        |        | DELIVERED    |         |         |         |          |
| DELIVERED |      |        |        |        |              |         |         |         |          |
| EXPIRED   |      |        |        |        |              |         |         |         |          |
| FAILED    |      |        |        |        |              |         |         |         |          |

LEFT: it was handed to a lane. LOST: that lane ended, or the receipt is late and the lane is given up. UNTOLD:
its last cell has left, or enough relays keep it, and no receipt was asked for. STORED: enough relays keep it
for the other end (`lettering.py`); it also goes on live. ACKNOWLEDGED: a receipt or an answer came, over any
lane. OVERDUE, REFUSED: the other end refused its dates, or what it is a part of. EXPIRES: its time to live is
over. HOPELESS: it can never work, or the sender stops trying.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType
from typing import Final

from onionshh.core.delivery.actions import LaneId
from onionshh.core.delivery.lettering import Lettering
from onionshh.core.delivery.record import EXPIRY_GRACE_SECONDS, Record

ASKABLE_SECONDS: Final = EXPIRY_GRACE_SECONDS / 2
"""How long after its expiry a copy may go out to get its answer: the other end still accepts it."""


class State(enum.Enum):
    """The state of one whisper."""

    QUEUED = "queued"
    OUT = "out"
    STORED = "stored"
    """Enough relays keep it for the other end."""
    SENT = "sent"
    """It left, and nobody will say whether it arrived."""
    DELIVERED = "delivered"
    EXPIRED = "expired"
    FAILED = "failed"


class Happens(enum.Enum):
    """What changes a whisper's state."""

    LEFT = enum.auto()
    LOST = enum.auto()
    UNTOLD = enum.auto()
    STORED = enum.auto()
    ACKNOWLEDGED = enum.auto()
    OVERDUE = enum.auto()
    REFUSED = enum.auto()
    EXPIRES = enum.auto()
    HOPELESS = enum.auto()


FINAL: Final = frozenset((State.SENT, State.DELIVERED, State.EXPIRED, State.FAILED))
THERE: Final = frozenset((State.SENT, State.DELIVERED))
"""Final, and an answer may still come."""
ASKED_FOR: Final = THERE | {State.STORED}
"""Small questions go out for these, rather than the whole whisper: the other end may have it."""

TABLE: Final = MappingProxyType(
    {
        (State.QUEUED, Happens.LEFT): State.OUT,
        (State.OUT, Happens.LOST): State.QUEUED,
        (State.QUEUED, Happens.STORED): State.STORED,
        (State.OUT, Happens.UNTOLD): State.SENT,
        (State.OUT, Happens.STORED): State.STORED,
        (State.STORED, Happens.UNTOLD): State.SENT,
        (State.SENT, Happens.ACKNOWLEDGED): State.DELIVERED,
        **{
            (state, happens): becomes
            for state in (State.QUEUED, State.OUT, State.STORED)
            for happens, becomes in (
                (Happens.ACKNOWLEDGED, State.DELIVERED),
                (Happens.OVERDUE, State.EXPIRED),
                (Happens.REFUSED, State.FAILED),
                (Happens.EXPIRES, State.EXPIRED),
                (Happens.HOPELESS, State.FAILED),
            )
        },
    }
)
"""The table above. An event that is not in it changes nothing."""


class Body(enum.Enum):
    """Where the body of a whisper is."""

    HERE = enum.auto()
    ERASED = enum.auto()
    """It was delivered in an earlier run. The other end has it, so a question for its answer is enough."""
    FORGOTTEN = enum.auto()
    """There were too many; its answer is not asked for any more."""


@dataclass(slots=True)
class Question:
    """The questions for a whisper's answer, after pauses."""

    asked: int = 0
    """How often."""
    at: float = inf
    """When the next one leaves, monotonic seconds."""
    in_vain: bool = False
    """Whether nothing came back to the last one. Then the whole whisper goes out."""
    answered: bool = False


@dataclass(slots=True)
class OutgoingWhisper:
    """One whisper. Times are monotonic seconds."""

    record: Record
    deadline: float
    state: State = State.QUEUED
    lane: LaneId | None = None
    """The lane that it last went out on, while that lane exists."""
    left_at: float = 0.0
    due: float = inf
    """When its receipt is late."""
    wait: float = 0.0
    alone: bool = False
    """Whether it went out in one cell, over no lane, and nothing came back so far."""
    awaited: bool = False
    question: Question = field(default_factory=Question)
    letter: Lettering | None = None
    """None: it is never left in a mailbox."""
    body: Body = Body.HERE

    @property
    def whole(self) -> bool:
        """Whether it can go out again as a whole."""
        return self.body is Body.HERE

    @property
    def askable_until(self) -> float:
        return -inf if self.body is Body.FORGOTTEN else self.deadline + ASKABLE_SECONDS
