"""The copies of one item: which relay is next, and when, for every state and every answer."""

from __future__ import annotations

from itertools import pairwise

import pytest

from onionshh.core.base.chance import Chance
from onionshh.core.mailbox.copies import (
    APART_LEAST_SECONDS,
    APART_MOST_SECONDS,
    LATER_MOST_SECONDS,
    LATER_SECONDS,
    Copies,
    Copy,
    CopyState,
)
from onionshh.core.mailbox.places import Places
from onionshh.ids import RelayId
from onionshh.testing import seeded
from onionshh.wire import mailbox as w
from tests.core.networks import relay_id, row

A, B, C, D, E = map(relay_id, range(5))
TRIED, STORED, ERASED = CopyState.TRIED, CopyState.STORED, CopyState.ERASED
ANSWERS = (w.STORED, w.STALE, w.REFUSED, w.FULL, w.DEAR)


def places(*sides: tuple[RelayId, ...]) -> Places:
    return tuple(tuple(row(0, identity=relay) for relay in side) for side in sides)


FOUR = places((A, B), (C, D))


def copies(*known: Copy, seed: int = 1, aim: Places | None = FOUR) -> Copies:
    made = Copies(Chance(seeded(seed)), 0.0, known)
    made.aim(aim)
    return made


def ask(made: Copies, now: float, status: int = w.STORED, *, recall: bool = False) -> Copy:
    """Ask whoever is next, who answers so. The time is when it is due, or later."""
    upcoming = made.next(now)
    assert upcoming is not None
    at = max(now, upcoming.at)
    copy = made.began(upcoming.copy.relay, at)
    return made.answered(copy.relay, status, at, recall=recall) or copy


@pytest.mark.parametrize("seed", range(8))
def test_two_answers_make_it_safe_and_four_are_all(seed: int) -> None:
    made, now, asked = copies(seed=seed), 0.0, []
    for number in range(4):
        upcoming = made.next(now)
        assert upcoming is not None
        wait = upcoming.at - now
        assert (wait == 0) if not number else APART_LEAST_SECONDS <= wait <= APART_MOST_SECONDS
        assert (made.stored, made.enough) == (number, number >= 2)
        now = upcoming.at
        asked.append(ask(made, now))
    assert {copy.relay for copy in asked} == {A, B, C, D}
    assert {copy.place for copy in asked[:2]} == {0, 1}
    assert all(copy.state is STORED for copy in asked)
    assert (made.stored, made.enough, made.next(now)) == (4, True, None)


def test_the_seed_decides_the_order_and_the_times() -> None:
    def run(seed: int) -> list[tuple[RelayId, float]]:
        made, now, found = copies(seed=seed), 0.0, []
        while (upcoming := made.next(now)) is not None:
            found.append((upcoming.copy.relay, upcoming.at))
            now = upcoming.at
            ask(made, now)
        return found

    assert run(3) == run(3)
    assert len({tuple(run(seed)) for seed in range(6)}) == 6


def test_while_one_relay_is_asked_no_other_is() -> None:
    made = copies()
    upcoming = made.next(0.0)
    assert upcoming is not None
    made.began(upcoming.copy.relay, 0.0)
    assert made.next(100.0) is None
    made.answered(upcoming.copy.relay, w.FULL, 100.0)
    later = made.next(100.0)
    assert later is not None
    assert later.copy.relay != upcoming.copy.relay


def test_a_relay_that_fails_is_asked_again_ever_later_and_others_first() -> None:
    made, now, waits = copies(aim=places((A,))), 0.0, []
    for _ in range(9):
        upcoming = made.next(now)
        assert upcoming is not None
        waits.append(upcoming.at - now)
        now = upcoming.at
        made.began(A, now)
        made.failed(A, now)
    assert waits[0] == 0
    for number, wait in enumerate(waits[1:]):
        most = min(LATER_MOST_SECONDS, LATER_SECONDS * 2**number)
        assert 0.75 * most <= wait <= max(1.25 * most, APART_MOST_SECONDS)


def test_while_we_are_offline_the_wait_does_not_grow() -> None:
    made, now = copies(aim=places((A,))), 0.0
    for _ in range(9):
        upcoming = made.next(now)
        assert upcoming is not None
        assert upcoming.at - now <= 1.25 * LATER_SECONDS
        now = upcoming.at
        made.began(A, now)
        made.failed(A, now, offline=True)


