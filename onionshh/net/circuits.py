"""A client's circuits over its links: the trio side of core/circuit/circuit.py.

Cells come and go without waiting; what tasks wait for is a hop added, a message, or the end. A circuit that
nobody reads stops acknowledging once its inbox is full, and the other end stops sending.
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
    """The circuit is over. `relay`: the relay whose extending failed, None when that is not what failed.
    `words`: what a person is told, where something says more than the reason's name."""

    def __init__(self, reason: Reason, relay: RelayId | None = None, words: str = "") -> None:
        super().__init__(words or reason)
        self.reason = reason
        self.relay = relay


class ClientLeg:
    """Where one circuit's cells leave: its link, its number there, and the queue in which they wait."""

    __slots__ = ("circuit_id", "port", "queue")

    def __init__(self, port: LinkPort, circuit_id: int) -> None:
        self.port = port
        self.circuit_id = circuit_id
        self.queue = CellQueue()

    def push(self, cells: Iterable[tuple[int, bytes]]) -> None:
        """These leave next, in this order: (command, body) of each."""
        for command, body in cells:
            self.port.outbox.push(self.queue, pack_cell(self.circuit_id, command, body))


class Circuit:
    """One circuit of ours. `path` grows as relays are added; `purpose` says what it is for now."""

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
        """One more relay at the end. CircuitFailed, also after the hop's time is up."""
        asked = len(self._machine.relays)
        await self._round(
            lambda: self._machine.add_relay(relay.identity, relay.onion_key),
            lambda: len(self._machine.relays) > asked,
            blamed=relay.identity if asked else None,
        )
        self.path.append(relay)
        self._pace.answered(self._owner.clock.monotonic(), padding=False)

    async def pad(self, upto: int = SETUP_ROUNDS) -> None:
        """Fill set-up up to so many rounds, so that the first link does not show the number of hops. Each
        leaves when a longer path would have let it. CircuitFailed."""
        while self._pace.rounds < upto:
            await self._round(lambda: self._machine.pad_setup(1), lambda: not self._machine.padding)
            self._pace.answered(self._owner.clock.monotonic(), padding=True)

    async def _round(
        self, step: Callable[[], None], done: Callable[[], bool], *, blamed: RelayId | None = None
    ) -> None:
        """One step of set-up, once it is due, and its answer."""
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
        """Rounds of set-up that were answered, the padded ones as well."""
        return self._pace.rounds

    def join(self, forward: bytes, backward: bytes, *, as_visitor: bool, accepts: frozenset[int]) -> None:
        """Add the end-to-end layer: from now on messages go to and come from the other end."""
        early: list[bytes] = []
        self._do(
            lambda: early.extend(
                self._machine.join(forward, backward, as_visitor=as_visitor, accepts=accepts)
            )
        )
        self._inbox.clear()
        self._sent = 0  # another layer, another queue
        for body in early:
            if self._machine.failed is not None:
                break  # one bad cell is one drop, however many come behind it
            self.cell(RELAY, body)

    def leave_room(self) -> None:
        """Send the other end a quarter of the window at a time from now on."""
        self._machine.leave_room()

    # Messages.

    @property
    def binding(self) -> bytes:
        """Binding of the last relay's handshake (SPEC 4)."""
        return self._machine.binding

    def accept(self, *types: int) -> None:
        """What the last relay may send from now on."""
        self._machine.accept(frozenset(types))

    def expect_join(self, answer_type: int) -> None:
        """The last relay may send one message of this type, with which the other end is there: whatever that
        end says before `join` is kept until then."""
        self._machine.expect_join(answer_type)

    @property
    def waiting_messages(self) -> int:
        """Messages to the last relay or, once joined, to the other end that have not wholly left."""
        return self._machine.waiting_messages

    @property
    def sent_cells(self) -> int:
        """Cells that left to the last relay or, once joined, to the other end, apart from ACKs."""
        return self._machine.sent_cells

    def send(self, message_type: int, body: bytes) -> None:
        """Queue a whole message and send what the window allows. CircuitFailed."""
        self._do(lambda: self._machine.send(message_type, body))
        self._sent += 1

    def send_at_once(self, message_type: int, *bodies: bytes) -> bool:
        """Send messages if all their cells may leave now, in one frame if they fit; else send nothing.
        CircuitFailed."""
        cells = sum(-(-len(body) // DATA) for body in bodies)
        if self._turn.locked() or cells > self._machine.room:
            return False
        for body in bodies:
            self._do(partial(self._machine.send, message_type, body), flush=False)
            self._sent += 1
        self._owner.flush()
        return True

    async def deliver(self, message_type: int, *bodies: bytes) -> None:
        """Send messages and wait until the last cell has left our layer. CircuitFailed.

        Another may wait behind the one that is leaving, so that two follow each other without a gap; no
        more, so that memory stays bounded. What the window allows leaves in one frame.
        """
        async with self._turn:  # in the order in which they were asked for
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
        """The next message of the last relay or, once joined, of the other end. CircuitFailed."""
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
        """Messages that came and that nobody has read."""
        return len(self._inbox)

    @property
    def more_is_coming(self) -> bool:
        """Whether another message is here, or the first part of one."""
        return bool(self._inbox) or self._machine.receiving

    async def ask(self, message_type: int, body: bytes, answer_type: int, timeout_seconds: float) -> bytes:
        """Send a message and wait for the one answer; a second one ends the circuit. CircuitFailed, also
        when it takes too long."""
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
        """Why it is over, None while it lives."""
        return self._machine.failed

    def close(self, reason: Reason = Reason.CLOSED) -> None:
        """End it and tell the first relay."""
        if self._machine.failed is None:
            self._machine.fail(reason)
            self._owner.forget(self._leg, tell=True)
            self._wake()

    async def closed(self) -> Reason:
        """Until it is over; why."""
        while self._machine.failed is None:
            await self._changed.park()
        return self._machine.failed

    @property
    def age_seconds(self) -> float:
        """Seconds since its CREATE."""
        return self._owner.clock.monotonic() - self.made_at

    # Called by the set.

    def cell(self, command: int, body: bytes) -> None:
        """One cell came for this circuit."""
        try:
            events = self._machine.receive_cell(command, body)
        except ProtocolError as error:
            self._owner.drops.count(error.reason)
            self._owner.forget(self._leg, tell=command != DESTROY)
            self._wake()
            return
        sent = self._send_cells()
        if self._owner.memory.used_bytes > self._owner.memory.most_bytes:
            # What a peer sends and nobody reads is bounded in all, not only by circuit.
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
        """The first link is gone."""
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
        """Until something changed; CircuitFailed once the circuit is over and nothing is left to read."""
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
        """A circuit with no relay yet over an open link; `Circuit.add` its first one next."""
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
        """A circuit is over: drop what waits, tell the first relay unless it told us."""
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
        """Nothing to do: circuits start over it when wanted."""

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
        """Every circuit over it is over."""
        for circuit in list(port.legs.values()):
            self.circuits.discard(circuit)
            circuit.link_closed()
        port.legs.clear()
        port.outbox.discard_all()
