"""Which of an endpoint's descriptors must go to which ring relays, and when (SPEC 10).

This is a pure machine. Each period has at most one descriptor that should be on the ring. We make a new one
when its timer is due, or when the introducers or the keys have changed. We also make one early when the ring
does not have what it should have: at once after a quiet time, and at longer and longer intervals while that
continues. If a ring relay did not accept an upload, we try again, also at longer intervals. But while a
search for a better proof of work runs, we wait for its result.

If the ring has a later revision than ours, we continue from that revision. Before the first round of uploads
without a later revision, it must be our own: our disk is older than what we published. After that round, it
can only come from another program with our identity.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from onionshh.core.base.chance import Chance
from onionshh.core.base.params import Params
from onionshh.core.endpoint.descriptor import EXPIRY_MOST_SECONDS
from onionshh.ids import RelayId
from onionshh.wire.endpoint import IntroducerEntry, ProofWanted

RETRY_SECONDS = 5.0
RETRY_MOST_SECONDS = 120.0
EXTRA_LIFE_SECONDS = 3600
AGAIN_SECONDS = 5.0
AGAIN_MOST_SECONDS = 600.0
AGAIN_OVER_SECONDS = 1800.0
"""If the ring was right for this long, the next problem counts as the first one again."""
LOST_SOON_SECONDS = 3600.0
"""A descriptor lost within this time was displaced, unless its relays were restarted."""

ANOTHER = (
    "another program runs with this identity, and the ring has a later descriptor, which is not ours;"
    " end one of the two"
)
FROM_BEFORE = "the ring has a later descriptor than its own, from before"


@dataclass(frozen=True, slots=True)
class Made:
    """One of our descriptors. `seal_key` shows which keys it has; `nonce` is its proof of work."""

    document: bytes = field(repr=False)
    entries: tuple[IntroducerEntry, ...]
    seal_key: bytes
    nonce: bytes
    proof: ProofWanted | None = None
    """What strangers must prove, by this descriptor."""


@dataclass(slots=True)
class _Published:
    """The descriptor for one period, and the relays that have it. `due`: monotonic seconds."""

    made: Made
    due: float
    stored: set[RelayId] = field(default_factory=set)
    stored_at: float = -math.inf
    full: bool = False
    """Whether a ring relay in the last round had no place for it."""
    retry_at: float | None = None
    retry_wait: float = RETRY_SECONDS


class PublicationSchedule:
    """The schedule of one endpoint. A period is known here from its first `made` to `forget_before`."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._periods: dict[int, _Published] = {}
        self._undisputed: set[int] = set()
        """Periods in which a round of uploads found no later revision."""
        self._again_at = -math.inf
        self._again_wait = AGAIN_SECONDS
        self._overtaken_at = -math.inf

    def current(self, period: int) -> Made | None:
        """The descriptor that should be on the ring for this period."""
        published = self._periods.get(period)
        return None if published is None else published.made

    def next_deadline(self, now: float, working: Collection[int] = ()) -> float:
        """When to look again. `working`: periods for which a search for a better proof runs."""
        return min(
            (self._next(published, period in working) for period, published in self._periods.items()),
            default=now + RETRY_SECONDS,
        )

    @staticmethod
    def _next(row: _Published, working: bool) -> float:
        return row.due if working or row.retry_at is None else min(row.due, row.retry_at)

    # What is due.

    def is_due(
        self,
        period: int,
        entries: tuple[IntroducerEntry, ...],
        seal_key: bytes,
        now: float,
        proof: ProofWanted | None = None,
    ) -> bool:
        """Whether this period needs another descriptor, with these introducers and keys, and this proof."""
        published = self._periods.get(period)
        if published is None:
            return bool(entries)
        made = published.made
        return (
            now >= published.due
            or bool(entries and set(entries) != set(made.entries))
            or made.seal_key != seal_key
            or made.proof != proof
        )

    def entries_for(self, period: int, entries: tuple[IntroducerEntry, ...]) -> tuple[IntroducerEntry, ...]:
        """The introducers for the next descriptor: `entries`, or if empty, those of the descriptor before. In
        that case nothing is better than what is on the ring."""
        published = self._periods.get(period)
        return entries if entries or published is None else published.made.entries

    def made(self, period: int, made: Made, params: Params, now: float) -> None:
        """A descriptor was made. No ring relay has it yet."""
        wait = self._chance.between(params.publish_min_seconds, params.publish_max_seconds)
        self._periods[period] = _Published(made, now + min(wait, EXPIRY_MOST_SECONDS - EXTRA_LIFE_SECONDS))

    def to_upload(
        self, period: int, ring: Iterable[RelayId], now: float, *, working: bool
    ) -> frozenset[RelayId]:
        """The ring relays that must get the current descriptor now."""
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
        """A round of uploads has ended. `full`: a relay had no place for it. `later`: a relay had a later
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
        """A better proof was found, so the next descriptor of this period is due."""
        published = self._periods.get(period)
        if published is not None:
            published.due = -math.inf

    def forget_before(self, period: int) -> None:
        """Forget periods that are over."""
        self._periods = {key: published for key, published in self._periods.items() if key >= period}
        self._undisputed = {key for key in self._undisputed if key >= period}

    # What the ring shows.

    def again(self, now: float) -> None:
        """The ring does not have what it should have: publish a later descriptor early."""
        due = self._soon(now)
        for published in self._periods.values():
            published.due = min(published.due, due)

    def lost(self, now: float) -> tuple[int, ...]:
        """The ring lost our descriptors: publish again. Returns the periods whose descriptors were stored
        recently, so that descriptors with more effort displaced them."""
        displaced = [
            period
            for period, published in self._periods.items()
            if now < published.stored_at + LOST_SOON_SECONDS
        ]
        self.again(now)
        return tuple(displaced)

    def overtaken(self, period: int, now: float) -> str:
        """The ring has a later revision than ours. Ours is due again, after that one. Returns whose it is."""
        self.again(now)
        if period not in self._undisputed:
            return FROM_BEFORE
        self._overtaken_at = now
        return ANOTHER

    def disputed(self, now: float) -> bool:
        """Whether another program published with our identity recently."""
        return now < self._overtaken_at + AGAIN_OVER_SECONDS

    @property
    def full(self) -> tuple[int, ...]:
        """Periods for which a ring relay had no place in the last round."""
        return tuple(period for period, published in self._periods.items() if published.full)

    def _soon(self, now: float) -> float:
        """When to publish early: now after a quiet time, otherwise later and later."""
        if self._again_at > now:
            return self._again_at
        if now > self._again_at + AGAIN_OVER_SECONDS:
            self._again_at, self._again_wait = now, AGAIN_SECONDS
        else:
            self._again_at = max(now, self._again_at + self._again_wait)
            self._again_wait = min(2 * self._again_wait, AGAIN_MOST_SECONDS)
        return self._again_at
