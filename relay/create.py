"""Answers CREATE (SPEC 4, 6, 17).

A handshake costs as much as fifty forwarded cells, so none is done while a frame is being processed: whole
CREATEs wait in a bounded queue, and the driver serves one at a time between reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from onionshh.core.base.drops import Drops
from onionshh.core.base.params import Params
from onionshh.core.circuit.conversation import Conversation
from onionshh.core.circuit.window import Flow
from onionshh.core.link.outbox import Memory
from onionshh.core.link.port import LinkPort
from onionshh.crypto import handshake
from onionshh.crypto.layers import RelayLayers
from onionshh.crypto.primitives import KeyPair
from onionshh.errors import ProtocolError
from onionshh.geometry import CIRCUIT_CLIENT, CIRCUIT_KEYSTREAM, CIRCUIT_MESSAGE, LAYER_STATE
from onionshh.ids import RandomBytes, RelayId
from onionshh.reasons import Reason
from onionshh.relay.limits import CreateLimits, echoes_of
from onionshh.relay.state import Leg, RelayCircuit
from onionshh.wire.cell import CREATE, CREATED, CREATED_MORE, pack_cell
from onionshh.wire.framing import HandshakeParts, split_handshake
from onionshh.wire.messages import EXTEND

REFUSALS_WAITING_MOST = 512
"""Refusals that may wait at a link when another CREATE comes: a peer that reads no answers must not ask for
more. This is more than one pass can refuse, and what waits is sent after each pass."""

RELAY_LINK_CREATE_SECONDS = 1.0
"""How long a CREATE from another relay may wait in the queue."""


@dataclass(frozen=True, slots=True)
class WaitingCreate:
    """A whole CREATE. `deadline`: monotonic seconds after which its client waits no longer."""

    port: LinkPort
    circuit_id: int
    parts: HandshakeParts
    message: bytes
    deadline: float


class Creates:
    """Half-made circuits, and the answer to each."""

    def __init__(
        self,
        *,
        identity: RelayId,
        onion_keys: Callable[[], Sequence[KeyPair]],
        params: Callable[[], Params],
        memory: Memory,
        drops: Drops,
        random_bytes: RandomBytes,
    ) -> None:
        self._identity = identity
        self._onion_keys = onion_keys
        self._params = params
        self._memory = memory
        self._drops = drops
        self._random_bytes = random_bytes
        self._limits = CreateLimits()
        self.served = 0
        """How many were answered with a circuit so far."""
        self.refused = 0
        """How many were refused so far, for whatever reason."""
        self.waiting: deque[WaitingCreate] = deque()
        self.accepts = frozenset((EXTEND,))
        """The messages that a new circuit takes for this relay. All circuits share this set."""

    def create_cell(self, port: LinkPort, circuit_id: int, command: int, body: bytes) -> None:
        """One CREATE or CREATE_MORE for an id that no circuit uses. ProtocolError ends the link."""
        now = self._memory.now
        if _refusals_unread(port):
            raise ProtocolError(Reason.REFUSALS_UNREAD)
        parts = port.creating.get(circuit_id)
        if command == CREATE:
            if parts is not None or not port.may_create or not port.theirs(circuit_id):
                raise ProtocolError(Reason.CREATE_NOT_ALLOWED)
            params = self._params()
            if len(port.legs) + len(port.creating) >= params.circuits_per_link:
                self.refuse(port, circuit_id, Reason.CIRCUITS_PER_LINK)
                return
            if port.peer is None and not self._limits.allow(port, params, now):
                self.refuse(port, circuit_id, Reason.CREATE_RATE)
                return
            parts = port.creating[circuit_id] = HandshakeParts(CIRCUIT_CLIENT, now)
        elif parts is None:
            self._drops.count(Reason.UNKNOWN_CIRCUIT)
            return
        try:
            message = parts.add(body, first=command == CREATE)
        except ProtocolError as error:
            self.refuse(port, circuit_id, error.reason)
            return
        if message is None:
            return
        if len(self.waiting) >= self._params().create_queue:
            self.refuse(port, circuit_id, Reason.CREATE_QUEUE_FULL)
            return
        wait = RELAY_LINK_CREATE_SECONDS if port.peer is not None else self._params().handshake_seconds
        self.waiting.append(WaitingCreate(port, circuit_id, parts, message, now + wait))

    def next_due(self) -> WaitingCreate | None:
        """The CREATE that has waited longest and is still of use, taken out of the queue."""
        while self.waiting:
            create = self.waiting.popleft()
            if create.port.creating.get(create.circuit_id) is not create.parts:
                continue  # its link or circuit ended while it waited, and another may have its id now
            if self._memory.now > create.deadline:
                self.refuse(create.port, create.circuit_id, Reason.CREATE_WAITED)
                continue
            return create
        return None

    def answer(self, create: WaitingCreate) -> RelayCircuit | None:
        """Queue CREATED, and return the new circuit. None if it was refused."""
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
            self.refuse(port, circuit_id, error.reason)
            return None
        del port.creating[circuit_id]
        keys = answer.keystream
        params = self._params()
        privacy_class = answer.client_message[0]
        conversation = Conversation(
            Flow(params.ack_every, params.window),
            accepts=self.accepts,
            echoes=echoes_of(privacy_class),
            memory=self._memory,
            random_bytes=self._random_bytes,
        )
        layers = RelayLayers(keys[:LAYER_STATE], keys[LAYER_STATE : 2 * LAYER_STATE])
        binding = keys[2 * LAYER_STATE :]
        circuit = RelayCircuit(layers, conversation, binding, privacy_class, port, circuit_id)
        port.legs[circuit_id] = circuit.inward
        push_handshake(circuit.inward, CREATED, CREATED_MORE, answer.reply, self._random_bytes)
        self.served += 1
        return circuit

    def expire(self, ports: Iterable[LinkPort]) -> None:
        """Refuse what stayed half-made for too long."""
        oldest = self._memory.now - self._params().handshake_seconds
        for port in ports:
            for circuit_id, parts in list(port.creating.items()):
                if parts.since < oldest:
                    self.refuse(port, circuit_id, Reason.CREATE_UNFINISHED)

    def refuse(self, port: LinkPort, circuit_id: int, reason: Reason) -> None:
        """Answer with DESTROY, and count why."""
        self._drops.count(reason)
        self.refused += 1
        port.creating.pop(circuit_id, None)
        if not _refusals_unread(port):
            port.refuse(circuit_id, self._random_bytes)


def push_handshake(leg: Leg, first: int, more: int, message: bytes, random_bytes: RandomBytes) -> None:
    """Queue a whole handshake: the first cell with the command `first`, the rest with `more`."""
    for number, body in enumerate(split_handshake(message, random_bytes)):
        leg.outbox.push(leg.queue, pack_cell(leg.circuit_id, more if number else first, body))


def _refusals_unread(port: LinkPort) -> bool:
    outbox = port.outbox
    return outbox.waiting > REFUSALS_WAITING_MOST and outbox.count(port.refusals) > REFUSALS_WAITING_MOST
