"""The roles that a relay can have: introducer, meeting point, ring, consensus mirror.

`relay/` knows nothing about rendezvous, and `rendezvous/` knows nothing about links. The switch gives a whole
message that ends at this relay to the role that accepts its type. It then carries out the returned actions.

A role may keep things on disk. Neither the role nor forwarding waits for the disk. A tuple of actions may end
with `Remember`: the relay commits the rows in a thread and then tells the role, which continues. `Look`s may
come before it: the relay reads in a thread what the role keeps on disk only. Other messages arrive in the
meantime and circuits end. So the role keeps what it needs later under its own token.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

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


@dataclass(frozen=True, slots=True)
class Look:
    """Read what the store has under these keys, then tell the role: `looked(token, found)` or
    `not_looked(token)`. In its tuple, only further `Look`s and a `Remember` come after it."""

    role: LookingRole
    token: Hashable
    keys: Sequence[int]


Effect = Reply | Join | EndCircuit | Drop
"""What a relay does for a role immediately."""
RoleAction = Effect | Look | Remember


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


class LookedInto(Store, Protocol):
    """A store that is read from while the relay runs."""

    def read(self, keys: Sequence[int]) -> list[bytes | None]:
        """What lies under each key, None where nothing does. Called in a thread, perhaps during `commit`."""


class LookingRole(RememberingRole, Protocol):
    """A role whose memory does not hold all that it keeps on disk."""

    @property
    def store(self) -> LookedInto:
        """The store that commits its rows and reads them."""

    def looked(
        self, token: Hashable, found: Sequence[bytes | None], now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        """What the `Look` with this token found, in the order of its keys. Its circuit may have ended."""

    def not_looked(self, token: Hashable, now: float, wall: int) -> tuple[Effect, ...]:
        """It could not be read: a disk error, or too much waits to be read."""


@runtime_checkable
class PunctualRole(Role, Protocol):
    """A role that must do something within a fraction of a second of its time, and not at the next tick."""

    @property
    def is_due_soon(self) -> bool:
        """Whether something is due before the second tick from now. Then `tick` is called more often."""


@runtime_checkable
class CostlyRole(Role, Protocol):
    """A role for which some messages cost as much as a handshake."""

    @property
    def costly(self) -> frozenset[int]:
        """Their types. The relay serves these between reads, a few at a time, and in their order."""


@runtime_checkable
class CountingRole(Role, Protocol):
    """A role with numbers for the relay's statistics."""

    def statistics(self) -> Mapping[str, int]:
        """Names from the source, and counts."""


@runtime_checkable
class EndingRole(Role, Protocol):
    """A role that has something to close when its relay ends."""

    def ended(self) -> None:
        """The relay carries out nothing more."""