@pytest.mark.parametrize("state", [None, *CopyState])
@pytest.mark.parametrize("recalled", [False, True])
@pytest.mark.parametrize("status", [*ANSWERS, None])
def test_every_state_and_every_answer(state: CopyState | None, recalled: bool, status: int | None) -> None:
    made = copies(*([Copy(A, 0, state)] if state else []), aim=places((A,)))
    if recalled:
        made.recall(0.0)
    asked = state in ((TRIED, STORED) if recalled else (None, TRIED))
    upcoming = made.next(0.0)
    assert (upcoming is not None) == asked
    if upcoming is None:
        return
    began = made.began(A, upcoming.at)
    assert began.state is (state or TRIED)
    if status is None:
        made.failed(A, upcoming.at)
        changed = None
    else:
        changed = made.answered(A, status, upcoming.at, recall=recalled)
    if status in (w.STORED, w.STALE):
        assert changed == Copy(A, 0, ERASED if recalled else STORED)
        assert made.next(1e6) is None
        assert (made.stored, made.erased) == ((0, True) if recalled else (1, False))
        assert made.read is (status == w.STALE)
    else:
        assert changed is None
        again = made.next(upcoming.at)
        assert again is not None
        assert again.at >= upcoming.at + 0.75 * LATER_SECONDS
        assert again.copy.state is (state or TRIED)
        assert (made.stored, made.erased) == (0, False)


def test_a_recall_asks_all_that_may_have_it_at_once_and_nobody_else() -> None:
    made, now = copies(), 0.0
    first = ask(made, now)
    second = ask(made, 40.0, w.FULL)
    made.recall(41.0)
    assert (made.stored, made.enough, made.erased) == (0, False, False)
    asked = []
    while (upcoming := made.next(41.0)) is not None:
        assert upcoming.at == 41.0
        asked.append(made.began(upcoming.copy.relay, 41.0).relay)
    assert sorted(asked) == sorted([first.relay, second.relay])
    for relay in asked:
        assert not made.erased
        made.answered(relay, w.STORED, 42.0, recall=True)
    assert made.erased


def test_a_put_that_is_on_its_way_is_called_back_when_it_has_ended() -> None:
    made = copies()
    copy = made.began(A, 0.0)
    made.recall(1.0)
    assert made.next(1.0) is None
    assert not made.erased
    assert made.answered(copy.relay, w.STORED, 2.0) == Copy(A, 0, STORED)
    upcoming = made.next(2.0)
    assert upcoming is not None
    assert upcoming.copy == Copy(A, 0, STORED)


def test_what_was_never_tried_needs_no_recall() -> None:
    made = copies()
    made.recall(0.0)
    assert made.erased
    assert made.next(0.0) is None


def test_all_say_no() -> None:
    made, now = copies(), 0.0
    for status in (w.REFUSED, w.FULL, w.DEAR):
        ask(made, now, status)
        assert made.refusals == frozenset()
        now += 40
    upcoming = made.next(now)
    assert upcoming is not None
    made.began(upcoming.copy.relay, now)
    made.failed(upcoming.copy.relay, now)
    assert made.refusals == frozenset()  # of one it is not known
    now = 1e5
    for _ in range(4):
        ask(made, now, w.FULL)
        now += 40
    assert made.refusals == {w.FULL}
    ask(made, 1e6)
    assert made.refusals == {w.FULL}  # the other place still takes nothing
    for number in range(3):
        ask(made, 1e6 + 40 * (number + 1))
    assert made.enough
    assert made.refusals == frozenset()


def test_one_that_never_answers_does_not_hide_what_the_others_say() -> None:
    made, now = copies(), 0.0
    silent = None
    for _ in range(20):
        upcoming = made.next(now)
        assert upcoming is not None
        now = max(now, upcoming.at)
        silent = silent or upcoming.copy.relay
        made.began(upcoming.copy.relay, now)
        if upcoming.copy.relay == silent:
            made.failed(silent, now)
        else:
            made.answered(upcoming.copy.relay, w.FULL, now)
    assert made.refusals == {w.FULL}


def test_whoever_wanted_more_is_asked_at_once_when_it_is_paid() -> None:
    made = copies(aim=places((A, B)))
    for now, relay in ((0.0, A), (1.0, B)):
        made.began(relay, now)
        made.answered(relay, w.DEAR, now)
    upcoming = made.next(2.0)
    assert upcoming is not None
    assert upcoming.at > 20.0
    made.paid(2.0)
    upcoming = made.next(2.0)
    assert upcoming is not None
    assert upcoming.at <= 1.0 + APART_MOST_SECONDS
    assert made.refusals == frozenset()


def test_known_copies_go_on_within_half_a_minute() -> None:
    made = copies(Copy(A, 0, STORED), Copy(C, 1, TRIED))
    assert (made.stored, made.enough) == (1, False)
    upcoming = made.next(0.0)
    assert upcoming is not None
    assert 0 < upcoming.at <= APART_MOST_SECONDS
    assert upcoming.copy.place == 1  # the place that has none yet


