"""The doors that take one thing and say what it is: keys, messages, documents, signatures."""

from __future__ import annotations

from dataclasses import replace

from onionshh import geometry as g
from onionshh.config import NetworkFile, format_network_file, parse_network_file
from onionshh.core.base.params import Params
from onionshh.core.certificate import open_signing_untrusted
from onionshh.core.delivery.parts import PART_DATA, Part, TransferId
from onionshh.core.delivery.record import (
    ASK,
    EXPIRED,
    NO_ID,
    PART,
    PROVE,
    REFRESH,
    REFRESHED,
    WAY_BACK,
    Record,
    new_whisper,
    receipt_for,
    refusal_of,
)
from onionshh.core.endpoint.descriptor import check_outer_untrusted
from onionshh.core.endpoint.introduce import Opened, answer, leg_of, open_introduction_untrusted
from onionshh.core.endpoint.toll import intro_task, pays_untrusted
from onionshh.core.mailbox.work import Search
from onionshh.core.paths.guards import GuardSet, LayerTwoGuards
from onionshh.core.paths.view import View
from onionshh.core.trust import open_consensus_untrusted, open_descriptor_untrusted, read_consensus_untrusted
from onionshh.crypto import bech32m, ed25519, handshake
from onionshh.crypto.identity import (
    IdentityKeys,
    blind_public,
    check_opening_untrusted,
    decode_address_untrusted,
    verify_pq_untrusted,
)
from onionshh.crypto.primitives import KeyPair, aead_open, aead_seal
from onionshh.crypto.seal import SealKey, seal
from onionshh.directory.signing import sign_consensus
from onionshh.errors import BadAddress, BadNetworkFile
from onionshh.reasons import Reason
from onionshh.wire import consensus as wire_consensus
from onionshh.wire import descriptor as wire_descriptor
from onionshh.wire import merkle
from onionshh.wire import messages as m
from onionshh.wire.endpoint import EndpointDescriptor, Inner, Outer, period_key_signed, pq_signed
from onionshh.wire.framing import HandshakeParts, split_handshake
from onionshh.wire.packing import (
    Bin,
    Int,
    ListOf,
    Text,
    fields,
    pack,
    unpack_untrusted,
    unpack_version_untrusted,
    version_untrusted,
)
from tests.core import networks
from tests.core.endpoint import test_descriptor, test_introduce
from tests.core.endpoint.test_descriptor import CERTIFIED, IDENTITY, PERIOD, PERIOD_KEY, WALL
from tests.core.endpoint.test_introduce import AUTH, SUBCREDENTIAL, introduce
from tests.directory.world import AUTHORITY_KEY, NETWORK, descriptor, relay_key, signed, signer
from tests.fuzz.target import Left, Script, Target, string
from tests.seeded import seeded

KEY = seeded(1)(g.KEY)
WHISPER = new_whisper(b"hello", expires=WALL + 600, privacy_class=1, random_bytes=seeded(2))
PARTS = (
    Part(TransferId(bytes(16)), 0, b"all of it", bytes(g.HASH)),
    Part(TransferId(bytes(16)), 0, bytes(PART_DATA)),
    Part(TransferId(bytes(16)), 1, b"the rest", bytes(g.HASH), whisper=True),
)

_BODIES = {
    PART: g.PART_HEADER + 1,
    REFRESH: g.REFRESH_BODY,
    REFRESHED: g.REFRESHED_BODY,
    WAY_BACK: g.WAY_BACK_BODY,
    PROVE: g.PROVE_BODY,
}
_RECORDS = (
    WHISPER,
    replace(WHISPER, receipt_wanted=False),
    receipt_for(WHISPER, seeded(3)),
    refusal_of(WHISPER, EXPIRED, seeded(3)),
    Record(WHISPER.whisper_id, WHISPER.whisper_id, WALL, 1, ASK, b""),
    *(Record(WHISPER.whisper_id, NO_ID, WALL, 1, kind, bytes(size)) for kind, size in _BODIES.items()),
)

# Packing, and the tree over the rows of a consensus.

_EVERY_SHAPE = fields(
    Int(), Bin(most=40), Text(20), ListOf(fields(Int(255), ListOf(Text(9), 4)), 3), Bin(exact=2)
)
_ROWS = [merkle.Leaf(b"row %d" % number, 100 * number) for number in range(5)]


