"""Every drop has a name and a count (SPEC 17).

A wrong cell, frame or message is answered with silence; what stays is a number under a name, which the
relay tells its operator once an hour and tests assert. Names are lowercase words joined by hyphens.
"""

from __future__ import annotations

from collections import Counter


class Drops:
    """Counts by reason. One per node; machines get it as an argument."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def count(self, reason: str, times: int = 1) -> None:
        """One more drop for this reason."""
        self.counts[reason] += times
