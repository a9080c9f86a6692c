"""A client that may send anything, in a network without trio (`simulations/world.py`)."""

from __future__ import annotations

from collections.abc import Container
from random import Random

from onionshh.core.link.port import LinkPort
from onionshh.crypto import handshake
from onionshh.crypto.layers import ClientLayers
from onionshh.geometry import (
    CIRCUIT_KEYSTREAM,
    CIRCUIT_MESSAGE,
    CIRCUIT_SERVER,
    DATA,
    HEAD,
    LAYER_STATE,
)
from onionshh.wire import messages as m
from onionshh.wire.cell import (
    CREATE,
    CREATE_MORE,
    CREATED,
    CREATED_MORE,
    DESTROY,
    RELAY,
    RELAY_EARLY,
    pack_cell,
    split_cells,
)
from onionshh.wire.framing import HandshakeParts, build_payload, split_handshake
from simulations.world import Node, PureNetwork, PureRelay


class Stranger(Node):
    """A client controlled by hand. It builds its circuits correctly and has their keys. Then it sends
    whatever it is told to send, even if the protocol does not allow it."""

    def __init__(self, net: PureNetwork, guard: PureRelay) -> None:
        super().__init__(1 << 30)
        self.sink = self
        self._net = net
        self._random = Random(600 + len(net.nodes)).randbytes
        self.came: dict[int, list[tuple[int, bytes]]] = {}
        """(Command, body) of each cell, by circuit id. If a layer recognised the cell, the payload."""
        self.layers: dict[int, ClientLayers] = {}
        self.port, self.guard_port = net.connect(self, guard, proven=False)

    def link_opened(self, port: LinkPort, now: float) -> None:
        """FrameSink."""

    def link_closed(self, port: LinkPort, now: float) -> None:
        """FrameSink."""

    def receive_frame(self, port: LinkPort, frame: bytes, now: float) -> None:
        """FrameSink: keep what arrives. Layers have state, so all cells are opened in order."""
        for circuit_id, command, body in split_cells(frame):
            layers = self.layers.get(circuit_id)
            if command == RELAY and layers is not None:
                body = layers.receive(RELAY, body)[1]
            self.came.setdefault(circuit_id, []).append((command, body))

    def ended(self, circuit_id: int) -> bool:
        """Whether the guard has reported the end of this circuit."""
        return any(command == DESTROY for command, _ in self.came.get(circuit_id, ()))

    def say(self, circuit_id: int, command: int, body: bytes) -> None:
        """Send any cell."""
        self.port.outbox.push(self.port.control, pack_cell(circuit_id, command, body))
        self._net.settle()

    def say_to(self, circuit_id: int, hop: int, payload: bytes, *, early: bool = False) -> None:
        """Send a cell that this hop recognises."""
        layers, command = self.layers.get(circuit_id), RELAY_EARLY if early else RELAY
        if layers is not None and hop < len(layers):
            self.say(circuit_id, command, layers.send(hop, command, payload)[0])

    def build(self, circuit_id: int, *relays: PureRelay) -> None:
        """Build a whole circuit, without padding."""
        self.create(circuit_id, relays[0])
        for relay in relays[1:]:
            self.extend(circuit_id, relay)

    def create(self, circuit_id: int, relay: PureRelay) -> None:
        """Add the first hop."""
        asked = self._asked(relay)
        self.came.pop(circuit_id, None)
        for number, body in enumerate(split_handshake(asked.message, self._random)):
            self.say(circuit_id, CREATE_MORE if number else CREATE, body)
        parts = HandshakeParts(CIRCUIT_SERVER, 0.0)
        for command, body in self.came.get(circuit_id, ()):
            if command in (CREATED, CREATED_MORE):
                self._add(circuit_id, asked, parts.add(body, first=command == CREATED))

    def extend(self, circuit_id: int, relay: PureRelay, *, plain: Container[int] = ()) -> None:
        """Add a hop. The EXTEND's cells with numbers in `plain` are sent as RELAY, not as RELAY_EARLY."""
        asked, hops = self._asked(relay), len(self.layers.get(circuit_id, ()))
        self.came.pop(circuit_id, None)
        for number, offset in enumerate(range(0, len(asked.message), DATA)):
            payload = build_payload(m.EXTEND, asked.message, offset, self._random)
            self.say_to(circuit_id, hops - 1, payload, early=number not in plain)
        reply = b"".join(
            payload[HEAD:]
            for command, payload in self.came.get(circuit_id, ())
            if command == RELAY and payload[0] in (m.EXTENDED, m.CONTINUE)
        )
        self._add(circuit_id, asked, reply[:CIRCUIT_SERVER])

    def _asked(self, relay: PureRelay) -> handshake.ClientHandshake:
        return handshake.ClientHandshake(
            server_id=relay.identity,
            server_key=relay.keys[0].public,
            ver=handshake.CIRCUIT,
            client_message=bytes(CIRCUIT_MESSAGE),
            random_bytes=self._random,
        )

    def _add(self, circuit_id: int, asked: handshake.ClientHandshake, reply: bytes | None) -> None:
        if not reply:
            return
        keys = asked.finish(
            reply, server_message_bytes=CIRCUIT_MESSAGE, keystream_bytes=CIRCUIT_KEYSTREAM
        ).keystream
        self.layers.setdefault(circuit_id, ClientLayers()).add_hop(
            keys[:LAYER_STATE], keys[LAYER_STATE : 2 * LAYER_STATE]
        )
