"""Which addresses a relay may name, and how many relays there may be at one."""

from __future__ import annotations

import pytest

from onionshh.core.base.params import Params
from onionshh.directory.places import NOT_OVER_TOR, Places
from onionshh.wire.descriptor import Address
from tests.directory.world import descriptor

FOUR, SIX = Address.of("8.0.1.1", 9001), Address.of("2600::1", 9001)
SERVICE = Address.of("a2" * 28 + ".onion", 9001)


def places(over_tor: bool = False, **overrides: int) -> Places:
    return Places(lambda: Params().with_overrides(overrides), over_tor=over_tor)


@pytest.mark.parametrize(
    ("addresses", "source", "said"),
    [
        ((FOUR,), "8.0.1.1", ""),
        ((FOUR, SIX), "8.0.1.1", ""),
        ((FOUR, SIX), "2600::1", ""),
        ((FOUR, SIX, SERVICE), "2600::1", ""),
        ((FOUR, SIX), "8.0.1.2", "this came from 8.0.1.2 but advertises 8.0.1.1 and 2600::1"),
        ((FOUR, Address.of("8.0.1.1", 9002)), "8.0.1.1", "at most one address of each kind"),
        ((FOUR, Address.of("::1", 1)), "8.0.1.1", "::1 is not reachable from the internet"),
        ((Address.of("10.0.0.1", 1), SIX), "2600::1", "10.0.0.1 is not reachable"),
        ((FOUR, Address.of("ff02::1", 1)), "8.0.1.1", "ff02::1 is not an address that a relay"),
        ((SERVICE,), "8.0.1.1", NOT_OVER_TOR),
    ],
)
def test_every_address_is_judged(addresses: tuple[Address, ...], source: str, said: str) -> None:
    found = places().problem(addresses, source)
    assert said in found
    assert bool(found) is bool(said)


@pytest.mark.parametrize(
    "host",
    ["64:ff9b::a00:1", "2002:a00:1::1", "::a00:1", "2001:0:a00:1::1", "fec0::1", "fd00::1", "10.0.0.1"],
)
def test_what_may_lead_into_a_private_network_is_refused(host: str) -> None:
    assert "not reachable from the internet" in places().problem((Address.of(host, 1),), host)
    assert places(private_address_rule=0).problem((Address.of(host, 1),), host) == ""


def test_a_directory_over_tor_takes_an_onion_service_from_anywhere() -> None:
    assert places(over_tor=True).problem((SERVICE,), "198.51.100.7") == ""
    assert "but advertises" in places(over_tor=True).problem((FOUR, SERVICE), "198.51.100.7")


def test_a_relay_has_its_place_at_each_of_its_addresses_until_it_leaves() -> None:
    here = places(relays_per_ip=1)
    first = descriptor(1, addresses=(FOUR, SIX))
    here.add(first)
    second = descriptor(2, addresses=(Address.of("8.0.1.2", 1), Address.of("2600::2", 1)))  # the same /64
    assert "there are 1 relays at 2600::2 already" in here.crowd_problem(second, lambda identity, group: True)
    assert here.crowd_problem(second, lambda identity, group: False) == ""
    assert here.crowd_problem(first, lambda identity, group: True) == ""
    here.remove(first)
    assert here.crowd_problem(second, lambda identity, group: True) == ""
    here.remove(first)  # once more does no harm
