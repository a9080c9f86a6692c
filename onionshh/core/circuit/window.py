"""The window of one layer, at either of its ends (SPEC 7).

The sender counts the cells that were not acknowledged yet, and keeps the tag of each cell that an ACK will
name. The receiver counts too, and owes an ACK for every so many cells. A tag cannot be known without its
cell, so an ACK proves that the cell arrived.

A relay holds one pair for each circuit, most of them idle for good: lists and slots, since an empty deque
takes 620 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from onionshh.crypto.primitives import equal
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason


@dataclass(frozen=True, slots=True)
class Flow:
    """ack divides window (consensus parameters)."""

    ack_every: int
    window: int


class SendWindow:
    """How many counted cells may still leave, and which tags the ACKs have to name."""

    __slots__ = ("_flow", "expected", "limit", "sent_cells", "unacknowledged")

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self.limit = flow.window
        """How many counted cells may be unacknowledged at once."""
        self.sent_cells = 0
        """Counted cells that left, of all time."""
        self.unacknowledged = 0
        self.expected: list[bytes] = []
        """The tags that the next ACKs have to name, in order."""

    def leave_room(self) -> None:
        """Use a quarter of the window from now on, for the sake of other circuits."""
        self.limit = max(self._flow.ack_every, self._flow.window // 4)

    def sent(self, tag: bytes) -> None:
        """A counted cell left under this tag."""
        self.sent_cells += 1
        self.unacknowledged += 1
        if self.sent_cells % self._flow.ack_every == 0:
            self.expected.append(tag)

    def acknowledged(self, tag: bytes) -> None:
        """An ACK came and names this tag. ProtocolError if that is not the next one that is due."""
        if not self.expected:
            raise ProtocolError(Reason.ACK_NOT_DUE)
        if not equal(self.expected.pop(0), tag):
            raise ProtocolError(Reason.ACK_MISMATCH)
        self.unacknowledged -= self._flow.ack_every


class ReceiveWindow:
    """The ACKs that are owed for the cells that came."""

    __slots__ = ("_came", "_flow", "_unacknowledged", "owed", "paused")

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._came = 0
        self._unacknowledged = 0
        self.owed: list[bytes] = []
        """The tags of the cells to be acknowledged, in order."""
        self.paused = False
        """Nobody reads what comes: no ACK leaves, and so the other end stops."""

    def came(self, tag: bytes) -> None:
        """A counted cell came under this tag. ProtocolError if the window did not allow it."""
        flow = self._flow
        self._came += 1
        self._unacknowledged += 1
        if self._unacknowledged > flow.window:
            raise ProtocolError(Reason.WINDOW_OVERRUN)
        if self._came % flow.ack_every == 0:
            self.owed.append(tag)

    def take_ack(self) -> bytes:
        """The tag that the next ACK names; it leaves now, and lets the other end send on."""
        self._unacknowledged -= self._flow.ack_every
        return self.owed.pop(0)

    def forget(self) -> None:
        """The circuit is over: no ACK leaves any more."""
        self.owed.clear()
