"""What each program's record of statistics says in metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from onionshh import __version__
from onionshh.cli.metrics import families as f
from onionshh.cli.metrics.families import Sample, each, one
from onionshh.crypto.uiv import CIPHER

if TYPE_CHECKING:
    from onionshh.cli.statistics import HostStatistics
    from onionshh.directory.authority import DirectoryStatistics
    from onionshh.net.open_links import LinkStatistics
    from onionshh.relay.serve import RelayStatistics

_BY_ROLE = {
    "mailbox_bytes": f.MAILBOX_USED,
    "mailbox_room_bytes": f.MAILBOX_ROOM,
    "mailbox_items": f.MAILBOX_ITEMS,
    "mailboxes": f.MAILBOXES,
    "mailbox_readers_waiting": f.MAILBOX_READERS,
    "mailbox_price": f.MAILBOX_PRICE,
    "introduction_keys": f.INTRODUCTION_KEYS,
    "introductions_waiting": f.INTRODUCTIONS_WAITING,
    "cookies": f.COOKIES,
    "descriptors": f.DESCRIPTORS,
}
"""The metrics of what roles count, by its name in the record. Of the rest nothing is exposed."""


def of_process(kind: str, up_seconds: float, lag_seconds: float) -> Iterator[Sample]:
    """What every program has. `kind`: relay, directory or host."""
    yield Sample(f.BUILD, 1, {"kind": kind, "version": __version__, "cipher": CIPHER.name})
    yield one(f.UPTIME, up_seconds)
    yield one(f.LAG, lag_seconds)


def of_relay(record: RelayStatistics) -> Iterator[Sample]:
    """A relay's numbers."""
    yield one(f.HEALTHY, record.listed)
    yield from _consensus_age(record.consensus_age_seconds)
    yield from each(f.CIRCUIT, record.circuits_by_stage)
    yield one(f.CELL_FORWARDED, record.cells_forwarded)
    answers = {"served": record.handshakes_served, "refused": record.handshakes_refused}
    yield from each(f.HANDSHAKE, answers)
    yield one(f.HANDSHAKE_WAITING, record.handshakes_waiting)
    yield one(f.MEMORY_USED, record.memory.used_bytes)
    yield one(f.MEMORY_MOST, record.memory.most_bytes)
    yield from _links(record.links)
    yield from (one(family, record.roles[name]) for name, family in _BY_ROLE.items() if name in record.roles)
    if record.signing_key_seconds_left is not None:
        yield one(f.SIGNING_LEFT, record.signing_key_seconds_left)
    yield from each(f.DROP, record.drops)


def of_directory(record: DirectoryStatistics) -> Iterator[Sample]:
    """A directory's numbers."""
    yield one(f.HEALTHY, record.healthy)
    yield from _consensus_age(record.consensus_age_seconds)
    # What is listed may have left the registry a moment ago.
    unlisted = max(0, record.relays_known - record.relays_listed)
    yield from each(f.RELAYS, {"listed": record.relays_listed, "unlisted": unlisted})
    yield one(f.CLOCK_DOUBTED, record.clock_doubted)
    yield from each(f.ANSWERS, record.answers)


def of_host(record: HostStatistics) -> Iterator[Sample]:
    """A host's numbers."""
    yield from _consensus_age(record.consensus_age_seconds)
    yield one(f.ONLINE, record.online)
    yield one(f.GUARDS_UP, record.guards_up)
    yield one(f.RELAYS_SEEN, record.relays)
    yield one(f.HOST_CIRCUITS, record.circuits)
    yield one(f.REACHABLE, record.reachable)
    yield one(f.INTRODUCERS, record.introducers)
    yield one(f.EFFORT, record.effort)
    yield one(f.VISITORS, record.visitors)
    yield from each(f.WHISPERS, {"taken": record.taken, "finished": record.finished})
    kept = min(record.kept, record.unfinished)
    others = max(0, record.unfinished - kept - record.given_up)
    yield from each(f.INBOX, {"open": others, "kept": kept, "given_up": record.given_up})
    yield one(f.INBOX_CROWDED, record.inbox_crowded)
    yield one(f.REPLIES_WAITING, record.replies_waiting)
    yield one(f.TRANSFERS, record.transfers)
    yield from each(f.DROP, record.drops)


def _consensus_age(seconds: int | None) -> Iterable[Sample]:
    return () if seconds is None else (one(f.CONSENSUS_AGE, seconds),)


def _links(links: LinkStatistics) -> Iterator[Sample]:
    kinds: Mapping[str, int] = {"relay": links.relays, "client": links.clients, "opening": links.opening}
    yield from each(f.LINK, kinds)
    yield one(f.DIALS, links.dialling)
    yield one(f.ADDRESSES, links.addresses)
    yield one(f.CELL_SENT, links.cells_sent)
    yield one(f.FRAME_SENT, links.frames_sent)
    yield one(f.BYTE_SENT, links.bytes_sent)
    yield one(f.BYTE_RECEIVED, links.bytes_received)
    yield one(f.BYTE_UNSENT, links.unsent_bytes)
