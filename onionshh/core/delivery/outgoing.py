"""What one whisper on its way is, and what moves it: the table of the Sender (SPEC 13). Pure.

| state     | LEFT | LOST   | ACKNOWLEDGED | OVERDUE | TOO_FAR | EXPIRES | HOPELESS |
|-----------|------|--------|--------------|---------|---------|---------|----------|
| QUEUED    | OUT  |        | DELIVERED    | EXPIRED | FAILED  | EXPIRED | FAILED   |
| OUT       |      | QUEUED | DELIVERED    | EXPIRED | FAILED  | EXPIRED | FAILED   |
| DELIVERED |      |        |              |         |         |         |          |
| EXPIRED   |      |        |              |         |         |         |          |
| FAILED    |      |        |              |         |         |         |          |

LEFT: it was handed to a lane. LOST: that lane ended, or the receipt is late, and then the lane is given up.
ACKNOWLEDGED: a receipt or an answer came, over whichever lane. OVERDUE, TOO_FAR: the other end refused it
for its dates. EXPIRES: its time to live is over. HOPELESS: it can never work, or nothing more is tried.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from math import inf
from types import MappingProxyType
from typing import Final

from onionshh.core.delivery.actions import LaneId
from onionshh.core.delivery.record import EXPIRY_GRACE_SECONDS, Record

ASKABLE_SECONDS: Final = EXPIRY_GRACE_SECONDS / 2
"""How long past its expiry a copy may go out for the sake of its answer: the other end would take it."""


class State(enum.Enum):
    """Of one whisper."""

    QUEUED = "queued"
    OUT = "out"
    DELIVERED = "delivered"
    EXPIRED = "expired"
    FAILED = "failed"


class Happens(enum.Enum):
    """What moves a whisper."""

    LEFT = enum.auto()
    LOST = enum.auto()
    ACKNOWLEDGED = enum.auto()
    OVERDUE = enum.auto()
    TOO_FAR = enum.auto()
    EXPIRES = enum.auto()
    HOPELESS = enum.auto()


FINAL: Final = frozenset((State.DELIVERED, State.EXPIRED, State.FAILED))

TABLE: Final = MappingProxyType(
    {
        (State.QUEUED, Happens.LEFT): State.OUT,
        (State.OUT, Happens.LOST): State.QUEUED,
        **{
            (state, happens): becomes
            for state in (State.QUEUED, State.OUT)
            for happens, becomes in (
                (Happens.ACKNOWLEDGED, State.DELIVERED),
                (Happens.OVERDUE, State.EXPIRED),
                (Happens.TOO_FAR, State.FAILED),
                (Happens.EXPIRES, State.EXPIRED),
                (Happens.HOPELESS, State.FAILED),
            )
        },
    }
)
"""The table above; what is not in it changes nothing."""


@dataclass(slots=True)
class OutgoingWhisper:
    """One whisper. Times are monotonic seconds."""

    record: Record
    deadline: float
    state: State = State.QUEUED
    lane: LaneId | None = None
    """The one that it went out on last, while that lane is there."""
    left_at: float = 0.0
    due: float = inf
    """When its receipt is late."""
    wait: float = 0.0
    awaited: bool = False
    answered: bool = False
    whole: bool = True
    """Whether its body is still there."""

    @property
    def askable_until(self) -> float:
        return self.deadline + ASKABLE_SECONDS if self.whole else -inf
