"""Decides what must go when a relay is full: the places are shared by origin (SPEC 17).

A cap alone is no defence: those who come first take all of it, and newcomers lose. So what is kept is counted
by origin, which is the neighbour that a circuit came over. Past the cap, the origin that holds most loses
what has the lowest rank there. Between origins that hold equally many, the rank decides too. The newcomer is
among those looked at, so a flood displaces itself.

Everything is kept sorted, so that a flood of origins costs no more than a flood of things from one.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable
from typing import Generic, TypeVar

from onionshh.core.roles import Origin

K = TypeVar("K", bound=Hashable)

Rank = tuple[int, ...]
"""The lowest goes first. No two things that are kept may have the same rank."""


class Shares(Generic[K]):
    """Names of what is kept, by origin and rank."""

    __slots__ = ("_first", "_held", "_names", "_of")

    def __init__(self) -> None:
        self._held: dict[K, tuple[Origin, Rank]] = {}
        self._names: dict[Rank, K] = {}
        self._of: dict[Origin, list[Rank]] = {}
        self._first: list[tuple[int, Rank]] = []
        """For each origin: how many it has, negated, and the lowest rank among them."""

    def __len__(self) -> int:
        return len(self._held)

    def add(self, name: K, origin: Origin, rank: Rank) -> None:
        """Add a name. If it is there already, change its origin and rank."""
        self.remove(name)
        mine = self._of.setdefault(origin, [])
        self._take_out(mine)
        insort(mine, rank)
        self._put_in(mine)
        self._held[name] = (origin, rank)
        self._names[rank] = name

    def remove(self, name: K) -> None:
        """Remove a name, if it is there."""
        held = self._held.pop(name, None)
        if held is None:
            return
        origin, rank = held
        del self._names[rank]
        mine = self._of[origin]
        self._take_out(mine)
        del mine[bisect_left(mine, rank)]
        self._put_in(mine)
        if not mine:
            del self._of[origin]

    def goes_first(self) -> K:
        """The name that must go when there is no room. There must be one."""
        return self._names[self._first[0][1]]

    def would_stay(self, name: K, origin: Origin, rank: Rank) -> bool:
        """Whether this newcomer would take a place when there is none left."""
        self.add(name, origin, rank)
        stays = self.goes_first() != name
        self.remove(name)
        return stays

    def lesser(self, name: K, other: Origin) -> Origin:
        """The one that holds less: the origin that `name` counts for, or `other`."""
        own = self._held[name][0]
        return other if len(self._of.get(other, ())) + 1 < len(self._of[own]) else own

    def _take_out(self, mine: list[Rank]) -> None:
        if mine:
            del self._first[bisect_left(self._first, (-len(mine), mine[0]))]

    def _put_in(self, mine: list[Rank]) -> None:
        if mine:
            insort(self._first, (-len(mine), mine[0]))
