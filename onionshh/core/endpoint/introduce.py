"""Introductions: what a visitor seals for an endpoint, and how the endpoint answers (SPEC 11).

The seal is HPKE to the key in the period's descriptor. Everything bound to the seal is in `info`. Inside are
the rendezvous point, a seed that gives the cookie and the reply key, the visitor's half of an hs3h handshake,
and perhaps a first record. Nothing tells who asks. The size is always 2 934 bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from onionshh import geometry as g
from onionshh.crypto import handshake
from onionshh.crypto.primitives import KeyPair, aead_open, aead_seal, kdf
from onionshh.crypto.seal import SealKey, seal
from onionshh.errors import CryptoError, ProtocolError
from onionshh.ids import AuthKey, Cookie, RandomBytes, RelayId
from onionshh.reasons import Reason
from onionshh.wire.messages import INTRODUCE_NEW, Introduce, Rendezvous1, exactly

_PLAIN = struct.Struct(f">B{g.KEY}s{g.SEED}s{g.RENDEZVOUS_CLIENT}sH{g.INTRODUCE_RECORD}s")
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


class Introduction:
    """The visitor's side of one introduction: used once, for one introducer and one rendezvous point."""

    def __init__(
        self,
        *,
        auth_key: AuthKey,
        period: int,
        subcredential: bytes,
        rendezvous_key: bytes,
        seal_key: bytes,
        rendezvous_point: RelayId,
        privacy_class: int,
        record: bytes,
        random_bytes: RandomBytes,
    ) -> None:
        if not fits_introduction(record):
            raise ValueError(f"an introduction can carry a record of at most {g.INTRODUCE_RECORD} bytes")
        seed = random_bytes(g.SEED)
        self.seed = seed
        self.cookie = Cookie(kdf("cookie", seed))
        self._reply_key = kdf("reply", seed)
        self._handshake = handshake.ClientHandshake(
            server_id=auth_key,
            server_key=rendezvous_key,
            ver=handshake.rendezvous(subcredential),
            client_message=b"",
            random_bytes=random_bytes,
        )
        plain = _PLAIN.pack(
            privacy_class, rendezvous_point, seed, self._handshake.message, len(record), record
        )
        kind, named = INTRODUCE_NEW, period_byte(period)
        sealed = seal(seal_key, _info(kind, named, auth_key, subcredential), plain)
        self.message = Introduce(auth_key, kind, named, bytes(g.POW), sealed).encode()
        """The INTRODUCE1."""

    def finish(self, rendezvous2: bytes) -> EndToEndKeys:
        """The keys, if RENDEZVOUS2 is this endpoint's answer. Raises CryptoError."""
        exactly(rendezvous2, g.RENDEZVOUS_SEALED)
        reply = aead_open(self._reply_key, _ZERO_NONCE, rendezvous2)
        finished = self._handshake.finish(
            reply, server_message_bytes=0, keystream_bytes=g.RENDEZVOUS_KEYSTREAM
        )
        return _split(finished.keystream)


@dataclass(frozen=True, slots=True)
class Opened:
    """An introduction as the endpoint reads it. `record` is b"" if there is none."""

    auth_key: AuthKey
    privacy_class: int
    rendezvous_point: RelayId
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
    privacy_class, relay, seed, opening, length, record = _PLAIN.unpack(plain)
    if length > g.INTRODUCE_RECORD or record.count(0, length) != g.INTRODUCE_RECORD - length:
        raise ProtocolError(Reason.INTRODUCE_RECORD)
    return Opened(AuthKey(message.auth_key), privacy_class, RelayId(relay), seed, opening, record[:length])


def answer(
    opened: Opened, *, rendezvous_keys: KeyPair, subcredential: bytes, random_bytes: RandomBytes
) -> tuple[bytes, EndToEndKeys]:
    """RENDEZVOUS1 and its keys. A second try must send the same bytes again. Raises CryptoError."""
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
    sealed = aead_seal(kdf("reply", opened.seed), _ZERO_NONCE, responded.reply)
    return Rendezvous1(kdf("cookie", opened.seed), sealed).encode(), _split(responded.keystream)
