"""At which relays a mailbox lies: who is written to, who is asked, who serves (SPEC 14).

A mailbox has two places on the ring of its period, like a descriptor, under its own name. An item is put
at the first two relays of each place, so there are four copies. A reader asks the first three of each: a
relay may have left since, and then the next one has moved up. A relay serves a mailbox if it is among the
first four of a place, under its present consensus or the one before.

A small network has fewer than eight relays, so a place may have fewer than two, or none.
"""

from __future__ import annotations

from typing import Final

from onionshh.core.endpoint.ring import REPLICAS, SPREAD, responsible
from onionshh.core.paths.view import View
from onionshh.wire.consensus import RelayRow
from onionshh.wire.mailbox import Mailbox

WRITTEN: Final = 2
ASKED: Final = 3
SERVED: Final = SPREAD
COPIES: Final = REPLICAS * WRITTEN

Places = tuple[tuple[RelayRow, ...], ...]
"""Per place, the relays, nearest first. No relay is there twice."""


def writable(view: View, mailbox: Mailbox) -> Places | None:
    """Per place, the relays that an item is put at. None if the consensus has no random value for the
    mailbox's period."""
    return _first(view, mailbox, WRITTEN)


def readable(view: View, mailbox: Mailbox) -> Places | None:
    """Per place, the relays that a reader asks. None as for `writable`."""
    return _first(view, mailbox, ASKED)


def _first(view: View, mailbox: Mailbox, count: int) -> Places | None:
    near = responsible(view, mailbox.period, mailbox.name)
    return None if near is None else tuple(rows[:count] for rows in near)
