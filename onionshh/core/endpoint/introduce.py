"""Introductions: what a visitor seals for an endpoint, and how the endpoint answers (SPEC 11).

The seal is HPKE to the key in the period's descriptor. Everything bound to the seal is in `info`. Inside are
one rendezvous point or three, a seed, the visitor's half of an hs3h handshake, and perhaps a first record.
Nothing tells who asks. The size is always 2 934 bytes.

Each point is the end of one leg. A leg has a seed of its own, from which its cookie and its reply key come.
So relays cannot tell from the cookies which legs belong together. The endpoint answers each leg with a
handshake of its own, so no two legs have the same keys.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from onionshh import geometry as g
from onionshh.crypto import handshake
from onionshh.crypto.primitives import KeyPair, aead_open, aead_seal, kdf
from onionshh.crypto.seal import SealKey, seal
from onionshh.errors import CryptoError, ProtocolError
from onionshh.ids import AuthKey, Cookie, RandomBytes, RelayId
from onionshh.reasons import Reason
from onionshh.wire.messages import INTRODUCE_NEW, Introduce, Rendezvous1, exactly

POINTS: Final = (1, 3)
"""How many rendezvous points an introduction may name."""

CLASS_BITS: Final = 0b0000_0011
_KEEP_SESSION: Final = 0b1000_0000
_HEAD = struct.Struct(">BB")
_LENGTH = struct.Struct(">H")
_LEG_NUMBER = struct.Struct(">Q")
_ZERO_NONCE = bytes(g.AEAD_NONCE)
"""Safe only here, because the key comes from a seed that is used once."""


@dataclass(frozen=True, slots=True)
class EndToEndKeys:
    """The keys that both ends get from the rendezvous handshake. `forward` is visitor to endpoint."""

    forward: bytes = field(repr=False)
    backward: bytes = field(repr=False)
    root: bytes = field(repr=False)


def _info(kind: int, period_byte: int, auth_key: bytes, subcredential: bytes) -> bytes:
    return b"onionshh intro v1" + bytes((kind, period_byte)) + auth_key + subcredential


def _split(keystream: bytes) -> EndToEndKeys:
    return EndToEndKeys(
        keystream[: g.LAYER_STATE],
        keystream[g.LAYER_STATE : 2 * g.LAYER_STATE],
        keystream[2 * g.LAYER_STATE + g.BINDING :],
    )


def period_byte(period: int) -> int:
    """The byte that tells to which period's keys an introduction is sealed."""
    return period & 0xFF


def fits_introduction(record: bytes) -> bool:
    """Whether an introduction can carry this encoded record."""
    return len(record) <= g.INTRODUCE_RECORD


@dataclass(frozen=True, slots=True)
class Leg:
    """One way to meet: `cookie` names it at its rendezvous point, `reply_key` opens what comes back there."""

    seed: bytes = field(repr=False)
    cookie: Cookie = field(repr=False)
    reply_key: bytes = field(repr=False)


def leg_of(seed: bytes) -> Leg:
    """The leg that this seed of 32 bytes gives. The seed is that leg's own."""
    return Leg(seed, Cookie(kdf("cookie", seed)), kdf("reply", seed))


def _leg_of_introduction(seed: bytes, number: int) -> Leg:
    """Leg `number` (0, 1 or 2) of an introduction with this seed."""
    return leg_of(kdf("leg seed", seed, _LEG_NUMBER.pack(number)))


class Introduction:
    """The visitor's side of one introduction: used once, for one introducer.

    `rendezvous_points`: one or three, all different. The handshake is answered once for each of them.
    `record`: at most 344 bytes, b"" for none, which it must be with three points. `keep_session` asks the
    endpoint to keep a session. Raises ValueError for anything that does not fit.
    """

    def __init__(
        self,
        *,
        auth_key: AuthKey,
        period: int,
        subcredential: bytes,
        rendezvous_key: bytes,
        seal_key: bytes,
        rendezvous_points: Sequence[RelayId],
        privacy_class: int,
        record: bytes,
        random_bytes: RandomBytes,
        keep_session: bool = False,
    ) -> None:
        points = tuple(rendezvous_points)
        if not _good_points(points):
            raise ValueError("an introduction names one rendezvous point, or three different ones")
        if not fits_introduction(record):
            raise ValueError(f"an introduction can carry a record of at most {g.INTRODUCE_RECORD} bytes")
        if record and len(points) > 1:
            raise ValueError("an introduction with three rendezvous points carries no record")
        if privacy_class & ~CLASS_BITS:
            raise ValueError(f"the number of a privacy class has two bits, {privacy_class} has more")
        seed = random_bytes(g.SEED)
        self.seed = seed
        self.legs = tuple(_leg_of_introduction(seed, number) for number in range(len(points)))
        self._handshake = handshake.ClientHandshake(
            server_id=auth_key,
            server_key=rendezvous_key,
            ver=handshake.rendezvous(subcredential),
            client_message=b"",
            random_bytes=random_bytes,
        )
        class_byte = privacy_class | (_KEEP_SESSION if keep_session else 0)
        head = _HEAD.pack(class_byte, len(points)) + b"".join(points) + seed + self._handshake.message
        plain = (head + _LENGTH.pack(len(record)) + record).ljust(g.INTRODUCE_PLAIN, b"\0")
        kind, named = INTRODUCE_NEW, period_byte(period)
        sealed = seal(seal_key, _info(kind, named, auth_key, subcredential), plain)
        self.message = Introduce(auth_key, kind, named, bytes(g.POW), sealed).encode()
        """The INTRODUCE1."""

    @property
    def cookie(self) -> Cookie:
        """The cookie of leg 0."""
        return self.legs[0].cookie

    def finish(self, rendezvous2: bytes, leg: int = 0) -> EndToEndKeys:
        """The keys of this leg, if RENDEZVOUS2 is this endpoint's answer on it. Raises ProtocolError."""
        exactly(rendezvous2, g.RENDEZVOUS_SEALED)
        reply = aead_open(self.legs[leg].reply_key, _ZERO_NONCE, rendezvous2)
        finished = self._handshake.finish(
            reply, server_message_bytes=0, keystream_bytes=g.RENDEZVOUS_KEYSTREAM
        )
        return _split(finished.keystream)


