"""How circuits come to be at a relay: CREATE answered, EXTEND carried on (SPEC 6, 17).

A handshake costs as much as fifty forwarded cells, so it is never done while a frame is being worked off:
whole CREATEs wait in a bounded queue, and the driver serves one at a time between reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onionshh.core.base.params import Params
from onionshh.core.base.reasons import Drops
from onionshh.core.circuit.conversation import Conversation
from onionshh.core.circuit.window import Flow
from onionshh.core.link.outbox import Memory
from onionshh.core.link.port import LinkPort
from onionshh.crypto import handshake
from onionshh.crypto.layers import RelayLayers
from onionshh.crypto.primitives import KeyPair
from onionshh.errors import ProtocolError
from onionshh.geometry import (
    CIRCUIT_CLIENT,
    CIRCUIT_KEYSTREAM,
    CIRCUIT_MESSAGE,
    CIRCUIT_SERVER,
    KEY,
    LAYER_STATE,
)
from onionshh.ids import RandomBytes, RelayId
from onionshh.relay.circuit import Leg, RelayCircuit
from onionshh.relay.limits import CreateLimits, echoes_of
from onionshh.wire.cell import CREATE, CREATE_MORE, CREATED, CREATED_MORE, pack_cell
from onionshh.wire.framing import HandshakeParts, split_handshake
from onionshh.wire.messages import EXTENDED, exactly

REFUSALS_WAITING_MOST = 512
"""Refusals that may wait at a link when another CREATE comes: who reads no answers shall ask no more. More
than can be refused within one pass, after which what waits is sent."""

RELAY_LINK_CREATE_SECONDS = 1.0
"""How long a CREATE from another relay may wait in the queue."""


@dataclass(frozen=True, slots=True)
class WantedLink:
    """An EXTEND needs a link to `relay`; answer with `extend_over` or `extend_failed`."""

    circuit: RelayCircuit
    relay: RelayId
    message: bytes


@dataclass(frozen=True, slots=True)
class _Create:
    port: LinkPort
    circuit_id: int
    parts: HandshakeParts
    message: bytes
    deadline: float


class SetUp:
    """CREATE and EXTEND for one switch. `end(circuit, reason)` is the switch's way to end a circuit."""

    def __init__(
        self,
        *,
        identity: RelayId,
        onion_keys: Callable[[], Sequence[KeyPair]],
        knows: Callable[[RelayId], bool],
        params: Callable[[], Params],
        first_accepts: frozenset[int],
        circuits: set[RelayCircuit],
        end: Callable[[RelayCircuit, str], None],
        memory: Memory,
        drops: Drops,
        random_bytes: RandomBytes,
    ) -> None:
        self._identity = identity
        self._onion_keys = onion_keys
        self._knows = knows
        self._params = params
        self._first_accepts = first_accepts
        self._circuits = circuits
        self._end = end
        self._memory = memory
        self._drops = drops
        self._random_bytes = random_bytes
        self._limits = CreateLimits()
        self.handshakes_waiting: deque[_Create] = deque()
        self.wanted_links: deque[WantedLink] = deque()

    # CREATE.

    def create_cell(self, port: LinkPort, circuit_id: int, command: int, body: bytes, now: float) -> None:
        """One CREATE or CREATE_MORE for an id that no circuit uses. ProtocolError ends the link."""
        if _refusals_unread(port):
            raise ProtocolError("refusals-unread")
        parts = port.creating.get(circuit_id)
        if command == CREATE:
            if parts is not None or not port.may_create or not port.theirs(circuit_id):
                raise ProtocolError("create-not-allowed")
            params = self._params()
            if len(port.legs) + len(port.creating) >= params.circuits_per_link:
                self._refuse(port, circuit_id, "circuits-per-link")
                return
            if port.peer is None and not self._limits.allow(port, params, now):
                self._refuse(port, circuit_id, "create-rate")
                return
            parts = port.creating[circuit_id] = HandshakeParts(CIRCUIT_CLIENT, now)
        elif parts is None:
            self._drops.count("unknown-circuit")
            return
        try:
            message = parts.add(body, first=command == CREATE)
        except ProtocolError as error:
            self._refuse(port, circuit_id, error.reason)
            return
        if message is None:
            return
        if len(self.handshakes_waiting) >= self._params().create_queue:
            self._refuse(port, circuit_id, "create-queue-full")
            return
        wait = RELAY_LINK_CREATE_SECONDS if port.peer is not None else self._params().handshake_seconds
        self.handshakes_waiting.append(_Create(port, circuit_id, parts, message, now + wait))

    def serve_handshake(self, now: float) -> bool:
        """Answer one waiting CREATE; False when none waits."""
        while self.handshakes_waiting:
            create = self.handshakes_waiting.popleft()
            if create.port.creating.get(create.circuit_id) is not create.parts:
                continue  # its link or the circuit went while it waited, perhaps for another of this id
            if now > create.deadline:
                self._refuse(create.port, create.circuit_id, "create-waited")
                continue
            self._answer(create)
            return True
        return False

    def forget(self, port: LinkPort) -> None:
        """The link is gone: so are its half-made circuits."""
        port.creating.clear()

    def expire(self, ports: Sequence[LinkPort], now: float) -> None:
        """End what stayed half-made for too long."""
        oldest = now - self._params().handshake_seconds
        for port in ports:
            for circuit_id, parts in list(port.creating.items()):
                if parts.since < oldest:
                    self._refuse(port, circuit_id, "create-unfinished")
        for circuit in [one for one in self._circuits if one.extending_to and one.extending_since < oldest]:
            self._end(circuit, "extend-timeout")

    def _answer(self, create: _Create) -> None:
        port, circuit_id = create.port, create.circuit_id
        try:
            answer = handshake.respond(
                create.message,
                server_id=self._identity,
                keys=self._onion_keys(),
                ver=handshake.CIRCUIT,
                client_message_bytes=CIRCUIT_MESSAGE,
                server_message=bytes(CIRCUIT_MESSAGE),
                keystream_bytes=CIRCUIT_KEYSTREAM,
                random_bytes=self._random_bytes,
            )
        except ProtocolError as error:
            self._refuse(port, circuit_id, error.reason)
            return
        del port.creating[circuit_id]
        keys = answer.keystream
        params = self._params()
        conversation = Conversation(
            Flow(params.ack_every, params.window),
            accepts=self._first_accepts,
            echoes=echoes_of(answer.client_message),
            memory=self._memory,
            random_bytes=self._random_bytes,
        )
        layers = RelayLayers(keys[:LAYER_STATE], keys[LAYER_STATE : 2 * LAYER_STATE])
        circuit = RelayCircuit(layers, conversation, keys[2 * LAYER_STATE :], port, circuit_id)
        port.legs[circuit_id] = circuit.inward
        self._circuits.add(circuit)
        self._push(circuit.inward, CREATED, CREATED_MORE, answer.reply)

    def _push(self, leg: Leg, first: int, more: int, message: bytes) -> None:
        for number, body in enumerate(split_handshake(message, self._random_bytes)):
            cell = pack_cell(leg.circuit_id, more if number else first, body)
            leg.port.outbox.push(leg.queue, cell)

    def _refuse(self, port: LinkPort, circuit_id: int, reason: str) -> None:
        self._drops.count(reason)
        port.creating.pop(circuit_id, None)
        if not _refusals_unread(port):
            port.refuse(circuit_id, self._random_bytes)

    # EXTEND.

    def extend(self, circuit: RelayCircuit, body: bytes, now: float) -> None:
        """The client asks for one more hop. ProtocolError ends the circuit."""
        exactly(body, CIRCUIT_CLIENT)
        relay = RelayId(body[:KEY])
        if circuit.extending_to is not None or circuit.outward is not None or circuit.joined:
            raise ProtocolError("extend-twice")
        if relay in (self._identity, circuit.inward.port.peer):
            raise ProtocolError("extend-backward")
        if not self._knows(relay):
            raise ProtocolError("extend-unknown-relay")
        circuit.extending_to = relay
        circuit.extending_since = now
        circuit.conversation.settle()
        self.wanted_links.append(WantedLink(circuit, relay, body))

    def extend_over(self, wanted: WantedLink, port: LinkPort) -> None:
        """The link is open: CREATE goes out over it."""
        circuit = wanted.circuit
        if circuit.closed:
            return
        try:
            circuit_id = port.new_circuit_id(self._random_bytes)
        except ProtocolError as error:
            self._end(circuit, error.reason)
            return
        leg = circuit.outward = Leg(circuit, port, circuit_id, outward=True)
        port.legs[circuit_id] = leg
        circuit.parts = HandshakeParts(CIRCUIT_SERVER, circuit.extending_since)
        self._push(leg, CREATE, CREATE_MORE, wanted.message)

    def created_cell(self, circuit: RelayCircuit, command: int, body: bytes) -> None:
        """CREATED or CREATED_MORE from the next hop. ProtocolError ends the circuit."""
        if circuit.parts is None:
            raise ProtocolError("created-not-due")
        reply = circuit.parts.add(body, first=command == CREATED)
        if reply is not None:
            circuit.parts = circuit.extending_to = None
            circuit.conversation.send(EXTENDED, reply)


def _refusals_unread(port: LinkPort) -> bool:
    return len(port.refusals.cells) > REFUSALS_WAITING_MOST
