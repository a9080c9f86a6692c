"""The window of one layer, at either of its ends (SPEC 7).

The sender counts the cells that are not acknowledged yet. It keeps the tag of each cell that an ACK will
name. The receiver counts too, and owes one ACK per `ack_every` cells. Nobody can know a tag without its cell,
so an ACK proves that the cell arrived.

A relay has one pair of windows per circuit, and most circuits are idle. It uses lists and slots, because an
empty deque takes 620 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from onionshh.crypto.primitives import equal
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason


@dataclass(frozen=True, slots=True)
class Flow:
    """Two consensus parameters. `ack_every` divides `window`."""

    ack_every: int
    window: int


class SendWindow:
    """How many counted cells may still leave, and which tags the ACKs must name."""

    __slots__ = ("_flow", "expected", "limit", "sent_cells", "unacknowledged")

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self.limit = flow.window
        """How many counted cells may be unacknowledged at once."""
        self.sent_cells = 0
        """How many counted cells have left in total."""
        self.unacknowledged = 0
        self.expected: list[bytes] = []
        """The tags that the next ACKs must name, in order."""

    def leave_room(self) -> None:
        """Use only a quarter of the window from now on, to leave room for other circuits."""
        self.limit = max(self._flow.ack_every, self._flow.window // 4)

    def sent(self, tag: bytes) -> None:
        """A counted cell left with this tag."""
        self.sent_cells += 1
        self.unacknowledged += 1
        if self.sent_cells % self._flow.ack_every == 0:
            self.expected.append(tag)

    def acknowledged(self, tag: bytes) -> None:
        """An ACK for this tag arrived. ProtocolError if another tag is due, or none."""
        if not self.expected:
            raise ProtocolError(Reason.ACK_NOT_DUE)
        if not equal(self.expected.pop(0), tag):
            raise ProtocolError(Reason.ACK_MISMATCH)
        self.unacknowledged -= self._flow.ack_every


class ReceiveWindow:
    """The ACKs that are owed for received cells."""

    __slots__ = ("_came", "_flow", "_unacknowledged", "owed", "paused")

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._came = 0
        self._unacknowledged = 0
        self.owed: list[bytes] = []
        """The tags of the cells to acknowledge, in order."""
        self.paused = False
        """Whether ACKs are held back because nobody reads. The other end then stops."""

    def came(self, tag: bytes) -> None:
        """A counted cell arrived with this tag. ProtocolError if the window did not allow it."""
        flow = self._flow
        self._came += 1
        self._unacknowledged += 1
        if self._unacknowledged > flow.window:
            raise ProtocolError(Reason.WINDOW_OVERRUN)
        if self._came % flow.ack_every == 0:
            self.owed.append(tag)

    def take_ack(self) -> bytes:
        """The tag for the next ACK. The ACK leaves now and lets the other end send more."""
        self._unacknowledged -= self._flow.ack_every
        return self.owed.pop(0)

    def forget(self) -> None:
        """The circuit has ended: no more ACKs leave."""
        self.owed.clear()
