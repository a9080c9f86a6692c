"""What an authority knows of one relay, and how that is said (SPEC 8). Pure.

The registry changes entries. The page, the JSON and the directory's own output only read them, and all say
the same thing in the words of this file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, NamedTuple

from onionshh.directory import certificates
from onionshh.ids import RelayId
from onionshh.wire.descriptor import Address, RelayDescriptor

CLOCK_SECONDS = 600
WHY_CHARACTERS = 200
HOUR_SECONDS = 3600
NOT_YET = "it has to answer first at the address that it published from"


class Listed(NamedTuple):
    """A relay that answered, with the descriptor it answered under and since when it is listed."""

    descriptor: RelayDescriptor
    first_seen: int


class Status(NamedTuple):
    """`word` is one of listed, reached, checking, failing, ended (its signing key is over), unknown; `why`
    says more to the relay's operator."""

    word: str
    why: str


class Place(NamedTuple):
    """One address of a relay, whether it answered there when it was last asked (None: it was not asked yet),
    and why it did not or was not."""

    address: Address
    answered: bool | None
    why: str = ""


@dataclass(slots=True)
class Entry:
    """One relay. `newest` is its last descriptor, `checked` the one under which it is listed (or None), with
    the addresses at which it answered and no others. Times are Unix seconds, 0 for never or not known.
    `failures` are failed checks in a row that count. `missed`: the addresses of `newest` at which it did not
    answer when it was last asked, and why.

    `tested` is when the last check ended, whatever came of it. Since `up_since` it has answered every check.
    Since `turned` it is listed, or not listed any more. `home`: the address that its last descriptor came
    from, None if it is not known: it is not kept on disk.
    """

    newest: RelayDescriptor
    heard: int
    checked: RelayDescriptor | None = None
    first_seen: int = 0
    last_good: int = 0
    failures: int = 0
    why: str = ""
    tested: int = 0
    up_since: int = 0
    turned: int = 0
    missed: Mapping[Address, str] = field(default_factory=dict)
    home: Address | None = None

    @property
    def places(self) -> tuple[Place, ...]:
        """All its addresses, in the order of its descriptor."""
        there = self.checked.addresses if self.checked is not None else ()
        return tuple(
            Place(address, False, self.missed[address].replace(str(address), "this address"))
            if address in self.missed
            else Place(address, True)
            if address in there
            else Place(address, None, NOT_YET if self.failures and not there else "")
            for address in self.newest.addresses
        )

    def asked_at(self, addresses: Sequence[Address], missed: Mapping[Address, str]) -> None:
        """It was asked at these addresses, and did not answer at those in `missed`."""
        before = {address: why for address, why in self.missed.items() if address not in addresses}
        known = {**before, **missed}
        self.missed = {address: known[address] for address in self.newest.addresses if address in known}

    def claims(self, address: Address) -> tuple[bool, bool, bool, int, RelayId]:
        """How well its claim to an address stands, the best first."""
        answered = self.checked is not None and address in self.checked.addresses
        unlisted = self.checked is None
        return not answered, address in self.missed, unlisted, -self.heard, self.newest.identity

    @property
    def answered(self) -> bool | None:
        """Whether the last check was answered; None before the first."""
        return None if not self.tested else not self.failures and self.last_good >= self.tested

    def up_hours(self, wall: int) -> int | None:
        """For how many whole hours it has answered every check; None if the last one failed.

        It is what the directory saw, and not what the relay says of itself. Whole hours, so that the time of
        a restart stays the operator's own.
        """
        if not self.up_since or not self.answered:
            return None
        return max(0, wall - self.up_since) // HOUR_SECONDS

    @property
    def dates(self) -> tuple[int, ...]:
        """All dates in it."""
        checked = self.checked.published if self.checked is not None else 0
        ours = (self.heard, self.first_seen, self.last_good, self.tested, self.up_since, self.turned)
        return (self.newest.published, checked, *ours)

    def bring_back(self, wall: int) -> None:
        """It is surely `wall` now: set all later dates back to it."""
        self.newest = _brought_back(self.newest, wall)
        self.checked = _brought_back(self.checked, wall) if self.checked is not None else None
        self.heard = min(self.heard, wall)
        self.first_seen = min(self.first_seen, wall)
        self.last_good = min(self.last_good, wall)
        self.tested = min(self.tested, wall)
        self.up_since = min(self.up_since, wall)
        self.turned = min(self.turned, wall)


