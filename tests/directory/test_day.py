"""The figures of the last day, in words."""

from __future__ import annotations

from onionshh.directory.day import day
from onionshh.directory.figures import clock
from onionshh.directory.history import DAY_SECONDS, Point
from tests.directory.world import WALL

HOUR = 3600


def points(*changes: tuple[int, int, int]) -> tuple[Point, ...]:
    """24 consensuses, an hour apart; the last ones as told: relays, late, missed."""
    plain = [(8, 0, 0)] * (24 - len(changes))
    start = WALL - 23 * HOUR
    return tuple(
        Point(start + HOUR * number, relays, relays * 10_000_000, 1, late, missed)
        for number, (relays, late, missed) in enumerate((*plain, *changes))
    )


def test_a_day_on_which_nothing_happened() -> None:
    said = day(points(), interval=HOUR, now=WALL)
    assert "Always 8 in the last day." in said
    assert "A new list is due every hour. All came on time in the last day." in said
    assert "24 <small>of 24</small>" in said
    assert "11\u202f000 <small>whispers a second</small>" in said
    assert "offer 80\u00a0MB a second" in said
    assert "01:00 yesterday" in said
    assert "13:00" in said


def test_a_day_with_its_troubles() -> None:
    said = day(points((6, 0, 2), (9, 1, 0)), interval=HOUR, now=WALL)
    assert "At least 6 and at most 9 in the last day." in said
    assert "1 came late and 2 did not come in the last day." in said
    assert "23 <small>of 26</small>" in said
    assert said.count('class="late"') == 1


def test_a_directory_that_makes_none_any_more_says_so() -> None:
    said = day(points(), interval=HOUR, now=WALL + 2 * HOUR + 600)
    assert "0 came late and 2 did not come" in said
    assert "24 <small>of 26</small>" in said


def test_a_network_of_today_says_since_when() -> None:
    young = points()[-3:]
    said = day(young, interval=HOUR, now=WALL)
    assert "Always 8 since 23:00 UTC." in said
    assert "All came on time since 23:00 UTC." in said


def test_before_the_first_consensus_and_with_a_clock_that_was_set_back() -> None:
    assert "0 <small>of 0</small>" in day((), interval=HOUR, now=WALL)
    assert "24 <small>of 24</small>" in day(points(), interval=HOUR, now=WALL - 3 * DAY_SECONDS)


def test_lists_that_come_more_often_than_is_kept_are_told_as_looks() -> None:
    """A point has the last list of its five minutes. It says when these began."""
    last = WALL - WALL % 300 + 290
    said = day((Point(last, 5, 50_000_000, 50, 0, 0),), interval=5, now=last + 3)
    assert "Always 5, looked at every 5 minutes, since " in said
    assert f" since {clock(last - 290)} UTC" in said
