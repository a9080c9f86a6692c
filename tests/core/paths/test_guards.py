from __future__ import annotations

from collections import Counter

import pytest

from onionshh.core.base.chance import Chance
from onionshh.core.paths.guards import OFFLINE_RETRY_SECONDS, GuardSet, LayerTwoGuards
from onionshh.core.paths.view import View
from onionshh.errors import ProtocolError
from onionshh.ids import RelayId
from onionshh.wire.consensus import RING
from onionshh.wire.descriptor import Address
from onionshh.wire.packing import Bin, Int, ListOf, fields, pack, unpack_untrusted
from tests.core.networks import DAY, START, changed, plain, relay_id, row, view
from tests.seeded import seeded

WALL = START


def guards_of(network: View, seed: int = 1) -> GuardSet:
    guards = GuardSet()
    assert guards.update(network, WALL, Chance(seeded(seed)))
    return guards


def bring_down(guards: GuardSet, number: int, now: float) -> None:
    for _ in range(2):
        guards.link_failed(guards.sample[number], now)


def test_the_sample_is_six_relays_with_guard_or_all_there_are() -> None:
    network = view(plain(20, lambda r: changed(r, flags=RING) if r.port % 2 else r))
    sample = guards_of(network).sample
    assert len(set(sample)) == 6
    assert all((relay := network.relay(identity)) is not None and relay.port % 2 == 0 for identity in sample)
    assert len(guards_of(view(plain(4))).sample) == 4
    none = view(plain(4, lambda r: changed(r, flags=RING)))
    assert GuardSet().update(none, WALL, Chance(seeded(1))) is False


def test_the_sample_is_drawn_by_weight() -> None:
    network = view([row(n, weight=900 if n == 0 else 50) for n in range(20)])
    firsts = Counter(guards_of(network, seed).sample[0] for seed in range(600))
    assert abs(firsts[relay_id(0)] / 600 - 900 / 1850) < 0.06


def test_our_own_relays_are_no_guards() -> None:
    own = frozenset((relay_id(0), relay_id(1)))
    guards = GuardSet()
    guards.update(view(plain(7)), WALL, Chance(seeded(1)), own)
    assert len(guards.sample) == 5
    assert not own & set(guards.sample)
    late = frozenset(guards.sample[:1])
    assert guards.update(view(plain(7)), WALL, Chance(seeded(1)), own | late) is True
    assert not late & set(guards.sample), "nor does one stay that became ours"


def test_the_first_two_that_are_up_are_used_in_order() -> None:
    network = view(plain(10))
    guards = guards_of(network)
    sample = list(guards.sample)
    assert guards.usable(network) == sample[:2]
    bring_down(guards, 0, 0.0)
    assert guards.usable(network) == sample[1:3]
    bring_down(guards, 2, 0.0)
    assert guards.usable(network) == [sample[1], sample[3]]


def test_a_guard_is_down_only_after_two_failures_in_a_row() -> None:
    network = view(plain(10))
    guards = guards_of(network)
    first = guards.sample[0]
    for _ in range(5):
        guards.link_failed(first, 0.0)
        assert first in guards.usable(network)
        guards.link_worked(first, 0.0)
    guards.link_failed(first, 0.0)
    guards.link_failed(first, 1.0)
    assert first not in guards.usable(network)


def test_a_down_guard_is_tried_after_30_s_2_min_10_min_then_hourly() -> None:
    guards = guards_of(view(plain(10)))
    first = guards.sample[0]
    now = 1000.0
    bring_down(guards, 0, now)
    for wait in (30.0, 120.0, 600.0, 3600.0, 3600.0, 3600.0):
        assert guards.next_retry(now + wait - 1) == []
        now += wait
        assert guards.next_retry(now) == [first]
        guards.link_failed(first, now)


def test_failures_that_come_together_are_one_step_of_the_schedule() -> None:
    guards = guards_of(view(plain(10)))
    for _ in range(10):
        guards.link_failed(guards.sample[0], 0.0)
    assert guards.next_retry(30.0) == [guards.sample[0]]


def test_a_guard_that_works_again_regains_its_place() -> None:
    network = view(plain(10))
    guards = guards_of(network)
    sample = list(guards.sample)
    bring_down(guards, 0, 0.0)
    guards.link_failed(sample[0], 30.0)
    guards.link_failed(sample[0], 150.0)
    guards.link_worked(sample[0], 750.0)
    assert guards.usable(network) == sample[:2]
    assert guards.next_retry(1e6) == []
    bring_down(guards, 0, 1000.0)
    assert guards.next_retry(1030.0) == [sample[0]], "the schedule starts over"


def test_all_down_is_offline_and_draws_no_others() -> None:
    network = view(plain(20))
    guards = guards_of(network)
    sample = guards.sample
    for number in range(6):
        assert not guards.all_down()
        bring_down(guards, number, 0.0)
    assert guards.all_down()
    assert guards.usable(network) == []
    assert guards.update(network, WALL + DAY, Chance(seeded(2))) is False
    assert guards.sample == sample
    assert not GuardSet().all_down()


