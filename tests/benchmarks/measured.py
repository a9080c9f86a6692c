"""One line of the second table: what was measured, alone or over a growing number, and its bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Measured:
    """`values` by circuits, visitors or whatever grows, or one `value`; neither when it could not be had.

    `limits` holds the bar as numbers, under the same keys as `values` or under 0 for a single one; `bar` says
    it in words. `why`: why there is no figure, or why it is what it is. `python`: the same with the cipher in
    Python, whose bar nobody has set.
    """

    row: str
    unit: str
    value: float | None = None
    values: Mapping[int, float] = field(default_factory=dict)
    bar: str = ""
    limits: Mapping[int, float] = field(default_factory=dict)
    why: str = ""
    python: Measured | None = None

    @property
    def holds(self) -> bool | None:
        """Whether every figure with a bar is within it; None when nothing is to be held."""
        figures = dict(self.values) if self.value is None else {0: self.value}
        held = [figures[key] <= most for key, most in self.limits.items() if key in figures]
        return all(held) if held else None

    def as_dict(self) -> dict[str, Any]:
        """{row, value or values, unit, bar, limits, holds, why}, what is empty left out."""
        result: dict[str, Any] = {"row": self.row, "unit": self.unit}
        if self.value is not None:
            result["value"] = rounded(self.value)
        if self.values:
            result["values"] = {str(key): rounded(value) for key, value in self.values.items()}
        if self.python is not None:
            told = self.python.as_dict()
            result["python"] = told.get("values", told.get("value"))
        result["bar"] = self.bar or None
        if self.limits:
            result["limits"] = {str(key): rounded(value) for key, value in self.limits.items()}
        result["holds"] = self.holds
        if self.why:
            result["why"] = self.why
        return result

    def line(self) -> str:
        """The line of the table that is printed."""
        figures = self._figures()
        if self.python is not None:
            figures = f"{figures}  (Python {self.python._figures()})"
        verdict = {True: "holds", False: "FAILS", None: ""}[self.holds]
        name = f"{self.row} ({self.unit})" if self.unit else self.row
        text = f"{name:64} {figures:52} {self.bar or 'report':44} {verdict}".rstrip()
        return f"{text}\n    {self.why}" if self.why else text

    def _figures(self) -> str:
        if self.values:
            return "  ".join(f"{key}: {rounded(value):g}" for key, value in self.values.items())
        return "–" if self.value is None else f"{rounded(self.value):g}"


def in_python(compiled: Sequence[Measured], pure: Sequence[Measured]) -> list[Measured]:
    """These rows, each with the same row of a run with the cipher in Python, where there is one."""
    by_row = {one.row: one for one in pure}
    return [replace(one, python=by_row.get(one.row)) for one in compiled]


def single(row: str, unit: str, value: float, most: float | None = None) -> Measured:
    """One figure, with a bar it must not pass if there is one."""
    if most is None:
        return Measured(row, unit, value)
    return Measured(row, unit, value, bar=f"≤ {most:g} {unit}", limits={0: most})


def some(text: str) -> int:
    """How many of something a benchmark measures, as an option says it: at least one."""
    count = int(text)
    if count < 1:
        raise ValueError(text)
    return count


def rounded(value: float) -> float:
    """Four digits."""
    return float(f"{value:.4g}")
