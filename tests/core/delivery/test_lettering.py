"""When a whisper is left as a letter: after half a minute, two tries in vain, or when nobody is there."""

from __future__ import annotations

from math import inf

from onionshh.core.delivery.lettering import LEAST_SECONDS, LIVE_SECONDS, LIVE_TRIES, Lettering

LONG = 86_400.0


def begun(until: float = LONG) -> Lettering:
    plan = Lettering(until)
    plan.begin(0)
    return plan


def test_half_a_minute_without_a_receipt_is_enough() -> None:
    plan = begun()
    assert plan.at == LIVE_SECONDS
    assert not plan.due(LIVE_SECONDS - 1)
    assert plan.due(LIVE_SECONDS)
    assert not plan.due(LIVE_SECONDS + 1), "it was the caller's turn once"
    assert plan.left


def test_so_are_some_tries_in_vain() -> None:
    plan = begun()
    for _ in range(LIVE_TRIES - 1):
        plan.in_vain(1)
        assert not plan.due(1)
    plan.in_vain(2)
    assert plan.due(2)


def test_where_nobody_is_no_try_is_needed() -> None:
    plan = begun()
    plan.nobody(1)
    assert plan.due(1)


def test_a_whisper_with_little_time_left_makes_no_letter() -> None:
    for until in (1.0, LEAST_SECONDS, LEAST_SECONDS + LIVE_SECONDS):
        plan = begun(until)
        assert plan.at == inf
        assert not plan.due(LIVE_SECONDS)
    plan = begun(LEAST_SECONDS + LIVE_SECONDS + 1)
    assert plan.at == LIVE_SECONDS
    assert not plan.due(LIVE_SECONDS + 2), "its time came late"
    assert plan.at == inf


def test_what_could_not_be_left_is_tried_again_at_the_named_time() -> None:
    plan = begun()
    assert plan.due(LIVE_SECONDS)
    plan.again(700)
    plan.nobody(600)
    assert not plan.due(699)
    assert plan.due(700)
    plan.again(inf)
    assert not plan.due(LONG)


def test_what_is_left_is_not_left_again() -> None:
    plan = begun()
    plan.left = True
    assert not plan.due(LIVE_SECONDS)
    assert plan.at == inf, "or its driver would wake again and again"
    plan.nobody(1)
    plan.in_vain(1)
    plan.in_vain(1)
    assert not plan.due(2)


def test_exactly_the_least_time_is_too_little_whatever_the_clock_shows() -> None:
    for tenths in range(1, 5000):
        now = tenths * 0.1
        plan = Lettering(now + 1_790_000_600 - 1_790_000_000)
        plan.begin(now)
        plan.nobody(now)
        assert plan.at == inf
