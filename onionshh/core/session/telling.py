"""What the other side should know of our ways back, what it knows, and when it is told (SPEC 12). Pure.

It is told over an exchange that is open anyway, and again in each exchange until it has answered that our
ways are on its disk. If no exchange is open for a while, one cell says it: a side that knows only ways that
are gone cannot speak first, and does not find out why. These cells come at growing intervals, because the
other side may be away.

A circuit that ends and stands again within moments changes nothing that would have to be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from onionshh.core.delivery.actions import LaneId
from onionshh.core.session.way_back import WayBack
from onionshh.ids import WhisperId

SETTLE_SECONDS: Final = 5.0
ALONE_SECONDS: Final = (60.0, 120.0, 240.0, 480.0, 960.0, 1800.0)
SAID_MOST: Final = 8
"""Records whose answers are recognised."""

Ways = tuple[WayBack, ...]


@dataclass(frozen=True, slots=True)
class Haste:
    """`settle_seconds`: how long our ways must have been the same before they are told. `alone_seconds`: how
    long to wait for an open exchange before one cell says it, each time."""

    settle_seconds: float = SETTLE_SECONDS
    alone_seconds: Sequence[float] = ALONE_SECONDS


USUAL: Final = Haste()
SOON: Final = Haste(1.0, (0.0, *ALONE_SECONDS))
"""Where neither side can reach the other before it is told."""


class Telling:
    """`known`: what the other side has on its disk; None if that is not known. Times: monotonic seconds."""

    def __init__(self, known: Ways | None, now: float, haste: Haste = USUAL) -> None:
        self._haste = haste
        self._known = known
        self._ours: Ways = ()
        self._since = now
        """Since when our ways are these."""
        self._said: dict[WhisperId, tuple[LaneId | None, Ways]] = {}
        """Oldest first."""
        self._alone = 0
        """How often a cell said it since anything changed."""
        self._alone_at = now + self._alone_seconds()

    @property
    def ours(self) -> Ways:
        """What the other side should know."""
        return self._ours

    @property
    def known(self) -> Ways:
        """The ways that the other side certainly has on its disk."""
        return self._known or ()

    @property
    def done(self) -> bool:
        """Whether the other side knows what it should."""
        return self._known == self._ours

    def stand(self, ways: Sequence[WayBack], now: float) -> None:
        """These are our ways from now on."""
        if tuple(ways) != self._ours:
            self._ours = tuple(ways)
            self._since = now
            self._again(now)

    def may_say(self, lane: LaneId, now: float) -> bool:
        """Whether to tell it over this lane, which is open."""
        if self.done or now < self._since + self._haste.settle_seconds:
            return False
        return (lane, self._ours) not in self._said.values()

    def may_say_alone(self, now: float) -> bool:
        """Whether to tell it in one cell, if no lane is open."""
        return not self.done and now >= max(self._alone_at, self._since + self._haste.settle_seconds)

    def said(self, record: WhisperId, lane: LaneId | None, now: float) -> None:
        """This record told it over a lane, or alone."""
        self._said[record] = lane, self._ours
        while len(self._said) > SAID_MOST:
            del self._said[next(iter(self._said))]
        if lane is None:
            self._alone += 1
            self._alone_at = now + self._alone_seconds()

    def received(self, record: WhisperId, now: float) -> None:
        """The other side has on its disk what this record told."""
        _, ways = self._said.pop(record, (None, None))
        if ways is not None:
            self._known = ways
            self._again(now)

    def doubt(self, now: float) -> None:
        """The other side seems not to know what it should, though it said so: it is told anew."""
        if self.done and self._ours:
            self._known = None
            self._said.clear()
            self._again(now)

    def next_deadline(self, now: float) -> float:
        """When there may be something to say."""
        if self.done:
            return inf
        settled = self._since + self._haste.settle_seconds
        return settled if now < settled else max(self._alone_at, settled)

    def _again(self, now: float) -> None:
        self._alone = 0
        self._alone_at = now + self._alone_seconds()

    def _alone_seconds(self) -> float:
        waits = self._haste.alone_seconds
        return waits[min(self._alone, len(waits) - 1)]
