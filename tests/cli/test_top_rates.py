"""Rates from two answers."""

from __future__ import annotations

from typing import Any

from onionshh.cli.top_rates import COUNTERS, HISTORY, Rate, Rates


def relay(up: float, cells: int, **drops: int) -> dict[str, Any]:
    links = {"cells_sent": cells, "bytes_sent": 512 * cells}
    return {"kind": "relay", "up_seconds": up, "links": links, "drops": drops}


def test_a_rate_is_what_was_counted_by_the_programs_own_time() -> None:
    rates = Rates()
    rates.came(relay(10.0, 100))
    assert rates.counters()[0] == Rate("cells sent", 100, None)
    assert not rates.picture
    rates.came(relay(14.0, 300))
    assert rates.counters()[0] == Rate("cells sent", 300, 50.0)
    assert rates.counters()[2] == Rate("bytes out", 300 * 512, 50.0 * 512, in_bytes=True)
    assert list(rates.picture) == [50.0]


def test_a_program_that_was_started_anew_has_no_rate_until_the_next_answer() -> None:
    rates = Rates()
    for up, cells in ((100.0, 5000), (102.0, 6000), (1.0, 7)):
        rates.came(relay(up, cells))
    assert rates.counters()[0] == Rate("cells sent", 7, None)
    assert not rates.picture
    rates.came(relay(3.0, 9))
    assert rates.counters()[0].per_second == 1.0


def test_no_answer_is_divided_by_nothing() -> None:
    rates = Rates()
    for answer in ({}, {}, {"kind": "relay"}, relay(0.0, 1), relay(0.0, 2), {"kind": "relay", "links": 3}):
        rates.came(answer)
        assert all(rate.per_second is None for rate in rates.counters())


def test_what_is_dropped_now_comes_first() -> None:
    rates = Rates()
    rates.came(relay(1.0, 0, often=90, rare=1))
    assert [rate.name for rate in rates.drops()] == ["often", "rare"]
    rates.came(relay(2.0, 0, often=90, rare=3, new=1))
    assert [(rate.name, rate.per_second) for rate in rates.drops()] == [("rare", 2), ("new", 1), ("often", 0)]


def test_the_picture_has_an_end() -> None:
    rates = Rates()
    for second in range(1, HISTORY + 100):
        rates.came(relay(float(second), second))
    assert len(rates.picture) == HISTORY


def test_every_counter_finds_its_number() -> None:
    host = {"kind": "host", "up_seconds": 1.0, "taken": 5, "finished": 4}
    directory = {"kind": "directory", "up_seconds": 1.0, "answers": {"200": 5, "404": 1}}
    for answer, totals in ((host, [5, 4]), (directory, [6]), (relay(1.0, 2), [2, 0, 1024, 0, 0, 0])):
        rates = Rates()
        rates.came(answer)
        assert [rate.total for rate in rates.counters()] == totals
    assert set(COUNTERS) == {"relay", "host", "directory"}
