"""The roles that a relay can have: introducer, meeting point, ring, consensus mirror.

`relay/` knows nothing about rendezvous, and `rendezvous/` knows nothing about links. The switch gives a whole
message that ends at this relay to the role that accepts its type. It then carries out the returned actions.

A role may keep things on disk. Neither the role nor forwarding waits for the disk. A tuple of actions may end
with `Remember`: the relay commits the rows in a thread and then tells the role, which continues. Other
messages arrive in the meantime and circuits end. So the role keeps what it needs later under its own token.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from onionshh.ids import RelayId
from onionshh.reasons import Reason

Origin = RelayId | str
"""Where a circuit came from: the relay of a relay link, or the address group of a client's link."""


class CircuitHandle(Protocol):
    """What a role sees of a circuit that ends at this relay. Hashable by identity, one per circuit."""

    @property
    def binding(self) -> bytes:
        """The 32 bytes that only this circuit's two ends know (SPEC 4)."""

    @property
    def origin(self) -> Origin:
        """The neighbour it came from. Limits on what strangers make a relay keep are per origin (SPEC 17)."""

    @property
    def joined(self) -> bool:
        """Whether it is joined to another circuit. The relay then takes only ACK and DROP on it."""

    @property
    def waiting_messages(self) -> int:
        """Messages in this relay's queue towards the client that wait because its window is closed."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Send a message back along a circuit. Nothing happens if the circuit has ended or is joined by then."""

    circuit: CircuitHandle
    message_type: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Join:
    """Join two circuits: what comes out of one goes into the other (SPEC 3)."""

    one: CircuitHandle
    other: CircuitHandle


@dataclass(frozen=True, slots=True)
class EndCircuit:
    """End a circuit silently, and count the reason."""

    circuit: CircuitHandle
    reason: Reason


@dataclass(frozen=True, slots=True)
class Drop:
    """Only count this reason."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Remember:
    """Commit these rows, then tell the role: `remembered(token)` or `not_remembered(token)`.

    This is the last action in its tuple. Actions that must wait for the disk are in the tuple that
    `remembered` returns. Only the role and its store know what a row is.
    """

    role: RememberingRole
    token: Hashable
    rows: Sequence[object] = field(repr=False)


Effect = Reply | Join | EndCircuit | Drop
"""What a relay does for a role immediately."""
RoleAction = Effect | Remember


class Role(Protocol):
    """One thing a relay does for circuits that end at it.

    `now` is monotonic seconds. `wall` is Unix seconds that a consensus has confirmed: a relay's own clock
    may be wrong.
    """

    @property
    def accepts(self) -> frozenset[int]:
        """The message types this role decodes."""

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        """Handle a whole message of an accepted type. The circuit ends if this raises ProtocolError."""

    def circuit_ready(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        """All replies on this circuit have left for its client, perhaps after its window opened again. There
        is room for more."""

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        """The circuit has ended: forget what was kept for it."""

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        """Called about once per second: expire what is due."""


class Store(Protocol):
    """Where the rows of one role go."""

    def commit(self, rows: Sequence[object]) -> None:
        """Write all rows to disk, in this order, before returning. If it raises, no row is on disk.

        The relay calls this in a thread, one call at a time. The rows may come from several `Remember`s.
        """


class RememberingRole(Role, Protocol):
    """A role that keeps things on disk."""

    @property
    def store(self) -> Store:
        """The store that commits its rows. The relay calls it; the role itself never does."""

    def remembered(self, token: Hashable, now: float, wall: int) -> tuple[RoleAction, ...]:
        """The rows of the `Remember` with this token are on disk. Its circuit may have ended."""

    def not_remembered(self, token: Hashable, now: float, wall: int) -> tuple[Effect, ...]:
        """The rows are not on disk: a disk error, or too many rows wait. To try again, the role waits for a
        later input, such as `tick`."""
