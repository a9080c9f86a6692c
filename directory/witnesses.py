"""What relays say of the directory's clock (SPEC 8). Pure.

Each relay that posts a descriptor writes what time it is. From then on monotonic seconds tell what time it is
by that relay. A single relay that differs has a wrong clock. When most of several relays differ, and agree,
the directory is wrong. The only effect is a sentence for its operator, since anyone with three addresses can
say anything.
"""

from __future__ import annotations

from statistics import median_low
from typing import NamedTuple

from onionshh.core.base.addresses import host_group
from onionshh.core.base.words import amount, utc
from onionshh.directory.entry import CLOCK_SECONDS

LEAST = 3
MOST = 1024
REMEMBERED_SECONDS = 13 * 3600
"""A working relay posts every 12 h."""


class _Word(NamedTuple):
    """What time a relay said it was (Unix seconds), and when we heard it (monotonic seconds)."""

    said: int
    heard: float


class Witnesses:
    """The last word of each address, or of each relay where all have one address (`by_address` false)."""

    def __init__(self, *, by_address: bool) -> None:
        self._by_address = by_address
        self._words: dict[str, _Word] = {}

    def __len__(self) -> int:
        return len(self._words)

    def heard(self, identity: bytes, source: str, published: int, now: float) -> None:
        """A descriptor whose signature holds came from this address, whatever its date."""
        key = host_group(source) if self._by_address else identity.hex()
        self._words.pop(key, None)
        if len(self._words) >= MOST:
            del self._words[next(iter(self._words))]
        self._words[key] = _Word(published, now)

    def doubt(self, wall: int, now: float) -> str:
        """Why the directory's clock is likely wrong, in a sentence; empty when nothing says so."""
        self._words = {k: w for k, w in self._words.items() if w.heard > now - REMEMBERED_SECONDS}
        off = [word.said + int(now - word.heard) - wall for word in self._words.values()]
        if len(off) < LEAST:
            return ""
        middle = median_low(off)
        agree = sum(1 for difference in off if abs(difference - middle) <= CLOCK_SECONDS)
        if abs(middle) <= CLOCK_SECONDS or 2 * agree <= len(off):
            return ""
        way = "behind" if middle > 0 else "ahead of"
        return (
            f"the directory's clock is about {amount(middle)} {way} that of {agree} of the {len(off)} relays"
            f" heard lately: here it is {utc(wall)}, there {utc(wall + middle)}"
        )
