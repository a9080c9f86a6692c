"""The rows of the first table: what each is called, and the bars it must hold beside C tor."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

COMPILED: Final = "compiled"
PYTHON: Final = "python"
CIPHERS: Final = (COMPILED, PYTHON)
"""Our two columns: the same program with either cipher."""


@dataclass(slots=True)
class Row:
    """One line of the table. `bars`: what the ratio must hold with either cipher, at least if `least`, else
    at most. None: it is reported."""

    name: str
    unit: str
    bars: tuple[float | None, float | None] = (None, None)
    least: bool = False
    tor: dict[str, list[float]] = field(default_factory=lambda: {cipher: [] for cipher in CIPHERS})
    """What C tor took beside each of ours."""
    ours: dict[str, list[float]] = field(default_factory=lambda: {cipher: [] for cipher in CIPHERS})

    def result(self) -> dict[str, Any]:
        """{row, unit, tor} and for each cipher {value, ratio, range, bar, holds}; medians of the rounds, and
        each ratio to what C tor took in the same rounds. `range`: the least and the greatest ratio of a
        round."""
        of_tor = [value for cipher in CIPHERS for value in self.tor[cipher]]
        tor = statistics.median(of_tor) if of_tor else None
        result: dict[str, Any] = {"row": self.name, "unit": self.unit, "tor": _rounded(tor)}
        for cipher, bar in zip(CIPHERS, self.bars, strict=True):
            result[cipher] = self._column(self.ours[cipher], self.tor[cipher], bar)
        return result

    def _column(
        self, ours: Sequence[float], beside: Sequence[float], bar: float | None
    ) -> dict[str, Any] | None:
        if not ours:
            return None
        value = statistics.median(ours)
        ratio = value / statistics.median(beside) if beside else None
        rounds = [one / other for one, other in zip(ours, beside, strict=False) if other]
        holds = None
        if ratio is not None and bar is not None:
            holds = ratio >= bar if self.least else ratio <= bar
        return {
            "value": _rounded(value),
            "ratio": _rounded(ratio),
            "range": [_rounded(min(rounds)), _rounded(max(rounds))] if len(rounds) > 1 else None,
            "bar": None if bar is None else f"{'≥' if self.least else '≤'} {bar:g}",
            "holds": holds,
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


ROWS: Final = {
    "bulk-cpu": Row("relay CPU per cell, bulk through a rendezvous", "µs", (0.75, 1.5)),
    "quiet-200": Row("relay CPU per cell, 64 quiet circuits, about 200 cells/s a relay", "µs", (1.5, 2.5)),
    "quiet-600": Row("relay CPU per cell, 64 quiet circuits, about 600 cells/s a relay", "µs", (1.5, 2.5)),
    "circuits-1000": Row("a switch's CPU per cell of 1 000 circuits, C tor: bulk", "µs", (0.6, None)),
    "circuits-10000": Row("a switch's CPU per cell of 10 000 circuits, C tor: bulk", "µs", (0.9, None)),
    "connect": Row("connect by address to first byte back, fresh circuits", "ms", (0.2, 0.35)),
    "connect-cold": Row("the same, nothing warm but the consensus", "ms"),
    "round-trip": Row("round trip of 256 B, median", "ms", (0.25, 0.4)),
    "round-trip-p99": Row("round trip of 256 B, p99", "ms", (0.25, 0.4)),
    "bulk-rate": Row("bulk rate, one circuit through a rendezvous", "MB/s", (1.8, 1.0), least=True),
    "build": Row("build of a circuit of three relays, median", "ms", (0.15, 0.4)),
    "build-rate": Row("circuits of three relays built a second", "1/s", (1.2, 0.7), least=True),
    "build-cpu": Row("relay CPU per circuit built and relay", "µs", (1.5, 3.0)),
    "memory-relay": Row("memory of a relay", "MiB", (0.45, 0.45)),
    "memory-endpoint": Row("memory of an endpoint", "MiB", (1.0, 1.0)),
    "memory-visitor": Row("memory of a visitor", "MiB", (1.0, 1.0)),
    "relay-start": Row("start of a relay to its first link answered", "ms"),
    "help": Row("onionshh --help", "ms"),
}


def print_table(results: Sequence[dict[str, Any]]) -> None:
    """The table for a terminal."""
    print(f"\n{'row':72} {'C tor':>8}", *(f"{cipher:>9}  {'ratio':>6}  {'bar':14}" for cipher in CIPHERS))
    for one in results:
        cells = [f"{one['row']} ({one['unit']})".ljust(72), f"{_said(one['tor']):>8}"]
        for column in (one[cipher] for cipher in CIPHERS):
            if column is None:
                continue
            verdict = {True: "holds", False: "FAILS", None: ""}[column["holds"]]
            bar = f"{column['bar'] or 'report'} {verdict}"
            cells.append(f"{_said(column['value']):>9}  {_said(column['ratio']):>6}  {bar:14}")
        print(*cells)


def _said(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"
