from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from onionshh import geometry as g
from onionshh.core.base.params import Params
from onionshh.core.roles import Origin
from onionshh.crypto.identity import SigningKey
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.relay.control import REPLIES_WAITING_MOST
from onionshh.relay.limits import ECHOES, SETUP_ECHOES
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


def resumption(key: SigningKey, number: int = 0) -> bytes:
    tag = number.to_bytes(g.SESSION_TAG, "big")
    return m.Resume(key.public, tag, bytes(g.RESUME_SALT), bytes(g.RESUME_SEALED)).encode()


MAKE = {m.INTRODUCE_NEW: introduction, m.INTRODUCE_RESUME: resumption}
NUMBERS = {m.INTRODUCE_NEW: (16, 200), m.INTRODUCE_RESUME: (64, 400)}
"""By kind: how many wait, and the burst."""
BUSY = {m.INTRODUCE_NEW: Reason.INTRODUCE_BUSY, m.INTRODUCE_RESUME: Reason.RESUME_BUSY}
RATE = {m.INTRODUCE_NEW: Reason.INTRODUCE_RATE, m.INTRODUCE_RESUME: Reason.RESUME_RATE}
each_kind = pytest.mark.parametrize("kind", MAKE, ids=["introduce", "resume"])


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


@each_kind
def test_both_kinds_go_over_unread_and_the_visitor_gets_a_status(kind: int) -> None:
    relay, _ = make()
    endpoint, other = hosted(relay), hosted(relay, OTHER_KEY)
    assert introduce(relay, MAKE[kind](KEY)) == m.OK
    assert endpoint.got[1:] == [(m.INTRODUCE2, MAKE[kind](KEY))]
    assert other.got[1:] == []


@each_kind
def test_an_unknown_key_is_said_to_be_unknown(kind: int) -> None:
    relay, _ = make()
    hosted(relay)
    assert introduce(relay, MAKE[kind](OTHER_KEY)) == m.NO_SUCH_KEY


@pytest.mark.parametrize("kind", [0, 2, 3, 255])
def test_a_kind_that_does_not_belong_to_its_length_ends_the_circuit(kind: int) -> None:
    relay, _ = make()
    endpoint = hosted(relay)
    for good, whole in MAKE.items():
        body = bytearray(whole(KEY))
        body[g.KEY] = kind if kind != good else m.INTRODUCE_NEW
        visitor = relay.circuit()
        assert relay.send(visitor, m.INTRODUCE1, bytes(body)) == []
        assert visitor.ended_for == Reason.INTRODUCE_KIND
    assert len(endpoint.got) == 1


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
    assert role.statistics() == {"introduction_keys": 1, "introductions_waiting": 0}


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


@each_kind
def test_a_circuit_is_an_endpoint_s_or_a_visitor_s(kind: int) -> None:
    relay, _ = make()
    endpoint = hosted(relay)
    relay.send(endpoint, m.INTRODUCE1, MAKE[kind](OTHER_KEY))
    assert endpoint.ended_for == Reason.INTRO_SECOND_USE
    visitor = relay.circuit()
    assert introduce(relay, MAKE[kind](KEY), visitor) == m.NO_SUCH_KEY
    relay.send(visitor, m.ESTABLISH_INTRO, establish(KEY, visitor))
    assert visitor.ended_for == Reason.INTRO_SECOND_USE


@each_kind
def test_a_visitor_s_circuit_carries_the_same_bytes_twice_and_nothing_else(kind: int) -> None:
    relay, _ = make()
    endpoint, body = hosted(relay), MAKE[kind](KEY, 1)
    visitor = relay.circuit()
    assert introduce(relay, body, visitor) == m.OK
    assert introduce(relay, body, visitor) == m.OK
    assert relay.send(visitor, m.INTRODUCE1, body) == []
    assert visitor.ended_for == Reason.INTRODUCE_TOO_MANY
    for other in MAKE.values():
        visitor = relay.circuit()
        assert introduce(relay, body, visitor) == m.OK
        assert relay.send(visitor, m.INTRODUCE1, other(KEY, 2)) == []
        assert visitor.ended_for == Reason.INTRODUCE_DIFFERENT
    assert len(endpoint.got) == 1 + 4


@each_kind
def test_an_endpoint_that_does_not_keep_up_keeps_some_and_the_rest_are_told_busy(kind: int) -> None:
    relay, _ = make()
    endpoint = hosted(relay)
    endpoint.window_open = False
    most, _ = NUMBERS[kind]
    assert WAITING_MOST[kind] == most
    statuses = [introduce(relay, MAKE[kind](KEY, number)) for number in range(most + 4)]
    assert statuses == [m.OK] * most + [m.BUSY] * 4
    assert relay.drops == [BUSY[kind]] * 4
    assert len(endpoint.got) == 1 + most
    endpoint.waiting_messages -= 1
    assert introduce(relay, MAKE[kind](KEY, most + 4)) == m.OK


def test_what_may_wait_for_an_endpoint_does_not_end_its_circuit() -> None:
    """A relay ends a circuit whose client leaves too much uncollected. An endpoint may also wait for every
    echo that it may ask for, and for the answer to its ESTABLISH_INTRO."""
    assert sum(WAITING_MOST.values()) + max(ECHOES.values(), default=0) + SETUP_ECHOES + 1 < (
        REPLIES_WAITING_MOST
    )


