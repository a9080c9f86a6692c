"""An introducer whose endpoint wants proofs of work: who is let in, who is told to be busy, and what the
endpoint hears of it (SPEC 15)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onionshh import geometry as g
from onionshh.core.base.params import Params
from onionshh.crypto.identity import SigningKey
from onionshh.ids import AuthKey
from onionshh.reasons import Reason
from onionshh.rendezvous import introducer as introducer_module
from onionshh.rendezvous.introducer import GATES_MOST, LOAD_SECONDS, PROOF_BURST, PROOF_SECONDS, Introducer
from onionshh.rendezvous.toll_gate import WAITING_MOST, WAITING_SECONDS
from onionshh.wire import messages as m
from tests.rendezvous.circuits import Circuit, Relay
from tests.rendezvous.test_introducer import (
    KEY,
    OTHER_KEY,
    establish,
    hosted,
    introduce,
    introduction,
    make,
    resumption,
)
from tests.rendezvous.test_toll_gate import WALL, WANTED, paid
from tests.seeded import seeded

SCARCE = replace(Params(), introduce_rate=1, introduce_burst=2)
NOTHING = m.IntroProof(bytes(g.SEED), 0, 0)


def entry(number: int = 0, effort: int = 2, key: SigningKey = KEY) -> bytes:
    """An introduction that proves this effort."""
    return paid(number, effort, key=AuthKey(key.public)).encode()


def wants(relay: Relay, endpoint: Circuit, proof: m.IntroProof = WANTED) -> None:
    assert relay.send(endpoint, m.INTRO_PROOF, proof.encode()) == []
    assert not endpoint.ended_for


def gated(params: Params = SCARCE) -> tuple[Relay, Introducer, Circuit]:
    """A relay with an endpoint that wants proofs, and all of whose tokens are spent."""
    relay, role = make(params)
    relay.wall = WALL
    endpoint = hosted(relay)
    for number in range(params.introduce_burst):
        assert introduce(relay, introduction(KEY, 900 + number)) == m.OK
    endpoint.got.clear()
    wants(relay, endpoint)
    return relay, role, endpoint


def comes(relay: Relay, number: int, effort: int = 2, visitor: Circuit | None = None) -> Circuit:
    """A visitor that waits at the gate."""
    visitor = visitor or relay.circuit()
    assert relay.send(visitor, m.INTRODUCE1, entry(number, effort)) == []
    return visitor


def status(visitor: Circuit) -> int | None:
    """What the visitor was told last. None: nothing."""
    return m.status_untrusted(visitor.got[-1][1]) if visitor.got else None


def passed_on(endpoint: Circuit) -> list[bytes]:
    return [body for kind, body in endpoint.got if kind == m.INTRODUCE2]


def loads(endpoint: Circuit) -> list[tuple[int, int]]:
    said = [m.IntroLoad.decode_untrusted(body) for kind, body in endpoint.got if kind == m.INTRO_LOAD]
    return [(load.turned_away, load.paid) for load in said]


def later(relay: Relay, seconds: float) -> None:
    relay.now += seconds
    relay.tick()


def test_those_at_the_gates_are_counted() -> None:
    relay, role, _ = gated()
    for number in range(3):
        comes(relay, number)
    assert role.statistics() == {"introduction_keys": 1, "introductions_waiting": 3}


# What the endpoint wants.


def test_only_an_endpoint_says_what_strangers_must_prove() -> None:
    relay, _ = make()
    hosted(relay)
    visitor, stranger = relay.circuit(), relay.circuit()
    assert introduce(relay, introduction(KEY), visitor) == m.OK
    for circuit in (visitor, stranger):
        assert relay.send(circuit, m.INTRO_PROOF, WANTED.encode()) == []
        assert circuit.ended_for == Reason.INTRO_PROOF_RATE
    assert introduce(relay, introduction(KEY, 1)) == m.OK, "nothing is wanted"


def test_an_endpoint_may_not_change_it_too_often_also_over_another_circuit() -> None:
    relay, role = make()
    first = hosted(relay)
    for _ in range(PROOF_BURST):
        wants(relay, first)
    relay.now += PROOF_SECONDS
    wants(relay, first)
    second = hosted(relay)
    assert relay.send(second, m.INTRO_PROOF, WANTED.encode()) == []
    assert second.ended_for == Reason.INTRO_PROOF_RATE
    assert role.established == 0


@pytest.mark.parametrize("size", [0, g.INTRO_PROOF - 1, g.INTRO_PROOF + 1, g.INTRO_LOAD])
def test_what_is_wanted_has_one_size(size: int) -> None:
    relay, _ = make()
    endpoint = hosted(relay)
    assert relay.send(endpoint, m.INTRO_PROOF, bytes(size)) == []
    assert endpoint.ended_for == Reason.MESSAGE_SIZE


def test_an_endpoint_does_not_say_what_an_introducer_says() -> None:
    relay, role = make()
    assert m.INTRO_LOAD not in role.accepts
    endpoint = hosted(relay)
    assert relay.send(endpoint, m.INTRO_LOAD, m.IntroLoad(1, 0).encode()) == []
    assert endpoint.ended_for == Reason.MESSAGE_TYPE


# Who is let in.


def test_who_has_paid_is_let_in_at_once_while_there_is_room() -> None:
    relay, role = make()
    relay.wall = WALL
    endpoint = hosted(relay)
    wants(relay, endpoint)
    visitor = relay.circuit()
    assert relay.send(visitor, m.INTRODUCE1, entry()) == [(m.INTRODUCE_ACK, bytes((m.OK,)))]
    assert passed_on(endpoint) == [entry()]
    relay.tick()
    assert not role.is_due_soon
    assert loads(endpoint) == []


@pytest.mark.parametrize("body", [introduction(KEY), entry(effort=1)], ids=["nothing", "less"])
def test_who_has_not_paid_is_turned_away_and_takes_no_room(body: bytes) -> None:
    relay, role = make(SCARCE)
    relay.wall = WALL
    endpoint = hosted(relay)
    wants(relay, endpoint)
    for _ in range(20):
        assert introduce(relay, body) == m.BUSY
    assert relay.drops == [Reason.INTRODUCE_UNPAID] * 20
    assert not role.is_due_soon
    assert [introduce(relay, entry(number)) for number in range(2)] == [m.OK] * 2
    assert passed_on(endpoint) == [entry(0), entry(1)]


def test_where_there_is_no_room_the_highest_effort_goes_first() -> None:
    relay, role, endpoint = gated()
    visitors = {effort: comes(relay, effort, effort) for effort in (2, 5, 3, 9, 4)}
    assert role.is_due_soon
    assert passed_on(endpoint) == []
    for effort in (9, 5, 4, 3, 2):
        assert status(visitors[effort]) is None
        later(relay, 1)
        assert status(visitors[effort]) == m.OK
        assert passed_on(endpoint)[-1] == entry(effort, effort)
    assert len(passed_on(endpoint)) == 5
    relay.tick()
    assert (role.is_due_soon, loads(endpoint)) == (False, []), "nobody was turned away"


def test_when_too_many_wait_the_one_that_proved_least_is_told_busy() -> None:
    relay, _, endpoint = gated()
    waiting = [comes(relay, number, 3) for number in range(WAITING_MOST)]
    assert introduce(relay, entry(100, 2)) == m.BUSY
    dear = comes(relay, 101, 9)
    assert [status(one) for one in waiting] == [None] * (WAITING_MOST - 1) + [m.BUSY]
    assert relay.drops == [Reason.INTRODUCE_OUTBID] * 2
    later(relay, 1)
    assert status(dear) == m.OK
    assert loads(endpoint) == [(2, 2)]


def test_who_waits_for_eight_seconds_is_told_busy_and_may_come_again() -> None:
    relay, role, endpoint = gated(replace(SCARCE, introduce_burst=0))
    visitor = comes(relay, 1)
    later(relay, WAITING_SECONDS - 0.1)
    assert status(visitor) is None
    later(relay, 0.1)
    assert status(visitor) == m.BUSY
    assert relay.drops == [Reason.INTRODUCE_OUTBID]
    assert loads(endpoint) == [(1, 1)]
    assert not role.is_due_soon
    again = comes(relay, 1, visitor=visitor)
    assert len(again.got) == 1
    assert role.is_due_soon


def test_the_same_introduction_is_let_in_once_and_copies_do_not_fill_the_gate() -> None:
    relay, _, endpoint = gated()
    first = comes(relay, 1)
    copies = [introduce(relay, entry(1)) for _ in range(2 * WAITING_MOST)]
    assert copies == [m.BUSY] * 2 * WAITING_MOST
    assert relay.drops == [Reason.INTRODUCE_UNPAID] * 2 * WAITING_MOST
    others = [comes(relay, 10 + number) for number in range(WAITING_MOST - 1)]
    later(relay, 1)
    assert status(first) == m.OK
    assert introduce(relay, entry(1)) == m.BUSY
    assert passed_on(endpoint) == [entry(1)]
    assert [status(one) for one in others] == [None] * (WAITING_MOST - 1)


def test_the_same_introduction_is_let_in_once_also_after_the_endpoint_came_back() -> None:
    """Over a new circuit, and also if the old one ended before."""
    relay, role = make(replace(Params(), introduce_rate=0))
    relay.wall = WALL
    for ends_first in (False, True):
        endpoint = hosted(relay)
        wants(relay, endpoint)
        assert introduce(relay, entry(ends_first)) == m.OK
        if ends_first:
            relay.end(endpoint)
            assert role.established == 0
        back = hosted(relay)
        wants(relay, back)
        assert {introduce(relay, entry(number)) for number in range(ends_first + 1)} == {m.BUSY}
        assert passed_on(back) == []


def test_what_is_known_of_a_seed_goes_when_the_seed_is_over() -> None:
    relay, role = make(replace(Params(), introduce_rate=0))
    relay.wall = WALL
    wants(relay, hosted(relay))
    assert [introduce(relay, entry(number)) for number in range(3)] == [m.OK] * 3
    relay.wall = WANTED.expires - 1
    relay.tick()
    assert role.proofs_spent == 3
    relay.wall += 1
    relay.tick()
    assert role.proofs_spent == 0


def test_the_same_bytes_once_more_while_they_wait_have_one_answer() -> None:
    relay, _, endpoint = gated()
    visitor = comes(relay, 1)
    comes(relay, 1, visitor=visitor)
    later(relay, 1)
    assert visitor.got == [(m.INTRODUCE_ACK, bytes((m.OK,)))]
    assert passed_on(endpoint) == [entry(1)]
    assert relay.send(visitor, m.INTRODUCE1, entry(1)) == []
    assert visitor.ended_for == Reason.INTRODUCE_TOO_MANY


def test_a_proof_for_another_introducer_or_another_introduction_is_none() -> None:
    relay, _, endpoint = gated()
    hosted(relay, OTHER_KEY)
    strong = replace(WANTED, effort=256)
    wants(relay, endpoint, strong)
    wants(relay, endpoint, strong)
    good = paid(1, 256, key=AuthKey(KEY.public))
    for wrong in (
        replace(good, pow=paid(1, 256, key=AuthKey(OTHER_KEY.public)).pow),
        replace(good, pow=paid(2, 256, key=AuthKey(KEY.public)).pow),
    ):
        assert introduce(relay, wrong.encode()) == m.BUSY
    comes_now = relay.circuit()
    assert relay.send(comes_now, m.INTRODUCE1, good.encode()) == []
    later(relay, 1)
    assert status(comes_now) == m.OK


def test_a_seed_is_good_until_it_is_over_or_two_others_have_come() -> None:
    relay, _, endpoint = gated(replace(SCARCE, introduce_rate=0))
    others = [m.IntroProof(bytes((number,)) * 32, 2, WALL + 7200) for number in (1, 2)]
    wants(relay, endpoint, others[0])
    assert introduce(relay, entry(1)) == m.OK
    wants(relay, endpoint, others[1])
    assert introduce(relay, entry(2)) == m.BUSY
    of_second = paid(3, 2, others[1].seed, AuthKey(KEY.public)).encode()
    relay.wall = others[1].expires
    relay.send(endpoint, m.INTRO_PROOF, others[0].encode())  # nothing new
    relay.wall -= 1
    assert introduce(relay, entry(4)) == m.BUSY
    assert introduce(relay, of_second) == m.OK
    relay.wall += 1
    assert introduce(relay, introduction(KEY, 5)) == m.OK, "all seeds are over, so nothing is wanted"


def test_an_endpoint_that_comes_back_says_anew_what_it_wants() -> None:
    relay, _, _ = gated()
    back = hosted(relay, KEY)
    relay.now += 10
    assert introduce(relay, introduction(KEY, 1)) == m.OK
    wants(relay, back)
    assert introduce(relay, introduction(KEY, 2)) == m.BUSY


def test_when_nothing_is_wanted_any_more_all_who_wait_are_let_in_as_there_is_room() -> None:
    relay, role, endpoint = gated(replace(SCARCE, introduce_burst=3))
    visitors = [comes(relay, number) for number in range(5)]
    relay.now += 3
    relay.send(endpoint, m.INTRO_PROOF, NOTHING.encode())
    assert [status(one) for one in visitors] == [m.OK] * 3 + [None] * 2
    assert introduce(relay, introduction(KEY, 950)) == m.BUSY, "there is no room"
    later(relay, 2)
    assert [status(one) for one in visitors] == [m.OK] * 5
    relay.now += 1
    assert introduce(relay, introduction(KEY, 951)) == m.OK
    relay.tick()
    assert not role.is_due_soon


def test_who_waits_is_let_in_when_the_endpoint_has_taken_what_waited_for_it() -> None:
    relay, role = make()
    relay.wall = WALL
    endpoint = hosted(relay)
    wants(relay, endpoint)
    endpoint.window_open = False
    assert [introduce(relay, entry(number)) for number in range(16)] == [m.OK] * 16
    visitor = comes(relay, 16)
    later(relay, 1)
    assert status(visitor) is None
    endpoint.waiting_messages = 0
    relay.carry_out(role.circuit_ready(endpoint, relay.now))
    assert status(visitor) == m.OK
    assert passed_on(endpoint)[-1] == entry(16)


# Those who know the endpoint.


def test_resumptions_need_no_proof_and_wait_for_nobody() -> None:
    relay, _, endpoint = gated()
    for number in range(WAITING_MOST):
        comes(relay, number)
    for number in range(30):
        assert introduce(relay, resumption(KEY, number)) == m.OK
    assert passed_on(endpoint) == [resumption(KEY, number) for number in range(30)]
    assert relay.drops == []


# What the endpoint hears.


def test_the_endpoint_hears_of_its_load_once_a_minute_and_only_if_somebody_was_turned_away() -> None:
    relay, _ = make(SCARCE)
    relay.wall = WALL
    endpoint = hosted(relay)
    later(relay, 300)
    assert loads(endpoint) == []
    assert [introduce(relay, introduction(KEY, number)) for number in range(5)] == [m.OK] * 2 + [m.BUSY] * 3
    relay.tick()
    assert loads(endpoint) == [(3, 0)]
    wants(relay, endpoint)
    assert introduce(relay, introduction(KEY, 10)) == m.BUSY
    for number in range(WAITING_MOST + 1):
        relay.send(relay.circuit(), m.INTRODUCE1, entry(number))
    later(relay, LOAD_SECONDS - 0.1)
    assert loads(endpoint) == [(3, 0)]
    later(relay, 0.1)
    late = relay.drops.count(Reason.INTRODUCE_OUTBID)
    assert loads(endpoint) == [(3, 0), (1 + late, late)]
    assert late > 1
    later(relay, 300)
    assert len(loads(endpoint)) == 2


def test_resumptions_that_were_turned_away_are_no_load() -> None:
    relay, _ = make(replace(Params(), resume_rate=1, resume_burst=1))
    endpoint = hosted(relay)
    assert [introduce(relay, resumption(KEY, number)) for number in range(3)] == [m.OK] + [m.BUSY] * 2
    later(relay, LOAD_SECONDS)
    assert loads(endpoint) == []


# Circuits that close, and bounds.


def test_a_visitor_that_leaves_leaves_the_gate() -> None:
    relay, role, endpoint = gated()
    dear, cheap = comes(relay, 1, 9), comes(relay, 2, 2)
    relay.end(dear)
    later(relay, 1)
    assert status(dear) is None
    assert status(cheap) == m.OK
    assert passed_on(endpoint) == [entry(2, 2)]
    for circuit in (cheap, endpoint):
        relay.end(circuit)
    relay.now += 2
    hosted(relay)
    assert introduce(relay, entry(1, 9)) == m.OK, "it was never let in"
    assert role.established == 1


def test_when_the_endpoint_goes_all_who_wait_are_told() -> None:
    relay, role, endpoint = gated()
    visitors = [comes(relay, number) for number in range(3)]
    relay.end(endpoint)
    assert [status(one) for one in visitors] == [m.NO_SUCH_KEY] * 3
    assert not role.is_due_soon
    later(relay, WAITING_SECONDS)
    assert [len(one.got) for one in visitors] == [1] * 3
    for one in visitors:
        relay.end(one)
    assert role.circuits > 0
    assert role.established == 0


def test_who_waits_is_told_when_its_key_has_to_go_for_another() -> None:
    relay, role = make(replace(SCARCE, introduction_keys=2, introduce_burst=0))
    relay.wall = WALL
    hosted(relay, OTHER_KEY, "flood")
    endpoint = hosted(relay, KEY, "flood")
    wants(relay, endpoint)
    visitor = comes(relay, 1)
    hosted(relay, SigningKey.generate(seeded(3)), "honest")
    assert endpoint.ended_for == Reason.INTRO_DISPLACED
    assert status(visitor) == m.NO_SUCH_KEY
    assert not role.is_due_soon


def test_another_circuit_of_the_endpoint_takes_over_those_who_wait() -> None:
    relay, _, endpoint = gated()
    visitor = comes(relay, 1)
    second = hosted(relay)
    assert endpoint.ended_for == Reason.INTRO_TAKEN_OVER
    assert introduce(relay, introduction(KEY, 1)) == m.BUSY, "the same is wanted"
    later(relay, 1)
    assert status(visitor) == m.OK
    assert passed_on(second) == [entry(1)]


def test_the_gates_of_all_endpoints_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert GATES_MOST == 1024
    monkeypatch.setattr(introducer_module, "GATES_MOST", 2 * WAITING_MOST)
    relay, _ = make(replace(SCARCE, introduce_burst=0))
    relay.wall = WALL
    keys = [KEY, OTHER_KEY, SigningKey.generate(seeded(3))]
    endpoints = []
    for key in keys:
        endpoints.append(hosted(relay, key))
        wants(relay, endpoints[-1])
    for key in keys[:2]:
        for number in range(WAITING_MOST):
            assert relay.send(relay.circuit(), m.INTRODUCE1, entry(number, key=key)) == []
    # Whoever has the longest queue loses one that waits: junk at keys of one's own shuts no gate of others.
    assert relay.send(relay.circuit(), m.INTRODUCE1, entry(1, key=keys[2])) == []
    assert relay.drops == [Reason.INTRODUCE_GATES_FULL]
    relay.tick()
    assert [loads(endpoint) for endpoint in endpoints] == [[(1, 1)], [], []]
    relay.end(endpoints[0])
    assert relay.send(relay.circuit(), m.INTRODUCE1, entry(2, key=keys[2])) == []


def test_a_joined_endpoint_gets_nobody_more() -> None:
    relay, _, endpoint = gated()
    endpoint.joined = True
    assert introduce(relay, entry(1)) == m.NO_SUCH_KEY
    thief = relay.circuit()
    assert relay.send(thief, m.ESTABLISH_INTRO, establish(OTHER_KEY, endpoint)) == []
    assert thief.ended_for
