"""The figures of THREATS.md follow from the code that draws guards and paths."""

from __future__ import annotations

from math import inf

import pytest

from onionshh.core.circuit.purpose import PathKind, Purpose
from simulations.exposure import (
    Exposure,
    drawn_quantile,
    exposure,
    network,
    quantile,
    resumptions,
)
from tests.seeded import seeded


def test_exposure_is_what_the_formula_says() -> None:
    q = 0.2
    seen = exposure(network(60), q, 400, seeded(3))
    one = 1 - (1 - q) ** 2
    assert seen.guard == pytest.approx(one, abs=0.05)
    assert seen.both == pytest.approx(one * one, abs=0.05)
    assert seen.whisper == pytest.approx(q * q, abs=0.03)
    either = (q + one) / 2  # of two circuits, which have the same guard every other time
    assert seen.first == pytest.approx(either * either, abs=0.03)
    assert seen.whisper < seen.first < seen.both


def test_the_seed_governs() -> None:
    view = network(40)
    assert exposure(view, 0.1, 20, seeded(1)) == exposure(view, 0.1, 20, seeded(1))


def test_no_bad_relay_sees_anything() -> None:
    seen = exposure(network(40), 0.0, 20, seeded(1))
    assert seen == Exposure(0, 0, 0, 0)


@pytest.mark.parametrize("relays, chain, each", [(3, False, 0.2), (4, False, 0.2), (4, True, 0.04)])
def test_second_hops_drawn_anew_give_a_guard_away_at_the_odds_of_each_draw(
    relays: int, chain: bool, each: float
) -> None:
    found = resumptions(network(100), 0.2, PathKind(relays, 1), 200, seeded(1), chain=chain)
    for part in (0.5, 0.9):
        assert quantile(found, part) == pytest.approx(drawn_quantile(each, part), rel=0.25, abs=1)


def test_pinned_second_hops_give_a_guard_away_at_once_or_after_days() -> None:
    q, day = 0.1, 144
    found = resumptions(network(60), q, Purpose.RESUME.kind(), 80, seeded(1))
    at_once = sum(number <= 30 for number in found) / len(found)
    assert at_once == pytest.approx(1 - (1 - q) ** 4, abs=0.1), "one of four is bad from the start"
    assert quantile(found, 0.5) > 2 * day
    assert quantile(found, 0.9) > 20 * day
    assert found == resumptions(network(60), q, Purpose.RESUME.kind(), 80, seeded(1))
    chained = resumptions(network(60), q, Purpose.RESUME.kind(), 40, seeded(1), chain=True)
    assert quantile(chained, 0.1) > quantile(found, 0.1)


def test_without_bad_relays_no_guard_is_ever_known() -> None:
    assert resumptions(network(40), 0.0, Purpose.RESUME.kind(), 2, seeded(1), most=1000) == [inf, inf]
    assert resumptions(network(40), 0.0, PathKind(3, 1), 2, seeded(1), most=100) == [inf, inf]
