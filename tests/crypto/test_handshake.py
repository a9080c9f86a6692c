"""hs3h: both sides agree, and every byte of both flights counts (SPEC 4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from onionshh import geometry as g
from onionshh.crypto import handshake
from onionshh.crypto.handshake import (
    CIRCUIT,
    HS3H,
    LINK,
    ClientHandshake,
    Finished,
    Responded,
    Suite,
    respond,
)
from onionshh.crypto.primitives import KeyPair
from onionshh.errors import CryptoError
from onionshh.reasons import Reason
from tests.crypto.test_primitives import SMALL_ORDER
from tests.seeded import seeded

ID = b"relay identity, 32 bytes of it.."
PAIR = KeyPair.from_private(bytes(range(32)))
PREVIOUS = KeyPair.from_private(bytes(range(1, 33)))
CM, SM, STREAM = b"client message..", b"server message, longer", 192


def ask(**changes: Any) -> ClientHandshake:
    options: dict[str, Any] = {
        "server_id": ID,
        "server_key": PAIR.public,
        "ver": CIRCUIT,
        "client_message": CM,
        "random_bytes": seeded(1),
    }
    return ClientHandshake(**(options | changes))


def answer(message: bytes, **changes: Any) -> Responded:
    options: dict[str, Any] = {
        "server_id": ID,
        "keys": [PAIR, PREVIOUS],
        "ver": CIRCUIT,
        "client_message_bytes": len(CM),
        "server_message": SM,
        "keystream_bytes": STREAM,
        "random_bytes": seeded(2),
    }
    return respond(message, **(options | changes))


def finish(client: ClientHandshake, reply: bytes) -> Finished:
    return client.finish(reply, server_message_bytes=len(SM), keystream_bytes=STREAM)


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]


@pytest.mark.parametrize("suite", [HS3H, Suite(b"test", kem=False)], ids=["hs3h", "ntor3"])
@pytest.mark.parametrize("pair", [PAIR, PREVIOUS], ids=["current", "previous"])
def test_both_sides_agree(suite: Suite, pair: KeyPair) -> None:
    client = ask(server_key=pair.public, suite=suite)
    responded = answer(client.message, suite=suite)
    finished = finish(client, responded.reply)
    assert responded.client_message == CM
    assert finished.server_message == SM
    assert finished.keystream == responded.keystream
    assert len(finished.keystream) == STREAM


def test_sizes_are_the_geometry_s() -> None:
    client = ask()
    assert len(client.message) == g.HANDSHAKE_CLIENT + len(CM)
    assert len(answer(client.message).reply) == g.HANDSHAKE_SERVER + len(SM)


def test_every_exchange_has_its_own_keys() -> None:
    client = ask()
    one, two = answer(client.message), answer(client.message)  # the KEM's randomness is the library's
    assert one.keystream != two.keystream
    assert finish(client, one.reply).keystream == one.keystream
    assert finish(client, two.reply).keystream == two.keystream


CLIENT_PLACES = [0, 31, 32, 63, 64, 95, 96, 700, 1279, 1280, 1295, 1296, 1327]
SERVER_PLACES = [0, 31, 32, 600, 1119, 1120, 1151, 1152, 1152 + len(SM) - 1]


@pytest.mark.parametrize("place", CLIENT_PLACES)
def test_every_part_of_the_client_s_flight_is_checked(place: int) -> None:
    """ID, B, X, EK, message and MAC, first and last byte of each."""
    with pytest.raises(CryptoError):
        answer(flipped(ask().message, place))


def test_an_unknown_id_or_key_is_refused_before_any_dh() -> None:
    for place in (0, 31, 32, 63):
        with pytest.raises(CryptoError) as caught:
            answer(flipped(ask().message, place))
        assert caught.value.reason == Reason.HANDSHAKE_UNKNOWN_KEY


@pytest.mark.parametrize("place", SERVER_PLACES)
def test_every_part_of_the_server_s_flight_is_checked(place: int) -> None:
    """Y, CT (a wrong one decapsulates to another secret, so AUTH fails), AUTH and message."""
    client = ask()
    reply = answer(client.message).reply
    with pytest.raises(CryptoError) as caught:
        finish(client, flipped(reply, place))
    assert caught.value.reason == Reason.HANDSHAKE_AUTH
    assert finish(client, reply).server_message == SM


def test_no_kem_work_before_the_mac_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong EK under a MAC that does not cover it: refused for the MAC, the KEM never called."""

    asked: list[bytes] = []

    class Noting:
        @staticmethod
        def from_public_bytes(kem_key: bytes) -> object:
            asked.append(kem_key)
            raise LookupError

    monkeypatch.setattr(handshake, "MLKEM768PublicKey", Noting)
    with pytest.raises(CryptoError):
        answer(flipped(ask().message, 500))
    assert asked == []
    with pytest.raises(CryptoError):
        answer(ask().message)
    assert len(asked) == 1


