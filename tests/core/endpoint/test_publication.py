"""When a descriptor is made and where it is brought: every input, with nothing that waits (SPEC 10)."""

from __future__ import annotations

import pytest

from onionshh.core.base.chance import Chance
from onionshh.core.base.params import Params
from onionshh.core.endpoint.publication import (
    AGAIN_MOST_SECONDS,
    AGAIN_OVER_SECONDS,
    AGAIN_SECONDS,
    ANOTHER,
    FROM_BEFORE,
    LOST_SOON_SECONDS,
    RETRY_MOST_SECONDS,
    RETRY_SECONDS,
    Made,
    PublicationSchedule,
)
from onionshh.ids import RelayId
from onionshh.wire.endpoint import IntroducerEntry
from tests.core.networks import relay_id
from tests.seeded import seeded

PERIOD = 20_000
RING = tuple(relay_id(number) for number in range(4))
ENTRIES = tuple(IntroducerEntry(relay_id(number), bytes([number]) * 32, 99) for number in (10, 11))
SEAL = b"s" * 32
PARAMS = Params()


def document(number: int = 0, entries: tuple[IntroducerEntry, ...] = ENTRIES, seal: bytes = SEAL) -> Made:
    return Made(b"document %d" % number, entries, seal, b"n" * 8)


def made(*periods: int, now: float = 0.0) -> PublicationSchedule:
    schedule = PublicationSchedule(Chance(seeded(1)))
    for period in periods:
        schedule.made(period, document(), PARAMS, now)
    return schedule


def due(schedule: PublicationSchedule, now: float, entries: tuple[IntroducerEntry, ...] = ENTRIES) -> bool:
    return schedule.is_due(PERIOD, entries, SEAL, now)


def upload(
    schedule: PublicationSchedule, now: float, stored: tuple[RelayId, ...] = RING, *, later: bool = False
) -> None:
    schedule.uploaded(PERIOD, RING, stored, now, full=False, later=later)


def missing(schedule: PublicationSchedule, now: float, *, working: bool = False) -> frozenset[RelayId]:
    return schedule.to_upload(PERIOD, RING, now, working=working)


def test_a_period_without_a_descriptor_wants_one_as_soon_as_there_is_an_introducer() -> None:
    schedule = made()
    assert due(schedule, 0.0)
    assert not due(schedule, 0.0, ())
    assert schedule.current(PERIOD) is None
    assert not missing(schedule, 0.0)
    assert schedule.next_deadline(50.0) == 50.0 + RETRY_SECONDS


def test_each_reason_for_another_descriptor() -> None:
    schedule = made(PERIOD)
    assert not due(schedule, 1.0)
    assert not due(schedule, 1.0, ENTRIES[::-1])  # the order says nothing
    assert due(schedule, 1.0, ENTRIES[:1])
    assert not due(schedule, 1.0, ())  # what stands is as good as anything
    assert schedule.is_due(PERIOD, ENTRIES, b"t" * 32, 1.0)
    timer = schedule.next_deadline(0.0)
    assert PARAMS.publish_min_seconds <= timer <= PARAMS.publish_max_seconds
    assert not due(schedule, timer - 0.1)
    assert due(schedule, timer)
    schedule.better_proof(PERIOD + 1)
    assert not due(schedule, 1.0)
    schedule.better_proof(PERIOD)
    assert due(schedule, 1.0)


def test_without_introducers_the_next_one_names_those_of_before() -> None:
    schedule = made()
    assert schedule.entries_for(PERIOD, ()) == ()
    schedule.made(PERIOD, document(), PARAMS, 0.0)
    assert schedule.entries_for(PERIOD, ()) == ENTRIES
    assert schedule.entries_for(PERIOD, ENTRIES[:1]) == ENTRIES[:1]


def test_timers_are_drawn_for_each_descriptor() -> None:
    timers, schedule = set(), made()
    for number in range(10):
        schedule.made(PERIOD, document(number), PARAMS, 0.0)
        timers.add(schedule.next_deadline(0.0))
    assert len(timers) == 10


def test_it_is_brought_to_the_whole_ring_and_to_whoever_joins_it() -> None:
    schedule = made(PERIOD)
    assert missing(schedule, 0.0) == frozenset(RING)
    upload(schedule, 1.0)
    assert not missing(schedule, 1.0)
    new = relay_id(9)
    assert schedule.to_upload(PERIOD, (*RING, new), 1.0, working=False) == {new}
    schedule.made(PERIOD, document(2), PARAMS, 2.0)
    assert missing(schedule, 2.0) == frozenset(RING)


