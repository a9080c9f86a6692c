from __future__ import annotations

from collections import Counter
from itertools import permutations
from random import Random

import pytest

from onionshh.core.base.chance import Chance
from onionshh.core.paths.path import PathImpossible, choose_path, choose_target, choose_targets
from onionshh.core.paths.view import View
from onionshh.errors import NetworkUnreachable
from onionshh.ids import RelayId
from onionshh.wire.consensus import RelayRow
from onionshh.wire.descriptor import Address
from tests.core.networks import changed, families, plain, relay_id, row, view, without_subnets
from tests.seeded import seeded


def ids(*numbers: int) -> list[RelayId]:
    return [relay_id(number) for number in numbers]


def check_rules(
    network: View, path: tuple[RelayRow, ...], relays: int, first: list[RelayId] | None, last: RelayId | None
) -> None:
    assert len(path) == relays
    assert last is None or path[-1].identity == last
    assert relays == 1 or first is None or path[0].identity in first
    for a, b in permutations(path, 2):
        assert a.identity != b.identity
        assert not network.same_group(a, b)


def can_be_made(
    network: View,
    relays: int,
    first: list[RelayId],
    last: RelayId | None,
    second: list[RelayId] | None = None,
) -> bool:
    """The slow truth: whether any path at all keeps the rules, with one of `second` at the second place."""
    return any(
        (last is None or path[-1].identity == last)
        and (second is None or path[1].identity in second)
        and (relays == 1 or path[0].identity in first)
        and not any(network.same_group(a, b) for a, b in permutations(path, 2))
        for path in permutations(network.relays, relays)
    )


