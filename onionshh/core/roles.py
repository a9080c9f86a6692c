"""What a relay lets be mounted on it: introducer, meeting point, ring, consensus mirror.

`relay/` knows nothing of rendezvous and `rendezvous/` nothing of links: the switch hands a whole message,
recognised at this relay, to the role that accepts its type, and carries out the actions that come back.

A role may keep things on disk. It never waits for that, and nothing that a relay forwards does: a tuple of
actions may end with `Remember`, the relay commits the rows in a thread, and then tells the role, which goes
on from there. Meanwhile other messages come, and circuits end, so the role keeps what it needs for the rest
under a token of its own.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from onionshh.ids import RelayId
from onionshh.reasons import Reason

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
    """Send a message back along a circuit. Nothing happens if it has ended or was joined meanwhile."""

    circuit: CircuitHandle
    message_type: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Join:
    """Two circuits become one: what comes out of either goes into the other (SPEC 3)."""

    one: CircuitHandle
    other: CircuitHandle


@dataclass(frozen=True, slots=True)
class EndCircuit:
    """End a circuit in silence, and count why."""

    circuit: CircuitHandle
    reason: Reason


@dataclass(frozen=True, slots=True)
class Drop:
    """Nothing but a count."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Remember:
    """Commit these rows, then tell the role that asks: `remembered(token)` or `not_remembered(token)`.

    It stands last in its tuple: what should wait for the disk is in the tuple that `remembered` returns. What
    a row is, the role and its store agree on.
    """

    role: RememberingRole
    token: Hashable
    rows: Sequence[object] = field(repr=False)


Effect = Reply | Join | EndCircuit | Drop
"""What a relay does for a role at once."""
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
        """A whole message of an accepted type. Raises ProtocolError: the circuit ends."""

    def circuit_ready(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        """All that was replied on this circuit has left for its client, at once or once its window was open
        again: there is room for more."""

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        """The circuit is gone: forget what was kept for it."""

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        """Called about once a second: expire what is due."""


class Store(Protocol):
    """Where the rows of one role go."""

    def commit(self, rows: Sequence[object]) -> None:
        """All of these rows are on disk when this returns, in the order given, or none of them and it raises.

        Called in a thread, never twice at once. The rows may be those of several `Remember`s together.
        """


class RememberingRole(Role, Protocol):
    """A role that keeps things on disk."""

    @property
    def store(self) -> Store:
        """What commits its rows. The relay calls it; the role itself never does."""

    def remembered(self, token: Hashable, now: float, wall: int) -> tuple[RoleAction, ...]:
        """What `Remember` asked for under this token is on disk. Its circuit may be gone."""

    def not_remembered(self, token: Hashable, now: float, wall: int) -> tuple[Effect, ...]:
        """It is not: the disk refused, or too much waits for it. What is to be tried again waits for a
        later input, such as `tick`."""
