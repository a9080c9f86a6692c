"""Which proofs were used up, and what is forgotten when there are too many (SPEC 15)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from onionshh.core.base.params import Params
from onionshh.core.endpoint.admission import SEED_SECONDS, STEP_SECONDS
from onionshh.ids import AuthKey
from onionshh.rendezvous import spent as spent_module
from onionshh.rendezvous.spent import KEPT_MOST, MARKS_MOST, SEED_MARKS, Spent
from onionshh.rendezvous.toll_gate import SEED_MOST_SECONDS
from onionshh.wire.messages import IntroProof

KEY, OTHER_KEY = AuthKey(b"k" * 32), AuthKey(b"l" * 32)
WALL = 1_790_000_000
THREATS = (Path(__file__).parents[2] / "THREATS.md").read_text(encoding="utf-8")
TRY_SECONDS = 0.17e-3
"""Of one core."""


def proof(number: int = 0, effort: int = 64, expires: int = WALL + 7200) -> IntroProof:
    return IntroProof(bytes((number,)) * 32, effort, expires)


def mark(number: int) -> bytes:
    return Random(number).randbytes(32)


def small(monkeypatch: pytest.MonkeyPatch, most: int) -> Spent:
    monkeypatch.setattr(spent_module, "MARKS_MOST", most)
    monkeypatch.setattr(spent_module, "KEPT_MOST", most - most // 8)
    return Spent()


def fill(spent: Spent, key: AuthKey, wanted: IntroProof, count: int) -> None:
    for number in range(count):
        spent.add(key, wanted, mark(number))


def known(spent: Spent, key: AuthKey, wanted: IntroProof, count: int) -> int:
    return sum(spent.has(key, wanted, mark(number)) for number in range(count))


def test_there_is_room_for_all_that_one_endpoint_lets_in_while_a_seed_is_good() -> None:
    params = Params()
    one = params.introduce_burst + params.introduce_rate * SEED_MOST_SECONDS
    assert one < 200_000
    changes = SEED_MOST_SECONDS // STEP_SECONDS
    assert MARKS_MOST // (one + changes * SEED_MARKS) == 21, "so many endpoints at once, clocks being off"
    assert MARKS_MOST // (params.introduce_burst + params.introduce_rate * SEED_SECONDS) == 23
    assert KEPT_MOST == MARKS_MOST * 7 // 8
    assert 8 * MARKS_MOST == 32 * 1024**2


def test_all_that_pass_in_two_hours_are_known_again_to_the_last() -> None:
    spent, chance = Spent(), Random(1)
    marks = [chance.randbytes(8) for _ in range(180_200)]
    for one in marks:
        spent.add(KEY, proof(), one)
    assert len(spent) == 180_200
    assert all(spent.has(KEY, proof(), one) for one in marks[::100])
    assert not any(spent.has(KEY, proof(), chance.randbytes(8)) for _ in range(1_000))


def test_a_mark_belongs_to_one_endpoint_and_one_seed() -> None:
    spent = Spent()
    spent.add(KEY, proof(1), mark(1))
    assert spent.has(KEY, proof(1), mark(1))
    for key, wanted, number in ((OTHER_KEY, proof(1), 1), (KEY, proof(2), 1), (KEY, proof(1), 2)):
        assert not spent.has(key, wanted, mark(number))


def test_what_belongs_to_a_seed_is_forgotten_when_it_is_over_and_not_before() -> None:
    spent = Spent()
    late, soon = proof(1, expires=WALL + 200), proof(2, expires=WALL + 100)
    fill(spent, KEY, late, 3)
    fill(spent, KEY, soon, 4)
    for wall, left in ((WALL + 99, 7), (WALL + 100, 3), (WALL + 199, 3), (WALL + 200, 0)):
        spent.tick(wall)
        assert len(spent) == left
    spent.add(KEY, proof(3, expires=WALL + 300), mark(1))
    spent.tick(WALL + 300)
    assert len(spent) == 0


def test_a_seed_that_is_said_again_does_not_live_longer() -> None:
    spent = Spent()
    spent.add(KEY, proof(expires=WALL + 100), mark(1))
    spent.add(KEY, proof(expires=WALL + 10_000), mark(2))
    spent.tick(WALL + 100)
    assert len(spent) == 0


def test_when_there_are_too_many_the_cheapest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = small(monkeypatch, 1024)
    dear, cheap = proof(1, 64), proof(2, 1)
    fill(spent, KEY, dear, 300)
    fill(spent, OTHER_KEY, cheap, 5_000)
    assert known(spent, KEY, dear, 300) == 300
    assert 300 < len(spent) <= 1024
    assert known(spent, OTHER_KEY, cheap, 5_000) == len(spent) - 300


def test_of_equal_efforts_those_go_of_which_there_are_fewest(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = small(monkeypatch, 1024)
    fill(spent, OTHER_KEY, proof(1), 300)
    fill(spent, KEY, proof(1), 1024 - 300 - 2 * SEED_MARKS)
    assert len(spent) == 1024 - 2 * SEED_MARKS
    spent.add(KEY, proof(1), mark(1000))
    assert known(spent, KEY, proof(1), 1000) == 1024 - 300 - 2 * SEED_MARKS
    assert known(spent, OTHER_KEY, proof(1), 300) == 0


def test_seeds_of_one_dear_mark_each_push_out_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = small(monkeypatch, 1 << 13)
    fill(spent, KEY, proof(1), 300)
    for number in range(5_000):
        spent.add(OTHER_KEY, replace(proof(effort=65), seed=number.to_bytes(32)), mark(number))
    assert known(spent, KEY, proof(1), 300) == 300


@pytest.mark.parametrize(
    ("effort", "marks"), [(65, 600), (65, 3_000), (80, 300), (128, 100), (640, 10), (4_000, 1)]
)
def test_who_pushes_out_an_endpoints_marks_pays_for_the_whole_room(
    monkeypatch: pytest.MonkeyPatch, effort: int, marks: int
) -> None:
    """However many marks his seeds have, and whatever they ask for."""
    most, held = 1 << 14, 600
    spent = small(monkeypatch, most)
    first, again = (tries(spent, held, effort, marks, begin, most) for begin in (0, 1 << 20))
    assert first >= 0.98 * to_push_out(held, most)
    assert again >= 0.9 * to_push_out(held, most // 8)


def tries(spent: Spent, held: int, effort: int, marks: int, begin: int, most: int) -> int:
    """What somebody spends until so many marks of an endpoint that asks for 64 tries are forgotten."""
    fill(spent, KEY, proof(1), held)
    count = 0
    while spent.has(KEY, proof(1), mark(0)):
        seed = (begin + count // marks).to_bytes(32)
        spent.add(OTHER_KEY, replace(proof(effort=effort), seed=seed), (begin + count).to_bytes(8))
        count += 1
        assert count * effort < 100 * 64 * most, "they stay"
    return count * effort


def to_push_out(held: int, room: int) -> float:
    """How many tries take all of this room that one seed of 64 tries leaves, for as much as the seed took."""
    own = SEED_MARKS + held
    return (room - own) * 64 * held / own


def test_the_figures_of_what_it_costs_are_so() -> None:
    params = Params()
    held = params.introduce_burst + params.introduce_rate * SEED_SECONDS
    counts = (to_push_out(held, MARKS_MOST), to_push_out(held, MARKS_MOST // 8), 64 * held)
    millions, hours = [one / 1e6 for one in counts], [one * TRY_SECONDS / 3600 for one in counts]
    assert [round(one) for one in millions] == [257, 22, 12]
    for said in (
        f"takes {millions[0]:.0f} million tries ({hours[0]:.1f} h of one core, at 0.17 ms)",
        f"{millions[1]:.0f} million tries for each further time",
        f"filled anew with it cost {millions[2]:.1f} million ({60 * hours[2]:.0f} min)",
    ):
        assert said in THREATS
    text = " ".join((spent_module.__doc__ or "").split())
    assert f"spend {millions[0]:.0f} million tries: twelve hours of a core" in text
    assert f"each further time takes {millions[1]:.0f} million" in text
    assert f"never used twice takes {millions[2]:.0f} million: half an hour" in text
    assert (round(hours[0]), round(2 * hours[2])) == (12, 1)


def test_a_seed_is_as_cheap_as_the_cheapest_that_it_was_said_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise one dear proof makes thousands of cheap ones look dear."""
    spent = small(monkeypatch, 1024)
    fill(spent, KEY, proof(1, 64), 300)
    spent.add(OTHER_KEY, proof(1, 10_000), mark(0))
    fill(spent, OTHER_KEY, replace(proof(1, 1)), 5_000)
    assert known(spent, KEY, proof(1, 64), 300) == 300


