"""One layer's messages: splitting, joining, the window and its ACKs (SPEC 2, 7).

The same machine serves a client's hop, a relay's end of a circuit and the end-to-end layer. It never sees a
key: it makes payloads and is told the tag under which each left, and it is given payloads with the tag
under which they came. A tag cannot be known without its cell, so an ACK proves that the cell arrived.

Nothing is taken that was not asked for: cells that say nothing would still be seen by whoever counts them
at the first link, and so be a signal from any hop to that watcher.
"""

from __future__ import annotations

from dataclasses import dataclass

from onionshh.core.link.outbox import Memory
from onionshh.crypto.primitives import equal
from onionshh.errors import ProtocolError
from onionshh.geometry import DATA, HEAD, TAG
from onionshh.ids import RandomBytes
from onionshh.wire.framing import build_payload, parse_head
from onionshh.wire.messages import ACK, CONTINUE, DROP, DROP_ECHO, DROP_PLAIN, MOST


@dataclass(frozen=True, slots=True)
class Flow:
    """ack divides window (consensus parameters)."""

    ack_every: int
    window: int


@dataclass(frozen=True, slots=True)
class OutgoingPayload:
    """One payload to encrypt and send. `early`: as RELAY_EARLY. `counts`: tell `sent` its tag."""

    payload: bytes
    early: bool
    counts: bool


@dataclass(slots=True)
class _Sending:
    message_type: int
    body: bytes
    early: bool
    offset: int = 0


