from __future__ import annotations

from dataclasses import replace

import pytest

from onionshh import geometry as g
from onionshh.core.base.params import Params
from onionshh.core.roles import Origin
from onionshh.crypto.identity import SigningKey
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.rendezvous.introducer import WAITING_MOST, Introducer
from onionshh.wire import messages as m
from tests.rendezvous.circuits import Circuit, Relay
from tests.seeded import seeded

OWN = RelayId(b"i" * 32)
KEY = SigningKey.generate(seeded(1))
OTHER_KEY = SigningKey.generate(seeded(2))


def make(params: Params | None = None) -> tuple[Relay, Introducer]:
    role = Introducer(OWN, lambda: params or Params())
    return Relay(role), role


def establish(key: SigningKey, circuit: Circuit, introducer: bytes = OWN) -> bytes:
    signature = key.sign(m.EstablishIntro.signed(circuit.binding, introducer))
    return m.EstablishIntro(key.public, signature).encode()


def introduction(key: SigningKey, number: int = 0) -> bytes:
    sealed = number.to_bytes(4, "big") * (g.INTRODUCE_SEALED // 4)
    return m.Introduce(key.public, m.INTRODUCE_NEW, 1, bytes(g.POW), sealed).encode()


def hosted(relay: Relay, key: SigningKey = KEY, origin: Origin = "192.0.2.1") -> Circuit:
    circuit = relay.circuit(origin)
    answer = relay.send(circuit, m.ESTABLISH_INTRO, establish(key, circuit))
    assert answer == [(m.INTRO_ESTABLISHED, bytes((m.OK,)))]
    return circuit


def introduce(relay: Relay, body: bytes, visitor: Circuit | None = None) -> int:
    """The status that a visitor gets."""
    visitor = visitor or relay.circuit()
    [(message_type, status)] = relay.send(visitor, m.INTRODUCE1, body)
    assert message_type == m.INTRODUCE_ACK
    return m.status_untrusted(status)


def test_an_introduction_goes_over_unread_and_the_visitor_gets_a_status() -> None:
    relay, _ = make()
    endpoint, other = hosted(relay), hosted(relay, OTHER_KEY)
    assert introduce(relay, introduction(KEY)) == m.OK
    assert endpoint.got[1:] == [(m.INTRODUCE2, introduction(KEY))]
    assert other.got[1:] == []


def test_an_unknown_key_is_said_to_be_unknown() -> None:
    relay, _ = make()
    hosted(relay)
    assert introduce(relay, introduction(OTHER_KEY)) == m.NO_SUCH_KEY


@pytest.mark.parametrize("theft", ["another circuit", "another introducer", "another key", "garbage"])
def test_a_stolen_auth_key_ends_the_circuit_and_leaves_the_owner_alone(theft: str) -> None:
    relay, _ = make()
    owner, thief = hosted(relay), relay.circuit()
    body = {
        "another circuit": establish(KEY, owner),
        "another introducer": establish(KEY, thief, b"j" * 32),
        "another key": KEY.public + establish(OTHER_KEY, thief)[g.KEY :],
        "garbage": KEY.public + bytes(64),
    }[theft]
    assert relay.send(thief, m.ESTABLISH_INTRO, body) == []
    assert thief.ended_for
    assert not owner.ended_for
    assert introduce(relay, introduction(KEY)) == m.OK
    assert owner.got[-1] == (m.INTRODUCE2, introduction(KEY))


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31), b"\xff" * 32])
def test_a_key_that_is_no_good_point_ends_the_circuit(point: bytes) -> None:
    relay, role = make()
    circuit = relay.circuit()
    # R = the point, s = 0: under a key of small order this equation may hold for any message.
    assert relay.send(circuit, m.ESTABLISH_INTRO, point + point + bytes(32)) == []
    assert circuit.ended_for
    assert role.established == 0