def test_many_seeds_of_one_mark_each_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = small(monkeypatch, 1024)
    for number in range(256):
        spent.add(KEY, proof(number, 1), mark(number))
        assert len(spent) <= 1024 // (SEED_MARKS + 1)
    assert spent.has(KEY, proof(255), mark(255))


@pytest.mark.parametrize("seed", range(4))
def test_a_model_of_what_is_known(seed: int) -> None:
    spent, chance, model = Spent(), Random(seed), dict[tuple[AuthKey, bytes, int], int]()
    wall = WALL
    over = {(key, number): WALL + chance.randint(50, 400) for key in (KEY, OTHER_KEY) for number in range(4)}
    for _ in range(2_000):
        key, number, which = chance.choice((KEY, OTHER_KEY)), chance.randrange(4), chance.randrange(40)
        wanted = proof(number, expires=over[key, number])
        name = (key, wanted.seed, which)
        if chance.random() < 0.1:
            wall += chance.randint(0, 4)
            spent.tick(wall)
            model = {name: expires for name, expires in model.items() if wall < expires}
        elif wall < wanted.expires and name not in model:
            spent.add(key, wanted, mark(which))
            model[name] = wanted.expires
        assert spent.has(key, wanted, mark(which)) == (name in model)
        assert len(spent) == len(model)
