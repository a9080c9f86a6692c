"""The few relays that a node connects to, kept for months and on disk (SPEC 6).

A node that picks a random first hop for every circuit will use a hostile one sooner or later. A node that
keeps two for months runs the risk of only one draw. An adversary who breaks links must not make us draw
again. So the sample is ordered and fixed: six relays, of which the first two that are up are in use. A guard
is down only when its link failed twice in a row. It is tried again on a schedule and then gets its place
back. When all are down, we are offline, and nothing is drawn.

An adversary can make a node build circuits for its endpoints as fast as he likes. These circuits also have a
second hop that is pinned for days. A node has one set of these hops (`LayerTwoGuards`) for all its endpoints.

Ages outlive the process. They are measured by `dated`, the valid-after of a consensus. Otherwise an adversary
who can make our clock jump could make us draw again. Retries are measured by `now`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from onionshh.core.base.chance import Chance
from onionshh.core.paths.view import View
from onionshh.errors import ProtocolError
from onionshh.geometry import KEY
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.wire.consensus import RelayRow
from onionshh.wire.packing import Bin, Int, ListOf, fields, pack, unpack_untrusted

DAY: Final = 86_400
RETRY_SECONDS: Final = (30.0, 120.0, 600.0, 3600.0)
OFFLINE_RETRY_SECONDS: Final = (5.0, 10.0, 20.0, 40.0, 80.0, 120.0)
"""How long the guards in use wait while all guards are down: we should notice quickly when a network comes
back after hours. A retry shows only that we are there, to observers who knew that already."""
FAILURES_DOWN: Final = 2
UNLISTED_SECONDS: Final = 7 * DAY

LAYER_TWO: Final = 4
LAYER_TWO_LEAST_SECONDS: Final = 1 * DAY
LAYER_TWO_MOST_SECONDS: Final = 12 * DAY

_MOST_KEPT: Final = 64
_DOCUMENT_BYTES: Final = 8192
_GUARDS_VERSION: Final = 1
_GUARDS_SHAPE = fields(Int(255), ListOf(fields(Bin(exact=KEY), Int(), Int()), _MOST_KEPT))
_LAYER_TWO_VERSION: Final = 1
_LAYER_TWO_SHAPE = fields(Int(255), ListOf(fields(Bin(exact=KEY), Int()), _MOST_KEPT))


@dataclass(slots=True)
class _Guard:
    """One place in the sample. Only identity, drawn and unlisted_since are kept on disk."""

    identity: RelayId
    drawn: int
    unlisted_since: int  # 0 while the consensus lists it
    failures: int = 0
    retries: int = 0
    tried_at: float = 0.0

    @property
    def down(self) -> bool:
        return self.failures >= FAILURES_DOWN

    @property
    def listed(self) -> bool:
        return self.unlisted_since == 0


class GuardSet:
    """The ordered sample of guards of one node."""

    def __init__(self) -> None:
        self._guards: list[_Guard] = []
        self._use = 2

    @property
    def sample(self) -> tuple[RelayId, ...]:
        """All guards of the sample, in order, in any state."""
        return tuple(guard.identity for guard in self._guards)

    def update(
        self,
        view: View,
        dated: int,
        chance: Chance,
        exclude: frozenset[RelayId] = frozenset(),
        *,
        over_tor: bool = False,
    ) -> bool:
        """Follow a new consensus. True if the file on disk must be written again.

        Removes guards that are 120 days old or have been out of the consensus for 7 days. Fills the sample at
        its end with relays with GUARD, drawn by weight, but never with one in `exclude` (our own relays).
        `over_tor`: this node has C tor, and guards may be relays that only tor reaches.
        """
        before = self.to_document()
        params = view.params
        self._use = params.guard_use
        for guard in self._guards:
            if view.relay(guard.identity) is not None:
                guard.unlisted_since = 0
            elif guard.listed:
                guard.unlisted_since = max(1, dated)
            # If a clock was ahead before, a guard must not live longer because of that.
            guard.drawn = min(guard.drawn, dated)
            guard.unlisted_since = min(guard.unlisted_since, max(1, dated))
        self._guards = [
            guard
            for guard in self._guards
            if dated - guard.drawn < params.guard_life_seconds
            and (guard.listed or dated - guard.unlisted_since < UNLISTED_SECONDS)
            and guard.identity not in exclude
        ]
        room = params.guard_sample - len(self._guards)
        taken = exclude.union(self.sample)
        entries = view.entries(over_tor=over_tor)
        self._guards += [_Guard(identity, dated, 0) for identity in _draw(entries, chance, room, taken)]
        return self.to_document() != before

    def usable(self, view: View) -> list[RelayId]:
        """The first two guards that are up and listed, in order. They may be a circuit's first hop."""
        up = [g.identity for g in self._guards if not g.down and view.relay(g.identity) is not None]
        return up[: view.params.guard_use]

    def link_failed(self, identity: RelayId, now: float) -> None:
        """A link to this guard could not be opened. Failed circuits do not count."""
        guard = self._find(identity)
        if guard is None:
            return
        if guard.down:
            # Several attempts that fail together count as one retry in the schedule.
            if not self._due(guard, now, offline=self.all_down()):
                return
            guard.retries += 1
        guard.failures += 1
        guard.tried_at = now

    def link_worked(self, identity: RelayId, now: float) -> None:
        """A link to this guard is open: it gets its place back.

        If all guards were down, we were offline, so the others are now due at once.
        """
        guard = self._find(identity)
        if guard is None:
            return
        if self.all_down():
            for other in self._guards:
                other.tried_at = now - RETRY_SECONDS[-1]
        guard.failures = 0
        guard.retries = 0

    def moved(self, identity: RelayId, now: float) -> None:
        """This guard has another address now. Failures at the old address say nothing about the new one."""
        guard = self._find(identity)
        if guard is not None:
            guard.retries, guard.tried_at = 0, now - RETRY_SECONDS[-1]

    def next_retry(self, now: float) -> list[RelayId]:
        """Guards that are down and due for a retry, in order. Each stays due until its result is known."""
        offline = self.all_down()
        return [g.identity for g in self._guards if g.down and g.listed and self._due(g, now, offline)]

    def all_down(self) -> bool:
        """Whether every guard that the consensus lists is down: then we are offline."""
        listed = [guard for guard in self._guards if guard.listed]
        return bool(listed) and all(guard.down for guard in listed)

    def to_document(self) -> bytes:
        """What goes on disk: `[version, [[identity, drawn, unlisted since]…]]`, in order."""
        return pack([_GUARDS_VERSION, [[g.identity, g.drawn, g.unlisted_since] for g in self._guards]])

    @classmethod
    def from_document_untrusted(cls, document: bytes) -> GuardSet:
        """The sample from disk, with every guard assumed to be up. Raises ProtocolError."""
        version, rows = unpack_untrusted(document, _GUARDS_SHAPE, _DOCUMENT_BYTES)
        _check_kept(version, _GUARDS_VERSION, [row[0] for row in rows])
        guards = cls()
        guards._guards = [_Guard(RelayId(identity), drawn, since) for identity, drawn, since in rows]
        return guards

    def _find(self, identity: RelayId) -> _Guard | None:
        return next((guard for guard in self._guards if guard.identity == identity), None)

    def _due(self, guard: _Guard, now: float, offline: bool) -> bool:
        wait = RETRY_SECONDS[min(guard.retries, len(RETRY_SECONDS) - 1)]
        if offline and guard in [g for g in self._guards if g.listed][: self._use]:
            wait = min(wait, OFFLINE_RETRY_SECONDS[min(guard.retries, len(OFFLINE_RETRY_SECONDS) - 1)])
        return now - guard.tried_at >= wait