def _merkle(data: bytes) -> None:
    script = Script(data)
    index, count, expected = script.number(2), script.number(2), script.take(g.HASH)
    steps = [merkle.Node(script.string(), script.number(8)) for _ in range(script.number(1))]
    weight = script.number(8)
    merkle.check_untrusted(merkle.Leaf(script.rest(), weight), index, count, steps, expected)


def _proof(index: int) -> bytes:
    steps = merkle.proof(_ROWS, index)
    head = index.to_bytes(2, "big") + len(_ROWS).to_bytes(2, "big") + merkle.root(_ROWS)
    way = b"".join(string(step.hash) + step.weight.to_bytes(8, "big") for step in steps)
    return head + bytes((len(steps),)) + way + _ROWS[index].weight.to_bytes(8, "big") + _ROWS[index].row


# Keys, signatures, addresses.

_SIGNER = ed25519.SigningKey(KEY)
_SEAL_KEY = SealKey.generate(seeded(4))
_ONION = KeyPair.generate(seeded(5))


def _text(data: bytes) -> str:
    """Any text at all; what is no UTF-8 as the half characters that the system gives programs."""
    return data.decode("utf-8", "surrogateescape")


def _verify(data: bytes) -> None:
    script = Script(data)
    ed25519.verify_untrusted(script.take(g.KEY), script.take(g.SIGNATURE), script.rest())


def _verify_pq(data: bytes) -> None:
    script = Script(data)
    verify_pq_untrusted(script.take(g.PQ_KEY), script.take(g.PQ_SIGNATURE), script.rest())


def _opening(data: bytes) -> None:
    script = Script(data)
    check_opening_untrusted(script.take(g.KEY), script.take(g.KEY), script.rest())


def _asked() -> handshake.ClientHandshake:
    return handshake.ClientHandshake(
        server_id=KEY,
        server_key=_ONION.public,
        ver=handshake.CIRCUIT,
        client_message=bytes(g.CIRCUIT_MESSAGE),
        random_bytes=seeded(6),
    )


def _respond(data: bytes) -> handshake.Responded:
    return handshake.respond(
        data,
        server_id=KEY,
        keys=(_ONION,),
        ver=handshake.CIRCUIT,
        client_message_bytes=g.CIRCUIT_MESSAGE,
        server_message=bytes(g.CIRCUIT_MESSAGE),
        keystream_bytes=g.CIRCUIT_KEYSTREAM,
        random_bytes=seeded(7),
    )


def _finish(data: bytes) -> None:
    _asked().finish(data, server_message_bytes=g.CIRCUIT_MESSAGE, keystream_bytes=g.CIRCUIT_KEYSTREAM)


def _parts(data: bytes) -> None:
    script = Script(data)
    parts = HandshakeParts(g.CIRCUIT_CLIENT, 0.0)
    while not script.over:
        parts.add(script.take(g.BODY).ljust(g.BODY, b"\0"), first=bool(script.number(1) & 1))


# Documents of relays and authorities.

_ADDRESSES = (
    wire_descriptor.Address.of("192.0.2.1", 9001),
    wire_descriptor.Address.of("2001:db8::1", 9001),
    wire_descriptor.Address.of("a2" * 28 + ".onion", 443),
)
_CONSENSUS = networks.consensus(networks.plain(4), at=WALL)
_BODY = wire_consensus.Consensus(
    network=NETWORK.name,
    valid_after=WALL,
    fresh_until=WALL + 3600,
    valid_until=WALL + 86_400,
    params=Params().to_pairs(),
    shared_random=_CONSENSUS.shared_random,
    relays=(
        networks.changed(_CONSENSUS.relays[0], addresses=_ADDRESSES, software="onionshh 0.1.0"),
        *_CONSENSUS.relays[1:],
    ),
    crowd=wire_descriptor.Paced(640, 2),
    previous=bytes(g.HASH),
    votes=(wire_consensus.Vote(bytes(g.KEY), bytes(g.HASH)), wire_consensus.Vote(KEY, KEY)),
).encode_body()
_DOCUMENT = sign_consensus(_BODY, [AUTHORITY_KEY])
_RELAY = signed(1)
_LARGE = signed(
    3,
    addresses=_ADDRESSES,
    software="onionshh 0.1.0",
    paced=wire_descriptor.Paced(64, 1),
)
_RELAY_BODY = wire_descriptor.split_untrusted(_RELAY)[0]
_RELAY_SIGNER = signer(1, 1_700_086_400)
CERTIFIED_BODY = replace(descriptor(1), signing=_RELAY_SIGNER.signing).encode_body()
_PAIRS = ListOf(fields(Text(64), Int()), wire_consensus.MOST_PARAMS)


