"""Which relays came and which left from one consensus to the next, and why, in a line each (SPEC 8). Pure.

The lines are for the directory's operator. They name a relay by its nickname and the first digits of its id,
and no address. When many change at once, one line counts them: the cause is then one for all.
"""

from __future__ import annotations

from collections.abc import Callable

from onionshh.directory.entry import Entry, Status, by_name, explained
from onionshh.wire.consensus import Consensus, RelayRow

NAMED_MOST = 8
"""Up to so many changes at once are named."""
_DIGITS = 8

Known = Callable[[bytes], tuple[Entry | None, Status]]
"""What is known of a relay, and where it stands."""


def changes(before: Consensus, after: Consensus, known: Known) -> tuple[str, ...]:
    """What to say of a new consensus: nothing if it has the same relays as the one before."""
    old = {row.identity: row for row in before.relays}
    new = {row.identity: row for row in after.relays}
    came = _sorted([row for identity, row in new.items() if identity not in old])
    left = _sorted([row for identity, row in old.items() if identity not in new])
    if len(came) + len(left) > NAMED_MOST:
        return (f"{_counted(len(came))} came and {len(left)} left",)
    return (
        *(f"{_named(row)} {_how_it_came(row, before)}" for row in came),
        *(f"{_named(row)} left: {_why_it_left(row, known)}" for row in left),
    )


def _sorted(rows: list[RelayRow]) -> list[RelayRow]:
    return sorted(rows, key=lambda row: (by_name(row.nickname), row.identity))


def _counted(count: int) -> str:
    return "1 relay" if count == 1 else f"{count} relays"


def _named(row: RelayRow) -> str:
    return f"{row.nickname} ({row.identity.hex()[:_DIGITS]})"


def _how_it_came(row: RelayRow, before: Consensus) -> str:
    if row.first_seen >= before.valid_after:
        return "came: it is new, and answered its check"
    return "came back: it answers again"


def _why_it_left(row: RelayRow, known: Known) -> str:
    entry, status = known(row.identity)
    if entry is None:
        return "this directory does not know it any more"
    why = explained(entry, status).removesuffix(".")
    for address in {*entry.newest.addresses, *row.addresses}:
        why = why.replace(str(address), "its address")
    return f"{why[0].lower()}{why[1:]}"
