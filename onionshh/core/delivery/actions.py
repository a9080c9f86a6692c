"""What a Sender asks of its driver, and what the driver tells of lanes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NewType

from onionshh.core.whisper import Record
from onionshh.ids import WhisperId

if TYPE_CHECKING:
    from onionshh.core.delivery.outgoing import State

LaneId = NewType("LaneId", int)


@dataclass(frozen=True, slots=True)
class NeedLane:
    """Open a lane: answered by `lane_opened` or `lane_failed`. `first` may ride along in the opening."""

    first: Record


@dataclass(frozen=True, slots=True)
class StopOpening:
    """Nobody waits for the lane any more; `lane_failed` is not awaited."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send these over the lane, in one frame if they fit; `lane_sent` when the last cell has left."""

    lane: LaneId
    records: tuple[Record, ...]
    whisper: WhisperId | None
    """The one of them that is a whisper of ours."""


@dataclass(frozen=True, slots=True)
class EndLane:
    """It is of no more use. `lane_lost` need not follow."""

    lane: LaneId
    reason: str


@dataclass(frozen=True, slots=True)
class Tell:
    """What the program should know of a whisper. `refused`: why the other end refused it, and
    `seconds_left` of its time to live then. `round_trip_seconds`: of what was delivered, where known."""

    whisper: WhisperId
    state: State
    why: str = ""
    lane: LaneId | None = None
    refused: int | None = None
    seconds_left: float = 0.0
    round_trip_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer that was awaited, or may be; None: none can come any more."""

    whisper: WhisperId
    body: bytes | None = field(repr=False)


Action = NeedLane | StopOpening | Send | EndLane | Tell | Answered
Actions = tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why no lane could be opened, for people. `hopeless`: none ever can. `nobody`: nobody is there to be
    reached, at present."""

    why: str
    hopeless: bool = False
    nobody: bool = False
