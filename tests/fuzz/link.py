"""The link, both ends: as a stranger feeds it, and as one does who has shaken hands."""

from __future__ import annotations

from onionshh import geometry as g
from onionshh.core.base.chance import Chance
from onionshh.core.base.params import Params
from onionshh.core.certificate import certify
from onionshh.core.link.link import Link, LinkInitiator, LinkResponder
from onionshh.core.link.opening import link_auth_text
from onionshh.crypto import handshake
from onionshh.crypto.identity import SigningKey
from onionshh.crypto.primitives import FrameCipher, KeyPair
from onionshh.ids import RelayId
from onionshh.net.socks import Handshake, ProxyFailed
from onionshh.wire.cell import LINK_AUTH, PADDING, pack_cell
from tests.fuzz.target import Left, Script, Target, string
from tests.seeded import seeded

_ONION = KeyPair.generate(seeded(1))
_RELAY_KEY = SigningKey.generate(seeded(2))
_SIGNING_KEY = SigningKey.generate(seeded(7))
_SERVER = RelayId(seeded(3)(g.KEY))
_NOW = 1_700_000_000


def _initiator() -> LinkInitiator:
    return LinkInitiator(
        responder=_SERVER,
        onion_key=_ONION.public,
        identity=None,
        params=Params(),
        chance=Chance(seeded(4)),
        now=0.0,
    )


def _responder() -> LinkResponder:
    return LinkResponder(
        identity=_SERVER,
        onion_keys=(_ONION,),
        is_relay=lambda identity: identity == _RELAY_KEY.public,
        earliest=_NOW,
        params=Params(),
        chance=Chance(seeded(5)),
        now=0.0,
    )


def _feed(link: Link, data: bytes, size: int) -> None:
    """Bytes in pieces of this size, half a second for each, and the end. Left."""
    now = 0.0
    for at in range(0, len(data), size):
        now += 0.5
        link.receive_data(data[at : at + size], now)
        link.tick(now)
        link.data_to_send()
    link.receive_data(b"", now)
    while link.next_event() is not None:
        pass
    if not link.is_closed:
        raise Left("the link is open though it has ended")


class _Dialler:
    """The dialling end by hand, to say in its frames whatever it likes."""

    def __init__(self) -> None:
        self.link = _responder()
        flight = handshake.ClientHandshake(
            server_id=_SERVER,
            server_key=_ONION.public,
            ver=handshake.LINK,
            client_message=bytes(g.LINK_CLIENT_MESSAGE),
            random_bytes=seeded(6),
        )
        self.link.receive_data(flight.message, 0.0)
        finished = flight.finish(
            self.link.data_to_send(),
            server_message_bytes=g.LINK_SERVER_MESSAGE,
            keystream_bytes=g.LINK_KEYSTREAM,
        )
        self._key = FrameCipher(finished.keystream[: g.KEY])
        self.binding = finished.keystream[2 * g.KEY :]

    def frame(self, plain: bytes) -> bytes:
        """A frame that opens, whatever stands in it."""
        header = (len(plain) + g.AEAD_TAG & 0xFFFF).to_bytes(g.FRAME_HEADER, "big")
        return header + self._key.seal(plain, header)


def _keyed(data: bytes) -> None:
    """The size of the pieces in which all comes, then of each frame how many cells it is filled up to, and
    its plaintext. A first frame of 0 cells and nothing is the proof of a relay, one of 0 cells and 8 bytes
    the proof by a signing key that ends then."""
    script, dialler = Script(data), _Dialler()
    size = script.number(2) + 1
    sent = bytearray()
    while not script.over:
        cells, plain = script.number(1), script.string()
        if not (sent or cells or plain):
            plain = _proof(dialler.binding)
        elif not (sent or cells) and len(plain) == 8:
            plain = _certified_proof(dialler.binding, int.from_bytes(plain, "big"))
        sent += dialler.frame(plain.ljust(cells * g.CELL, b"\0"))
    _feed(dialler.link, bytes(sent), size)


def _proof(binding: bytes) -> bytes:
    signed = _RELAY_KEY.sign(link_auth_text(binding, _SERVER))
    return pack_cell(0, LINK_AUTH, (b"\1" + _RELAY_KEY.public + signed).ljust(g.BODY, b"\0"))


def _certified_proof(binding: bytes, expires: int) -> bytes:
    certificate = certify(_RELAY_KEY, _SIGNING_KEY.public, expires).encode()
    signed = _SIGNING_KEY.sign(link_auth_text(binding, _SERVER))
    body = b"\2" + _RELAY_KEY.public + certificate + signed
    return pack_cell(0, LINK_AUTH, body.ljust(g.BODY, b"\0"))


def _answer(data: bytes) -> None:
    link = _initiator()
    link.data_to_send()
    _feed(link, data, 1000)


def _flight() -> tuple[bytes, bytes]:
    """What both ends say first."""
    one, other = _initiator(), _responder()
    flight = one.data_to_send()
    other.receive_data(flight, 0.0)
    return flight, other.data_to_send()


_ANONYMOUS = b"\1" + string(pack_cell(0, LINK_AUTH, bytes(g.BODY)))
_PADDING = string(pack_cell(0, PADDING, bytes(g.BODY)))


_PROXIES = (
    b"\x05\x02\x01\x00\x05\x00\x00\x01" + bytes(6),
    b"\x05\x02\x01\x00\x05\x00\x00\x03\x04here\x00\x01",
    b"\x05\x02\x01\x01",
    b"\x05\xff",
)


def _proxied(data: bytes) -> None:
    """A proxy answers with these bytes. None but those that are wanted are read."""
    handshake, at = Handshake("relay.example", 9001, (b"user", b"password")), 0
    try:
        while handshake.wants:
            handshake.data_to_send()
            part = data[at : at + handshake.wants]
            handshake.receive_data(part)
            at += len(part)
    except ProxyFailed:
        return
    if at > len(data):
        raise RuntimeError("more was read than was sent")


LINKS = (
    Target("net.socks.Handshake.receive_data", _proxied, _PROXIES),
    Target("core.link.LinkInitiator.receive_data", _answer, (_flight()[1],)),
    Target(
        "core.link.LinkResponder.receive_data", lambda data: _feed(_responder(), data, 1000), (_flight()[0],)
    ),
    Target(
        "core.link.LinkResponder.receive_data:keyed",
        _keyed,
        (
            b"\xff\xff" + _ANONYMOUS + b"\3" + _PADDING,
            b"\2\0" + b"\0" + string(b"") + b"\x7f" + _PADDING,
            b"\xff\xff" + b"\0" + string((_NOW + 1).to_bytes(8, "big")) + b"\3" + _PADDING,
            b"\xff\xff" + b"\1" + string(_certified_proof(bytes(32), _NOW)),
        ),
    ),
)
