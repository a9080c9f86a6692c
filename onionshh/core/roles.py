"""What a relay lets be mounted on it: introducer, meeting point, ring, consensus mirror.

`relay/` knows nothing of rendezvous and `rendezvous/` nothing of links: the switch hands a whole message,
recognised at this relay, to the role that accepts its type, and carries out the actions that come back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from onionshh.ids import RelayId

Origin = RelayId | str
"""Whom a circuit came over: the relay of a relay link, else the address group of a client's link."""


class CircuitHandle(Protocol):
    """What a role sees of a circuit that ends at this relay. Hashable by identity, one per circuit."""

    @property
    def binding(self) -> bytes:
        """The 32 bytes that only this circuit's two ends know (SPEC 4)."""

    @property
    def origin(self) -> Origin:
        """The neighbour it came over. What strangers make a relay keep is shared out by it (SPEC 17)."""

    @property
    def joined(self) -> bool:
        """Joined to another circuit: the relay takes only ACK and DROP on it."""

    @property
    def waiting_messages(self) -> int:
        """Messages that stand in this relay's queue towards the client because its window is closed."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Send a message back along a circuit."""

    circuit: CircuitHandle
    message_type: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Join:
    """Two circuits become one: what comes out of either goes into the other (SPEC 3)."""

    one: CircuitHandle
    other: CircuitHandle


@dataclass(frozen=True, slots=True)
class EndCircuit:
    """End a circuit in silence, and count why."""

    circuit: CircuitHandle
    reason: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Nothing but a count."""

    reason: str


RoleAction = Reply | Join | EndCircuit | Drop


class Role(Protocol):
    """One thing a relay does for circuits that end at it.

    `wall` is Unix seconds that a consensus has confirmed: a relay's own clock may be wrong.
    """

    @property
    def accepts(self) -> frozenset[int]:
        """The message types this role decodes."""

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        """A whole message of an accepted type. Raises ProtocolError: the circuit ends."""

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        """The circuit is gone: forget what was kept for it."""

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        """Called about once a second: expire what is due."""