def test_a_later_circuit_of_the_same_endpoint_takes_over() -> None:
    relay, role = make()
    first = hosted(relay)
    second = hosted(relay)
    assert first.ended_for == Reason.INTRO_TAKEN_OVER
    assert not second.ended_for
    assert introduce(relay, introduction(KEY)) == m.OK
    assert second.got[-1][0] == m.INTRODUCE2
    assert len(first.got) == 1
    assert role.established == 1


def test_a_key_ends_with_its_circuit() -> None:
    relay, role = make()
    relay.end(hosted(relay))
    assert role.established == 0
    assert introduce(relay, introduction(KEY)) == m.NO_SUCH_KEY
    hosted(relay)


def test_one_circuit_establishes_one_key() -> None:
    relay, role = make()
    circuit = hosted(relay)
    relay.send(circuit, m.ESTABLISH_INTRO, establish(OTHER_KEY, circuit))
    assert circuit.ended_for == Reason.INTRO_SECOND_USE
    assert role.established == 0


def test_a_circuit_is_an_endpoint_s_or_a_visitor_s() -> None:
    relay, _ = make()
    endpoint = hosted(relay)
    relay.send(endpoint, m.INTRODUCE1, introduction(KEY))
    assert endpoint.ended_for == Reason.INTRO_SECOND_USE
    visitor = relay.circuit()
    assert introduce(relay, introduction(KEY), visitor) == m.NO_SUCH_KEY
    relay.send(visitor, m.ESTABLISH_INTRO, establish(KEY, visitor))
    assert visitor.ended_for == Reason.INTRO_SECOND_USE


def test_a_visitor_s_circuit_carries_the_same_bytes_twice_and_nothing_else() -> None:
    relay, _ = make()
    endpoint = hosted(relay)
    visitor = relay.circuit()
    assert introduce(relay, introduction(KEY, 1), visitor) == m.OK
    assert introduce(relay, introduction(KEY, 1), visitor) == m.OK
    assert relay.send(visitor, m.INTRODUCE1, introduction(KEY, 1)) == []
    assert visitor.ended_for == Reason.INTRODUCE_TOO_MANY
    visitor = relay.circuit()
    assert introduce(relay, introduction(KEY, 1), visitor) == m.OK
    assert relay.send(visitor, m.INTRODUCE1, introduction(KEY, 2)) == []
    assert visitor.ended_for == Reason.INTRODUCE_DIFFERENT
    assert len(endpoint.got) == 1 + 3


def test_an_endpoint_that_does_not_keep_up_keeps_sixteen_and_the_rest_are_told_busy() -> None:
    relay, _ = make()
    endpoint = hosted(relay)
    endpoint.window_open = False
    statuses = [introduce(relay, introduction(KEY, number)) for number in range(20)]
    assert statuses == [m.OK] * WAITING_MOST + [m.BUSY] * 4
    assert len(endpoint.got) == 1 + WAITING_MOST
    endpoint.waiting_messages -= 1
    assert introduce(relay, introduction(KEY, 20)) == m.OK


def test_introductions_above_the_rate_of_a_key_are_told_busy() -> None:
    relay, _ = make(replace(Params(), introduce_rate=2, introduce_burst=5))
    hosted(relay)
    hosted(relay, OTHER_KEY)
    assert [introduce(relay, introduction(KEY, n)) for n in range(7)] == [m.OK] * 5 + [m.BUSY] * 2
    assert introduce(relay, introduction(OTHER_KEY)) == m.OK
    relay.now = 1.0
    assert [introduce(relay, introduction(KEY, n)) for n in range(3)] == [m.OK] * 2 + [m.BUSY]
    assert relay.drops == [Reason.INTRODUCE_RATE] * 3


def test_a_new_circuit_under_the_same_key_gets_no_new_burst() -> None:
    relay, _ = make(replace(Params(), introduce_rate=1, introduce_burst=1))
    hosted(relay)
    assert introduce(relay, introduction(KEY)) == m.OK
    hosted(relay)
    assert introduce(relay, introduction(KEY)) == m.BUSY


def test_the_rate_can_be_off() -> None:
    relay, _ = make(replace(Params(), introduce_rate=0, introduce_burst=0))
    hosted(relay)
    assert {introduce(relay, introduction(KEY, n)) for n in range(500)} == {m.OK}