@dataclass(frozen=True, slots=True)
class Opened:
    """An introduction as the endpoint reads it. `record` is b"" if there is none.

    `rendezvous_points`: one for each leg. `keep_session`: the visitor asks for a session.
    """

    auth_key: AuthKey
    privacy_class: int
    keep_session: bool
    rendezvous_points: tuple[RelayId, ...]
    seed: bytes = field(repr=False)
    handshake: bytes = field(repr=False)
    record: bytes = field(repr=False)


def open_introduction_untrusted(message: Introduce, seal_key: SealKey, subcredential: bytes) -> Opened:
    """Open an introduction that was sealed for us. Every failure is a ProtocolError."""
    if message.kind != INTRODUCE_NEW:
        raise ProtocolError(Reason.INTRODUCE_KIND)
    info = _info(message.kind, message.period_byte, message.auth_key, subcredential)
    plain = seal_key.open_untrusted(info, message.sealed)
    if len(plain) != g.INTRODUCE_PLAIN:
        raise CryptoError(Reason.INTRODUCE_SIZE)
    return _parse_plain(AuthKey(message.auth_key), plain)


def _parse_plain(auth_key: AuthKey, plain: bytes) -> Opened:
    class_byte, count = _HEAD.unpack_from(plain)
    if class_byte & ~(CLASS_BITS | _KEEP_SESSION):
        raise ProtocolError(Reason.INTRODUCE_CLASS)
    # A wrong count must not decide where anything is read.
    if count not in POINTS:
        raise ProtocolError(Reason.INTRODUCE_POINTS)
    at_seed = _HEAD.size + count * g.KEY
    at_handshake = at_seed + g.SEED
    at_length = at_handshake + g.RENDEZVOUS_CLIENT
    at_record = at_length + _LENGTH.size
    points = tuple(RelayId(plain[at : at + g.KEY]) for at in range(_HEAD.size, at_seed, g.KEY))
    if not _good_points(points):
        raise ProtocolError(Reason.INTRODUCE_POINTS)
    length: int = _LENGTH.unpack_from(plain, at_length)[0]
    end = at_record + length
    # The record is for the one leg; with three, no leg is the first.
    most = g.INTRODUCE_RECORD if count == 1 else 0
    if length > most or plain.count(0, end) != g.INTRODUCE_PLAIN - end:
        raise ProtocolError(Reason.INTRODUCE_RECORD)
    return Opened(
        auth_key,
        class_byte & CLASS_BITS,
        bool(class_byte & _KEEP_SESSION),
        points,
        plain[at_seed:at_handshake],
        plain[at_handshake:at_length],
        plain[at_record:end],
    )


def _good_points(points: Sequence[RelayId]) -> bool:
    return len(points) in POINTS and len(set(points)) == len(points)


def answer(
    opened: Opened,
    leg: int = 0,
    *,
    rendezvous_keys: KeyPair,
    subcredential: bytes,
    random_bytes: RandomBytes,
) -> tuple[bytes, EndToEndKeys]:
    """RENDEZVOUS1 and its keys for one leg, by its place among the rendezvous points.

    A second try of the same leg must send the same bytes again, since a leg's reply key seals one reply only.
    Raises CryptoError.
    """
    ours = _leg_of_introduction(opened.seed, leg)
    responded = handshake.respond(
        opened.handshake,
        server_id=opened.auth_key,
        keys=(rendezvous_keys,),
        ver=handshake.rendezvous(subcredential),
        client_message_bytes=0,
        server_message=b"",
        keystream_bytes=g.RENDEZVOUS_KEYSTREAM,
        random_bytes=random_bytes,
    )
    sealed = aead_seal(ours.reply_key, _ZERO_NONCE, responded.reply)
    return Rendezvous1(ours.cookie, sealed).encode(), _split(responded.keystream)
