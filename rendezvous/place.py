"""Whether something is to be kept at this relay: its place on the rings of a period (SPEC 10, 14).

Nodes do not change to a new consensus at the same moment. So a relay looks at its own consensus and at the
one before. Somebody else may already have a later one, in which this relay is listed for the first time, or
in which a further random value has come. What only that node can know is believed.
"""

from __future__ import annotations

from onionshh.core.endpoint.ring import Positions, positions
from onionshh.core.paths.view import View
from onionshh.ids import RelayId


class Place:
    """This relay's place on the rings of the view last seen and of the consensus before it. `spread`: how far
    from a name's own places a relay still counts."""

    def __init__(self, own_id: RelayId, spread: int) -> None:
        self._own_id = own_id
        self._spread = spread
        self._views: tuple[View, ...] = ()
        self._rings: dict[tuple[int, int], Positions] = {}
        """Keyed by how many consensuses back it is (0 or 1), and by period, of those that have a random value
        there. Made when first asked for."""

    def is_for(self, view: View, name: bytes, period: int) -> bool:
        """Whether something under this name may be kept here, or its bearer may rightly think so."""
        if not self._views or self._views[0] is not view:
            before = () if view.previous is None else (View(view.previous),)
            self._views = (view, *before)
            self._rings = {}
        if view.relay(self._own_id) is None:
            return True  # the asker has a later consensus, in which we are listed
        for age, seen in enumerate(self._views):
            ring = self._ring(age, seen, period)
            if ring is None:
                if age == 0 and period == view.period + 1:
                    return True  # its random value is public, but has not come to us
                continue
            near = ring.responsible(name, self._spread)
            if any(row.identity == self._own_id for rows in near for row in rows):
                return True
        return False

    def _ring(self, age: int, seen: View, period: int) -> Positions | None:
        ring = self._rings.get((age, period))
        if ring is None and (ring := positions(seen, period)) is not None:
            self._rings[age, period] = ring
        return ring


def in_window(period: int, view: View) -> bool:
    """The previous, current or next period of the consensus."""
    return abs(period - view.period) <= 1
