"""What an endpoint has seen under one key, so that it never acts on an introduction twice (SPEC 11).

There are two entries per introduction: SHA3-256 of its sealed part, and the seed inside. The first stops the
same bytes at the cost of one hash. The second stops the same introduction in a new seal. This is the set in
memory. Its driver writes each new entry to disk and syncs it before the introduction is answered, and loads
all entries at start.
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
        """Whether there is no room for one more introduction. A descriptor with a new key, and so a new log,
        is then due."""
        return len(self._seen) + PER_INTRODUCTION > self._capacity

    def seen(self, entry: bytes) -> bool:
        """Whether this entry is in the log."""
        return entry in self._seen

    def check_and_add(self, entry: bytes) -> bool:
        """Add the entry. False if it was there or there is no room: then the caller must not act on it."""
        if len(entry) != HASH:
            raise ValueError(f"an entry has {HASH} bytes, not {len(entry)}")
        if entry in self._seen or len(self._seen) >= self._capacity:
            return False
        self._seen.add(entry)
        return True
