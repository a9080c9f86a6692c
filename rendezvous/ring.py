"""The ring relay: holds endpoint descriptors in memory and hands them out (SPEC 10).

It cannot read what it keeps, and it does not learn whose descriptor that is. It sees a blinded key, a period,
a revision, and signatures under that key which only the owner of the address can make. That is enough to
refuse forgeries and rollbacks. A relay keeps what it is responsible for under its consensus or the one
before. A publisher may already have a later consensus, in which neighbours of ours are gone. So a relay also
takes what lies a few places further. It never keeps more than the cap.

Anyone can make descriptors that belong to no endpoint. So when the ring relay is full, the places are shared
by origin, then by effort (core/endpoint/effort.py), then by age, and the youngest name is dropped first
(`shares.py`). An origin that publishes more often than its rate needs a proof of work as well. A proof costs
less to check than the signatures, so it is checked first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from onionshh.core.base.buckets import Buckets
from onionshh.core.base.params import Params
from onionshh.core.endpoint.descriptor import check_outer_untrusted
from onionshh.core.endpoint.effort import NONCE, effort, publish_task
from onionshh.core.endpoint.ring import SPREAD, Positions, positions
from onionshh.core.paths.view import View
from onionshh.core.roles import CircuitHandle, Drop, Origin, Reply, RoleAction
from onionshh.errors import ProtocolError
from onionshh.geometry import DESCRIPTOR
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.rendezvous.shares import Rank, Shares
from onionshh.wire import messages as m
from onionshh.wire.endpoint import Outer

REQUESTS_MOST: Final = 4
"""Per circuit, which is for one upload or fetch. An upload that is `stale` needs three: publish, fetch,
publish again. One is spare."""

PUBLISH_RATE, PUBLISH_BURST = 20, 1000
FETCH_RATE, FETCH_BURST = 200, 4000
"""Per second and origin. A full ring relay gets about one upload per second, from all origins together."""
ORIGINS_MOST: Final = 4096

_SLACK: Final = SPREAD
_SWEEP_SECONDS: Final = 60.0
_STATUS_DROPS: Final = {
    m.STALE: Reason.PUBLISH_STALE,
    m.REFUSED: Reason.PUBLISH_REFUSED,
    m.FULL: Reason.PUBLISH_FULL,
}

_Name = tuple[bytes, int]
"""A blinded key and its period."""


@dataclass(frozen=True, slots=True)
class _Kept:
    revision: int
    expiry: int
    number: int
    """Names are numbered as they come; a later revision keeps its name's number."""
    document: bytes


class _Place:
    """This relay's place on the rings of the view last seen and of the consensus before it."""

    def __init__(self, own_id: RelayId) -> None:
        self._own_id = own_id
        self._views: tuple[View, ...] = ()
        self._rings: dict[tuple[int, int], Positions | None] = {}
        """Keyed by how many consensuses back it is (0 or 1), and by period. Made when first asked for."""

    def is_for(self, view: View, blinded: bytes, period: int) -> bool:
        """Whether a descriptor of this key may be kept here, or a publisher may rightly think so."""
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
            near = ring.responsible(blinded, SPREAD + _SLACK)
            if any(row.identity == self._own_id for rows in near for row in rows):
                return True
        return False

    def _ring(self, age: int, seen: View, period: int) -> Positions | None:
        if (age, period) not in self._rings:
            self._rings[age, period] = positions(seen, period)
        return self._rings[age, period]


