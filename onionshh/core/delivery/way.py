"""The lane of a Sender: whether it is open, and when the next try may begin. Pure.

| stage   | NEEDED  | STOPPED | OPENED | FAILED | GONE   |
|---------|---------|---------|--------|--------|--------|
| CLOSED  | OPENING |         |        |        |        |
| OPENING |         | CLOSED  | OPEN   | CLOSED |        |
| OPEN    |         |         |        |        | CLOSED |

NEEDED: something must go out, and the pause after the last failure is over. STOPPED: nobody needs the lane
any more. OPENED, FAILED: the results of the opening. GONE: the lane ended, whoever ended it.
"""

from __future__ import annotations

import enum
from math import inf
from types import MappingProxyType
from typing import Final

from onionshh.core.base.chance import Chance
from onionshh.core.delivery.actions import Failure, LaneId

IDLE_SECONDS: Final = (30.0, 55.0)
"""An idle lane ends after a time drawn between these. With a session, the next whisper costs one cell
more."""
IDLE_WITHOUT_SESSION_SECONDS: Final = (120.0, 120.0)
"""Without a session, the next whisper needs a new introduction."""
IDLE_WHILE_ASKED_SECONDS: Final = 120.0
"""A lane on which an answer is awaited ends after so long without one."""
SENDINGS_MOST: Final = 2
"""Sendings that may wait in a lane: one fills the part of the window that the other leaves open."""
PAUSES_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
PAUSES_NOBODY_SECONDS: Final = (2.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Between tries while nobody is published at the address: the endpoint may start soon."""


class WayStage(enum.Enum):
    """The stage of the lane."""

    CLOSED = enum.auto()
    OPENING = enum.auto()
    OPEN = enum.auto()


class WayEvent(enum.Enum):
    """What changes the stage."""

    NEEDED = enum.auto()
    STOPPED = enum.auto()
    OPENED = enum.auto()
    FAILED = enum.auto()
    GONE = enum.auto()


TABLE: Final = MappingProxyType(
    {
        (WayStage.CLOSED, WayEvent.NEEDED): WayStage.OPENING,
        (WayStage.OPENING, WayEvent.STOPPED): WayStage.CLOSED,
        (WayStage.OPENING, WayEvent.OPENED): WayStage.OPEN,
        (WayStage.OPENING, WayEvent.FAILED): WayStage.CLOSED,
        (WayStage.OPEN, WayEvent.GONE): WayStage.CLOSED,
    }
)
"""The table above. An event that is not in it changes nothing."""


class _Pauses:
    """The pauses between tries. Each is longer than the one before, until something comes back."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._failures = 0
        """How many lanes in a row could not be opened, or ended before anything came back."""
        self.until = 0.0

    def begin(self, seconds: tuple[float, ...], now: float) -> None:
        """One more lane failed. `seconds`: the pause after the first failure, the second, and so on."""
        self._failures += 1
        pause = seconds[min(self._failures, len(seconds)) - 1]
        self.until = now + pause * self._chance.between(0.5, 1.0)

    def heard(self) -> None:
        """Something came back: the next failure counts as the first."""
        self._failures = 0


class Way:
    """Times are monotonic seconds."""

    def __init__(self, chance: Chance, idle_seconds: tuple[float, float] = IDLE_SECONDS) -> None:
        self._chance = chance
        self._idle_range = idle_seconds
        self._idle_seconds = idle_seconds[1]
        """Drawn for each lane, so that the end of a lane does not tell when it was used last."""
        self._heard = False
        self._used_at = 0.0
        self._pauses = _Pauses(chance)
        self.borrowed = False
        """Whether the other end opened the lane. Then it is not for us to end it: it may wait there for an
        answer, or hear nobody but us."""
        self._leaving = 0
        self.stage = WayStage.CLOSED
        self._last: LaneId | None = None
        """The lane in use, or the one before."""
        self.problem = ""
        """The present problem in words; empty if there is none."""
        self.away = False
        """Whether the last try found nobody there, and no new try has begun."""

    @property
    def lane(self) -> LaneId | None:
        """The lane in use."""
        return self._last if self.stage is WayStage.OPEN else None

    def is_ours(self, lane: LaneId) -> bool:
        """Whether this lane is in use, or was until it ended and no other came."""
        return lane == self._last

    def move(self, event: WayEvent) -> bool:
        """Change the stage by the table; returns whether it changed."""
        becomes = TABLE.get((self.stage, event))
        if becomes is None:
            return False
        self.stage = becomes
        return True

    def may_open(self, now: float) -> bool:
        """Begin to open a lane if the pause is over; returns whether to open one."""
        if now < self._pauses.until or not self.move(WayEvent.NEEDED):
            return False
        self.away = False
        return True

    def opened(self, lane: LaneId, now: float, *, borrowed: bool = False) -> None:
        """A lane is open, whatever was requested in the meantime. `borrowed`: the other end opened it."""
        self.stage, self._last, self.borrowed = WayStage.OPEN, lane, borrowed
        self._leaving, self._heard, self._used_at = 0, False, now
        self._idle_seconds = self._chance.between(*self._idle_range)
        self.problem, self.away = "", False

    def failed(self, failure: Failure, now: float) -> None:
        """No lane could be opened."""
        self.move(WayEvent.FAILED)
        self.problem, self.away = failure.why, failure.nobody
        nobody = failure.nobody or failure.hopeless
        self._pauses.begin(PAUSES_NOBODY_SECONDS if nobody else PAUSES_SECONDS, now)

    def lost(self, now: float) -> None:
        """The lane ended, and we did not end it. If it ended at once, the other end may be full, so wait."""
        if not self._heard:
            self._pauses.begin(PAUSES_SECONDS, now)

    def heard(self, lane: LaneId, now: float) -> None:
        """Something came back, perhaps over an earlier lane."""
        self._pauses.heard()
        if lane == self.lane:
            self._heard = True
            self._used_at = now

    def sending(self) -> None:
        """One more sending is handed to the lane."""
        self._leaving += 1

    def sent(self, now: float) -> None:
        """One sending has left the lane completely."""
        self._leaving -= 1
        self._used_at = now

    @property
    def has_room(self) -> bool:
        """Whether another sending may be handed to the lane."""
        return self._leaving < SENDINGS_MOST

    def used(self, lane: LaneId, now: float) -> None:
        """Something else went over a lane, in either direction."""
        if lane == self.lane:
            self._used_at = now

    def idle_at(self, *, asked: bool) -> float:
        """When the lane has been idle long enough to end. `asked`: an answer is awaited on it."""
        if self.stage is not WayStage.OPEN or self.borrowed:
            return inf
        return self._used_at + (IDLE_WHILE_ASKED_SECONDS if asked else self._idle_seconds)

    @property
    def openable_at(self) -> float:
        """When the next try may begin; never while a try is under way or a lane is open."""
        return self._pauses.until if self.stage is WayStage.CLOSED else inf

    def try_now(self, now: float) -> None:
        """There is a new way to the other end: the next try need not wait."""
        self._pauses.until = now