def test_what_a_relay_did_not_take_is_tried_again_at_longer_and_longer_intervals() -> None:
    schedule, now, waits = made(PERIOD), 0.0, []
    for _ in range(8):
        upload(schedule, now, RING[:3])
        retry = schedule.next_deadline(now)
        assert not missing(schedule, retry - 0.1)
        assert missing(schedule, retry) == {RING[3]}
        waits.append(retry - now)
        now = retry
    assert waits[:4] == [RETRY_SECONDS, 2 * RETRY_SECONDS, 4 * RETRY_SECONDS, 8 * RETRY_SECONDS]
    assert waits[-1] == RETRY_MOST_SECONDS
    upload(schedule, now)
    assert not missing(schedule, now + 10**6)
    upload(schedule, now, RING[:3])  # stored before, so nothing is missing
    assert not missing(schedule, now + 10**6)
    new = (*RING, relay_id(9))
    schedule.uploaded(PERIOD, new, (), now, full=False, later=False)
    assert schedule.next_deadline(now) == now + RETRY_SECONDS  # what was tried in vain before is over


def test_a_relay_that_left_the_ring_is_tried_no_more() -> None:
    schedule = made(PERIOD)
    upload(schedule, 0.0, RING[:1])
    assert schedule.next_deadline(0.0) < 60
    assert schedule.to_upload(PERIOD, RING[:1], 1.0, working=False) == frozenset()
    assert schedule.next_deadline(1.0) >= PARAMS.publish_min_seconds


def test_while_a_better_proof_is_looked_for_nothing_is_tried_again() -> None:
    schedule = made(PERIOD)
    timer = schedule.next_deadline(0.0)
    assert missing(schedule, 0.0, working=True)  # the first time it may be enough
    upload(schedule, 0.0, ())
    assert schedule.next_deadline(0.0) == RETRY_SECONDS
    assert schedule.next_deadline(0.0, {PERIOD}) == timer
    assert not missing(schedule, 100.0, working=True)
    assert missing(schedule, 100.0)


def test_out_of_turn_it_is_at_once_and_then_later_and_later_until_it_was_quiet() -> None:
    schedule, now, waits = made(PERIOD), 5000.0, []
    for _ in range(12):
        schedule.again(now)
        schedule.again(now)  # what is due is due once
        waits.append(schedule.next_deadline(now) - now)
        now += waits[-1]
        assert due(schedule, now)
        schedule.made(PERIOD, document(), PARAMS, now)
    assert waits[:4] == [0, AGAIN_SECONDS, 2 * AGAIN_SECONDS, 4 * AGAIN_SECONDS]
    assert max(waits) == AGAIN_MOST_SECONDS
    schedule.again(now + AGAIN_OVER_SECONDS + 0.1)
    assert schedule.next_deadline(now) == now + AGAIN_OVER_SECONDS + 0.1


@pytest.mark.parametrize("after, displaced", [(LOST_SOON_SECONDS - 1, (PERIOD,)), (LOST_SOON_SECONDS, ())])
def test_what_is_lost_soon_was_displaced(after: float, displaced: tuple[int, ...]) -> None:
    schedule = made(PERIOD, PERIOD + 1)
    upload(schedule, 100.0)
    assert schedule.lost(100.0 + after) == displaced
    assert due(schedule, 100.0 + after)


@pytest.mark.parametrize(
    "rounds, whose",
    [
        ([], FROM_BEFORE),
        ([(RING, True)], FROM_BEFORE),
        ([((), False)], FROM_BEFORE),  # a round that met nobody says nothing
        ([(RING[:1], False)], ANOTHER),
        ([(RING, True), (RING, False)], ANOTHER),
    ],
)
def test_whose_a_later_revision_is(rounds: list[tuple[tuple[RelayId, ...], bool]], whose: str) -> None:
    schedule = made(PERIOD)
    for stored, later in rounds:
        upload(schedule, 10.0, stored, later=later)
    assert not schedule.disputed(10.0)
    assert schedule.overtaken(PERIOD, 20.0) == whose
    assert due(schedule, 20.0)
    assert schedule.disputed(20.0) == (whose == ANOTHER)
    assert not schedule.disputed(20.0 + AGAIN_OVER_SECONDS)


def test_a_full_ring_is_said_of_the_last_round_alone() -> None:
    schedule = made(PERIOD)
    schedule.uploaded(PERIOD, RING, (), 0.0, full=True, later=False)
    assert schedule.full == (PERIOD,)
    upload(schedule, 5.0)
    assert not schedule.full


def test_a_period_that_is_over_is_forgotten_with_all_that_was_known_of_it() -> None:
    schedule = made(PERIOD, PERIOD + 1)
    upload(schedule, 0.0)
    schedule.forget_before(PERIOD + 1)
    assert schedule.current(PERIOD) is None
    assert schedule.current(PERIOD + 1) is not None
    schedule.made(PERIOD, document(), PARAMS, 0.0)
    assert schedule.overtaken(PERIOD, 1.0) == FROM_BEFORE


def test_nothing_of_a_document_shows_when_printed() -> None:
    assert "document 0" not in repr(document())
