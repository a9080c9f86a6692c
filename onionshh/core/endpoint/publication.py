"""Which of an endpoint's descriptors must go to which ring relays, and when (SPEC 10).

A pure machine. For each period there is at most one descriptor that should stand on the ring. It is made anew
when its timer is due, when the introducers or the keys are others, and out of turn when the ring has not what
it should have: at once after a quiet time, and while that goes on at longer and longer intervals. What a ring
relay did not take is tried again, at longer intervals too, unless a better proof of work is being looked for:
then once that is found.

When the ring has a later revision than ours we go on from that one. Until a round of uploads met none, that
is our own past, on a disk that is older than what we published. Afterwards it can only be another program
with our identity.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from onionshh.core.base.chance import Chance
from onionshh.core.base.params import Params
from onionshh.core.endpoint.descriptor import EXPIRY_MOST_SECONDS
from onionshh.ids import RelayId
from onionshh.wire.endpoint import IntroducerEntry

RETRY_SECONDS = 5.0
RETRY_MOST_SECONDS = 120.0
EXTRA_LIFE_SECONDS = 3600
AGAIN_SECONDS = 5.0
AGAIN_MOST_SECONDS = 600.0
AGAIN_OVER_SECONDS = 1800.0
"""When the ring had what we published for so long, the next time is a first time again."""
LOST_SOON_SECONDS = 3600.0
"""What the ring loses within this time was displaced, unless its relays were restarted."""

ANOTHER = (
    "another program runs with this identity, and the ring has a later descriptor, which is not ours;"
    " end one of the two"
)
FROM_BEFORE = "the ring has a later descriptor than its own, from before"


@dataclass(frozen=True, slots=True)
class Made:
    """A descriptor of ours. `seal_key` tells whose keys it has; `nonce` is its proof of work."""

    document: bytes = field(repr=False)
    entries: tuple[IntroducerEntry, ...]
    seal_key: bytes
    nonce: bytes


@dataclass(slots=True)
class _Published:
    """What should stand on the ring for one period, and where it does. `due`: monotonic seconds."""

    made: Made
    due: float
    stored: set[RelayId] = field(default_factory=set)
    stored_at: float = -math.inf
    full: bool = False
    """Whether the last round met a ring relay without a place for it."""
    retry_at: float | None = None
    retry_wait: float = RETRY_SECONDS


class PublicationSchedule:
    """One endpoint's. A period is known here from its first `made` to `forget_before`."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._periods: dict[int, _Published] = {}
        self._undisputed: set[int] = set()
        """Periods in which a round of uploads met no later revision."""
        self._again_at = -math.inf
        self._again_wait = AGAIN_SECONDS
        self._overtaken_at = -math.inf

    def current(self, period: int) -> Made | None:
        """What should stand on the ring for this period."""
        published = self._periods.get(period)
        return None if published is None else published.made

    def next_deadline(self, now: float, working: Collection[int] = ()) -> float:
        """When to look again. `working`: periods for which a better proof is being looked for."""
        return min(
            (self._next(one, period in working) for period, one in self._periods.items()),
            default=now + RETRY_SECONDS,
        )

    @staticmethod
    def _next(one: _Published, working: bool) -> float:
        return one.due if working or one.retry_at is None else min(one.due, one.retry_at)

    # What is due.

    def is_due(self, period: int, entries: tuple[IntroducerEntry, ...], seal_key: bytes, now: float) -> bool:
        """Whether this period wants another descriptor, with these introducers and keys."""
        published = self._periods.get(period)
        if published is None:
            return bool(entries)
        made = published.made
        return (
            now >= published.due
            or bool(entries and set(entries) != set(made.entries))
            or made.seal_key != seal_key
        )

    def entries_for(self, period: int, entries: tuple[IntroducerEntry, ...]) -> tuple[IntroducerEntry, ...]:
        """What the next descriptor names: these, and while there are none those that it named before. What
        stands on the ring is then as good as anything."""
        published = self._periods.get(period)
        return entries if entries or published is None else published.made.entries

    def made(self, period: int, made: Made, params: Params, now: float) -> None:
        """A descriptor was made, and is on no ring relay yet."""
        wait = self._chance.between(params.publish_min_seconds, params.publish_max_seconds)
        self._periods[period] = _Published(made, now + min(wait, EXPIRY_MOST_SECONDS - EXTRA_LIFE_SECONDS))

    def to_upload(
        self, period: int, ring: Iterable[RelayId], now: float, *, working: bool
    ) -> frozenset[RelayId]:
        """Those relays of the ring that are to be brought the current descriptor now."""
        published = self._periods.get(period)
        if published is None:
            return frozenset()
        missing = frozenset(ring) - published.stored
        if not missing:
            published.retry_at = None  # who was to be tried again is on the ring no more
        retry_at = published.retry_at
        waits = retry_at is not None and (now < retry_at or working)
        return frozenset() if waits else missing

    def uploaded(
        self,
        period: int,
        asked: Collection[RelayId],
        stored: Collection[RelayId],
        now: float,
        *,
        full: bool,
        later: bool,
    ) -> None:
        """A round of uploads is over. `full`: a relay had no place for it; `later`: one showed a later
        revision."""
        published = self._periods[period]
        published.full = full
        if stored:
            published.stored.update(stored)
            published.stored_at = now
            if not later:
                self._undisputed.add(period)
        if published.stored.issuperset(asked):
            published.retry_at, published.retry_wait = None, RETRY_SECONDS
        else:
            published.retry_at = now + published.retry_wait
            published.retry_wait = min(2 * published.retry_wait, RETRY_MOST_SECONDS)

    def better_proof(self, period: int) -> None:
        """The next descriptor of this period would be worth more: it is due."""
        published = self._periods.get(period)
        if published is not None:
            published.due = -math.inf

    def forget_before(self, period: int) -> None:
        """Periods that are over."""
        self._periods = {one: published for one, published in self._periods.items() if one >= period}
        self._undisputed = {one for one in self._undisputed if one >= period}

    # What the ring shows.

    def again(self, now: float) -> None:
        """It has not what it should have: bring it a later one, out of turn."""
        due = self._soon(now)
        for published in self._periods.values():
            published.due = min(published.due, due)

    def lost(self, now: float) -> tuple[int, ...]:
        """It has not what it had taken: bring it again. The periods whose descriptors were there lately, and
        so were displaced by what is worth more."""
        displaced = [
            period for period, one in self._periods.items() if now < one.stored_at + LOST_SOON_SECONDS
        ]
        self.again(now)
        return tuple(displaced)

    def overtaken(self, period: int, now: float) -> str:
        """It has a later revision than ours: whose, in a sentence. Ours is due again, to go on from that."""
        self.again(now)
        if period not in self._undisputed:
            return FROM_BEFORE
        self._overtaken_at = now
        return ANOTHER

    def disputed(self, now: float) -> bool:
        """Whether another program published under our identity a short while ago."""
        return now < self._overtaken_at + AGAIN_OVER_SECONDS

    @property
    def full(self) -> tuple[int, ...]:
        """Periods for which a ring relay had no place in the last round."""
        return tuple(period for period, one in self._periods.items() if one.full)

    def _soon(self, now: float) -> float:
        """When to publish out of turn: now, if it was quiet, else later and later."""
        if self._again_at > now:
            return self._again_at
        if now > self._again_at + AGAIN_OVER_SECONDS:
            self._again_at, self._again_wait = now, AGAIN_SECONDS
        else:
            self._again_at = max(now, self._again_at + self._again_wait)
            self._again_wait = min(2 * self._again_wait, AGAIN_MOST_SECONDS)
        return self._again_at
