"""Who holds how many of something scarce, and the items of whoever holds most.

Each call takes the same few steps however many there are: who holds n stands in the row of n, and one step
up or down moves it to the next row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Holders(Generic[T]):
    """Items by holder, in the order in which they came."""

    def __init__(self) -> None:
        self._items: dict[str, dict[T, None]] = {}
        self._rows: defaultdict[int, dict[str, None]] = defaultdict(dict)
        self._most = 0

    def count(self, holder: str) -> int:
        """How many this one holds."""
        return len(self._items.get(holder, ()))

    def add(self, holder: str, item: T) -> None:
        """One more item, which nobody holds yet."""
        held = self._items.setdefault(holder, {})
        self._move(holder, len(held), len(held) + 1)
        held[item] = None
        self._most = max(self._most, len(held))

    def remove(self, holder: str, item: T) -> None:
        """The holder has it no longer. KeyError if it had not."""
        held = self._items[holder]
        del held[item]
        self._move(holder, len(held) + 1, len(held))
        if not held:
            del self._items[holder]
        if self._most not in self._rows:
            self._most -= 1

    def of_the_largest(self) -> Iterator[T]:
        """The items of whoever holds most; of several who do, one after the other."""
        for holder in self._rows.get(self._most, ()):
            yield from self._items[holder]

    def _move(self, holder: str, before: int, after: int) -> None:
        if before:
            row = self._rows[before]
            del row[holder]
            if not row:
                del self._rows[before]
        if after:
            self._rows[after][holder] = None
