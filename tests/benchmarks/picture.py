"""A picture of the table: each row's ratio to C tor on a logarithmic scale, and its bar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from tests.benchmarks.table import CIPHERS

_WIDTH, _LINE, _LEFT, _RIGHT = 960, 40, 430, 110
_LEAST, _MOST = 0.05, 20.0
_GOOD, _BAD, _PLAIN = "#2a7f4f", "#b3392f", "#777777"


def draw(results: Sequence[dict[str, Any]], title: str, path: Path) -> None:
    """Write an SVG: for each cipher a bar from 1 (C tor) to the ratio, a tick where its bar lies."""
    rows = [one for one in results if any(one[cipher] and one[cipher]["ratio"] for cipher in CIPHERS)]
    height = _LINE * (len(rows) + 3)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
        ' font-family="system-ui, sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="16" y="24" font-size="16">{escape(title)}</text>',
        f'<text x="{_WIDTH - 16}" y="24" text-anchor="end" fill="#555555">'
        "above: compiled cipher, below: in Python</text>",
    ]
    for mark in (0.1, 0.25, 0.5, 1, 2, 4, 10):
        x = _x(mark)
        parts.append(
            f'<line x1="{x}" y1="44" x2="{x}" y2="{height - _LINE}" stroke="#dddddd"/>'
            f'<text x="{x}" y="{height - 10}" text-anchor="middle" fill="#555555">{mark:g}</text>'
        )
    for number, row in enumerate(rows):
        y = 50 + _LINE * number
        parts.append(f'<text x="{_LEFT - 12}" y="{y + 20}" text-anchor="end">{escape(row["row"])}</text>')
        for at, cipher in enumerate(CIPHERS):
            if row[cipher] and row[cipher]["ratio"]:
                parts += _bar(row[cipher], y + 3 + 15 * at, faint=at > 0)
    parts.append("</svg>\n")
    path.write_text("\n".join(parts), encoding="utf-8")


def _bar(column: dict[str, Any], y: float, *, faint: bool) -> list[str]:
    colour = {True: _GOOD, False: _BAD, None: _PLAIN}[column["holds"]]
    low, high = sorted((_x(1.0), _x(column["ratio"])))
    parts = [
        f'<rect x="{low}" y="{y}" width="{max(high - low, 1.0)}" height="12" fill="{colour}"'
        f' opacity="{0.45 if faint else 1}"/>',
        f'<text x="{_WIDTH - _RIGHT + 16}" y="{y + 11}" fill="{colour}">'
        f"{column['ratio']:.2f} ({escape(column['bar'] or 'no bar')})</text>",
    ]
    if column["bar"]:
        x = _x(float(column["bar"].split()[1]))
        parts.append(f'<line x1="{x}" y1="{y - 2}" x2="{x}" y2="{y + 14}" stroke="black" stroke-width="2"/>')
    return parts


def _x(ratio: float) -> float:
    share = (math.log(min(max(ratio, _LEAST), _MOST)) - math.log(_LEAST)) / (
        math.log(_MOST) - math.log(_LEAST)
    )
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)
