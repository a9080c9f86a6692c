"""Building a consensus: weights within their cap, flags by rule, random values that never change."""

from __future__ import annotations

from random import Random

import pytest

from onionshh.core.base.params import Params
from onionshh.core.paths.view import View
from onionshh.directory.consensus import (
    RANDOM_KEPT_MOST,
    build,
    capped_weights,
    kept_random,
    next_boundary,
    next_random,
    periods_before,
    weights_of,
)
from onionshh.directory.entry import Listed
from onionshh.ids import RelayId
from onionshh.wire import consensus as wire
from onionshh.wire.consensus import MOST_RANDOM, Consensus, SharedRandom
from onionshh.wire.descriptor import Address, Paced
from tests.directory.world import WALL, descriptor
from tests.seeded import seeded

DAY = 86400


def built(*listed: Listed, params: Params | None = None, valid_after: int = WALL) -> Consensus:
    return build(listed, network="test", params=params or Params(), shared_random=(), valid_after=valid_after)


def test_what_a_relay_says_is_what_its_row_says() -> None:
    word = descriptor(1, family=(RelayId(b"f" * 32),), versions=(1, 2), software="onionshh 0.1.0")
    (row,) = built(Listed(word, WALL - 5)).relays
    for name in ("identity", "onion_key", "nickname", "addresses", "family", "versions", "software"):
        assert getattr(row, name) == getattr(word, name)
    assert row.first_seen == WALL - 5


def test_the_addresses_that_were_checked_are_listed() -> None:
    four, six = Address.of("8.0.0.1", 1), Address.of("2001:db8::1", 2)
    onion = Address.of("a2" * 28 + ".onion", 3)
    rows = built(
        Listed(descriptor(1, addresses=(four, six, onion)), WALL),
        Listed(descriptor(2, addresses=(six, onion)), WALL),
    ).relays
    assert {row.nickname: row.addresses for row in rows} == {
        "relay1": (four, six, onion),
        "relay2": (six, onion),
    }


def test_a_relay_that_only_tor_reaches_is_no_ring_relay() -> None:
    onion = Address.of("a2" * 28 + ".onion", 3)
    both = (Address.of("8.0.0.1", 1), onion)
    rows = built(
        Listed(descriptor(1, addresses=both), WALL), Listed(descriptor(2, addresses=(onion,)), WALL)
    ).relays
    assert {row.nickname: bool(row.flags & wire.RING) for row in rows} == {"relay1": True, "relay2": False}
    assert all(row.flags & wire.GUARD for row in rows)


@pytest.mark.parametrize("others", [0, 1, 3, 40])
@pytest.mark.parametrize("hidden", [1, 2, 7, 100])
@pytest.mark.parametrize("claim", [0, 5, 10**9])
def test_all_relays_that_only_tor_reaches_weigh_no_more_than_one_other(
    others: int, hidden: int, claim: int
) -> None:
    onions = [
        descriptor(n, addresses=(Address.of("a2" * 28 + ".onion", 1 + n),), bandwidth=claim)
        for n in range(hidden)
    ]
    plain = [descriptor(1000 + n, bandwidth=1000 * (1 + n)) for n in range(others)]
    weights = weights_of([*onions, *plain], 5)
    theirs, ours = weights[:hidden], weights[hidden:]
    assert min(weights) >= 1
    assert max(weights) <= 2**40
    assert sum(theirs) <= max(ours, default=hidden)
    scale = ours[0] // capped_weights([1000 * (1 + n) for n in range(others)], 5)[0] if others else 1
    assert ours == [scale * weight for weight in capped_weights([1000 * (1 + n) for n in range(others)], 5)]


def test_the_crowd_is_the_sum_of_what_the_listed_relays_say() -> None:
    assert built().crowd == (0, 0)
    said = [Paced(64, 0), Paced(1, 2), Paced(0, 4096), Paced()]
    listed = [Listed(descriptor(i, paced=paced), WALL) for i, paced in enumerate(said)]
    assert built(*listed).crowd == Paced(65, 4098)
    assert wire.decode_body_untrusted(built(*listed).encode_body()).crowd == Paced(65, 4098)


