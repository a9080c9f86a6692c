"""Which introducers an endpoint has, how many more it wants, and which it gives up (SPEC 11).

This is a pure machine with one method per input. It returns its decisions as a tuple, and a driver carries
them out (`client/hosting/introducers.py`). An introducer is ours from `restored` or `taken` to `over`. It
stands while it has a circuit of ours. An introducer that will soon end is replaced before that, so there is
no gap.

    what happens to an introducer                        what is decided
    its circuit fails, or lasts only moments             it has failed, after 2 faults of its own or 5 in all
    it brings more than the consensus allows             given up: it must be inventing introductions
    it is not in the consensus any more                  given up, and not shunned
    it refuses our test, or does not bring it            replaced
    it may not have answered a test, the second time     replaced
    it brings much that does not open                    replaced: it may be honest, a stranger can send that

A relay that was given up is shunned for some hours, but at most a third of all relays are shunned. An
introducer that may be honest is replaced only at a limited rate. Otherwise a stranger could make us change
introducers until all of them are his.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from onionshh.core.base.buckets import TokenBucket
from onionshh.core.base.chance import Chance
from onionshh.core.base.params import Params
from onionshh.core.paths.path import choose_targets
from onionshh.core.paths.view import View
from onionshh.crypto.identity import SigningKey
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.wire.endpoint import IntroducerEntry

TARGET_FAILURES_MOST = 2
FAILURES_MOST = 5
STEADY_SECONDS = 30.0
"""A circuit that lasted less counts as a failure."""
OVERLAP_PART = 24
"""We look for a replacement when 1/24 of the shortest life is left: 45 min of 18 h."""
RATE_SLACK = 1.5
BURST_EXTRA = 128
"""Introductions that wait at an introducer or on the way may arrive together."""
RATE_UNLIMITED, BURST_UNLIMITED = 100.0, 1000.0
"""Used when the consensus sets no rate."""
JUNK_MOST = 300
JUNK_SECONDS = 3600.0
"""One introducer may bring `JUNK_MOST` introductions that do not open, and as many again in this time."""
DOUBTS_MOST = 2
REPLACING_SECONDS = 6 * 3600.0
"""In this time, at most as many introducers as are wanted may be replaced while they may be honest."""
SHUNNED_SECONDS = 4 * 3600.0
SHUNNED_PART = 3
"""At most 1/3 of the relays are shunned. Otherwise an adversary could choose which relays are left."""


@dataclass(frozen=True, slots=True)
class HeldIntroducer:
    """An introducer, and the key by which it knows us. `expiry`: Unix seconds."""

    relay: RelayId
    key: SigningKey = field(repr=False)
    expiry: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End this introducer now. `reason`: the name of the drop. `what`: what it does wrong, for people."""

    auth_key: bytes
    reason: Reason
    what: str


@dataclass(frozen=True, slots=True)
class Spare:
    """Keep this introducer: it should be replaced, but there were too many replacements."""

    auth_key: bytes


Decision = GiveUp | Spare


@dataclass(slots=True, eq=False)
class _Introducer:
    """One of our introducers. `ends` is in monotonic seconds."""

    held: HeldIntroducer
    ends: float
    rate: TokenBucket
    resume_rate: TokenBucket
    junk: TokenBucket
    doubts: int = 0
    failures: int = 0
    target_failures: int = 0
    given_up: bool = False


