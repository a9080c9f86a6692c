"""A network without trio: real switches and real client circuits. Calls carry the cells between them.

`settle()` moves cells until nothing moves any more. `wire` keeps all cells, as an observer of all links would
see them. `stuck` has the ports whose links take nothing. `touch` may change or drop a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from onionshh.core.base.drops import Drops
from onionshh.core.base.params import Params
from onionshh.core.circuit.circuit import CircuitEvent, ClientCircuit, HopAdded, MessageIn, RoundsDone
from onionshh.core.circuit.window import Flow
from onionshh.core.link.outbox import CellQueue, Memory, Outbox
from onionshh.core.link.port import FrameSink, LinkPort
from onionshh.core.roles import CircuitHandle, Look, Remember, Reply, Role, RoleAction
from onionshh.crypto.primitives import KeyPair, sha3_256
from onionshh.errors import ProtocolError
from onionshh.geometry import (
    CELL,
    CELL_HEADER,
    FRAME_CELLS,
)
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.relay.forward import Switch
from onionshh.relay.state import RelayCircuit
from onionshh.wire import messages as m
from onionshh.wire.cell import (
    DESTROY,
    HEADER,
    pack_cell,
    split_cells,
)

ASK, ANSWER = m.PUBLISH, m.FOUND
"""The message types of `Parrot`."""


def relay_id(number: int) -> RelayId:
    """The identity of the network's relay `number`, which counts from 0."""
    return RelayId(sha3_256(b"relay", number.to_bytes(4, "big")))


