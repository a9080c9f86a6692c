"""Published vectors of others through our own code (SPEC 3, 4, 9); skipped where the files are missing."""

from __future__ import annotations

from onionshh.crypto.ed25519 import base
from onionshh.crypto.handshake import ClientHandshake, Suite, respond
from onionshh.crypto.identity import Blinding, blind_public, blind_secret, subcredential
from onionshh.crypto.layers import ClientLayers, Layer, RelayLayers
from onionshh.crypto.primitives import KeyPair
from onionshh.crypto.uiv import Cipher, Decryptor, Encryptor
from tests.crypto.ciphers import each, with_polyval
from tests.crypto.polyval import polyval
from tests.crypto.published import published


def place(layer: Layer[Encryptor] | Layer[Decryptor], state: list[bytes]) -> None:
    """Put a layer where the vector begins: keys, N and T."""
    layer.keys, layer.nonce, layer.chain = state


def standing(layer: Layer[Encryptor] | Layer[Decryptor]) -> list[bytes]:
    return [layer.keys, layer.nonce, layer.chain]


def relay_at(state: list[bytes], cipher: Cipher) -> RelayLayers:
    relay = RelayLayers(bytes(80), bytes(80), with_polyval(cipher))
    place(relay.forward, state)
    place(relay.backward, state)
    return relay


def test_polyval_is_polyval() -> None:
    """RFC 8452, appendix A."""
    key = bytes.fromhex("25629347589242761d31f826ba4b757b")
    data = bytes.fromhex("4f4f95668c83dfb6401762bb2d01a262d1a24ddd2721d006bbe45f20d3c9f362")
    assert polyval(key, data).hex() == "f7a3b47b846119fae5b7866cf5e5b77e"


def test_all_vectors_are_there() -> None:
    assert sum(len(rows) for rows in published("cgo.json").values()) == 94


@each
def test_cgo_relay(cipher: Cipher) -> None:
    for inbound, state, command, left, right, (after, cell) in published("cgo.json")["relay"]:
        relay = relay_at(state, cipher)
        if inbound:
            assert relay.inbound(command[0], left, right) == tuple(cell)
            assert standing(relay.backward) == after
        else:
            *parts, mine = relay.outbound(command[0], left, right)
            assert parts == list(cell)
            assert mine == (cell[0] == state[1])
            assert standing(relay.forward) == after


@each
def test_cgo_relay_originates(cipher: Cipher) -> None:
    for state, command, payload, (after, cell) in published("cgo.json")["relay_originate"]:
        relay = relay_at(state, cipher)
        assert relay.originate(command[0], payload) == tuple(cell)
        assert standing(relay.backward) == after


@each
def test_cgo_client_originates(cipher: Cipher) -> None:
    for states, hop, command, payload, (after, cell) in published("cgo.json")["client_originate"]:
        client = ClientLayers(with_polyval(cipher))
        for state in states:
            client.add_hop(bytes(80), bytes(80))
            place(client.hops[-1].forward, state)
        body, _ = client.send(hop - 1, command[0], payload)
        assert body == b"".join(cell)
        assert [standing(layers.forward) for layers in client.hops] == after


def test_ntor3() -> None:
    v = published("ntor3.json")
    suite = Suite(v["protoid"].encode(), kem=False)
    server = KeyPair.from_private(v["b"])
    client = ClientHandshake(
        server_id=v["id"],
        server_key=server.public,
        ver=v["verification"].encode(),
        client_message=v["client_message"].encode(),
        random_bytes=lambda n: v["x"][:n],
        suite=suite,
    )
    assert client.message == v["client_handshake"]
    answer = respond(
        client.message,
        server_id=v["id"],
        keys=[server],
        ver=v["verification"].encode(),
        client_message_bytes=len(v["client_message"]),
        server_message=v["server_message"].encode(),
        keystream_bytes=16,
        random_bytes=lambda n: v["y"][:n],
        suite=suite,
    )
    assert answer.reply == v["server_handshake"]
    assert answer.client_message == v["client_message"].encode()
    assert answer.keystream == v["keystream_first_16"]
    done = client.finish(answer.reply, server_message_bytes=len(v["server_message"]), keystream_bytes=16)
    assert done.server_message == v["server_message"].encode()
    assert done.keystream == v["keystream_first_16"]


def test_key_blinding() -> None:
    v = published("key_blinding.json")
    tor = Blinding(
        blind=b"Derive temporary signing key\0",
        base_point=v["base_point_string"].encode(),
        period=b"key-blind",
        credential=b"credential",
        subcredential=b"subcredential",
    )
    unclamped = bytearray(v["h_unclamped"])
    unclamped[0] &= 248
    unclamped[31] = unclamped[31] & 63 | 64
    period, length = v["period"], v["period_length_minutes"]
    assert base(v["a"]) == v["A"]
    assert tor.factor(v["A"], period, length) == unclamped
    assert blind_public(v["A"], period, length, tor) == v["A_blinded"]
    assert subcredential(v["A"], v["A_blinded"], tor) == v["subcredential"]
    blinded = blind_secret(v["a"], bytes(32), v["A"], period, length, tor)
    assert blinded.public == base(v["a_blinded"])
