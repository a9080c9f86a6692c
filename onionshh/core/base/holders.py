"""Who holds how many of a scarce thing, and the items of the largest holder.

Each call takes the same few steps for any number of holders. A holder of n items is in row n, and one item
more or less moves the holder to the next row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Holders(Generic[T]):
    """Items by holder, oldest first."""

    def __init__(self) -> None:
        self._items: dict[str, dict[T, None]] = {}
        self._rows: defaultdict[int, dict[str, None]] = defaultdict(dict)
        self._most = 0

    def count(self, holder: str) -> int:
        """How many items this holder has."""
        return len(self._items.get(holder, ()))

    def add(self, holder: str, item: T) -> None:
        """Add an item that nobody holds yet."""
        held = self._items.setdefault(holder, {})
        self._move(holder, len(held), len(held) + 1)
        held[item] = None
        self._most = max(self._most, len(held))

    def remove(self, holder: str, item: T) -> None:
        """Take the item from the holder. KeyError if the holder does not have it."""
        held = self._items[holder]
        del held[item]
        self._move(holder, len(held) + 1, len(held))
        if not held:
            del self._items[holder]
        if self._most not in self._rows:
            self._most -= 1

    def of_the_largest(self) -> Iterator[T]:
        """The items of the largest holder. If several are equal, the items of all, holder by holder."""
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
