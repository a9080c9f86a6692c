"""How coarse numbers are, and that nobody can stand just below a step."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from onionshh.cli.metrics import families
from onionshh.cli.metrics.families import BYTES, CELLS, DROPS, PEOPLE, Family, Kind, Sample, Step, one
from onionshh.cli.metrics.rounding import Rounding
from onionshh.core.base.chance import Chance
from tests.seeded import seeded


def counter(step: float) -> Family:
    return Family("onionshh_x", Kind.COUNTER, "X.", step, shown=Step.DRAWN)


def gauge(step: float) -> Family:
    return Family("onionshh_x", Kind.GAUGE, "X.", step)


def rounding(seed: int = 1) -> Rounding:
    return Rounding(Chance(seeded(seed)))


@pytest.mark.parametrize("step", [CELLS, DROPS, PEOPLE])
def test_one_more_of_anything_mostly_changes_nothing(step: float) -> None:
    for family in (counter(step), gauge(step)):
        made, last = rounding(), int(20 * step)
        shown = [made.shown(one(family, count)) for count in range(last + 1)]
        assert shown == sorted(shown)
        assert {said % step for said in shown} == {0}
        assert sum(before != after for before, after in pairwise(shown)) <= 20


def test_what_is_there_at_all_is_never_shown_as_nothing() -> None:
    for family in (counter(8), gauge(8)):
        made = rounding()
        assert [made.shown(one(family, count)) for count in (0, 1, 8)] == [0, 8, 8]


def test_a_gauge_is_rounded_up_and_goes_down_again() -> None:
    made = rounding()
    assert [made.shown(one(gauge(8), count)) for count in (9, 16, 17, 3, 0)] == [16, 16, 24, 8, 0]


def test_an_age_is_rounded_down() -> None:
    made = rounding()
    assert [made.shown(one(families.UPTIME, age)) for age in (0.0, 59.9, 60.0, 3599.0)] == [0, 0, 60, 3540]


def test_nobody_can_stand_below_a_step_of_the_month_s_bytes() -> None:
    """A new month begins at nothing."""
    rise = [made.shown(one(families.MONTH_USED, 3 * BYTES + BYTES / 2)) for made in map(rounding, range(40))]
    assert set(rise) == {3 * BYTES, 4 * BYTES}
    made = rounding()
    assert [made.shown(one(families.MONTH_USED, used)) for used in (9 * BYTES, 5.0, 0.0)][1:] == [BYTES, 0]


def test_every_counter_has_drawn_places() -> None:
    for family in vars(families).values():
        if isinstance(family, Family):
            assert (family.kind is not Kind.COUNTER) or family.shown is Step.DRAWN


def test_a_counter_is_off_by_less_than_a_step() -> None:
    made = rounding()
    assert all(abs(made.shown(one(counter(8), count)) - count) < 8 for count in range(2000))


def test_where_a_counter_takes_a_step_is_drawn_anew_for_each() -> None:
    """So one more is seen as often from any place: once in eight."""
    places: Counter[int] = Counter()
    made, before = rounding(), 0.0
    for count in range(8, 8 * 4001):
        shown = made.shown(one(counter(8), count))
        if shown != before and count > 8:
            places[count % 8] += 1
        before = shown
    assert set(places) == set(range(8))
    assert all(400 < often < 600 for often in places.values())


def test_the_seed_decides_and_each_label_has_places_of_its_own() -> None:
    def path(seed: int, reason: str) -> list[float]:
        made = rounding(seed)
        other = Sample(counter(8), 100, {"reason": "other"})
        shown = []
        for count in range(200):
            made.shown(other)
            shown.append(made.shown(Sample(counter(8), count, {"reason": reason})))
        return shown

    assert path(1, "memory") == path(1, "memory")
    assert path(1, "memory") != path(2, "memory")


def test_a_counter_that_leaps_is_still_right() -> None:
    made = rounding()
    for count in (0, 10**12, 10**12 + 1, 10**12 + BYTES):
        shown = made.shown(one(counter(BYTES), count))
        assert abs(shown - count) < BYTES


def test_parts_of_a_second_stay_decimal() -> None:
    made = rounding()
    lags = (0.0, 0.001, 0.0301, 1.2)
    assert [made.shown(one(families.LAG, seconds)) for seconds in lags] == [0.0, 0.005, 0.035, 1.2]


def test_what_is_exact_is_as_it_is() -> None:
    assert rounding().shown(one(families.MAILBOX_PRICE, 97)) == 97
