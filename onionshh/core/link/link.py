"""One link as a machine: handshake, LINK_AUTH, frames, padding, deadlines (SPEC 5).

Bytes in, events out. `receive_data` never raises for what a stranger sent: the link becomes closed, says so
once as a `LinkClosed` event and stays closed. The cells themselves are none of its business; `seal` makes
a frame of whatever waits, so a burst costs one AEAD call.

    initiator:  flight →            ← flight      LINK_AUTH →   open
    responder:         → flight  flight ←                 → LINK_AUTH   open
"""

from __future__ import annotations

import abc
import enum
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onionshh import geometry as g
from onionshh.core.base.chance import Chance
from onionshh.core.base.params import Params
from onionshh.crypto import handshake
from onionshh.crypto.identity import SigningKey, verify_untrusted
from onionshh.crypto.primitives import FrameCipher, KeyPair
from onionshh.errors import ProtocolError
from onionshh.ids import RelayId
from onionshh.wire.cell import LINK_AUTH, PADDING, pack_cell, split_cells


@dataclass(frozen=True, slots=True)
class LinkOpen:
    """The link may carry cells. `peer`: the relay at the other end, None for a client."""

    peer: RelayId | None


@dataclass(frozen=True, slots=True)
class LinkClosed:
    """No more comes and nothing more may be sent. `reason` stays on our side."""

    reason: str


LinkEvent = LinkOpen | bytes | LinkClosed
"""Bytes are the cells of one frame, whole."""


class _State(enum.Enum):
    FLIGHT = enum.auto()
    AUTH = enum.auto()
    OPEN = enum.auto()
    CLOSED = enum.auto()


# An enum's members are looked up the slow way, each time; these are read several times a frame.
_FLIGHT, _AUTH, _OPEN, _CLOSED = _State


def link_auth_text(binding: bytes, responder: bytes) -> bytes:
    """What a relay signs to show who it is: this link and no other."""
    return b"onionshh link auth v1" + binding + responder