@dataclass(frozen=True, slots=True)
class _Pinned:
    identity: RelayId
    until: int


class LayerTwoGuards:
    """The second hops of a node's pinned circuits: four, each for one to twelve days."""

    def __init__(self) -> None:
        self._pinned: list[_Pinned] = []

    @property
    def sample(self) -> tuple[RelayId, ...]:
        """All layer-2 guards, in any state."""
        return tuple(pinned.identity for pinned in self._pinned)

    def update(
        self,
        view: View,
        dated: int,
        chance: Chance,
        guards: Sequence[RelayId],
        exclude: frozenset[RelayId] = frozenset(),
    ) -> bool:
        """Follow a new consensus. True if the file on disk must be written again.

        Drops relays whose time is over or that left both consensuses. Draws others by weight, but none in
        `guards` (the two in use) or `exclude`. Each stays for the greater of two draws from 1 to 12 days:
        most stay long, and nobody can predict when one changes.
        """
        before = self._pinned
        kept = [
            # If a clock was ahead before, a relay must not stay longer, and no other must be drawn.
            replace(pinned, until=min(pinned.until, dated + LAYER_TWO_MOST_SECONDS))
            for pinned in before
            if dated < pinned.until
            and view.any_relay(pinned.identity) is not None
            and pinned.identity not in exclude
        ]
        taken = exclude.union(guards, (pinned.identity for pinned in kept))
        self._pinned = kept + [
            _Pinned(identity, dated + _layer_two_life(chance))
            for identity in _draw(view.relays, chance, LAYER_TWO - len(kept), taken)
        ]
        return self._pinned != before

    def usable(self, view: View, guards: Sequence[RelayId]) -> list[RelayId]:
        """Those that are listed and not among the guards in use. `choose_path` skips failing ones."""
        return [
            pinned.identity
            for pinned in self._pinned
            if pinned.identity not in guards and view.any_relay(pinned.identity) is not None
        ]

    def to_document(self) -> bytes:
        """What goes on disk: `[version, [[identity, until]…]]`."""
        return pack([_LAYER_TWO_VERSION, [[p.identity, p.until] for p in self._pinned]])

    @classmethod
    def from_document_untrusted(cls, document: bytes) -> LayerTwoGuards:
        """The layer-2 guards from disk. Raises ProtocolError."""
        version, rows = unpack_untrusted(document, _LAYER_TWO_SHAPE, _DOCUMENT_BYTES)
        _check_kept(version, _LAYER_TWO_VERSION, [row[0] for row in rows])
        layer = cls()
        layer._pinned = [_Pinned(RelayId(identity), until) for identity, until in rows]
        return layer


def _check_kept(version: int, known: int, identities: list[bytes]) -> None:
    if version != known:
        raise ProtocolError(Reason.DOCUMENT_VERSION)
    if len(set(identities)) != len(identities):
        raise ProtocolError(Reason.DOCUMENT_SHAPE)


def _layer_two_life(chance: Chance) -> int:
    return int(max(chance.between(LAYER_TWO_LEAST_SECONDS, LAYER_TWO_MOST_SECONDS) for _ in range(2)))


def _draw(rows: Sequence[RelayRow], chance: Chance, count: int, taken: Collection[RelayId]) -> list[RelayId]:
    """Up to `count` distinct relays from `rows` by weight, none in `taken`."""
    pool = [row for row in rows if row.identity not in taken]
    drawn: list[RelayId] = []
    while pool and len(drawn) < count:
        row = chance.weighted(pool, [row.weight for row in pool])
        pool.remove(row)
        drawn.append(row.identity)
    return drawn
