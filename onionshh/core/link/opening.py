"""The handshake of a link, from its first byte until the link is open (SPEC 5).

An `Opening` knows the secrets of one end. The link forgets it when the link opens: anyone with these secrets
could compute the first keys and open every frame of the link.

    initiator:  flight →            ← flight      LINK_AUTH →   open
    responder:         → flight  flight ←                 → LINK_AUTH   open
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onionshh import geometry as g
from onionshh.core.certificate import RelaySigner, is_over, open_signing_untrusted
from onionshh.crypto import handshake
from onionshh.crypto.identity import verify_untrusted
from onionshh.crypto.primitives import FrameCipher, KeyPair
from onionshh.errors import ProtocolError
from onionshh.ids import RandomBytes, RelayId
from onionshh.reasons import Reason
from onionshh.wire.cell import LINK_AUTH, split_cells
from onionshh.wire.descriptor import SIGNING

NOBODY, BY_IDENTITY, BY_SIGNING_KEY = range(3)
"""How a LINK_AUTH begins: no claim; relay id 32 ‖ signature 64; relay id 32 ‖ signing 104 ‖ signature 64."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Who is at the other end: a relay, or None for anyone else. Also whether both ends are relays."""

    peer: RelayId | None
    relays_at_both_ends: bool


@dataclass(frozen=True, slots=True)
class Crossed:
    """The result of both flights: the keys, and a flight that must still be sent.

    The initiator's link is then open (`opened`), and its LINK_AUTH begins with `proof`.
    """

    seal_key: FrameCipher
    open_key: FrameCipher
    reply: bytes = b""
    opened: Opened | None = None
    proof: bytes = b""


def link_auth_text(binding: bytes, responder: bytes) -> bytes:
    """The bytes that a relay signs to prove its identity, for this link only."""
    return b"onionshh link auth v1" + binding + responder


class Opening(abc.ABC):
    """One end's part. `first` is what it sends at once."""

    first = b""

    @abc.abstractmethod
    def cross(self, flight: bytes) -> Crossed:
        """The other end's flight is whole. Raises ProtocolError."""

    @abc.abstractmethod
    def prove(self, plain: bytes) -> Opened:
        """The first frame arrived before the link was open. ProtocolError unless it is a valid LINK_AUTH."""


class Asking(Opening):
    """The end that connects. `identity` is what a relay signs with, None for everyone else."""

    def __init__(
        self, responder: RelayId, onion_key: bytes, identity: RelaySigner | None, random_bytes: RandomBytes
    ) -> None:
        self._responder = responder
        self._identity = identity
        self._handshake = handshake.ClientHandshake(
            server_id=responder,
            server_key=onion_key,
            ver=handshake.LINK,
            client_message=bytes(g.LINK_CLIENT_MESSAGE),
            random_bytes=random_bytes,
        )
        self.first = self._handshake.message

    def cross(self, flight: bytes) -> Crossed:
        finished = self._handshake.finish(
            flight, server_message_bytes=g.LINK_SERVER_MESSAGE, keystream_bytes=g.LINK_KEYSTREAM
        )
        forward, backward, binding = _split(finished.keystream)
        proof = bytes((NOBODY,))
        if self._identity is not None:
            signing = self._identity.signing
            kind = bytes((BY_SIGNING_KEY if signing else BY_IDENTITY,))
            signature = self._identity.sign(link_auth_text(binding, self._responder))
            proof = kind + self._identity.identity + signing + signature
        return Crossed(
            seal_key=FrameCipher(forward),
            open_key=FrameCipher(backward),
            opened=Opened(self._responder, relays_at_both_ends=self._identity is not None),
            proof=proof,
        )

    def prove(self, plain: bytes) -> Opened:
        raise ProtocolError(Reason.LINK_AUTH_DIRECTION)  # a responder's flight has already proved it


class Answering(Opening):
    """The end that listens, always a relay. `is_relay`: whether an identity is in the consensus. `earliest`:
    a time that has certainly passed (Unix seconds, 0 if none is known): it ends certificates."""

    def __init__(
        self,
        identity: RelayId,
        onion_keys: Sequence[KeyPair],
        is_relay: Callable[[RelayId], bool],
        random_bytes: RandomBytes,
        earliest: int,
    ) -> None:
        self._identity = identity
        self._onion_keys = onion_keys
        self._is_relay = is_relay
        self._random_bytes = random_bytes
        self._earliest = earliest
        self._binding = b""

    def cross(self, flight: bytes) -> Crossed:
        answer = handshake.respond(
            flight,
            server_id=self._identity,
            keys=self._onion_keys,
            ver=handshake.LINK,
            client_message_bytes=g.LINK_CLIENT_MESSAGE,
            server_message=bytes(g.LINK_SERVER_MESSAGE),
            keystream_bytes=g.LINK_KEYSTREAM,
            random_bytes=self._random_bytes,
        )
        forward, backward, self._binding = _split(answer.keystream)
        return Crossed(seal_key=FrameCipher(backward), open_key=FrameCipher(forward), reply=answer.reply)

    def prove(self, plain: bytes) -> Opened:
        if len(plain) != g.CELL:
            raise ProtocolError(Reason.LINK_AUTH_SHAPE)
        ((circuit_id, command, body),) = split_cells(plain)
        if circuit_id != 0 or command != LINK_AUTH or body[0] > BY_SIGNING_KEY:
            raise ProtocolError(Reason.LINK_AUTH_SHAPE)
        if body[0] == NOBODY:
            return Opened(None, relays_at_both_ends=False)
        claimed, rest = RelayId(body[1 : 1 + g.KEY]), body[1 + g.KEY :]
        signer: bytes = claimed
        if body[0] == BY_SIGNING_KEY:
            signer, rest = self._certified(claimed, rest[:SIGNING]), rest[SIGNING:]
        verify_untrusted(signer, rest[: g.SIGNATURE], link_auth_text(self._binding, self._identity))
        known = self._is_relay(claimed)
        return Opened(claimed if known else None, relays_at_both_ends=known)

    def _certified(self, claimed: RelayId, signing: bytes) -> bytes:
        """The key that this relay may sign with now."""
        certificate = open_signing_untrusted(claimed, signing)
        if is_over(certificate, self._earliest):
            raise ProtocolError(Reason.CERTIFICATE_OVER)
        return certificate.key


def _split(keystream: bytes) -> tuple[bytes, bytes, bytes]:
    """The initiator's sending key, the responder's sending key, and the binding (SPEC 4)."""
    return keystream[: g.KEY], keystream[g.KEY : 2 * g.KEY], keystream[2 * g.KEY :]