class Link(abc.ABC):
    """State shared by both ends; make one with `initiate` or `respond`."""

    def __init__(self, *, params: Params, chance: Chance, now: float) -> None:
        self._params = params
        self._chance = chance
        self._state = _FLIGHT
        self.is_open = False
        """Whether cells may be sealed now."""
        self.is_closed = False
        """Whether the link has ended."""
        self._buffer = b""
        self._events: deque[LinkEvent] = deque()
        self._outgoing = bytearray()
        self._seal_key: FrameCipher | None = None
        self._open_key: FrameCipher | None = None
        self._opened = False
        self._pads_like_client = True
        self._setup_deadline = now + params.handshake_seconds
        self.received_at = now
        """When the last byte came, or the link began."""
        self._partial_since: float | None = None
        self._blocked_since: float | None = None
        self.pad_at = 0.0
        """When silence has lasted long enough for PADDING; what is sent puts it off."""
        self._pad_after = 0.0
        self._empty_since: float | None = None

    # Bytes.

    def receive_data(self, data: bytes, now: float) -> None:
        """What the socket gave; b"" is its end."""
        if self.is_closed:
            return
        if not data:
            self._close("link-ended")
            return
        self.received_at = now
        if self._buffer:
            data = self._buffer + data
        at = 0
        try:
            while at < len(data) and (end := self._step(data, at, now)) > at:
                at = end
        except ProtocolError as error:
            self._close(error.reason)
            return
        if at == len(data):
            self._buffer = b""
            self._partial_since = None
        else:
            self._buffer = data[at:]
            if at or self._partial_since is None:
                self._partial_since = now

    def next_event(self) -> LinkEvent | None:
        """The next thing that happened, None when more bytes are needed."""
        return self._events.popleft() if self._events else None

    def data_to_send(self) -> bytes:
        """Handshake bytes that are due; frames come from `seal`."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def seal(self, cells: bytes) -> bytes:
        """One frame of 1 to 127 cells, ready for the socket."""
        key = self._seal_key
        if key is None or not self.is_open:
            raise ProtocolError("link-not-open")
        header = (len(cells) + g.AEAD_TAG).to_bytes(g.FRAME_HEADER, "big")
        return header + key.seal(cells, header)

    def send_failed(self) -> None:
        """The socket takes nothing more."""
        self._close("link-broken")

    # Time.

    def sent(self, now: float, *, blocked: bool) -> None:
        """The kernel took bytes, and whether more still wait for it."""
        self.pad_at = now + self._pad_after
        self._blocked_since = now if blocked else None

    def not_read(self, now: float) -> None:
        """We have not read up to now: what the peer owes counts from here."""
        self.received_at = now
        if self._partial_since is not None:
            self._partial_since = now
        if self._blocked_since is not None:
            self._blocked_since = now

    def circuits(self, count: int, now: float) -> None:
        """How many circuits run over the link now."""
        if count:
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = now

    def next_deadline(self) -> float:
        """When `tick` has something to do; infinite for a closed link."""
        if self._state is _CLOSED:
            return float("inf")
        if self._state is not _OPEN:
            return self._setup_deadline
        deadline = min(self.received_at + self._params.link_dead_seconds, self.pad_at)
        if self._partial_since is not None:
            deadline = min(deadline, self._partial_since + self._params.frame_seconds)
        if self._blocked_since is not None:
            deadline = min(deadline, self._blocked_since + self._params.link_dead_seconds)
        if self._empty_since is not None:
            deadline = min(deadline, self._empty_since + self._params.link_idle_seconds)
        return deadline

    def tick(self, now: float) -> bytes | None:
        """Act on what is due: the link may close; a PADDING cell that must go out is returned."""
        if self._state is _CLOSED:
            return None
        params = self._params
        if self._state is not _OPEN:
            if now >= self._setup_deadline:
                self._close("link-setup-timeout")
            return None
        if self._partial_since is not None and now >= self._partial_since + params.frame_seconds:
            self._close("frame-timeout")
        elif now >= self.received_at + params.link_dead_seconds:
            self._close("link-silent")
        elif self._blocked_since is not None and now >= self._blocked_since + params.link_dead_seconds:
            self._close("link-stuck")
        elif self._empty_since is not None and now >= self._empty_since + params.link_idle_seconds:
            self._close("link-idle")
        elif now >= self.pad_at:
            self.pad_at = now + self._draw_padding()
            return pack_cell(0, PADDING, self._chance.bytes(g.BODY))
        return None

    def close(self, reason: str) -> None:
        """End the link from our side; frames that nobody took yet are forgotten."""
        if self._state is not _CLOSED:
            self._events.clear()
        self._close(reason)

    # Inside.

    def _close(self, reason: str) -> None:
        if self._state is not _CLOSED:
            self._state = _CLOSED
            self.is_open = False
            self.is_closed = True
            self._buffer = b""
            self._outgoing.clear()
            self._seal_key = self._open_key = None
            self._events.append(LinkClosed(reason))

    def _open(self, peer: RelayId | None, now: float, *, relays_at_both_ends: bool) -> None:
        self._state = _OPEN
        self.is_open = True
        self._pads_like_client = not relays_at_both_ends
        self.pad_at = now + self._draw_padding()
        self._empty_since = now
        self._events.append(LinkOpen(peer))

    def _draw_padding(self) -> float:
        """How much silence the next PADDING waits for, seconds: drawn anew once one has gone out."""
        params = self._params
        self._pad_after = float(params.relay_padding_seconds)
        if self._pads_like_client:
            low, high = params.client_padding_min_ms, params.client_padding_max_ms
            self._pad_after = self._chance.between(low, high) / 1000
        return self._pad_after

    def _step(self, data: bytes, at: int, now: float) -> int:
        """Take the flight or frame that begins at `at`; returns where it ends, `at` if it is not whole."""
        left = len(data) - at
        if self._state is _FLIGHT:
            if left < g.LINK_FLIGHT:
                return at
            self._flight(data[at : at + g.LINK_FLIGHT], now)
            return at + g.LINK_FLIGHT
        key = self._open_key
        if left < g.FRAME_HEADER or key is None:
            return at
        sealed_at = at + g.FRAME_HEADER
        header = data[at:sealed_at]
        size = int.from_bytes(header, "big")
        cells, odd = divmod(size - g.AEAD_TAG, g.CELL)
        if odd or not 1 <= cells <= g.FRAME_CELLS:
            raise ProtocolError("frame-size")
        end = sealed_at + size
        if end > len(data):
            return at
        plain = key.open(memoryview(data)[sealed_at:end], header)
        if self.is_open:
            self._events.append(plain)
        else:
            self._auth(plain, now)
        return end

    @abc.abstractmethod
    def _flight(self, flight: bytes, now: float) -> None:
        """The other end's handshake flight is whole."""

    def _auth(self, plain: bytes, now: float) -> None:
        raise ProtocolError("link-auth-direction")