class Conversation:
    """Both directions of one layer.

    `accepts` is the set of types that the present role and state take; the owner changes it as state moves.
    `echoes`: how many DROPs that ask for one are answered; one more is refused. A client asks only: none.

    A relay holds one for each circuit, most of them empty for ever: lists and slots, since an empty deque
    takes 620 bytes.
    """

    __slots__ = (
        "_acks",
        "_charged",
        "_counted_in",
        "_counted_out",
        "_echoes_left",
        "_expected",
        "_flow",
        "_held",
        "_left",
        "_limit",
        "_memory",
        "_open_type",
        "_parts",
        "_paused",
        "_queue",
        "_random_bytes",
        "_unacked_in",
        "_unacknowledged",
        "accepts",
        "came_early",
        "charged_since",
        "echoes_due",
    )

    def __init__(
        self, flow: Flow, *, accepts: frozenset[int], echoes: int, memory: Memory, random_bytes: RandomBytes
    ) -> None:
        self._flow = flow
        self._limit = flow.window
        self.accepts = accepts
        self._echoes_left = echoes
        self.echoes_due = 0
        """DROPs that we asked for and that have not come: so many are taken, and no more."""
        self._memory = memory
        self._random_bytes = random_bytes
        # Sending.
        self._queue: list[_Sending] = []
        self._acks: list[bytes] = []
        self._counted_out = 0
        self._unacknowledged = 0
        self._expected: list[bytes] = []
        # Receiving.
        self._open_type: int | None = None
        self.came_early = False
        """Whether every cell of the message under way, or last completed, came as RELAY_EARLY."""
        self.charged_since = 0.0
        """Since when a partial message is held; meaningful while `charged_bytes` is not 0."""
        self._parts: list[bytes] = []
        self._left = 0
        self._charged = 0
        self._counted_in = 0
        self._unacked_in = 0
        self._held: list[bytes] = []
        self._paused = False

    # Sending.

    def send(self, message_type: int, body: bytes, *, early: bool = False) -> None:
        """Queue a whole message. The body is kept by reference until its last cell has left."""
        if len(body) > MOST[message_type]:
            raise ValueError("message larger than its type allows")
        self._queue.append(_Sending(message_type, body, early))
        if message_type == DROP and body == DROP_ECHO:
            self.echoes_due += 1

    @property
    def waiting_messages(self) -> int:
        """Messages that have not wholly left."""
        return len(self._queue)

    @property
    def charged_bytes(self) -> int:
        """Bytes of a partial message held in memory."""
        return self._charged

    @property
    def room(self) -> int:
        """How many counted cells of a new message may leave at once."""
        return 0 if self._queue else self._limit - self._unacknowledged

    @property
    def window_open(self) -> bool:
        """Whether another counted cell may leave now."""
        return self._unacknowledged < self._limit

    def leave_room(self) -> None:
        """Use a quarter of the window from now on, for the sake of other circuits."""
        self._limit = max(self._flow.ack_every, self._flow.window // 4)

    def next_payload(self) -> OutgoingPayload | None:
        """What leaves next, ACKs first and regardless of the window; None when nothing may."""
        if self._acks:
            return OutgoingPayload(build_payload(ACK, self._acks.pop(0), 0, self._random_bytes), False, False)
        if not self._queue or not self.window_open:
            return None
        message = self._queue[0]
        payload = build_payload(message.message_type, message.body, message.offset, self._random_bytes)
        message.offset += DATA
        if message.offset >= len(message.body):
            self._queue.pop(0)
        return OutgoingPayload(payload, message.early, True)

    def sent(self, tag: bytes) -> None:
        """A counted payload left under this tag (SPEC 7 says which tag that is)."""
        self._counted_out += 1
        self._unacknowledged += 1
        if self._counted_out % self._flow.ack_every == 0:
            self._expected.append(tag)

    # Receiving.

    def receive(self, payload: bytes, tag: bytes, *, early: bool = False) -> tuple[int, bytes] | None:
        """The (type, body) of a message that is whole now, else None. ProtocolError ends the circuit."""
        message_type, remaining = parse_head(payload)
        if message_type == ACK:
            self._acknowledged(payload, remaining)
            return None
        self._count(tag)
        data = payload[HEAD : HEAD + min(remaining, DATA)]
        if message_type == DROP:
            return self._dropped(data, remaining)
        if message_type == CONTINUE:
            if self._open_type is None or remaining != self._left:
                raise ProtocolError("continue-not-due")
            self.came_early = self.came_early and early
        else:
            if self._open_type is not None:
                raise ProtocolError("message-inside-message")
            if message_type not in self.accepts:
                raise ProtocolError("message-not-accepted")
            if remaining > MOST[message_type]:
                raise ProtocolError("message-size")
            self._open_type = message_type
            self.came_early = early
        return self._collect(data, remaining)

    def settle(self) -> None:
        """This layer's part is done, the next one speaks: nothing but ACKs is taken any more."""
        self.accepts = frozenset()
        self._echoes_left = 0

    def pause(self) -> None:
        """The inbox is full: acknowledge nothing until `resume`."""
        self._paused = True

    def resume(self) -> None:
        """Acknowledge what was held back."""
        self._paused = False
        while self._held:
            self._acknowledge(self._held.pop(0))

    def close(self) -> None:
        """Give back the memory that a partial message was charged, and forget what waits."""
        self._memory.used_bytes -= self._charged
        self._charged = 0
        self._parts.clear()
        self._queue.clear()
        self._acks.clear()

    # Inside.

    def _collect(self, data: bytes, remaining: int) -> tuple[int, bytes] | None:
        self._left = remaining - len(data)
        if not self._left and not self._parts:
            whole = data
        else:
            if not self._parts:
                self.charged_since = self._memory.now
            self._parts.append(data)
            self._charged += len(data)
            self._memory.used_bytes += len(data)
            if self._left:
                return None
            whole = b"".join(self._parts)
            self._memory.used_bytes -= self._charged
            self._charged = 0
            self._parts.clear()
        message_type, self._open_type = self._open_type, None
        if message_type is None:
            raise ProtocolError("continue-not-due")
        return message_type, whole

    def _dropped(self, data: bytes, remaining: int) -> tuple[int, bytes] | None:
        if remaining != 1 or data not in (DROP_PLAIN, DROP_ECHO):
            raise ProtocolError("message-shape")
        if data == DROP_ECHO:
            if not self._echoes_left:
                raise ProtocolError("echoes-too-many")
            self._echoes_left -= 1
            self.send(DROP, DROP_PLAIN)
        else:
            if not self.echoes_due:
                raise ProtocolError("drop-not-due")
            self.echoes_due -= 1
        return DROP, data

    def _count(self, tag: bytes) -> None:
        self._counted_in += 1
        self._unacked_in += 1
        if self._unacked_in > self._flow.window:
            raise ProtocolError("window-overrun")
        if self._counted_in % self._flow.ack_every == 0:
            if self._paused:
                self._held.append(tag)
            else:
                self._acknowledge(tag)

    def _acknowledge(self, tag: bytes) -> None:
        self._acks.append(tag)
        self._unacked_in -= self._flow.ack_every

    def _acknowledged(self, payload: bytes, remaining: int) -> None:
        if remaining != TAG:
            raise ProtocolError("ack-shape")
        if not self._expected:
            raise ProtocolError("ack-not-due")
        if not equal(self._expected.pop(0), payload[HEAD : HEAD + TAG]):
            raise ProtocolError("ack-mismatch")
        self._unacknowledged -= self._flow.ack_every
