"""What an authority knows of each relay, and why it lists it or not (SPEC 8). Pure.

A relay announces itself by descriptor. It is listed once it has answered at the address it names, and as long
as it goes on answering. The registry says which addresses to check and is told the results; it never touches
the network. There are two kinds of checks: at once for a new descriptor, and in rounds, one per interval, for
all relays. In both, an address is checked at most once per interval, and only one that is the relay's own
(asking.py). Once it answered there, it is checked at its other addresses. So nobody can use the authority to
disturb a stranger's machine. A relay is listed with the addresses at which it answered. If several relays
claim one address, it is the place of the one that answered there before.

A date in the future was written while a clock ran ahead. It does not count, and is brought back once it is
sure that the clock is right now (`bring_back`).
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from onionshh.core.base.addresses import host_group, plain_host
from onionshh.core.base.params import Params
from onionshh.core.base.words import utc
from onionshh.directory import asking, certificates
from onionshh.directory.entry import (
    CLOCK_SECONDS,
    WHY_CHARACTERS,
    Entry,
    Listed,
    Status,
    but_for_addresses,
    by_name,
    follows,
    status_of,
)
from onionshh.directory.places import Places
from onionshh.directory.rules import DESCRIPTOR_LIFE_SECONDS, date_problem
from onionshh.ids import RelayId
from onionshh.wire.descriptor import PROTOCOL_VERSION, Address, RelayDescriptor

MOST_KNOWN = 10_000
FORGET_SECONDS = 2 * DESCRIPTOR_LIFE_SECONDS
"""Longer than a descriptor lives, so that no replay can bring back a relay that was forgotten."""
POSTS_PER_INTERVAL = 64
UNSEEN_INTERVALS = 3
"""After so long without a check, a relay's uptime is counted anew: the directory was not there to see it."""
ADDRESSES_MOST = 10_000
"""This many are counted. Any further address is not refused: else the owner of a large network could shut all
others out."""
UNKNOWN = (
    "no relay with this id has published here of late; check the id, and that the relay runs with the network"
    " file of this directory"
)


class Verdict(enum.Enum):
    """What becomes of a descriptor that was sent in."""

    ACCEPTED = "accepted"
    FORBIDDEN = "forbidden"
    STALE = "stale"
    BUSY = "busy"


class Answer(NamedTuple):
    """The verdict, and for a refusal one sentence for the relay's operator; `clocks`: it is about clocks."""

    verdict: Verdict
    why: str = ""
    clocks: bool = False


class RoundResult(NamedTuple):
    """How many relays a round checked, how many did not answer, whether the failures were set aside."""

    checked: int
    failed: int
    held: bool


