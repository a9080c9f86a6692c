"""Where a link's frames go, and how circuits see a link.

The relay's switch and a client's circuits are both a `FrameSink`. They take a whole frame of cells and append
cells to outboxes. A cell that is only forwarded needs no object and no await.
"""

from __future__ import annotations

from typing import Any, Protocol

from onionshh.core.link.outbox import ControlQueue, Memory, Outbox
from onionshh.errors import ProtocolError
from onionshh.geometry import BODY
from onionshh.ids import RandomBytes, RelayId
from onionshh.reasons import Reason
from onionshh.wire.cell import DESTROY, INITIATOR_BIT, pack_cell

KEPT_FREE = frozenset((0, INITIATOR_BIT))
"""Ids that no circuit has: 0 is the link itself, and each half keeps its first id free (SPEC 2)."""
REFUSALS_HELD_LEAST = 64
"""With fewer refusals, ending the link would cost more than the memory that it frees."""


class LinkPort:
    """One open link as circuits see it: where to queue cells, and which circuits run over it.

    `legs` maps a circuit id to the sink's own object for it. `peer` is the relay at the other end: the one we
    connected to, or the one that proved an identity in the consensus. It is None for a client.
    """

    __slots__ = (
        "__weakref__",
        "control",
        "creating",
        "empty_since",
        "host",
        "initiated",
        "legs",
        "outbox",
        "peer",
        "refusals",
    )

    def __init__(
        self,
        memory: Memory,
        touched: list[Outbox],
        *,
        peer: RelayId | None,
        initiated: bool,
        host: str,
        now: float,
    ) -> None:
        self.outbox = Outbox(memory, touched)
        self.control = ControlQueue()
        self.refusals = ControlQueue()
        """DESTROYs for refused CREATEs. They are separate: a peer that does not read can cause ever more."""
        self.peer = peer
        self.initiated = initiated
        self.host = host
        self.legs: dict[int, Any] = {}
        self.creating: dict[int, Any] = {}
        self.empty_since = now
        """Since when no circuit has used the link. It has a meaning only while there are none."""

    @property
    def circuits(self) -> int:
        """How many circuits run over the link, with unfinished ones counted."""
        return len(self.legs) + len(self.creating)

    @property
    def may_create(self) -> bool:
        """Whether the other end may CREATE here: relays always may, others only if they opened the link."""
        return self.peer is not None or not self.initiated

    def send(self, circuit_id: int, command: int, body: bytes) -> None:
        """Queue one cell of the link itself, or one that ends a circuit."""
        self.outbox.push(self.control, pack_cell(circuit_id, command, body))

    def destroy(self, circuit_id: int, random_bytes: RandomBytes) -> None:
        """Tell the neighbour that a circuit ended. The reason in the cell is always 0 (SPEC 6)."""
        self.send(circuit_id, DESTROY, b"\x00" + random_bytes(BODY - 1))

    def refuse(self, circuit_id: int, random_bytes: RandomBytes) -> None:
        """Tell the neighbour that a CREATE was refused."""
        cell = pack_cell(circuit_id, DESTROY, b"\x00" + random_bytes(BODY - 1))
        self.outbox.push(self.refusals, cell)

    def holds_since(self) -> float | None:
        """Since when unread refusals wait here; None if there are too few to end the link for."""
        return self.refusals.since if self.outbox.count(self.refusals) > REFUSALS_HELD_LEAST else None

    def theirs(self, circuit_id: int) -> bool:
        """Whether the other end may pick this id: it is in that end's half and not kept free."""
        return bool(circuit_id & INITIATOR_BIT) != self.initiated and circuit_id not in KEPT_FREE

    def new_circuit_id(self, random_bytes: RandomBytes) -> int:
        """A random free id from our own half."""
        for _ in range(64):
            number = int.from_bytes(random_bytes(4), "big")
            number = number | INITIATOR_BIT if self.initiated else number & ~INITIATOR_BIT
            if number not in KEPT_FREE and number not in self.legs and number not in self.creating:
                return number
        raise ProtocolError(Reason.NO_CIRCUIT_ID)


class FrameSink(Protocol):
    """Takes the cells of every link of a node."""

    def link_opened(self, port: LinkPort, now: float) -> None:
        """A link is open and can carry cells."""

    def receive_frame(self, port: LinkPort, frame: bytes, now: float) -> None:
        """Take a frame of whole cells. ProtocolError ends the link."""

    def link_closed(self, port: LinkPort, now: float) -> None:
        """The link has ended, and so has every circuit over it."""
