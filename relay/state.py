"""One circuit as a relay keeps it, and the table of what moves it (SPEC 6). Pure.

| event        | OPEN         | DIALLING       | EXTENDING      | EXTENDED        | JOINED       | ENDED     |
|--------------|--------------|----------------|----------------|-----------------|--------------|-----------|
| EXTEND       | DIALLING     | extend-twice   | extend-twice   | extend-twice    | extend-twice | !         |
| LINK         | !            | EXTENDING      | !              | !               | !            | stays     |
| NO_LINK      | !            | extend-failed  | !              | !               | !            | stays     |
| CREATED_PART | !            | !              | stays          | created-not-due | !            | !         |
| CREATED      | !            | !              | EXTENDED       | created-not-due | !            | !         |
| OVERDUE      | stays        | extend-timeout | extend-timeout | stays           | stays        | stays     |
| CELL_OUT     | unrecognised | unrecognised   | unrecognised   | stays           | stays        | !         |
| CELL_IN      | !            | !              | unrecognised   | stays           | !            | !         |
| EARLY_OUT    | stays        | stays          | stays          | stays           | early-joined | !         |
| EARLY_IN     | !            | !              | early-inbound  | early-inbound   | !            | !         |
| JOIN         | JOINED       | join-gone      | join-gone      | join-gone       | join-gone    | join-gone |
| END          | ENDED        | ENDED          | ENDED          | ENDED           | ENDED        | stays     |

OPEN: this relay is the last hop. DIALLING: an EXTEND waits for a link. EXTENDING: CREATE is sent, and the
next hop has not wholly answered. EXTENDED: cells go on to the next hop. JOINED: cells go on into another
circuit. ENDED: nothing of it is left at any link.

A word in small letters is the reason for which the circuit ends (`unrecognised` is `cell-unrecognised`).
Nobody's bytes can lead to a "!": there is no leg over which they could come. If one is reached, this program
has a bug, and a RuntimeError says so.

The forwarding loop does not ask the table. Each leg's `onward` says where a cell goes that came over that
leg. `move` keeps `onward` in step with the table: it is None where CELL_OUT or CELL_IN has no next stage.
"""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import Final, Protocol

from onionshh.core.circuit.conversation import Conversation
from onionshh.core.link.outbox import CellQueue
from onionshh.core.link.port import LinkPort
from onionshh.core.roles import Origin, Role
from onionshh.crypto.layers import RelayLayer, RelayLayers
from onionshh.errors import ProtocolError
from onionshh.geometry import CIRCUIT_SERVER
from onionshh.reasons import Reason
from onionshh.wire.cell import HEADER, RELAY
from onionshh.wire.framing import HandshakeParts

EARLY_CELLS = 9
"""RELAY_EARLY cells a circuit may see outbound: three rounds of three (SPEC 6)."""


class Stage(enum.Enum):
    """The stage of one circuit at one relay."""

    OPEN = enum.auto()
    DIALLING = enum.auto()
    EXTENDING = enum.auto()
    EXTENDED = enum.auto()
    JOINED = enum.auto()
    ENDED = enum.auto()


class Event(enum.Enum):
    """What moves a circuit from stage to stage."""

    EXTEND = enum.auto()
    """A whole EXTEND came."""
    LINK = enum.auto()
    """The link that it needs is open."""
    NO_LINK = enum.auto()
    """That link cannot be had."""
    CREATED_PART = enum.auto()
    """A cell of the next hop's answer, with more to come."""
    CREATED = enum.auto()
    """The last cell of that answer."""
    OVERDUE = enum.auto()
    """The time for an EXTEND is over."""
    CELL_OUT = enum.auto()
    """A cell from the client that this relay does not recognise."""
    CELL_IN = enum.auto()
    """A RELAY cell from the next hop."""
    EARLY_OUT = enum.auto()
    """A RELAY_EARLY cell from the client, for any relay."""
    EARLY_IN = enum.auto()
    """A RELAY_EARLY cell from the next hop."""
    JOIN = enum.auto()
    """A role joins it to another circuit."""
    END = enum.auto()
    """It ends, for a reason of its own."""