def test_a_network_that_changed_has_other_aims() -> None:
    made = copies()
    made.began(A, 0.0)
    made.answered(A, w.STORED, 0.0)
    made.began(B, 0.0)
    made.failed(B, 0.0)
    made.aim(places((A, E), (C, D)))  # B has left
    seen, now = set(), 100.0
    while (upcoming := made.next(now)) is not None:
        now = upcoming.at
        seen.add(ask(made, now).relay)
    assert (seen, made.stored) == ({C, D, E}, 4)
    made.recall(now)
    upcoming = made.next(now)
    asked = set()
    while (upcoming := made.next(now)) is not None:
        asked.add(made.began(upcoming.copy.relay, now).relay)
    assert asked == {A, B, C, D, E}  # B may have it after all


def test_without_a_consensus_for_its_period_nobody_is_asked() -> None:
    made = copies()
    ask(made, 0.0)
    made.aim(None)
    assert (made.next(100.0), made.stored) == (None, 1)
    made.aim(FOUR)
    assert made.next(100.0) is not None


def test_a_small_network_has_fewer_copies_and_they_are_enough() -> None:
    made = copies(aim=places((A,), ()))
    assert not made.enough
    ask(made, 0.0)
    assert (made.stored, made.enough, made.next(100.0)) == (1, True, None)


def test_before_the_network_is_known_both_places_must_have_it() -> None:
    chance = Chance(seeded(1))
    assert not Copies(chance, 0.0, [Copy(A, 0, STORED)]).enough
    made = Copies(chance, 0.0, [Copy(A, 0, STORED), Copy(C, 1, STORED)])
    assert made.enough
    assert made.next(0.0) is None


def test_what_is_extended_goes_to_all_of_them_once_more() -> None:
    made, now = copies(), 0.0
    while (upcoming := made.next(now)) is not None:
        now = upcoming.at
        ask(made, now)
    assert (made.stored, made.enough) == (4, True)
    made.extended(now)
    assert (made.stored, made.enough, made.erased) == (0, False, False)
    assert made.refusals == frozenset()
    first = made.next(now)
    assert first is not None
    assert (first.at, first.copy.state) == (now, TRIED)  # the first at once, the others apart as ever
    asked, times = set(), []
    while (upcoming := made.next(now)) is not None:
        now = upcoming.at
        times.append(now)
        asked.add(ask(made, now).relay)
    assert asked == {A, B, C, D}
    assert all(
        APART_LEAST_SECONDS <= later - earlier <= APART_MOST_SECONDS for earlier, later in pairwise(times)
    )
    assert (made.stored, made.enough) == (4, True)


@pytest.mark.parametrize("state", list(CopyState))
def test_an_extension_asks_whoever_has_it_or_may_have_it(state: CopyState) -> None:
    made = copies(Copy(A, 0, state), aim=places((A,)))
    made.extended(5.0)
    upcoming = made.next(5.0)
    if state is ERASED:
        assert upcoming is None
    else:
        assert upcoming is not None
        assert (upcoming.copy, upcoming.at) == (Copy(A, 0, TRIED), 5.0)


def test_an_extension_forgets_refusals_and_failures() -> None:
    made = copies(aim=places((A,)))
    for now in (0.0, 1000.0):
        made.began(A, now)
        made.answered(A, w.DEAR, now)
    assert made.refusals == {w.DEAR}
    made.extended(1001.0)
    assert made.refusals == frozenset()
    upcoming = made.next(1001.0)
    assert upcoming is not None
    assert upcoming.at == 1001.0
    made.began(A, 1001.0)
    made.failed(A, 1001.0)
    again = made.next(1001.0)
    assert again is not None
    assert again.at <= 1001.0 + 1.25 * LATER_SECONDS


def test_a_put_that_is_on_its_way_is_not_doubled_by_an_extension() -> None:
    made = copies()
    upcoming = made.next(0.0)
    assert upcoming is not None
    copy = made.began(upcoming.copy.relay, 0.0)
    made.extended(1.0)
    assert made.next(1.0) is None
    made.failed(copy.relay, 2.0, offline=True)  # its answer was for the end before
    made.extended(2.0)
    again = made.next(2.0)
    assert again is not None
    assert again.at == 2.0


def test_what_is_extended_can_be_called_back() -> None:
    made = copies(Copy(A, 0, STORED), Copy(C, 1, STORED))
    made.extended(1.0)
    made.recall(2.0)
    asked = set()
    while (upcoming := made.next(2.0)) is not None:
        asked.add(made.began(upcoming.copy.relay, 2.0).relay)
    assert asked == {A, C}
