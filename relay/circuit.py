"""One circuit as a relay keeps it: a leg towards the client, perhaps one outward, perhaps a join."""

from __future__ import annotations

from onionshh.core.circuit.conversation import Conversation
from onionshh.core.link.outbox import CellQueue
from onionshh.core.link.port import LinkPort
from onionshh.core.roles import Origin, Role
from onionshh.crypto.layers import RelayLayers
from onionshh.ids import RelayId
from onionshh.wire.cell import HEADER, RELAY
from onionshh.wire.framing import HandshakeParts

EARLY_CELLS = 9
"""RELAY_EARLY cells a circuit may see outbound: three rounds of three (SPEC 6)."""


class Leg:
    """One side of a circuit at one link. `header` opens every RELAY cell that leaves here."""

    __slots__ = ("circuit", "circuit_id", "header", "outward", "port", "queue")

    def __init__(self, circuit: RelayCircuit, port: LinkPort, circuit_id: int, *, outward: bool) -> None:
        self.circuit = circuit
        self.port = port
        self.circuit_id = circuit_id
        self.outward = outward
        self.queue = CellQueue()
        self.header = HEADER.pack(circuit_id, RELAY)


class RelayCircuit:
    """State of one circuit. Roles see it as a `CircuitHandle`."""

    __slots__ = (
        "binding",
        "closed",
        "conversation",
        "early_left",
        "extending_since",
        "extending_to",
        "inward",
        "join",
        "layers",
        "outward",
        "parts",
        "roles",
        "used",
    )

    def __init__(
        self, layers: RelayLayers, conversation: Conversation, binding: bytes, port: LinkPort, circuit_id: int
    ) -> None:
        self.layers = layers
        self.conversation = conversation
        self.binding = binding
        self.inward = Leg(self, port, circuit_id, outward=False)
        self.outward: Leg | None = None
        self.join: RelayCircuit | None = None
        self.early_left = EARLY_CELLS
        self.extending_to: RelayId | None = None
        self.extending_since = 0.0
        self.parts: HandshakeParts | None = None
        self.roles: frozenset[Role] = frozenset()
        self.used = True
        """A cell came since the switch last looked; what is not used rests."""
        self.closed = False

    @property
    def origin(self) -> Origin:
        """The relay at the other end of the link it came over, else that end's address."""
        return self.inward.port.peer or self.inward.port.host

    @property
    def joined(self) -> bool:
        """Joined to another circuit (SPEC 3)."""
        return self.join is not None

    @property
    def holds_since(self) -> float | None:
        """When the oldest cell or partial message that it keeps in memory came; None if it keeps nothing."""
        times = [leg.queue.since for leg in (self.inward, self.outward) if leg and leg.queue.cells]
        if self.conversation.charged_bytes:
            times.append(self.conversation.charged_since)
        return min(times, default=None)

    @property
    def waiting_messages(self) -> int:
        """Messages of ours that wait for this circuit's window."""
        return self.conversation.waiting_messages