def test_offline_the_guards_in_use_are_tried_soon_and_the_others_as_soon_as_one_works() -> None:
    """Ever less often, and every two minutes at least."""
    network = view(plain(20))
    guards = guards_of(network)
    now, most = 0.0, OFFLINE_RETRY_SECONDS[-1]
    for number in range(6):
        bring_down(guards, number, now)
    for seconds in (*OFFLINE_RETRY_SECONDS, *[most] * 10):
        assert not set(guards.sample[:2]) & set(guards.next_retry(now + seconds - 1))
        now += seconds
        for identity in guards.next_retry(now):
            guards.link_failed(identity, now)
    assert set(guards.next_retry(now + most)) >= set(guards.sample[:2])
    assert set(guards.next_retry(now + most)) < set(guards.sample)
    guards.link_worked(guards.sample[0], now + 1)
    assert guards.next_retry(now + 1) == list(guards.sample[1:])


def test_a_guard_that_moved_is_tried_at_once() -> None:
    guards = guards_of(view(plain(20)))
    bring_down(guards, 3, 1000.0)
    assert guards.next_retry(1001.0) == []
    guards.moved(guards.sample[3], 1001.0)
    guards.moved(relay_id(99), 1001.0)
    assert guards.next_retry(1001.0) == [guards.sample[3]]


def test_links_to_others_are_no_business_of_ours() -> None:
    guards = guards_of(view(plain(6)))
    guards.link_failed(relay_id(99), 0.0)
    guards.link_worked(relay_id(99), 0.0)
    assert not guards.all_down()


def test_a_guard_leaves_after_120_days_and_another_is_drawn_at_the_end() -> None:
    rows = plain(30)
    guards = GuardSet()
    guards.update(view(rows[:3]), WALL, Chance(seeded(1)))
    old = list(guards.sample)
    guards.update(view(rows), WALL + 60 * DAY, Chance(seeded(2)))
    young = list(guards.sample[3:])
    assert guards.sample[:3] == tuple(old)
    assert guards.update(view(rows), WALL + 120 * DAY - 1, Chance(seeded(3))) is False
    assert guards.update(view(rows), WALL + 120 * DAY, Chance(seeded(3))) is True
    assert list(guards.sample[:3]) == young
    assert len(set(guards.sample)) == 6


def test_a_guard_leaves_after_seven_days_out_of_the_consensus_and_not_before() -> None:
    rows = plain(12)
    network = view(rows)
    guards = guards_of(network)
    gone = guards.sample[0]
    without = view([r for r in rows if r.identity != gone])
    assert guards.update(without, WALL + DAY, Chance(seeded(2))) is True
    assert guards.sample[0] == gone
    assert gone not in guards.usable(without)
    guards.update(without, WALL + 8 * DAY - 1, Chance(seeded(3)))
    assert guards.sample[0] == gone
    back = GuardSet.from_document_untrusted(guards.to_document())
    back.update(network, WALL + 8 * DAY - 1, Chance(seeded(4)))
    back.update(without, WALL + 8 * DAY, Chance(seeded(4)))
    assert back.sample[0] == gone, "listed in between: the seven days start over"
    guards.update(without, WALL + 8 * DAY, Chance(seeded(5)))
    assert gone not in guards.sample
    assert len(guards.sample) == 6


def test_a_guard_that_lost_its_flag_or_address_stays() -> None:
    rows = plain(12)
    guards = guards_of(view(rows))
    later = view([changed(r, flags=0, host="192.0.2.1", weight=0) for r in rows])
    assert guards.update(later, WALL + DAY, Chance(seeded(2))) is False
    assert guards.usable(later) == list(guards.sample[:2])


def test_the_sample_survives_a_restart_and_a_clock_that_once_ran_ahead_gives_no_longer_life() -> None:
    network = view(plain(20))
    guards = GuardSet()
    guards.update(network, WALL + 400 * DAY, Chance(seeded(1)))
    again = GuardSet.from_document_untrusted(guards.to_document())
    assert again.sample == guards.sample
    assert again.usable(network) == guards.usable(network)
    assert again.update(network, WALL, Chance(seeded(2))) is True
    assert again.sample == guards.sample
    again.update(view(plain(20, lambda r: changed(r, flags=RING))), WALL + 120 * DAY, Chance(seeded(3)))
    assert again.sample == (), "nobody to draw from, so it is seen that all have left"


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"\xff",
        pack([2, []]),
        pack([1, [[bytes(31), 1, 0]]]),
        pack([1, [[bytes(32), 1]]]),
        pack([1, [[bytes(32), 1, 0], [bytes(32), 2, 0]]]),
        pack([1, []]) + b"\x00",
    ],
)
def test_a_spoilt_file_is_one_error(document: bytes) -> None:
    with pytest.raises(ProtocolError):
        GuardSet.from_document_untrusted(document)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        pack([2, []]),
        pack([1, [[bytes(32), 1, 0]]]),
        pack([1, [[bytes(32), 1], [bytes(32), 2]]]),
        pack([1, [[bytes(32), 1]]]) + b"\x00",
    ],
)
def test_a_spoilt_file_of_layer_two_is_one_error(document: bytes) -> None:
    with pytest.raises(ProtocolError):
        LayerTwoGuards.from_document_untrusted(document)