class Parrot:
    """A role that answers every ASK with the same bytes, and remembers what it heard."""

    accepts = frozenset((ASK,))

    def __init__(self) -> None:
        self.heard: list[tuple[CircuitHandle, bytes]] = []
        self.ready: list[CircuitHandle] = []
        self.closed: list[CircuitHandle] = []
        self.ticks: list[tuple[float, int]] = []
        self.next_actions: tuple[RoleAction, ...] | None = None
        self.on_close: tuple[RoleAction, ...] = ()

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        self.heard.append((circuit, body))
        if body == b"refuse":
            raise ProtocolError(Reason.MESSAGE_TYPE)
        if self.next_actions is not None:
            return self.next_actions
        return (Reply(circuit, ANSWER, body),)

    def circuit_ready(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        self.ready.append(circuit)
        return ()

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        self.closed.append(circuit)
        return self.on_close

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        self.ticks.append((now, wall))
        return ()


class Node:
    """A node with links: its memory, its drops, and the outboxes that got cells."""

    sink: FrameSink

    def __init__(self, memory_bytes: int) -> None:
        self.memory = Memory(memory_bytes)
        self.drops = Drops()
        self.touched: list[Outbox] = []
        self.ports: dict[Outbox, LinkPort] = {}


class PureRelay(Node):
    """A switch with keys. `links`: open relay links by peer."""

    def __init__(self, net: PureNetwork, number: int, roles: Iterable[Role], memory_bytes: int) -> None:
        super().__init__(memory_bytes)
        self.identity = relay_id(number)
        self.keys = [KeyPair.generate(Random(1000 + number).randbytes)]
        self.links: dict[RelayId, LinkPort] = {}
        self.roles = tuple(roles)
        self.switch = Switch(
            identity=self.identity,
            onion_keys=lambda: self.keys,
            knows=lambda identity: identity in net.relays,
            params=lambda: net.params,
            roles=self.roles,
            memory=self.memory,
            drops=self.drops,
            random_bytes=Random(number).randbytes,
            wall=lambda: net.wall,
        )
        self.sink = self.switch

    @property
    def circuit(self) -> RelayCircuit:
        """The only circuit here."""
        (circuit,) = self.switch.circuits
        return circuit


@dataclass
class PureCircuit:
    """A client's circuit and its events."""

    machine: ClientCircuit
    queue: CellQueue
    circuit_id: int
    port: LinkPort
    events: list[CircuitEvent]

    @property
    def messages(self) -> list[tuple[int, int, bytes]]:
        return [(e.hop, e.message_type, e.body) for e in self.events if isinstance(e, MessageIn)]

    @property
    def hops_added(self) -> list[RelayId]:
        return [e.relay for e in self.events if isinstance(e, HopAdded)]

    @property
    def rounds_done(self) -> bool:
        return RoundsDone() in self.events


class PureClient(Node):
    """A client of one guard."""

    def __init__(self, net: PureNetwork, guard: PureRelay, seed: int) -> None:
        super().__init__(1 << 30)
        self.sink = self
        self.net = net
        self.random = Random(seed).randbytes
        self.circuits: dict[int, PureCircuit] = {}
        self.port, self.guard_port = net.connect(self, guard, proven=False)

    def circuit(self, privacy_class: int = 1) -> PureCircuit:
        """A circuit without relays."""
        params = self.net.params
        machine = ClientCircuit(
            flow=Flow(params.ack_every, params.window),
            memory=self.memory,
            random_bytes=self.random,
            privacy_class=privacy_class,
            now=self.net.now,
        )
        circuit_id = self.port.new_circuit_id(self.random)
        circuit = PureCircuit(machine, CellQueue(), circuit_id, self.port, [])
        self.port.legs[circuit_id] = self.circuits[circuit_id] = circuit
        return circuit

    def flush(self, circuit: PureCircuit, change: Callable[[int, int, bytes], int] | None = None) -> None:
        """Queue the machine's cells. `change(index, command, body)` may return another command."""
        for index, (command, body) in enumerate(circuit.machine.take_cells()):
            if change is not None:
                command = change(index, command, body)
            self.port.outbox.push(circuit.queue, pack_cell(circuit.circuit_id, command, body))

    def raw(self, circuit_id: int, command: int, body: bytes | None = None) -> None:
        """Send any cell, then settle."""
        body = self.random(CELL - CELL_HEADER) if body is None else body
        self.port.outbox.push(self.port.control, pack_cell(circuit_id, command, body))
        self.net.settle()

    def build(self, *relays: PureRelay, pad: bool = True, privacy_class: int = 1) -> PureCircuit:
        """A whole circuit with padded set-up."""
        circuit = self.circuit(privacy_class)
        for relay in relays:
            self.extend(circuit, relay)
        if pad and len(relays) < 4:
            circuit.machine.pad_setup(4 - len(relays))
            self.settle(circuit)
            if not circuit.rounds_done:
                raise AssertionError(f"set-up is not complete: {circuit.machine.failed}")
        return circuit

    def extend(self, circuit: PureCircuit, relay: PureRelay) -> None:
        circuit.machine.add_relay(relay.identity, relay.keys[0].public)
        self.settle(circuit)

    def send(self, circuit: PureCircuit, message_type: int, body: bytes) -> None:
        circuit.machine.send(message_type, body)
        self.settle(circuit)

    def settle(self, circuit: PureCircuit) -> None:
        self.flush(circuit)
        self.net.settle()

    # FrameSink.

    def link_opened(self, port: LinkPort, now: float) -> None:
        pass

    def receive_frame(self, port: LinkPort, frame: bytes, now: float) -> None:
        for circuit_id, command, body in split_cells(frame):
            circuit = self.circuits.get(circuit_id)
            if circuit is None:
                self.drops.count(Reason.UNKNOWN_CIRCUIT)
                continue
            try:
                circuit.events += circuit.machine.receive_cell(command, body)
            except ProtocolError as error:
                self.drops.count(error.reason)
                del self.circuits[circuit_id], port.legs[circuit_id]
                port.outbox.discard(circuit.queue)
                if command != DESTROY:
                    port.destroy(circuit_id, self.random)
            else:
                self.flush(circuit)

    def link_closed(self, port: LinkPort, now: float) -> None:
        for circuit in self.circuits.values():
            circuit.machine.fail(Reason.LINK_CLOSED)
        self.circuits.clear()


class PureNetwork:
    """Relays, clients and the cables between them."""

    def __init__(self, params: Params | None = None) -> None:
        self.params = params or Params()
        self.now = 100.0
        self.wall = 1_700_000_000
        self.relays: dict[RelayId, PureRelay] = {}
        self.nodes: list[Node] = []
        self.far: dict[LinkPort, LinkPort] = {}
        self.owner: dict[LinkPort, Node] = {}
        self.wire: list[tuple[LinkPort, int, int]] = []
        self.stuck: set[LinkPort] = set()
        self.touch: Callable[[LinkPort, bytes], bytes] = lambda port, frame: frame
        self.unreachable: set[RelayId] = set()
        self.ended_links: list[tuple[LinkPort, str]] = []
        self.serving = True
        """Whether handshakes are answered."""
        self.committing = True
        """Whether the rows that roles ask to remember are committed. A store that raises OSError refuses."""

    def relay(self, *roles: Role, memory_bytes: int = 1 << 30) -> PureRelay:
        relay = PureRelay(self, len(self.relays), roles or (Parrot(),), memory_bytes)
        self.relays[relay.identity] = relay
        self.nodes.append(relay)
        return relay

    def client(self, guard: PureRelay) -> PureClient:
        return PureClient(self, guard, 500 + len(self.nodes))

    def connect(
        self, one: Node, other: PureRelay, *, proven: bool, host: str = "1.1.1.1"
    ) -> tuple[LinkPort, LinkPort]:
        """A cable opened by `one`: (its port, the other's). `proven`: `one` proved a relay's identity."""
        peer = one.identity if proven and isinstance(one, PureRelay) else None
        near = LinkPort(
            one.memory, one.touched, peer=other.identity, initiated=True, host="2.2.2.2", now=self.now
        )
        far = LinkPort(other.memory, other.touched, peer=peer, initiated=False, host=host, now=self.now)
        for node, port, end in ((one, near, far), (other, far, near)):
            node.ports[port.outbox] = port
            self.owner[port] = node
            self.far[port] = end
            node.sink.link_opened(port, self.now)
        if one not in self.nodes:
            self.nodes.append(one)
        return near, far

    def settle(self) -> None:
        """Carry cells, answer handshakes and open links until nothing happens any more."""
        while any([self._step(node) for node in self.nodes]):
            pass

    def cut(self, port: LinkPort, reason: Reason = Reason.LINK_BROKEN) -> None:
        """End one cable at both ends."""
        for end in (port, self.far[port]):
            node = self.owner[end]
            if node.ports.pop(end.outbox, None) is not None:
                self.ended_links.append((end, reason))
                if isinstance(node, PureRelay) and end.peer is not None:
                    node.links.pop(end.peer, None)
                node.sink.link_closed(end, self.now)

    def tick(self, seconds: float) -> None:
        """Let time pass for every relay."""
        self.now += seconds
        for relay in self.relays.values():
            relay.switch.tick(self.now)
        self.settle()

    def cells_on(self, port: LinkPort) -> list[tuple[int, int]]:
        """(circuit id, command) of every cell that left this port, in order."""
        return [(circuit_id, command) for sent, circuit_id, command in self.wire if sent is port]

    def _step(self, node: Node) -> bool:
        moved = False
        touched, node.touched[:] = list(node.touched), []
        for outbox in touched:
            outbox.untouch()
            port = node.ports.get(outbox)
            while port is not None and port not in self.stuck and outbox.waiting:
                self._deliver(port, b"".join(outbox.take(FRAME_CELLS)))
                moved = True
        if not isinstance(node, PureRelay):
            return moved
        while self.serving and node.switch.serve_handshake(self.now):
            moved = True
        while self.serving and node.switch.serve_costly(self.now):
            moved = True
        while self.committing and (batch := node.switch.control.remembering.take()):
            moved = True
            for asked in batch:
                node.switch.remembered(asked, self.now, kept=_commit(asked))
        while self.committing and (looks := node.switch.control.looking.take()):
            moved = True
            for look in looks:
                node.switch.looked(look, _read(look), self.now)
        while node.switch.control.extends.wanted_links:
            wanted = node.switch.control.extends.wanted_links.popleft()
            moved = True
            if wanted.relay in self.unreachable:
                node.switch.extend_failed(wanted, self.now)
                continue
            port = node.links.get(wanted.relay)
            if port is None:
                other = self.relays[wanted.relay]
                port, far = self.connect(node, other, proven=True)
                node.links[other.identity] = port
                other.links[node.identity] = far
            node.switch.extend_over(wanted, port, self.now)
        return moved

    def release(self, port: LinkPort) -> None:
        """Let a stuck link take cells again."""
        self.stuck.discard(port)
        node = self.owner[port]
        node.touched.append(port.outbox)
        self.settle()

    def _deliver(self, port: LinkPort, frame: bytes) -> None:
        frame = self.touch(port, frame)
        for at in range(0, len(frame), CELL):
            self.wire.append((port, *HEADER.unpack_from(frame, at)))
        end = self.far[port]
        node = self.owner[end]
        if frame and end.outbox in node.ports:
            try:
                node.sink.receive_frame(end, frame, self.now)
            except ProtocolError as error:
                self.cut(end, error.reason)


def _commit(asked: Remember) -> bool:
    try:
        asked.role.store.commit(asked.rows)
    except OSError:
        return False
    return True


def _read(look: Look) -> list[bytes | None] | None:
    try:
        return look.role.store.read(look.keys)
    except OSError:
        return None
