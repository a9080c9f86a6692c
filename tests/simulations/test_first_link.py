"""The figures of THREATS.md on times at the first link."""

from __future__ import annotations

import pytest

from onionshh.core.circuit.pace import Pace
from simulations.first_link import Map, SetUp, Told, experiment, told
from tests.seeded import seeded


def run() -> Told:
    return experiment(60, seeded(5))


def test_when_frames_leave_tells_little() -> None:
    seen = run()
    assert 0.25 < seen.out < 0.5
    assert seen.both > seen.out


def test_without_pauses_it_would_tell_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def answered(pace: Pace, now: float, *, padding: bool) -> None:
        pace._number += 1

    monkeypatch.setattr(Pace, "answered", answered)
    assert run().out > 0.6


def test_long_paths_never_pause() -> None:
    node = Map(seeded(1))
    for relays in (3, 4):
        assert max(node.set_up(relays).pauses) < 0.001


def test_what_is_the_same_is_recognised() -> None:
    known = [SetUp(relays, (float(relays),) * 3, (0.1,) * 4) for relays in (1, 2, 3, 4) for _ in range(20)]
    assert told(known, known) == Told(1.0, 1.0)


def test_the_seed_governs() -> None:
    assert run() == run()
