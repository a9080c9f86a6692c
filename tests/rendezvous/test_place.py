from __future__ import annotations

from dataclasses import replace

import pytest

from onionshh.core.endpoint import ring
from onionshh.core.endpoint.ring import SPREAD, responsible
from onionshh.core.paths.view import View
from onionshh.rendezvous import place
from onionshh.rendezvous.place import Place, in_window
from tests.core import networks
from tests.core.networks import plain, relay_id

NAME = b"n" * 32


def near(view: View) -> list[bytes]:
    rows = responsible(view, view.period, NAME)
    assert rows is not None
    return [row.identity for replica in rows for row in replica]


def test_a_relay_keeps_what_is_near_enough_and_nothing_else() -> None:
    view = networks.view(plain(40))
    for number in range(40):
        expected = relay_id(number) in near(view)
        assert Place(relay_id(number), SPREAD).is_for(view, NAME, view.period) is expected
    wide = [number for number in range(40) if Place(relay_id(number), 8).is_for(view, NAME, view.period)]
    assert len(wide) == 16


def test_the_consensus_before_counts_too() -> None:
    rows = plain(40)
    before = networks.consensus(rows)
    old = near(View(before))
    gone = [row for row in rows if row.identity != old[0]]
    now = networks.consensus([*gone, *(networks.row(100 + number) for number in range(40))])
    displaced = next(one for one in old[1:] if one not in near(View(now)))
    (number,) = (number for number in range(40) if relay_id(number) == displaced)
    assert not Place(relay_id(number), SPREAD).is_for(View(now), NAME, View(now).period)
    assert Place(relay_id(number), SPREAD).is_for(View(now, before), NAME, View(now).period)


def test_a_relay_that_is_not_listed_yet_believes_whoever_comes() -> None:
    view = networks.view(plain(40))
    assert Place(relay_id(99), SPREAD).is_for(view, NAME, view.period)


def test_a_period_without_a_random_value_has_no_place_but_the_next_may_have_one() -> None:
    view = networks.view(plain(40))
    bare = View(replace(view.consensus, shared_random=()))
    own = Place(relay_id(1), SPREAD)
    assert not own.is_for(bare, NAME, bare.period)
    assert not own.is_for(bare, NAME, bare.period + 2)
    assert own.is_for(bare, NAME, bare.period + 1)


def test_a_ring_is_made_once_for_each_consensus(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def positions(view: View, period: int) -> ring.Positions | None:
        made.append(period)
        return ring.positions(view, period)

    monkeypatch.setattr(place, "positions", positions)
    view = networks.view(plain(40))
    own = Place(relay_id(1), SPREAD)
    for _ in range(3):
        own.is_for(view, NAME, view.period)
        own.is_for(view, NAME, view.period - 1)
    assert made == [view.period, view.period - 1]
    own.is_for(networks.view(plain(40)), NAME, view.period)
    assert len(made) == 3


def test_the_window_is_the_period_and_its_neighbours() -> None:
    view = networks.view(plain(3))
    assert [in_window(view.period + away, view) for away in (-2, -1, 0, 1, 2)] == [
        False,
        True,
        True,
        True,
        False,
    ]
