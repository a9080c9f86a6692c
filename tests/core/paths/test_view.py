"""Looking things up in two consensuses: who is current, who may share a path, who makes up a ring."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from onionshh.core.base.params import Params
from onionshh.core.paths.view import View, subnet_of
from onionshh.errors import ProtocolError
from onionshh.ids import RelayId
from onionshh.wire.consensus import FAST, GUARD, RING, Consensus, RelayRow, SharedRandom
from onionshh.wire.descriptor import Address
from tests.core.networks import addressed

DAY = 86400
START = 20_000 * DAY


def row(number: int, **changes: Any) -> RelayRow:
    values: dict[str, Any] = {
        "identity": RelayId(bytes([number]) * 32),
        "onion_key": bytes(32),
        "nickname": f"relay{number}",
        "addresses": (Address.of(f"10.{number}.0.1", 9001),),
        "weight": 1,
        "flags": RING,
        "first_seen": START - 30 * DAY,
    }
    return RelayRow(**addressed(values, changes))


def consensus(*rows: RelayRow, params: Params | None = None) -> Consensus:
    return Consensus(
        network="x",
        valid_after=START,
        fresh_until=START + 1,
        valid_until=START + 2,
        params=(params or Params()).to_pairs(),
        shared_random=(SharedRandom(19_999, b"p" * 32, START - DAY), SharedRandom(20_000, b"c" * 32, START)),
        relays=rows,
    )


def test_relays_of_the_current_and_of_the_one_before() -> None:
    moved, old = row(1, host="10.9.9.9"), row(1)
    view = View(consensus(moved, row(2)), consensus(old, row(3)))
    assert view.relay(moved.identity) is moved
    assert view.any_relay(moved.identity) is moved
    assert view.relay(row(3).identity) is None
    assert view.any_relay(row(3).identity) == row(3)
    assert view.any_relay(b"?" * 32) is None
    assert view.relays == (moved, row(2))
    assert View(consensus(row(2))).any_relay(row(3).identity) is None


def test_flags_and_period() -> None:
    rows = (row(1, flags=GUARD), row(2, flags=GUARD | FAST), row(3, flags=0))
    view = View(consensus(*rows))
    assert view.with_flag(GUARD) == rows[:2]
    assert view.with_flag(FAST) == rows[1:2]
    assert view.period == 20_000
    assert View(replace(consensus(), valid_after=START - 1)).period == 19_999


def test_shared_random_is_of_the_period_asked_for() -> None:
    view = View(consensus())
    assert view.shared_random(20_000) == b"c" * 32
    assert view.shared_random(19_999) == b"p" * 32
    assert view.shared_random(20_001) is None


def test_shared_random_of_every_period_that_the_consensus_has() -> None:
    """A letter of seven days ago lies on the ring of that day."""
    rows = tuple(SharedRandom(p, bytes((p - 19_990,)) * 32, p * DAY) for p in range(19_993, 20_001))
    params = Params().with_overrides({"ring_age_seconds": DAY})
    listed = (row(1, first_seen=START - 30 * DAY), row(2, first_seen=START - 4 * DAY))
    view = View(replace(consensus(*listed, params=params), shared_random=rows))
    assert [view.shared_random(random.period) for random in rows] == [random.value for random in rows]
    assert view.ring_relays(19_993) == listed[:1]
    assert view.ring_relays(19_998) == listed
    assert (view.shared_random(19_992), view.ring_relays(19_992)) == (None, ())


def test_ring_takes_only_relays_that_were_there_before_the_random_value() -> None:
    age = Params().ring_age_seconds
    rows = (
        row(1, first_seen=START - age),
        row(2, first_seen=START - age + 1),
        row(3, first_seen=START - DAY - age),
        row(4, flags=GUARD),
    )
    view = View(consensus(*rows))
    assert view.ring_relays(20_000) == (rows[0], rows[2])
    assert view.ring_relays(19_999) == (rows[2],)
    assert view.ring_relays(20_001) == ()


def test_ring_age_of_nothing_takes_newcomers_too() -> None:
    params = Params().with_overrides({"ring_age_seconds": 0})
    view = View(consensus(row(1, first_seen=START + 50), params=params))
    assert view.ring_relays(20_000) == (row(1, first_seen=START + 50),)


def test_families_must_name_each_other() -> None:
    a, b = row(1, family=(row(2).identity,)), row(2, family=(row(1).identity,))
    claims = row(3, family=(row(1).identity,))
    view = View(consensus())
    assert view.same_group(a, b)
    assert view.same_group(b, a)
    assert not view.same_group(claims, a)
    assert not view.same_group(a, claims)
    assert view.same_group(claims, claims)


def test_subnets_only_under_the_rule() -> None:
    a, b, c = row(1, host="10.1.2.3"), row(2, host="10.1.99.9"), row(3, host="10.2.2.3")
    strict = View(consensus())
    assert strict.same_group(a, b)
    assert not strict.same_group(a, c)
    loose = View(consensus(params=Params().with_overrides({"subnet_rule": 0})))
    assert not loose.same_group(a, b)


def test_subnet_sizes() -> None:
    assert subnet_of("10.1.2.3") == subnet_of("10.1.200.3") != subnet_of("10.2.2.3")
    assert subnet_of("2001:db8::1") == subnet_of("2001:db8:ffff::1") != subnet_of("2001:db9::1")
    assert subnet_of("32.1.13.184") != subnet_of("2001:db8::1")
    assert subnet_of("no address") != subnet_of("another")


def test_a_view_of_bad_params_is_refused() -> None:
    with pytest.raises(ProtocolError):
        View(replace(consensus(), params=(("window", 0),)))


ONION = Address.of("a2" * 28 + ".onion", 9001)


def test_relays_with_several_addresses_are_near_if_any_two_are() -> None:
    four, six = Address.of("10.1.2.3", 1), Address.of("2001:db8::1", 1)
    both = row(1, addresses=(four, six))
    view = View(consensus())
    assert view.same_group(both, row(2, host="10.1.99.9"))
    assert view.same_group(both, row(2, host="2001:db8:7::1"))
    assert view.same_group(both, row(2, addresses=(Address.of("10.9.0.1", 1), Address.of("2001:db8::2", 1))))
    assert not view.same_group(
        both, row(2, addresses=(Address.of("10.9.0.1", 1), Address.of("2001:db9::1", 1)))
    )
    assert not view.same_group(
        row(1, addresses=(four, ONION)), row(2, addresses=(Address.of("10.9.0.1", 1),))
    )


def test_relays_that_only_tor_reaches_are_entries_for_those_with_tor_and_nothing_else() -> None:
    plain, hidden, both = (
        row(1, flags=GUARD | RING),
        row(2, flags=GUARD | RING, addresses=(ONION,)),
        row(3, flags=GUARD | RING, addresses=(Address.of("10.3.0.1", 1), ONION)),
    )
    view = View(consensus(plain, hidden, both))
    assert view.relays == view.with_flag(GUARD) == view.entries(over_tor=False) == (plain, both)
    assert view.entries(over_tor=True) == (plain, hidden, both)
    assert hidden not in view.ring_relays(20_000)
    assert view.relay(hidden.identity) == view.any_relay(hidden.identity) == hidden
