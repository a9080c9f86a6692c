"""Every drop has a name and a count (SPEC 17).

A wrong cell, frame or message gets no answer. It is only counted under a name (`onionshh/reasons.py`). The
program's `statistics()` shows the counts, and tests check them.
"""

from __future__ import annotations

from collections import Counter

from onionshh.reasons import Reason


class Drops:
    """Counts by reason. One per node; machines get it as an argument."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: Counter[Reason] = Counter()

    def count(self, reason: Reason, times: int = 1) -> None:
        """One more drop for this reason."""
        self.counts[reason] += times

    def by_name(self) -> dict[str, int]:
        """A sorted copy with the names as text, for code outside."""
        return {str(reason): count for reason, count in sorted(self.counts.items())}
