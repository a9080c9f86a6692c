"""What relays see: introducers and rendezvous points that note what passes them, and pass it on."""

from __future__ import annotations

from dataclasses import dataclass, field

from onionshh import geometry as g
from onionshh.core.roles import CircuitHandle, EndCircuit, Reply, Role, RoleAction
from onionshh.reasons import Reason
from onionshh.rendezvous.introducer import Introducer
from onionshh.rendezvous.meeting import Meeting
from onionshh.testing import Network, RunningRelay
from onionshh.wire import messages as m
from tests.client.hostile import Replaceable


@dataclass
class Seen:
    """Whole messages, in their order, over all relays that note for it."""

    introduced: list[bytes] = field(default_factory=list)
    """INTRODUCE1 of both kinds, each once for each time that it came."""
    met: list[bytes] = field(default_factory=list)
    """What came to rendezvous points: cookies and RENDEZVOUS1."""

    @property
    def resumed(self) -> list[m.Resume]:
        """The RESUMEs."""
        return [m.Resume.decode_untrusted(body) for body in self.introduced if len(body) == g.RESUME]

    @property
    def new(self) -> int:
        """How many new introductions came, tests of the endpoint's own included."""
        return sum(len(body) != g.RESUME for body in self.introduced)


class Noting:
    """Stands in for a role, and notes what it is given."""

    def __init__(self, honest: Role, seen: Seen) -> None:
        self.accepts = honest.accepts
        self._honest = honest
        self._seen = seen

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        if message_type == m.INTRODUCE1:
            self._seen.introduced.append(body)
        elif message_type in (m.ESTABLISH_RENDEZVOUS, m.RENDEZVOUS1):
            self._seen.met.append(body)
        return self._honest.handle(circuit, message_type, body, now, wall)

    def circuit_ready(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        return self._honest.circuit_ready(circuit, now)

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        return self._honest.circuit_closed(circuit, now)

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        return self._honest.tick(now, wall)


def noting(net: Network) -> Seen:
    """Every relay of the network notes from now on."""
    seen = Seen()
    for running in net.relays:
        for place in running.roles:
            if isinstance(place, Replaceable) and place.accepts in (Introducer.accepts, Meeting.accepts):
                place.put(Noting(place.role, seen))
    return seen


class Refusing:
    """An introducer that takes endpoints and new introductions, and does something else with RESUMEs.
    `answer`: what it says to them; None for nothing. `ends`: closes the circuit. `key`: only if they are for
    this key."""

    accepts = Introducer.accepts

    def __init__(self, honest: Role, *, answer: int | None, ends: bool, key: bytes | None) -> None:
        self._honest = honest
        self._answer = answer
        self._ends = ends
        self._key = key
        self.refused = 0

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        meant = message_type == m.INTRODUCE1 and len(body) == g.RESUME
        if not meant or self._key not in (None, m.Resume.decode_untrusted(body).auth_key):
            return self._honest.handle(circuit, message_type, body, now, wall)
        self.refused += 1
        if self._ends:
            return (EndCircuit(circuit, Reason.CLOSED),)
        return () if self._answer is None else (Reply(circuit, m.INTRODUCE_ACK, bytes((self._answer,))),)

    def circuit_ready(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        return self._honest.circuit_ready(circuit, now)

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        return self._honest.circuit_closed(circuit, now)

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        return self._honest.tick(now, wall)


def refuse(
    running: RunningRelay, *, answer: int | None = None, ends: bool = False, key: bytes | None = None
) -> Refusing:
    """This relay's introducer does so from now on."""
    (place,) = (one for one in running.roles if one.accepts == Introducer.accepts)
    if not isinstance(place, Replaceable):
        raise TypeError("this network's roles cannot be replaced")
    role = Refusing(place.role, answer=answer, ends=ends, key=key)
    place.put(role)
    return role