def _open_consensus(data: bytes) -> None:
    View(open_consensus_untrusted(data, network=NETWORK, wall=WALL))


def relay_document(body: bytes) -> bytes:
    """A relay's descriptor that says anything, under a good signature."""
    return wire_descriptor.join(body, relay_key(1).sign(wire_descriptor.SIGNED + body))


def certified_document(body: bytes) -> bytes:
    """The same under a good signature by a signing key; whether its certificate is there is for the body."""
    return wire_descriptor.join(body, _RELAY_SIGNER.sign(wire_descriptor.SIGNED + body))


# Descriptors of endpoints.


def _outer_signed(data: bytes) -> None:
    """Numbers and a sealed part that are hostile, under good signatures by any key."""
    script = Script(data)
    period, revision, expiry = (script.number(8) for _ in range(3))
    certificate = _SIGNER.sign(period_key_signed(period, PERIOD_KEY.public, expiry))
    outer = Outer(
        blinded=_SIGNER.public,
        period=period,
        revision=revision,
        salt=script.take(g.SALT).ljust(g.SALT, b"\0"),
        period_key=PERIOD_KEY.public,
        expiry=expiry,
        certificate=certificate,
        sealed=script.take(g.DESCRIPTOR_SEALED).ljust(g.DESCRIPTOR_SEALED, b"\0"),
    )
    check_outer_untrusted(test_descriptor.signed(outer), wall=WALL)


def _numbers(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "big") for number in numbers)


def _plain(data: bytes) -> bytes:
    return data[: g.DESCRIPTOR_PLAIN].ljust(g.DESCRIPTOR_PLAIN, b"\0")


def _row_signed(row: bytes) -> None:
    """A row that is hostile, by an endpoint that signs it with every key of its own."""
    encoded = len(row).to_bytes(2, "big") + row
    blinded = blind_public(IDENTITY.A, PERIOD, test_descriptor.PERIOD_SECONDS)
    signature = IDENTITY.sign_pq(pq_signed(blinded, PERIOD, encoded))
    test_descriptor.opened(test_descriptor.around(_plain(encoded + signature)))


# Introductions.

_ENDPOINT = test_introduce.Endpoint()
_INTRODUCTION = introduce(_ENDPOINT, WHISPER.encode())
_THREE = introduce(_ENDPOINT, b"", points=test_introduce.THREE)
_RENDEZVOUS1 = test_introduce.meet(_ENDPOINT, _ENDPOINT.open(_INTRODUCTION.message))
_INFO = b"onionshh intro v1" + bytes((m.INTRODUCE_NEW, 700 & 0xFF)) + AUTH + SUBCREDENTIAL
_INTRODUCE_PLAINS = tuple(
    _ENDPOINT.seal.open_untrusted(_INFO, m.Introduce.decode_untrusted(one.message).sealed)
    for one in (_INTRODUCTION, _THREE)
)
_RESUME = m.Resume(AUTH, KEY[: g.SESSION_TAG], KEY[: g.RESUME_SALT], bytes(g.RESUME_SEALED)).encode()


def _introduced(message: m.Introduce) -> None:
    """All that an endpoint does with it before it builds a circuit."""
    opened: Opened = open_introduction_untrusted(message, _ENDPOINT.seal, SUBCREDENTIAL)
    if opened.record:
        Record.decode_untrusted(opened.record)
    keys, random_bytes = _ENDPOINT.rendezvous, seeded(8)
    for leg in range(len(opened.rendezvous_points)):
        answer(opened, leg, rendezvous_keys=keys, subcredential=SUBCREDENTIAL, random_bytes=random_bytes)


def _introduced_sealed(data: bytes) -> None:
    plain = data[: g.INTRODUCE_PLAIN].ljust(g.INTRODUCE_PLAIN, b"\0")
    sealed = seal(_ENDPOINT.seal.public, _INFO, plain)
    _introduced(m.Introduce(AUTH, m.INTRODUCE_NEW, 700 & 0xFF, bytes(g.POW), sealed))


