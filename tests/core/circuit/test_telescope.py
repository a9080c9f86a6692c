"""How a circuit grows: one handshake at a time, and what each side has after it."""

from __future__ import annotations

import pytest

from onionshh.core.circuit.telescope import Telescope
from onionshh.crypto.handshake import CIRCUIT, Responded, respond
from onionshh.crypto.primitives import KeyPair
from onionshh.errors import ProtocolError
from onionshh.geometry import BINDING, CIRCUIT_KEYSTREAM, CIRCUIT_MESSAGE, LAYER_STATE
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.wire.framing import split_handshake
from tests.seeded import seeded

IDS = [RelayId(bytes((number,)) * 32) for number in range(2)]
KEYS = [KeyPair.generate(seeded(number)) for number in range(2)]


def answer(number: int, message: bytes) -> Responded:
    return respond(
        message,
        server_id=IDS[number],
        keys=[KEYS[number]],
        ver=CIRCUIT,
        client_message_bytes=CIRCUIT_MESSAGE,
        server_message=bytes(CIRCUIT_MESSAGE),
        keystream_bytes=CIRCUIT_KEYSTREAM,
        random_bytes=seeded(number + 70),
    )


def test_each_relay_learns_the_class_and_shares_its_layer_with_us() -> None:
    telescope = Telescope(7, seeded(1), 0.0)
    for number, relay in enumerate(IDS):
        growing = [telescope.growing]
        there = answer(number, telescope.begin(relay, KEYS[number].public))
        growing.append(telescope.growing)
        assert there.client_message == bytes((7,)) + bytes(CIRCUIT_MESSAGE - 1)
        keys = there.keystream
        layer = (keys[:LAYER_STATE], keys[LAYER_STATE : 2 * LAYER_STATE])
        assert telescope.finish(there.reply) == (relay, *layer)
        assert [*growing, telescope.growing] == [False, True, False]
        assert telescope.binding == keys[-BINDING:]
        assert telescope.relays == IDS[: number + 1]


def test_the_first_relay_s_answer_comes_in_parts_and_once() -> None:
    telescope = Telescope(1, seeded(1), 0.0)
    reply = answer(0, telescope.begin(IDS[0], KEYS[0].public)).reply
    parts = split_handshake(reply, seeded(2))
    wholes = [telescope.created_part(part, first=not at) for at, part in enumerate(parts)]
    assert wholes == [None] * (len(parts) - 1) + [reply]
    telescope.finish(reply)
    with pytest.raises(ProtocolError, match=Reason.CREATED_NOT_DUE):
        telescope.created_part(parts[0], first=True)


def test_nothing_is_taken_that_was_not_asked_for() -> None:
    telescope = Telescope(1, seeded(1), 0.0)
    with pytest.raises(ProtocolError, match=Reason.CREATED_NOT_DUE):
        telescope.created_part(bytes(509), first=True)
    with pytest.raises(ProtocolError, match=Reason.EXTENDED_NOT_DUE):
        telescope.finish(b"")
    telescope.begin(IDS[0], KEYS[0].public)
    with pytest.raises(ProtocolError, match=Reason.CREATE_SIZE):
        telescope.finish(b"")
    assert telescope.relays == []
