"""A client's circuit as a machine: telescoping, layers, conversations, the end-to-end layer (SPEC 3, 6).

A method takes what happened. `take_cells` then has the cells to send, in the order in which their layers were
wrapped; this order must be kept. Events come back as a tuple. A failed circuit always raises the same
ProtocolError.

Set-up always shows CREATE and three rounds of three cells each way, for any number of hops. Rounds that no
EXTEND needs are RELAY_EARLY DROPs that ask for an echo. `core/circuit/pace.py` decides when rounds leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from onionshh.core.base.classes import PATH_RELAYS_MOST
from onionshh.core.circuit.conversation import Conversation
from onionshh.core.circuit.telescope import Telescope
from onionshh.core.circuit.window import Flow
from onionshh.core.link.outbox import Memory
from onionshh.crypto.layers import ClientLayers
from onionshh.errors import ProtocolError
from onionshh.ids import RandomBytes, RelayId
from onionshh.reasons import Reason
from onionshh.wire.cell import CREATE, CREATE_MORE, CREATED, CREATED_MORE, DESTROY, RELAY, RELAY_EARLY
from onionshh.wire.framing import split_handshake
from onionshh.wire.messages import DROP, DROP_ECHO, EXTEND, EXTENDED

SETUP_ROUNDS = PATH_RELAYS_MOST - 1
ROUND_CELLS = 3


@dataclass(frozen=True, slots=True)
class HopAdded:
    """The relay that was just added is now the circuit's last hop."""

    relay: RelayId


@dataclass(frozen=True, slots=True)
class RoundsDone:
    """All padding rounds were echoed: on the first link, the set-up looks complete."""


@dataclass(frozen=True, slots=True)
class MessageIn:
    """A whole message from a hop. If `hop` equals the number of relays, it is from the other end."""

    hop: int
    message_type: int
    body: bytes = field(repr=False)


CircuitEvent = HopAdded | RoundsDone | MessageIn


