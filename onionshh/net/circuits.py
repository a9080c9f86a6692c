"""A client's circuits over its links: the trio side of core/circuit/circuit.py.

Cells come and go without waiting. Tasks wait for a new hop, a message, or the end. If nobody reads a circuit,
it stops acknowledging when its inbox is full, and the other end stops sending.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import trio

from onionshh.core.base.chance import Chance
from onionshh.core.base.drops import Drops
from onionshh.core.base.params import Params
from onionshh.core.circuit.circuit import SETUP_ROUNDS, ClientCircuit, MessageIn
from onionshh.core.circuit.inbox import Inbox
from onionshh.core.circuit.pace import Pace, RoundTimes
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.circuit.window import Flow
from onionshh.core.link.outbox import CellQueue, Memory
from onionshh.core.link.port import LinkPort
from onionshh.errors import ProtocolError
from onionshh.geometry import CELL, CELL_HEADER, DATA
from onionshh.ids import RandomBytes, RelayId
from onionshh.net.clocks import Clock
from onionshh.reasons import Reason
from onionshh.wire.cell import CREATE, DESTROY, HEADER, PADDING, RELAY, pack_cell
from onionshh.wire.consensus import RelayRow


class CircuitFailed(Exception):
    """The circuit has ended. `relay`: the relay to which extending failed, None for other failures. `words`:
    a text for people, if it says more than the reason's name."""

    def __init__(self, reason: Reason, relay: RelayId | None = None, words: str = "") -> None:
        super().__init__(words or reason)
        self.reason = reason
        self.relay = relay


class ClientLeg:
    """Where one circuit's cells leave: its link, its id there, and its queue."""

    __slots__ = ("circuit_id", "port", "queue")

    def __init__(self, port: LinkPort, circuit_id: int) -> None:
        self.port = port
        self.circuit_id = circuit_id
        self.queue = CellQueue()

    def push(self, cells: Iterable[tuple[int, bytes]]) -> None:
        """Queue these cells, each as (command, body), in this order."""
        for command, body in cells:
            self.port.outbox.push(self.queue, pack_cell(self.circuit_id, command, body))