_PAID_TASK = intro_task(KEY, AUTH, 2, m.Introduce.decode_untrusted(_INTRODUCTION.message).sealed)
_PAID_SEARCH = Search(_PAID_TASK, 2, seeded(9))
_PAID_SEARCH.look(1000)


def _paid(data: bytes) -> None:
    """What stands in the place for a proof is weighed, for one seed."""
    paid = m.Paid.decode_untrusted(data)
    if paid is not None:
        if paid.encode() != data:
            raise Left("a proof was read that no encoder makes")
        pays_untrusted(paid, KEY, m.Introduce.decode_untrusted(_INTRODUCTION.message))


_REPLY_KEY = leg_of(_INTRODUCTION.legs[0].seed).reply_key


def _met(data: bytes) -> None:
    introduce(_ENDPOINT, WHISPER.encode()).finish(data)


def _met_sealed(data: bytes) -> None:
    """Sealed with the reply key, which the endpoint has."""
    plain = data[: g.RENDEZVOUS_SERVER].ljust(g.RENDEZVOUS_SERVER, b"\0")
    _met(aead_seal(_REPLY_KEY, bytes(g.AEAD_NONCE), plain))


_GUARDS = GuardSet.from_document_untrusted(pack([1, [[KEY, WALL, 0], [bytes(g.KEY), WALL - 9, WALL]]]))
_LAYER_TWO = LayerTwoGuards.from_document_untrusted(pack([1, [[KEY, WALL]]]))

