"""The one lane of a Sender: every stage with every event, and when the next try may begin."""

from __future__ import annotations

import itertools
import re
from math import inf

import pytest

from onionshh.core.base.chance import Chance
from onionshh.core.delivery import way as way_file
from onionshh.core.delivery.actions import Failure, LaneId
from onionshh.core.delivery.way import (
    IDLE_SECONDS,
    IDLE_WHILE_ASKED_SECONDS,
    IDLE_WITHOUT_SESSION_SECONDS,
    PAUSES_NOBODY_SECONDS,
    PAUSES_SECONDS,
    SENDINGS_MOST,
    TABLE,
    Way,
    WayEvent,
    WayStage,
)
from tests.seeded import seeded

ONE, TWO = LaneId(1), LaneId(2)


def made() -> Way:
    return Way(Chance(seeded(1)))


def brought_to(stage: WayStage) -> Way:
    way = made()
    if stage is not WayStage.CLOSED:
        assert way.may_open(0.0)
    if stage is WayStage.OPEN:
        way.opened(ONE, 0.0)
    assert way.stage is stage
    return way


@pytest.mark.parametrize(("stage", "event"), tuple(itertools.product(WayStage, WayEvent)))
def test_every_stage_with_every_event(stage: WayStage, event: WayEvent) -> None:
    way = brought_to(stage)
    becomes = TABLE.get((stage, event))
    assert way.move(event) is (becomes is not None)
    assert way.stage is (becomes or stage)
    assert way.stage is WayStage.OPEN or way.lane is None


def test_the_table_at_the_head_of_the_file_is_the_table() -> None:
    rows = [
        [part.strip() for part in line.strip("|").split("|")]
        for line in (way_file.__doc__ or "").splitlines()
        if re.match(r"\| [A-Z]|\| stage", line)
    ]
    drawn = {
        (WayStage[row[0]], WayEvent[event]): WayStage[becomes]
        for row in rows[1:]
        for event, becomes in zip(rows[0][1:], row[1:], strict=True)
        if becomes
    }
    assert drawn == dict(TABLE)


def test_after_a_failure_there_is_a_pause_that_grows_to_a_bound() -> None:
    way, now = made(), 0.0
    for pause in (*PAUSES_SECONDS, PAUSES_SECONDS[-1]):
        assert way.may_open(now)
        assert way.openable_at == inf  # one at a time
        way.failed(Failure("no way"), now)
        assert way.problem == "no way"
        assert now + pause / 2 <= way.openable_at <= now + pause
        assert not way.may_open(way.openable_at - 0.001)
        now = way.openable_at


def test_where_nobody_is_published_tries_are_rarer_and_it_is_said() -> None:
    way, now = made(), 0.0
    for pause in (*PAUSES_NOBODY_SECONDS, PAUSES_NOBODY_SECONDS[-1]):
        assert way.may_open(now)
        before = way.away
        way.failed(Failure("nobody", nobody=True), now)
        assert (before, way.away) == (False, True)
        assert now + pause / 2 <= way.openable_at <= now + pause
        now = way.openable_at


def test_a_lane_that_ended_before_anything_came_back_counts_as_a_failure() -> None:
    way = brought_to(WayStage.OPEN)
    way.lost(5.0)
    way.move(WayEvent.GONE)
    assert way.openable_at > 5.0

    way = brought_to(WayStage.OPEN)
    way.heard(ONE, 4.0)
    way.lost(5.0)
    way.move(WayEvent.GONE)
    assert way.openable_at == 0.0


def test_what_comes_over_an_earlier_lane_ends_the_pauses_and_keeps_no_lane_in_use() -> None:
    way = brought_to(WayStage.OPEN)
    way.heard(TWO, 50.0)
    idle = way.idle_at(asked=False)
    assert IDLE_SECONDS[0] <= idle <= IDLE_SECONDS[1]
    way.heard(ONE, 60.0)
    assert way.idle_at(asked=False) == pytest.approx(60.0 + idle)


def test_so_many_sendings_wait_in_a_lane_and_no_more() -> None:
    way = brought_to(WayStage.OPEN)
    room = []
    for _ in range(SENDINGS_MOST):
        room.append(way.has_room)
        way.sending()
    room.append(way.has_room)
    way.sent(70.0)
    room.append(way.has_room)
    assert room == [*[True] * SENDINGS_MOST, False, True]
    assert 70.0 + IDLE_SECONDS[0] <= way.idle_at(asked=False) <= 70.0 + IDLE_SECONDS[1]


def test_times_are_there_in_their_stage_alone() -> None:
    assert brought_to(WayStage.CLOSED).idle_at(asked=False) == inf
    assert brought_to(WayStage.OPENING).idle_at(asked=True) == inf
    assert brought_to(WayStage.OPENING).openable_at == inf
    assert brought_to(WayStage.OPEN).openable_at == inf


def test_how_long_a_lane_may_idle_is_drawn_for_each() -> None:
    way, drawn = made(), set()
    for number in range(20):
        way.opened(LaneId(number), 0.0)
        drawn.add(way.idle_at(asked=False))
        assert way.idle_at(asked=True) == IDLE_WHILE_ASKED_SECONDS
        way.move(WayEvent.GONE)
    assert len(drawn) > 10
    assert IDLE_SECONDS[0] <= min(drawn) < 40.0 < 45.0 < max(drawn) <= IDLE_SECONDS[1]
    way = Way(Chance(seeded(1)), IDLE_WITHOUT_SESSION_SECONDS)
    way.opened(ONE, 0.0)
    assert way.idle_at(asked=False) == 120.0


def test_what_the_other_direction_does_counts_for_the_lane_in_use() -> None:
    way = brought_to(WayStage.OPEN)
    way.used(TWO, 50.0)
    before = way.idle_at(asked=True)
    way.used(ONE, 60.0)
    assert (before, way.idle_at(asked=True)) == (IDLE_WHILE_ASKED_SECONDS, 60.0 + IDLE_WHILE_ASKED_SECONDS)


def test_a_lane_is_ours_until_another_is() -> None:
    way = brought_to(WayStage.OPEN)
    way.move(WayEvent.GONE)
    assert (way.lane, way.is_ours(ONE), way.is_ours(TWO)) == (None, True, False)
    way.opened(TWO, 1.0)
    assert (way.lane, way.is_ours(ONE), way.is_ours(TWO)) == (TWO, False, True)
