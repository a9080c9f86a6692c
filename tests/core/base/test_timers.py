from __future__ import annotations

from random import Random

from onionshh.core.base.timers import Timetable


class Times:
    """When each of some names is due."""

    def __init__(self, **due: float | None) -> None:
        self.due = due
        self.asked = 0
        self.table: Timetable[str] = Timetable(self.of)

    def of(self, name: str) -> float | None:
        self.asked += 1
        return self.due[name]

    def take(self, now: float, again: float | None) -> list[str]:
        """Those due; each is due `again` so much later, or never."""
        found = []
        for name in self.table.take(now):
            found.append(name)
            self.due[name] = None if again is None else now + again
        return found


def test_who_is_due_comes_in_order_and_again() -> None:
    times = Times(a=3.0, b=1.0, c=2.0)
    assert [times.table.add(name) for name in "abc"] == [True, True, False]
    assert times.table.first == 1.0
    assert times.take(0.9, 10) == []
    assert times.take(2.0, 10) == ["b", "c"]
    assert times.take(12.0, 10) == ["a", "b", "c"]
    assert times.table.first == 22.0


def test_what_is_put_off_comes_when_it_is_due() -> None:
    times = Times(a=1.0)
    times.table.add("a")
    times.due["a"] = 5.0
    assert times.take(4.9, 10) == []
    assert times.table.first == 5.0
    assert times.take(5.0, 10) == ["a"]


def test_who_needs_no_time_any_more_is_forgotten() -> None:
    times = Times(a=1.0, b=2.0, c=None)
    assert [times.table.add(name) for name in "abc"] == [True, False, False]
    times.due["a"] = None
    assert times.take(1.0, 10) == []
    assert len(times.table) == 1
    assert times.take(2.0, None) == ["b"]
    assert len(times.table) == 0
    assert times.table.first == float("inf")


def test_thousands_cost_little_however_often_they_are_put_off() -> None:
    random = Random(1)
    names = [str(number) for number in range(5000)]
    times = Times(**{name: random.uniform(1.5, 9.5) for name in names})
    for name in names:
        times.table.add(name)
    times.asked = 0
    for now in range(1, 101):  # each sends every second, and is never due
        times.due.update({name: now + random.uniform(1.5, 9.5) for name in names})
        assert times.take(float(now), 10) == []
    assert times.asked < 2 * 5000 * 100 / 1.5