class LinkInitiator(Link):
    """The dialling end. `identity` is a relay's own key, None for everyone else."""

    def __init__(
        self,
        *,
        responder: RelayId,
        onion_key: bytes,
        identity: SigningKey | None,
        params: Params,
        chance: Chance,
        now: float,
    ) -> None:
        super().__init__(params=params, chance=chance, now=now)
        self._responder = responder
        self._identity = identity
        self._handshake: handshake.ClientHandshake | None = handshake.ClientHandshake(
            server_id=responder,
            server_key=onion_key,
            ver=handshake.LINK,
            client_message=bytes(g.LINK_CLIENT_MESSAGE),
            random_bytes=chance.bytes,
        )
        self._outgoing += self._handshake.message

    def _flight(self, flight: bytes, now: float) -> None:
        pending, self._handshake = self._handshake, None  # its secrets would open every frame for ever
        if pending is None:
            raise ProtocolError("link-flight")
        finished = pending.finish(
            flight, server_message_bytes=g.LINK_SERVER_MESSAGE, keystream_bytes=g.LINK_KEYSTREAM
        )
        keys = finished.keystream
        binding = keys[2 * g.KEY :]
        self._seal_key = FrameCipher(keys[: g.KEY])
        self._open_key = FrameCipher(keys[g.KEY : 2 * g.KEY])
        if self._identity is None:
            proof = b"\x00"
        else:
            text = link_auth_text(binding, self._responder)
            proof = b"\x01" + self._identity.public + self._identity.sign(text)
        self._open(self._responder, now, relays_at_both_ends=self._identity is not None)
        body = proof + self._chance.bytes(g.BODY - len(proof))
        self._outgoing += self.seal(pack_cell(0, LINK_AUTH, body))


class LinkResponder(Link):
    """The listening end, always a relay. `is_relay` says whether an identity stands in the consensus."""

    def __init__(
        self,
        *,
        identity: RelayId,
        onion_keys: Sequence[KeyPair],
        is_relay: Callable[[RelayId], bool],
        params: Params,
        chance: Chance,
        now: float,
    ) -> None:
        super().__init__(params=params, chance=chance, now=now)
        self._identity = identity
        self._onion_keys: Sequence[KeyPair] = onion_keys
        self._is_relay = is_relay
        self._binding = b""

    def _flight(self, flight: bytes, now: float) -> None:
        answer = handshake.respond(
            flight,
            server_id=self._identity,
            keys=self._onion_keys,
            ver=handshake.LINK,
            client_message_bytes=g.LINK_CLIENT_MESSAGE,
            server_message=bytes(g.LINK_SERVER_MESSAGE),
            keystream_bytes=g.LINK_KEYSTREAM,
            random_bytes=self._chance.bytes,
        )
        self._onion_keys = ()
        keys = answer.keystream
        self._open_key = FrameCipher(keys[: g.KEY])
        self._seal_key = FrameCipher(keys[g.KEY : 2 * g.KEY])
        self._binding = keys[2 * g.KEY :]
        self._state = _AUTH
        self._outgoing += answer.reply

    def _auth(self, plain: bytes, now: float) -> None:
        if len(plain) != g.CELL:
            raise ProtocolError("link-auth-shape")
        ((circuit_id, command, body),) = split_cells(plain)
        if circuit_id != 0 or command != LINK_AUTH or body[0] > 1:
            raise ProtocolError("link-auth-shape")
        if body[0] == 0:
            self._open(None, now, relays_at_both_ends=False)
            return
        claimed = RelayId(body[1 : 1 + g.KEY])
        signature = body[1 + g.KEY : 1 + g.KEY + g.SIGNATURE]
        verify_untrusted(claimed, signature, link_auth_text(self._binding, self._identity))
        known = self._is_relay(claimed)
        self._open(claimed if known else None, now, relays_at_both_ends=known)
