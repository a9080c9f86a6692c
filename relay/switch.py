"""The relay's switch: takes frames, peels or adds one layer a cell, and queues the result (SPEC 3, 6, 7).

The path of a forwarded cell is `receive_frame` alone: a dict look-up, one call into the layers, one push.
No object is made for it and nothing is awaited. Everything else, a cell for this relay, set-up, an end, is
`_seldom`. A bad cell ends its circuit and a breach of the link's own rules ends the link, both in silence;
the reason is counted in `drops`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onionshh.core.base.params import Params
from onionshh.core.base.reasons import Drops
from onionshh.core.link.outbox import Memory
from onionshh.core.link.port import LinkPort
from onionshh.core.roles import Drop, EndCircuit, Join, Reply, Role, RoleAction
from onionshh.crypto.primitives import KeyPair
from onionshh.errors import ProtocolError
from onionshh.geometry import CELL, CELL_HEADER, TAG
from onionshh.ids import RandomBytes, RelayId
from onionshh.relay.circuit import Leg, RelayCircuit
from onionshh.relay.setup import SetUp, WantedLink
from onionshh.wire.cell import (
    COMMANDS,
    CREATE,
    CREATE_MORE,
    CREATED,
    CREATED_MORE,
    DESTROY,
    HEADER,
    PADDING,
    RELAY,
    RELAY_EARLY,
    pack_cell,
)
from onionshh.wire.messages import DROP, EXTEND

REST_SECONDS = 60.0
REST_A_TICK = 1000
_REST = CELL_HEADER + TAG
RELIEVED_EIGHTHS = 7
"""Down to so many eighths of the quota: one byte would have everyone's data looked at again at once."""
REPLIES_WAITING_MOST = 64
"""Messages a client may leave uncollected at a relay before its circuit ends."""