def test_previous_and_votes() -> None:
    consensus = build(
        (), network="test", params=Params(), shared_random=(), valid_after=WALL, previous=b"p" * 32
    )
    assert (consensus.previous, consensus.votes) == (b"p" * 32, ())
    assert built().previous == b""


def test_the_body_can_be_read_back_and_its_rows_are_sorted() -> None:
    consensus = built(*(Listed(descriptor(i), WALL) for i in range(30)))
    assert wire.decode_body_untrusted(consensus.encode_body()) == consensus
    assert len(View(consensus).relays) == 30


def test_dates() -> None:
    consensus = built(valid_after=WALL + 7)
    assert consensus.valid_after == WALL + 7
    assert consensus.fresh_until == WALL + 3600
    assert consensus.valid_until == WALL + 7 + DAY
    assert [next_boundary(t, 5) for t in (0, 4, 5)] == [5, 5, 10]


@pytest.mark.parametrize("count", [1, 2, 8, 20])
def test_few_relays_weigh_the_same(count: int) -> None:
    claims = [10**i for i in range(count)]
    assert len(set(capped_weights(claims, 5))) == 1


@pytest.mark.parametrize("seed", range(20))
def test_nobody_weighs_more_than_the_cap_and_the_cap_is_used(seed: int) -> None:
    random = Random(seed)
    count = random.randrange(21, 300)
    claims = [int(random.paretovariate(0.3)) % 10**12 for _ in range(count)]
    weights = capped_weights(claims, 5)
    assert max(weights) * 100 <= 5 * sum(weights)
    honest = [max(1, claim) for claim in claims]
    if max(honest) * 100 <= 5 * sum(honest):
        assert weights == honest
    for claim, weight in zip(honest, weights, strict=True):
        assert weight in (claim, max(weights))
    if weights != honest:  # one step more would be over
        most = max(weights) + 1
        larger = [min(claim, most) for claim in honest]
        assert most * 100 > 5 * sum(larger)


def test_a_claim_of_nothing_still_counts() -> None:
    assert min(capped_weights([0] * 30, 5)) == 1


def test_guard_by_age() -> None:
    ages = [20 * DAY, 9 * DAY, 8 * DAY, 8 * DAY - 1, 0]
    rows = built(*(Listed(descriptor(i), WALL - age) for i, age in enumerate(ages))).relays
    guards = {row.nickname for row in rows if row.flags & wire.GUARD}
    assert guards == {"relay0", "relay1", "relay2"}


def test_a_young_network_has_guards_from_its_first_day() -> None:
    rows = built(*(Listed(descriptor(i), WALL - 10 * i) for i in range(5))).relays
    assert {row.nickname for row in rows if row.flags & wire.GUARD} == {"relay2", "relay3", "relay4"}


def test_ring_by_what_the_relay_offers_and_fast_by_what_it_claims() -> None:
    able, unable = descriptor(1), descriptor(2, capabilities=0)
    fast, slow = descriptor(3, bandwidth=1_000_000), descriptor(4, bandwidth=999_999)
    rows = {
        row.nickname: row.flags
        for row in built(*(Listed(d, WALL) for d in (able, unable, fast, slow))).relays
    }
    assert rows["relay1"] & wire.RING
    assert not rows["relay2"] & wire.RING
    assert rows["relay3"] & wire.FAST
    assert not rows["relay4"] & wire.FAST


def test_newcomers_cannot_push_out_those_long_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "CONSENSUS_RELAYS_MOST", 3)
    rows = built(*(Listed(descriptor(i), WALL - (100 - i)) for i in range(6))).relays
    assert {row.nickname for row in rows} == {"relay0", "relay1", "relay2"}


# Shared random rows (SPEC 10).

PERIOD = WALL // DAY


