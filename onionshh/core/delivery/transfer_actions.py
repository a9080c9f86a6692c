"""What the two machines of transfers ask their drivers to do, and the rows they keep on disk. Pure.

`OutgoingTransfer` (transfer_out.py) gives the actions of the first group. `IncomingTransfers`
(transfer_in.py) gives those of the second, and `Send` and `Count` of actions.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onionshh.core.delivery.actions import Count, Send
from onionshh.core.delivery.parts import Part, TransferId
from onionshh.core.delivery.record import Record
from onionshh.ids import WhisperId
from onionshh.reasons import Reason

if TYPE_CHECKING:
    from onionshh.core.delivery.transfer_out import OutStage

# What an outgoing transfer asks for.


@dataclass(frozen=True, slots=True)
class NeedMore:
    """Take the next piece from the program. Then call `more`, `end` or `source_failed`, once."""


@dataclass(frozen=True, slots=True)
class SendPart:
    """Deliver this record. Then call `acknowledged`, `expired` or `failed` with its id."""

    record: Record


@dataclass(frozen=True, slots=True)
class Renew:
    """All parts handed out have arrived. Give up the lane now. The next part comes after this pause and goes
    over a new one, for which everything is drawn anew: hops, meeting point, introducer."""

    pause_seconds: float


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Stop delivering these parts: the transfer is over. Nothing need be called for them."""

    parts: tuple[WhisperId, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """Tell the program how many bytes have arrived. `size`: of how many, if that is known."""

    arrived: int
    size: int | None


@dataclass(frozen=True, slots=True)
class TransferEnded:
    """Tell the program how it ended: DELIVERED, EXPIRED or FAILED. `why`: in words, if not delivered."""

    stage: OutStage
    why: str = ""


OutAction = NeedMore | SendPart | Renew | Withdraw | Progress | TransferEnded
OutActions = tuple[OutAction, ...]


# Rows of incoming transfers.


@dataclass(frozen=True, slots=True)
class KeepPart:
    """A part that arrived. If its transfer is finished or dropped on disk, this changes nothing. `session`:
    that of the lane that it came over, if there is one."""

    part: Part
    expires: int
    digest: bytes
    """SHA3-256 of the body of its record, to recognise a copy."""
    session: bytes | None = None


@dataclass(frozen=True, slots=True)
class MarkWhole:
    """All parts are there and fit. From now on the transfer may be shown. `received_at`: Unix seconds."""

    transfer: TransferId
    received_at: int


@dataclass(frozen=True, slots=True)
class DropTransfer:
    """Erase all parts, and note the id as refused for good. `reason`: why."""

    transfer: TransferId
    expires: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class FinishTransfer:
    """Erase all parts, and note the id as finished."""

    transfer: TransferId


@dataclass(frozen=True, slots=True)
class ForgetTransfer:
    """Erase the id of a transfer that is finished or dropped."""

    transfer: TransferId


TransferRow = KeepPart | MarkWhole | DropTransfer | FinishTransfer | ForgetTransfer


# What incoming transfers ask for.


@dataclass(frozen=True, slots=True)
class RememberTransfers:
    """Commit all of these rows or none. Then call `remembered` or `not_remembered` with the token."""

    token: int
    rows: tuple[TransferRow, ...]


@dataclass(frozen=True, slots=True)
class CheckWhole:
    """Compute SHA3-256 over the parts on disk, numbers 0 to `parts` - 1. Then call `checked`."""

    transfer: TransferId
    parts: int


@dataclass(frozen=True, slots=True)
class OfferTransfer:
    """Show this whole transfer to the caller that has waited longest, for the `shown`-th time. `session`:
    that of its sender, if there is one. `received_at`: when it was whole, Unix seconds."""

    transfer: TransferId
    size: int
    parts: int
    shown: int
    session: bytes | None = None
    received_at: int = 0


@dataclass(frozen=True, slots=True)
class TransferLost:
    """Tell the program about a transfer of which only `size` bytes came, and which is erased."""

    transfer: TransferId
    size: int
    reason: Reason
    session: bytes | None = None


InAction = RememberTransfers | CheckWhole | OfferTransfer | TransferLost | Send | Count
InActions = tuple[InAction, ...]


# What is found on disk.


@dataclass(frozen=True, slots=True)
class StoredPart:
    """One part on disk. `size`: bytes of its data."""

    number: int
    digest: bytes
    size: int


@dataclass(frozen=True, slots=True)
class StoredTransfer:
    """One transfer on disk. `state`: a Kept of arriving.py. `last`: the number of its last part, if that
    is there. `whole_hash`: what the last part says of the whole. `session`, `received_at`: as in
    `OfferTransfer`."""

    transfer: TransferId
    state: int
    expires: int
    shown: int
    last: int | None
    whole_hash: bytes
    parts: tuple[StoredPart, ...] = field(default=())
    session: bytes | None = None
    received_at: int = 0
