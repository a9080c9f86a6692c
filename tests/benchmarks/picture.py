"""A picture of the table: each row's ratio to C tor on a logarithmic scale, and its bar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

_WIDTH, _LINE, _LEFT, _RIGHT = 960, 30, 430, 110
_LEAST, _MOST = 0.05, 20.0
_GOOD, _BAD, _PLAIN = "#2a7f4f", "#b3392f", "#777777"


def draw(results: Sequence[dict[str, Any]], title: str, path: Path) -> None:
    """Write an SVG: a bar from 1 (C tor) to the ratio, a tick where the row's bar lies."""
    rows = [one for one in results if one["ratio"] is not None]
    height = _LINE * (len(rows) + 3)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
        ' font-family="system-ui, sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="16" y="24" font-size="16">{escape(title)}</text>',
    ]
    for mark in (0.1, 0.25, 0.5, 1, 2, 4, 10):
        x = _x(mark)
        parts.append(
            f'<line x1="{x}" y1="44" x2="{x}" y2="{height - _LINE}" stroke="#dddddd"/>'
            f'<text x="{x}" y="{height - 10}" text-anchor="middle" fill="#555555">{mark:g}</text>'
        )
    for number, row in enumerate(rows):
        y = 50 + _LINE * number
        colour = {True: _GOOD, False: _BAD, None: _PLAIN}[row["holds"]]
        low, high = sorted((_x(1.0), _x(row["ratio"])))
        parts.append(
            f'<text x="{_LEFT - 12}" y="{y + 15}" text-anchor="end">{escape(row["row"])}</text>'
            f'<rect x="{low}" y="{y + 3}" width="{max(high - low, 1.0)}" height="16" fill="{colour}"/>'
            f'<text x="{_WIDTH - _RIGHT + 16}" y="{y + 15}" fill="{colour}">'
            f"{row['ratio']:.2f} ({escape(row['bar'] or 'no bar')})</text>"
        )
        if row["bar"]:
            x = _x(float(row["bar"].split()[1]))
            parts.append(f'<line x1="{x}" y1="{y}" x2="{x}" y2="{y + 22}" stroke="black" stroke-width="2"/>')
    parts.append("</svg>\n")
    path.write_text("\n".join(parts), encoding="utf-8")


def _x(ratio: float) -> float:
    share = (math.log(min(max(ratio, _LEAST), _MOST)) - math.log(_LEAST)) / (
        math.log(_MOST) - math.log(_LEAST)
    )
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)
