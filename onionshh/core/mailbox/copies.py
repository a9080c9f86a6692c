"""The copies of one item at several relays: which relay is next, and when (SPEC 14). Pure.

An item is to be kept by four relays, two of each place. They are asked one after the other, 1 to 30 s apart,
the places in turn, so that the second answer may already make the item safe. Which four these are depends on
the consensus in hand, so `aim` is called before each look at what is next.

What is known of the copy at one relay, and what it becomes:

| state  | began | stored, stale | other, failed | recall: stored, stale | recall: other, failed | extended |
|--------|-------|---------------|---------------|-----------------------|-----------------------|----------|
| (new)  | TRIED | -             | -             | -                     | -                     | -        |
| TRIED  | TRIED | STORED        | TRIED, later  | ERASED                | TRIED, later          | TRIED    |
| STORED | -     | -             | -             | ERASED                | STORED, later         | TRIED    |
| ERASED | -     | -             | -             | -                     | -                     | -        |

"Stale" says that the relay had the item and that it was erased there: the reader has fetched it.
"Later" is half a minute, twice as long each time, at most half an hour. While one PUT is on its way no other
is begun, so that they do not show by their times that they belong together. A recall asks all at once: the
relays know the item by its id anyway, and whoever calls back wants it gone. What is extended goes to all of
them once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from onionshh.core.base.chance import Chance
from onionshh.core.endpoint.ring import REPLICAS
from onionshh.core.mailbox.places import COPIES, Places
from onionshh.ids import RelayId
from onionshh.wire import mailbox as w

APART_LEAST_SECONDS: Final = 1.0
APART_MOST_SECONDS: Final = 30.0
LATER_SECONDS: Final = 30.0
LATER_MOST_SECONDS: Final = 1800.0
SILENT_FAILURES: Final = 2
_SPREAD: Final = 0.25
"""A wait is longer or shorter by up to this part of it."""


class CopyState(IntEnum):
    """What is known of the copy at one relay. The numbers are on disk."""

    TRIED = 1
    """A PUT was sent, or is about to be sent. The relay may have it."""
    STORED = 2
    """The relay said that it has it."""
    ERASED = 3
    """It was called back, and the relay said that it has it no more."""


@dataclass(frozen=True, slots=True)
class Copy:
    """The copy at one relay. `place`: which of the mailbox's two places the relay belongs to."""

    relay: RelayId
    place: int
    state: CopyState


@dataclass(frozen=True, slots=True)
class Next:
    """The relay to ask next, and when: monotonic seconds."""

    copy: Copy
    at: float


@dataclass(slots=True)
class _Known:
    place: int
    order: float
    """Drawn: which relay of a place comes first."""
    due: float
    state: CopyState | None = None
    said: int | None = None
    """The status of its last answer, unless it was `stored`."""
    failures: int = 0
    busy: bool = False


