"""The pictures of the last day: steps, gaps, bars; they are bounded and hold no markup of others."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from onionshh.directory.history import DAY_SECONDS, POINTS_MOST, Point, added
from onionshh.directory.picture import HIGH, WIDE, steps, strip
from tests.directory.world import WALL

HOUR = 3600
END = WALL // HOUR * HOUR + HOUR // 2


def hourly(*missing: int, late: tuple[int, ...] = (), hours: int = 24) -> tuple[Point, ...]:
    """A consensus each hour up to END, without some (counted back from the last), and some of them late."""
    points: tuple[Point, ...] = ()
    due = 0
    for back in reversed(range(hours)):
        at = END // HOUR * HOUR - back * HOUR
        if back not in missing:
            at += 600 * (back in late)
            points = added(points, at=at, due=due, interval=HOUR, relays=10 - back % 2, bandwidth=1)
            due = at // HOUR * HOUR + HOUR
    return points


def drawn(svg: str, kind: str) -> list[dict[str, str]]:
    """The shapes of a class."""
    root = ElementTree.fromstring(svg)
    return [dict(shape.attrib) for shape in root if shape.get("class") == kind]


def bars(svg: str) -> list[str]:
    """The classes of all bars, from left to right."""
    found = sorted(ElementTree.fromstring(svg), key=lambda bar: int(bar.get("x", "0")))
    return [bar.get("class", "") for bar in found]


def relays(points: tuple[Point, ...], interval: int = HOUR) -> str:
    values = [point.relays for point in points]
    return steps(points, values, end=END, interval=interval, label="Relays")


def test_a_day_without_a_gap_is_one_line() -> None:
    svg = relays(hourly())
    assert len(drawn(svg, "line")) == len(drawn(svg, "area")) == 1
    line = drawn(svg, "line")[0]["d"]
    assert line.endswith(f"H{WIDE}")
    assert line.count("V") == 23  # the number changes each hour
    assert drawn(svg, "area")[0]["d"].endswith(f"V{HIGH}H{line[1:].split()[0]}Z")


def test_where_no_consensus_came_for_long_there_is_a_gap() -> None:
    assert len(drawn(relays(hourly(8)), "line")) == 1  # one that is missing is no gap yet
    assert len(drawn(relays(hourly(8, 9, 10)), "line")) == 2
    last = drawn(relays(hourly(0, 1, 2, 3)), "line")[0]["d"]
    assert not last.endswith(f"H{WIDE}")


def test_higher_is_more_and_nothing_is_at_the_floor() -> None:
    points = (Point(END - 7200, 5, 0, 1, 0, 0), Point(END - 3600, 10, 0, 1, 0, 0), Point(END, 0, 0, 1, 0, 0))
    line = drawn(relays(points), "line")[0]["d"]
    heights = [int(y) for y in re.findall(r"(?:V|M\d+ )(\d+)", line)]
    assert heights == [53, 6, HIGH]


def test_a_bar_for_each_consensus_says_how_it_came() -> None:
    svg = strip(hourly(5, late=(3,)), end=END, interval=HOUR, label="x")
    assert bars(svg) == ["ok"] * 18 + ["none"] + ["ok"] + ["late"] + ["ok"] * 3
    heights = {kind: int(drawn(svg, kind)[0]["height"]) for kind in ("ok", "late", "none")}
    assert heights["ok"] > heights["late"] > heights["none"] > 0


def test_a_young_network_has_no_bars_before_its_first_consensus() -> None:
    assert bars(strip(hourly(hours=3), end=END, interval=HOUR, label="x")) == ["ok"] * 3
    assert bars(strip((), end=END, interval=HOUR, label="x")) == []
    assert drawn(relays(()), "line") == []


def test_many_bars_that_are_alike_are_one() -> None:
    points: tuple[Point, ...] = ()
    due = 0
    for at in range(END - DAY_SECONDS, END, 60):
        if not END - 20_000 < at < END - 15_000:
            points = added(points, at=at, due=due, interval=60, relays=3, bandwidth=1)
            due = at + 60
    assert bars(strip(points, end=END, interval=60, label="x")) == ["ok", "none", "late", "ok"]


@pytest.mark.parametrize("interval", [1, 5, 300, 3600, 86_400])
def test_pictures_are_bounded_whatever_a_history_says(interval: int) -> None:
    points = tuple(
        Point(WALL + 299 * number, 2**62 * (number % 2), 2**62, number % 3, number % 2, number % 5)
        for number in range(POINTS_MOST)
    )
    for end in (WALL, points[-1].at, WALL + 2 * DAY_SECONDS, 2**62):
        for svg in (
            steps(points, [p.relays for p in points], end=end, interval=interval, label="x"),
            strip(points, end=end, interval=interval, label="x"),
        ):
            assert len(svg) < 40_000
            numbers = [int(number) for number in re.findall(r"[MHV ](\d+)", svg)]
            assert max(numbers) <= WIDE
            ElementTree.fromstring(svg)


def test_the_label_is_text() -> None:
    svg = steps((), (), end=END, interval=HOUR, label='"><script>&')
    assert ElementTree.fromstring(svg).get("aria-label") == '"><script>&'
