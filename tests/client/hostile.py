"""Relays that speak their part wrongly: what tests mount in place of an honest ring or introducer."""

from __future__ import annotations

from onionshh import geometry as g
from onionshh.core.base.params import Params
from onionshh.core.roles import CircuitHandle, Reply, Role, RoleAction
from onionshh.ids import RelayId
from onionshh.rendezvous.introducer import Introducer
from onionshh.rendezvous.ring import Ring
from onionshh.testing import Network, RunningRelay
from onionshh.wire import messages as m
from onionshh.wire.endpoint import Outer


def role_of(running: RunningRelay, kind: type[Role]) -> Role:
    """The honest role of this kind at a relay."""
    return next(role for role in running.relay.switch.control.roles if isinstance(role, kind))


def ring_of(running: RunningRelay) -> Ring:
    """Its ring."""
    role = role_of(running, Ring)
    if not isinstance(role, Ring):
        raise TypeError
    return role


def mount(running: RunningRelay, role: Role) -> None:
    """Put a role in the place of the honest one that takes the same messages."""
    running.relay.switch.control.mount(role)


def by_id(net: Network, identity: str) -> RunningRelay:
    """The running relay of this identity, hex."""
    return next(one for one in net.relays if one.id == identity)


class HostileIntroducer(Introducer):
    """Takes endpoints as an honest one does. `answer`: what visitors are told, None for nothing; nothing is
    passed on. `invents`: introductions a second, of junk."""

    def __init__(self, running: RunningRelay, *, answer: int | None = m.OK, invents: int = 0) -> None:
        super().__init__(running.relay.keys.relay_id, running.relay.params)
        self.answer = answer
        self.invents = invents
        self._ticked = 0.0

    def _introduce(
        self, circuit: CircuitHandle, message: m.Introduce, body: bytes, now: float
    ) -> tuple[RoleAction, ...]:
        if self.answer is None:
            return ()
        return (Reply(circuit, m.INTRODUCE_ACK, bytes((self.answer,))),)

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        """Invent as many as the time since the last tick allows."""
        count = int(self.invents * min(5.0, now - self._ticked))
        self._ticked = now
        return tuple(
            Reply(endpoint.circuit, m.INTRODUCE2, junk(key, number))
            for key, endpoint in self._endpoints.items()
            for number in range(count - endpoint.circuit.waiting_messages)
        )


def junk(auth_key: bytes, number: int) -> bytes:
    """An introduction that does not open."""
    sealed = number.to_bytes(4, "big") * (g.INTRODUCE_SEALED // 4)
    return m.Introduce(auth_key, m.INTRODUCE_NEW, 1, bytes(g.POW), sealed).encode()


class Stale(Ring):
    """A ring relay that says `stale` to every upload. It shows the last one, or with `old` the first."""

    def __init__(self, running: RunningRelay, *, old: bool) -> None:
        super().__init__(running.relay.keys.relay_id, lambda: running.relay.keeper.view, Params)
        self.old = old
        self.uploads = 0

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        """As an honest one, but for what it says to uploads."""
        if message_type != m.PUBLISH:
            return super().handle(circuit, message_type, body, now, wall)
        self.uploads += 1
        outer = Outer.decode_untrusted(body)
        if not self.old or (outer.blinded, outer.period) not in self._kept:
            super().handle(circuit, message_type, body, now, wall)
        return (Reply(circuit, m.FOUND, m.Found(m.STALE).encode()),)


def origins(net: Network) -> list[RelayId]:
    """Every relay as a neighbour that circuits come over."""
    return [one.relay.keys.relay_id for one in net.relays]
