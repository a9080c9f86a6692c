"""The picture of what grows: curves over a logarithmic axis, and single figures, each with its bar."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from tests.benchmarks.measured import Measured, rounded

_WIDTH, _PANEL_HEIGHT, _TOP = 960, 270, 48
_LEFT, _RIGHT, _HEAD, _FOOT = 72, 30, 40, 46
_GOOD, _BAD, _PLAIN = "#2a7f4f", "#b3392f", "#777777"
_LINES = ("#2b5c8a", "#c07a1f")
_LINE = 30
_NAMES = 430
_BAR_LEAST, _BAR_MOST = 0.05, 20.0

_Scale = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class _Panel:
    """Where one diagram lies, and what its axes say. The horizontal axis is logarithmic, the other may be."""

    left: float
    top: float
    title: str
    across: str
    upward: str
    logarithmic: bool = False

    @property
    def _right(self) -> float:
        return self.left + _WIDTH / 2 - _RIGHT

    @property
    def _bottom(self) -> float:
        return self.top + _PANEL_HEIGHT - _FOOT

    def draw(self, curves: Sequence[tuple[str, Measured]]) -> list[str]:
        """The axes, the curves with their names, and a dashed line a bar."""
        figures = [value for _, one in curves for value in (*one.values.values(), *one.limits.values())]
        places = sorted({key for _, one in curves for key in one.values})
        if not figures or not places:
            return []
        marks = _marks(figures, self.logarithmic)
        low, high = marks[0], marks[-1]
        begin, y0, y1 = self.left + _LEFT, self._bottom, self.top + _HEAD

        def x(key: float) -> float:
            wide = math.log(places[-1] / places[0]) or 1.0
            return round(begin + math.log(key / places[0]) / wide * (self._right - begin - 20), 1)

        def y(value: float) -> float:
            if self.logarithmic:
                share = math.log(max(value, low) / low) / math.log(high / low)
            else:
                share = (value - low) / (high - low)
            return round(y0 - share * (y0 - y1), 1)

        parts = [_text(begin - 40, self.top + 14, f"{self.title}, {self.upward}", size=14)]
        for mark in marks:
            parts.append(_line(begin, y(mark), self._right, y(mark), "#dddddd"))
            parts.append(_text(begin - 8, y(mark) + 4, _short(mark), anchor="end", colour="#555555"))
        for key in places:
            parts.append(_line(x(key), y0, x(key), y0 + 4, "#555555"))
            parts.append(_text(x(key), y0 + 18, _short(key), anchor="middle"))
        parts.append(
            _text((begin + self._right) / 2, y0 + 36, self.across, anchor="middle", colour="#555555")
        )
        for (name, one), colour in zip(curves, _LINES, strict=False):
            below = len(curves) > 1 and colour == _LINES[0]
            points = {x(key): (y(value), value) for key, value in one.values.items()}
            parts += _curve(points, colour, below=below)
            if name:
                last = max(one.values)
                at = y(one.values[last]) + (30 if below else -22)
                parts.append(_text(x(last), at, name, anchor="middle", colour=colour))
            parts += self._bars(one, x, y)
        return parts

    def _bars(self, one: Measured, x: _Scale, y: _Scale) -> list[str]:
        colour = _BAD if one.holds is False else _GOOD
        parts = []
        for key, most in one.limits.items():
            at = x(key)
            parts.append(
                _line(at - 28, y(most), min(at + 28, self._right), y(most), colour, wide=2, dashed=True)
            )
            parts.append(_text(at, y(most) - 5, f"bar {_short(most)}", anchor="middle", colour=colour))
        return parts


def draw(results: Sequence[Measured], path: Path) -> None:
    """Write an SVG of every row: what has `values` as curves, what has one bar beside it, the rest not."""
    half = _WIDTH / 2
    by_row = {one.row: one for one in results}
    places = (
        _Panel(0, _TOP, "CPU per forwarded cell", "circuits on the relay", "µs"),
        _Panel(half, _TOP, "an endpoint's whispers", "visitors at once", "1/s"),
        _Panel(0, _TOP + _PANEL_HEIGHT, "whisper to receipt", "visitors at once", "ms", logarithmic=True),
        _Panel(0, _TOP + 2 * _PANEL_HEIGHT, "a board read anew", "posts on it", "s", logarithmic=True),
        _Panel(
            half,
            _TOP + 2 * _PANEL_HEIGHT,
            "a resumption under junk",
            "junk introductions a second (1: none)",
            "ms",
            logarithmic=True,
        ),
    )
    chosen = (
        ("CPU per",),
        ("whispers of",),
        ("receipt, median", "receipt, p99"),
        ("board read anew",),
        ("resumption, median", "resumption, p99"),
    )
    parts: list[str] = []
    for panel, wanted in zip(places, chosen, strict=True):
        rows = [(part, one) for part in wanted for name, one in by_row.items() if part in name and one.values]
        lines = [(name.partition(", ")[2], one) for name, one in rows]
        if len(rows) == 1 and rows[0][1].python is not None:
            lines = [("cipher compiled", rows[0][1]), ("in Python", rows[0][1].python)]
        parts += panel.draw(lines)
    parts += _trips(
        half + _LEFT, _TOP + _PANEL_HEIGHT, [one for one in results if "round trip of" in one.row]
    )
    top = _TOP + 3 * _PANEL_HEIGHT + 10
    held = [one for one in results if one.value is not None and one.limits.get(0)]
    parts += _held(held, top)
    height = top + _LINE * (len(held) + 3)
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
        ' font-family="system-ui, sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        _text(16, 26, "onionshh: what grows with what, and the price of privacy", size=16),
    ]
    path.write_text("\n".join([*head, *parts, "</svg>\n"]), encoding="utf-8")


def _held(rows: Sequence[Measured], top: float) -> list[str]:
    """Single figures over their bars, on a logarithmic scale; the bar is the line at 1."""
    parts = [
        _text(22, top + 12, "single figures: how many times the bar (line at 1: the bar itself)", size=14)
    ]
    end = top + 24 + _LINE * len(rows)
    for mark in (0.1, 0.25, 0.5, 1, 2, 4, 10):
        x = _bar_x(mark)
        parts.append(
            _line(x, top + 24, x, end, "black" if mark == 1 else "#dddddd", wide=2 if mark == 1 else 1)
        )
        parts.append(_text(x, end + 18, f"{mark:g}", anchor="middle", colour="#555555"))
    for number, one in enumerate(rows):
        y = top + 24 + _LINE * number
        ratio = (one.value or 0.0) / one.limits[0]
        colour = _GOOD if one.holds else _BAD
        low, high = sorted((_bar_x(1.0), _bar_x(ratio)))
        parts += [
            _text(_NAMES - 12, y + 15, one.row, anchor="end"),
            f'<rect x="{low}" y="{y + 3}" width="{max(high - low, 1.0)}" height="16" fill="{colour}"/>',
            _text(
                _WIDTH - 150, y + 15, f"{rounded(one.value or 0.0):g} {one.unit} ({one.bar})", colour=colour
            ),
        ]
    return parts


def _bar_x(ratio: float) -> float:
    share = math.log(min(max(ratio, _BAR_LEAST), _BAR_MOST) / _BAR_LEAST) / math.log(_BAR_MOST / _BAR_LEAST)
    return round(_NAMES + share * (_WIDTH - _NAMES - 160), 1)


def _trips(left: float, top: float, rows: Sequence[Measured]) -> list[str]:
    """Round trips as bars on a logarithmic scale of milliseconds, from 1 µs on."""
    rows = [one for one in rows if one.value is not None]
    parts = [_text(left - 40, top + 18, "round trip of 256 B, ms", size=14)]
    wide = _WIDTH - left - _RIGHT - 60
    for number, one in enumerate(rows):
        y = top + 34 + 33 * number
        value = one.value or 0.0
        share = math.log(max(value, 0.001) / 0.001) / math.log(1e5)
        parts += [
            _text(left - 40, y + 10, one.row.removeprefix("round trip of 256 B over ")),
            f'<rect x="{left - 40}" y="{y + 14}" width="{round(max(share * wide, 1), 1)}" height="10"'
            f' fill="{_PLAIN if "onionshh" not in one.row else _LINES[0]}"/>',
            _text(left - 34 + share * wide, y + 24, f"{rounded(value):g}"),
        ]
    return parts


def _curve(points: Mapping[float, tuple[float, float]], colour: str, *, below: bool) -> list[str]:
    line = " ".join(f"{x},{y}" for x, (y, _) in points.items())
    parts = [f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>']
    for x, (y, value) in points.items():
        parts.append(f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>')
        parts.append(
            _text(x, y + (16 if below else -8), _short(value), anchor="middle", colour=colour, size=11)
        )
    return parts


def _short(value: float) -> str:
    """Three digits, thousands apart."""
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}".replace(",", " ")


def _marks(figures: Sequence[float], logarithmic: bool) -> list[float]:
    """Round numbers for a vertical axis; the last one is above every figure."""
    most, least = max(figures), min(figures)
    if logarithmic:
        low = math.floor(math.log10(max(least, 1e-3)))
        return [10.0**power for power in range(low, max(low + 1, math.ceil(math.log10(most))) + 1)]
    rough = max(most, 1e-9) / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough)
    return [step * number for number in range(math.floor(most / step) + 2)]


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str, *, wide: int = 1, dashed: bool = False
) -> str:
    dashes = ' stroke-dasharray="6 4"' if dashed else ""
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-width="{wide}"{dashes}/>'


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", colour: str = "black", size: int = 13
) -> str:
    return (
        f'<text x="{round(x, 1)}" y="{round(y, 1)}" text-anchor="{anchor}" fill="{colour}"'
        f' font-size="{size}">{escape(text)}</text>'
    )