class OutOfRange:
    """An attacker's KEM: all bits of its key set, which is no polynomial mod 3 329."""

    @classmethod
    def from_seed_bytes(cls, seed: bytes) -> OutOfRange:
        return cls()

    def public_key(self) -> OutOfRange:
        return self

    def public_bytes_raw(self) -> bytes:
        return b"\xff" * g.KEM_KEY


def test_an_encapsulation_key_out_of_range_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The MAC is right, as an attacker could make it."""
    monkeypatch.setattr(handshake, "MLKEM768PrivateKey", OutOfRange)
    message = ask().message
    assert b"\xff" * g.KEM_KEY in message
    with pytest.raises(CryptoError) as caught:
        answer(message)
    assert caught.value.reason == Reason.HANDSHAKE_KEM_KEY


@pytest.mark.parametrize(
    "changes",
    [
        {"ver": LINK},
        {"ver": handshake.rendezvous(bytes(32))},
        {"server_id": bytes(32)},
        {"keys": [PREVIOUS]},
        {"keys": []},
        {"suite": replace(HS3H, protoid=b"another")},
        {"suite": replace(HS3H, kem=False)},
        {"client_message_bytes": len(CM) - 1},
        {"client_message_bytes": 0},
    ],
    ids=str,
)
def test_a_server_that_is_asked_for_something_else_refuses(changes: dict[str, Any]) -> None:
    with pytest.raises(CryptoError):
        answer(ask().message, **changes)


def test_rendezvous_is_bound_to_the_subcredential() -> None:
    one, two = handshake.rendezvous(b"1" * 32), handshake.rendezvous(b"2" * 32)
    client = ask(ver=one)
    assert finish(client, answer(client.message, ver=one).reply).server_message == SM
    with pytest.raises(CryptoError):
        answer(client.message, ver=two)


def test_the_wrong_private_key_cannot_answer() -> None:
    """Who knows B but not b: the MAC already fails, and a forged reply fails AUTH."""
    client = ask()
    thief = KeyPair(PREVIOUS.private, PAIR.public)
    with pytest.raises(CryptoError):
        answer(client.message, keys=[thief])


@pytest.mark.parametrize("point", SMALL_ORDER, ids=lambda point: point.hex()[:8])
def test_small_order_points_are_refused_on_every_side(point: bytes) -> None:
    with pytest.raises(CryptoError):
        ask(server_key=point)
    client = ask()
    with pytest.raises(CryptoError):
        answer(client.message[:64] + point + client.message[96:])
    with pytest.raises(CryptoError):
        finish(client, point + answer(client.message).reply[32:])


@pytest.mark.parametrize("change", [-1, 1, -1000], ids=str)
def test_wrong_lengths_are_refused(change: int) -> None:
    client = ask()
    reply = answer(client.message).reply
    with pytest.raises(CryptoError):
        answer((client.message + bytes(1))[: len(client.message) + change])
    with pytest.raises(CryptoError):
        finish(client, (reply + bytes(1))[: len(reply) + change])
    with pytest.raises(CryptoError):
        ask(server_key=bytes([9]) * (32 + max(change, -32)))


def test_no_secret_in_repr() -> None:
    client = ask()
    responded = answer(client.message)
    finished = finish(client, responded.reply)
    assert repr(client) == "ClientHandshake()"
    for thing in (responded, finished):
        assert repr(responded.keystream)[2:-1] not in repr(thing)
