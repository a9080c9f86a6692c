"""The last day of a network, as its directory saw it (SPEC 8). Pure.

Each consensus adds to a point. There is at most one point for each five minutes, so a day takes at most
`POINTS_MOST`, however often a consensus comes. What is older than a day goes, and what is from the future of
a clock that was set back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from onionshh.geometry import CELL

DAY_SECONDS = 86_400
SLOT_SECONDS = 300
POINTS_MOST = DAY_SECONDS // SLOT_SECONDS + 1

_GRACE_SECONDS = 2
_GRACE_PARTS = 20
"""A consensus is on time if it is late by no more than this part of an interval."""

WHISPER_RELAYS = 7
"""Three relays of each side and the meeting relay: what a whisper of the class talk passes, at most."""
WHISPER_CELLS = 2
"""A whisper of at most 256 bytes, and its receipt."""


class Point(NamedTuple):
    """Some minutes: the last consensus in them, and how many came, came late and did not come.

    `at` is the valid-after of that consensus in Unix seconds, `bandwidth` what its relays offer together in
    bytes per second.
    """

    at: int
    relays: int
    bandwidth: int
    made: int
    late: int
    missed: int


class Total(NamedTuple):
    """How many consensuses came in a day, how many of them late, and how many did not come."""

    made: int
    late: int
    missed: int


def added(
    points: Sequence[Point], *, at: int, due: int, interval: int, relays: int, bandwidth: int
) -> tuple[Point, ...]:
    """The history with one more consensus. `due`: when it should have come, 0 if it is the first."""
    kept = [point for point in points if at - DAY_SECONDS < point.at <= at]
    late, missed = _lateness(at, due, interval)
    new = Point(at, relays, bandwidth, 1, late, missed)
    if kept and kept[-1].at // SLOT_SECONDS == at // SLOT_SECONDS:
        last = kept.pop()
        new = Point(
            at, relays, bandwidth, last.made + 1, last.late + late, min(last.missed + missed, DAY_SECONDS)
        )
    return (*kept, new)[-POINTS_MOST:]


def _lateness(at: int, due: int, interval: int) -> tuple[int, int]:
    """Whether it is late (0 or 1), and how many before it did not come, at most those of a day."""
    grace = _grace(interval)
    if not due or at <= due + grace:
        return 0, 0
    missed, late_by = divmod(at - due, interval)
    return int(late_by > grace), min(missed, DAY_SECONDS // interval)


def _grace(interval: int) -> int:
    return max(_GRACE_SECONDS, interval // _GRACE_PARTS)


def total(points: Sequence[Point], *, now: int = 0, interval: int = 1) -> Total:
    """The sums of a day. Those that are overdue at `now` (Unix seconds) count as missing."""
    overdue = 0
    if points:
        due = (points[-1].at // interval + 1) * interval
        overdue = max(0, (now - _grace(interval) - 1 - due) // interval + 1)
    missed = sum(point.missed for point in points) + min(overdue, DAY_SECONDS // interval)
    return Total(sum(point.made for point in points), sum(point.late for point in points), missed)


def whispers_a_second(bandwidth: int) -> int:
    """How many short whispers with their receipts relays could carry, if each of them gave all that it offers
    and nothing else were sent. Nobody checks what relays offer, so it is a bound and no measurement."""
    return bandwidth // (WHISPER_CELLS * WHISPER_RELAYS * CELL)