def rows_at(wall: int, held: tuple[SharedRandom, ...] = (), seed: int = 1) -> tuple[SharedRandom, ...]:
    return next_random(held, params=Params(), valid_after=wall, random_bytes=seeded(seed))


def test_previous_and_current_and_from_the_middle_on_the_next() -> None:
    start = PERIOD * DAY
    assert [row.period for row in rows_at(start)] == [PERIOD - 1, PERIOD]
    assert [row.period for row in rows_at(start + DAY // 2 - 1)] == [PERIOD - 1, PERIOD]
    assert [row.period for row in rows_at(start + DAY // 2)] == [PERIOD - 1, PERIOD, PERIOD + 1]
    assert [row.period for row in rows_at(start + DAY)] == [PERIOD, PERIOD + 1]
    assert [row.period for row in rows_at(5)] == [0]


def test_those_of_the_last_seven_days_stay() -> None:
    held: tuple[SharedRandom, ...] = ()
    for half in range(40):
        held = rows_at(PERIOD * DAY + half * DAY // 2, held, seed=half)
        latest = PERIOD + (half + 1) // 2
        first = max(PERIOD - 1, PERIOD + half // 2 - 7)
        assert [row.period for row in held] == list(range(first, latest + 1))
    assert len(held) == 9


def test_a_value_of_a_day_that_the_authority_missed_is_not_made_up() -> None:
    before = rows_at(PERIOD * DAY)
    after = rows_at((PERIOD + 4) * DAY, before)
    assert [row.period for row in after] == [PERIOD - 1, PERIOD, PERIOD + 3, PERIOD + 4]
    assert after[:2] == before


@pytest.mark.parametrize(
    ("hours", "before"), [(1 / 60, 14), (1, 14), (12, 14), (13, 13), (24, 7), (25, 7), (7 * 24, 1), (720, 1)]
)
def test_seven_days_of_periods_but_no_more_than_a_document_holds(hours: float, before: int) -> None:
    """Rounded up, and with the current period and the next at most 16."""
    seconds = int(hours * 3600)
    assert periods_before(seconds) == before
    params = Params().with_overrides({"period_seconds": seconds})
    held: tuple[SharedRandom, ...] = ()
    for half in range(40):
        held = next_random(
            held,
            params=params,
            valid_after=WALL // seconds * seconds + half * -(-seconds // 2),
            random_bytes=seeded(half),
        )
        assert len(held) <= min(before + 2, MOST_RANDOM)
    assert len(held) == before + 2


def test_the_state_keeps_what_is_published_and_what_a_jump_left() -> None:
    """A week is published; the clock jumps twice and comes back. Nothing of the week is lost, though it has
    as many rows as there may be."""
    params = Params().with_overrides({"period_seconds": DAY // 2})
    seen: dict[int, bytes] = {}
    held: tuple[SharedRandom, ...] = ()
    walls = [WALL + 6 * 3600 * step for step in range(40)]
    for seed, wall in enumerate((*walls, walls[-1] + 100 * DAY, walls[-1] + 200 * DAY, walls[-1])):
        rows = next_random(held, params=params, valid_after=wall, random_bytes=seeded(seed))
        held = kept_random(held, rows)
        assert len(held) <= RANDOM_KEPT_MOST
        assert set(rows) <= set(held)
        for row in rows:
            assert seen.setdefault(row.period, row.value) == row.value
    assert len(rows) == MOST_RANDOM


def test_a_value_never_changes_and_keeps_the_time_it_was_first_published() -> None:
    held: tuple[SharedRandom, ...] = ()
    seen: dict[int, SharedRandom] = {}
    for hour in range(100):
        held = rows_at(PERIOD * DAY + hour * 3600, held, seed=hour)
        for row in held:
            assert seen.setdefault(row.period, row) == row
    assert len({row.value for row in seen.values()}) == len(seen) == 6
    assert seen[PERIOD + 1].published == PERIOD * DAY + DAY // 2


def test_the_seed_governs_the_values() -> None:
    assert rows_at(WALL, seed=1) == rows_at(WALL, seed=1) != rows_at(WALL, seed=2)
