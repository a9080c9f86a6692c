"""Numbers and times as people read them."""

from __future__ import annotations

import pytest

from onionshh.directory.figures import about, ago, clock, every, iso, moment, number, size, span
from tests.directory.world import WALL

THIN = "\u202f"


def test_whole_numbers_are_grouped() -> None:
    assert [number(n) for n in (0, 999, 1000, 1234567)] == ["0", "999", f"1{THIN}000", f"1{THIN}234{THIN}567"]


@pytest.mark.parametrize(
    ("exact", "said"),
    [(0, "0"), (99, "99"), (104, "100"), (105, "110"), (11_117, f"11{THIN}000"), (99_950, f"100{THIN}000")],
)
def test_two_digits_are_enough_for_what_nobody_knows_exactly(exact: int, said: str) -> None:
    assert about(exact) == said


def test_sizes() -> None:
    said = [size(n).replace("\u00a0", " ") for n in (0, 999, 1000, 72_400_000, 5 * 10**9, 2**50)]
    assert said == ["0 bytes", "999 bytes", "1 kB", "72 MB", "5 GB", f"1{THIN}100 TB"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (60, "1 minute"),
        (90, "90 seconds"),
        (3600, "1 hour"),
        (93_600, "26 hours"),
        (8 * 86_400, "8 days"),
    ],
)
def test_how_long(seconds: int, said: str) -> None:
    assert span(seconds) == said


def test_how_often() -> None:
    assert [every(n) for n in (5, 60, 3600, 86_400, 1)] == [
        "every 5 seconds",
        "every minute",
        "every hour",
        "every day",
        "every second",
    ]


def test_a_moment_can_be_read_by_people_and_programs() -> None:
    assert moment(WALL) == '<time datetime="2023-11-14T01:00:00Z">2023-11-14 01:00 UTC</time>'
    assert "2023-11-14 01:00:05 UTC" in moment(WALL + 5)
    assert clock(WALL) == "01:00"


def test_how_long_ago() -> None:
    assert ">just now<" in ago(WALL, WALL + 59)
    assert ">just now<" in ago(WALL, WALL - 10**6)
    assert ">2 minutes ago<" in ago(WALL, WALL + 120)
    assert 'title="2023-11-14 01:00:00 UTC"' in ago(WALL, WALL + 120)


@pytest.mark.parametrize("seconds", [2**62, -(2**62)])
def test_times_that_no_calendar_has_are_said_and_raise_nothing(seconds: int) -> None:
    assert iso(seconds) == ""
    assert moment(seconds) == f"second {seconds}"
    assert "<time" not in ago(seconds, WALL)
