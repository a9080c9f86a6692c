"""Carries EXTEND on to the next hop (SPEC 6), by the table of relay/state.py. The driver opens a link if none
is open."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from onionshh.core.base.params import Params
from onionshh.core.link.port import LinkPort
from onionshh.errors import ProtocolError
from onionshh.geometry import CIRCUIT_CLIENT, KEY
from onionshh.ids import RandomBytes, RelayId
from onionshh.reasons import Reason
from onionshh.relay.create import push_handshake
from onionshh.relay.state import Event, RelayCircuit, Stage
from onionshh.wire.cell import CREATE, CREATE_MORE, CREATED
from onionshh.wire.messages import EXTENDED, exactly


@dataclass(frozen=True, slots=True)
class WantedLink:
    """An EXTEND needs a link to `relay`; answer with `extend_over` or `extend_failed`."""

    circuit: RelayCircuit
    relay: RelayId
    message: bytes


class Extends:
    """Every EXTEND that is under way. Each method's ProtocolError ends the circuit it was called for."""

    def __init__(
        self,
        *,
        identity: RelayId,
        knows: Callable[[RelayId], bool],
        params: Callable[[], Params],
        random_bytes: RandomBytes,
    ) -> None:
        self._identity = identity
        self._knows = knows
        self._params = params
        self._random_bytes = random_bytes
        self.wanted_links: deque[WantedLink] = deque()

    def extend(self, circuit: RelayCircuit, body: bytes, now: float) -> None:
        """The client asks for one more hop."""
        exactly(body, CIRCUIT_CLIENT)
        relay = RelayId(body[:KEY])
        circuit.extend(now)
        if relay in (self._identity, circuit.inward.port.peer):
            raise ProtocolError(Reason.EXTEND_BACKWARD)
        if not self._knows(relay):
            raise ProtocolError(Reason.EXTEND_UNKNOWN_RELAY)
        circuit.conversation.settle()
        self.wanted_links.append(WantedLink(circuit, relay, body))

    def over(self, wanted: WantedLink, port: LinkPort) -> None:
        """The link is open: CREATE goes out over it."""
        circuit = wanted.circuit
        if circuit.stage is Stage.ENDED:
            return  # it ended while its link was dialled
        leg = circuit.extends_over(port, port.new_circuit_id(self._random_bytes))
        push_handshake(leg, CREATE, CREATE_MORE, wanted.message, self._random_bytes)

    def created_cell(self, circuit: RelayCircuit, command: int, body: bytes) -> None:
        """CREATED or CREATED_MORE from the next hop."""
        circuit.move(Event.CREATED_PART)
        if circuit.extending is None:
            raise RuntimeError("a circuit that extends has forgotten what it extends to")
        reply = circuit.extending.add(body, first=command == CREATED)
        if reply is not None:
            circuit.extended()
            circuit.conversation.send(EXTENDED, reply)

    def overdue(self, circuits: Iterable[RelayCircuit], now: float) -> list[RelayCircuit]:
        """The circuits whose next hop has not answered in time."""
        oldest = now - self._params().handshake_seconds
        return [
            circuit
            for circuit in circuits
            if circuit.extending is not None and circuit.extending.since < oldest
        ]
