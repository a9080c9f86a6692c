"""The named deadlines of one machine, each stored once.

A machine names its deadlines with its own enum. The values 0, 1, 2 and so on are places in the table. If
several deadlines are due, the first in that order counts.

The driver that waits for the machine (`net/timers.py`) notes in `awaited` when it will look at the table
next. A later deadline needs no call: the driver looks once without result, and waits again. So code that
moves a deadline later with every frame may write to `at` directly: one store and no call. A deadline that may
come before `awaited` must go through `set`, which sets `nearer`.
"""

from __future__ import annotations

import enum
from typing import Generic, TypeVar

N = TypeVar("N", bound=enum.IntEnum)

NEVER = float("inf")


class Timers(Generic[N]):
    """The table. All times are monotonic seconds; a deadline that is not set is `NEVER`."""

    __slots__ = ("_names", "at", "awaited", "nearer")

    def __init__(self, names: type[N]) -> None:
        self._names = names
        self.at = [NEVER] * len(names)
        """The deadline of each name. Code outside writes here only to make a deadline later."""
        self.awaited = NEVER
        """When the waiting driver looks here next."""
        self.nearer = False
        """Whether a deadline was set that is due before `awaited`."""

    def set(self, name: N, at: float) -> None:
        """Set this deadline, to an earlier or later time than before."""
        self.at[name] = at
        if at < self.awaited:
            self.nearer = True

    def clear(self, name: N) -> None:
        """Remove this deadline."""
        self.at[name] = NEVER

    def clear_all(self) -> None:
        """The machine has ended: remove all deadlines."""
        self.at = [NEVER] * len(self._names)
        self.nearer = False

    def next(self) -> float:
        """The earliest deadline."""
        return min(self.at)

    def expired(self, now: float) -> N | None:
        """The first name, in the enum's order, whose deadline is due."""
        if min(self.at) > now:
            return None
        return next(name for name in self._names if self.at[name] <= now)

    def wait(self) -> float:
        """When the caller must look again. This becomes `awaited`."""
        self.nearer = False
        self.awaited = min(self.at)
        return self.awaited
