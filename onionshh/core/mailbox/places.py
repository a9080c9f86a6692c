"""At which relays a mailbox lies: who is written to, who is asked, who serves (SPEC 14).

A mailbox has two places on the ring of its period, like a descriptor, under its own name. An item is put
at the first two relays of each place, so there are four copies. A reader asks the first three of each: a
relay may have left since, and then the next one has moved up. A relay serves a mailbox if it is among the
first four of a place, under its present consensus or the one before.

A small network has fewer than eight relays, so a place may have fewer than two, or none.
"""

from __future__ import annotations

from typing import Final

from onionshh.core.endpoint.ring import REPLICAS, SPREAD, Positions, positions, responsible
from onionshh.core.paths.view import View
from onionshh.wire.consensus import RelayRow
from onionshh.wire.mailbox import Mailbox

WRITTEN: Final = 2
ASKED: Final = 3
SERVED: Final = SPREAD
COPIES: Final = REPLICAS * WRITTEN
RINGS_MOST: Final = 3
"""Rings that are kept, 1 MB each with 8 000 relays: items are put on those of three periods."""

Places = tuple[tuple[RelayRow, ...], ...]
"""Per place, the relays, nearest first. No relay is there twice."""


def writable(view: View, mailbox: Mailbox) -> Places | None:
    """Per place, the relays that an item is put at. None if the consensus has no random value for the
    mailbox's period."""
    return _first(view, mailbox, WRITTEN)


def readable(view: View, mailbox: Mailbox) -> Places | None:
    """Per place, the relays that a reader asks. None as for `writable`."""
    return _first(view, mailbox, ASKED)


class Rings:
    """The same for whoever asks often. To make a ring, all relays are hashed, which takes tens of
    milliseconds in a large network. So a few rings of the consensus last asked about are kept."""

    def __init__(self) -> None:
        self._view: View | None = None
        self._rings: dict[int, Positions] = {}

    def writable(self, view: View, mailbox: Mailbox) -> Places | None:
        """As the function."""
        return self._first(view, mailbox, WRITTEN)

    def readable(self, view: View, mailbox: Mailbox) -> Places | None:
        """As the function."""
        return self._first(view, mailbox, ASKED)

    def _first(self, view: View, mailbox: Mailbox, count: int) -> Places | None:
        if view is not self._view:
            self._view, self._rings = view, {}
        ring = self._rings.pop(mailbox.period, None) or positions(view, mailbox.period)
        if ring is None:
            return None
        self._rings[mailbox.period] = ring  # at the end: the one asked for longest ago goes first
        if len(self._rings) > RINGS_MOST:
            del self._rings[next(iter(self._rings))]
        return tuple(rows[:count] for rows in ring.responsible(mailbox.name))


def _first(view: View, mailbox: Mailbox, count: int) -> Places | None:
    near = responsible(view, mailbox.period, mailbox.name)
    return None if near is None else tuple(rows[:count] for rows in near)
