"""Which introducers an endpoint has and gives up: every input, with nothing that waits (SPEC 11)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from onionshh.core.base.chance import Chance
from onionshh.core.base.params import Params
from onionshh.core.endpoint.introducers import (
    BURST_UNLIMITED,
    DOUBTS_MOST,
    FAILURES_MOST,
    JUNK_MOST,
    JUNK_SECONDS,
    OVERLAP_PART,
    REPLACING_SECONDS,
    SHUNNED_SECONDS,
    STEADY_SECONDS,
    TARGET_FAILURES_MOST,
    Decision,
    GiveUp,
    HeldIntroducer,
    IntroducerSet,
    Spare,
)
from onionshh.core.paths.view import View
from onionshh.crypto.identity import SigningKey
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from tests.core.networks import START, plain, relay_id, view
from tests.seeded import seeded

WALL = START
HOUR = 3600.0
UNLIMITED = Params().with_overrides({"introduce_rate": 0})
LIMITED = Params().with_overrides({"introduce_rate": 4, "introduce_burst": 10})


def made(wanted: int = 2, own: frozenset[RelayId] = frozenset(), seed: int = 1) -> IntroducerSet:
    return IntroducerSet(wanted, Chance(seeded(seed)), own)


def fill(ours: IntroducerSet, seen: View, now: float = 0.0) -> list[bytes]:
    """Take what is missing, and have a circuit to each at once; their keys."""
    keys = []
    for held, ends in ours.draw(seen, frozenset(), now, WALL + int(now)).items():
        ours.taken(held, ends)
        ours.stands(held.key.public, now)
        keys.append(held.key.public)
    return keys


def gone(ours: IntroducerSet, key: bytes, now: float) -> None:
    """What the driver does with one that was given up."""
    ours.falls(key, now)
    ours.over(key)


def reasons(decisions: tuple[Decision, ...]) -> list[str]:
    return [one.reason if isinstance(one, GiveUp) else "spared" for one in decisions]


@pytest.mark.parametrize(
    "relays, wanted, own, expected", [(8, 6, 0, 6), (5, 6, 0, 5), (5, 1, 0, 1), (5, 6, 2, 3), (2, 2, 2, 0)]
)
def test_as_many_as_wanted_or_as_there_are(relays: int, wanted: int, own: int, expected: int) -> None:
    mine = frozenset(relay_id(number) for number in range(own))
    ours, seen = made(wanted, mine), view(plain(relays))
    assert not ours.complete(seen, 0)
    assert ours.target(seen, 0) == expected
    assert len(fill(ours, seen)) == expected
    assert ours.complete(seen, 0) == (expected > 0)
    assert not fill(ours, seen)
    at = [entry.relay_id for entry in ours.entries]
    assert len(set(at)) == expected
    assert not mine & set(at)


def test_without_a_consensus_none_is_wanted_and_nothing_is_complete() -> None:
    ours = made()
    assert ours.target(None, 0) == 0
    assert not ours.complete(None, 0)


def test_the_seed_governs_who_is_drawn_and_for_how_long() -> None:
    seen = view(plain(20))
    drawn = [
        [
            (held.relay, held.key.public, ends)
            for held, ends in made(6, seed=seed).draw(seen, frozenset(), 0, 0).items()
        ]
        for seed in (1, 2, 1)
    ]
    assert drawn[0] == drawn[2] != drawn[1]


def test_one_that_is_about_to_end_is_replaced_before_it_ends_and_may_be_drawn_again() -> None:
    seen = view(plain(2))
    params, ours = seen.params, made(2)
    first = ours.draw(seen, frozenset(), 0, WALL)
    for held, ends in first.items():
        ours.taken(held, ends)
        assert params.introducer_life_min_seconds <= ends <= params.introducer_life_max_seconds
        assert held.expiry == pytest.approx(WALL + ends, abs=1)
    soonest = min(first.values())
    overlap = params.introducer_life_min_seconds // OVERLAP_PART
    assert not ours.draw(seen, frozenset(), soonest - overlap - 1, WALL)
    (new,) = ours.draw(seen, frozenset(), soonest - overlap, WALL)
    assert new.relay == min(first, key=lambda held: first[held]).relay
    assert new.key.public not in {held.key.public for held in first}


@pytest.mark.parametrize("off", [0, 20 * 365 * 86400, -20 * 365 * 86400])
def test_those_of_an_earlier_run_live_as_long_as_their_date_leaves_them_and_no_longer_than_any(
    off: int,
) -> None:
    ours, params, now = made(2), Params(), 1000.0
    most = params.introducer_life_max_seconds
    held = [
        HeldIntroducer(relay_id(number), SigningKey(bytes([number]) * 32), WALL + off + 500 * number)
        for number in (1, 2, 3)
    ]
    again = ours.restored(held, params, now, WALL)
    assert list(again) == held[:2]  # the third is too many
    expected = {0: (500, 1000), 20 * 365 * 86400: (most, most), -20 * 365 * 86400: (0, 0)}[off]
    assert tuple(ends - now for ends in again.values()) == expected


def test_it_has_failed_after_so_many_failures_its_own_count_more() -> None:
    for its_fault, most in ((True, TARGET_FAILURES_MOST), (False, FAILURES_MOST)):
        ours = made(1)
        (held,) = ours.draw(view(plain(3)), frozenset(), 0, WALL)
        key = held.key.public
        ours.taken(held, HOUR)
        for _ in range(most):
            assert not ours.has_failed(key)
            ours.not_had(key, its_fault=its_fault)
        assert ours.has_failed(key)


@pytest.mark.parametrize("lasts, fails", [(STEADY_SECONDS - 0.1, True), (STEADY_SECONDS, False)])
def test_a_circuit_that_lasted_for_moments_was_as_good_as_none(lasts: float, fails: bool) -> None:
    ours = made(1)
    (key,) = fill(ours, view(plain(3)))
    ours.falls(key, lasts)
    now = lasts
    for _ in range(FAILURES_MOST - 1):
        assert not ours.has_failed(key)
        ours.stands(key, now)
        assert len(ours.entries) == 1
        now += lasts
        ours.falls(key, now)
        assert not ours.entries
    assert ours.has_failed(key) == fails


def test_a_steady_circuit_makes_up_for_what_failed_before() -> None:
    ours = made(1)
    (key,) = fill(ours, view(plain(3)))
    for turn in range(3):
        ours.not_had(key, its_fault=True)
        assert not ours.has_failed(key)
        ours.stands(key, 100.0 * turn)
        ours.falls(key, 100.0 * turn + STEADY_SECONDS)


Misdeed = Callable[[IntroducerSet, bytes, float], tuple[Decision, ...]]


def _floods(ours: IntroducerSet, key: bytes, now: float) -> tuple[Decision, ...]:
    for _ in range(10_000):
        if found := ours.brought(key, UNLIMITED, now):
            return found
    raise AssertionError("it was never too much")


def _doubts(ours: IntroducerSet, key: bytes, now: float) -> tuple[Decision, ...]:
    for _ in range(DOUBTS_MOST - 1):
        assert not ours.doubted(key, now)
    return ours.doubted(key, now)


def _junk(ours: IntroducerSet, key: bytes, now: float) -> tuple[Decision, ...]:
    for _ in range(JUNK_MOST):
        assert not ours.brought_junk(key, now)
    return ours.brought_junk(key, now)


MISDEEDS: dict[str, tuple[Misdeed, str, bool, bool]] = {
    # how it is done, the drop's name, whether it is then shunned, whether it may be honest
    "floods": (_floods, Reason.INTRODUCER_FLOODS, True, False),
    "left": (lambda ours, key, now: ours.left(key, now), Reason.INTRODUCER_LEFT, False, False),
    "failed": (lambda ours, key, now: ours.failed(key, "refuses", now), Reason.INTRODUCER_FAILED, True, True),
    "doubted": (_doubts, Reason.INTRODUCER_FAILED, True, True),
    "junk": (_junk, Reason.INTRODUCER_JUNK, True, True),
}


@pytest.mark.parametrize("name", MISDEEDS)
def test_each_misdeed_has_one_decision_the_first_time_and_none_afterwards(name: str) -> None:
    act, reason, shuns, _ = MISDEEDS[name]
    ours, seen = made(2), view(plain(9))
    key, other = fill(ours, seen)
    (at,) = [one.relay_id for one in ours.entries if one.auth_key == key]
    (decision,) = act(ours, key, 1.0)
    assert isinstance(decision, GiveUp)
    assert (decision.auth_key, decision.reason) == (key, reason)
    assert not ours.left(key, 1.0)
    assert not ours.failed(key, "refuses", 1.0)
    gone(ours, key, 1.0)
    assert [one.auth_key for one in ours.entries] == [other]
    assert ours.shunned(seen, 1.0) == ({at} if shuns else set())
    assert not ours.shunned(seen, 1.0 + SHUNNED_SECONDS)


@pytest.mark.parametrize("name", MISDEEDS)
def test_whoever_may_be_honest_is_replaced_only_so_often(name: str) -> None:
    act, reason, _, honest = MISDEEDS[name]
    ours, seen = made(2), view(plain(30))
    fill(ours, seen)
    found = []
    for _ in range(5):
        key = ours.entries[0].auth_key
        (decision,) = act(ours, key, 1.0)
        found += reasons((decision,))
        if isinstance(decision, Spare):
            assert decision.auth_key == key
            break
        gone(ours, key, 1.0)
        assert fill(ours, seen, 1.0)
    assert found == ([reason] * 2 + ["spared"] if honest else [reason] * 5)
    if honest:  # and again, once a part of the time is over
        key = ours.entries[1].auth_key
        assert reasons(act(ours, key, 1.0 + REPLACING_SECONDS / 2)) == [reason]


def test_what_is_not_ours_any_more_is_not_judged() -> None:
    ours = made(1)
    (key,) = fill(ours, view(plain(3)))
    gone(ours, key, 0)
    ours.proved(key)
    assert not ours.left(key, 0)
    assert not ours.doubted(key, 0)
    assert not ours.failed(key, "refuses", 0)
    assert not ours.brought_junk(key, 0)


def test_a_test_that_arrives_ends_all_doubt_and_the_doubtful_are_tested_first() -> None:
    ours = made(3)
    first, second, _ = fill(ours, view(plain(9)))
    everyone = ours.entries
    assert ours.doubtful(everyone) == everyone
    assert not ours.doubted(second, 0)
    assert [one.auth_key for one in ours.doubtful(everyone)] == [second]
    ours.proved(second)
    assert ours.doubtful(everyone) == everyone
    assert not ours.doubted(second, 0)
    assert not ours.doubted(first, 0)
    assert reasons(ours.doubted(second, 0)) == [Reason.INTRODUCER_FAILED]


@pytest.mark.parametrize("params, at_once", [(LIMITED, 15 + 128), (UNLIMITED, int(BURST_UNLIMITED))])
def test_as_fast_as_the_consensus_allows_is_no_flood(params: Params, at_once: int) -> None:
    ours = made(1)
    (key,) = fill(ours, view(plain(3)))
    assert not any(ours.brought(key, params, 0.0) for _ in range(at_once))
    rate = 1.5 * params.introduce_rate or 100
    for second in range(1, 60):
        assert not any(ours.brought(key, params, float(second)) for _ in range(int(rate)))
    assert reasons(ours.brought(key, params, 59.0)) == [Reason.INTRODUCER_FLOODS]


@pytest.mark.parametrize("params, at_once", [(Params(), 600 + 128), (UNLIMITED, int(BURST_UNLIMITED))])
def test_resumptions_have_a_rate_of_their_own(params: Params, at_once: int) -> None:
    """All that an honest introducer may pass on of both kinds is no flood, and a flood of either kind is."""
    if params is UNLIMITED:
        params = params.with_overrides({"resume_rate": 0})
    for resumption in (False, True):
        ours = made(1)
        (key,) = fill(ours, view(plain(3)))
        assert not any(ours.brought(key, params, 0.0, resumption=True) for _ in range(at_once))
        most = int(1.5 * params.introduce_burst + 128) if params.introduce_rate else at_once
        assert not any(ours.brought(key, params, 0.0) for _ in range(most))
        found = ours.brought(key, params, 0.0, resumption=resumption)
        assert reasons(found) == [Reason.INTRODUCER_FLOODS]


def test_junk_is_forgiven_in_time() -> None:
    ours = made(1)
    (key,) = fill(ours, view(plain(3)))
    for turn in range(4):
        assert not any(ours.brought_junk(key, turn * JUNK_SECONDS) for _ in range(JUNK_MOST))
    assert ours.brought_junk(key, 3 * JUNK_SECONDS)


def test_what_is_shunned_is_a_third_of_the_relays_at_most_the_latest() -> None:
    ours, seen, given_up = made(2), view(plain(6)), []
    for now in range(5):
        fill(ours, seen, float(now))
        assert ours.complete(seen, float(now))
        entry = ours.entries[0]
        _floods(ours, entry.auth_key, float(now))
        gone(ours, entry.auth_key, float(now))
        given_up.append(entry.relay_id)
    assert ours.shunned(seen, 5.0) == set(given_up[-2:])
    fill(ours, seen, 5.0)
    assert not {one.relay_id for one in ours.entries} & set(given_up[-2:])
    # With fewer relays fewer are shunned, and none of so few that all are needed.
    assert len(ours.shunned(view(plain(3)), 5.0)) == 1
    assert not ours.shunned(view(plain(2)), 5.0)


def test_what_is_shunned_is_neither_drawn_nor_counted() -> None:
    ours, seen = made(20), view(plain(9))
    assert len(fill(ours, seen)) == 9
    entry = ours.entries[4]
    ours.failed(entry.auth_key, "refuses", 1.0)
    gone(ours, entry.auth_key, 1.0)
    assert ours.target(seen, 1.0) == 8
    assert ours.complete(seen, 1.0)
    assert not fill(ours, seen, 1.0)
    assert len(fill(ours, seen, 1.0 + SHUNNED_SECONDS)) == 1


def test_whatever_the_seed_what_is_shunned_is_not_drawn_in_its_own_place() -> None:
    seen = view(plain(4))
    for seed in range(20):
        ours = made(2, seed=seed)
        fill(ours, seen)
        entry = ours.entries[0]
        ours.failed(entry.auth_key, "refuses", 1.0)
        gone(ours, entry.auth_key, 1.0)
        assert len(fill(ours, seen, 1.0)) == 1
        assert entry.relay_id not in {one.relay_id for one in ours.entries}


def test_a_consensus_without_it_gives_one_up_though_its_circuit_stands() -> None:
    ours, rows = made(2), plain(6)
    fill(ours, view(rows))
    entry = ours.entries[0]
    assert not ours.consensus(view(rows), 0)
    later = view([row for row in rows if row.identity != entry.relay_id])
    (decision,) = ours.consensus(later, 1.0)
    assert decision == GiveUp(entry.auth_key, Reason.INTRODUCER_LEFT, "has left the network")


def test_relays_that_failed_lately_come_last() -> None:
    seen = view(plain(6))
    avoid = frozenset(row.identity for row in seen.relays[:4])
    drawn = {held.relay for held in made(2).draw(seen, avoid, 0, WALL)}
    assert not drawn & avoid
    assert len({held.relay for held in made(6).draw(seen, avoid, 0, WALL)}) == 6
