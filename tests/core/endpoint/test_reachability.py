"""What an endpoint believes of its being reachable: every input in either state (SPEC 11)."""

from __future__ import annotations

import math

import pytest

from onionshh.core.base.chance import Chance
from onionshh.core.endpoint.publication import ANOTHER
from onionshh.core.endpoint.reachability import (
    DISPUTED_SECONDS,
    LOST_AFTER,
    NO_GUARD,
    NO_INTRODUCER,
    SETTLED_SECONDS,
    UNSETTLED_SECONDS,
    ReachabilityState,
)
from tests.seeded import seeded

WALL = 1_790_000_000


def made(*, reachable: bool = False) -> ReachabilityState:
    state = ReachabilityState(Chance(seeded(1)), 100.0)
    if reachable:
        assert outcome(state, None, 103.0)
    return state


def outcome(
    state: ReachabilityState, why: str | None, now: float, *, settled: bool = True, disputed: bool = False
) -> bool:
    state.testing()
    assert state.next_deadline() == math.inf
    return state.tested(why, now, WALL + int(now), settled=settled, disputed=disputed)


def test_it_begins_unreachable_and_a_test_is_due() -> None:
    state = made()
    assert (state.reachable, state.why, state.tested_at) == (False, "it has just started", 0)
    assert state.next_deadline() == 100.0
    assert state.seconds(107.5) == 7.5


@pytest.mark.parametrize(
    "reachable, why, changes, reachable_then, why_then",
    [
        (False, None, True, True, ""),
        (False, "it failed", False, False, "it failed"),
        (True, None, False, True, ""),
        (True, "it failed", False, True, ""),
        (True, NO_GUARD, True, False, NO_GUARD),
        (True, ANOTHER, True, False, ANOTHER),
    ],
)
def test_what_is_believed_after_one_test(
    reachable: bool, why: str | None, changes: bool, reachable_then: bool, why_then: str
) -> None:
    state = made(reachable=reachable)
    assert outcome(state, why, 110.0) == changes
    assert (state.reachable, state.why, state.tested_at) == (reachable_then, why_then, WALL + 110)


@pytest.mark.parametrize("reachable", [False, True])
def test_what_is_certain_counts_at_once_and_is_tested_at_once(reachable: bool) -> None:
    state = made(reachable=reachable)
    assert state.lost(NO_INTRODUCER, 120.0) == reachable
    assert (state.reachable, state.why) == (False, NO_INTRODUCER)
    assert state.next_deadline() == 120.0
    # What is lost during a test is tested again as soon as that is over, whatever it said.
    state.testing()
    state.lost(NO_GUARD, 130.0)
    state.tested("it failed", 140.0, WALL, settled=False, disputed=False)
    assert state.next_deadline() == 130.0


def test_one_failed_test_is_no_loss_but_two_in_a_row_are() -> None:
    state = made(reachable=True)
    said = [outcome(state, why, 200.0) for why in ("bad luck", None, "bad luck", "for good")]
    assert LOST_AFTER == 2
    assert said == [False, False, False, True]
    assert state.why == "for good"
    assert outcome(state, None, 300.0)


def test_seconds_say_how_long_it_took_and_how_long_it_is_lost() -> None:
    state = made(reachable=True)
    assert state.seconds(500.0) == 3.0
    state.lost(NO_INTRODUCER, 600.0)
    assert state.seconds(610.0) == 10.0
    state.lost(NO_GUARD, 615.0)  # still the same loss
    outcome(state, "it failed", 620.0)
    assert state.seconds(630.0) == 30.0
    outcome(state, None, 640.0)
    assert state.seconds(10_000.0) == 40.0


@pytest.mark.parametrize(
    "why, settled, disputed, pause",
    [
        (None, True, False, SETTLED_SECONDS),
        (None, False, False, UNSETTLED_SECONDS),
        ("it failed", True, False, UNSETTLED_SECONDS),
        (None, True, True, DISPUTED_SECONDS),
        ("it failed", False, True, DISPUTED_SECONDS),
    ],
)
def test_when_it_is_tested_again(why: str | None, settled: bool, disputed: bool, pause: float) -> None:
    state = made()
    pauses = set()
    for _ in range(20):
        outcome(state, why, 1000.0, settled=settled, disputed=disputed)
        pauses.add(state.next_deadline() - 1000.0)
    assert len(pauses) == 20  # drawn each time
    assert 0.7 * pause <= min(pauses) < max(pauses) <= 1.3 * pause
