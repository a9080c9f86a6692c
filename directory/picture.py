"""Draws the last day of a network as SVG: steps over time, and a strip of consensuses (SPEC 8). Pure.

A picture has only shapes. What stands beside it is text of the page, which stays readable at any width. The
shapes have classes and no colours: the page's style gives them light and dark ones. All sizes are bounded,
since a history is.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from onionshh.directory.history import DAY_SECONDS, SLOT_SECONDS, Point

WIDE = 1440
"""Units of a picture for a day: a minute each."""
HIGH = 100
_TOP = 6
_STRIP_HIGH = 24
_SEPARATE_CELLS = 96
"""Up to so many consensuses of a day are bars with room between them."""
_STATES = {"ok": (0, _STRIP_HIGH), "late": (8, _STRIP_HIGH - 8), "none": (18, _STRIP_HIGH - 18)}
"""Where a bar begins and how high it is, by what came: nobody needs to see colours."""


class _Step(NamedTuple):
    """From x to x at this height."""

    left: int
    right: int
    y: int


def steps(points: Sequence[Point], values: Sequence[int], *, end: int, interval: int, label: str) -> str:
    """The values of the points over the day that ends at `end` (Unix seconds). Where no consensus came for
    long, the line has a gap. `label` says in words what is to be seen."""
    hold = 2 * max(SLOT_SECONDS, interval)
    most = max(values, default=0) or 1
    runs: list[list[_Step]] = [[]]
    for number, (point, value) in enumerate(zip(points, values, strict=True)):
        following = points[number + 1].at if number + 1 < len(points) else end
        gap = following - point.at > hold
        y = HIGH - (HIGH - _TOP) * value // most
        left, right = _x(point.at, end), _x(min(following, point.at + hold), end)
        runs[-1].append(_Step(left, max(right, left), y))
        if gap:
            runs.append([])
    drawn = "".join(_run(run) for run in runs if run)
    return _svg(HIGH, label, f'<path class="floor" d="M0 {HIGH}H{WIDE}"/>{drawn}')


def strip(points: Sequence[Point], *, end: int, interval: int, label: str) -> str:
    """A bar for each consensus of the day that ends at `end`, or for each five minutes if they come more
    often: high for on time, lower for late, flat for none."""
    slot = max(SLOT_SECONDS, interval)
    states: dict[int, str] = {}
    for point in points:
        bad = point.late or (point.missed and interval < SLOT_SECONDS)
        if states.get(point.at // slot) != "late":
            states[point.at // slot] = "late" if bad else "ok"
    first = max(min(states, default=end // slot), (end - DAY_SECONDS) // slot)
    bars: list[tuple[str, int, int]] = []
    separate = slot * _SEPARATE_CELLS >= DAY_SECONDS
    for cell in range(first, end // slot + 1):
        state = states.get(cell, "none" if (cell + 1) * slot <= end else "")
        left, right = _x(cell * slot, end), _x(min((cell + 1) * slot, end), end)
        if bars and not separate and bars[-1][0] == state:
            bars[-1] = (state, bars[-1][1], right)
        else:
            bars.append((state, left, right))
    room = WIDE * slot // DAY_SECONDS // 8 if separate else 0
    drawn = "".join(
        f'<rect class="{state}" x="{left}" y="{_STATES[state][0]}" width="{max(right - left - room, 2)}"'
        f' height="{_STATES[state][1]}"/>'
        for state, left, right in bars
        if state
    )
    return _svg(_STRIP_HIGH, label, drawn)


def _x(at: int, end: int) -> int:
    return min(max(0, WIDE - (end - at) * WIDE // DAY_SECONDS), WIDE)


def _run(run: Sequence[_Step]) -> str:
    """A line, and the area below it."""
    line = f"M{run[0].left} {run[0].y}H{run[0].right}"
    before = run[0].y
    for step in run[1:]:
        line += f"H{step.left}" + (f"V{step.y}" if step.y != before else "") + f"H{step.right}"
        before = step.y
    area = f"{line}V{HIGH}H{run[0].left}Z"
    return (
        f'<path class="area" d="{area}"/><path class="line" vector-effect="non-scaling-stroke" d="{line}"/>'
    )


def _svg(high: int, label: str, inside: str) -> str:
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {WIDE} {high}"'
        f' preserveAspectRatio="none">{inside}</svg>'
    )