class Circuit:
    """One of our circuits. `path` grows with each added relay; `purpose` is its present purpose."""

    def __init__(self, owner: CircuitSet, leg: ClientLeg, machine: ClientCircuit, purpose: Purpose) -> None:
        self._owner = owner
        self._leg = leg
        self._machine = machine
        self._inbox = Inbox(owner.memory)
        self._changed = trio.lowlevel.ParkingLot()
        self._pace = Pace(owner.round_times)
        self._sent = 0
        self._turn = trio.Lock()
        self.path: list[RelayRow] = []
        self.purpose = purpose
        self.made_at = owner.clock.monotonic()

    # Set-up.

    async def add(self, relay: RelayRow) -> None:
        """Add a relay at the end. Raises CircuitFailed, also when the hop takes too long."""
        asked = len(self._machine.relays)
        await self._round(
            lambda: self._machine.add_relay(relay.identity, relay.onion_key),
            lambda: len(self._machine.relays) > asked,
            blamed=relay.identity if asked else None,
        )
        self.path.append(relay)
        self._pace.answered(self._owner.clock.monotonic(), padding=False)

    async def pad(self, upto: int = SETUP_ROUNDS) -> None:
        """Pad set-up to `upto` rounds, so that the first link does not show the number of hops. Each round
        leaves when it would on a longer path. Raises CircuitFailed."""
        while self._pace.rounds < upto:
            await self._round(lambda: self._machine.pad_setup(1), lambda: not self._machine.padding)
            self._pace.answered(self._owner.clock.monotonic(), padding=True)

    async def _round(
        self, step: Callable[[], None], done: Callable[[], bool], *, blamed: RelayId | None = None
    ) -> None:
        """Do one step of set-up when it is due, and wait for its answer."""
        clock = self._owner.clock
        try:
            if self._pace.due > clock.monotonic():
                await trio.sleep_until(self._pace.due)
            self._pace.left(clock.monotonic())
            self._do(step)
            with trio.fail_after(self._owner.params().hop_timeout_seconds):
                while not done():
                    await self._wait()
        except CircuitFailed as error:
            raise CircuitFailed(error.reason, blamed) from error
        except trio.TooSlowError:
            self.close(Reason.HOP_TIMEOUT)
            raise CircuitFailed(Reason.HOP_TIMEOUT, blamed) from None
        except BaseException:
            self.close(Reason.CANCELLED)
            raise

    @property
    def rounds(self) -> int:
        """How many rounds of set-up were answered, with padding rounds counted."""
        return self._pace.rounds

    def join(self, forward: bytes, backward: bytes, *, as_visitor: bool, accepts: frozenset[int]) -> None:
        """Add the end-to-end layer. From now on messages go to the other end and come from it."""
        early: list[bytes] = []
        self._do(
            lambda: early.extend(
                self._machine.join(forward, backward, as_visitor=as_visitor, accepts=accepts)
            )
        )
        self._inbox.clear()
        self._sent = 0  # the new layer has its own queue
        for body in early:
            if self._machine.failed is not None:
                break  # one bad cell is one drop, however many come behind it
            self.cell(RELAY, body)

    def leave_room(self) -> None:
        """Use only a quarter of the window to the other end from now on."""
        self._machine.leave_room()

    # Messages.

    @property
    def binding(self) -> bytes:
        """The binding from the last relay's handshake (SPEC 4)."""
        return self._machine.binding

    def accept(self, *types: int) -> None:
        """Set what the last relay may send from now on."""
        self._machine.accept(frozenset(types))

    def expect_join(self, answer_type: int) -> None:
        """The last relay may send one message of this type, which connects us to the other end. Everything
        from the other end before `join` is kept until then."""
        self._machine.expect_join(answer_type)

    @property
    def waiting_messages(self) -> int:
        """Messages to the last relay, or after a join to the other end, that have not left completely."""
        return self._machine.waiting_messages

    @property
    def sent_cells(self) -> int:
        """Cells that left to the last relay, or after a join to the other end, without ACKs."""
        return self._machine.sent_cells

    def send(self, message_type: int, body: bytes) -> None:
        """Queue a whole message and send what the window allows. Raises CircuitFailed."""
        self._do(lambda: self._machine.send(message_type, body))
        self._sent += 1

    def send_at_once(self, message_type: int, *bodies: bytes) -> bool:
        """Send messages if all their cells may leave now, in one frame if they fit. Otherwise send nothing.
        Raises CircuitFailed."""
        cells = sum(-(-len(body) // DATA) for body in bodies)
        if self._turn.locked() or cells > self._machine.room:
            return False
        for body in bodies:
            self._do(partial(self._machine.send, message_type, body), flush=False)
            self._sent += 1
        self._owner.flush()
        return True

    async def deliver(self, message_type: int, *bodies: bytes) -> None:
        """Send messages and wait until the last cell has left our layer. Raises CircuitFailed.

        One message may wait behind the one that is leaving, so that there is no gap between them. No more may
        wait, so that memory stays bounded. What the window allows leaves in one frame.
        """
        async with self._turn:  # messages leave in the order of the calls
            for body in bodies:
                while self._machine.waiting_messages > 1:
                    self._owner.flush()
                    await self._wait()
                self._do(partial(self._machine.send, message_type, body), flush=False)
                self._sent += 1
            self._owner.flush()
            number = self._sent
        while self._sent - self._machine.waiting_messages < number:
            await self._wait()
        self._raise_if_failed()

    async def receive(self) -> MessageIn:
        """The next message from the last relay, or after a join from the other end. Raises CircuitFailed."""
        await trio.lowlevel.checkpoint()
        while not self._inbox:
            await self._wait()
        was_full = self._inbox.full
        message = self._inbox.take()
        if was_full and not self._inbox.full:
            self._do(self._machine.resume)
        return message

    @property
    def unread_messages(self) -> int:
        """How many received messages nobody has read."""
        return len(self._inbox)

    @property
    def more_is_coming(self) -> bool:
        """Whether another message, or a part of one, is here."""
        return bool(self._inbox) or self._machine.receiving

    async def ask(self, message_type: int, body: bytes, answer_type: int, timeout_seconds: float) -> bytes:
        """Send a message and wait for its only answer; a second answer ends the circuit. Raises
        CircuitFailed, also when the answer takes too long."""
        self._machine.expect(answer_type)
        self.send(message_type, body)
        try:
            with trio.fail_after(timeout_seconds):
                message = await self.receive()
        except trio.TooSlowError:
            self.close(Reason.ANSWER_TIMEOUT)
            raise CircuitFailed(Reason.ANSWER_TIMEOUT) from None
        return message.body

    # Ends.

    @property
    def failed(self) -> Reason | None:
        """Why the circuit ended, None while it lives."""
        return self._machine.failed

    def close(self, reason: Reason = Reason.CLOSED) -> None:
        """End the circuit and tell the first relay."""
        if self._machine.failed is None:
            self._machine.fail(reason)
            self._owner.forget(self._leg, tell=True)
            self._wake()

    async def closed(self) -> Reason:
        """Wait until the circuit ends; returns why."""
        while self._machine.failed is None:
            await self._changed.park()
        return self._machine.failed

    @property
    def age_seconds(self) -> float:
        """Seconds since its CREATE."""
        return self._owner.clock.monotonic() - self.made_at

    # Called by the set.

    def cell(self, command: int, body: bytes) -> None:
        """Take one cell for this circuit."""
        try:
            events = self._machine.receive_cell(command, body)
        except ProtocolError as error:
            self._owner.drops.count(error.reason)
            self._owner.forget(self._leg, tell=command != DESTROY)
            self._wake()
            return
        sent = self._send_cells()
        if self._owner.memory.used_bytes > self._owner.memory.most_bytes:
            # Unread data from peers is bounded for the whole node, not only per circuit.
            self._owner.drops.count(Reason.MEMORY)
            self.close(Reason.MEMORY)
            return
        for event in events:
            if isinstance(event, MessageIn):
                self._inbox.put(event)
                if self._inbox.full:
                    self._machine.pause()
        if events or sent:
            self._wake()

    def link_closed(self) -> None:
        """The first link has ended."""
        self._machine.fail(Reason.LINK_CLOSED)
        self._wake()

    def _do(self, step: Callable[[], None], *, flush: bool = True) -> None:
        try:
            step()
        except ProtocolError as error:
            raise CircuitFailed(error.reason) from error
        self._send_cells()
        if flush:
            self._owner.flush()

    def _send_cells(self) -> bool:
        cells = self._machine.take_cells()
        self._leg.push(cells)
        return bool(cells)

    async def _wait(self) -> None:
        """Wait until something changes. CircuitFailed if the circuit has ended and nothing is left to
        read."""
        self._raise_if_failed()
        await self._changed.park()
        if not self._inbox:
            self._raise_if_failed()

    def _raise_if_failed(self) -> None:
        failed = self._machine.failed
        if failed is not None:
            raise CircuitFailed(failed)

    def _wake(self) -> None:
        if self._machine.failed is not None:
            self._inbox.release()
        self._changed.unpark_all()


class CircuitSet:
    """Every circuit of a client or endpoint, as the `FrameSink` of its links."""

    def __init__(
        self,
        *,
        clock: Clock,
        params: Callable[[], Params],
        memory: Memory,
        drops: Drops,
        random_bytes: RandomBytes,
    ) -> None:
        self.clock = clock
        self.params = params
        self.drops = drops
        self.memory = memory
        self._random_bytes = random_bytes
        self.round_times = RoundTimes(Chance(random_bytes))
        self.flush: Callable[[], None] = lambda: None
        """Set by the node to its links' flush."""
        self.circuits: set[Circuit] = set()

    def start(self, port: LinkPort, purpose: Purpose, privacy_class: int) -> Circuit:
        """A circuit without relays over an open link. Call `Circuit.add` for its first relay next."""
        try:
            circuit_id = port.new_circuit_id(self._random_bytes)
        except ProtocolError as error:
            raise CircuitFailed(error.reason) from error
        params = self.params()
        machine = ClientCircuit(
            flow=Flow(params.ack_every, params.window),
            memory=self.memory,
            random_bytes=self._random_bytes,
            privacy_class=privacy_class,
            now=self.clock.monotonic(),
        )
        circuit = Circuit(self, ClientLeg(port, circuit_id), machine, purpose)
        port.legs[circuit_id] = circuit
        self.circuits.add(circuit)
        return circuit

    def forget(self, leg: ClientLeg, *, tell: bool) -> None:
        """A circuit has ended: drop what waits, and with `tell`, tell the first relay."""
        circuit = leg.port.legs.pop(leg.circuit_id, None)
        if circuit is None:
            return
        self.circuits.discard(circuit)
        leg.port.empty_since = self.clock.monotonic()
        leg.port.outbox.discard(leg.queue)
        if tell:
            leg.port.destroy(leg.circuit_id, self._random_bytes)
            self.flush()

    # FrameSink.

    def link_opened(self, port: LinkPort, now: float) -> None:
        """Nothing to do: circuits start on the link when needed."""

    def receive_frame(self, port: LinkPort, frame: bytes, now: float) -> None:
        """Give each cell to its circuit."""
        self.memory.now = now
        for at in range(0, len(frame), CELL):
            circuit_id, command = HEADER.unpack_from(frame, at)
            circuit: Circuit | None = port.legs.get(circuit_id)
            if circuit is not None and command != CREATE:
                circuit.cell(command, frame[at + CELL_HEADER : at + CELL])
            elif circuit_id == 0 and command == PADDING:
                continue
            elif circuit_id == 0 or command == CREATE:
                raise ProtocolError(Reason.LINK_COMMAND if circuit_id == 0 else Reason.CREATE_NOT_ALLOWED)
            else:
                self.drops.count(Reason.UNKNOWN_CIRCUIT)

    def link_closed(self, port: LinkPort, now: float) -> None:
        """End every circuit on the link."""
        for circuit in list(port.legs.values()):
            self.circuits.discard(circuit)
            circuit.link_closed()
        port.legs.clear()
        port.outbox.discard_all()
