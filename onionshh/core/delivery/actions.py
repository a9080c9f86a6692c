"""What a Sender or Receiver asks its driver to do, and what the driver reports about lanes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
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
    """Open a lane, then call `lane_opened` or `lane_failed`. The opening may carry `first`."""

    first: Record


@dataclass(frozen=True, slots=True)
class StopOpening:
    """Nobody waits for the lane any more. The driver need not call `lane_failed`."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send these over the lane, in one frame if they fit. Call `lane_sent` when the last cell has left."""

    lane: LaneId
    records: tuple[Record, ...]
    whisper: WhisperId | None
    """The id of our own whisper among them."""


@dataclass(frozen=True, slots=True)
class EndLane:
    """End this lane, which is not needed any more. `lane_lost` need not follow."""

    lane: LaneId
    reason: Reason


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the program about a whisper. `refused`: why the other end refused it. `seconds_left`: how much of
    its time to live was left then. `round_trip_seconds`: for a delivered whisper, if known."""

    whisper: WhisperId
    state: State
    why: str = ""
    lane: LaneId | None = None
    refused: int | None = None
    seconds_left: float = 0.0
    round_trip_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Unheard:
    """This whisper, or a question for its answer, went alone, and nothing came back in time."""

    whisper: WhisperId


@dataclass(frozen=True, slots=True)
class Deposit:
    """Leave this whisper in the other end's mailbox, then call `stored` or `not_stored`."""

    record: Record


@dataclass(frozen=True, slots=True)
class Recall:
    """A whisper that was left in a mailbox has ended: have what relays still keep of it erased."""

    whisper: WhisperId


@dataclass(frozen=True, slots=True)
class Answered:
    """Give the program an answer. None: no answer can come any more."""

    whisper: WhisperId
    answer: Record | None


@dataclass(frozen=True, slots=True)
class Keep:
    """A row for an accepted whisper and how often it was shown. From then on its id is known."""

    whisper: Taken
    shown: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Erase a whisper's row and keep the reply. If there is no row yet (`fresh`), note the whisper's id.
    `session`: that of the peer, if there is one."""

    whisper: WhisperId
    fresh: Taken | None
    reply: Record | None
    session: bytes | None = None


@dataclass(frozen=True, slots=True)
class KeepAnswer:
    """A row for the answer to a whisper. Its receipt leaves only when it is on disk."""

    answer: Record


@dataclass(frozen=True, slots=True)
class Remember:
    """Commit all of these rows or none. Then call `remembered` or `not_remembered` with the token."""

    token: int
    rows: tuple[Keep | Finish | KeepAnswer, ...]


@dataclass(frozen=True, slots=True)
class Judge:
    """There may be room now for a waiting record. Ask the disk again whether it is known, and bring it in."""

    lane: LaneId
    record: Record


@dataclass(frozen=True, slots=True)
class Offer:
    """Show this whisper to the caller that has waited longest, for the `shown`-th time. `taken`: None if the
    whisper must be read from disk."""

    whisper: WhisperId
    taken: Taken | None
    shown: int


@dataclass(frozen=True, slots=True)
class Repeat:
    """Send the reply to this whisper again, if it is on disk."""

    lane: LaneId
    whisper: WhisperId


@dataclass(frozen=True, slots=True)
class RepeatAll:
    """Bring over all replies that wait for the peer of this session: the peer has just opened a lane, or its
    last lane has ended."""

    session: bytes


@dataclass(frozen=True, slots=True)
class CallBack:
    """No lane to the peer of this session is open, and a reply waits: bring it over, if the peer can be
    called."""

    session: bytes
    reply: Record


@dataclass(frozen=True, slots=True)
class Erase:
    """Erase this reply soon: it has arrived."""

    reply: WhisperId


@dataclass(frozen=True, slots=True)
class Pause:
    """Read nothing more from this lane."""

    lane: LaneId


@dataclass(frozen=True, slots=True)
class Resume:
    """Read from this lane again."""

    lane: LaneId


@dataclass(frozen=True, slots=True)
class Count:
    """Count a drop for this reason."""

    reason: Reason


Action = (
    NeedLane
    | StopOpening
    | Send
    | EndLane
    | Tell
    | Unheard
    | Deposit
    | Recall
    | Answered
    | Remember
    | Judge
    | Offer
    | Repeat
    | RepeatAll
    | CallBack
    | Erase
    | Pause
    | Resume
    | Count
)
Actions = tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why no lane could be opened, for people. `hopeless`: no lane can ever be opened. `nobody`: nobody is
    there now."""

    why: str
    hopeless: bool = False
    nobody: bool = False
