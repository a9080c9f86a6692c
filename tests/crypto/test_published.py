"""Published vectors of others through our own code (SPEC 3, 4, 9); skipped where the files are missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from onionshh.crypto.ed25519 import base
from onionshh.crypto.handshake import ClientHandshake, Suite, respond
from onionshh.crypto.identity import Blinding, blind_public, blind_secret, subcredential
from onionshh.crypto.layers import ClientLayers, Layer, RelayLayers
from onionshh.crypto.primitives import KeyPair
from onionshh.crypto.uiv import UIVDecryptor, UIVEncryptor
from onionshh.geometry import PAYLOAD
from tests.crypto.polyval import POLYVAL, polyval

FOLDER = Path(__file__).parents[3] / "shared" / "vectors"


def published(name: str) -> Any:
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"the published vectors {name} are not here")
    return _bytes(json.loads(path.read_text(encoding="utf-8")))


def _bytes(value: Any) -> Any:
    """Nested lists with every hex string as bytes; what is no hex stays text."""
    if isinstance(value, dict):
        return {key: _bytes(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_bytes(part) for part in value]
    if isinstance(value, str):
        try:
            return bytes.fromhex(value)
        except ValueError:
            return value
    return value


def place(layer: Layer, state: list[bytes]) -> None:
    """Put a layer where the vector begins: keys, N and T."""
    layer.keys, layer.nonce, layer.chain = state


def standing(layer: Layer) -> list[bytes]:
    return [layer.keys, layer.nonce, layer.chain]


def relay_at(state: list[bytes]) -> RelayLayers:
    relay = RelayLayers(bytes(80), bytes(80), POLYVAL)
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


def test_cgo_tweakable_block() -> None:
    """ET alone: the cipher's left half for a right half that is the tweak's end."""
    rows = published("cgo.json")["et"]
    for encrypt, key, tweak, block, expected in rows:
        keys = key + bytes(32)
        if encrypt:
            assert UIVEncryptor(keys, POLYVAL).encrypt(tweak[:17], block, tweak[17:])[0] == expected
        else:
            # Decryption first undoes the keystream, which for these bytes is that of a zero key.
            keystream = _keystream(bytes(32), block, 0)
            masked = bytes(a ^ b for a, b in zip(tweak[17:], keystream, strict=True))
            assert UIVDecryptor(keys, POLYVAL).decrypt(tweak[:17], block, masked)[0] == expected


def _keystream(key: bytes, start: bytes, which: int) -> bytes:
    """PRF(start, which) as it falls out of the class: by deciphering zeros, or as an update."""
    if which:
        return UIVEncryptor(bytes(32) + key, POLYVAL).next_state(start)
    return UIVDecryptor(bytes(32) + key, POLYVAL).decrypt(bytes(17), start, bytes(PAYLOAD))[1]


def test_cgo_prf() -> None:
    for key, which, start, expected in published("cgo.json")["prf"]:
        assert _keystream(key, start, which) == expected


def test_cgo_wide_block() -> None:
    for encrypt, keys, tweak, left, right, expected in published("cgo.json")["uiv"]:
        if encrypt:
            result = UIVEncryptor(keys, POLYVAL).encrypt(tweak, left, right)
        else:
            result = UIVDecryptor(keys, POLYVAL).decrypt(tweak, left, right)
        assert result == tuple(expected)


def test_cgo_update() -> None:
    for keys, nonce, expected in published("cgo.json")["uiv_update"]:
        assert UIVEncryptor(keys, POLYVAL).next_state(nonce) == b"".join(expected)
        assert UIVDecryptor(keys, POLYVAL).next_state(nonce) == b"".join(expected)


def test_cgo_relay() -> None:
    for inbound, state, command, left, right, (after, cell) in published("cgo.json")["relay"]:
        relay = relay_at(state)
        if inbound:
            assert relay.inbound(command[0], left, right) == tuple(cell)
            assert standing(relay.backward) == after
        else:
            *parts, mine = relay.outbound(command[0], left, right)
            assert parts == list(cell)
            assert mine == (cell[0] == state[1])
            assert standing(relay.forward) == after


def test_cgo_relay_originates() -> None:
    for state, command, payload, (after, cell) in published("cgo.json")["relay_originate"]:
        relay = relay_at(state)
        assert relay.originate(command[0], payload) == tuple(cell)
        assert standing(relay.backward) == after


def test_cgo_client_originates() -> None:
    for states, hop, command, payload, (after, cell) in published("cgo.json")["client_originate"]:
        client = ClientLayers(POLYVAL)
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