class Switch:
    """Every circuit through one relay. `onion_keys()` gives the current key and the one in grace;
    `knows(id)` says whether a relay stands in the current or previous consensus."""

    def __init__(
        self,
        *,
        identity: RelayId,
        onion_keys: Callable[[], Sequence[KeyPair]],
        knows: Callable[[RelayId], bool],
        params: Callable[[], Params],
        roles: Sequence[Role],
        memory: Memory,
        drops: Drops,
        random_bytes: RandomBytes,
        wall: Callable[[], int],
    ) -> None:
        self._params = params
        self._roles = tuple(roles)
        self._by_type = {kind: role for role in roles for kind in role.accepts}
        self._memory = memory
        self._drops = drops
        self._random_bytes = random_bytes
        self._wall = wall
        self._ports: set[LinkPort] = set()
        self._now = 0.0
        self._rest_at = 0.0
        self._to_look_at: list[RelayCircuit] = []
        self.rested = 0
        """Circuits that gave up their cipher contexts so far."""
        self._queue_cap = params().queue_cap
        self.circuits: set[RelayCircuit] = set()
        self.cells_forwarded = 0
        self.setup = SetUp(
            identity=identity,
            onion_keys=onion_keys,
            knows=knows,
            params=params,
            first_accepts=frozenset((EXTEND, *self._by_type)),
            circuits=self.circuits,
            end=self._end,
            memory=memory,
            drops=drops,
            random_bytes=random_bytes,
        )

    # Links.

    def link_opened(self, port: LinkPort, now: float) -> None:
        """FrameSink: cells may come and go."""
        self._ports.add(port)

    def link_closed(self, port: LinkPort, now: float) -> None:
        """FrameSink: every circuit over the link ends."""
        self._now = now
        self._ports.discard(port)
        self.setup.forget(port)
        for leg in list(port.legs.values()):
            self._end(leg.circuit, "link-closed")
        port.outbox.discard_all()

    def receive_frame(self, port: LinkPort, frame: bytes, now: float) -> None:
        """FrameSink: the forwarding loop."""
        self._now = now
        self._memory.now = now
        legs = port.legs
        cap = self._queue_cap
        unpack = HEADER.unpack_from
        forwarded = 0
        for at in range(0, len(frame), CELL):
            circuit_id, command = unpack(frame, at)
            leg: Leg | None = legs.get(circuit_id)
            if leg is None or command != RELAY:
                self._seldom(port, leg, circuit_id, command, frame[at + CELL_HEADER : at + CELL])
                continue
            tag = frame[at + CELL_HEADER : at + _REST]
            rest = frame[at + _REST : at + CELL]
            circuit = leg.circuit
            circuit.used = True
            out: Leg | None
            if leg.outward:
                out = circuit.inward
                tag, rest = circuit.layers.inbound(RELAY, tag, rest)
            else:
                came, (tag, rest, mine) = tag, circuit.layers.outbound(RELAY, tag, rest)
                if mine:
                    self._recognised(circuit, rest, came, early=False)
                    continue
                join = circuit.join
                if join is not None:
                    out = join.inward
                    tag, rest = join.layers.inbound(RELAY, tag, rest)
                else:
                    out = circuit.outward
            if out is None or circuit.extending_to is not None:
                self._end(circuit, "cell-unrecognised")
                continue
            queue = out.queue
            if len(queue.cells) >= cap:
                self._end(circuit, "queue-full")
                continue
            out.port.outbox.push(queue, out.header + tag + rest)
            forwarded += 1
        self.cells_forwarded += forwarded

    # Time.

    def serve_handshake(self, now: float) -> bool:
        """Answer one waiting CREATE; False when none waits. Called between reads, never inside one."""
        self._now = self._memory.now = now
        return self.setup.serve_handshake(now)

    def extend_over(self, wanted: WantedLink, port: LinkPort, now: float) -> None:
        """The link that an EXTEND asked for is open."""
        self._now = self._memory.now = now
        if port in self._ports:
            self.setup.extend_over(wanted, port)
        else:
            self._end(wanted.circuit, "extend-failed")

    def extend_failed(self, wanted: WantedLink, now: float) -> None:
        """The next hop cannot be had: the whole circuit ends (SPEC 6)."""
        self._now = now
        self._end(wanted.circuit, "extend-failed")

    def tick(self, now: float) -> None:
        """About once a second: expire what is half-made, let the roles expire theirs."""
        self._now = self._memory.now = now
        self._queue_cap = self._params().queue_cap
        self.setup.expire(tuple(self._ports), now)
        for role in self._roles:
            self._carry_out(role.tick(now, self._wall()))
        if now >= self._rest_at and not self._to_look_at:  # or those at its end would never be looked at
            self._rest_at = now + REST_SECONDS
            self._to_look_at = list(self.circuits)
        self._rest_unused()

    def _rest_unused(self) -> None:
        """A circuit silent since the last look gives up its cipher contexts, which are most of its memory.

        So many a tick, since giving up thousands takes as long as forwarding thousands of cells.
        """
        looked_at, self._to_look_at = self._to_look_at[:REST_A_TICK], self._to_look_at[REST_A_TICK:]
        for circuit in looked_at:
            if circuit.used:
                circuit.used = False
            elif not circuit.closed and not circuit.layers.resting:
                circuit.layers.rest()
                self.rested += 1

    def relieve(self) -> LinkPort | None:
        """Past the memory quota whoever holds the oldest data ends first, until an eighth is free (SPEC 7).

        Circuits end here. A link that reads none of many refusals is returned, for the driver to end.
        """
        holders: list[tuple[float, RelayCircuit | LinkPort]] = []
        holders += ((since, one) for one in self.circuits if (since := one.holds_since) is not None)
        holders += ((since, one) for one in self._ports if (since := one.holds_since()) is not None)
        enough = self._memory.most_bytes * RELIEVED_EIGHTHS // 8
        for _, one in sorted(holders, key=lambda pair: pair[0]):
            if self._memory.used_bytes <= enough:
                break
            if isinstance(one, LinkPort):
                return one
            self._end(one, "memory")
        return None

    # A cell that is not simply forwarded.

    def _seldom(self, port: LinkPort, leg: Leg | None, circuit_id: int, command: int, body: bytes) -> None:
        if circuit_id == 0:
            if command != PADDING:
                raise ProtocolError("link-command")
            return
        if leg is None:
            if command in (CREATE, CREATE_MORE):
                self.setup.create_cell(port, circuit_id, command, body, self._now)
            elif command == DESTROY and port.creating.pop(circuit_id, None) is not None:
                pass
            else:
                self._drops.count("unknown-circuit" if command in COMMANDS else "unknown-command")
            return
        if command == CREATE:
            raise ProtocolError("create-id-in-use")
        circuit = leg.circuit
        try:
            if command == DESTROY:
                self._end(circuit, "destroyed", told_by=leg)
            elif command == RELAY_EARLY and not leg.outward:
                self._early(circuit, body)
            elif command in (CREATED, CREATED_MORE) and leg.outward:
                self.setup.created_cell(circuit, command, body)
                self._pump(circuit)
            else:
                raise ProtocolError("early-inbound" if command == RELAY_EARLY else "command-not-due")
        except ProtocolError as error:
            self._end(circuit, error.reason)

    def _early(self, circuit: RelayCircuit, body: bytes) -> None:
        circuit.early_left -= 1
        if circuit.early_left < 0 or circuit.joined:
            raise ProtocolError("early-too-many" if circuit.early_left < 0 else "early-joined")
        tag, rest, mine = circuit.layers.outbound(RELAY_EARLY, body[:TAG], body[TAG:])
        if mine:
            self._recognised(circuit, rest, body[:TAG], early=True)
            return
        out = circuit.outward
        if out is None or circuit.extending_to is not None:
            raise ProtocolError("cell-unrecognised")
        # At most nine a circuit, so no queue cap of their own is needed.
        out.port.outbox.push(out.queue, pack_cell(out.circuit_id, RELAY_EARLY, tag + rest))
        self.cells_forwarded += 1

    def _recognised(self, circuit: RelayCircuit, payload: bytes, tag: bytes, *, early: bool) -> None:
        """A cell for this relay; `tag` is what its sender expects in an ACK (SPEC 7)."""
        try:
            message = circuit.conversation.receive(payload, tag, early=early)
            if message is not None:
                self._message(circuit, *message)
            if circuit.conversation.waiting_messages > REPLIES_WAITING_MOST:
                raise ProtocolError("replies-uncollected")
        except ProtocolError as error:
            self._end(circuit, error.reason)
            return
        self._pump(circuit)

    def _message(self, circuit: RelayCircuit, message_type: int, body: bytes) -> None:
        if message_type == DROP:
            return
        if message_type == EXTEND:
            if not circuit.conversation.came_early:  # in all its cells
                raise ProtocolError("extend-not-early")
            self.setup.extend(circuit, body, self._now)
            return
        role = self._by_type[message_type]
        circuit.roles |= {role}
        self._carry_out(role.handle(circuit, message_type, body, self._now, self._wall()))

    # What roles and conversations want sent.

    def _carry_out(self, actions: Sequence[RoleAction]) -> None:
        for action in actions:
            match action:
                case Reply(circuit=RelayCircuit() as circuit, message_type=message_type, body=body):
                    if not circuit.closed:
                        circuit.conversation.send(message_type, body)
                        self._pump(circuit)
                case Join(one=RelayCircuit() as one, other=RelayCircuit() as other):
                    self._join(one, other)
                case EndCircuit(circuit=RelayCircuit() as circuit, reason=reason):
                    self._end(circuit, reason)
                case Drop(reason=reason):
                    self._drops.count(reason)
                case _:
                    raise TypeError(f"a role returned {type(action).__name__}")

    def _join(self, one: RelayCircuit, other: RelayCircuit) -> None:
        if one.closed or other.closed or one.joined or other.joined:
            self._end(one, "join-gone")
            self._end(other, "join-gone")
            return
        one.join, other.join = other, one
        one.conversation.settle()
        other.conversation.settle()

    def _pump(self, circuit: RelayCircuit) -> None:
        """Wrap and queue what this relay's end of the circuit may send: at most a window, and ACKs."""
        if circuit.closed:
            return
        talk = circuit.conversation
        leg = circuit.inward
        cap = self._queue_cap
        while (outgoing := talk.next_payload()) is not None:
            if len(leg.queue.cells) >= cap:
                self._end(circuit, "queue-full")
                return
            tag, rest = circuit.layers.originate(RELAY, outgoing.payload)
            if outgoing.counts:
                talk.sent(tag)
            leg.port.outbox.push(leg.queue, leg.header + tag + rest)

    # Ends.

    def _end(self, circuit: RelayCircuit, reason: str, told_by: Leg | None = None) -> None:
        """The circuit, its queues, what roles keep for it, and whatever it is joined to."""
        if circuit.closed:
            return
        circuit.closed = True
        self._drops.count(reason)
        self.circuits.discard(circuit)
        circuit.conversation.close()
        for leg in (circuit.inward, circuit.outward):
            if leg is None:
                continue
            del leg.port.legs[leg.circuit_id]
            leg.port.outbox.discard(leg.queue)
            if not leg.port.legs:
                leg.port.empty_since = self._now
            if leg is not told_by and leg.port in self._ports:
                leg.port.destroy(leg.circuit_id, self._random_bytes)
        for role in circuit.roles:
            self._carry_out(role.circuit_closed(circuit, self._now))
        circuit.roles = frozenset()
        join, circuit.join = circuit.join, None
        if join is not None:
            self._end(join, "join-ended")
