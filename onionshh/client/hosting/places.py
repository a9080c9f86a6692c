"""Places for work that strangers ask for, shared so that one silent peer cannot hold them all.

Each piece of work belongs to a holder: for introductions, the rendezvous point that the stranger named. A
few pieces are at work, some more wait. When all places are taken, a newcomer may get the oldest place of the
holder that has most places. It gets that place in two cases: that holder has at least two places more than
the newcomer's, or it is another holder and seems silent. A circuit is built in a fraction of a second, so a
place held for SILENT_SECONDS means silence. Of those that wait, the holder with the fewest at work comes
first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Hashable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

SILENT_SECONDS = 8.0


class NoPlace(Exception):
    """All places are taken, or this one was given to somebody else."""


@dataclass(eq=False, slots=True)
class _Place:
    holder: Hashable
    since: float
    """When it began to work, or to wait; trio's time."""
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    called: trio.Event = field(default_factory=trio.Event)


class Places:
    """`at_work`: how many work at once; `waiting`: how many more may wait."""

    def __init__(self, at_work: int, waiting: int) -> None:
        self._at_work_most = at_work
        self._waiting_most = waiting
        self._at_work: list[_Place] = []
        self._waiting: list[_Place] = []

    @asynccontextmanager
    async def take(self, holder: Hashable) -> AsyncIterator[None]:
        """A place for the length of the block. NoPlace when there is none, or when it is lost meanwhile."""
        place = _Place(holder, trio.current_time())
        with place.scope:
            try:
                await self._enter(place)
                yield
            finally:
                self._leave(place)
        if place.scope.cancelled_caught:
            raise NoPlace

    async def _enter(self, place: _Place) -> None:
        if len(self._at_work) < self._at_work_most or self._take_over(place):
            self._at_work.append(place)
            return
        if len(self._waiting) >= self._waiting_most:
            most = _of_the_greatest(self._waiting)
            if len(_of(self._waiting, place.holder)) + 1 >= len(most):
                raise NoPlace
            self._give_up(most[-1])
        self._waiting.append(place)
        await place.called.wait()

    def _take_over(self, place: _Place) -> bool:
        most = _of_the_greatest(self._at_work)
        oldest, mine = most[0], len(_of(self._at_work, place.holder))
        silent = place.since - oldest.since >= SILENT_SECONDS and oldest.holder != place.holder
        if len(most) < mine + 2 and not silent:
            return False
        self._give_up(oldest)
        return True

    def _give_up(self, place: _Place) -> None:
        for places in (self._at_work, self._waiting):
            if place in places:
                places.remove(place)
        place.scope.cancel()

    def _leave(self, place: _Place) -> None:
        if place in self._waiting:
            self._waiting.remove(place)
        if place in self._at_work:
            self._at_work.remove(place)
        while self._waiting and len(self._at_work) < self._at_work_most:
            held = Counter(busy.holder for busy in self._at_work)
            called = min(
                self._waiting, key=lambda waiting: held[waiting.holder]
            )  # of equals the first, so the oldest
            self._waiting.remove(called)
            called.since = trio.current_time()
            self._at_work.append(called)
            called.called.set()


def _of(places: Iterable[_Place], holder: Hashable) -> list[_Place]:
    return [place for place in places if place.holder == holder]


def _of_the_greatest(places: list[_Place]) -> list[_Place]:
    """The places of the holder that has most, oldest first. If several have most: the one with the oldest
    place."""
    count = Counter(place.holder for place in places)
    greatest = max(count.values())
    return _of(places, next(place.holder for place in places if count[place.holder] == greatest))
