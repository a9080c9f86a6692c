"""Which introducers an endpoint has, how many more it wants, and which it gives up (SPEC 11).

A pure machine: one method per input. What it decides comes back as a tuple, for a driver to carry out
(`client/hosting/introducers.py`). An introducer is ours from `restored` or `taken` to `over`, and stands
while it has a circuit of ours. What is about to end is replaced before it ends, so there is no moment
without.

    what happens to one                                  what is decided
    its circuit cannot be had, or lasts for moments      it has failed, after 2 faults of its own or 5 in all
    it brings more than the consensus allows             given up: it can only be inventing
    it is not in the consensus any more                  given up, and not shunned
    it refuses a test of ours, or does not bring it      replaced
    it may not have answered a test, the second time     replaced
    it brings much that does not open                    replaced: it may be honest, a stranger can send that

Whatever is given up is shunned for some hours, a third of the relays at most. Whatever may be honest is
replaced only so often: else a stranger could make us go from introducer to introducer until all are his.
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
"""A circuit that lasted less was as good as none."""
OVERLAP_PART = 24
"""A replacement is sought when 1/24 of the shortest life is left: 45 min of 18 h."""
RATE_SLACK = 1.5
BURST_EXTRA = 128
"""What waits at an introducer and on the way may come at once."""
RATE_UNLIMITED, BURST_UNLIMITED = 100.0, 1000.0
"""Held to when the consensus sets no rate."""
JUNK_MOST = 300
JUNK_SECONDS = 3600.0
"""So many introductions that do not open may come through one introducer, and as many again in this time."""
DOUBTS_MOST = 2
REPLACING_SECONDS = 6 * 3600.0
"""In this time as many introducers as are wanted may be replaced for what they need not have done."""
SHUNNED_SECONDS = 4 * 3600.0
SHUNNED_PART = 3
"""At most 1/3 of the relays are shunned: more, and whoever brings that about chooses the others."""


@dataclass(frozen=True, slots=True)
class HeldIntroducer:
    """An introducer and the key we are known by there. `expiry`: Unix seconds."""

    relay: RelayId
    key: SigningKey = field(repr=False)
    expiry: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """This one ends now. `reason`: the name of the drop; `what` it does, for people."""

    auth_key: bytes
    reason: Reason
    what: str


@dataclass(frozen=True, slots=True)
class Spare:
    """This one would be replaced, if that had not happened too often."""

    auth_key: bytes


Decision = GiveUp | Spare


@dataclass(slots=True, eq=False)
class _Introducer:
    """One that is ours. `ends` is in monotonic seconds."""

    held: HeldIntroducer
    ends: float
    rate: TokenBucket
    junk: TokenBucket
    doubts: int = 0
    failures: int = 0
    target_failures: int = 0
    given_up: bool = False


class IntroducerSet:
    """The introducers of one endpoint, by the key it is known by there. `own_relays` are never among them."""

    def __init__(self, wanted: int, chance: Chance, own_relays: frozenset[RelayId] = frozenset()) -> None:
        self._wanted = wanted
        self._chance = chance
        self._own_relays = own_relays
        self._ours: dict[bytes, _Introducer] = {}
        self._standing: dict[bytes, float] = {}
        """Since when, monotonic seconds; in the order in which they were had."""
        self._shunned: dict[RelayId, float] = {}
        self._replacing = TokenBucket(wanted / REPLACING_SECONDS, wanted)

    # What is known.

    @property
    def entries(self) -> tuple[IntroducerEntry, ...]:
        """Those that stand, for the descriptor."""
        standing = (self._ours[key].held for key in self._standing)
        return tuple(IntroducerEntry(held.relay, held.key.public, held.expiry) for held in standing)

    def target(self, view: View | None, now: float) -> int:
        """How many there should be: as many as are wanted and can be had."""
        if view is None:
            return 0
        out = self._own_relays | self.shunned(view, now)
        return min(self._wanted, sum(row.identity not in out for row in view.relays))

    def complete(self, view: View | None, now: float) -> bool:
        """Whether so many stand."""
        return len(self._standing) >= self.target(view, now) > 0

    def shunned(self, view: View, now: float) -> frozenset[RelayId]:
        """Relays that were given up lately: the latest, and a third of all at most."""
        for relay in [relay for relay, until in self._shunned.items() if now >= until]:
            del self._shunned[relay]
        latest = sorted(self._shunned, key=lambda relay: self._shunned[relay], reverse=True)
        return frozenset(latest[: len(view.relays) // SHUNNED_PART])

    def doubtful(self, entries: Sequence[IntroducerEntry]) -> Sequence[IntroducerEntry]:
        """Those of them to be tested next: the doubtful ones, else all."""
        return [
            entry for entry in entries if (ours := self._ours.get(entry.auth_key)) and ours.doubts
        ] or entries

    # Coming and going.

    def restored(
        self, held: Iterable[HeldIntroducer], params: Params, now: float, wall: int
    ) -> dict[HeldIntroducer, float]:
        """Those of an earlier run: which are ours again, and until when. The others are too many.

        Each has what its date leaves of its life, and never more than the longest, whoever set the clock.
        """
        again: dict[HeldIntroducer, float] = {}
        for introducer in held:
            if len(self._ours) < self._wanted:
                life = min(max(0, introducer.expiry - wall), params.introducer_life_max_seconds)
                again[introducer] = now + life
                self.taken(introducer, now + life)
        return again

    def draw(
        self, view: View, avoid: frozenset[RelayId], now: float, wall: int
    ) -> dict[HeldIntroducer, float]:
        """The new ones that are missing, each with the monotonic seconds at which it ends; each becomes ours
        with `taken`. What is about to end does not count, nor hinder a new one anywhere."""
        params = view.params
        overlap = params.introducer_life_min_seconds // OVERLAP_PART
        fresh = [ours for ours in self._ours.values() if ours.ends > now + overlap]
        missing = self.target(view, now) - len(fresh)
        drawn: dict[HeldIntroducer, float] = {}
        if missing <= 0:
            return drawn
        used = self._own_relays.union(ours.held.relay for ours in fresh) | self.shunned(view, now)
        for row in choose_targets(view, self._chance, missing, exclude=used, avoid=avoid):
            life = self._chance.between(
                params.introducer_life_min_seconds, params.introducer_life_max_seconds
            )
            key = SigningKey.generate(self._chance.bytes)
            drawn[HeldIntroducer(row.identity, key, wall + int(life))] = now + life
        return drawn

    def taken(self, held: HeldIntroducer, ends: float) -> None:
        """It is ours, until then (monotonic seconds)."""
        self._ours[held.key.public] = _Introducer(
            held,
            ends,
            TokenBucket(RATE_UNLIMITED, BURST_UNLIMITED),
            TokenBucket(JUNK_MOST / JUNK_SECONDS, JUNK_MOST),
        )

    def over(self, auth_key: bytes) -> None:
        """It is not ours any more."""
        del self._ours[auth_key]

    # Its circuit.

    def stands(self, auth_key: bytes, now: float) -> None:
        """It has a circuit of ours, and knows us by that key."""
        self._standing[auth_key] = now

    def falls(self, auth_key: bytes, now: float) -> None:
        """Its circuit is over."""
        lasted = now - self._standing.pop(auth_key)
        if lasted >= STEADY_SECONDS:
            ours = self._ours[auth_key]
            ours.failures = ours.target_failures = 0
        else:
            self.not_had(auth_key)

    def not_had(self, auth_key: bytes, *, its_fault: bool = False) -> None:
        """No circuit to it could be had, or none that lasted. `its_fault`: the circuit failed there."""
        ours = self._ours[auth_key]
        ours.failures += 1
        ours.target_failures += its_fault

    def has_failed(self, auth_key: bytes) -> bool:
        """Whether that was too often."""
        ours = self._ours[auth_key]
        return ours.target_failures >= TARGET_FAILURES_MOST or ours.failures >= FAILURES_MOST

    # What it does.

    def consensus(self, view: View, now: float) -> tuple[Decision, ...]:
        """A newer consensus is in force: whoever left, left."""
        gone = [key for key in self._standing if view.any_relay(self._ours[key].held.relay) is None]
        return tuple(decision for key in gone for decision in self.left(key, now))

    def left(self, auth_key: bytes, now: float) -> tuple[Decision, ...]:
        """Its relay is not in the network any more."""
        return self._give_up(auth_key, Reason.INTRODUCER_LEFT, "has left the network", now, shun=False)

    def proved(self, auth_key: bytes) -> None:
        """A test of ours arrived through it."""
        ours = self._ours.get(auth_key)
        if ours is not None:
            ours.doubts = 0

    def doubted(self, auth_key: bytes, now: float) -> tuple[Decision, ...]:
        """It may not have answered a test of ours."""
        ours = self._ours.get(auth_key)
        if ours is None:
            return ()
        ours.doubts += 1
        return self.failed(auth_key, "does not answer", now) if ours.doubts >= DOUBTS_MOST else ()

    def failed(self, auth_key: bytes, what: str, now: float) -> tuple[Decision, ...]:
        """A test did not get through it. `what` it does wrong, for people."""
        return self._replace(auth_key, Reason.INTRODUCER_FAILED, what, now)

    def brought(self, auth_key: bytes, params: Params, now: float) -> tuple[Decision, ...]:
        """An introduction came over its circuit."""
        rate = self._ours[auth_key].rate
        if params.introduce_rate:
            rate.rate = RATE_SLACK * params.introduce_rate
            rate.burst = RATE_SLACK * params.introduce_burst + BURST_EXTRA
        else:
            rate.rate, rate.burst = RATE_UNLIMITED, BURST_UNLIMITED
        if rate.take(now):
            return ()
        return self._give_up(
            auth_key, Reason.INTRODUCER_FLOODS, "brings more than any visitors could send", now
        )

    def brought_junk(self, auth_key: bytes, now: float) -> tuple[Decision, ...]:
        """What it brought was not for us, or not new."""
        ours = self._ours.get(auth_key)
        if ours is None or ours.junk.take(now):
            return ()
        return self._replace(auth_key, Reason.INTRODUCER_JUNK, "brings much that does not open", now)

    # Inside.

    def _replace(self, auth_key: bytes, reason: Reason, what: str, now: float) -> tuple[Decision, ...]:
        """Give up one that may be honest, if that has not happened too often."""
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
