"""The ring's keeper: holds endpoint descriptors in memory and hands them out (SPEC 10).

What it keeps it cannot read, and it does not learn whose it is: a blinded key, a period, a revision, and
signatures under that key which only the owner of the address can make. That is enough to refuse forgeries
and rollbacks. A relay keeps what it is responsible for under its consensus or the one before; and since a
publisher may already hold a later one than ours, in which neighbours of ours are gone, it also takes what
lies a few places further. More than the cap is never kept, whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from onionshh.core.params import Params
from onionshh.core.publish import OuterView, check_outer_untrusted
from onionshh.core.ring import SPREAD, Positions, positions
from onionshh.core.roles import CircuitHandle, Drop, Reply, RoleAction
from onionshh.core.view import View
from onionshh.errors import ProtocolError
from onionshh.ids import RelayId
from onionshh.wire import messages as m

REQUESTS_MOST: Final = 4
"""A circuit is for one upload or fetch: publish, told `stale`, fetch, publish again, and one to spare."""

_SLACK: Final = SPREAD
_SWEEP_SECONDS: Final = 60.0
_STATUS_DROPS: Final = {m.STALE: "publish-stale", m.REFUSED: "publish-refused", m.FULL: "publish-full"}

_Name = tuple[bytes, int]
"""A blinded key and its period."""


@dataclass(frozen=True, slots=True)
class _Kept:
    revision: int
    expiry: int
    document: bytes


class Ring:
    """The Role of a ring relay. `own_id` is this relay's identity; `view` and `params` those in force."""

    accepts: Final = frozenset((m.PUBLISH, m.FETCH))

    def __init__(
        self, own_id: RelayId, view: Callable[[], View | None], params: Callable[[], Params]
    ) -> None:
        self._own_id = own_id
        self._view = view
        self._params = params
        self._kept: dict[_Name, _Kept] = {}
        self._bytes = 0
        self._requests: dict[CircuitHandle, int] = {}
        self._sweep_at = 0.0
        # The rings of the view last seen and of the consensus before it, made when first asked for.
        self._views: tuple[View, ...] = ()
        self._rings: dict[tuple[int, int], Positions | None] = {}

    @property
    def kept(self) -> int:
        """Descriptors that are kept."""
        return len(self._kept)

    @property
    def kept_bytes(self) -> int:
        """What they measure together, in bytes."""
        return self._bytes

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        """PUBLISH or FETCH, both answered by FOUND. Raises ProtocolError: the circuit ends."""
        if circuit.joined:
            raise ProtocolError("message-on-joined-circuit")
        requests = self._requests.get(circuit, 0) + 1
        if requests > REQUESTS_MOST:
            raise ProtocolError("ring-too-many")
        self._requests[circuit] = requests
        if message_type == m.PUBLISH:
            return self._publish(circuit, check_outer_untrusted(body, wall=wall), body, wall)
        if message_type == m.FETCH:
            return (Reply(circuit, m.FOUND, self._fetch(m.Fetch.decode_untrusted(body), wall).encode()),)
        raise ProtocolError("message-type")

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        """What was published stays; only the count of requests goes."""
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
        self, circuit: CircuitHandle, outer: OuterView, document: bytes, wall: int
    ) -> tuple[RoleAction, ...]:
        status = self._keep(outer, document, wall)
        answer = Reply(circuit, m.FOUND, m.Found(status).encode())
        return (answer,) if status == m.STORED else (answer, Drop(_STATUS_DROPS[status]))

    def _keep(self, outer: OuterView, document: bytes, wall: int) -> int:
        """Keep a descriptor whose signatures hold; the status to answer."""
        view = self._view()
        if view is None or not _in_window(outer.period, view):
            return m.REFUSED
        if not self._responsible(view, outer.blinded, outer.period):
            return m.REFUSED
        name = (outer.blinded, outer.period)
        held = self._kept.get(name)
        if held is not None and outer.revision <= held.revision:
            # The same bytes once more are an upload whose answer was lost.
            return m.STORED if document == held.document else m.STALE
        if not self._room_for(name, len(document)):
            self._sweep(wall)
            if not self._room_for(name, len(document)):
                return m.FULL
        self._forget(name)
        self._kept[name] = _Kept(outer.revision, outer.expiry, document)
        self._bytes += len(document)
        return m.STORED

    def _room_for(self, name: _Name, size: int) -> bool:
        """Whether so many bytes in place of what `name` holds stay within the cap; 0 is no cap."""
        most = self._params().descriptor_bytes
        held = self._kept.get(name)
        freed = len(held.document) if held is not None else 0
        return most == 0 or self._bytes - freed + size <= most

    def _forget(self, name: _Name) -> None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            self._bytes -= len(kept.document)

    def _responsible(self, view: View, blinded: bytes, period: int) -> bool:
        if not self._views or self._views[0] is not view:
            before = () if view.previous is None else (View(view.previous),)
            self._views = (view, *before)
            self._rings = {}
        if view.relay(self._own_id) is None:
            return True  # who asks us has a later consensus than we, in which we are listed
        for age, seen in enumerate(self._views):
            if (age, period) not in self._rings:
                self._rings[age, period] = positions(seen, period)
            ring = self._rings[age, period]
            if ring is None:
                if age == 0 and period == view.period + 1:
                    return True  # its random value is out, but has not come to us
                continue
            near = ring.responsible(blinded, SPREAD + _SLACK)
            if any(row.identity == self._own_id for rows in near for row in rows):
                return True
        return False

    def _sweep(self, wall: int) -> None:
        view = self._view()
        for name, kept in list(self._kept.items()):
            if wall >= kept.expiry or (view is not None and not _in_window(name[1], view)):
                self._forget(name)


def _in_window(period: int, view: View) -> bool:
    """The previous, current or next period of the consensus."""
    return abs(period - view.period) <= 1
