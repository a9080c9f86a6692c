"""One link as a machine: handshake, frames, padding, deadlines (SPEC 5).

Bytes go in, events come out. `receive_data` never raises for a stranger's bytes. Instead the link closes,
reports this once as a `LinkClosed` event and stays closed. A link does not look into cells. `seal` makes one
frame from all waiting cells, so a burst costs one AEAD call.

One table of named deadlines, `timers`, has everything that a link waits for. Every frame moves two deadlines
to a later time, SILENT and PADDING, with one store each.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onionshh.core.base.chance import Chance
from onionshh.core.base.params import Params
from onionshh.core.base.timers import NEVER, Timers
from onionshh.core.certificate import RelaySigner
from onionshh.core.link.opening import Answering, Asking, Opened, Opening
from onionshh.crypto.primitives import FrameCipher, KeyPair
from onionshh.errors import ProtocolError
from onionshh.geometry import AEAD_TAG, BODY, CELL, FRAME_CELLS, FRAME_HEADER, LINK_FLIGHT
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.wire.cell import LINK_AUTH, PADDING, pack_cell


@dataclass(frozen=True, slots=True)
class LinkOpen:
    """The link can carry cells now. `peer`: the relay at the other end, None for a client."""

    peer: RelayId | None


@dataclass(frozen=True, slots=True)
class LinkClosed:
    """The link has ended in both directions. `reason` stays on our side."""

    reason: Reason


LinkEvent = LinkOpen | bytes | LinkClosed
"""Bytes are the whole cells of one frame."""


class Timer(enum.IntEnum):
    """A link's deadlines. If several are due, the first in this order counts."""

    SETUP = 0
    """The link is not open yet. Until then, this is the only deadline."""
    FRAME = 1
    """A frame began and is not complete."""
    SILENT = 2
    """No byte arrived."""
    STUCK = 3
    """Bytes wait and the network takes none."""
    IDLE = 4
    """No circuit runs over the link."""
    PADDING = 5
    """Nothing was sent: a PADDING cell must go out."""


_ENDS = {
    Timer.SETUP: Reason.LINK_SETUP_TIMEOUT,
    Timer.FRAME: Reason.FRAME_TIMEOUT,
    Timer.SILENT: Reason.LINK_SILENT,
    Timer.STUCK: Reason.LINK_STUCK,
    Timer.IDLE: Reason.LINK_IDLE,
}
"""Why a link ends when a deadline passes. PADDING does not end it."""

# Plain numbers: these are used several times per frame, and looking up an enum's members is slow.
_FRAME, _SILENT, _STUCK, _PADDING = map(int, (Timer.FRAME, Timer.SILENT, Timer.STUCK, Timer.PADDING))


class Padding:
    """After how much silence the next PADDING goes out. The time between two relays is fixed. On other links,
    each end draws a new time after each PADDING.
    """

    __slots__ = ("_chance", "_range_ms", "after")

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._range_ms: tuple[float, float] | None = None
        self.after = NEVER
        """Seconds. There is no padding before the link is open."""

    def begin(self, params: Params, *, relays_at_both_ends: bool) -> None:
        """Begin, because the link is open now."""
        self.after = float(params.relay_padding_seconds)
        if not relays_at_both_ends:
            self._range_ms = (params.client_padding_min_ms, params.client_padding_max_ms)
        self.draw()

    def draw(self) -> None:
        """Draw the time to the next PADDING."""
        if self._range_ms is not None:
            self.after = self._chance.between(*self._range_ms) / 1000

    def cell(self) -> bytes:
        """A PADDING cell."""
        return pack_cell(0, PADDING, self._chance.bytes(BODY))


