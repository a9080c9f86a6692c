"""What an endpoint has seen under one key, so that nothing is acted on twice (SPEC 11).

Both SHA3-256 of an introduction's sealed part and the seed inside go in: the first stops the same bytes at
the price of a hash, the second the same introduction sealed anew. This is the set in memory; its driver
writes each new entry to disk and syncs it before the introduction is answered, and loads them at start.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from onionshh.geometry import HASH

PER_INTRODUCTION: Final = 2


class ReplayLog:
    """Hashes of 32 bytes seen under one HPKE key, at most `capacity` of them."""

    __slots__ = ("_capacity", "_seen")

    def __init__(self, capacity: int, seen: Iterable[bytes] = ()) -> None:
        self._capacity = capacity
        self._seen = set(seen)

    def __len__(self) -> int:
        return len(self._seen)

    @property
    def full(self) -> bool:
        """No room for one more introduction: a descriptor with a new key, and so a new log, is due."""
        return len(self._seen) + PER_INTRODUCTION > self._capacity

    def seen(self, entry: bytes) -> bool:
        """Whether it was entered before."""
        return entry in self._seen

    def check_and_add(self, entry: bytes) -> bool:
        """Enter it; False when it was there or there is no room: either way it must not be acted on."""
        if len(entry) != HASH:
            raise ValueError(f"an entry has {HASH} bytes, not {len(entry)}")
        if entry in self._seen or len(self._seen) >= self._capacity:
            return False
        self._seen.add(entry)
        return True
