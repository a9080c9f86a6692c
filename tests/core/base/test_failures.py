from __future__ import annotations

from onionshh.core.base.failures import MOST_KEPT, FailureMemory
from tests.core.networks import relay_id

A, B, C = relay_id(1), relay_id(2), relay_id(3)


def test_a_failed_relay_is_avoided_for_60_s_doubling_to_10_min() -> None:
    memory = FailureMemory()
    now = 0.0
    for seconds in (60, 120, 240, 480, 600, 600):
        memory.failed(A, now)
        assert memory.avoided(now + seconds - 1, 30) == {A}
        now += seconds
        assert memory.avoided(now, 30) == frozenset()


def test_circuits_that_fail_together_are_one_failure() -> None:
    memory = FailureMemory()
    for tick in range(10):
        memory.failed(A, float(tick))
    assert memory.avoided(68.0, 30) == {A}
    assert memory.avoided(69.0, 30) == frozenset()


def test_what_worked_is_forgotten() -> None:
    memory = FailureMemory()
    memory.failed(A, 0.0)
    memory.worked(A)
    assert memory.avoided(1.0, 30) == frozenset()
    memory.failed(A, 60.0)
    assert memory.avoided(121.0, 30) == frozenset()


def test_what_is_long_past_does_not_count() -> None:
    memory = FailureMemory()
    memory.failed(A, 0.0)
    memory.failed(A, 60.0 + 600.0)
    assert memory.avoided(660.0 + 60.0, 30) == frozenset()
    memory.avoided(10_000.0, 30)
    assert len(memory) == 0


def test_at_most_a_third_those_that_failed_most_and_latest() -> None:
    memory = FailureMemory()
    memory.failed(A, 0.0)
    memory.failed(A, 60.0)
    memory.failed(B, 61.0)
    memory.failed(C, 62.0)
    assert memory.avoided(63.0, 9) == {A, B, C}
    assert memory.avoided(63.0, 8) == {A, C}
    assert memory.avoided(63.0, 3) == {A}
    assert memory.avoided(63.0, 2) == frozenset()


def test_it_is_bounded_and_the_oldest_go() -> None:
    memory = FailureMemory()
    for number in range(MOST_KEPT + 10):
        memory.failed(relay_id(number), float(number) / MOST_KEPT)
    assert len(memory) == MOST_KEPT
    avoided = memory.avoided(2.0, 10 * MOST_KEPT)
    assert relay_id(9) not in avoided
    assert relay_id(10) in avoided
    memory.failed(relay_id(10), 3.0)
    memory.failed(relay_id(MOST_KEPT + 10), 3.0)
    avoided = memory.avoided(3.0, 10 * MOST_KEPT)
    assert relay_id(10) in avoided, "it failed again, so it is no longer the oldest"
    assert relay_id(11) not in avoided
