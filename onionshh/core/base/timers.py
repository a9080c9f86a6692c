"""Who is due first, among thousands whose times are put off all the while.

A link's padding is put off by each frame that it sends. Nothing is moved then: who comes up is asked for its
time again, and goes back to wait if that is still to come. So a frame costs nothing here.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Timetable(Generic[T]):
    """`due(item)` is the item's time now, None once it needs none any more: then it is forgotten when what it
    said last comes up. A time may only be put off."""

    def __init__(self, due: Callable[[T], float | None]) -> None:
        self._due = due
        self._heap: list[tuple[float, int, T]] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, item: T) -> bool:
        """From now on; True if nobody is due before it."""
        at = self._due(item)
        if at is None:
            return False
        self._number += 1
        entry = (at, self._number, item)
        heapq.heappush(self._heap, entry)
        return self._heap[0] is entry

    @property
    def first(self) -> float:
        """Nobody is due before this; infinite when nobody waits."""
        return self._heap[0][0] if self._heap else float("inf")

    def take(self, now: float) -> Iterator[T]:
        """Those that are due, one by one; each is to have another time when the next one is asked for."""
        while self.first <= now:
            *_, item = heapq.heappop(self._heap)
            at = self._due(item)
            if at is not None and at <= now:
                yield item
            self.add(item)