class Link:
    """What both ends do. Use `LinkInitiator` or `LinkResponder`."""

    def __init__(self, opening: Opening, *, params: Params, chance: Chance, now: float) -> None:
        self._opening: Opening | None = opening
        """It is forgotten with its secrets when the link opens."""
        self._params = params
        self._chance = chance
        self._padding = Padding(chance)
        self.is_open = False
        """Whether cells may be sealed now."""
        self.is_closed = False
        """Whether the link has ended."""
        self.timers: Timers[Timer] = Timers(Timer)
        self.timers.set(Timer.SETUP, now + params.handshake_seconds)
        self._buffer = b""
        self._events: deque[LinkEvent] = deque()
        self._outgoing = bytearray(opening.first)
        self._seal_key: FrameCipher | None = None
        self._open_key: FrameCipher | None = None

    # Bytes.

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes from the socket. b"" is the end of the stream."""
        if self.is_closed:
            return
        if not data:
            self._close(Reason.LINK_ENDED)
            return
        if self._buffer:
            data = self._buffer + data
        try:
            at = 0 if self.is_open else self._set_up(data, now)
            if self.is_open:
                at = self._frames(data, at)
        except ProtocolError as error:
            self._close(error.reason)
            return
        deadlines = self.timers.at
        if at == len(data):
            self._buffer = b""
            deadlines[_FRAME] = NEVER
        else:
            self._buffer = data[at:]
            if self.is_open and (at or deadlines[_FRAME] == NEVER):
                self.timers.set(Timer.FRAME, now + self._params.frame_seconds)
        if self.is_open:
            deadlines[_SILENT] = now + self._params.link_dead_seconds

    def next_event(self) -> LinkEvent | None:
        """The next event, or None when more bytes are needed."""
        return self._events.popleft() if self._events else None

    def data_to_send(self) -> bytes:
        """Handshake bytes to send. Frames come from `seal`."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def seal(self, cells: bytes) -> bytes:
        """One frame of 1 to 127 cells, ready for the socket."""
        key = self._seal_key
        if key is None or not self.is_open:
            raise ProtocolError(Reason.LINK_NOT_OPEN)
        header = (len(cells) + AEAD_TAG).to_bytes(FRAME_HEADER, "big")
        return header + key.seal(cells, header)

    def send_failed(self) -> None:
        """The socket accepts no more bytes."""
        self._close(Reason.LINK_BROKEN)

    # Time.

    def sent(self, now: float, *, blocked: bool) -> None:
        """The kernel took bytes. `blocked`: more bytes still wait for it."""
        deadlines = self.timers.at
        deadlines[_PADDING] = now + self._padding.after
        if not blocked:
            deadlines[_STUCK] = NEVER
        elif self.is_open:
            deadlines[_STUCK] = now + self._params.link_dead_seconds  # never earlier than SILENT

    def not_read(self, now: float) -> None:
        """We did not read until now, so the peer's deadlines count from now."""
        if not self.is_open:
            return
        deadlines, params = self.timers.at, self._params
        deadlines[_SILENT] = now + params.link_dead_seconds
        if deadlines[_FRAME] != NEVER:
            deadlines[_FRAME] = now + params.frame_seconds
        if deadlines[_STUCK] != NEVER:
            deadlines[_STUCK] = now + params.link_dead_seconds

    def quiet_since(self) -> float:
        """When the last byte arrived. While the link is not open: when it began."""
        if self.is_open:
            return self.timers.at[_SILENT] - self._params.link_dead_seconds
        return self.timers.at[Timer.SETUP] - self._params.handshake_seconds

    def in_use(self) -> None:
        """Circuits use the link."""
        self.timers.clear(Timer.IDLE)

    def unused(self, since: float) -> None:
        """No circuit has used the link since then."""
        if self.is_open:
            self.timers.set(Timer.IDLE, since + self._params.link_idle_seconds)

    def tick(self, now: float) -> bytes | None:
        """Do what is due: the link may close. Returns a PADDING cell if one must go out."""
        due = self.timers.expired(now)
        if due is Timer.PADDING:
            self._padding.draw()
            self.timers.set(Timer.PADDING, now + self._padding.after)
            return self._padding.cell()
        if due is not None:
            self._close(_ENDS[due])
        return None

    def close(self, reason: Reason) -> None:
        """End the link from our side. Frames that nobody took yet are dropped."""
        if not self.is_closed:
            self._events.clear()
        self._close(reason)

    # Inside.

    def _close(self, reason: Reason) -> None:
        if not self.is_closed:
            self.is_open = False
            self.is_closed = True
            self.timers.clear_all()
            self._padding.after = NEVER
            self._buffer = b""
            self._outgoing.clear()
            self._opening = self._seal_key = self._open_key = None
            self._events.append(LinkClosed(reason))

    def _open(self, opened: Opened, now: float) -> None:
        self._opening = None
        self.is_open = True
        self._padding.begin(self._params, relays_at_both_ends=opened.relays_at_both_ends)
        self.timers.clear(Timer.SETUP)
        self.timers.set(Timer.SILENT, now + self._params.link_dead_seconds)
        self.timers.set(Timer.PADDING, now + self._padding.after)
        self.unused(now)
        self._events.append(LinkOpen(opened.peer))

    def _set_up(self, data: bytes, now: float) -> int:
        """Handle the bytes before the link is open; returns how many were used."""
        opening = self._opening
        at = 0
        if opening is None:
            return at
        if self._open_key is None:
            if len(data) < LINK_FLIGHT:
                return at
            at = LINK_FLIGHT
            self._cross(opening, data[:at], now)
        if not self.is_open:
            at = self._frames(data, at)
            first = self._events.pop() if self._events else None
            if isinstance(first, bytes):
                self._open(opening.prove(first), now)
        return at

    def _cross(self, opening: Opening, flight: bytes, now: float) -> None:
        crossed = opening.cross(flight)
        self._seal_key, self._open_key = crossed.seal_key, crossed.open_key
        self._outgoing += crossed.reply
        if crossed.opened is not None:
            self._open(crossed.opened, now)
            body = crossed.proof + self._chance.bytes(BODY - len(crossed.proof))
            self._outgoing += self.seal(pack_cell(0, LINK_AUTH, body))

    def _frames(self, data: bytes, at: int) -> int:
        """Open the whole frames from `at` on; returns where they end. Before the link is open, only the first
        frame is opened, because its content decides about the rest."""
        key = self._open_key
        if key is None:
            return at
        size = len(data)
        sealed = memoryview(data)
        while (begins := at + FRAME_HEADER) <= size:
            header = data[at:begins]
            length = int.from_bytes(header, "big")
            cells, odd = divmod(length - AEAD_TAG, CELL)
            if odd or not 1 <= cells <= FRAME_CELLS:
                raise ProtocolError(Reason.FRAME_SIZE)
            ends = begins + length
            if ends > size:
                break
            self._events.append(key.open(sealed[begins:ends], header))
            at = ends
            if not self.is_open:
                break
        return at


class LinkInitiator(Link):
    """The end that connects. `identity` is what a relay signs with, None for everyone else."""

    def __init__(
        self,
        *,
        responder: RelayId,
        onion_key: bytes,
        identity: RelaySigner | None,
        params: Params,
        chance: Chance,
        now: float,
    ) -> None:
        asking = Asking(responder, onion_key, identity, chance.bytes)
        super().__init__(asking, params=params, chance=chance, now=now)


class LinkResponder(Link):
    """The listening end, always a relay. `is_relay` tells whether an identity is in the consensus.
    `earliest`: a time that has certainly passed, Unix seconds."""

    def __init__(
        self,
        *,
        identity: RelayId,
        onion_keys: Sequence[KeyPair],
        is_relay: Callable[[RelayId], bool],
        earliest: int,
        params: Params,
        chance: Chance,
        now: float,
    ) -> None:
        answering = Answering(identity, onion_keys, is_relay, chance.bytes, earliest)
        super().__init__(answering, params=params, chance=chance, now=now)