def test_layer_two_guards_are_four_outside_the_guards_in_use() -> None:
    network = view(plain(12))
    for seed in range(40):
        layer = LayerTwoGuards()
        guards = [relay_id(0), relay_id(1)]
        assert layer.update(network, WALL, Chance(seeded(seed)), guards, frozenset((relay_id(2),)))
        assert len(set(layer.sample)) == 4
        assert not {relay_id(0), relay_id(1), relay_id(2)} & set(layer.sample)
        assert layer.usable(network, guards) == list(layer.sample)
        assert layer.usable(network, layer.sample[:1]) == list(layer.sample[1:])


def test_layer_two_guards_live_the_greater_of_two_draws_from_1_to_12_days() -> None:
    network = view(plain(12))
    kept = fields(Int(), ListOf(fields(Bin(exact=32), Int()), 4))
    lives = []
    for seed in range(250):
        layer = LayerTwoGuards()
        layer.update(network, WALL, Chance(seeded(seed)), [])
        _, rows = unpack_untrusted(layer.to_document(), kept, 1000)
        lives += [(until - WALL) / DAY for _, until in rows]
    assert len(lives) == 1000
    assert 1 <= min(lives) < 2
    assert 11.9 < max(lives) <= 12
    assert abs(sum(lives) / 1000 - (1 + 11 * 2 / 3)) < 0.3, "the greater of two lies at two thirds"


def test_a_layer_two_guard_leaves_when_its_time_is_over() -> None:
    network = view(plain(4))
    layer = LayerTwoGuards()
    layer.update(network, WALL, Chance(seeded(1)), [])
    first = layer.to_document()
    assert layer.update(network, WALL + DAY - 1, Chance(seeded(2)), []) is False
    assert layer.update(network, WALL + 12 * DAY, Chance(seeded(2)), []) is True
    assert layer.to_document() != first
    assert set(layer.sample) == {r.identity for r in network.relays}
    ahead = LayerTwoGuards()
    large = view(plain(30))
    ahead.update(large, WALL + 400 * DAY, Chance(seeded(1)), [])
    drawn = ahead.sample
    assert ahead.update(large, WALL, Chance(seeded(2)), []) is True, "all clocks had run ahead"
    assert ahead.update(large, WALL + 12 * DAY - 1, Chance(seeded(3)), []) is False
    assert ahead.sample == drawn
    assert ahead.update(large, WALL + 12 * DAY, Chance(seeded(3)), []) is True
    assert not set(drawn) & set(ahead.sample)


def test_a_layer_two_guard_stays_over_one_missing_consensus_and_is_replaced_after_two() -> None:
    rows = plain(12)
    network = view(rows)
    layer = LayerTwoGuards()
    layer.update(network, WALL, Chance(seeded(1)), [])
    gone = layer.sample[0]
    without = view([r for r in rows if r.identity != gone])
    once = View(without.consensus, network.consensus)
    assert layer.update(once, WALL + 3600, Chance(seeded(2)), []) is False
    assert layer.update(without, WALL + 7200, Chance(seeded(2)), []) is True
    assert gone not in layer.sample
    assert len(layer.sample) == 4


def test_layer_two_guards_survive_a_restart() -> None:
    network = view(plain(12))
    layer = LayerTwoGuards()
    layer.update(network, WALL, Chance(seeded(1)), [])
    again = LayerTwoGuards.from_document_untrusted(layer.to_document())
    assert again.sample == layer.sample
    assert again.update(network, WALL + 3600, Chance(seeded(2)), []) is False
    assert again.to_document() == layer.to_document()


def test_only_a_node_with_tor_takes_guards_that_only_tor_reaches() -> None:
    service = Address.of("a2" * 28 + ".onion", 9001)
    hidden = {relay_id(number) for number in range(5)}
    network = view([row(n, addresses=(service,)) if relay_id(n) in hidden else row(n) for n in range(12)])
    for seed in range(20):
        guards = GuardSet()
        guards.update(network, WALL, Chance(seeded(seed)))
        assert hidden.isdisjoint(guards.sample)
        layer = LayerTwoGuards()
        layer.update(network, WALL, Chance(seeded(seed)), guards.sample[:2])
        assert hidden.isdisjoint(layer.sample)
    drawn: set[RelayId] = set()
    for seed in range(20):
        guards = GuardSet()
        guards.update(network, WALL, Chance(seeded(seed)), over_tor=True)
        drawn.update(guards.sample)
    assert hidden < drawn