DOORS = (
    Target(
        "wire.packing.unpack_untrusted",
        lambda data: unpack_untrusted(data, _EVERY_SHAPE, 4096),
        (pack([5, b"bytes", "text", [[1, ["a", "b"]], [2, []]], b"ab"]), pack([0, b"", "", [], b"  "])),
    ),
    Target("wire.packing.version_untrusted", version_untrusted, (_BODY, pack((7, "what it is not")))),
    Target(
        "wire.packing.unpack_version_untrusted",
        lambda data: unpack_version_untrusted(
            data, fields(Int(255), Bin(2, or_empty=True)), 64, version=2, otherwise=Reason.DOCUMENT_VERSION
        ),
        (pack((2, b"ab")), pack((2, b""))),
    ),
    Target("wire.merkle.check_untrusted", _merkle, tuple(_proof(index) for index in range(5))),
    Target(
        "wire.framing.HandshakeParts.add",
        _parts,
        (
            b"".join(
                body + bytes((not at,))
                for at, body in enumerate(split_handshake(_asked().message, seeded(9)))
            ),
        ),
    ),
    Target("wire.messages.status_untrusted", m.status_untrusted, (b"\0", b"\2")),
    Target(
        "wire.messages.EstablishIntro.decode_untrusted",
        m.EstablishIntro.decode_untrusted,
        (m.EstablishIntro(KEY, bytes(g.SIGNATURE)).encode(),),
    ),
    Target(
        "wire.messages.Introduce.decode_untrusted", m.Introduce.decode_untrusted, (_INTRODUCTION.message,)
    ),
    Target("wire.messages.Resume.decode_untrusted", m.Resume.decode_untrusted, (_RESUME,)),
    Target("wire.messages.introduced_untrusted", m.introduced_untrusted, (_INTRODUCTION.message, _RESUME)),
    Target(
        "wire.messages.Paid.decode_untrusted",
        m.Paid.decode_untrusted,
        (m.Paid(64, bytes(g.PROOF_NONCE), KEY[:4]).encode(), bytes(g.POW)),
    ),
    Target(
        "wire.messages.IntroProof.decode_untrusted",
        m.IntroProof.decode_untrusted,
        (m.IntroProof(KEY, 64, WALL).encode(), m.IntroProof(bytes(g.SEED), 0, 0).encode()),
    ),
    Target(
        "wire.messages.IntroLoad.decode_untrusted",
        m.IntroLoad.decode_untrusted,
        (m.IntroLoad(9, 3).encode(),),
    ),
    Target("wire.messages.Rendezvous1.decode_untrusted", m.Rendezvous1.decode_untrusted, (_RENDEZVOUS1,)),
    Target(
        "wire.messages.Fetch.decode_untrusted", m.Fetch.decode_untrusted, (m.Fetch(KEY, PERIOD).encode(),)
    ),
    Target(
        "wire.messages.Found.decode_untrusted",
        m.Found.decode_untrusted,
        (
            m.Found(m.FOUND_IT, test_descriptor.DATA).encode(),
            m.Found(m.STALE).encode(),
        ),
    ),
    Target(
        "wire.messages.decode_fetch_consensus_untrusted",
        m.decode_fetch_consensus_untrusted,
        (m.encode_fetch_consensus(WALL),),
    ),
    Target("wire.consensus.split_untrusted", wire_consensus.split_untrusted, (_DOCUMENT,)),
    Target("wire.consensus.decode_body_untrusted", wire_consensus.decode_body_untrusted, (_BODY,)),
    Target("wire.descriptor.split_untrusted", wire_descriptor.split_untrusted, (_RELAY,)),
    Target(
        "wire.descriptor.decode_body_untrusted",
        wire_descriptor.decode_body_untrusted,
        (
            _RELAY_BODY,
            wire_descriptor.split_untrusted(signed(2, host="2001:db8::1", family=(networks.relay_id(3),)))[0],
            wire_descriptor.split_untrusted(_LARGE)[0],
        ),
    ),
    Target(
        "wire.endpoint.EndpointDescriptor.from_row_untrusted",
        EndpointDescriptor.from_row_untrusted,
        (test_descriptor.DESCRIPTOR.encode()[2:], test_descriptor.NO_INBOX.encode()[2:]),
    ),
    Target(
        "wire.endpoint.Inner.decode_untrusted",
        lambda data: Inner.decode_untrusted(_plain(data)),
        (test_descriptor.inner().encode(), test_descriptor.inner(test_descriptor.NO_INBOX).encode()),
    ),
    Target("wire.endpoint.Outer.decode_untrusted", Outer.decode_untrusted, (test_descriptor.DATA,)),
    Target(
        "crypto.bech32m.decode_untrusted",
        lambda data: bech32m.decode_untrusted("shh", _text(data)),
        (IDENTITY.address.encode(),),
        refuses=BadAddress,
    ),
    Target(
        "crypto.identity.decode_address_untrusted",
        lambda data: decode_address_untrusted(_text(data)),
        (
            IDENTITY.address.encode(),
            f" <shh://{IDENTITY.address.upper()}>\n".encode(),
        ),
        refuses=BadAddress,
    ),
    Target(
        "crypto.identity.check_opening_untrusted", _opening, (IDENTITY.A + IDENTITY.P + IDENTITY.pq_public,)
    ),
    Target(
        "crypto.identity.verify_pq_untrusted",
        _verify_pq,
        (IDENTITY.pq_public + IDENTITY.sign_pq(b"message") + b"message",),
    ),
    Target(
        "crypto.identity.IdentityKeys.from_bytes_untrusted",
        IdentityKeys.from_bytes_untrusted,
        (IDENTITY.to_bytes(),),
    ),
    Target(
        "crypto.ed25519.verify_untrusted", _verify, (_SIGNER.public + _SIGNER.sign(b"message") + b"message",)
    ),
    Target("crypto.ed25519.check_point_untrusted", ed25519.check_point_untrusted, (_SIGNER.public,)),
    Target(
        "crypto.ed25519.check_scalar_untrusted",
        ed25519.check_scalar_untrusted,
        (ed25519.reduce(seeded(3)(2 * g.HASH)),),
    ),
    Target(
        "crypto.seal.SealKey.open_untrusted",
        lambda data: _SEAL_KEY.open_untrusted(b"info", data),
        (seal(_SEAL_KEY.public, b"info", b"plain"),),
    ),
    Target("crypto.seal.seal", lambda data: seal(data, b"info", b"plain"), (_SEAL_KEY.public,)),
    Target("crypto.handshake.respond", _respond, (_asked().message,)),
    Target("crypto.handshake.ClientHandshake.finish", _finish, (_respond(_asked().message).reply,)),
    Target(
        "core.base.params.Params.from_pairs_untrusted",
        lambda data: Params.from_pairs_untrusted(unpack_untrusted(data, _PAIRS, g.CONSENSUS_MAX)),
        (pack(Params().to_pairs()), pack([["window", 124], ["of a later version", 7], ["ack_every", 31]])),
    ),
    Target(
        "core.paths.guards.GuardSet.from_document_untrusted",
        GuardSet.from_document_untrusted,
        (_GUARDS.to_document(),),
    ),
    Target(
        "core.paths.guards.LayerTwoGuards.from_document_untrusted",
        LayerTwoGuards.from_document_untrusted,
        (_LAYER_TWO.to_document(),),
    ),
    Target(
        "core.delivery.record.Record.decode_untrusted",
        Record.decode_untrusted,
        tuple(record.encode() for record in _RECORDS),
    ),
    Target(
        "core.delivery.parts.Part.decode_untrusted",
        Part.decode_untrusted,
        tuple(part.encode() for part in PARTS),
    ),
    Target("core.trust.open_descriptor_untrusted", open_descriptor_untrusted, (_RELAY, _LARGE)),
    Target(
        "core.trust.open_descriptor_untrusted:signed",
        lambda data: open_descriptor_untrusted(relay_document(data)),
        (_RELAY_BODY,),
    ),
    Target(
        "core.trust.open_descriptor_untrusted:certified",
        lambda data: open_descriptor_untrusted(certified_document(data)),
        (CERTIFIED_BODY,),
    ),
    Target(
        "core.certificate.open_signing_untrusted",
        lambda data: open_signing_untrusted(_RELAY_SIGNER.identity, data),
        (_RELAY_SIGNER.signing,),
    ),
    Target(
        "core.trust.read_consensus_untrusted",
        lambda data: read_consensus_untrusted(data, NETWORK),
        (_DOCUMENT,),
    ),
    Target("core.trust.open_consensus_untrusted", _open_consensus, (_DOCUMENT,)),
    Target(
        "core.trust.open_consensus_untrusted:signed",
        lambda data: _open_consensus(sign_consensus(data, [AUTHORITY_KEY])),
        (_BODY,),
    ),
    Target(
        "core.endpoint.descriptor.check_outer_untrusted",
        lambda data: check_outer_untrusted(data, wall=WALL),
        (test_descriptor.DATA,),
    ),
    Target(
        "core.endpoint.descriptor.check_outer_untrusted:signed",
        _outer_signed,
        (
            _numbers(PERIOD, 5, CERTIFIED) + bytes(g.SALT) + b"sealed",
            _numbers(PERIOD, 2**63 - 1, CERTIFIED),
        ),
    ),
    Target(
        "core.endpoint.descriptor.open_descriptor_untrusted", test_descriptor.opened, (test_descriptor.DATA,)
    ),
    Target(
        "core.endpoint.descriptor.open_descriptor_untrusted:sealed",
        lambda data: test_descriptor.opened(test_descriptor.around(_plain(data))),
        (test_descriptor.inner().encode(),),
    ),
    Target(
        "core.endpoint.descriptor.open_descriptor_untrusted:signed",
        lambda data: _row_signed(data[: g.DESCRIPTOR_PLAIN]),
        (test_descriptor.DESCRIPTOR.encode()[2:], test_descriptor.NO_INBOX.encode()[2:]),
    ),
    Target(
        "core.endpoint.toll.pays_untrusted",
        _paid,
        (m.Paid(2, _PAID_SEARCH.nonce, KEY[:4]).encode(), bytes(g.POW)),
    ),
    Target(
        "core.endpoint.introduce.open_introduction_untrusted",
        lambda data: _introduced(m.Introduce.decode_untrusted(data)),
        (_INTRODUCTION.message, introduce(_ENDPOINT, b"").message, _THREE.message),
    ),
    Target(
        "core.endpoint.introduce.open_introduction_untrusted:sealed", _introduced_sealed, _INTRODUCE_PLAINS
    ),
    Target("core.endpoint.introduce.Introduction.finish", _met, (_RENDEZVOUS1[g.COOKIE :],)),
    Target(
        "core.introduce.Introduction.finish:sealed",
        _met_sealed,
        (aead_open(_REPLY_KEY, bytes(g.AEAD_NONCE), _RENDEZVOUS1[g.COOKIE :]),),
    ),
    Target(
        "config.parse_network_file",
        parse_network_file,
        (
            format_network_file(NETWORK).encode(),
            format_network_file(NetworkFile("net", 1, NETWORK.authorities)).replace("\n", "\r\n").encode(),
        ),
        refuses=BadNetworkFile,
    ),
)
"""One target for each, in the order of the layers."""
