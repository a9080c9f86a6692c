from __future__ import annotations

from dataclasses import replace

import pytest

from onionshh import geometry as g
from onionshh.core.base.params import Params
from onionshh.reasons import Reason
from onionshh.rendezvous.meeting import WAIT_SECONDS, Meeting
from onionshh.wire import messages as m
from tests.rendezvous.circuits import Circuit, Relay

COOKIE = b"c" * 32
SEALED = b"s" * g.RENDEZVOUS_SEALED


def make(params: Params | None = None) -> tuple[Relay, Meeting]:
    role = Meeting(lambda: params or Params())
    return Relay(role), role


def wait(relay: Relay, cookie: bytes = COOKIE, circuit: Circuit | None = None) -> tuple[Circuit, int]:
    circuit = circuit or relay.circuit()
    [(message_type, body)] = relay.send(circuit, m.ESTABLISH_RENDEZVOUS, cookie)
    assert message_type == m.RENDEZVOUS_ESTABLISHED
    return circuit, m.status_untrusted(body)


def come(relay: Relay, cookie: bytes = COOKIE) -> Circuit:
    circuit = relay.circuit()
    assert relay.send(circuit, m.RENDEZVOUS1, m.Rendezvous1(cookie, SEALED).encode()) == []
    return circuit


def test_two_circuits_that_show_the_same_cookie_become_one() -> None:
    relay, role = make()
    visitor, status = wait(relay)
    assert status == m.OK
    stranger, _ = wait(relay, b"d" * 32)
    endpoint = come(relay)
    assert visitor.got[1:] == [(m.RENDEZVOUS2, SEALED)]
    assert visitor.joined
    assert endpoint.joined
    assert not stranger.joined
    assert role.waiting == 1
    assert role.statistics() == {"cookies": 1}


def test_a_cookie_works_once() -> None:
    relay, _ = make()
    visitor, _ = wait(relay)
    come(relay)
    second = come(relay)
    assert second.ended_for == Reason.RENDEZVOUS_UNKNOWN_COOKIE
    assert len(visitor.got) == 2
    assert not visitor.ended_for


def test_an_unknown_cookie_ends_the_circuit_and_harms_nobody() -> None:
    relay, role = make()
    visitor, _ = wait(relay)
    assert come(relay, b"x" * 32).ended_for == Reason.RENDEZVOUS_UNKNOWN_COOKIE
    assert role.waiting == 1
    assert come(relay).joined
    assert visitor.joined


def test_a_waiting_cookie_is_taken_and_who_is_told_so_may_come_with_it() -> None:
    relay, _ = make()
    first, _ = wait(relay)
    second, status = wait(relay)
    assert status == m.TAKEN
    assert relay.send(second, m.RENDEZVOUS1, COOKIE + SEALED) == []
    assert first.joined
    assert second.joined
    assert first.got[-1] == (m.RENDEZVOUS2, SEALED)


def test_a_circuit_waits_under_one_cookie() -> None:
    relay, role = make()
    circuit, _ = wait(relay)
    assert relay.send(circuit, m.ESTABLISH_RENDEZVOUS, b"d" * 32) == []
    assert circuit.ended_for == Reason.RENDEZVOUS_SECOND_USE
    assert role.waiting == 0
    circuit, status = wait(relay)
    assert status == m.OK
    assert relay.send(circuit, m.ESTABLISH_RENDEZVOUS, COOKIE) == []
    assert circuit.ended_for


@pytest.mark.parametrize("cookie", [COOKIE, b"d" * 32])
def test_who_waits_cannot_meet_itself_or_another(cookie: bytes) -> None:
    relay, role = make()
    other, _ = wait(relay, b"d" * 32)
    circuit, _ = wait(relay)
    relay.send(circuit, m.RENDEZVOUS1, cookie + SEALED)
    assert circuit.ended_for == Reason.RENDEZVOUS_SECOND_USE
    assert not circuit.joined
    assert not other.joined
    assert role.waiting == 1


