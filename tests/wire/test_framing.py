from __future__ import annotations

import pytest

from onionshh.errors import ProtocolError
from onionshh.geometry import BODY, CIRCUIT_CLIENT, CIRCUIT_SERVER, CREATE_CELLS, DATA, PAYLOAD
from onionshh.reasons import Reason
from onionshh.wire.framing import HandshakeParts, build_payload, parse_head, split_handshake
from onionshh.wire.messages import CONTINUE, PUBLISH
from tests.seeded import seeded


def test_a_payload_is_head_data_and_randomness() -> None:
    random = seeded(1)
    body = bytes(range(200))
    payload = build_payload(PUBLISH, body, 0, random)
    assert payload[:4] == bytes((PUBLISH, 0, 0, 200))
    assert payload[4:204] == body
    assert payload[204:] == seeded(1)(DATA - 200)
    assert len(payload) == PAYLOAD


def test_a_full_payload_draws_no_randomness() -> None:
    def none(count: int) -> bytes:
        raise LookupError

    head = bytes((PUBLISH, 0)) + DATA.to_bytes(2, "big")
    assert build_payload(PUBLISH, bytes(DATA), 0, none) == head + bytes(DATA)


def test_further_cells_continue() -> None:
    body = seeded(2)(2 * DATA + 7)
    heads = [parse_head(build_payload(PUBLISH, body, at, seeded(1))) for at in range(0, len(body), DATA)]
    assert heads == [(PUBLISH, 2 * DATA + 7), (CONTINUE, DATA + 7), (CONTINUE, 7)]


def test_a_head_carries_24_bits() -> None:
    assert parse_head(b"\xff" * 4) == (255, (1 << 24) - 1)


@pytest.mark.parametrize("size", [CIRCUIT_CLIENT, CIRCUIT_SERVER, 0])
def test_a_handshake_goes_in_three_bodies_and_comes_back(size: int) -> None:
    handshake = seeded(3)(size)
    bodies = split_handshake(handshake, seeded(4))
    assert [len(body) for body in bodies] == [BODY] * CREATE_CELLS
    assert b"".join(bodies)[2 + size :] == seeded(4)(3 * BODY - 2 - size)
    parts = HandshakeParts(size, 0.0)
    assert [parts.add(body, first=not at) for at, body in enumerate(bodies)] == [None, None, handshake]


@pytest.mark.parametrize(
    "order",
    [(False,), (True, True), (True, False, True), (True, False, False, False), (True, False, False, True)],
)
def test_parts_out_of_order(order: tuple[bool, ...]) -> None:
    parts = HandshakeParts(9, 0.0)
    bodies = split_handshake(bytes(9), seeded(1))
    *good, wrong = order
    for at, first in enumerate(good):
        parts.add(bodies[at], first=first)
    with pytest.raises(ProtocolError, match=Reason.CREATE_ORDER):
        parts.add(bodies[0], first=wrong)


@pytest.mark.parametrize("said", [8, 10, 0, 65535])
def test_a_handshake_of_another_size(said: int) -> None:
    parts = HandshakeParts(9, 0.0)
    first, second, third = split_handshake(bytes(9), seeded(1))
    parts.add(said.to_bytes(2, "big") + first[2:], first=True)
    parts.add(second, first=False)
    with pytest.raises(ProtocolError, match=Reason.CREATE_SIZE):
        parts.add(third, first=False)
