"""One layer's messages: how they are split and joined, and which are accepted (SPEC 2, 7).

The same machine serves a client's hop, a relay's end of a circuit and the end-to-end layer. It never sees a
key. It makes payloads and is told each one's tag when it leaves. It receives payloads together with their
tags. `core/circuit/window.py` counts them.

Only what was requested is accepted. Even cells without meaning could be counted at the first link, so any hop
could use them to signal to an observer there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from onionshh.core.circuit.window import Flow, ReceiveWindow, SendWindow
from onionshh.core.link.outbox import Memory
from onionshh.errors import ProtocolError
from onionshh.geometry import DATA, HEAD, TAG
from onionshh.ids import RandomBytes
from onionshh.reasons import Reason
from onionshh.wire.framing import build_payload, parse_head
from onionshh.wire.messages import ACK, CONTINUE, DROP, DROP_ECHO, DROP_PLAIN, MOST


@dataclass(frozen=True, slots=True)
class OutgoingPayload:
    """One payload to encrypt and send. `early`: as RELAY_EARLY. `counts`: call `sent` with its tag."""

    payload: bytes = field(repr=False)
    early: bool
    counts: bool


@dataclass(slots=True)
class _Sending:
    message_type: int
    body: bytes = field(repr=False)
    early: bool
    offset: int = 0


class PartialMessage:
    """A message of several cells that have not all arrived. Its bytes are charged to the node's memory."""

    __slots__ = ("_memory", "_parts", "charged_bytes", "left", "message_type", "since")

    def __init__(self, message_type: int, size: int, memory: Memory) -> None:
        self.message_type = message_type
        self.left = size
        """Bytes that have not arrived yet."""
        self.since = memory.now
        self.charged_bytes = 0
        self._memory = memory
        self._parts: list[bytes] = []

    def add(self, data: bytes) -> None:
        """Add the next bytes."""
        self._parts.append(data)
        self.left -= len(data)
        self.charged_bytes += len(data)
        self._memory.used_bytes += len(data)

    def take(self) -> bytes:
        """The bytes so far, in one piece. Frees their memory."""
        self._memory.used_bytes -= self.charged_bytes
        return b"".join(self._parts)