class ClientCircuit:
    """`privacy_class` is the class number of SPEC 16. Each handshake tells it to its relay."""

    def __init__(
        self, *, flow: Flow, memory: Memory, random_bytes: RandomBytes, privacy_class: int, now: float
    ) -> None:
        self._flow = flow
        self._memory = memory
        self._random_bytes = random_bytes
        self._layers = ClientLayers()
        self._telescope = Telescope(privacy_class, random_bytes, now)
        self._talks: list[Conversation] = []
        self._joined = False
        self._answer: int | None = None
        """The type of the only message that the last hop may still send."""
        self._join_follows = False
        """Whether everything after that message is from the other end."""
        self._early: list[bytes] | None = None
        """Cells of the other end, from that message until `join`; None at all other times."""
        self._cells: list[tuple[int, bytes]] = []
        self._failed: ProtocolError | None = None

    @property
    def relays(self) -> Sequence[RelayId]:
        """The hops, first hop first."""
        return self._telescope.relays

    @property
    def binding(self) -> bytes:
        """Binding of the circuit's last hop (SPEC 4)."""
        return self._telescope.binding

    # What the owner asks for.

    def add_relay(self, relay: RelayId, onion_key: bytes) -> None:
        """CREATE to the first relay or EXTEND to a later one. `HopAdded` follows. Add one relay at a time."""
        self._check()
        if self._telescope.growing or self._joined or len(self.relays) >= PATH_RELAYS_MOST:
            raise ValueError("this circuit cannot be extended now")
        message = self._telescope.begin(relay, onion_key)
        if not self.relays:
            first, *more = split_handshake(message, self._random_bytes)
            self._cells.append((CREATE, first))
            self._cells.extend((CREATE_MORE, body) for body in more)
        else:
            last = self._talks[-1]
            last.accepts = frozenset((EXTENDED,))
            last.send(EXTEND, message, early=True)
            self._pump()

    def pad_setup(self, rounds: int) -> None:
        """Do this many rounds of echoes with the last relay instead of EXTENDs. `RoundsDone` follows."""
        self._check()
        for _ in range(rounds * ROUND_CELLS):
            self._talks[-1].send(DROP, DROP_ECHO, early=True)
        self._pump()

    @property
    def padding(self) -> bool:
        """Whether echoes of a round are still to come."""
        return bool(self._talks) and self._talks[-1].echoes_due > 0

    def accept(self, types: frozenset[int]) -> None:
        """Set which messages the last hop, or after a join the other end, may send from now on."""
        self._answer = None
        self._join_follows = False
        self._talks[-1].accepts = types

    def expect(self, answer_type: int) -> None:
        """The last hop may send one message of this type, and nothing after it."""
        self.accept(frozenset((answer_type,)))
        self._answer = answer_type

    def expect_join(self, answer_type: int) -> None:
        """The last hop may send one message of this type. Everything after it is from the other end. That end
        may send before our owner has read the message, so its cells are kept until `join`."""
        self.expect(answer_type)
        self._join_follows = True

    def send(self, message_type: int, body: bytes) -> None:
        """Send a whole message to the last hop, or after a join to the other end."""
        self._check()
        self._talks[-1].send(message_type, body)
        self._pump()

    def join(
        self, forward: bytes, backward: bytes, *, as_visitor: bool, accepts: frozenset[int]
    ) -> list[bytes]:
        """Add the end-to-end layer. `forward` is always visitor to endpoint; each has 80 bytes.

        Returns the bodies of RELAY cells that came too early. Give them to `receive_cell` now.
        """
        self._check()
        if as_visitor:
            self._layers.join_as_visitor(forward, backward)
        else:
            self._layers.join_as_endpoint(forward, backward)
        self._talks[-1].settle()
        self._talks.append(self._conversation(accepts))
        self._joined = True
        early, self._early = self._early or [], None
        return early

    @property
    def waiting_messages(self) -> int:
        """Messages to the last hop or other end that have not left completely."""
        return self._talks[-1].waiting_messages if self._talks else 0

    @property
    def sent_cells(self) -> int:
        """Cells that left to the last hop or other end, without ACKs."""
        return self._talks[-1].sent_cells if self._talks else 0

    @property
    def room(self) -> int:
        """How many cells of a new message to the last hop or other end may leave at once."""
        return self._talks[-1].room if self._talks and self._failed is None else 0

    def leave_room(self) -> None:
        """Use a quarter of the window to the last hop or other end from now on."""
        if self._talks:
            self._talks[-1].leave_room()

    @property
    def receiving(self) -> bool:
        """Whether part of a message from the last hop or other end has arrived."""
        return bool(self._talks) and self._talks[-1].charged_bytes > 0

    def pause(self) -> None:
        """Stop acknowledging at the last layer, because nobody reads its messages."""
        self._talks[-1].pause()

    def resume(self) -> None:
        """Acknowledge again, first what was held back."""
        if self._failed is None:
            self._talks[-1].resume()
            self._pump()

    def take_cells(self) -> list[tuple[int, bytes]]:
        """(command, body) of every cell to send, in order."""
        cells, self._cells = self._cells, []
        return cells

    def fail(self, reason: Reason) -> None:
        """End the circuit for our own reason."""
        if self._failed is None:
            self._failed = ProtocolError(reason)
            self._cells.clear()
            self._early = None
            for talk in self._talks:
                talk.close()

    @property
    def failed(self) -> Reason | None:
        """Why the circuit ended, None while it lives."""
        return None if self._failed is None else self._failed.reason

    # What the link brings.

    def receive_cell(self, command: int, body: bytes) -> tuple[CircuitEvent, ...]:
        """Receive one cell of this circuit. ProtocolError means that the circuit has ended."""
        self._check()
        try:
            return self._receive(command, body)
        except ProtocolError as error:
            self.fail(error.reason)
            raise

    def _receive(self, command: int, body: bytes) -> tuple[CircuitEvent, ...]:
        if command == RELAY:
            return self._relayed(body) if self._early is None else self._keep(self._early, body)
        if command in (CREATED, CREATED_MORE):
            whole = self._telescope.created_part(body, first=command == CREATED)
            return () if whole is None else self._hop_added(whole)
        if command == DESTROY:
            raise ProtocolError(Reason.DESTROYED)
        raise ProtocolError(Reason.EARLY_INBOUND if command == RELAY_EARLY else Reason.COMMAND_NOT_DUE)

    def _keep(self, early: list[bytes], body: bytes) -> tuple[CircuitEvent, ...]:
        if len(early) >= self._flow.window:
            raise ProtocolError(Reason.WINDOW_OVERRUN)
        early.append(body)
        return ()

    def _relayed(self, body: bytes) -> tuple[CircuitEvent, ...]:
        hop, payload, tag = self._layers.receive(RELAY, body)
        whole = self._talks[hop].receive(payload, tag)
        events: tuple[CircuitEvent, ...] = ()
        if whole is not None:
            message_type, message = whole
            if message_type == EXTENDED:
                events = self._hop_added(message)
            elif message_type == DROP:
                events = () if self._talks[hop].echoes_due else (RoundsDone(),)
            else:
                if message_type == self._answer:
                    self._early = [] if self._join_follows else None
                    self.accept(frozenset())
                events = (MessageIn(hop, message_type, message),)
        self._pump_hop(hop, self._talks[hop])  # an ACK is due there, or its window has opened
        return events

    def _hop_added(self, reply: bytes) -> tuple[CircuitEvent, ...]:
        relay, forward, backward = self._telescope.finish(reply)
        self._layers.add_hop(forward, backward)
        if self._talks:
            self._talks[-1].settle()
        self._talks.append(self._conversation(frozenset()))
        return (HopAdded(relay),)

    def _conversation(self, accepts: frozenset[int]) -> Conversation:
        return Conversation(
            self._flow,
            accepts=accepts,
            echoes=0,
            memory=self._memory,
            random_bytes=self._random_bytes,
        )

    def _pump(self) -> None:
        """Wrap everything that may leave. Layers have state, so cells must be sent in this order."""
        for hop, talk in enumerate(self._talks):
            self._pump_hop(hop, talk)

    def _pump_hop(self, hop: int, talk: Conversation) -> None:
        while (outgoing := talk.next_payload()) is not None:
            command = RELAY_EARLY if outgoing.early else RELAY
            body, tag = self._layers.send(hop, command, outgoing.payload)
            if outgoing.counts:
                talk.sent(tag)
            self._cells.append((command, body))

    def _check(self) -> None:
        if self._failed is not None:
            raise self._failed
