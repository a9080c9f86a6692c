"""Whether a network has relays enough, and what is said if not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onionshh.core.base.chance import Chance
from onionshh.core.base.params import Params
from onionshh.core.paths.enough import lacking
from onionshh.wire.consensus import RelayRow
from tests.core.networks import START, changed, families, plain, relay_id, row, view
from tests.seeded import seeded


def said(rows: list[RelayRow], own: tuple[int, ...] = (), params: Params | None = None) -> str:
    return lacking(view(rows, params=params), Chance(seeded(1)), frozenset(map(relay_id, own)))


def test_four_that_fit_together_are_enough() -> None:
    assert said(plain(4)) == ""
    assert said(plain(300)) == ""
    assert said(plain(3)) == "a path takes 4 relays, and the network has 3"
    assert said([]) == "a path takes 4 relays, and the network has 0"
    assert said(plain(5), own=(0, 1)) == "a path takes 4 relays, and the network has 3"


@pytest.mark.parametrize(
    ("rows", "have"),
    [
        ([row(n, host=f"10.{n % 3}.{n}.1") for n in range(9)], 3),
        (families(plain(6), (0, 1, 2, 3)), 3),
        ([row(n, host=f"10.1.{n}.1") for n in range(50)], 1),
    ],
    ids=["three subnets", "a family", "one subnet"],
)
def test_those_that_do_not_fit_together_do_not_count(rows: list[RelayRow], have: int) -> None:
    assert said(rows) == (
        f"a path takes 4 relays, and of the {len(rows)} in the network no more than {have} fit together"
        " (no family or subnet twice)"
    )


def test_without_the_rule_relays_of_one_subnet_are_enough() -> None:
    rows = [row(n, host=f"10.1.{n}.1") for n in range(4)]
    assert said(rows, params=replace(Params(), subnet_rule=0)) == ""


def test_one_that_only_tor_reaches_is_on_nobodys_path() -> None:
    rows = [*plain(3), row(9, host="a2" * 28 + ".onion")]
    assert said(rows) == "a path takes 4 relays, and the network has 3"


def test_a_new_network_has_nobody_who_keeps_descriptors() -> None:
    new = [changed(one, first_seen=START) for one in plain(8)]
    assert said(new) == (
        "no relay keeps descriptors of endpoints yet; each does so after it has been listed for 96 hours"
        " (ring_age_seconds), and then from the next period on"
    )
    assert said([*new[1:], plain(1)[0]]) == ""
    assert said(new, params=replace(Params(), ring_age_seconds=0)) == ""
