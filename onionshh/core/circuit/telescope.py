"""How a circuit grows, relay by relay: the handshakes of CREATE and EXTEND (SPEC 3, 4).

One handshake runs at a time. Each handshake tells the privacy class to its relay.
"""

from __future__ import annotations

from onionshh.crypto.handshake import CIRCUIT, ClientHandshake
from onionshh.errors import ProtocolError
from onionshh.geometry import BINDING, CIRCUIT_KEYSTREAM, CIRCUIT_MESSAGE, CIRCUIT_SERVER, LAYER_STATE
from onionshh.ids import RandomBytes, RelayId
from onionshh.reasons import Reason
from onionshh.wire.framing import HandshakeParts


class Telescope:
    """The relays of one circuit, and the handshake with the next one."""

    __slots__ = ("_asked", "_class_message", "_created", "_handshake", "_random_bytes", "binding", "relays")

    def __init__(self, privacy_class: int, random_bytes: RandomBytes, now: float) -> None:
        self._class_message = bytes((privacy_class,)) + bytes(CIRCUIT_MESSAGE - 1)
        self._random_bytes = random_bytes
        self._handshake: ClientHandshake | None = None
        self._asked: RelayId | None = None
        self._created = HandshakeParts(CIRCUIT_SERVER, now)
        self.relays: list[RelayId] = []
        self.binding = b""
        """The binding from the last relay's handshake (SPEC 4)."""

    @property
    def growing(self) -> bool:
        """Whether a handshake is under way."""
        return self._handshake is not None

    def begin(self, relay: RelayId, onion_key: bytes) -> bytes:
        """The handshake message to send to this relay."""
        self._handshake = ClientHandshake(
            server_id=relay,
            server_key=onion_key,
            ver=CIRCUIT,
            client_message=self._class_message,
            random_bytes=self._random_bytes,
        )
        self._asked = relay
        return self._handshake.message

    def created_part(self, body: bytes, *, first: bool) -> bytes | None:
        """Take one cell of the first relay's answer; returns the answer when it is whole. ProtocolError."""
        if self.relays or self._handshake is None:
            raise ProtocolError(Reason.CREATED_NOT_DUE)
        return self._created.add(body, first=first)

    def finish(self, reply: bytes) -> tuple[RelayId, bytes, bytes]:
        """The relay answered and is now the last hop: returns it and its two layer states. ProtocolError."""
        handshake, relay = self._handshake, self._asked
        if handshake is None or relay is None:
            raise ProtocolError(Reason.EXTENDED_NOT_DUE)
        if len(reply) != CIRCUIT_SERVER:
            raise ProtocolError(Reason.CREATE_SIZE)
        finished = handshake.finish(
            reply, server_message_bytes=CIRCUIT_MESSAGE, keystream_bytes=CIRCUIT_KEYSTREAM
        )
        keys = finished.keystream
        self._handshake = self._asked = None
        self.binding = keys[-BINDING:]
        self.relays.append(relay)
        return relay, keys[:LAYER_STATE], keys[LAYER_STATE : 2 * LAYER_STATE]
