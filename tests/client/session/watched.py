"""Relays that count what is asked of them: introductions, resumptions, meetings."""

from __future__ import annotations

from onionshh import geometry as g
from onionshh.core.roles import CircuitHandle, Role, RoleAction
from onionshh.rendezvous.meeting import Meeting
from onionshh.testing import RunningRelay
from onionshh.wire import messages as m
from tests.client.hostile import introducer_of, mount, role_of


class Watched:
    """What one relay was asked for since it is watched."""

    def __init__(self) -> None:
        self.introduced = self.resumed = self.met = 0

    def count(self, message_type: int, body: bytes) -> None:
        if message_type == m.INTRODUCE1:
            self.resumed += len(body) == g.RESUME
            self.introduced += len(body) != g.RESUME
        self.met += message_type == m.ESTABLISH_RENDEZVOUS


class _Counting:
    def __init__(self, honest: Role, watched: Watched) -> None:
        self.accepts = honest.accepts
        self._honest = honest
        self._watched = watched

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        self._watched.count(message_type, body)
        return self._honest.handle(circuit, message_type, body, now, wall)

    def circuit_ready(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        return self._honest.circuit_ready(circuit, now)

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        return self._honest.circuit_closed(circuit, now)

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        return self._honest.tick(now, wall)


def watched(running: RunningRelay) -> Watched:
    """Watch this relay from now on."""
    found = Watched()
    for role in (introducer_of(running), role_of(running, Meeting.accepts)):
        mount(running, _Counting(role, found))
    return found