NETWORKS = {
    "eight": plain(8),
    "twelve in families": families(plain(12), [0, 1, 2], [3, 4], [5, 6, 7, 8]),
    "eight in three subnets": [row(n, host=f"10.{n % 3}.0.{n + 1}") for n in range(8)],
    "seven in four subnets": [row(n, host=f"10.{n % 4}.0.{n + 1}") for n in range(7)],
    "two": plain(2),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_path_is_found_exactly_when_one_exists(name: str) -> None:
    rows = NETWORKS[name]
    network = view(rows)
    numbers = Random(name)
    for seed in range(150):
        relays = numbers.randint(1, 4)
        first = numbers.sample([r.identity for r in rows], 2)
        last = numbers.choice([None, numbers.choice(rows).identity])
        avoid = frozenset(r.identity for r in numbers.sample(rows, len(rows) // 3))
        chance = Chance(seeded(seed))
        if can_be_made(network, relays, first, last):
            path = choose_path(network, chance, relays=relays, first=first, last=last, avoid=avoid)
            check_rules(network, path, relays, first, last)
        else:
            with pytest.raises(PathImpossible) as caught:
                choose_path(network, chance, relays=relays, first=first, last=last, avoid=avoid)
            assert caught.value.needed == relays
            assert caught.value.have < relays


def test_families_and_subnets_never_meet_in_a_path() -> None:
    rows = [row(n, host=f"10.{n // 2}.0.{n + 1}") for n in range(12)]
    network = view(families(rows, [0, 4, 8], [1, 11]))
    for seed in range(300):
        path = choose_path(network, Chance(seeded(seed)), relays=4, first=ids(0, 5))
        check_rules(network, path, 4, ids(0, 5), None)


def test_the_only_relay_that_fits_is_found_however_many_do_not() -> None:
    crowd = [row(n, host=f"10.1.0.{n}", weight=1000) for n in range(1, 200)]
    needle = row(500, host="10.9.0.1", weight=0)
    network = view([row(0, host="10.2.0.1"), *crowd, needle])
    for seed in range(10):
        path = choose_path(network, Chance(seeded(seed)), relays=3, first=ids(0), last=relay_id(7))
        assert path[1] == needle


def test_the_other_guard_is_tried_where_the_first_is_kin_of_the_only_middle() -> None:
    hosts = ("10.1.0.1", "10.1.0.2", "10.2.0.1", "10.3.0.1")
    rows = families([row(n, host=host) for n, host in enumerate(hosts)], [0, 2])
    path = choose_path(view(rows), Chance(seeded(1)), relays=3, first=ids(0, 1), last=relay_id(3))
    assert [r.identity for r in path] == ids(1, 2, 3)


def test_a_family_that_only_one_declares_is_none() -> None:
    rows = plain(3)
    rows[0] = changed(rows[0], family=tuple(sorted(ids(1, 2))))
    assert len(choose_path(view(rows), Chance(seeded(1)), relays=3, first=ids(0))) == 3


def test_the_subnet_rule_can_be_off() -> None:
    rows = [row(n, host="127.0.0.1") for n in range(4)]
    network = view(rows, params=without_subnets())
    assert len(choose_path(network, Chance(seeded(1)), relays=4, first=ids(0))) == 4
    with pytest.raises(PathImpossible, match=r"needs 4 relays, .* 1 of those known"):
        choose_path(view(rows), Chance(seeded(1)), relays=4, first=ids(0))


def test_zero_hops_is_the_meeting_relay_alone() -> None:
    network = view(plain(8))
    path = choose_path(network, Chance(seeded(1)), relays=1, first=ids(0, 1), last=relay_id(5))
    assert [r.identity for r in path] == ids(5)


def test_guards_are_taken_in_their_order_and_the_other_when_the_end_is_one() -> None:
    network = view(plain(8))
    for seed in range(50):
        chance = Chance(seeded(seed))
        for last, guard in ((1, 4), (2, 4), (4, 2)):
            path = choose_path(network, chance, relays=3, first=ids(4, 2), last=relay_id(last))
            assert path[0].identity == relay_id(guard)


def test_the_first_hop_is_never_the_last() -> None:
    network = view(plain(8))
    for seed in range(200):
        for relays in (2, 3, 4):
            path = choose_path(network, Chance(seeded(seed)), relays=relays, first=ids(3))
            assert path[0].identity == relay_id(3) != path[-1].identity
    with pytest.raises(PathImpossible):
        choose_path(network, Chance(seeded(1)), relays=2, first=ids(3), last=relay_id(3))


def test_our_own_relays_are_nowhere_on_a_path() -> None:
    network = view(plain(6))
    own = frozenset(ids(0, 1))
    for seed in range(100):
        chance = Chance(seeded(seed))
        path = choose_path(network, chance, relays=4, first=ids(0, 2), exclude=own, second=ids(1))
        assert not own & {r.identity for r in path}
    with pytest.raises(PathImpossible, match="one of our own"):
        choose_path(network, Chance(seeded(1)), relays=2, first=ids(2), last=relay_id(0), exclude=own)
    with pytest.raises(PathImpossible, match="guards"):
        choose_path(network, Chance(seeded(1)), relays=2, first=ids(1), exclude=own)


def test_failing_relays_are_avoided_until_there_is_nothing_else() -> None:
    network = view(plain(6))
    for seed in range(100):
        path = choose_path(network, Chance(seeded(seed)), relays=3, first=ids(0), avoid=frozenset(ids(1, 2)))
        assert not set(ids(1, 2)) & {r.identity for r in path}
    path = choose_path(network, Chance(seeded(1)), relays=4, first=ids(0), avoid=frozenset(ids(1, 2, 3, 4)))
    assert relay_id(5) in {r.identity for r in path}


def test_the_failure_memory_holds_neither_against_a_guard_nor_the_relay_wanted() -> None:
    network, chance, failing = view(plain(6)), Chance(seeded(1)), frozenset(ids(0, 2))
    path = choose_path(network, chance, relays=3, first=ids(0, 1), last=relay_id(2), avoid=failing)
    assert (path[0].identity, path[-1].identity) == (relay_id(0), relay_id(2))


def test_layer_two_guards_are_second_and_one_that_fails_is_passed_over() -> None:
    network = view(plain(30))
    seen = set()
    for seed in range(100):
        chance = Chance(seeded(seed))
        path = choose_path(network, chance, relays=4, first=ids(0), second=ids(1, 2, 3), last=relay_id(1))
        seen.add(path[1].identity)
        failing = frozenset(ids(2))
        path = choose_path(network, chance, relays=4, first=ids(0), second=ids(2, 3), avoid=failing)
        assert path[1].identity == relay_id(3)
    assert seen == set(ids(2, 3))
    path = choose_path(network, Chance(seeded(1)), relays=3, first=ids(0), second=ids(1), last=relay_id(1))
    assert path[1].identity != relay_id(1)


def test_whoever_makes_all_layer_two_guards_fail_has_no_other_drawn() -> None:
    network, failing = view(plain(30)), frozenset(ids(1, 2, 3, 4))
    seen = Counter(
        choose_path(
            network, Chance(seeded(seed)), relays=4, first=ids(0), second=ids(1, 2, 3), avoid=failing
        )[1:3]
        for seed in range(60)
    )
    assert {second.identity for second, _ in seen} == set(ids(1, 2, 3))
    assert not failing & {third.identity for _, third in seen}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("relays", [2, 3, 4])
def test_a_layer_two_guard_is_second_exactly_where_one_fits(name: str, relays: int) -> None:
    rows = NETWORKS[name]
    network = view(rows)
    numbers = Random(f"{name} {relays}")
    identities = [r.identity for r in rows]
    seen = set()
    for seed in range(60):
        first = numbers.sample(identities, 2)
        others = [one for one in identities if one not in first]
        second = numbers.sample(others, min(len(others), numbers.randint(0, 4)))
        last = numbers.choice([None, numbers.choice(identities)])
        avoid = frozenset(numbers.sample(identities, len(rows) // 3))
        if not can_be_made(network, relays, first, last):
            continue
        chance = Chance(seeded(seed))
        path = choose_path(network, chance, relays=relays, first=first, last=last, second=second, avoid=avoid)
        check_rules(network, path, relays, first, last)
        if relays > 2 or last is None:
            fits = can_be_made(network, relays, first, last, second)
            assert (path[1].identity in second) == fits
            seen.add(fits)
    assert True in seen or len(rows) == 2 or (name, relays) == ("eight in three subnets", 4)


def test_another_guard_than_beside_is_first_if_a_layer_two_guard_fits_behind_it() -> None:
    rows = families(plain(8), [1, 2, 3])
    network = view(rows)
    for seed in range(30):
        chance = Chance(seeded(seed))
        path = choose_path(network, chance, relays=3, first=ids(0, 4), beside=ids(0), second=ids(2, 3))
        assert path[0].identity == relay_id(4)
        path = choose_path(network, chance, relays=3, first=ids(0, 1), beside=ids(0), second=ids(2, 3))
        assert path[0].identity == relay_id(0)
        path = choose_path(network, chance, relays=3, first=ids(0, 1), beside=ids(0))
        assert path[0].identity == relay_id(1)
        path = choose_path(network, chance, relays=3, first=ids(0), beside=ids(0))
        assert path[0].identity == relay_id(0)


def test_layer_two_guards_are_wanted_at_the_second_place_only() -> None:
    network, chance = view(plain(60)), Chance(seeded(1))
    paths = [choose_path(network, chance, relays=4, first=ids(0), second=ids(1, 2, 3)) for _ in range(40)]
    assert all(path[1].identity in ids(1, 2, 3) for path in paths)
    assert sum(path[2].identity in ids(1, 2, 3) for path in paths) < 10


def test_on_a_path_of_two_only_an_end_that_nobody_wants_is_a_layer_two_guard() -> None:
    """Such a path is a stub: its end is the second hop of the circuit that it becomes."""
    network, chance = view(plain(30)), Chance(seeded(1))
    for _ in range(20):
        assert choose_path(network, chance, relays=2, first=ids(0), second=ids(1))[1].identity == relay_id(1)
        path = choose_path(network, chance, relays=2, first=ids(0), second=ids(1), last=relay_id(2))
        assert path[1].identity == relay_id(2)


def test_relays_are_drawn_by_weight() -> None:
    network = view([row(n, weight=weight) for n, weight in enumerate((0, 100, 200, 300, 400))])
    ends = Counter(choose_path(network, Chance(seeded(seed)), relays=1)[-1].identity for seed in range(3000))
    middles = Counter(
        choose_path(network, Chance(seeded(seed)), relays=3, first=ids(0), last=relay_id(4))[1].identity
        for seed in range(3000)
    )
    for number, share in ((0, 0.0), (1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)):
        assert abs(ends[relay_id(number)] / 3000 - share) < 0.03
    for number, share in ((1, 1 / 6), (2, 2 / 6), (3, 3 / 6)):
        assert abs(middles[relay_id(number)] / 3000 - share) < 0.03


def test_a_target_of_the_previous_consensus_still_counts() -> None:
    network = View(view(plain(4)).consensus, view(plain(5)).consensus)
    path = choose_path(network, Chance(seeded(1)), relays=2, first=ids(0), last=relay_id(4))
    assert path[-1].nickname == "relay4"


def test_what_cannot_be_had_is_said_in_a_sentence() -> None:
    network = view(plain(3))
    with pytest.raises(NetworkUnreachable) as caught:
        choose_path(network, Chance(seeded(1)), relays=4, first=ids(0))
    assert str(caught.value) == (
        "the path needs 4 relays, but no more than 3 of those known fit together"
        " (no relay, family or subnet twice, none of our own)"
    )
    with pytest.raises(PathImpossible, match="not in the consensus"):
        choose_path(network, Chance(seeded(1)), relays=2, first=ids(0), last=relay_id(9))
    with pytest.raises(PathImpossible, match="needs 2 relays, but none of our guards is up"):
        choose_path(network, Chance(seeded(1)), relays=2, first=[])
    with pytest.raises(ValueError, match="1 to 4"):
        choose_path(network, Chance(seeded(1)), relays=5, first=ids(0))


def test_a_large_hopeless_network_is_given_up_in_bounded_time() -> None:
    draws = 0
    source = seeded(1)

    def counted(n: int) -> bytes:
        nonlocal draws
        draws += 1
        return source(n)

    network = view([row(n, host=f"10.{n % 3}.{n // 256}.{n % 256}") for n in range(300)])
    with pytest.raises(PathImpossible) as caught:
        choose_path(network, Chance(counted), relays=4, first=ids(0, 1))
    assert caught.value.have == 3
    assert draws < 5_000


def test_the_seed_governs_the_path() -> None:
    network = view(plain(20))
    paths = [choose_path(network, Chance(seeded(seed)), relays=4, first=ids(0)) for seed in (7, 7, 8)]
    assert paths[0] == paths[1] != paths[2]


def test_targets_are_distinct_weighted_and_as_many_as_there_are() -> None:
    network = view([row(n, weight=0 if n == 0 else 100) for n in range(8)])
    for seed in range(50):
        chance = Chance(seeded(seed))
        drawn = choose_targets(network, chance, 6, exclude=frozenset(ids(7)), avoid=frozenset(ids(1)))
        assert len({r.identity for r in drawn}) == 6
        assert relay_id(7) not in {r.identity for r in drawn}
        # Healthy relays come first, of them the one without weight last; a failing one is no target yet.
        assert drawn[5].identity == relay_id(0)
        assert relay_id(1) not in {r.identity for r in drawn}
    assert len(choose_targets(network, Chance(seeded(1)), 20)) == 8
    everyone = frozenset(ids(*range(8)))
    assert choose_target(network, Chance(seeded(1)), avoid=everyone).identity in everyone
    with pytest.raises(PathImpossible):
        choose_target(network, Chance(seeded(1)), exclude=everyone)


def test_a_relay_that_only_tor_reaches_stands_first_and_nowhere_else() -> None:
    service = Address.of("a2" * 28 + ".onion", 9001)
    hidden = ids(0, 1, 2)
    network = view([row(n, addresses=(service,)) if n < 3 else row(n) for n in range(9)])
    for seed in range(200):
        chance = Chance(seeded(seed))
        path = choose_path(network, chance, relays=4, first=hidden, second=hidden)
        assert path[0].identity in hidden
        assert not {relay.identity for relay in path[1:]}.intersection(hidden)
        assert choose_path(network, chance, relays=1)[0].identity not in hidden
        assert choose_target(network, chance).identity not in hidden
    with pytest.raises(PathImpossible, match="only tor reaches"):
        choose_path(network, Chance(seeded(1)), relays=2, first=ids(4), last=hidden[0])
