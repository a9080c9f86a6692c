"""The ring relay: holds endpoint descriptors and hands them out (SPEC 10).

It cannot read what it keeps, and it does not learn whose descriptor that is. It sees a blinded key, a period,
a revision, and signatures under that key which only the owner of the address can make. That is enough to
refuse forgeries and rollbacks. A relay takes what it is responsible for under its consensus or the one
before. A publisher may already have a later consensus, in which neighbours of ours are gone. So a relay also
takes what lies a few places further. It never keeps more than the cap.

A descriptor is taken around its period and kept until it expires. An endpoint with an inbox has it kept for a
week, so that letters find it while it is away. What is to be kept for so long is on disk before it is
answered `stored`. While its row is being written it is not shown to anyone, and if the row cannot be written,
it is not kept. What is on disk stays there: a later revision goes to disk too, so that a restart never brings
an earlier one back.

Anyone can make descriptors that belong to no endpoint. So when the ring relay is full, the places are shared
by neighbour, then by effort (core/endpoint/effort.py), then by age, and the youngest name is dropped first
(`shelf.py`, `shares.py`). An origin that publishes more often than its rate needs a proof of work as well. A
proof costs less to check than the signatures, so it is checked first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from onionshh.core.base.buckets import Buckets
from onionshh.core.base.params import Params
from onionshh.core.endpoint.descriptor import check_outer_untrusted
from onionshh.core.endpoint.effort import NONCE, effort, publish_task
from onionshh.core.endpoint.ring import SPREAD
from onionshh.core.paths.view import View
from onionshh.core.roles import CircuitHandle, Drop, Effect, Origin, Remember, Reply, RoleAction, Store
from onionshh.errors import ProtocolError
from onionshh.geometry import DESCRIPTOR
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.rendezvous.place import Place, in_window
from onionshh.rendezvous.shelf import Kept, Name, Row, Shelf
from onionshh.wire import messages as m
from onionshh.wire.endpoint import Outer

REQUESTS_MOST: Final = 4
"""Per circuit, which is for one upload or fetch. An upload that is `stale` needs three: publish, fetch,
publish again. One is spare."""

PUBLISH_RATE, PUBLISH_BURST = 20, 1000
FETCH_RATE, FETCH_BURST = 200, 4000
"""Per second and origin. A full ring relay gets about one upload per second, from all origins together."""
ORIGINS_MOST: Final = 4096

MEMORY_SECONDS: Final = 12 * 3600
"""What expires within this time is in memory only: its endpoint is there, and publishes it again."""

_SLACK: Final = SPREAD
_SWEEP_SECONDS: Final = 60.0
_STATUS_DROPS: Final = {
    m.STALE: Reason.PUBLISH_STALE,
    m.REFUSED: Reason.PUBLISH_REFUSED,
    m.FULL: Reason.PUBLISH_FULL,
}


@dataclass(slots=True)
class _Waiting:
    """A descriptor whose row is being written, and the circuits that wait for the answer."""

    row: Row
    revision: int
    expiry: int
    circuits: list[CircuitHandle]


class Ring:
    """The RememberingRole of a ring relay. `own_id` is this relay's identity; `view` and `params` those in
    force. `store`: where rows go; without one everything is in memory only. `rows`: what the store holds.
    `salt`: secret and drawn at each start (`shelf.py`).
    """

    accepts: Final = frozenset((m.PUBLISH, m.FETCH))

    def __init__(
        self,
        own_id: RelayId,
        view: Callable[[], View | None],
        params: Callable[[], Params],
        *,
        store: Store | None = None,
        rows: Iterable[Row] = (),
        salt: bytes = b"",
    ) -> None:
        self._view = view
        self._store = store
        self._place = Place(own_id, SPREAD + _SLACK)
        self._shelf = Shelf(lambda: _most(params()), salt)
        self._waiting: dict[Hashable, _Waiting] = {}
        """By the serial number of the row, in the order in which the rows are written."""
        self._publishes: Buckets[Origin] = Buckets(PUBLISH_RATE, PUBLISH_BURST, ORIGINS_MOST)
        self._fetches: Buckets[Origin] = Buckets(FETCH_RATE, FETCH_BURST, ORIGINS_MOST)
        self._requests: dict[CircuitHandle, int] = {}
        self._sweep_at = 0.0
        self._swept_wall: int | None = None
        for row in rows:
            self._restore(row)

    @property
    def store(self) -> Store:
        """The store that commits its rows. LookupError without one; then there are no rows."""
        if self._store is None:
            raise LookupError("this ring keeps nothing on disk")
        return self._store

    @property
    def kept(self) -> int:
        """Descriptors that are kept."""
        return len(self._shelf)

    @property
    def kept_bytes(self) -> int:
        """The size of all kept descriptors together, in bytes."""
        return len(self._shelf) * DESCRIPTOR

    @property
    def waiting(self) -> int:
        """Descriptors whose rows are being written."""
        return len(self._waiting)

    @property
    def askers(self) -> int:
        """Circuits whose requests are counted."""
        return len(self._requests)

    def statistics(self) -> Mapping[str, int]:
        """Descriptors that are kept, and their size."""
        return {"descriptors": self.kept, "descriptor_bytes": self.kept_bytes}

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        """PUBLISH or FETCH, both answered by FOUND. Raises ProtocolError: the circuit ends."""
        if self._swept_wall is None:
            self._sweep(wall)
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
        """What was published stays. Only the count of requests is dropped, and answers that are owed."""
        if self._requests.pop(circuit, None) is not None:
            for waiting in self._waiting.values():
                waiting.circuits = [other for other in waiting.circuits if other is not circuit]
        return ()

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        """Have erased what must go from disk. About once a minute: drop what expired or whose period is
        over."""
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_SECONDS
            self._sweep(wall)
        return self._erase()

    def remembered(self, token: Hashable, now: float, wall: int) -> tuple[RoleAction, ...]:
        """A row is on disk: its descriptor is kept, and its publisher told. Or rows are erased."""
        waiting = self._waiting.pop(token, None)
        if waiting is None:
            self._shelf.erased(done=True)
            return self._erase()
        row = waiting.row
        kept = Kept(waiting.revision, waiting.expiry, row.number, row.document, row.serial)
        return self._keep(waiting.circuits, row.name, kept, row.label, row.worth)

    def not_remembered(self, token: Hashable, now: float, wall: int) -> tuple[Effect, ...]:
        """The row is not on disk, so the descriptor is not kept. Erasures are tried again at a later tick."""
        waiting = self._waiting.pop(token, None)
        if waiting is None:
            self._shelf.erased(done=False)
            return ()
        return (*_answers(waiting.circuits, m.FULL), Drop(_STATUS_DROPS[m.FULL]))

    def _restore(self, row: Row) -> None:
        """Take up a row from before a restart."""
        try:
            outer = Outer.decode_untrusted(row.document)
        except ProtocolError:
            self._shelf.damaged(row.serial)
        else:
            self._shelf.restore(row, outer.revision, outer.expiry)

    def _fetch(self, wanted: m.Fetch, wall: int) -> m.Found:
        kept = self._shelf.get((wanted.blinded, wanted.period))
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
        label = self._shelf.label(circuit.origin)
        if name not in self._shelf and not self._room(name, label, worth, wall):
            return (_found(circuit, m.FULL), Drop(_STATUS_DROPS[m.FULL]))
        check_outer_untrusted(document, wall=wall)
        waiting = self._last_waiting(name)
        held = self._shelf.get(name)
        last = (held.revision, held.document) if held is not None else None
        if waiting is not None:
            last = waiting.revision, waiting.row.document
        status = self._status(view, outer, document, last)
        if status != m.STORED:
            return (_found(circuit, status), Drop(_STATUS_DROPS[status]))
        if waiting is not None and waiting.row.document == document:
            waiting.circuits.append(circuit)
            return ()
        label = self._shelf.lesser(name, label)
        if held is not None and held.document == document:
            return self._keep((circuit,), name, held, label, worth)
        number = _number(held, waiting) or self._shelf.next_number()
        if self._goes_to_disk(outer.expiry - wall, held, waiting):
            row = Row(self._shelf.next_serial(), name, number, worth, label, document)
            self._waiting[row.serial] = _Waiting(row, outer.revision, outer.expiry, [circuit])
            return (Remember(self, row.serial, (row,)),)
        return self._keep(
            (circuit,), name, Kept(outer.revision, outer.expiry, number, document), label, worth
        )

    def _last_waiting(self, name: Name) -> _Waiting | None:
        """The latest revision of this name whose row is being written."""
        return next(
            (waiting for waiting in reversed(self._waiting.values()) if waiting.row.name == name), None
        )

    def _goes_to_disk(self, seconds: int, held: Kept | None, waiting: _Waiting | None) -> bool:
        """Whether a descriptor that lives so long must be on disk. Wherever an earlier revision is on disk,
        the later one is too: else a restart would bring the earlier one back."""
        if self._store is None:
            return False
        return (
            seconds > MEMORY_SECONDS or waiting is not None or (held is not None and held.serial is not None)
        )

    def _room(self, name: Name, label: str, worth: int, wall: int) -> bool:
        """Whether a new name would be kept, in a free place or in that of another."""
        if self._shelf.is_full and self._swept_wall is not None and wall > self._swept_wall:
            self._sweep(wall)
        return self._shelf.has_room(name, label, worth)

    def _status(
        self, view: View | None, outer: Outer, document: bytes, last: tuple[int, bytes] | None
    ) -> int:
        """What to answer to a descriptor whose signatures hold. `last`: the latest one of its name, with its
        revision."""
        if view is None or not in_window(outer.period, view):
            return m.REFUSED
        if not self._place.is_for(view, outer.blinded, outer.period):
            return m.REFUSED
        # The same bytes once more mean an upload whose answer was lost.
        if last is not None and outer.revision <= last[0] and document != last[1]:
            return m.STALE
        return m.STORED

    def _keep(
        self, circuits: Sequence[CircuitHandle], name: Name, kept: Kept, label: str, worth: int
    ) -> tuple[Effect, ...]:
        """Keep a descriptor, and tell those who brought it."""
        displaced = self._shelf.keep(name, kept, label, worth)
        status = m.FULL if name in displaced else m.STORED
        return (*_answers(circuits, status), *(Drop(Reason.PUBLISH_DISPLACED),) * len(displaced))

    def _erase(self) -> tuple[RoleAction, ...]:
        erasure = self._shelf.next_erasure()
        return () if erasure is None else (Remember(self, erasure, (erasure,)),)

    def _sweep(self, wall: int) -> None:
        self._swept_wall = wall
        view = self._view()
        self._shelf.sweep(wall, lambda period: view is None or _is_known(period, view))


def _most(params: Params) -> float:
    """How many descriptors the cap leaves room for. A cap of 0 bytes means no cap."""
    return params.descriptor_bytes // DESCRIPTOR if params.descriptor_bytes else math.inf


def _number(held: Kept | None, waiting: _Waiting | None) -> int:
    """The number that a name has already, else 0."""
    if held is not None:
        return held.number
    return 0 if waiting is None else waiting.row.number


def _effort(view: View | None, outer: Outer) -> int:
    """What the proof in a descriptor's salt is worth; 0 while the period's random value is unknown here."""
    shared_random = view.shared_random(outer.period) if view is not None else None
    if shared_random is None:
        return 0
    return effort(publish_task(shared_random, outer.blinded, outer.period), outer.salt[:NONCE])


def _found(circuit: CircuitHandle, status: int) -> Reply:
    return Reply(circuit, m.FOUND, m.Found(status).encode())


def _answers(circuits: Sequence[CircuitHandle], status: int) -> tuple[Reply, ...]:
    return tuple(_found(circuit, status) for circuit in circuits)


def _is_known(period: int, view: View) -> bool:
    """Whether what was published for this period stays: its ring can still be found."""
    return in_window(period, view) or view.shared_random(period) is not None
