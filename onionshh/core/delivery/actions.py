"""What a Sender or Receiver asks of its driver, and what the driver tells of lanes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NewType

from onionshh.core.delivery.record import Record
from onionshh.ids import WhisperId
from onionshh.reasons import Reason

if TYPE_CHECKING:
    from onionshh.core.delivery.incoming import Taken
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
    reason: Reason


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


@dataclass(frozen=True, slots=True)
class Keep:
    """A row for a whisper that was taken on, and how often it was shown: from then on its id is known."""

    whisper: Taken
    shown: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Erase a whisper's row, or note its id where there is none yet (`fresh`), and keep the reply."""

    whisper: WhisperId
    fresh: Taken | None
    reply: Record | None


@dataclass(frozen=True, slots=True)
class Remember:
    """Commit these rows, all or none; then `remembered`, or `not_remembered`, with the token."""

    token: int
    rows: tuple[Keep | Finish, ...]


@dataclass(frozen=True, slots=True)
class Judge:
    """A record that waited for room: ask the disk again whether it is known, and bring it in again."""

    lane: LaneId
    record: Record


@dataclass(frozen=True, slots=True)
class Offer:
    """The program that asks longest may be shown this one, for the `shown`-th time. `taken`: None if it must
    be read from disk."""

    whisper: WhisperId
    taken: Taken | None
    shown: int


@dataclass(frozen=True, slots=True)
class Repeat:
    """Send what was replied to this whisper once more, if it is on disk."""

    lane: LaneId
    whisper: WhisperId


@dataclass(frozen=True, slots=True)
class Erase:
    """This reply has arrived: erase it soon."""

    reply: WhisperId


@dataclass(frozen=True, slots=True)
class Pause:
    """Read nothing more from this lane."""

    lane: LaneId


@dataclass(frozen=True, slots=True)
class Resume:
    """Read from it again."""

    lane: LaneId


@dataclass(frozen=True, slots=True)
class Count:
    """Something was dropped, for this reason."""

    reason: Reason


Action = (
    NeedLane
    | StopOpening
    | Send
    | EndLane
    | Tell
    | Answered
    | Remember
    | Judge
    | Offer
    | Repeat
    | Erase
    | Pause
    | Resume
    | Count
)
Actions = tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why no lane could be opened, for people. `hopeless`: none ever can. `nobody`: nobody is there to be
    reached, at present."""

    why: str
    hopeless: bool = False
    nobody: bool = False
