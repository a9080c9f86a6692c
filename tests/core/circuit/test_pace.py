"""When padding rounds leave: as a longer path would have let them (SPEC 6)."""

from __future__ import annotations

import pytest

from onionshh.core.base.chance import Chance
from onionshh.core.circuit.circuit import SETUP_ROUNDS
from onionshh.core.circuit.pace import KEPT, MOST_SECONDS, Pace, RoundTimes
from tests.seeded import seeded


def times() -> RoundTimes:
    return RoundTimes(Chance(seeded(1)))


def build(known: RoundTimes, real: list[float], echo: float, upto: int = SETUP_ROUNDS) -> list[float]:
    """A whole set-up: CREATE and EXTENDs that take so long, then echoes. How long each round, CREATE
    included, was from its leaving to the leaving of the next."""
    pace, now, gaps = Pace(known), 0.0, []
    for number in range(upto + 1):
        now = max(now, pace.due)
        began = now
        pace.left(now)
        padding = number >= len(real)
        now += echo if padding else real[number]
        pace.answered(now, padding=padding)
        gaps.append(max(now, pace.due) - began)
    assert pace.rounds == upto
    return gaps


@pytest.mark.parametrize("relays", [3, 4])
def test_a_path_of_three_or_four_relays_waits_for_nothing(relays: int) -> None:
    known = times()
    real = [0.1, 0.3, 0.4, 0.7][:relays]
    for _ in range(3):
        assert build(known, real, 0.05)[:3] == pytest.approx([0.1, 0.3, 0.4])
        assert build(known, real, 0.05)[3] == pytest.approx(0.7 if relays == 4 else 0.05)


@pytest.mark.parametrize("relays", [1, 2])
def test_a_shorter_path_shows_the_steps_of_longer_ones(relays: int) -> None:
    known = times()
    for _ in range(5):
        build(known, [0.1, 0.3, 0.4, 0.7], 0.0)
    gaps = build(known, [0.2, 0.4][:relays], 0.05)
    assert gaps[0] == 0.2  # its guard is farther away, and so is all that lies behind it
    assert gaps[1] == pytest.approx(0.4, abs=1e-9 if relays == 2 else 0.021)
    assert gaps[2] == pytest.approx(gaps[1] + 0.1, abs=0.011)
    assert gaps[3] == pytest.approx(0.05)  # nobody waits after the last


def test_before_anything_is_known_each_link_counts_about_as_much() -> None:
    for seed in range(50):
        known = RoundTimes(Chance(seeded(seed)))
        gaps = build(known, [0.1], 0.1)
        assert 0.15 <= gaps[1] <= 0.25
        assert 1.25 * gaps[1] <= gaps[2] <= 1.75 * gaps[1]
        assert gaps[3] == pytest.approx(0.1)


def test_an_echo_that_took_longer_than_an_extend_would_is_not_waited_for() -> None:
    known = times()
    build(known, [0.1, 0.3, 0.4, 0.7], 0.0)
    pace = Pace(known)
    pace.left(0.0)
    pace.answered(0.1, padding=False)
    pace.left(0.1)
    pace.answered(1.1, padding=True)
    assert pace.due <= 1.1


def test_padding_rounds_teach_nothing() -> None:
    known = times()
    build(known, [0.1, 0.3], 0.001)
    assert known.known == (1, 0)
    # A stub that was padded, and is extended later: its round before was no relay's.
    pace = Pace(known)
    for number, padding in enumerate([False, True, False, False]):
        pace.left(float(number))
        pace.answered(number + 0.1, padding=padding)
    assert known.known == (1, 0)


def test_a_stub_waits_before_the_round_that_is_left() -> None:
    known = times()
    build(known, [0.1, 0.3, 0.4, 0.7], 0.0)
    assert build(known, [0.1], 0.01, upto=2)[2] == pytest.approx(0.4, abs=0.05)


def test_no_two_draws_are_the_same_and_none_is_long_or_before_now() -> None:
    known = times()
    for step in (0.3, -5.0, 900.0):
        known = times()
        known.took(1, step)
        drawn = {known.draw(1, 0.1) for _ in range(100)}
        assert len(drawn) == (100 if step == 0.3 else 1)
        assert all(0.0 <= one <= MOST_SECONDS for one in drawn)


def test_what_is_remembered_is_bounded_and_late() -> None:
    known = times()
    for _ in range(KEPT):
        build(known, [0.1, 0.2, 0.3, 0.4], 0.0)
    for _ in range(KEPT):
        build(known, [0.1, 0.9, 1.0, 1.1], 0.0)
    assert known.known == (KEPT,) * (SETUP_ROUNDS - 1)
    assert {round(one) for one in (known.draw(1, 0.1) for _ in range(50))} == {1}


def test_the_last_round_is_neither_kept_nor_waited_for() -> None:
    known = times()
    known.took(SETUP_ROUNDS, 0.5)
    assert known.draw(SETUP_ROUNDS, 1.0) == 0.0
