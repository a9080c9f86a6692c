from __future__ import annotations

from collections import Counter

import pytest

from onionshh.core.base.chance import Chance
from onionshh.core.base.params import Params
from onionshh.core.endpoint.ring import (
    fetch_few,
    fetch_order,
    node_position,
    positions,
    responsible,
    store_position,
)
from onionshh.crypto.primitives import kdf
from onionshh.wire.consensus import GUARD
from tests.core.networks import DAY, START, changed, plain, relay_id, row, view
from tests.seeded import seeded

KEY = bytes(range(32))


def test_the_positions_are_the_hashes_that_were_agreed() -> None:
    assert node_position(relay_id(1), b"s" * 32, 5) == kdf("node", relay_id(1), b"s" * 32, bytes(7) + b"\x05")
    assert store_position(KEY, 1, 5) == kdf("store", KEY, bytes(7) + b"\x01", bytes(7) + b"\x05")


@pytest.mark.parametrize("relays", [8, 9, 20])
def test_eight_distinct_relays_keep_it_four_a_replica_each_the_next_on_the_ring(relays: int) -> None:
    network = view(plain(relays))
    period = network.period
    srv = network.shared_random(period)
    assert srv is not None
    ring = sorted(network.relays, key=lambda r: node_position(r.identity, srv, period))
    for number in range(40):
        key = kdf("test", number.to_bytes(4, "big"))
        replicas = responsible(network, period, key)
        assert replicas is not None
        taken: list[bytes] = []
        for replica, kept in enumerate(replicas):
            after = store_position(key, replica, period)
            clockwise = [r for r in ring if node_position(r.identity, srv, period) >= after]
            clockwise += [r for r in ring if r not in clockwise]
            expected = [r for r in clockwise if r.identity not in taken][:4]
            assert list(kept) == expected
            taken += [r.identity for r in kept]
        assert len(set(taken)) == 8


@pytest.mark.parametrize("relays", [1, 3, 7])
def test_with_fewer_than_eight_all_keep_it(relays: int) -> None:
    network = view(plain(relays))
    replicas = responsible(network, network.period, KEY)
    assert replicas is not None
    assert {r.identity for kept in replicas for r in kept} == {r.identity for r in network.relays}
    assert sum(map(len, replicas)) == relays
    order = fetch_order(network, network.period, KEY, Chance(seeded(1)))
    assert order is not None
    assert len(set(order)) == relays


def test_only_relays_with_the_flag_that_were_there_early_enough() -> None:
    rows = plain(4)
    rows[0] = changed(rows[0], flags=GUARD)
    rows[1] = changed(rows[1], first_seen=START)
    network = view(rows)
    ring = positions(network, network.period)
    assert ring is not None
    assert {r.nickname for kept in ring.responsible(KEY) for r in kept} == {"relay2", "relay3"}
    young = view(rows, params=Params(ring_age_seconds=0))
    ring = positions(young, young.period)
    assert ring is not None
    assert len(ring) == 3


def test_another_period_is_another_ring_and_an_unknown_one_is_none() -> None:
    network = view(plain(60))
    period = network.period
    sets = {responsible(network, p, KEY) for p in (period - 1, period, period + 1)}
    assert len(sets) == 3
    assert responsible(network, period + 2, KEY) is None
    assert fetch_order(network, period - 2, KEY, Chance(seeded(1))) is None
    assert positions(network, period + 2) is None


def test_asked_first_is_a_random_one_of_the_first_three_of_a_replica_then_all_others() -> None:
    network = view(plain(20))
    replicas = responsible(network, network.period, KEY)
    assert replicas is not None
    near = {r.identity for kept in replicas for r in kept[:3]}
    everyone = {r.identity for kept in replicas for r in kept}
    firsts: Counter[bytes] = Counter()
    for seed in range(600):
        order = fetch_order(network, network.period, KEY, Chance(seeded(seed)))
        assert order is not None
        assert {r.identity for r in order[:6]} == near
        assert {r.identity for r in order} == everyone
        assert len(order) == 8
        firsts[order[0].identity] += 1
    assert set(firsts) == near
    assert min(firsts.values()) > 60


def test_few_are_one_of_the_first_three_of_each_replica() -> None:
    network = view(plain(20))
    replicas = responsible(network, network.period, KEY)
    assert replicas is not None
    seen: Counter[bytes] = Counter()
    for seed in range(300):
        few = fetch_few(network, network.period, KEY, Chance(seeded(seed)))
        assert few is not None
        assert len(few) == 2
        for kept in replicas:
            assert len({r.identity for r in few} & {r.identity for r in kept[:3]}) == 1
        seen.update(r.identity for r in few)
    assert len(seen) == 6
    assert min(seen.values()) > 60
    assert fetch_few(network, network.period + 2, KEY, Chance(seeded(1))) is None
    alone = view(plain(1))
    assert fetch_few(alone, alone.period, KEY, Chance(seeded(1))) == alone.relays


def test_who_is_asked_about_a_period_that_is_over_was_published_to() -> None:
    """Relays join and leave for a week: of each place one. None joins a ring that is known already."""
    before = view(plain(40))
    asked, right = 0, 0
    for number in range(50):
        key = kdf("test", number.to_bytes(4, "big"))
        kept = responsible(before, before.period, key)
        assert kept is not None
        gone = {kept[0][0].identity, kept[1][1].identity}
        rows = [r for r in plain(40) if r.identity not in gone]
        after = view(rows + [row(n, first_seen=START + DAY) for n in range(100, 140)])
        few = fetch_few(after, before.period, key, Chance(seeded(number)))
        assert few is not None
        had = set(few) & {r for replica in kept for r in replica}
        assert had
        asked, right = asked + len(few), right + len(had)
    assert right > 0.9 * asked  # where the two places lie side by side, one may have moved on


def test_the_ring_turns_with_the_period_of_the_consensus_not_the_clock() -> None:
    rows = [row(n) for n in range(20)]
    today, tomorrow = view(rows), view(rows, at=START + DAY + DAY // 2)
    assert tomorrow.period == today.period + 1
    assert responsible(today, today.period + 1, KEY) == responsible(tomorrow, tomorrow.period, KEY)
