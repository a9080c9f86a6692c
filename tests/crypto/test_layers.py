"""Onion layers over one circuit, one to four relays, in both directions (SPEC 3, 7)."""

from __future__ import annotations

from itertools import product

import pytest

from onionshh.crypto.layers import ClientLayers, RelayLayers
from onionshh.crypto.uiv import PYTHON, Cipher
from onionshh.errors import CryptoError
from onionshh.geometry import BODY, PAYLOAD, TAG
from onionshh.wire.cell import RELAY, RELAY_EARLY
from tests.crypto.ciphers import CIPHERS
from tests.crypto.circuits import Circuit

RELAYS = (1, 2, 3, 4)
# A bit of the tag, the first and last of the payload, one in the middle.
PLACES = (0, 15, 16, 300, BODY - 1)


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]


@pytest.mark.parametrize("relays", RELAYS)
@pytest.mark.parametrize("command", [RELAY, RELAY_EARLY])
def test_every_hop_gets_its_cells_and_answers(relays: int, command: int) -> None:
    circuit = Circuit(relays)
    for _ in range(3):
        for hop in range(relays):
            payload = circuit.payload()
            body, tag = circuit.client.send(hop, command, payload)
            taken_by, arrived, relay_tag = circuit.outward(body, command)
            assert taken_by == hop
            assert arrived[TAG:] == payload
            assert relay_tag == tag

            payload = circuit.payload()
            body, expected = circuit.answer(hop, payload, command)
            assert circuit.client.receive(command, body) == (hop, payload, expected)


def _names(ciphers: Cipher | tuple[Cipher, Cipher]) -> str:
    return "-".join(one.name for one in (ciphers if isinstance(ciphers, tuple) else (ciphers,)))


@pytest.mark.parametrize("client", CIPHERS, ids=_names)
@pytest.mark.parametrize("relays", list(product(CIPHERS, repeat=2)), ids=_names)
def test_every_mixture_of_ciphers_is_one_circuit(client: Cipher, relays: tuple[Cipher, Cipher]) -> None:
    """Every cell is the same at each place, whichever cipher each node has."""
    mixed, pure = Circuit(4, client=client, relay=relays), Circuit(4, client=PYTHON, relay=(PYTHON,))
    for number in range(24):
        hop, command = number % 4, (RELAY, RELAY_EARLY)[number % 3 == 0]
        payload = mixed.payload()
        assert payload == pure.payload()
        sent = mixed.client.send(hop, command, payload)
        assert sent == pure.client.send(hop, command, payload)
        assert mixed.outward(sent[0], command) == pure.outward(sent[0], command)
        answer = mixed.answer(hop, payload, command)
        assert answer == pure.answer(hop, payload, command)
        assert mixed.client.receive(command, answer[0]) == pure.client.receive(command, answer[0])


@pytest.mark.parametrize("relays", RELAYS)
def test_the_two_directions_do_not_wait_for_each_other(relays: int) -> None:
    circuit = Circuit(relays)
    last = relays - 1
    sent = [(payload := circuit.payload(), circuit.client.send(last, RELAY, payload)[0]) for _ in range(20)]
    answers = [(payload := circuit.payload(), circuit.answer(last, payload)[0]) for _ in range(20)]
    assert [circuit.client.receive(RELAY, body)[1] for _, body in answers] == [p for p, _ in answers]
    assert [circuit.outward(body)[1][TAG:] for _, body in sent] == [p for p, _ in sent]


def test_the_acknowledged_tag_is_not_the_chain_which_can_be_foreseen() -> None:
    """An outbound tag is what reaches the layer, never T: that equals N, known before the cell (SPEC 7)."""
    circuit = Circuit(2)
    foreseen = circuit.relays[1].forward.nonce
    body, tag = circuit.client.send(1, RELAY, circuit.payload())
    assert circuit.outward(body)[2] == tag != foreseen


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("relays", RELAYS)
def test_a_flipped_bit_outward_is_noise_for_every_relay_for_good(relays: int, place: int) -> None:
    circuit = Circuit(relays)
    last = relays - 1
    payload = circuit.payload()
    body, _ = circuit.client.send(last, RELAY, payload)
    taken_by, noise, _ = circuit.outward(flipped(body, place))
    assert taken_by is None
    # Nothing of the payload shines through anywhere: about half of all bits differ.
    differing = (int.from_bytes(noise[TAG:]) ^ int.from_bytes(payload)).bit_count()
    assert PAYLOAD * 3 < differing < PAYLOAD * 5
    for _ in range(3):
        body, _ = circuit.client.send(last, RELAY, circuit.payload())
        assert circuit.outward(body)[0] is None


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("relays", RELAYS)
def test_a_flipped_bit_inward_kills_the_circuit_for_good(relays: int, place: int) -> None:
    circuit = Circuit(relays)
    body, _ = circuit.answer(relays - 1, circuit.payload())
    good, _ = circuit.answer(relays - 1, circuit.payload())
    with pytest.raises(CryptoError):
        circuit.client.receive(RELAY, flipped(body, place))
    for cell in (body, good):
        with pytest.raises(CryptoError):
            circuit.client.receive(RELAY, cell)
    with pytest.raises(CryptoError):
        circuit.client.send(0, RELAY, circuit.payload())


