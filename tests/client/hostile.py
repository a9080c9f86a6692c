"""Relays that speak their part wrongly: what tests mount in place of an honest ring or introducer.

The relays of a network made by `tests.client.world.small` have roles that can be replaced while they run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count

from onionshh import geometry as g
from onionshh import testing
from onionshh.core.base.params import Params
from onionshh.core.roles import (
    CircuitHandle,
    CostlyRole,
    CountingRole,
    EndingRole,
    PunctualRole,
    Reply,
    Role,
    RoleAction,
)
from onionshh.ids import RelayId
from onionshh.relay.serve import Mounting
from onionshh.rendezvous.introducer import Introducer
from onionshh.rendezvous.ring import Ring
from onionshh.testing import Network, RunningRelay
from onionshh.wire import messages as m
from onionshh.wire.endpoint import Outer
from tests.rendezvous.circuits import Circuit

_looks = count()


class Replaceable:
    """Stands in for `role`, which may be another at any time."""

    def __init__(self, role: Role) -> None:
        self.accepts = role.accepts
        self.put(role)

    def put(self, role: Role) -> None:
        """From now on it stands in for this one."""
        self.role = role
        self._punctual = role if isinstance(role, PunctualRole) else None  # slow to find out

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        return self.role.handle(circuit, message_type, body, now, wall)

    def circuit_ready(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        return self.role.circuit_ready(circuit, now)

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        return self.role.circuit_closed(circuit, now)

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        return self.role.tick(now, wall)

    @property
    def is_due_soon(self) -> bool:
        return self._punctual is not None and self._punctual.is_due_soon

    @property
    def costly(self) -> frozenset[int]:
        return self.role.costly if isinstance(self.role, CostlyRole) else frozenset()

    def statistics(self) -> Mapping[str, int]:
        return self.role.statistics() if isinstance(self.role, CountingRole) else {}

    def ended(self) -> None:
        if isinstance(self.role, EndingRole):
            self.role.ended()


def replaceable(mounting: Mounting) -> Sequence[Role]:
    """The usual roles of a relay, each replaceable."""
    return [Replaceable(role) for role in testing.usual_roles(mounting)]


def _place(running: RunningRelay, accepts: frozenset[int]) -> Replaceable:
    (place,) = (one for one in running.roles if one.accepts == accepts)
    if not isinstance(place, Replaceable):
        raise TypeError("this network's roles cannot be replaced")
    return place


def ring_of(running: RunningRelay) -> Ring:
    """Its honest ring."""
    role = _place(running, Ring.accepts).role
    if not isinstance(role, Ring):
        raise TypeError
    return role


def introducer_of(running: RunningRelay) -> Role:
    """Its honest introducer, or what was put in its place."""
    return role_of(running, Introducer.accepts)


def role_of(running: RunningRelay, accepts: frozenset[int]) -> Role:
    """Its role that takes these messages."""
    return _place(running, accepts).role


def mount(running: RunningRelay, role: Role) -> None:
    """Put a role in the place of the one that takes the same messages."""
    _place(running, role.accepts).put(role)


def new_ring(running: RunningRelay) -> Ring:
    """An empty ring for this relay, as after a restart."""
    return Ring(running.relay.keys.relay_id, lambda: running.relay.keeper.view, running.relay.params)


def shown(running: RunningRelay, blinded: bytes, period: int) -> bytes | None:
    """The descriptor that its ring shows to whoever asks, also one that has expired."""
    number = next(_looks)
    asking = Circuit(number, f"look {number}")
    place = _place(running, Ring.accepts)
    (answer,) = place.handle(asking, m.FETCH, m.Fetch(blinded, period).encode(), 0.0, 0)
    place.circuit_closed(asking, 0.0)
    if not isinstance(answer, Reply):
        raise TypeError
    found = m.Found.decode_untrusted(answer.body)
    return found.descriptor if found.status == m.FOUND_IT else None


def by_id(net: Network, identity: str) -> RunningRelay:
    """The running relay of this identity, hex."""
    return next(one for one in net.relays if one.id == identity)


class DeafIntroducer:
    """Passes introductions on, and says that it has passed resumptions on, but drops them."""

    accepts = Introducer.accepts

    def __init__(self, honest: Role) -> None:
        self._honest = honest

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        if message_type == m.INTRODUCE1 and len(body) == g.RESUME:
            return (Reply(circuit, m.INTRODUCE_ACK, bytes((m.OK,))),)
        return self._honest.handle(circuit, message_type, body, now, wall)

    def circuit_ready(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        return self._honest.circuit_ready(circuit, now)

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        return self._honest.circuit_closed(circuit, now)

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        return self._honest.tick(now, wall)


def mount_deaf(running: RunningRelay) -> None:
    """This relay's introducer drops resumptions from now on; it keeps the endpoints that it has."""
    place = _place(running, Introducer.accepts)
    place.put(DeafIntroducer(place.role))


