"""Token buckets: how often a stranger may ask for something that costs us (SPEC 17).

A bucket holds up to `burst` tokens and gains `rate` per second; rate 0 means no limit. A map of bounded size
keeps buckets by key (an address, an introducer's key). It forgets the least recently used bucket, which is
the fullest. A stranger with that many keys has as many fresh bursts anyway.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class TokenBucket:
    """One bucket, full at first. `rate` (tokens per second) and `burst` may change at any time."""

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens: float | None = None
        self._at = 0.0

    def take(self, now: float, n: int = 1) -> bool:
        """Take n tokens if they are there; a refusal takes none."""
        if self.rate <= 0:
            return True
        tokens = self.tokens(now)
        self._at = now
        taken = tokens >= n
        self._tokens = tokens - n if taken else tokens
        return taken

    def tokens(self, now: float) -> float:
        """How many tokens it holds now."""
        if self._tokens is None:
            return self.burst
        return min(self.burst, self._tokens + max(0.0, now - self._at) * self.rate)

    def seconds_until(self, now: float, n: int = 1) -> float:
        """How long until it holds n tokens, 0 if it does."""
        missing = n - self.tokens(now)
        return missing / self.rate if missing > 0 and self.rate > 0 else 0.0

    def full(self, now: float) -> bool:
        """Whether it equals a new bucket and can be forgotten."""
        return self.tokens(now) >= self.burst


class Buckets(Generic[K]):
    """One bucket per key, at most `most` of them."""

    __slots__ = ("_buckets", "_most", "burst", "rate")

    def __init__(self, rate: float, burst: float, most: int) -> None:
        self.rate = rate
        self.burst = burst
        self._most = most
        self._buckets: dict[K, TokenBucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: K, now: float, n: int = 1) -> bool:
        """Take n tokens from this key's bucket if they are there."""
        if self.rate <= 0:
            return True
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            bucket = TokenBucket(self.rate, self.burst)
            self._forget(now)
        # The dict is in order of last use.
        self._buckets[key] = bucket
        bucket.rate, bucket.burst = self.rate, self.burst
        return bucket.take(now, n)

    def _forget(self, now: float) -> None:
        """Remove up to two full buckets per call, so the map shrinks; a full map always loses one."""
        for _ in range(2):
            oldest = next(iter(self._buckets), None)
            if oldest is None:
                return
            if not self._buckets[oldest].full(now) and len(self._buckets) < self._most:
                return
            del self._buckets[oldest]
