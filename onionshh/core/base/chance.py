"""Choices drawn from a source of random bytes, so that a test's seed decides every choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from onionshh.ids import RandomBytes

T = TypeVar("T")


class Chance:
    """Uniform, weighted and exponential draws over `random_bytes`."""

    __slots__ = ("bytes",)

    def __init__(self, random_bytes: RandomBytes) -> None:
        self.bytes = random_bytes

    def below(self, n: int) -> int:
        """An integer from 0 to n-1. 128 bits against at most 2^64: the bias is under 2^-64."""
        if n < 1:
            raise ValueError("below() needs a positive bound")
        return int.from_bytes(self.bytes(16), "big") % n

    def unit(self) -> float:
        """A float from 0 up to, not including, 1."""
        return (int.from_bytes(self.bytes(7), "big") >> 3) / (1 << 53)

    def between(self, low: float, high: float) -> float:
        """A float from low to high."""
        return low + (high - low) * self.unit()

    def exponential(self, mean: float) -> float:
        """A number from the exponential distribution with this mean."""
        return -mean * math.log(1.0 - self.unit())

    def choice(self, items: Sequence[T]) -> T:
        """One of the items, all equally likely."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """A new list of the items in random order."""
        result = list(items)
        for i in range(len(result) - 1, 0, -1):
            j = self.below(i + 1)
            result[i], result[j] = result[j], result[i]
        return result

    def weighted(self, items: Sequence[T], weights: Sequence[int]) -> T:
        """One of the items, by integer weights. If all weights are 0, all are equally likely."""
        total = sum(weights)
        if total <= 0:
            return self.choice(items)
        mark = self.below(total)
        for item, weight in zip(items, weights, strict=True):
            mark -= weight
            if mark < 0:
                return item
        raise ValueError("weights must not be negative")
