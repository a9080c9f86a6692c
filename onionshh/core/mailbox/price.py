"""What a place in a mailbox costs, in tries of proof of work (SPEC 14, 15).

Nobody knows who deposits, so nobody can be limited, but everyone can be made to pay. The price grows with the
size and with the hours that an item may stay. Where room is scarce the price doubles again and again, so that
a flood costs more the more it has taken, and nothing that was acknowledged needs to be thrown away.

An inbox is open to all strangers, so it costs four times as much as a board or a pair, whose names only few
people know. The first ten minutes are not counted, because the clocks of a node and a relay may differ. But
an item always costs at least an hour.
"""

from __future__ import annotations

from typing import Final

from onionshh.core.base.work import MOST
from onionshh.geometry import MAILBOX_VALUE
from onionshh.wire.mailbox import BOARD, INBOX, PAIR

EFFORT_MOST: Final = 1 << 18
"""A node pays no more than this. A relay may ask for more."""
ITEMS_MOST: Final = {INBOX: 1024, BOARD: 4096, PAIR: 64}
"""How many items a mailbox of each kind may hold at one relay."""

_KILOBYTE: Final = 1024
_PER_KILOBYTE: Final = 16
_HOUR_SECONDS: Final = 3600
_GRACE_SECONDS: Final = 600
_FEWER_STRANGERS: Final = 4
_RELAY_STEPS: Final = 10
_MAILBOX_STEPS: Final = 8


def price(kind: int, expires: int, wall: int, *, relay_used: int, relay_most: int, mailbox_used: int) -> int:
    """What a new item costs. `expires`, `wall`: Unix seconds. `relay_used`, `relay_most`: bytes that lie at
    the relay, and that may. `mailbox_used`: items that lie in the mailbox there."""
    hours = max(1, _hours(expires - wall - _GRACE_SECONDS))
    return _price(kind, hours, relay_used, relay_most, mailbox_used)


def extension_price(
    kind: int, expires: int, before: int, *, relay_used: int, relay_most: int, mailbox_used: int
) -> int:
    """What it costs that an item expires at `expires` and not at `before`. An earlier end costs nothing."""
    return _price(kind, max(0, _hours(expires - before)), relay_used, relay_most, mailbox_used)


def _hours(seconds: int) -> int:
    """Each hour that has begun."""
    return -(-seconds // _HOUR_SECONDS)


def _price(kind: int, hours: int, relay_used: int, relay_most: int, mailbox_used: int) -> int:
    each_hour = _PER_KILOBYTE * -(-MAILBOX_VALUE // _KILOBYTE)
    if kind != INBOX:
        each_hour //= _FEWER_STRANGERS
    doublings = _beyond_half(relay_used, relay_most) + _MAILBOX_STEPS * mailbox_used // ITEMS_MOST[kind]
    return min(MOST, each_hour * hours << min(doublings, MOST.bit_length()))


def _beyond_half(used: int, most: int) -> int:
    """How many whole tenths of the relay's room are in use beyond one half of it."""
    if most <= 0:
        return _RELAY_STEPS
    return max(0, (_RELAY_STEPS * used - _RELAY_STEPS * most // 2) // most)