def test_a_cookie_is_forgotten_with_its_circuit() -> None:
    relay, role = make()
    visitor, _ = wait(relay)
    relay.end(visitor)
    assert role.waiting == 0
    assert come(relay).ended_for
    assert wait(relay)[1] == m.OK


def test_a_cookie_waits_ten_minutes_then_its_circuit_ends() -> None:
    relay, role = make()
    early, _ = wait(relay)
    relay.now = 100.0
    late, _ = wait(relay, b"d" * 32)
    relay.now = WAIT_SECONDS - 1
    relay.tick()
    assert role.waiting == 2
    relay.now = WAIT_SECONDS
    relay.tick()
    assert early.ended_for == Reason.RENDEZVOUS_EXPIRED
    assert not late.ended_for
    assert come(relay, b"d" * 32).joined


def test_a_cookie_past_its_time_is_unknown_even_before_the_tick() -> None:
    relay, _ = make()
    visitor, _ = wait(relay)
    relay.now = WAIT_SECONDS
    assert come(relay).ended_for == Reason.RENDEZVOUS_UNKNOWN_COOKIE
    assert not visitor.joined


def test_no_more_cookies_than_allowed_and_the_one_that_has_waited_longest_goes() -> None:
    relay, role = make(replace(Params(), cookies=2))
    first, _ = wait(relay, b"a" * 32)
    second, _ = wait(relay, b"b" * 32)
    third, status = wait(relay)
    assert status == m.OK
    assert first.ended_for == Reason.RENDEZVOUS_DISPLACED
    assert not second.ended_for
    assert not third.ended_for
    assert role.waiting == 2
    assert come(relay, b"a" * 32).ended_for
    assert come(relay).joined


def test_a_flood_over_one_neighbour_displaces_itself_and_nobody_else() -> None:
    relay, role = make(replace(Params(), cookies=20))
    honest = [wait(relay, b"%032d" % n, relay.circuit(f"honest{n % 2}"))[0] for n in range(4)]
    flood = [wait(relay, b"%032d" % n, relay.circuit("flood"))[0] for n in range(100, 400)]
    honest += [wait(relay, b"%032d" % n, relay.circuit(f"honest{n % 2}"))[0] for n in range(4, 10)]
    assert not any(one.ended_for for one in honest)
    assert [bool(one.ended_for) for one in flood] == [True] * 290 + [False] * 10
    assert role.waiting == 20
    assert {come(relay, b"%032d" % n).joined for n in range(10)} == {True}
    assert role.waiting == 10
    # The places of those who have met are free again, for one more crowd and for no more than that.
    again = [wait(relay, b"%032d" % n, relay.circuit("another"))[0] for n in range(500, 511)]
    assert role.waiting == 20
    assert not any(one.ended_for for one in again[1:])


@pytest.mark.parametrize(
    "kind, size",
    [
        (kind, size + change)
        for kind, size in ((m.ESTABLISH_RENDEZVOUS, g.COOKIE), (m.RENDEZVOUS1, g.RENDEZVOUS1))
        for change in (-size, -1, 1, 100)
    ],
)
def test_a_body_of_the_wrong_size_ends_the_circuit(kind: int, size: int) -> None:
    relay, role = make()
    circuit = relay.circuit()
    assert relay.send(circuit, kind, bytes(size)) == []
    assert circuit.ended_for == Reason.MESSAGE_SIZE
    assert role.waiting == 0


def test_a_joined_circuit_takes_nothing() -> None:
    relay, role = make()
    visitor, _ = wait(relay)
    endpoint = come(relay)
    for circuit in (visitor, endpoint):
        relay.send(circuit, m.ESTABLISH_RENDEZVOUS, COOKIE)
        assert circuit.ended_for == Reason.MESSAGE_ON_JOINED_CIRCUIT
    assert role.waiting == 0
