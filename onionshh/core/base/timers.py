"""The named deadlines of one machine, each written down once.

A machine names its deadlines by an enum of its own, whose values are 0, 1, 2 and so on: its places in the
table. Of several that are due, the first in that order counts.

Whoever waits for the machine (`net/timers.py`) has noted in `awaited` when it looks at the table next. A
deadline that is put off needs nothing more: the table is then looked at once in vain, and waited for anew.
So what puts a deadline off with every frame may write `at` straight, one store and no call. A deadline that
may come before `awaited` is given to `set`, which marks it in `nearer`.
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
        """The deadline of each name. Written from outside only to put off."""
        self.awaited = NEVER
        """When whoever waits looks here next."""
        self.nearer = False
        """Whether a deadline was set that is due before that."""

    def set(self, name: N, at: float) -> None:
        """From now on this deadline is due then, sooner or later than before."""
        self.at[name] = at
        if at < self.awaited:
            self.nearer = True

    def clear(self, name: N) -> None:
        """This one is not waited for any more."""
        self.at[name] = NEVER

    def clear_all(self) -> None:
        """The machine has ended."""
        self.at = [NEVER] * len(self._names)
        self.nearer = False

    def next(self) -> float:
        """The first deadline of all."""
        return min(self.at)

    def expired(self, now: float) -> N | None:
        """The first name, in the enum's order, whose deadline is due."""
        if min(self.at) > now:
            return None
        return next(name for name in self._names if self.at[name] <= now)

    def wait(self) -> float:
        """When whoever asks is to look again; that is what it awaits from now on."""
        self.nearer = False
        self.awaited = min(self.at)
        return self.awaited