class Registry:
    """All relays that one authority knows, at most `most_known`. `over_tor`: it reaches onion services."""

    def __init__(self, params: Params, *, most_known: int = MOST_KNOWN, over_tor: bool = False) -> None:
        self.params = params
        self.sure = True
        """Whether the clock has not jumped for a while. Until then, nothing expires because of it."""
        self._most_known = most_known
        self._entries: dict[RelayId, Entry] = {}
        self._places = Places(lambda: self.params, over_tor=over_tor)
        self._posts: Counter[str] = Counter()
        self._fresh: list[RelayDescriptor] = []
        self._in_flight: set[Address] = set()
        self._tried: dict[Address, bool] = {}  # checked since the last round began; True: outside a round
        self._round: dict[RelayId, str | None] | None = None
        self._bad_rounds = 0  # rounds in a row in which most of the list failed
        self._waiting = asking.Waiting()

    def __len__(self) -> int:
        return len(self._entries)

    # What relays say.

    @property
    def counted_addresses(self) -> int:
        """Addresses whose posts of this interval are counted."""
        return len(self._posts)

    def submit(self, descriptor: RelayDescriptor, source: str, wall: int) -> Answer:
        """A descriptor whose signature holds, sent from the IP address `source` (text)."""
        source = plain_host(source)
        if self.params.relays_per_ip:
            group = host_group(source)
            if group in self._posts or len(self._posts) < ADDRESSES_MOST:
                self._posts[group] += 1
            if self._posts[group] > POSTS_PER_INTERVAL:
                return Answer(Verdict.BUSY, "too many descriptors came from here; wait for the next interval")
        why = self._places.problem(descriptor.addresses, source)
        if why:
            return Answer(Verdict.FORBIDDEN, why)
        why = date_problem(descriptor.published, wall) or certificates.problem(descriptor, wall)
        if why:
            return Answer(Verdict.FORBIDDEN, why, clocks=True)
        if PROTOCOL_VERSION not in descriptor.versions:
            return Answer(Verdict.FORBIDDEN, f"this network speaks protocol version {PROTOCOL_VERSION}")
        entry = self._entries.get(descriptor.identity)
        if entry is not None and entry.newest != descriptor:
            if certificates.lead(descriptor, entry.newest) < 0:
                return Answer(
                    Verdict.STALE,
                    "a signing key of this relay that ends later is known, and counts in place of this one;"
                    " use that one, or make one that ends later still",
                )
            if not follows(descriptor, entry.newest, wall):
                return Answer(
                    Verdict.STALE,
                    f"a descriptor published at {entry.newest.published} ({utc(entry.newest.published)}) is"
                    f" known, this one says {descriptor.published}; does another relay run with these keys,"
                    " or was a clock wrong?",
                )
            why = self._crowd_problem(descriptor, wall)
            if why:
                return Answer(Verdict.FORBIDDEN, why)
            self._places.remove(entry.newest)
            entry.newest = descriptor
        elif entry is None:
            why = self._crowd_problem(descriptor, wall)
            if why:
                return Answer(Verdict.FORBIDDEN, why)
            if len(self._entries) >= self._most_known and not self._evict(wall):
                return Answer(Verdict.BUSY, "this directory knows as many relays as it can")
            entry = self._entries[descriptor.identity] = Entry(descriptor, wall)
        entry.heard = max(entry.heard, wall)
        entry.home = asking.home(descriptor.addresses, source)
        self._places.add(descriptor)
        untried = tuple(address for address in self._own(entry) if address not in self._tried)
        if untried and (entry.checked is None or not but_for_addresses(entry.checked, descriptor)):
            self._start(untried, fresh=True)
            self._fresh.append(replace(descriptor, addresses=untried))
        return Answer(Verdict.ACCEPTED)

    def _own(self, entry: Entry) -> tuple[Address, ...]:
        return asking.own(entry, self.params)

    def _crowd_problem(self, descriptor: RelayDescriptor, wall: int) -> str:
        return self._places.crowd_problem(descriptor, lambda one, group: self._holds(one, group, wall))

    def _holds(self, identity: RelayId, group: str, wall: int) -> bool:
        """Whether it has a place at the hosts of this group, or anywhere for "": it answered there, or was
        not asked yet at an address of its own. What it names besides holds no place."""
        entry = self._entries[identity]
        if self._is_away(entry, wall):
            return False
        hoped = self._own(entry) or entry.newest.addresses
        named = hoped if entry.checked is None else entry.checked.addresses
        return not group or any(
            host_group(address.host) == group for address in named if address not in entry.missed
        )

    def _is_away(self, entry: Entry, wall: int) -> bool:
        """Whether it is not listed, and will not be as it is: it does not answer, or its signing key is
        over."""
        return entry.checked is None and (entry.failures > 0 or self._is_over(entry.newest, wall))

    def _evict(self, wall: int) -> bool:
        """Make room by forgetting a relay that is away: the one not heard of for longest, or heard of in the
        future."""
        away = [
            (e.heard if e.heard <= wall + CLOCK_SECONDS else 0, i)
            for i, e in self._entries.items()
            if self._is_away(e, wall)
        ]
        if not away:
            return False
        self.forget(min(away)[1])
        return True

    # What is to be checked, and what came of it.

    def take_fresh(self) -> tuple[RelayDescriptor, ...]:
        """New descriptors to check at once, each with the addresses to ask at; each must come back through
        `checked`."""
        fresh, self._fresh = tuple(self._fresh), []
        return fresh

    def start_round(self, wall: int) -> tuple[RelayDescriptor, ...]:
        """All that must be checked in this interval, each with those of its own addresses to ask at. Empty
        while a round goes on. A relay whose signing key is over cannot be listed, so it is not asked.

        If several relays claim one address, the one that answered there is asked, else a listed one, else the
        one heard of last; one that was not there when it was asked comes behind the others.
        """
        if self._round is not None:
            return ()
        self._posts.clear()
        skip = {address for address, fresh in self._tried.items() if fresh} | self._in_flight
        asked = [e for e in self._entries.values() if not self._is_over(e.newest, wall)]
        owners: dict[Address, Entry] = {}
        for entry in asked:
            for address in self._own(entry):
                if address not in skip:
                    owners[address] = min(
                        owners.get(address, entry), entry, key=lambda claimant: claimant.claims(address)
                    )
        todo: list[RelayDescriptor] = []
        for entry in sorted(asked, key=lambda entry: entry.claims(entry.newest.addresses[0])):
            its = tuple(address for address in self._own(entry) if owners.get(address) is entry)
            if its:
                todo.append(replace(entry.newest, addresses=its))
        self._tried = dict.fromkeys(self._in_flight, False)
        for descriptor in todo:
            self._start(descriptor.addresses, fresh=False)
        self._round = {descriptor.identity: None for descriptor in todo}
        return tuple(todo)

    def checked(
        self,
        descriptor: RelayDescriptor,
        why: str | None,
        wall: int,
        missed: Mapping[Address, str] | None = None,
    ) -> None:
        """A check is over. `why` is None if nothing is wrong, else the reason in words. `missed`: why the
        relay did not answer where it did not; without it, all or nothing by `why`."""
        self._in_flight.difference_update(descriptor.addresses)
        entry = self._entries.get(descriptor.identity)
        if entry is None or self._is_over(descriptor, wall):
            return
        if missed is None:
            missed = {} if why is None else dict.fromkeys(descriptor.addresses, why)
        why = _printable(why or "")
        answered = tuple(address for address in descriptor.addresses if address not in missed)
        entry.asked_at(descriptor.addresses, {address: _printable(missed[address]) for address in missed})
        if answered:
            self._good(entry, descriptor, answered, wall)
            return
        entry.tested = max(entry.tested, wall)
        unasked = {*entry.checked.addresses} - {*descriptor.addresses} if entry.checked is not None else set()
        if unasked - entry.missed.keys():
            return  # where it answered last it was not asked
        if self._round is not None and descriptor.identity in self._round:
            self._round[descriptor.identity] = why  # weighed when the round is over
        else:
            self._failed(entry, why, wall)

    def elsewhere(self, wall: int) -> tuple[RelayDescriptor, ...]:
        """The round is over: the relays to ask at addresses that are not their own, each with these. What
        came of it must come back through `checked_elsewhere`."""
        entries = [entry for entry in self._entries.values() if not self._is_over(entry.newest, wall)]
        return self._waiting.next(entries, self.params)

    def checked_elsewhere(
        self, descriptor: RelayDescriptor, missed: Mapping[Address, str], wall: int
    ) -> None:
        """A check at addresses that were not the relay's own is over. `missed`: where it did not answer, and
        what may be told of that. It counts for nothing if the relay has addresses of its own."""
        entry = self._entries.get(descriptor.identity)
        if entry is None or self._is_over(descriptor, wall):
            return
        entry.asked_at(descriptor.addresses, missed)
        answered = tuple(address for address in descriptor.addresses if address not in missed)
        if answered:
            self._good(entry, descriptor, answered, wall)
        elif not self._own(entry):
            entry.tested = max(entry.tested, wall)
            self._failed(entry, next(iter(missed.values())), wall)

    def abandoned(self, descriptor: RelayDescriptor) -> None:
        """A check ended without a result: it counts neither way."""
        self._in_flight.difference_update(descriptor.addresses)

    def end_round(self, wall: int) -> RoundResult:
        """All checks of the round are done. When more than half of the listed relays failed, the authority's
        own network is more likely at fault, so the list stays, but for no more than `held_rounds` rounds."""
        results, self._round = self._round or {}, None
        failed = {identity: why for identity, why in results.items() if why is not None}
        listed = [i for i in results if i in self._entries and self._entries[i].checked is not None]
        lost = sum(1 for identity in listed if identity in failed)
        most = 2 * lost > len(listed)
        held = most and self._bad_rounds < self.params.held_rounds
        self._bad_rounds = self._bad_rounds + 1 if most else 0
        for identity, why in failed.items():
            entry = self._entries.get(identity)
            if entry is not None and not (held and entry.checked is not None):
                self._failed(entry, why, wall)
        gone = [
            identity
            for identity, entry in self._entries.items()
            if entry.checked is None
            and self.sure
            and max(entry.heard, entry.last_good) < wall - FORGET_SECONDS
        ]
        for identity in gone:
            self.forget(identity)
        return RoundResult(len(results), len(failed), held)

    def unlist_ended(self, wall: int) -> None:
        """It is `wall` now: list no relay any more under a signing key that is over."""
        if not self.sure:
            return
        for entry in self._entries.values():
            if entry.checked is not None and certificates.is_over(entry.checked, wall):
                entry.checked, entry.turned, entry.up_since = None, wall, 0

    def _is_over(self, descriptor: RelayDescriptor, wall: int) -> bool:
        """Whether its signing key is over, as far as the clock is sure."""
        return self.sure and certificates.is_over(descriptor, wall)

    def _start(self, addresses: Sequence[Address], *, fresh: bool) -> None:
        self._tried.update(dict.fromkeys(addresses, fresh))
        self._in_flight.update(addresses)

    def _good(self, entry: Entry, asked: RelayDescriptor, answered: tuple[Address, ...], wall: int) -> None:
        """It answered at some of the addresses where it was asked. What is known of others stays."""
        before = entry.checked
        if before is None:
            entry.turned = wall
            if not entry.first_seen or (self.sure and wall - entry.last_good > self.params.seen_gap_seconds):
                entry.first_seen = wall
        if before is not None and but_for_addresses(before, asked):
            kept = (address for address in before.addresses if address not in asked.addresses)
            entry.checked = replace(asked, addresses=tuple(sorted({*answered, *kept})))
        elif before is None or follows(asked, before, wall):
            same = before is not None and before.onion_key == asked.onion_key
            named = {*before.addresses} & {*entry.newest.addresses} if before is not None and same else set()
            entry.checked = replace(asked, addresses=tuple(sorted({*answered, *named} - {*entry.missed})))
        unseen = UNSEEN_INTERVALS * self.params.interval_seconds
        if not entry.up_since or wall - entry.last_good > unseen:  # nobody looked in between
            entry.up_since = wall
        entry.last_good = entry.tested = max(entry.last_good, entry.tested, wall)
        entry.failures = 0
        entry.why = ""

    def _failed(self, entry: Entry, why: str, wall: int) -> None:
        entry.failures += 1
        entry.why = why
        entry.up_since = 0
        if entry.failures >= self.params.failed_checks:
            if entry.checked is not None:
                entry.turned = wall
            entry.checked = None

    # Dates in the future.

    def first_of_the_future(self, wall: int) -> int:
        """The earliest date that shows that a clock ran ahead (Unix seconds), 0 if there is none."""
        ahead = [d for e in self._entries.values() for d in e.dates if d > wall + CLOCK_SECONDS]
        return min(ahead, default=0)

    def bring_back(self, wall: int) -> None:
        """It is surely `wall` now: set all later dates back to it."""
        for entry in self._entries.values():
            entry.bring_back(wall)

    # What is known.

    def entry(self, identity: bytes) -> Entry | None:
        """What is known of a relay."""
        return self._entries.get(RelayId(identity))

    def listed(self) -> tuple[Listed, ...]:
        """The relays to list, sorted by identity."""
        rows = [Listed(e.checked, e.first_seen) for e in self._entries.values() if e.checked is not None]
        return tuple(sorted(rows, key=lambda row: row.descriptor.identity))

    def besides(self, listed: Container[bytes]) -> tuple[Entry, ...]:
        """All relays but those, sorted by nickname."""
        rows = [entry for identity, entry in self._entries.items() if identity not in listed]
        return tuple(sorted(rows, key=lambda entry: (by_name(entry.newest.nickname), entry.newest.identity)))

    def status(self, identity: bytes, wall: int) -> Status:
        """Where a relay stands at this time."""
        entry = self._entries.get(RelayId(identity))
        if entry is None:
            return Status("unknown", UNKNOWN)
        if entry.checked is None and self._is_over(entry.newest, wall):
            return Status("ended", certificates.problem(entry.newest, wall))
        return status_of(entry)

    def entries(self) -> tuple[Entry, ...]:
        """Everything, for the disk."""
        return tuple(self._entries.values())

    def restore(self, entries: tuple[Entry, ...]) -> None:
        """Take back what `entries` gave before a restart."""
        for entry in entries[: self._most_known]:
            self._entries[entry.newest.identity] = entry
            self._places.add(entry.newest)

    def forget(self, identity: RelayId) -> None:
        """Forget this relay."""
        self._places.remove(self._entries.pop(identity).newest)


def _printable(why: str) -> str:
    """A reason as it is kept. It may be a stranger's words."""
    return "".join(c for c in why if c.isprintable())[:WHY_CHARACTERS]
