"""A relay reduced to what a role sees of it: circuits, and somebody who carries its actions out."""

from __future__ import annotations

from dataclasses import dataclass, field

from onionshh.core.roles import (
    Drop,
    EndCircuit,
    Join,
    Look,
    Origin,
    Remember,
    Reply,
    Role,
    RoleAction,
)
from onionshh.crypto.primitives import sha3_256
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason


class Circuit:
    """A circuit that ends here. Messages are not sent on by themselves while its window is closed."""

    def __init__(self, number: int, origin: Origin = "192.0.2.1") -> None:
        self.origin = origin
        self.binding = sha3_256(b"binding", number.to_bytes(4, "big"))
        self.joined = False
        self.window_open = True
        self.waiting_messages = 0
        self.got: list[tuple[int, bytes]] = []
        self.ended_for = ""


@dataclass
class Relay:
    """Carries out what one role wants, as the switch does. While not `committing`, what it wants on disk
    waits; while not `reading`, what it wants from there."""

    role: Role
    now: float = 0.0
    wall: int = 0
    drops: list[str] = field(default_factory=list)
    made: int = 0
    committing: bool = True
    asked: list[Remember] = field(default_factory=list)
    reading: bool = True
    looks: list[Look] = field(default_factory=list)

    def circuit(self, origin: Origin = "192.0.2.1") -> Circuit:
        self.made += 1
        return Circuit(self.made, origin)

    def send(self, circuit: Circuit, message_type: int, body: bytes) -> list[tuple[int, bytes]]:
        """A message comes on this circuit; what went back along it."""
        before = len(circuit.got)
        try:
            self.carry_out(self.role.handle(circuit, message_type, body, self.now, self.wall))
        except ProtocolError as error:
            self.end(circuit, error.reason)
        return circuit.got[before:]

    def tick(self) -> None:
        self.carry_out(self.role.tick(self.now, self.wall))

    def end(self, circuit: Circuit, reason: Reason = Reason.DESTROYED) -> None:
        if not circuit.ended_for:
            circuit.ended_for = reason
            self.carry_out(self.role.circuit_closed(circuit, self.now))

    def commit(self) -> None:
        """Commit what waits, each on its own, and tell the role how it went."""
        while self.asked:
            asked = self.asked.pop(0)
            try:
                asked.role.store.commit(asked.rows)
            except Exception:  # whatever it is, as in the relay's driver
                self.carry_out(asked.role.not_remembered(asked.token, self.now, self.wall))
            else:
                self.carry_out(asked.role.remembered(asked.token, self.now, self.wall))

    def look(self) -> None:
        """Read what roles asked to look at."""
        while self.looks:
            asked = self.looks.pop(0)
            try:
                found = asked.role.store.read(asked.keys)
            except Exception:  # whatever it is, as in the relay's driver
                self.carry_out(asked.role.not_looked(asked.token, self.now, self.wall))
            else:
                self.carry_out(asked.role.looked(asked.token, found, self.now, self.wall))

    def carry_out(self, actions: tuple[RoleAction, ...]) -> None:
        """Do what the role wants, in order."""
        looked = False
        for action in actions:
            assert not looked or isinstance(action, Look | Remember), "effects come before a Look"
            match action:
                case Reply(circuit=Circuit() as circuit, message_type=message_type, body=body):
                    assert not circuit.joined, "nothing of the relay's own goes into a joined circuit"
                    assert not circuit.ended_for
                    circuit.got.append((message_type, body))
                    circuit.waiting_messages += not circuit.window_open
                    if circuit.window_open:
                        self.carry_out(self.role.circuit_ready(circuit, self.now))
                case Join(one=Circuit() as one, other=Circuit() as other):
                    assert one is not other
                    one.joined = other.joined = True
                case EndCircuit(circuit=Circuit() as circuit, reason=reason):
                    self.end(circuit, reason)
                case Drop(reason=reason):
                    self.drops.append(reason)
                case Look():
                    looked = True
                    self.looks.append(action)
                    if self.reading:
                        self.look()
                case Remember() if action is actions[-1]:
                    self.asked.append(action)
                    if self.committing:
                        self.commit()
                case _:
                    raise AssertionError(action)
