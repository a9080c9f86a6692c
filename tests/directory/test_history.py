"""The last day: what each consensus adds, how much is kept, what counts as late."""

from __future__ import annotations

from itertools import pairwise

import pytest

from onionshh.directory.history import (
    DAY_SECONDS,
    POINTS_MOST,
    Point,
    Total,
    added,
    total,
    whispers_a_second,
)
from onionshh.geometry import CELL
from tests.directory.world import WALL

HOUR = 3600


def one(at: int, due: int = 0, *, points: tuple[Point, ...] = (), interval: int = HOUR) -> tuple[Point, ...]:
    return added(points, at=at, due=due, interval=interval, relays=3, bandwidth=7)


def test_the_first_consensus_is_on_time() -> None:
    assert one(WALL) == (Point(WALL, 3, 7, 1, 0, 0),)


@pytest.mark.parametrize(
    ("at", "late", "missed"),
    [
        (-HOUR, 0, 0),  # after a restart one may come before it is due
        (0, 0, 0),
        (HOUR // 20, 0, 0),
        (HOUR // 20 + 1, 1, 0),
        (HOUR - 1, 1, 0),
        (HOUR, 0, 1),
        (2 * HOUR + 600, 1, 2),
        (3 * DAY_SECONDS, 0, 24),
    ],
)
def test_what_is_late_and_what_did_not_come(at: int, late: int, missed: int) -> None:
    assert one(WALL + at, WALL) == (Point(WALL + at, 3, 7, 1, late, missed),)


def test_a_day_of_consensuses_every_five_seconds_is_a_point_each_five_minutes() -> None:
    points: tuple[Point, ...] = ()
    most = 0
    for number in range(2 * DAY_SECONDS // 5):
        at = WALL + 5 * number
        points = added(points, at=at, due=at, interval=5, relays=number, bandwidth=2 * number)
        most = max(most, len(points))
    assert most == POINTS_MOST
    assert points[-1] == Point(at, number, 2 * number, 60, 0, 0)
    assert all(earlier.at < later.at for earlier, later in pairwise(points))
    assert points[0].at > at - DAY_SECONDS
    assert abs(total(points).made - DAY_SECONDS // 5) <= 60


def test_an_hourly_consensus_is_a_point_of_its_own() -> None:
    points: tuple[Point, ...] = ()
    for number in range(48):
        points = one(WALL + number * HOUR, WALL + number * HOUR, points=points)
    assert len(points) == 24
    assert total(points) == Total(24, 0, 0)


@pytest.mark.parametrize(
    ("later", "missed"),
    [
        (-HOUR, 0),
        (0, 0),
        (HOUR + 180, 0),
        (HOUR + 181, 1),
        (2 * HOUR + 180, 1),
        (2 * HOUR + 181, 2),
        (10**9, 24),
    ],
)
def test_what_is_overdue_counts_as_missing_before_the_next_one_comes(later: int, missed: int) -> None:
    points = one(WALL)
    assert total(points, now=WALL + later, interval=HOUR) == Total(1, 0, missed)
    assert total((), now=WALL, interval=HOUR) == Total(0, 0, 0)


def test_a_clock_that_was_set_back_takes_what_it_wrote_of_the_future_along() -> None:
    points = one(WALL)
    points = one(WALL + 5 * HOUR, WALL + HOUR, points=points)
    assert [point.at for point in one(WALL + HOUR, WALL + 6 * HOUR, points=points)] == [WALL, WALL + HOUR]


def test_what_is_missing_within_five_minutes_adds_up_and_stays_a_number_that_can_be_written() -> None:
    before = (Point(WALL, 1, 1, 5, 1, DAY_SECONDS - 1),)
    assert one(WALL + 25, WALL + 5, points=before, interval=5) == (Point(WALL + 25, 3, 7, 6, 1, DAY_SECONDS),)


def test_capacity_is_what_is_offered_over_what_a_whisper_and_its_receipt_cost() -> None:
    """Two cells, each over three relays of each side and the meeting relay."""
    assert whispers_a_second(14 * CELL) == 1
    assert whispers_a_second(14 * CELL - 1) == 0
    assert whispers_a_second(8 * 10_000_000) == 11_117
