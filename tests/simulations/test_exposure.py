"""The figures of THREATS.md follow from the code that draws guards and paths."""

from __future__ import annotations

import pytest

from simulations.exposure import Exposure, exposure, network
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