class HostileIntroducer:
    """Takes endpoints as an honest one does. `answer`: what visitors are told, None for nothing; nothing is
    passed on. `invents`: introductions a second, of junk. `brings`: said once to every endpoint."""

    accepts = Introducer.accepts

    def __init__(
        self,
        running: RunningRelay,
        *,
        answer: int | None = m.OK,
        invents: int = 0,
        brings: bytes | None = None,
    ) -> None:
        self.answer = answer
        self.invents = invents
        self.brings = brings
        self._honest = Introducer(running.relay.keys.relay_id, running.relay.params)
        self._endpoints: dict[CircuitHandle, bytes] = {}
        self._ticked = 0.0

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        """Only what it says to visitors is its own."""
        if message_type == m.INTRODUCE1:
            return () if self.answer is None else (Reply(circuit, m.INTRODUCE_ACK, bytes((self.answer,))),)
        actions = self._honest.handle(circuit, message_type, body, now, wall)
        self._endpoints[circuit] = m.EstablishIntro.decode_untrusted(body).auth_key
        return actions

    def circuit_ready(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        return ()

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        self._endpoints.pop(circuit, None)
        return self._honest.circuit_closed(circuit, now)

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        """Invent as many as the time since the last tick allows."""
        number = int(self.invents * min(5.0, now - self._ticked))
        self._ticked = now
        invented = tuple(
            Reply(circuit, m.INTRODUCE2, junk(key, at))
            for circuit, key in self._endpoints.items()
            for at in range(number - circuit.waiting_messages)
        )
        if self.brings is None or not self._endpoints:
            return invented
        body, self.brings = self.brings, None
        return (*invented, *(Reply(circuit, m.INTRODUCE2, body) for circuit in self._endpoints))


def junk(auth_key: bytes, number: int) -> bytes:
    """An introduction that does not open."""
    sealed = number.to_bytes(4, "big") * (g.INTRODUCE_SEALED // 4)
    return m.Introduce(auth_key, m.INTRODUCE_NEW, 1, bytes(g.POW), sealed).encode()


class LyingRing:
    """A ring relay that shows what the test wants in place of some descriptors (None: that it has none), as
    long as no other comes. `origins`: who brought descriptors, as the relay saw them come."""

    accepts = Ring.accepts

    def __init__(self, honest: Ring) -> None:
        self.honest = honest
        self.lies: dict[tuple[bytes, int], bytes | None] = {}
        self.origins: set[object] = set()

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        if message_type == m.PUBLISH:
            outer = Outer.decode_untrusted(body)
            self.lies.pop((outer.blinded, outer.period), None)
            self.origins.add(circuit.origin)
        else:
            wanted = m.Fetch.decode_untrusted(body)
            name = wanted.blinded, wanted.period
            if name in self.lies:
                lie = self.lies[name]
                found = m.Found(m.NOT_FOUND) if lie is None else m.Found(m.FOUND_IT, lie)
                return (Reply(circuit, m.FOUND, found.encode()),)
        return self.honest.handle(circuit, message_type, body, now, wall)

    def circuit_ready(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        return ()

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        return self.honest.circuit_closed(circuit, now)

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        return self.honest.tick(now, wall)


def lying_rings(net: Network) -> list[LyingRing]:
    """Every relay of the network has one from now on, truthful at first and with what it held."""
    rings = []
    for running in net.relays:
        rings.append(LyingRing(ring_of(running)))
        mount(running, rings[-1])
    return rings


class Stale(Ring):
    """A ring relay that says `stale` to every upload. It shows the last one, or with `old` the first."""

    def __init__(self, running: RunningRelay, *, old: bool) -> None:
        super().__init__(running.relay.keys.relay_id, lambda: running.relay.keeper.view, Params)
        self.old = old
        self.uploads = 0
        self._seen: set[tuple[bytes, int]] = set()

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        """As an honest one, but for what it says to uploads."""
        if message_type != m.PUBLISH:
            return super().handle(circuit, message_type, body, now, wall)
        self.uploads += 1
        outer = Outer.decode_untrusted(body)
        if not self.old or (outer.blinded, outer.period) not in self._seen:
            super().handle(circuit, message_type, body, now, wall)
            self._seen.add((outer.blinded, outer.period))
        return (Reply(circuit, m.FOUND, m.Found(m.STALE).encode()),)


def origins(net: Network) -> list[RelayId]:
    """Every relay as a neighbour that circuits come over."""
    return [one.relay.keys.relay_id for one in net.relays]