class Ring:
    """The Role of a ring relay. `own_id` is this relay's identity; `view` and `params` those in force."""

    accepts: Final = frozenset((m.PUBLISH, m.FETCH))

    def __init__(
        self, own_id: RelayId, view: Callable[[], View | None], params: Callable[[], Params]
    ) -> None:
        self._view = view
        self._params = params
        self._place = _Place(own_id)
        self._kept: dict[_Name, _Kept] = {}
        self._shares: Shares[_Name] = Shares()
        self._numbered = 0
        self._publishes: Buckets[Origin] = Buckets(PUBLISH_RATE, PUBLISH_BURST, ORIGINS_MOST)
        self._fetches: Buckets[Origin] = Buckets(FETCH_RATE, FETCH_BURST, ORIGINS_MOST)
        self._requests: dict[CircuitHandle, int] = {}
        self._sweep_at = 0.0
        self._swept_wall = 0

    @property
    def kept(self) -> int:
        """Descriptors that are kept."""
        return len(self._kept)

    @property
    def kept_bytes(self) -> int:
        """The size of all kept descriptors together, in bytes."""
        return len(self._kept) * DESCRIPTOR

    @property
    def askers(self) -> int:
        """Circuits whose requests are counted."""
        return len(self._requests)

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        """PUBLISH or FETCH, both answered by FOUND. Raises ProtocolError: the circuit ends."""
        if circuit.joined:
            raise ProtocolError(Reason.MESSAGE_ON_JOINED_CIRCUIT)
        requests = self._requests.get(circuit, 0) + 1
        if requests > REQUESTS_MOST:
            raise ProtocolError(Reason.RING_TOO_MANY)
        self._requests[circuit] = requests
        if message_type == m.PUBLISH:
            return self._publish(circuit, body, now, wall)
        if message_type == m.FETCH:
            if not self._fetches.take(circuit.origin, now):
                raise ProtocolError(Reason.FETCH_RATE)
            return (Reply(circuit, m.FOUND, self._fetch(m.Fetch.decode_untrusted(body), wall).encode()),)
        raise ProtocolError(Reason.MESSAGE_TYPE)

    def circuit_ready(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        """Nothing waits to be sent: each request has one answer."""
        return ()

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        """What was published stays. Only the count of requests is dropped."""
        self._requests.pop(circuit, None)
        return ()

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        """About once a minute: drop what expired or whose period is over."""
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_SECONDS
            self._sweep(wall)
        return ()

    def _fetch(self, wanted: m.Fetch, wall: int) -> m.Found:
        kept = self._kept.get((wanted.blinded, wanted.period))
        if kept is None or wall >= kept.expiry:
            return m.Found(m.NOT_FOUND)
        return m.Found(m.FOUND_IT, kept.document)

    def _publish(
        self, circuit: CircuitHandle, document: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        outer = Outer.decode_untrusted(document)
        view = self._view()
        name = (outer.blinded, outer.period)
        worth = _effort(view, outer)
        if not self._publishes.take(circuit.origin, now) and not worth:
            return (_found(circuit, m.FULL), Drop(Reason.PUBLISH_RATE))
        if name not in self._kept and not self._room(name, circuit.origin, worth, wall):
            return (_found(circuit, m.FULL), Drop(_STATUS_DROPS[m.FULL]))
        check_outer_untrusted(document, wall=wall)
        status = self._status(view, outer, document)
        if status != m.STORED:
            return (_found(circuit, status), Drop(_STATUS_DROPS[status]))
        displaced = self._keep(name, circuit.origin, worth, outer, document)
        drops = (Drop(Reason.PUBLISH_DISPLACED),) * len(displaced)
        if name in displaced:
            return (_found(circuit, m.FULL), *drops)
        return (_found(circuit, m.STORED), *drops)

    def _room(self, name: _Name, origin: Origin, worth: int, wall: int) -> bool:
        """Whether a new name would be kept, in a free place or in that of another."""
        most = self._most()
        if len(self._kept) >= most and wall > self._swept_wall:
            self._sweep(wall)
        if len(self._kept) < most:
            return True
        return most > 0 and self._shares.would_stay(name, origin, _rank(worth, self._numbered + 1))

    def _status(self, view: View | None, outer: Outer, document: bytes) -> int:
        """What to answer to a descriptor whose signatures hold."""
        if view is None or not _in_window(outer.period, view):
            return m.REFUSED
        if not self._place.is_for(view, outer.blinded, outer.period):
            return m.REFUSED
        held = self._kept.get((outer.blinded, outer.period))
        # The same bytes once more mean an upload whose answer was lost.
        if held is not None and outer.revision <= held.revision and document != held.document:
            return m.STALE
        return m.STORED

    def _keep(
        self, name: _Name, origin: Origin, worth: int, outer: Outer, document: bytes
    ) -> tuple[_Name, ...]:
        """Keep a descriptor. Returns the names that had to go."""
        held = self._kept.get(name)
        if held is None:
            self._numbered += 1
        else:
            # A stranger may bring it again over a crowded origin. That must not get it displaced.
            origin = self._shares.lesser(name, origin)
        number = self._numbered if held is None else held.number
        self._kept[name] = _Kept(outer.revision, outer.expiry, number, document)
        self._shares.add(name, origin, _rank(worth, number))
        displaced = []
        while len(self._kept) > self._most():
            displaced.append(self._shares.goes_first())
            self._forget(displaced[-1])
        return tuple(displaced)

    def _most(self) -> float:
        """How many descriptors the cap leaves room for. A cap of 0 bytes means no cap."""
        most = self._params().descriptor_bytes
        return most // DESCRIPTOR if most else math.inf

    def _forget(self, name: _Name) -> None:
        self._kept.pop(name, None)
        self._shares.remove(name)

    def _sweep(self, wall: int) -> None:
        self._swept_wall = wall
        view = self._view()
        for name, kept in list(self._kept.items()):
            if wall >= kept.expiry or (view is not None and not _in_window(name[1], view)):
                self._forget(name)


def _effort(view: View | None, outer: Outer) -> int:
    """What the proof in a descriptor's salt is worth; 0 while the period's random value is unknown here."""
    shared_random = view.shared_random(outer.period) if view is not None else None
    if shared_random is None:
        return 0
    return effort(publish_task(shared_random, outer.blinded, outer.period), outer.salt[:NONCE])


def _rank(worth: int, number: int) -> Rank:
    """The least effort goes first; among equals, the youngest name."""
    return (worth, -number)


def _found(circuit: CircuitHandle, status: int) -> Reply:
    return Reply(circuit, m.FOUND, m.Found(status).encode())


def _in_window(period: int, view: View) -> bool:
    """The previous, current or next period of the consensus."""
    return abs(period - view.period) <= 1