class Copies:
    """The copies of one item. `copies`: those known from before, which are asked within half a minute of
    `now`. All times are monotonic seconds."""

    def __init__(self, chance: Chance, now: float, copies: Iterable[Copy] = ()) -> None:
        self._chance = chance
        self._known = {copy.relay: _Known(copy.place, chance.unit(), now, copy.state) for copy in copies}
        self._sides: Sequence[frozenset[RelayId]] | None = None
        """By place, as they were known last."""
        self._takes = False
        """Whether it can be put anywhere now."""
        self._not_before = now + (chance.between(0.0, APART_MOST_SECONDS) if self._known else 0.0)
        self._recalled = False
        self._read = False

    @property
    def stored(self) -> int:
        """How many relays have it, at most 4. None has it, as far as is known, once it is called back."""
        return 0 if self._recalled else min(COPIES, len(self._in(CopyState.STORED)))

    @property
    def enough(self) -> bool:
        """Whether a relay of each place has it. A place without relays counts as one that has."""
        have = {self._known[relay].place for relay in self._in(CopyState.STORED)}
        sides = range(REPLICAS) if self._sides is None else [n for n, side in enumerate(self._sides) if side]
        return bool(have) and not self._recalled and have.issuperset(sides)

    @property
    def erased(self) -> bool:
        """Whether no relay has it that might have had it."""
        return all(known.state in (None, CopyState.ERASED) for known in self._known.values())

    @property
    def read(self) -> bool:
        """Whether a relay said that the reader has fetched it."""
        return self._read

    @property
    def refusals(self) -> frozenset[int]:
        """What the relays say of a place where none has it, if all of them were asked and none takes it now.
        One that did not answer twice counts as asked. Empty while a place may still take it."""
        if self._recalled or not self._takes:
            return frozenset()
        found = frozenset[int]()
        for side in filter(None, self._sides or ()):
            known = [self._known[relay] for relay in side]
            if any(one.state is CopyState.STORED for one in known):
                continue
            said = frozenset(one.said for one in known if one.said is not None)
            if not said or any(one.said is None and one.failures < SILENT_FAILURES for one in known):
                return frozenset()
            found |= said
        return found

    def aim(self, places: Places | None) -> None:
        """The relays that are to have it, by the consensus in hand: `writable` has them. None: it can be put
        nowhere now."""
        self._takes = places is not None
        if places is not None:
            self._sides = tuple(frozenset(row.identity for row in side) for side in places)
        for relay in [relay for relay, known in self._known.items() if known.state is None]:
            if relay not in self._aims():
                del self._known[relay]
        for place, side in enumerate((self._sides or ()) if self._takes else ()):
            for relay in sorted(side - self._known.keys()):
                self._known[relay] = _Known(place, self._chance.unit(), 0.0)

    def next(self, now: float) -> Next | None:
        """Which relay is to be asked next. None if there is none, or until the one that is asked answers."""
        waiting = self._to_recall() if self._recalled else self._to_leave()
        if not waiting:
            return None
        not_before = now if self._recalled else max(now, self._not_before)
        relay = min(waiting, key=lambda relay: self._rank(relay, not_before))
        known = self._known[relay]
        return Next(Copy(relay, known.place, known.state or CopyState.TRIED), max(known.due, not_before))

    def began(self, relay: RelayId, now: float) -> Copy:
        """A PUT is about to be sent to this relay. Sync the result first."""
        known = self._known[relay]
        known.busy = True
        known.state = known.state or CopyState.TRIED
        self._not_before = now + self._chance.between(APART_LEAST_SECONDS, APART_MOST_SECONDS)
        return Copy(relay, known.place, known.state)

    def answered(self, relay: RelayId, status: int, now: float, *, recall: bool = False) -> Copy | None:
        """The relay answered with this status, to a PUT that erases if `recall`. Returns what has changed."""
        known = self._known[relay]
        if status not in (w.STORED, w.STALE):
            self._later(known, status, now)
            return None
        known.busy, known.said, known.failures, known.due = False, None, 0, now
        known.state = CopyState.ERASED if recall else CopyState.STORED
        self._read = self._read or status == w.STALE
        return Copy(relay, known.place, known.state)

    def failed(self, relay: RelayId, now: float, *, offline: bool = False) -> None:
        """No answer came. `offline`: because we are, so it is no longer wait the next time."""
        known = self._known[relay]
        if offline:
            known.failures = 0
        self._later(known, known.said, now)

    def paid(self, now: float) -> None:
        """There is a better proof now: whoever wanted one is asked at once."""
        for known in self._known.values():
            if known.said == w.DEAR:
                known.said, known.failures, known.due = None, 0, now

    def extended(self, now: float) -> None:
        """It ends at another time: every relay that has it is to be told."""
        self._not_before = now
        for known in self._known.values():
            if known.state is CopyState.STORED:
                known.state = CopyState.TRIED
            known.said, known.failures, known.due = None, 0, now

    def recall(self, now: float) -> None:
        """It is called back: every relay that may have it is to erase it."""
        self._recalled = True
        for known in self._known.values():
            known.said, known.failures, known.due = None, 0, now

    def _aims(self) -> frozenset[RelayId]:
        return frozenset().union(*self._sides or ()) if self._takes else frozenset()

    def _in(self, state: CopyState) -> list[RelayId]:
        return [relay for relay, known in self._known.items() if known.state is state]

    def _to_leave(self) -> list[RelayId]:
        if self.stored >= COPIES or any(known.busy for known in self._known.values()):
            return []
        open_states = (None, CopyState.TRIED)
        aims = self._aims()
        return [relay for relay, known in self._known.items() if relay in aims and known.state in open_states]

    def _to_recall(self) -> list[RelayId]:
        maybe = (CopyState.TRIED, CopyState.STORED)
        return [relay for relay, known in self._known.items() if known.state in maybe and not known.busy]

    def _rank(self, relay: RelayId, now: float) -> tuple[float, int, int, float]:
        """Of those that are due, first the place where fewer have it, then whoever failed less often."""
        known = self._known[relay]
        beside = sum(self._known[other].place == known.place for other in self._in(CopyState.STORED))
        return (max(known.due, now), beside, known.failures, known.order)

    def _later(self, known: _Known, said: int | None, now: float) -> None:
        known.busy, known.said = False, said
        wait = min(LATER_MOST_SECONDS, LATER_SECONDS * 2 ** min(known.failures, 16))
        known.failures += 1
        known.due = now + wait * self._chance.between(1 - _SPREAD, 1 + _SPREAD)
