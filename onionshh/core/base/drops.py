"""Every drop has a name and a count (SPEC 17).

A wrong cell, frame or message is answered with silence; what stays is a number under a name
(`onionshh/reasons.py`), which `statistics()` shows and tests assert.
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
        """A copy for those outside, who know the names as text; sorted."""
        return {str(reason): count for reason, count in sorted(self.counts.items())}
