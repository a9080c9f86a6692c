"""Introductions that wait at the gate of one endpoint: what counts as paid, and who goes first (SPEC 15)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from random import Random

import pytest

from onionshh import geometry as g
from onionshh.core.endpoint.toll import SEED_HEAD, intro_task
from onionshh.core.mailbox.work import Search
from onionshh.ids import AuthKey
from onionshh.rendezvous.spent import Spent
from onionshh.rendezvous.toll_gate import (
    PROOFS_KEPT,
    SEED_MOST_SECONDS,
    WAITING_MOST,
    WAITING_SECONDS,
    TollGate,
)
from onionshh.wire.messages import INTRODUCE_NEW, Introduce, IntroProof, Paid
from tests.rendezvous.circuits import Circuit
from tests.seeded import seeded

KEY = AuthKey(b"k" * 32)
WALL = 1_790_000_000
WANTED = IntroProof(b"s" * 32, 2, WALL + 7200)


@cache
def paid(number: int = 0, effort: int = 2, seed: bytes = WANTED.seed, key: AuthKey = KEY) -> Introduce:
    """An introduction that proves this effort. Little work is enough to see what is done with it."""
    sealed = number.to_bytes(4, "big") * (g.INTRODUCE_SEALED // 4)
    search = Search(intro_task(seed, key, effort, sealed), effort, seeded(number))
    search.look(100_000)
    proof = Paid(effort, search.nonce, seed[:SEED_HEAD])
    return Introduce(key, INTRODUCE_NEW, 1, proof.encode(), sealed)


def gate(*wanted: IntroProof, spent: Spent | None = None) -> TollGate:
    made = TollGate(KEY, Spent() if spent is None else spent)
    for proof in wanted or (WANTED,):
        made.wants(proof, WALL)
    return made


def other(number: int, effort: int = 2) -> IntroProof:
    """A proof that is wanted with another seed."""
    return IntroProof(bytes((number,)) * 32, effort, WALL + 7200)


def circuit(number: int = 0) -> Circuit:
    return Circuit(number)


def test_a_gate_is_open_until_something_is_wanted_and_once_nothing_is() -> None:
    made, seen = TollGate(KEY, Spent()), []
    for effort in (0, 2, 4, 0):
        made.wants(replace(WANTED, effort=effort), WALL)
        seen.append(made.is_open(WALL))
    assert seen == [True, False, False, True]
    assert made.has_paid(paid(), WALL) == 0, "what was wanted before is not good any more"


def test_who_proves_as_much_as_is_wanted_or_more_has_paid() -> None:
    made = gate()
    assert made.has_paid(paid(), WALL) == 2
    assert made.has_paid(paid(effort=8), WALL) == 8
    assert made.has_paid(paid(effort=1), WALL) == 0


def test_what_is_no_proof_of_this_introduction_is_worth_nothing() -> None:
    """At random one nonce in several hundred is worth so much."""
    made, effort = gate(replace(WANTED, effort=256)), 256
    good = paid(effort=effort)
    assert made.has_paid(good, WALL) == effort
    unpaid = (
        replace(good, pow=bytes(g.POW)),
        replace(good, pow=b"\x02" + good.pow[1:]),
        replace(good, pow=good.pow[:-1] + b"\x01"),
        replace(good, pow=paid(3, effort).pow),
        replace(good, sealed=b"\xff" * g.INTRODUCE_SEALED),
        replace(good, auth_key=b"l" * 32),
        replace(good, pow=good.pow[:21] + b"xxxx" + good.pow[25:]),
        replace(paid(effort=effort, key=AuthKey(b"l" * 32)), auth_key=KEY),
        paid(effort=effort, seed=b"s" * 4 + b"t" * 28),
    )
    assert [made.has_paid(one, WALL) for one in unpaid] == [0] * len(unpaid)


def test_what_was_wanted_last_is_good_and_what_was_wanted_before_that_is_not() -> None:
    made = gate(WANTED, other(1))
    assert PROOFS_KEPT == 2
    assert made.has_paid(paid(), WALL) == 2
    assert made.has_paid(paid(seed=other(1).seed), WALL) == 2
    made.wants(other(2), WALL)
    assert made.has_paid(paid(), WALL) == 0
    assert made.has_paid(paid(seed=other(1).seed), WALL) == 2


def test_each_seed_wants_the_effort_that_came_with_it() -> None:
    made = gate(WANTED, other(1, effort=8))
    assert made.has_paid(paid(), WALL) == 2
    assert made.has_paid(paid(seed=other(1).seed), WALL) == 0
    assert made.has_paid(paid(seed=other(1).seed, effort=8), WALL) == 8


def test_a_seed_that_is_over_is_worth_nothing() -> None:
    made = gate()
    assert made.has_paid(paid(), WANTED.expires - 1) == 2
    assert made.has_paid(paid(), WANTED.expires) == 0
    assert not made.is_open(WALL), "the endpoint wants something all the same"


def test_the_highest_effort_goes_first_and_of_equals_who_came_first() -> None:
    made, efforts = gate(), [2, 5, 3, 5, 2, 9]
    for number, effort in enumerate(efforts):
        assert made.add(circuit(number), paid(number), effort, 0.0) is None
    order = [made.next().rank for _ in range(len(efforts))]
    assert order == [(-9, 6), (-5, 2), (-5, 4), (-3, 3), (-2, 1), (-2, 5)]
    assert len(made) == 0
    with pytest.raises(IndexError):
        made.next()


def test_what_goes_on_is_what_came() -> None:
    made, visitor = gate(), circuit()
    made.add(visitor, paid(7), 2, 0.0)
    first = made.next()
    assert first.circuit is visitor
    assert first.body == paid(7).encode()


def test_when_too_many_wait_the_least_and_latest_goes() -> None:
    made = gate()
    for number in range(WAITING_MOST):
        made.add(circuit(number), paid(number), 5, 0.0)
    dear, cheap, same = circuit(101), circuit(102), circuit(103)
    gone = made.add(dear, paid(101), 9, 0.0)
    assert gone is not None
    assert gone.body == paid(WAITING_MOST - 1).encode()
    gone = made.add(cheap, paid(102), 4, 0.0)
    assert gone is not None
    assert gone.circuit is cheap
    gone = made.add(same, paid(103), 5, 0.0)
    assert gone is not None
    assert gone.circuit is same
    assert len(made) == WAITING_MOST == 16
    assert made.next().circuit is dear


def test_who_waits_too_long_goes() -> None:
    made = gate()
    for number in range(3):
        made.add(circuit(number), paid(number), 2, float(number))
    assert made.late(WAITING_SECONDS - 0.1) == []
    assert [one.body for one in made.late(WAITING_SECONDS + 1)] == [paid(0).encode(), paid(1).encode()]
    assert len(made) == 1
    assert WAITING_SECONDS == 8.0


def test_a_visitor_that_leaves_waits_no_more() -> None:
    made, stays, leaves = gate(), circuit(1), circuit(2)
    made.add(leaves, paid(1), 9, 0.0)
    made.add(stays, paid(2), 2, 0.0)
    made.leave(circuit(3))
    made.leave(leaves)
    assert len(made) == 1
    assert made.next().circuit is stays


def test_the_same_introduction_counts_once_and_again_only_if_it_was_turned_away() -> None:
    made = gate()
    made.add(circuit(), paid(), 2, 0.0)
    assert made.has_paid(paid(), WALL) == 0, "it waits"
    made.late(100.0)
    assert made.has_paid(paid(), WALL) == 2, "it waited too long, and may come again"
    made.add(circuit(), paid(), 2, 100.0)
    made.next()
    assert made.has_paid(paid(), WALL) == 0, "it was let through"
    made.late(200.0)
    made.empty()
    assert made.has_paid(paid(), WALL) == 0


def test_whoever_is_turned_away_in_any_way_may_come_again() -> None:
    made, visitor = gate(), circuit()
    made.add(visitor, paid(), 2, 0.0)
    made.leave(visitor)
    assert made.has_paid(paid(), WALL) == 2
    made.add(visitor, paid(), 2, 0.0)
    assert [one.circuit for one in made.empty()] == [visitor]
    assert len(made) == 0
    assert made.has_paid(paid(), WALL) == 2
    for number in range(1, WAITING_MOST + 1):
        made.add(circuit(number), paid(number), 9, 0.0)
    assert made.add(visitor, paid(), 2, 0.0) is not None
    assert made.has_paid(paid(), WALL) == 2


def test_another_byte_of_the_period_makes_no_other_introduction() -> None:
    """The work does not cover it."""
    made = gate()
    made.add(circuit(), paid(), 2, 0.0)
    again = replace(paid(), period_byte=2)
    assert made.has_paid(again, WALL) == 0, "it waits"
    made.next()
    assert made.has_paid(again, WALL) == 0, "it was let through"


def test_what_was_let_through_is_known_again_however_many_follow() -> None:
    """As many as pass in three minutes at 25 a second, and in ten."""
    made, message = gate(), paid()
    made.add(circuit(), message, 2, 0.0)
    made.next()
    assert made.has_paid(message, WALL) == 0
    for number in range(1, 15_001):
        made.add(circuit(), replace(message, sealed=number.to_bytes(4, "big") * 715), 2, 0.0)
        made.next()
        if number in (17, 4_096):
            assert made.has_paid(message, WALL) == 0, f"{number} others went through since"
    assert made.has_paid(message, WALL) == 0


def test_what_was_let_through_is_known_again_after_anything_the_endpoint_says() -> None:
    spent = Spent()
    made, message = gate(spent=spent), paid()
    made.add(circuit(), message, 2, 0.0)
    made.next()
    made.opens()
    made.wants(WANTED, WALL)
    assert made.has_paid(message, WALL) == 0
    for number in (1, 2, 3):
        made.wants(other(number), WALL)
    made.wants(WANTED, WALL)
    assert made.has_paid(message, WALL) == 0
    assert gate(spent=spent).has_paid(message, WALL) == 0, "over another circuit, too"
    assert gate().has_paid(message, WALL) == 2


def test_a_seed_that_is_over_is_worth_nothing_beside_one_that_is_good() -> None:
    short = replace(WANTED, expires=WALL + 100)
    for proofs in ((short, other(1)), (other(1), short)):
        made = gate(*proofs)
        assert made.has_paid(paid(), WALL + 99) == 2
        assert not made.is_open(WALL + 100)
        assert made.has_paid(paid(), WALL + 100) == 0
        assert made.has_paid(paid(seed=other(1).seed), WALL + 100) == 2


def test_no_seed_is_good_for_longer_than_two_hours_and_what_clocks_may_differ() -> None:
    made = gate(replace(WANTED, expires=2**32 - 1))
    assert SEED_MOST_SECONDS == 7800
    assert made.has_paid(paid(), WALL + SEED_MOST_SECONDS - 1) == 2
    assert made.has_paid(paid(), WALL + SEED_MOST_SECONDS) == 0
    assert made.is_open(WALL + SEED_MOST_SECONDS)


def test_only_what_has_paid_may_wait() -> None:
    made = gate()
    for unpaid in (replace(paid(), pow=bytes(g.POW)), paid(seed=other(1).seed)):
        with pytest.raises(ValueError, match="has_paid"):
            made.add(circuit(), unpaid, 2, 0.0)
    assert len(made) == 0


@pytest.mark.parametrize("seed", range(8))
def test_a_model_of_the_gate(seed: int) -> None:
    """A list that is searched from end to end, against the heap."""
    made, chance, model = gate(), Random(seed), list[tuple[int, int, float, Circuit]]()
    now, came = 0.0, 0
    for _ in range(400):
        what = chance.choice(("add", "add", "add", "next", "late", "leave"))
        now += chance.random()
        if what == "add":
            came += 1
            effort, visitor = chance.randint(2, 6), circuit(came)
            pushed = made.add(visitor, paid(came % 50), effort, now)
            model.append((-effort, came, now, visitor))
            model.sort(key=lambda row: row[:2])
            assert (pushed.circuit if pushed else None) is (model.pop()[3] if len(model) > 16 else None)
        elif what == "next" and model:
            assert made.next().circuit is model.pop(0)[3]
        elif what == "late":
            late = {row[3] for row in model if now >= row[2] + WAITING_SECONDS}
            assert {one.circuit for one in made.late(now)} == late
            model = [row for row in model if row[3] not in late]
        elif what == "leave" and model:
            gone = chance.choice(model)
            made.leave(gone[3])
            model.remove(gone)
        assert len(made) == len(model)
