"""Where on the ring an endpoint's descriptor is kept, for one period (SPEC 10).

The ring of a period orders the relays with RING by a hash of their identity and the period's shared random
value. Nobody knows this value before it is published, so nobody can place a relay next to an endpoint in
advance. A blinded key has two places on the ring. At each place the next four relays keep the descriptor; the
second place skips the relays of the first. So eight relays keep it, or all if there are fewer.

Hashing 8 000 identities takes tens of milliseconds, so a caller that asks often keeps the `Positions`.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from typing import Final

from onionshh.core.base.chance import Chance
from onionshh.core.paths.view import View
from onionshh.crypto.primitives import kdf
from onionshh.ids import RelayId
from onionshh.wire.consensus import RelayRow

REPLICAS: Final = 2
SPREAD: Final = 4
FETCHED: Final = 3
"""The first three relays of a place are asked first: they still keep it after one or two relays joined."""

_NUMBER = struct.Struct(">Q")


def node_position(identity: RelayId, shared_random: bytes, period: int) -> bytes:
    """A relay's place on the ring: H("node", id, SRV, period), 32 bytes."""
    return kdf("node", identity, shared_random, _NUMBER.pack(period))


def store_position(blinded: bytes, replica: int, period: int) -> bytes:
    """A blinded key's place: H("store", A', replica, period), 32 bytes; replica 0 or 1."""
    return kdf("store", blinded, _NUMBER.pack(replica), _NUMBER.pack(period))


class Positions:
    """The ring of one period under one consensus."""

    __slots__ = ("_places", "_rows", "period")

    def __init__(self, rows: tuple[RelayRow, ...], shared_random: bytes, period: int) -> None:
        placed = sorted((node_position(row.identity, shared_random, period), row) for row in rows)
        self.period = period
        self._places = [place for place, _ in placed]
        self._rows = [row for _, row in placed]

    def __len__(self) -> int:
        return len(self._rows)

    def responsible(self, blinded: bytes, spread: int = SPREAD) -> tuple[tuple[RelayRow, ...], ...]:
        """Per replica, the relays that keep `blinded`'s descriptor, nearest first; all distinct."""
        taken: set[RelayId] = set()
        replicas = []
        for replica in range(REPLICAS):
            at = bisect_left(self._places, store_position(blinded, replica, self.period))
            kept: list[RelayRow] = []
            for row in (*self._rows[at:], *self._rows[:at]):
                if len(kept) == spread:
                    break
                if row.identity not in taken:
                    taken.add(row.identity)
                    kept.append(row)
            replicas.append(tuple(kept))
        return tuple(replicas)


def positions(view: View, period: int) -> Positions | None:
    """The ring of `period`, or None if the consensus has no shared random value for it."""
    shared_random = view.shared_random(period)
    if shared_random is None:
        return None
    return Positions(view.ring_relays(period), shared_random, period)


def responsible(view: View, period: int, blinded: bytes) -> tuple[tuple[RelayRow, ...], ...] | None:
    """Per replica, the relays that keep it, or None if the consensus has no random value for the period."""
    ring = positions(view, period)
    return None if ring is None else ring.responsible(blinded)


def fetch_order(view: View, period: int, blinded: bytes, chance: Chance) -> tuple[RelayRow, ...] | None:
    """All relays that keep it, in the order to ask them: the first three of each place, then the rest.

    Both groups are in random order. This spreads the load, and no relay can expect to be asked. None if the
    consensus has no random value for the period.
    """
    replicas = responsible(view, period, blinded)
    if replicas is None:
        return None
    near = [row for kept in replicas for row in kept[:FETCHED]]
    rest = [row for kept in replicas for row in kept[FETCHED:]]
    return (*chance.shuffled(near), *chance.shuffled(rest))


def fetch_few(view: View, period: int, blinded: bytes, chance: Chance) -> tuple[RelayRow, ...] | None:
    """One relay of each place, of its first three: whom to ask about a period that is over.

    Under ring_age_seconds no relay joins the ring of a period that has begun. Relays only leave it, and then
    the others move up. So the first three of a place are nearly always of those that were published to. None
    as for `fetch_order`.
    """
    replicas = responsible(view, period, blinded)
    if replicas is None:
        return None
    return tuple(chance.shuffled([chance.choice(kept[:FETCHED]) for kept in replicas if kept]))