_EVERY: Final = tuple(Stage)
_ROWS: Final[dict[Event, dict[Stage, Stage | Reason]]] = {
    Event.EXTEND: {
        **dict.fromkeys((Stage.DIALLING, Stage.EXTENDING, Stage.EXTENDED, Stage.JOINED), Reason.EXTEND_TWICE),
        Stage.OPEN: Stage.DIALLING,
    },
    Event.LINK: {Stage.DIALLING: Stage.EXTENDING, Stage.ENDED: Stage.ENDED},
    Event.NO_LINK: {Stage.DIALLING: Reason.EXTEND_FAILED, Stage.ENDED: Stage.ENDED},
    Event.CREATED_PART: {Stage.EXTENDING: Stage.EXTENDING, Stage.EXTENDED: Reason.CREATED_NOT_DUE},
    Event.CREATED: {Stage.EXTENDING: Stage.EXTENDED, Stage.EXTENDED: Reason.CREATED_NOT_DUE},
    Event.OVERDUE: {
        **{stage: stage for stage in _EVERY},
        **dict.fromkeys((Stage.DIALLING, Stage.EXTENDING), Reason.EXTEND_TIMEOUT),
    },
    Event.CELL_OUT: {
        **dict.fromkeys((Stage.OPEN, Stage.DIALLING, Stage.EXTENDING), Reason.CELL_UNRECOGNISED),
        Stage.EXTENDED: Stage.EXTENDED,
        Stage.JOINED: Stage.JOINED,
    },
    Event.CELL_IN: {Stage.EXTENDING: Reason.CELL_UNRECOGNISED, Stage.EXTENDED: Stage.EXTENDED},
    Event.EARLY_OUT: {
        **{stage: stage for stage in _EVERY if stage is not Stage.ENDED},
        Stage.JOINED: Reason.EARLY_JOINED,
    },
    Event.EARLY_IN: dict.fromkeys((Stage.EXTENDING, Stage.EXTENDED), Reason.EARLY_INBOUND),
    Event.JOIN: {**dict.fromkeys(_EVERY, Reason.JOIN_GONE), Stage.OPEN: Stage.JOINED},
    Event.END: dict.fromkeys(_EVERY, Stage.ENDED),
}
TABLE: Final = MappingProxyType(
    {(stage, event): outcome for event, row in _ROWS.items() for stage, outcome in row.items()}
)
"""The table above, without its "!"."""


def after(stage: Stage, event: Event) -> Stage:
    """The next stage. ProtocolError: the circuit ends for this reason."""
    outcome = TABLE.get((stage, event))
    if isinstance(outcome, Stage):
        return outcome
    if outcome is None:
        raise RuntimeError(f"{event.name} at a circuit that is {stage.name}")
    raise ProtocolError(outcome)


class LegOutbox(Protocol):
    """Takes a leg's cells: its link's outbox, or one in its place that holds cells back."""

    @property
    def waiting(self) -> int:
        """Cells of all circuits that wait."""

    def push(self, queue: CellQueue, cell: bytes, /) -> None:
        """Add a cell at the end of this leg's queue."""

    def count(self, queue: CellQueue, /) -> int:
        """How many cells of this queue wait. Afterwards `queue.since` is known."""

    def discard(self, queue: CellQueue, /) -> int:
        """The circuit ends: forget what waits. Returns how many cells that were."""


class Leg:
    """One side of a circuit at one link. `header` opens every RELAY cell that leaves here.

    What the forwarding loop needs of a circuit is here: the fewer objects a cell touches, the better.
    """

    __slots__ = (
        "beyond",
        "circuit",
        "circuit_id",
        "header",
        "layer",
        "onward",
        "outbox",
        "outward",
        "port",
        "queue",
        "used",
    )

    def __init__(self, circuit: RelayCircuit, port: LinkPort, circuit_id: int, *, outward: bool) -> None:
        self.circuit = circuit
        self.port = port
        self.circuit_id = circuit_id
        self.outward = outward
        self.layer = circuit.layers.backward if outward else circuit.layers.forward
        """The layer for cells that came over this leg."""
        self.beyond: RelayLayer | None = None
        """After a join: the other circuit's layer, for cells that came over this leg."""
        self.onward: Leg | None = None
        """Where a RELAY cell goes that came over this leg and is not for this relay."""
        self.used = True
        """Whether a RELAY cell came over it since the switch last looked."""
        self.queue = CellQueue()
        self.outbox: LegOutbox = port.outbox
        self.header = HEADER.pack(circuit_id, RELAY)

    def is_full(self, most: int) -> bool:
        """Whether so many cells wait to leave here."""
        return self.outbox.waiting >= most and self.outbox.count(self.queue) >= most