@pytest.mark.parametrize("relays", RELAYS)
def test_the_command_byte_is_authenticated(relays: int) -> None:
    circuit = Circuit(relays)
    body, _ = circuit.client.send(relays - 1, RELAY, circuit.payload())
    assert circuit.outward(body, RELAY_EARLY)[0] is None
    body, _ = circuit.answer(relays - 1, circuit.payload())
    with pytest.raises(CryptoError):
        circuit.client.receive(RELAY_EARLY, body)


@pytest.mark.parametrize("trick", ["dropped", "doubled", "swapped"])
def test_cells_come_once_and_in_order(trick: str) -> None:
    circuit = Circuit(3)
    one, two = (circuit.answer(2, circuit.payload())[0] for _ in range(2))
    order = {"dropped": [two], "doubled": [one, one], "swapped": [two, one]}[trick]
    for body in order[:-1]:
        if body is one:
            circuit.client.receive(RELAY, body)
            continue
        with pytest.raises(CryptoError):
            circuit.client.receive(RELAY, body)
    with pytest.raises(CryptoError):
        circuit.client.receive(RELAY, order[-1])


def test_one_hop_cannot_speak_for_another() -> None:
    """A cell that the middle relay makes up under its own layer never counts as the last one's."""
    circuit = Circuit(3)
    payload = circuit.payload()
    body, _ = circuit.answer(1, payload)
    assert circuit.client.receive(RELAY, body)[0] == 1


def test_resting_relays_lose_nothing() -> None:
    awake, resting = Circuit(3), Circuit(3)
    for turn in range(6):
        payload = awake.payload()
        assert payload == resting.payload()
        for relay in resting.relays:
            relay.rest()
        body, _ = awake.client.send(turn % 3, RELAY, payload)
        assert resting.client.send(turn % 3, RELAY, payload)[0] == body
        assert awake.outward(body) == resting.outward(body)
        for relay in resting.relays:
            relay.rest()
        assert awake.answer(turn % 3, payload) == resting.answer(turn % 3, payload)


def test_rest_drops_every_context() -> None:
    circuit = Circuit(1)
    relay = circuit.relays[0]
    circuit.outward(circuit.client.send(0, RELAY, circuit.payload())[0])
    relay.outbound(RELAY, bytes(TAG), circuit.payload())
    relay.inbound(RELAY, bytes(TAG), bytes(PAYLOAD))
    relay.rest()
    assert relay.forward.at_rest
    assert relay.backward.at_rest


def test_keys_move_on_only_for_cells_of_ones_own() -> None:
    circuit = Circuit(2)
    first, last = circuit.relays
    before = first.forward.keys, first.backward.keys
    old = last.forward.keys, last.backward.keys
    circuit.outward(circuit.client.send(1, RELAY, circuit.payload())[0])
    circuit.answer(1, circuit.payload())
    assert (first.forward.keys, first.backward.keys) == before
    assert last.forward.keys != old[0]
    assert last.backward.keys != old[1]


def test_wrong_lengths() -> None:
    with pytest.raises(ValueError, match="80 bytes"):
        RelayLayers(bytes(79), bytes(80))
    circuit = Circuit(1)
    with pytest.raises(ValueError, match="493 bytes"):
        circuit.client.send(0, RELAY, bytes(PAYLOAD - 1))
    with pytest.raises(ValueError, match="493 bytes"):
        circuit.relays[0].originate(RELAY, bytes(PAYLOAD + 1))
    with pytest.raises(ValueError, match="no hop 1"):
        circuit.client.send(1, RELAY, bytes(PAYLOAD))
    with pytest.raises(ValueError, match="no hop -1"):
        circuit.client.send(-1, RELAY, bytes(PAYLOAD))
    with pytest.raises(CryptoError):
        circuit.client.receive(RELAY, bytes(BODY - 1))


def test_no_hops_at_all_know_no_cell() -> None:
    with pytest.raises(CryptoError):
        ClientLayers().receive(RELAY, bytes(BODY))


def test_no_secret_in_repr() -> None:
    circuit = Circuit(2)
    for thing in (circuit.client, circuit.relays[0], circuit.client.hops[0]):
        assert all(word not in repr(thing) for word in ("\\x", "b'", 'b"'))
