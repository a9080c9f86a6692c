"""What a descriptor must keep to, rule by rule. How the registry uses them is in test_registry.py."""

from __future__ import annotations

import pytest

from onionshh.core.base.params import Params
from onionshh.directory.rules import DESCRIPTOR_LIFE_SECONDS, address_problem, date_problem
from tests.directory.world import WALL

PUBLIC = Params()
PRIVATE = Params().with_overrides({"private_address_rule": 0, "advertised_ip_rule": 0})


@pytest.mark.parametrize(
    ("host", "source", "params", "said"),
    [
        ("8.8.8.8", "8.8.8.8", PUBLIC, ""),
        ("8.8.8.8", "9.9.9.9", PUBLIC, "this came from 9.9.9.9 but advertises 8.8.8.8"),
        ("8.8.8.8", "9.9.9.9", PRIVATE, ""),
        ("10.0.0.1", "10.0.0.1", PUBLIC, "not reachable from the internet"),
        ("10.0.0.1", "10.0.0.1", PRIVATE, ""),
        ("0.0.0.0", "0.0.0.0", PRIVATE, "not an address that a relay can be reached at"),
        ("ff02::1", "ff02::1", PRIVATE, "not an address that a relay can be reached at"),
    ],
)
def test_addresses(host: str, source: str, params: Params, said: str) -> None:
    why = address_problem(host, source, params)
    assert said in why
    assert bool(why) is bool(said)


@pytest.mark.parametrize("ahead", [600, 0, -DESCRIPTOR_LIFE_SECONDS])
def test_dates_that_are_taken(ahead: int) -> None:
    assert date_problem(WALL + ahead, WALL) == ""


@pytest.mark.parametrize(
    ("ahead", "said"), [(601, "601 seconds ahead of"), (-86_401, "86401 seconds behind"), (2**62, "ahead of")]
)
def test_dates_that_are_not(ahead: int, said: str) -> None:
    assert said in date_problem(WALL + ahead, WALL)
