"""The relay's switch: takes frames, peels or adds one layer per cell, and queues the result (SPEC 3, 6, 7).

The path of a forwarded cell is `receive_frame` alone: a dict look-up, one call into the layers, one push.
No object is made for it and nothing is awaited. Everything else is in relay/control.py: cells for this
relay, set-up, ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence

from onionshh.core.base.drops import Drops
from onionshh.core.base.params import Params
from onionshh.core.link.outbox import Memory
from onionshh.core.link.port import LinkPort
from onionshh.core.roles import Look, Remember, Role
from onionshh.crypto.primitives import KeyPair
from onionshh.errors import ProtocolError
from onionshh.geometry import CELL, CELL_HEADER, TAG
from onionshh.ids import RandomBytes, RelayId
from onionshh.reasons import Reason
from onionshh.relay.control import Control
from onionshh.relay.create import Creates
from onionshh.relay.extend import Extends, WantedLink
from onionshh.relay.resting import Resting
from onionshh.relay.state import Event, Leg, RelayCircuit, Stage
from onionshh.wire.cell import HEADER, RELAY

_REST = CELL_HEADER + TAG
RELIEVED_EIGHTHS = 7
"""Memory is freed down to this many eighths of the quota. If only one byte were freed, all data would have to
be looked at again at once."""


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
        self._memory = memory
        self._resting = Resting()
        self.control = Control(
            creates=Creates(
                identity=identity,
                onion_keys=onion_keys,
                params=params,
                memory=memory,
                drops=drops,
                random_bytes=random_bytes,
            ),
            extends=Extends(identity=identity, knows=knows, params=params, random_bytes=random_bytes),
            queue_cap=params().queue_cap,
            memory=memory,
            drops=drops,
            random_bytes=random_bytes,
            wall=wall,
        )
        for role in roles:
            self.control.mount(role)
        self.cells_forwarded = 0

    @property
    def circuits(self) -> Collection[RelayCircuit]:
        """The circuits that have not ended."""
        return self.control.circuits

    def by_stage(self) -> dict[str, int]:
        """How many circuits are in each stage. This looks at every circuit."""
        counts = Counter(circuit.stage for circuit in self.circuits)
        return {stage.name.lower(): counts[stage] for stage in Stage if stage is not Stage.ENDED}

    @property
    def rested(self) -> int:
        """Circuits that gave up their cipher contexts so far."""
        return self._resting.rested

    def link_opened(self, port: LinkPort, now: float) -> None:
        """FrameSink: cells may come and go."""
        self.control.ports[port] = None

    def link_closed(self, port: LinkPort, now: float) -> None:
        """FrameSink: every circuit over the link ends."""
        self._memory.now = now
        self.control.ports.pop(port, None)
        port.creating.clear()
        for leg in list(port.legs.values()):
            self.control.end(leg.circuit, Reason.LINK_CLOSED)
        port.outbox.discard_all()

    def receive_frame(self, port: LinkPort, frame: bytes, now: float) -> None:
        """FrameSink: the forwarding loop."""
        self._memory.now = now
        control = self.control
        legs = port.legs
        cap = control.queue_cap
        unpack = HEADER.unpack_from
        forwarded = 0
        for at in range(0, len(frame), CELL):
            circuit_id, command = unpack(frame, at)
            leg: Leg | None = legs.get(circuit_id)
            if leg is None or command != RELAY:
                body = frame[at + CELL_HEADER : at + CELL]
                forwarded += control.seldom(port, leg, circuit_id, command, body)
                continue
            tag = frame[at + CELL_HEADER : at + _REST]
            rest = frame[at + _REST : at + CELL]
            leg.used = True
            if leg.outward:
                tag, rest = leg.layer.encrypt(RELAY, tag, rest)
            else:
                came, (tag, rest, mine) = tag, leg.layer.outbound(RELAY, tag, rest)
                if mine:
                    control.recognised(leg.circuit, rest, came, early=False)
                    continue
                beyond = leg.beyond
                if beyond is not None:
                    tag, rest = beyond.encrypt(RELAY, tag, rest)
            out = leg.onward
            if out is None:
                control.move(leg.circuit, Event.CELL_IN if leg.outward else Event.CELL_OUT)
                continue
            outbox = out.outbox
            if outbox.waiting >= cap and out.is_full(cap):
                control.end(leg.circuit, Reason.QUEUE_FULL)
                continue
            outbox.push(out.queue, out.header + tag + rest)
            forwarded += 1
        self.cells_forwarded += forwarded

    # What the driver did.

    def serve_handshake(self, now: float) -> bool:
        """Answer one waiting CREATE; False when none waits. Called between reads, never inside one."""
        self._memory.now = now
        return self.control.serve_handshake()

    def serve_costly(self, now: float) -> bool:
        """Serve one message that costs a role as much as a handshake; False when none waits."""
        self._memory.now = now
        return self.control.serve_costly()

    def extend_over(self, wanted: WantedLink, port: LinkPort, now: float) -> None:
        """The link that an EXTEND asked for is open."""
        if port not in self.control.ports:
            self.extend_failed(wanted, now)
            return
        self._memory.now = now
        try:
            self.control.extends.over(wanted, port)
        except ProtocolError as error:
            self.control.end(wanted.circuit, error.reason)

    def extend_failed(self, wanted: WantedLink, now: float) -> None:
        """The next hop cannot be reached: the whole circuit ends (SPEC 6)."""
        self._memory.now = now
        self.control.move(wanted.circuit, Event.NO_LINK)

    def remembered(self, asked: Remember, now: float, *, kept: bool) -> None:
        """What a role asked to have remembered is on disk, or could not be committed."""
        self._memory.now = now
        self.control.answer(asked, kept=kept)

    def looked(self, asked: Look, found: Sequence[bytes | None] | None, now: float) -> None:
        """What a role looked for was read, or could not be."""
        self._memory.now = now
        self.control.found(asked, found)

    # Time and memory.

    def tick(self, now: float) -> None:
        """About once a second: expire what is half-made, and let the roles expire what they keep."""
        self._memory.now = now
        self.control.queue_cap = self._params().queue_cap
        self.control.expire()
        self._resting.tick(self.circuits, now)

    def hurry(self, now: float) -> None:
        """Between two ticks: let roles do what is due at an exact time."""
        self._memory.now = now
        self.control.hurry()

    def relieve(self) -> LinkPort | None:
        """Past the memory quota, the holder of the oldest data ends first, until an eighth is free (SPEC 7).

        Circuits end here. A link that does not read its many refusals is returned, for the driver to end.
        """
        holders: list[tuple[float, RelayCircuit | LinkPort]] = []
        holders += (
            (since, circuit) for circuit in self.circuits if (since := circuit.holds_since) is not None
        )
        holders += ((since, port) for port in self.control.ports if (since := port.holds_since()) is not None)
        enough = self._memory.most_bytes * RELIEVED_EIGHTHS // 8
        for _, holder in sorted(holders, key=lambda pair: pair[0]):
            if self._memory.used_bytes <= enough:
                break
            if isinstance(holder, LinkPort):
                return holder
            self.control.end(holder, Reason.MEMORY)
        return None
