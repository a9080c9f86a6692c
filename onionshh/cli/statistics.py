"""All numbers come out here: each owner answers with a frozen record, and only this module formats it.

A running command writes them as one line of JSON on stdout when SIGUSR1 asks for it. A relay also writes a
sentence once an hour. The counts are exact and stay on this machine: none of them is sent anywhere. No record
has an address, id or path, and none may have: values are numbers, and texts are names from the source.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from onionshh.relay.serve import RelayStatistics

_MIB = 1024 * 1024

VERSION = 1
"""Version of the JSON. A new field keeps the version; a changed or removed field makes a new version."""


@dataclass(frozen=True, slots=True)
class HostStatistics:
    """What `host` did so far, and how its node and endpoint stand now. The defaults: it has not joined."""

    joined: bool = False
    online: bool = False
    guards_up: int = 0
    relays: int = 0
    consensus_age_seconds: int | None = None
    circuits: int = 0
    reachable: bool = False
    seconds: float | None = None
    """Seconds since reachability was last gained or lost."""
    introducers: int = 0
    visitors: int = 0
    taken: int = 0
    """Whispers shown or given to the program so far."""
    finished: int = 0
    unfinished: int = 0
    kept: int = 0
    """How many of the unfinished are tried again."""
    given_up: int = 0
    replies_waiting: int = 0
    transfers: int = 0
    effort: int = 0
    """How much work strangers must prove before they are let in, in tries."""
    inbox_crowded: bool = False
    """Whether its inbox at the relays was found half full within a day."""
    drops: Mapping[str, int] = field(default_factory=dict)


class Statistics:
    """Formats the numbers of one running command, `kind`."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._began = time.monotonic()

    def line(self, record: DataclassInstance, **more: str) -> str:
        """A record as one line of JSON with sorted keys. It also has the kind, the version, how long this
        process has run, and what the command adds."""
        up = round(time.monotonic() - self._began, 1)
        envelope = {"kind": self._kind, "version": VERSION, "up_seconds": up, **more}
        return json.dumps(asdict(record) | envelope, sort_keys=True)


def in_words(record: RelayStatistics) -> str:
    """A relay's numbers in one line."""
    links = record.links
    drops = ", ".join(f"{name} {count}" for name, count in record.drops.items())
    return (
        f"{record.circuits} circuits, {links.relays + links.clients} links,"
        f" {links.cells_sent} cells sent in {links.frames_sent} frames,"
        f" {record.cells_forwarded} of them forwarded;"
        f"{_mailboxes(record.roles)}"
        f" drops: {drops or 'none'}"
    )


def _mailboxes(counts: Mapping[str, int]) -> str:
    """What lies in a relay's mailboxes, the room there is, and what an hour in an empty inbox costs."""
    if "mailbox_items" not in counts:
        return ""
    room = counts["mailbox_room_bytes"]
    used = f"{counts['mailbox_bytes'] / _MIB:.1f} of {room / _MIB:.0f} MiB" if room else "no limit"
    return (
        f" {counts['mailbox_items']} items in {counts['mailboxes']} mailboxes, {used},"
        f" an hour costs {counts['mailbox_price']} tries;"
    )