class IntroducerSet:
    """One endpoint's introducers, by the endpoint's key there. `own_relays` are never among them.
    `life_seconds`: the shortest and the longest life; with None the consensus says it."""

    def __init__(
        self,
        wanted: int,
        chance: Chance,
        own_relays: frozenset[RelayId] = frozenset(),
        life_seconds: tuple[int, int] | None = None,
    ) -> None:
        self._wanted = wanted
        self._life_seconds = life_seconds
        self._chance = chance
        self._own_relays = own_relays
        self._ours: dict[bytes, _Introducer] = {}
        self._standing: dict[bytes, float] = {}
        """Since when each stands (monotonic seconds), oldest first."""
        self._shunned: dict[RelayId, float] = {}
        self._replacing = TokenBucket(wanted / REPLACING_SECONDS, wanted)

    # What is known.

    @property
    def entries(self) -> tuple[IntroducerEntry, ...]:
        """The introducers that stand, for the descriptor."""
        standing = (self._ours[key].held for key in self._standing)
        return tuple(IntroducerEntry(held.relay, held.key.public, held.expiry) for held in standing)

    def target(self, view: View | None, now: float) -> int:
        """How many introducers there should be: as many as are wanted and available."""
        if view is None:
            return 0
        out = self._own_relays | self.shunned(view, now)
        return min(self._wanted, sum(row.identity not in out for row in view.relays))

    def complete(self, view: View | None, now: float) -> bool:
        """Whether as many stand as `target` says."""
        return len(self._standing) >= self.target(view, now) > 0

    def shunned(self, view: View, now: float) -> frozenset[RelayId]:
        """Relays that were given up recently: the latest ones, at most a third of all relays."""
        for relay in [relay for relay, until in self._shunned.items() if now >= until]:
            del self._shunned[relay]
        latest = sorted(self._shunned, key=lambda relay: self._shunned[relay], reverse=True)
        return frozenset(latest[: len(view.relays) // SHUNNED_PART])

    def doubtful(self, entries: Sequence[IntroducerEntry]) -> Sequence[IntroducerEntry]:
        """The entries to test next: the doubtful ones, or all if none is doubtful."""
        return [
            entry for entry in entries if (ours := self._ours.get(entry.auth_key)) and ours.doubts
        ] or entries

    # Coming and going.

    def restored(
        self, held: Iterable[HeldIntroducer], params: Params, now: float, wall: int
    ) -> dict[HeldIntroducer, float]:
        """Take back introducers of an earlier run: which are ours again, and until when. Others are dropped.

        Each lives until its expiry, but never longer than the longest life, in case the clock was changed.
        """
        again: dict[HeldIntroducer, float] = {}
        for introducer in held:
            if len(self._ours) < self._wanted:
                life = min(max(0, introducer.expiry - wall), self._life(params)[1])
                again[introducer] = now + life
                self.taken(introducer, now + life)
        return again

    def draw(
        self, view: View, avoid: frozenset[RelayId], now: float, wall: int
    ) -> dict[HeldIntroducer, float]:
        """Draw the missing introducers, each with its end in monotonic seconds. Each becomes ours with
        `taken`. Introducers that will soon end do not count, and their relays may be drawn again."""
        shortest, longest = self._life(view.params)
        overlap = shortest // OVERLAP_PART
        fresh = [ours for ours in self._ours.values() if ours.ends > now + overlap]
        missing = self.target(view, now) - len(fresh)
        drawn: dict[HeldIntroducer, float] = {}
        if missing <= 0:
            return drawn
        used = self._own_relays.union(ours.held.relay for ours in fresh) | self.shunned(view, now)
        for row in choose_targets(view, self._chance, missing, exclude=used, avoid=avoid):
            life = self._chance.between(shortest, longest)
            key = SigningKey.generate(self._chance.bytes)
            drawn[HeldIntroducer(row.identity, key, wall + int(life))] = now + life
        return drawn

    def _life(self, params: Params) -> tuple[int, int]:
        if self._life_seconds is not None:
            return self._life_seconds
        return params.introducer_life_min_seconds, params.introducer_life_max_seconds

    def taken(self, held: HeldIntroducer, ends: float) -> None:
        """This introducer is ours until `ends` (monotonic seconds)."""
        self._ours[held.key.public] = _Introducer(
            held,
            ends,
            TokenBucket(RATE_UNLIMITED, BURST_UNLIMITED),
            TokenBucket(RATE_UNLIMITED, BURST_UNLIMITED),
            TokenBucket(JUNK_MOST / JUNK_SECONDS, JUNK_MOST),
        )

    def over(self, auth_key: bytes) -> None:
        """This introducer is not ours any more."""
        del self._ours[auth_key]

    # Its circuit.

    def stands(self, auth_key: bytes, now: float) -> None:
        """The introducer has a circuit of ours and knows us by this key."""
        self._standing[auth_key] = now

    def falls(self, auth_key: bytes, now: float) -> None:
        """The introducer's circuit has ended."""
        lasted = now - self._standing.pop(auth_key)
        if lasted >= STEADY_SECONDS:
            ours = self._ours[auth_key]
            ours.failures = ours.target_failures = 0
        else:
            self.not_had(auth_key)

    def not_had(self, auth_key: bytes, *, its_fault: bool = False) -> None:
        """No circuit to the introducer was built, or none lasted. `its_fault`: the circuit failed there."""
        ours = self._ours[auth_key]
        ours.failures += 1
        ours.target_failures += its_fault

    def has_failed(self, auth_key: bytes) -> bool:
        """Whether its circuits failed too often."""
        ours = self._ours[auth_key]
        return ours.target_failures >= TARGET_FAILURES_MOST or ours.failures >= FAILURES_MOST

    # What it does.

    def consensus(self, view: View, now: float) -> tuple[Decision, ...]:
        """There is a newer consensus: give up the introducers that are not in it."""
        gone = [key for key in self._standing if view.any_relay(self._ours[key].held.relay) is None]
        return tuple(decision for key in gone for decision in self.left(key, now))

    def left(self, auth_key: bytes, now: float) -> tuple[Decision, ...]:
        """The introducer's relay is not in the network any more."""
        return self._give_up(auth_key, Reason.INTRODUCER_LEFT, "has left the network", now, shun=False)

    def proved(self, auth_key: bytes) -> None:
        """Our test arrived through this introducer."""
        ours = self._ours.get(auth_key)
        if ours is not None:
            ours.doubts = 0

    def doubted(self, auth_key: bytes, now: float) -> tuple[Decision, ...]:
        """The introducer may not have answered our test."""
        ours = self._ours.get(auth_key)
        if ours is None:
            return ()
        ours.doubts += 1
        return self.failed(auth_key, "does not answer", now) if ours.doubts >= DOUBTS_MOST else ()

    def failed(self, auth_key: bytes, what: str, now: float) -> tuple[Decision, ...]:
        """Our test did not get through this introducer. `what`: what it does wrong, for people."""
        return self._replace(auth_key, Reason.INTRODUCER_FAILED, what, now)

    def brought(
        self, auth_key: bytes, params: Params, now: float, *, resumption: bool = False
    ) -> tuple[Decision, ...]:
        """An introduction or a resumption arrived over the introducer's circuit. Each has its own rate."""
        ours = self._ours[auth_key]
        if resumption:
            bucket, rate, burst = ours.resume_rate, params.resume_rate, params.resume_burst
        else:
            bucket, rate, burst = ours.rate, params.introduce_rate, params.introduce_burst
        if rate:
            bucket.rate, bucket.burst = RATE_SLACK * rate, RATE_SLACK * burst + BURST_EXTRA
        else:
            bucket.rate, bucket.burst = RATE_UNLIMITED, BURST_UNLIMITED
        if bucket.take(now):
            return ()
        return self._give_up(
            auth_key, Reason.INTRODUCER_FLOODS, "brings more than any visitors could send", now
        )

    def brought_junk(self, auth_key: bytes, now: float) -> tuple[Decision, ...]:
        """The introducer brought something that is not for us or not new."""
        ours = self._ours.get(auth_key)
        if ours is None or ours.junk.take(now):
            return ()
        return self._replace(auth_key, Reason.INTRODUCER_JUNK, "brings much that does not open", now)

    # Inside.

    def _replace(self, auth_key: bytes, reason: Reason, what: str, now: float) -> tuple[Decision, ...]:
        """Give up an introducer that may be honest, unless that has happened too often."""
        ours = self._ours.get(auth_key)
        if ours is None or ours.given_up:
            return ()
        if self._replacing.take(now):
            return self._give_up(auth_key, reason, what, now)
        return (Spare(auth_key),)

    def _give_up(
        self, auth_key: bytes, reason: Reason, what: str, now: float, *, shun: bool = True
    ) -> tuple[Decision, ...]:
        ours = self._ours.get(auth_key)
        if ours is None or ours.given_up:
            return ()
        ours.given_up = True
        if shun:
            self._shunned[ours.held.relay] = now + SHUNNED_SECONDS
        return (GiveUp(auth_key, reason, what),)
