"""Handles the cells that are not simply forwarded: set-up, messages for roles, ends (SPEC 3, 6, 7).

A bad cell ends its circuit. A breach of the link's own rules ends the link. Both happen in silence; the
reason is counted in `drops`. Roles decide by the actions that they return, and know nothing of cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onionshh.core.base.drops import Drops
from onionshh.core.link.outbox import Memory
from onionshh.core.link.port import LinkPort
from onionshh.core.roles import Drop, EndCircuit, Join, Look, Remember, Reply, Role, RoleAction
from onionshh.errors import ProtocolError
from onionshh.geometry import TAG
from onionshh.ids import RandomBytes
from onionshh.reasons import Reason
from onionshh.relay.costly import Costly
from onionshh.relay.create import Creates
from onionshh.relay.extend import Extends
from onionshh.relay.mounted import Mounted
from onionshh.relay.remembering import Looking, Remembering
from onionshh.relay.state import Event, Leg, RelayCircuit, Stage, after
from onionshh.wire.cell import (
    COMMANDS,
    CREATE,
    CREATE_MORE,
    CREATED,
    CREATED_MORE,
    DESTROY,
    PADDING,
    RELAY,
    RELAY_EARLY,
    pack_cell,
)
from onionshh.wire.messages import DROP, EXTEND

REPLIES_WAITING_MOST = 128
"""Messages a client may leave uncollected at a relay before its circuit ends. It must be more than an
introducer lets wait for an endpoint that is slow to read: 16 introductions and 64 resumptions."""


class _Waits:
    """What roles have waiting: for the disk, and for a moment between two reads."""

    def __init__(self) -> None:
        self.remembering = Remembering()
        self.looking = Looking()
        self.costly = Costly()


class Control:
    """Every circuit and link of one relay, and the roles that are mounted on it.

    The time is in `memory.now`, which the caller has set.
    """

    def __init__(
        self,
        *,
        creates: Creates,
        extends: Extends,
        queue_cap: int,
        memory: Memory,
        drops: Drops,
        random_bytes: RandomBytes,
        wall: Callable[[], int],
    ) -> None:
        self._memory = memory
        self._drops = drops
        self._random_bytes = random_bytes
        self._wall = wall
        self.creates = creates
        self.extends = extends
        self.queue_cap = queue_cap
        """Cells that a circuit may have waiting at a link, each way."""
        self.ports: dict[LinkPort, None] = {}
        self.circuits: dict[RelayCircuit, None] = {}
        """In the order in which they came, so that a seed governs who goes first."""
        self._waits = _Waits()
        self.mounted = Mounted()
        self._spoken: dict[RelayCircuit, None] = {}
        """Circuits on which a role has just sent something, or on which the last that waited has left."""

    @property
    def remembering(self) -> Remembering:
        """What roles asked to have committed."""
        return self._waits.remembering

    @property
    def looking(self) -> Looking:
        """What roles asked to have read."""
        return self._waits.looking

    @property
    def costly(self) -> Costly:
        """Messages that are served between reads."""
        return self._waits.costly

    def mount(self, role: Role) -> None:
        """Let this role serve the messages that it takes, in place of the role that took them before."""
        self.mounted.add(role)
        self.creates.accepts = frozenset((EXTEND, *self.mounted.by_type))
        self.costly.types = self.mounted.costly

    # Set-up.

    def serve_handshake(self) -> bool:
        """Answer one waiting CREATE; False when none waits."""
        create = self.creates.next_due()
        if create is None:
            return False
        circuit = self.creates.answer(create)
        if circuit is not None:
            self.circuits[circuit] = None
        return True

    def serve_costly(self) -> bool:
        """Serve one message that waits because it is costly; False when none waits."""
        message = self.costly.next()
        if message is None:
            return False
        circuit, message_type, body = message
        try:
            self._give(circuit, message_type, body)
        except ProtocolError as error:
            self.end(circuit, error.reason)
        return True

    def expire(self) -> None:
        """End what has been half-made for too long, and let the roles expire what they keep."""
        now = self._memory.now
        self.creates.expire(tuple(self.ports))
        for circuit in self.extends.overdue(self.circuits, now):
            self.move(circuit, Event.OVERDUE)
        for role in self.mounted.roles:
            self.carry_out(role.tick(now, self._wall()))

    def hurries(self) -> bool:
        """Whether a role has something due before the second tick from now."""
        return any(role.is_due_soon for role in self.mounted.punctual)

    def hurry(self) -> None:
        """A tick between two ticks, for the roles that have something due."""
        for role in self.mounted.punctual:
            if role.is_due_soon:
                self.carry_out(role.tick(self._memory.now, self._wall()))

    def move(self, circuit: RelayCircuit, event: Event) -> None:
        """Move a circuit by the table of relay/state.py."""
        try:
            circuit.move(event)
        except ProtocolError as error:
            self.end(circuit, error.reason)

    # A cell that is not simply forwarded.

    def seldom(self, port: LinkPort, leg: Leg | None, circuit_id: int, command: int, body: bytes) -> bool:
        """Handle any cell but RELAY on a circuit. Returns whether it was passed on. ProtocolError ends the
        link."""
        if circuit_id == 0:
            if command != PADDING:
                raise ProtocolError(Reason.LINK_COMMAND)
        elif leg is None:
            self._without_circuit(port, circuit_id, command, body)
        elif command == CREATE:
            raise ProtocolError(Reason.CREATE_ID_IN_USE)
        else:
            try:
                return self._on_circuit(leg, command, body)
            except ProtocolError as error:
                self.end(leg.circuit, error.reason)
        return False

    def _without_circuit(self, port: LinkPort, circuit_id: int, command: int, body: bytes) -> None:
        if command in (CREATE, CREATE_MORE):
            self.creates.create_cell(port, circuit_id, command, body)
        elif command == DESTROY and port.creating.pop(circuit_id, None) is not None:
            pass
        else:
            self._drops.count(Reason.UNKNOWN_CIRCUIT if command in COMMANDS else Reason.UNKNOWN_COMMAND)

    def _on_circuit(self, leg: Leg, command: int, body: bytes) -> bool:
        circuit = leg.circuit
        if command == DESTROY:
            self.end(circuit, Reason.DESTROYED, told_by=leg)
        elif command == RELAY_EARLY:
            circuit.move(Event.EARLY_IN if leg.outward else Event.EARLY_OUT)
            return self._early(circuit, body)
        elif command in (CREATED, CREATED_MORE) and leg.outward:
            self.extends.created_cell(circuit, command, body)
            self.pump(circuit)
        else:
            raise ProtocolError(Reason.COMMAND_NOT_DUE)
        return False

    def _early(self, circuit: RelayCircuit, body: bytes) -> bool:
        circuit.early_left -= 1
        if circuit.early_left < 0:
            raise ProtocolError(Reason.EARLY_TOO_MANY)
        tag, rest, mine = circuit.layers.outbound(RELAY_EARLY, body[:TAG], body[TAG:])
        if mine:
            self.recognised(circuit, rest, body[:TAG], early=True)
            return False
        circuit.move(Event.CELL_OUT)
        out = circuit.inward.onward
        if out is None:
            raise RuntimeError("a circuit that passes cells on has no leg to pass them to")
        # At most nine per circuit, so they need no queue cap of their own.
        out.outbox.push(out.queue, pack_cell(out.circuit_id, RELAY_EARLY, tag + rest))
        return True

    def recognised(self, circuit: RelayCircuit, payload: bytes, tag: bytes, *, early: bool) -> None:
        """A cell for this relay; `tag` is what its sender expects in an ACK (SPEC 7)."""
        talk = circuit.conversation
        waited = talk.waiting_messages
        try:
            message = talk.receive(payload, tag, early=early)
            if message is not None:
                self._message(circuit, *message)
            if talk.waiting_messages > REPLIES_WAITING_MOST:
                raise ProtocolError(Reason.REPLIES_UNCOLLECTED)
        except ProtocolError as error:
            self.end(circuit, error.reason)
            return
        self.pump(circuit)
        if waited and not talk.waiting_messages:
            self._spoken[circuit] = None
            self.carry_out(())

    def _message(self, circuit: RelayCircuit, message_type: int, body: bytes) -> None:
        now = self._memory.now
        if message_type == DROP:
            return
        if message_type == EXTEND:
            if not circuit.conversation.came_early:  # all its cells must have come early
                raise ProtocolError(Reason.EXTEND_NOT_EARLY)
            self.extends.extend(circuit, body, now)
            return
        if not self.costly.add(circuit, message_type, body):
            self._give(circuit, message_type, body)

    def _give(self, circuit: RelayCircuit, message_type: int, body: bytes) -> None:
        """Give a message to the role that takes its type. Raises ProtocolError."""
        role = self.mounted.by_type[message_type]
        if role not in circuit.roles:
            circuit.roles = (*circuit.roles, role)
        self.carry_out(role.handle(circuit, message_type, body, self._memory.now, self._wall()))

    # What roles and conversations want.

    def carry_out(self, actions: Sequence[RoleAction]) -> None:
        """Carry out what a role decided, in order. Then tell roles on which circuits all messages have left.

        This ends, since a role that goes on sending fills a window or a queue.
        """
        self._do(actions)
        while self._spoken:
            circuit, _ = self._spoken.popitem()
            for role in circuit.roles:
                if circuit.has_voice and not circuit.waiting_messages:
                    self._do(role.circuit_ready(circuit, self._memory.now))

    def _do(self, actions: Sequence[RoleAction]) -> None:
        looks = False
        for action in actions:
            if looks and not isinstance(action, Look | Remember):
                raise TypeError(f"a role returned {type(action).__name__} after a Look")
            match action:
                case Reply(circuit=RelayCircuit() as circuit, message_type=message_type, body=body):
                    if circuit.has_voice:
                        circuit.conversation.send(message_type, body)
                        self.pump(circuit)
                        self._spoken[circuit] = None
                case Join(one=RelayCircuit() as one, other=RelayCircuit() as other):
                    self._join(one, other)
                case EndCircuit(circuit=RelayCircuit() as circuit, reason=reason):
                    self.end(circuit, reason)
                case Drop(reason=reason):
                    self._drops.count(reason)
                case Look():
                    looks = True
                    self._look(action)
                case Remember() if action is actions[-1]:
                    self._remember(action)
                case _:
                    raise TypeError(f"a role returned {type(action).__name__} where it may not")

    def _join(self, one: RelayCircuit, other: RelayCircuit) -> None:
        try:
            for circuit in (one, other):
                after(circuit.stage, Event.JOIN)
        except ProtocolError as error:
            self.end(one, error.reason)
            self.end(other, error.reason)
            return
        one.joins(other)
        other.joins(one)
        one.conversation.settle()
        other.conversation.settle()

    def pump(self, circuit: RelayCircuit) -> None:
        """Wrap and queue what this relay's end of the circuit may send: at most a window, and ACKs."""
        if circuit.stage is Stage.ENDED:
            return
        talk = circuit.conversation
        leg = circuit.inward
        while (outgoing := talk.next_payload()) is not None:
            if leg.is_full(self.queue_cap):
                self.end(circuit, Reason.QUEUE_FULL)
                return
            tag, rest = circuit.layers.originate(RELAY, outgoing.payload)
            if outgoing.counts:
                talk.sent(tag)
            leg.outbox.push(leg.queue, leg.header + tag + rest)

    # What roles keep on disk.

    def _remember(self, asked: Remember) -> None:
        if not self.remembering.add(asked):
            self._drops.count(Reason.REMEMBER_FULL)
            self._do(asked.role.not_remembered(asked.token, self._memory.now, self._wall()))

    def answer(self, asked: Remember, *, kept: bool) -> None:
        """Tell the role whether its rows are on disk. It goes on from there."""
        self.remembering.answered()
        now, wall = self._memory.now, self._wall()
        if kept:
            self.carry_out(asked.role.remembered(asked.token, now, wall))
        else:
            self._drops.count(Reason.NOT_REMEMBERED)
            self.carry_out(asked.role.not_remembered(asked.token, now, wall))

    def _look(self, asked: Look) -> None:
        if not self.looking.add(asked):
            self._drops.count(Reason.LOOKS_FULL)
            self._do(asked.role.not_looked(asked.token, self._memory.now, self._wall()))

    def found(self, asked: Look, found: Sequence[bytes | None] | None) -> None:
        """Tell the role what it looked for; None if that could not be read. It goes on from there."""
        self.looking.answered()
        now, wall = self._memory.now, self._wall()
        if found is not None:
            self.carry_out(asked.role.looked(asked.token, found, now, wall))
        else:
            self._drops.count(Reason.NOT_LOOKED)
            self.carry_out(asked.role.not_looked(asked.token, now, wall))

    # Ends.

    def end(self, circuit: RelayCircuit, reason: Reason, told_by: Leg | None = None) -> None:
        """End the circuit, its queues, what roles keep for it, and the circuit it is joined to."""
        if circuit.stage is Stage.ENDED:
            return
        circuit.move(Event.END)
        self._drops.count(reason)
        self.circuits.pop(circuit, None)
        circuit.conversation.close()
        for leg in circuit.legs:
            port = leg.port
            del port.legs[leg.circuit_id]
            leg.outbox.discard(leg.queue)
            if not port.legs:
                port.empty_since = self._memory.now
            if leg is not told_by and port in self.ports:
                port.destroy(leg.circuit_id, self._random_bytes)
        for role in circuit.roles:
            self._do(role.circuit_closed(circuit, self._memory.now))
        circuit.roles = ()
        join, circuit.join = circuit.join, None
        if join is not None:
            self.end(join, Reason.JOIN_ENDED)