class Conversation:
    """Both directions of one layer.

    `accepts` is the set of types that the present role and state accept; the owner changes it with the state.
    `echoes`: how many DROPs that ask for an echo are answered; one more is refused. A client answers none.

    A relay has one Conversation per circuit, and most circuits are idle. To save memory, a partial message
    has an object only while it exists, and the permanent parts have slots.
    """

    __slots__ = (
        "_echoes_left",
        "_incoming",
        "_memory",
        "_outgoing",
        "_partial",
        "_queue",
        "_random_bytes",
        "accepts",
        "came_early",
        "echoes_due",
    )

    def __init__(
        self, flow: Flow, *, accepts: frozenset[int], echoes: int, memory: Memory, random_bytes: RandomBytes
    ) -> None:
        self.accepts = accepts
        self._echoes_left = echoes
        self.echoes_due = 0
        """How many DROPs we asked for that have not arrived. No more than these are accepted."""
        self._memory = memory
        self._random_bytes = random_bytes
        self._queue: list[_Sending] = []
        self._outgoing = SendWindow(flow)
        self._incoming = ReceiveWindow(flow)
        self._partial: PartialMessage | None = None
        self.came_early = False
        """Whether every cell of the current or last message came as RELAY_EARLY."""

    # Sending.

    def send(self, message_type: int, body: bytes, *, early: bool = False) -> None:
        """Queue a whole message. It keeps a reference to the body until the last cell has left."""
        if len(body) > MOST[message_type]:
            raise ValueError("the message is larger than its type allows")
        self._queue.append(_Sending(message_type, body, early))
        if message_type == DROP and body == DROP_ECHO:
            self.echoes_due += 1

    @property
    def waiting_messages(self) -> int:
        """Messages that have not left completely."""
        return len(self._queue)

    @property
    def sent_cells(self) -> int:
        """Cells that left, without ACKs."""
        return self._outgoing.sent_cells

    @property
    def unacknowledged_cells(self) -> int:
        """How many of these cells are not acknowledged yet."""
        return self._outgoing.unacknowledged

    @property
    def room(self) -> int:
        """How many counted cells of a new message may leave at once."""
        return 0 if self._queue else self._outgoing.limit - self._outgoing.unacknowledged

    @property
    def window_open(self) -> bool:
        """Whether another counted cell may leave now."""
        return self._outgoing.unacknowledged < self._outgoing.limit

    def leave_room(self) -> None:
        """Use only a quarter of the window from now on, to leave room for other circuits."""
        self._outgoing.leave_room()

    def next_payload(self) -> OutgoingPayload | None:
        """The next payload to send, or None. ACKs come first and ignore the window."""
        incoming, outgoing = self._incoming, self._outgoing  # fields, not methods: this runs once per cell
        if incoming.owed and not incoming.paused:
            ack = build_payload(ACK, incoming.take_ack(), 0, self._random_bytes)
            return OutgoingPayload(ack, False, False)
        if not self._queue or outgoing.unacknowledged >= outgoing.limit:
            return None
        message = self._queue[0]
        payload = build_payload(message.message_type, message.body, message.offset, self._random_bytes)
        message.offset += DATA
        if message.offset >= len(message.body):
            self._queue.pop(0)
        return OutgoingPayload(payload, message.early, True)

    def sent(self, tag: bytes) -> None:
        """A counted payload left with this tag (SPEC 7 defines the tag)."""
        self._outgoing.sent(tag)

    # Receiving.

    def receive(self, payload: bytes, tag: bytes, *, early: bool = False) -> tuple[int, bytes] | None:
        """The (type, body) of a message that is now complete, or None. ProtocolError ends the circuit."""
        message_type, remaining = parse_head(payload)
        if message_type == ACK:
            if remaining != TAG:
                raise ProtocolError(Reason.ACK_SHAPE)
            self._outgoing.acknowledged(payload[HEAD : HEAD + TAG])
            return None
        self._incoming.came(tag)
        data = payload[HEAD : HEAD + min(remaining, DATA)]
        if message_type == DROP:
            return self._dropped(data, remaining)
        partial = self._partial
        if message_type == CONTINUE:
            if partial is None or remaining != partial.left:
                raise ProtocolError(Reason.CONTINUE_NOT_DUE)
            self.came_early = self.came_early and early
            partial.add(data)
            if partial.left:
                return None
            self._partial = None
            return partial.message_type, partial.take()
        if partial is not None:
            raise ProtocolError(Reason.MESSAGE_INSIDE_MESSAGE)
        if message_type not in self.accepts:
            raise ProtocolError(Reason.MESSAGE_NOT_ACCEPTED)
        if remaining > MOST[message_type]:
            raise ProtocolError(Reason.MESSAGE_SIZE)
        self.came_early = early
        if remaining <= DATA:
            return message_type, data
        self._partial = PartialMessage(message_type, remaining, self._memory)
        self._partial.add(data)
        return None

    @property
    def charged_bytes(self) -> int:
        """Bytes of a partial message held in memory."""
        return 0 if self._partial is None else self._partial.charged_bytes

    @property
    def charged_since(self) -> float:
        """Since when a partial message is held. It has a meaning only while `charged_bytes` is not 0."""
        return 0.0 if self._partial is None else self._partial.since

    def settle(self) -> None:
        """The next layer takes over: from now on only ACKs are accepted here."""
        self.accepts = frozenset()
        self._echoes_left = 0

    def pause(self) -> None:
        """The inbox is full: acknowledge nothing until `resume`."""
        self._incoming.paused = True

    def resume(self) -> None:
        """Acknowledge what was held back."""
        self._incoming.paused = False

    def close(self) -> None:
        """Free the memory of a partial message, and forget what waits."""
        if self._partial is not None:
            self._partial.take()
            self._partial = None
        self._queue.clear()
        self._incoming.forget()

    # Inside.

    def _dropped(self, data: bytes, remaining: int) -> tuple[int, bytes] | None:
        if remaining != 1 or data not in (DROP_PLAIN, DROP_ECHO):
            raise ProtocolError(Reason.MESSAGE_SHAPE)
        if data == DROP_ECHO:
            if not self._echoes_left:
                raise ProtocolError(Reason.ECHOES_TOO_MANY)
            self._echoes_left -= 1
            self.send(DROP, DROP_PLAIN)
        else:
            if not self.echoes_due:
                raise ProtocolError(Reason.DROP_NOT_DUE)
            self.echoes_due -= 1
        return DROP, data
