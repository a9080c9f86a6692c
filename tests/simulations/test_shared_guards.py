"""How often one relay is the guard of both ends: THREATS.md has the formula, the code draws the guards."""

from __future__ import annotations

import pytest

from onionshh.core.base.chance import Chance
from onionshh.core.paths.guards import GuardSet
from simulations.exposure import network
from tests.seeded import seeded

PAIRS = 1500


@pytest.mark.parametrize("relays, common, first_and_last", [(8, 0.46, 1 / 8), (20, 0.195, 1 / 20)])
def test_two_ends_draw_without_each_other(relays: int, common: float, first_and_last: float) -> None:
    assert common == pytest.approx(1 - (1 - 2 / relays) * (1 - 2 / (relays - 1)), abs=0.005)
    view, chance = network(relays), Chance(seeded(4))
    shared = through_one = 0
    for _ in range(PAIRS):
        ends = []
        for _ in range(2):
            sample = GuardSet()
            sample.update(view, view.consensus.valid_after, chance)
            ends.append(chance.shuffled(sample.usable(view)))
        assert [len(one) for one in ends] == [2, 2]
        shared += bool(set(ends[0]) & set(ends[1]))
        through_one += ends[0][0] == ends[1][0]
    assert shared / PAIRS == pytest.approx(common, abs=0.04)
    assert through_one / PAIRS == pytest.approx(first_and_last, abs=0.03)