def test_no_more_keys_than_allowed_and_who_is_there_may_still_change_circuits() -> None:
    relay, role = make(replace(Params(), introduction_keys=1))
    hosted(relay)
    late = relay.circuit()
    answer = relay.send(late, m.ESTABLISH_INTRO, establish(OTHER_KEY, late))
    assert answer == [(m.INTRO_ESTABLISHED, bytes((m.BUSY,)))]
    assert introduce(relay, introduction(OTHER_KEY)) == m.NO_SUCH_KEY
    relay.end(hosted(relay))
    hosted(relay, OTHER_KEY)
    assert role.established == 1


def test_a_flood_of_keys_over_one_neighbour_keeps_no_other_out() -> None:
    relay, role = make(replace(Params(), introduction_keys=10))
    keys = [SigningKey.generate(seeded(number)) for number in range(100, 130)]
    early = hosted(relay, KEY, "honest")
    flood = [hosted(relay, key, "flood") for key in keys[:9]]
    late = relay.circuit("flood")
    answer = relay.send(late, m.ESTABLISH_INTRO, establish(keys[9], late))
    assert answer == [(m.INTRO_ESTABLISHED, bytes((m.BUSY,)))]
    for number, key in enumerate(keys[20:24]):
        hosted(relay, key, f"honest{number}")
    assert not early.ended_for
    # Who stood before stays: the youngest of the flood went.
    assert [one.ended_for for one in flood] == [""] * 5 + [Reason.INTRO_DISPLACED] * 4
    assert introduce(relay, introduction(keys[8])) == m.NO_SUCH_KEY
    assert introduce(relay, introduction(KEY)) == m.OK
    assert role.established == 10
    # Once the flood is over, its places are free for one more crowd, and for no more than that.
    for circuit in flood:
        relay.end(circuit)
    assert role.established == 5
    for key in keys[10:15]:
        hosted(relay, key, "flood")
    late = relay.circuit("flood")
    assert relay.send(late, m.ESTABLISH_INTRO, establish(keys[15], late)) == answer
    assert role.established == 10


def test_nobody_goes_for_a_key_whose_proof_does_not_hold() -> None:
    relay, _ = make(replace(Params(), introduction_keys=2))
    owners = [hosted(relay, KEY), hosted(relay, OTHER_KEY)]
    thief = relay.circuit("another")
    third = SigningKey.generate(seeded(3))
    assert relay.send(thief, m.ESTABLISH_INTRO, establish(third, owners[0])) == []
    assert thief.ended_for
    assert not any(owner.ended_for for owner in owners)


@pytest.mark.parametrize(
    "kind, size",
    [
        (kind, size + change)
        for kind, size in ((m.ESTABLISH_INTRO, g.KEY + g.SIGNATURE), (m.INTRODUCE1, g.INTRODUCE))
        for change in (-size, -1, 1, 100)
    ],
)
def test_a_body_of_the_wrong_size_ends_the_circuit(kind: int, size: int) -> None:
    relay, _ = make()
    circuit = relay.circuit()
    assert relay.send(circuit, kind, bytes(size)) == []
    assert circuit.ended_for == Reason.MESSAGE_SIZE


def test_a_joined_circuit_takes_nothing() -> None:
    relay, _ = make()
    endpoint = hosted(relay)
    endpoint.joined = True
    assert introduce(relay, introduction(KEY)) == m.NO_SUCH_KEY
    relay.send(endpoint, m.INTRODUCE1, introduction(KEY))
    assert endpoint.ended_for == Reason.MESSAGE_ON_JOINED_CIRCUIT


def test_what_is_kept_for_circuits_goes_with_them() -> None:
    relay, role = make()
    circuits = [hosted(relay)]
    for number in range(50):
        circuits.append(relay.circuit())
        introduce(relay, introduction(KEY, number), circuits[-1])
    assert role.circuits == 51
    for circuit in circuits:
        relay.end(circuit)
    relay.tick()
    assert role.established == role.circuits == 0