def status_of(entry: Entry) -> Status:
    """Where a relay stands, by what is known of it."""
    if entry.failures:
        return Status("failing", entry.why)
    if entry.checked is None:
        where = " and ".join(map(str, entry.newest.addresses))
        are = "is" if len(entry.newest.addresses) == 1 else "are"
        return Status("checking", f"{where} {are} being checked, or will be in the next interval")
    return Status("reached", next(iter(entry.missed.values()), ""))


def explained(entry: Entry, status: Status) -> str:
    """Why a relay is not listed, in whole sentences for people. The reason of a failed check is the
    directory's own, as far as its network told it one."""
    why = status.why.strip() or "no reason is known"
    if status.word == "failing":
        times = "its last check" if entry.failures == 1 else f"its last {entry.failures} checks"
        why = f"it did not answer {times}: {why}"
    return f"{why[0].upper()}{why[1:]}" + ("" if why.endswith((".", "?", "!")) else ".")


def record(entry: Entry, status: Status, wall: int) -> dict[str, object]:
    """What a program is told about a relay that is known, under stable names."""
    return {
        "id": entry.newest.identity.hex(),
        "nickname": entry.newest.nickname,
        "status": status.word,
        "known": status.word != "unknown",
        "listed": status.word == "listed",
        "why": status.why,
        "address": entry.newest.address,
        "published": entry.newest.published,
        "since": entry.turned or None,
        **checks(entry, wall),
        "software": entry.newest.software,
    }


def checks(entry: Entry, wall: int) -> dict[str, object]:
    """What came of a relay's checks, under stable names."""
    return {
        "last_check": entry.tested or None,
        "answered": entry.answered,
        "up_hours": entry.up_hours(wall),
        "places": [
            {"address": str(place.address), "answered": place.answered, "why": place.why}
            for place in entry.places
        ],
    }


NO_CHECKS: Final = MappingProxyType(dict.fromkeys(("last_check", "answered", "up_hours", "places")))
"""The same for a relay of which nothing is known any more."""


def up_words(hours: int | None) -> str:
    """For how long a relay has answered, for people."""
    if hours is None:
        return ""
    if hours < 2:
        return "1 hour" if hours else "less than an hour"
    return f"{hours} hours" if hours < 48 else f"{hours // 24} days"


def by_name(nickname: str) -> tuple[tuple[str | int, ...], str]:
    """For sorting as people do: no matter the case, and relay2 before relay10."""
    parts = re.split("([0-9]+)", nickname.lower())
    return tuple(int(part) if number % 2 else part for number, part in enumerate(parts)), nickname


def follows(descriptor: RelayDescriptor, known: RelayDescriptor, wall: int) -> bool:
    """Whether it is later than the known descriptor, or the known one is from the future. A signing key that
    ends later counts for more than any date."""
    lead = certificates.lead(descriptor, known)
    if lead:
        return lead > 0
    return descriptor.published > known.published or known.published > wall + CLOCK_SECONDS


def but_for_addresses(one: RelayDescriptor, other: RelayDescriptor) -> bool:
    """Whether both are of one descriptor, perhaps with some of its addresses alone."""
    return replace(one, addresses=other.addresses) == other


def _brought_back(descriptor: RelayDescriptor, wall: int) -> RelayDescriptor:
    if descriptor.published <= wall + CLOCK_SECONDS:
        return descriptor
    return replace(descriptor, published=wall)