class RelayCircuit:
    """State of one circuit. Roles see it as a `CircuitHandle`."""

    __slots__ = (
        "binding",
        "conversation",
        "early_left",
        "extending",
        "inward",
        "join",
        "layers",
        "outward",
        "privacy_class",
        "roles",
        "stage",
    )

    def __init__(
        self,
        layers: RelayLayers,
        conversation: Conversation,
        binding: bytes,
        privacy_class: int,
        port: LinkPort,
        circuit_id: int,
    ) -> None:
        self.stage = Stage.OPEN
        self.layers = layers
        self.conversation = conversation
        self.binding = binding
        self.privacy_class = privacy_class
        """The number of its class as CREATE said it (SPEC 16): any byte, known to this version or not."""
        self.inward = Leg(self, port, circuit_id, outward=False)
        self.outward: Leg | None = None
        self.join: RelayCircuit | None = None
        self.early_left = EARLY_CELLS
        self.extending: HandshakeParts | None = None
        """The next hop's answer as far as it came, from the EXTEND on until it is whole."""
        self.roles: tuple[Role, ...] = ()

    def move(self, event: Event) -> None:
        """Move by the table. ProtocolError: the circuit ends for this reason."""
        was, self.stage = self.stage, after(self.stage, event)
        if self.stage is not was:
            self._route()

    def extend(self, now: float) -> None:
        """An EXTEND must be carried on."""
        self.move(Event.EXTEND)
        self.extending = HandshakeParts(CIRCUIT_SERVER, now)

    def extends_over(self, port: LinkPort, circuit_id: int) -> Leg:
        """CREATE can leave over this link."""
        self.move(Event.LINK)
        leg = self.outward = Leg(self, port, circuit_id, outward=True)
        port.legs[circuit_id] = leg
        return leg

    def extended(self) -> None:
        """The next hop has answered in full."""
        self.move(Event.CREATED)
        self.extending = None

    def joins(self, other: RelayCircuit) -> None:
        """Cells that come from the client go on into the other circuit."""
        self.move(Event.JOIN)
        self.join = other
        self._route()

    @property
    def legs(self) -> tuple[Leg, ...]:
        """Its sides: one, or two once CREATE is sent."""
        return (self.inward,) if self.outward is None else (self.inward, self.outward)

    @property
    def origin(self) -> Origin:
        """The relay at the other end of the link that this circuit came over; if it is not a relay, its
        address."""
        return self.inward.port.peer or self.inward.port.host

    @property
    def joined(self) -> bool:
        """Joined to another circuit (SPEC 3)."""
        return self.stage is Stage.JOINED

    @property
    def has_voice(self) -> bool:
        """Whether a role can still send something on it. A joined circuit belongs to its two ends."""
        return self.stage is not Stage.ENDED and self.stage is not Stage.JOINED

    @property
    def holds_since(self) -> float | None:
        """When the oldest cell or partial message that it keeps in memory came; None if it keeps nothing."""
        times = [leg.queue.since for leg in self.legs if leg.outbox.count(leg.queue)]
        if self.conversation.charged_bytes:
            times.append(self.conversation.charged_since)
        return min(times, default=None)

    def used_since(self) -> bool:
        """Whether a RELAY cell came since this was asked last. A circuit that is not used rests."""
        used = any(leg.used for leg in self.legs)
        for leg in self.legs:
            leg.used = False
        return used

    @property
    def waiting_messages(self) -> int:
        """Messages of ours that wait for this circuit's window."""
        return self.conversation.waiting_messages

    def _route(self) -> None:
        """Set where a cell goes that comes over either leg."""
        self.inward.onward = self.inward.beyond = None
        if self.outward is not None:
            self.outward.onward = None
        if self.stage is Stage.EXTENDED and self.outward is not None:
            self.inward.onward, self.outward.onward = self.outward, self.inward
        elif self.stage is Stage.JOINED and self.join is not None:
            self.inward.onward = self.join.inward
            self.inward.beyond = self.join.layers.backward