@each_kind
def test_junk_of_one_kind_makes_no_sending_of_the_other_kind_busy(kind: int) -> None:
    """At any rate of junk: the bucket of the other kind stays full."""
    relay, _ = make()
    endpoint = hosted(relay)
    (other,) = set(MAKE) - {kind}
    _, burst = NUMBERS[kind]
    statuses = [introduce(relay, MAKE[kind](KEY, number)) for number in range(burst + 50)]
    assert statuses == [m.OK] * burst + [m.BUSY] * 50
    assert relay.drops == [RATE[kind]] * 50
    _, others = NUMBERS[other]
    assert {introduce(relay, MAKE[other](KEY, number)) for number in range(others)} == {m.OK}
    assert introduce(relay, MAKE[other](KEY, others)) == m.BUSY
    assert len(endpoint.got) == 1 + burst + others


@each_kind
def test_junk_of_one_kind_makes_no_other_kind_busy_while_the_endpoint_reads_nothing(kind: int) -> None:
    relay, _ = make()
    endpoint = hosted(relay)
    endpoint.window_open = False
    (other,) = set(MAKE) - {kind}
    most, others = NUMBERS[kind][0], NUMBERS[other][0]
    assert [introduce(relay, MAKE[kind](KEY, n)) for n in range(most + 3)] == [m.OK] * most + [m.BUSY] * 3
    assert [introduce(relay, MAKE[other](KEY, n)) for n in range(others + 3)] == [m.OK] * others + [
        m.BUSY
    ] * 3
    assert endpoint.waiting_messages == most + others
    # The junk came first and leaves first: its places become free, those of the other kind do not.
    endpoint.waiting_messages -= 5
    assert introduce(relay, MAKE[other](KEY, 100)) == m.BUSY
    assert [introduce(relay, MAKE[kind](KEY, 100 + n)) for n in range(6)] == [m.OK] * 5 + [m.BUSY]
    # Once all of the first junk has left, what waits is known to be of the other kind, and those five.
    endpoint.waiting_messages = others + 5
    assert introduce(relay, MAKE[other](KEY, 200)) == m.BUSY
    endpoint.waiting_messages = 5
    assert [introduce(relay, MAKE[other](KEY, 300 + n)) for n in range(others + 1)] == (
        [m.OK] * others + [m.BUSY]
    )
    assert introduce(relay, MAKE[kind](KEY, 300)) == m.OK


@pytest.mark.parametrize("seed", range(20))
def test_what_waits_is_counted_by_kind_whatever_the_order(seed: int) -> None:
    """A model: the queue itself. Reading goes on in steps between messages of both kinds."""
    relay, _ = make(replace(Params(), introduce_rate=0, resume_rate=0))
    endpoint, chance = hosted(relay), Random(seed)
    endpoint.window_open = False
    queue: list[int] = []
    for number in range(600):
        if queue and chance.random() < 0.3:
            gone = chance.randint(1, len(queue))
            del queue[:gone]
            endpoint.waiting_messages -= gone
        kind = chance.choices(list(MAKE), [1, 3])[0]
        room = queue.count(kind) < WAITING_MOST[kind]
        assert introduce(relay, MAKE[kind](KEY, number)) == (m.OK if room else m.BUSY)
        queue += [kind] * room
        assert endpoint.waiting_messages == len(queue)


@each_kind
def test_what_waits_for_a_circuit_that_was_replaced_counts_no_more(kind: int) -> None:
    relay, _ = make()
    first = hosted(relay)
    first.window_open = False
    most, _ = NUMBERS[kind]
    assert {introduce(relay, MAKE[kind](KEY, number)) for number in range(most)} == {m.OK}
    second = hosted(relay)
    second.window_open = False
    assert {introduce(relay, MAKE[kind](KEY, 100 + number)) for number in range(most)} == {m.OK}
    assert introduce(relay, MAKE[kind](KEY, 200)) == m.BUSY
    assert len(second.got) == 1 + most


def test_introductions_above_the_rate_of_a_key_are_told_busy() -> None:
    relay, _ = make(replace(Params(), introduce_rate=2, introduce_burst=5))
    hosted(relay)
    hosted(relay, OTHER_KEY)
    assert [introduce(relay, introduction(KEY, n)) for n in range(7)] == [m.OK] * 5 + [m.BUSY] * 2
    assert introduce(relay, introduction(OTHER_KEY)) == m.OK
    relay.now = 1.0
    assert [introduce(relay, introduction(KEY, n)) for n in range(3)] == [m.OK] * 2 + [m.BUSY]
    assert relay.drops == [Reason.INTRODUCE_RATE] * 3


@each_kind
def test_a_new_circuit_under_the_same_key_gets_no_new_burst(kind: int) -> None:
    slow = replace(Params(), introduce_rate=1, introduce_burst=1, resume_rate=1, resume_burst=1)
    relay, _ = make(slow)
    hosted(relay)
    assert introduce(relay, MAKE[kind](KEY)) == m.OK
    hosted(relay)
    assert introduce(relay, MAKE[kind](KEY)) == m.BUSY


@each_kind
def test_the_rate_can_be_off(kind: int) -> None:
    off = replace(Params(), introduce_rate=0, introduce_burst=0, resume_rate=0, resume_burst=0)
    relay, _ = make(off)
    hosted(relay)
    assert {introduce(relay, MAKE[kind](KEY, n)) for n in range(500)} == {m.OK}


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
