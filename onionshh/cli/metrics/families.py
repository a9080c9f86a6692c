"""Every metric that is exposed: its name, its kind, its help, and how coarse it is.

Numbers at a fixed address are something that others may get to read: another user of the machine, whoever
breaks into the operator's Prometheus, everyone if the address is public. Who can also send something through
a relay, or to an endpoint, could look for it in the numbers. Three things make that hard:

- No metric tells a user, an address, an id, an endpoint or a path. The only labels are names from the source.
- What others can move is shown as a multiple of a step (`rounding.py`). So one cell, circuit, visitor or
  whisper mostly changes nothing that is shown. The steps are below, each with its reason.
- All numbers are of one moment that comes every 30 s by the relay's own time (`serving.py`), however often
  somebody asks.

A sum over many is what an operator needs. The exact numbers stay on the machine: SIGUSR1 shows them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

EXACT: Final = 0.0
"""A number that no stranger moves, that everyone knows anyway, or that tells nothing of anyone."""
CELLS: Final = 1024.0
"""Half a megabyte, as Tor rounds what it publishes: more than a conversation of whispers takes."""
FRAMES: Final = 256.0
"""Frames have several cells each when a relay is busy, and one when it is not."""
BYTES: Final = float(1024 * 1024)
"""Two steps of cells. A transfer may be 8 MiB, and shows; so it does to whoever watches the line."""
MEMORY: Final = float(64 * 1024)
"""128 cells that wait: one circuit that does not read is less than that for most of its life."""
CIRCUITS: Final = 8.0
"""A first contact makes three or four circuits, so that a single one of them rarely shows."""
PEOPLE: Final = 8.0
"""Links of clients, visitors, whispers, what waits for somebody. Tor rounds its descriptors to eight."""
DROPS: Final = 8.0
"""A stranger can cause any drop. Zero stays zero, so that a fault that never happened is seen as that."""
ITEMS: Final = 64.0
"""Letters and descriptors that a relay keeps: one visitor leaves up to four copies of a letter."""
SECONDS: Final = 60.0
"""The second of a start or of a fetch would let two numbers be matched."""

LAG_SECONDS: Final = 0.005
"""A handful of handshakes. What takes less is not worth a look."""


class Kind(enum.Enum):
    """What Prometheus does with it."""

    COUNTER = enum.auto()
    """Only grows, and begins anew with the process. Its samples are called `..._total`."""
    GAUGE = enum.auto()
    INFO = enum.auto()
    """Always 1; what it says is in its labels."""


class Step(enum.Enum):
    """Which of the two multiples around a value is shown."""

    UP = enum.auto()
    """The upper one: what is there at all is never shown as nothing."""
    DOWN = enum.auto()
    """The lower one, as ages are told."""
    DRAWN = enum.auto()
    """Either, and the place where it changes is drawn: somebody may count this up himself (`rounding.py`)."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `label`: the name of its only label, "" for none. `step`: a multiple of this is shown, and
    `shown` says which."""

    name: str
    kind: Kind
    help: str
    step: float = EXACT
    label: str = ""
    shown: Step = Step.UP

    @property
    def exposed(self) -> str:
        """The name of its samples, as a query has it."""
        return self.name + {Kind.COUNTER: "_total", Kind.GAUGE: "", Kind.INFO: "_info"}[self.kind]


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a family. `labels`: none, one for a family with a label, more for an INFO."""

    family: Family
    value: float
    labels: Mapping[str, str]


def one(family: Family, value: float) -> Sample:
    """The only value of a family without a label."""
    return Sample(family, value, {})


def each(family: Family, values: Mapping[str, int]) -> Iterable[Sample]:
    """A value for each name that the label can have."""
    return [Sample(family, value, {family.label: name}) for name, value in values.items()]


def _counter(name: str, help: str, step: float = EXACT, label: str = "") -> Family:
    return Family(f"onionshh_{name}", Kind.COUNTER, help, step, label, Step.DRAWN)


def _gauge(name: str, help: str, step: float = EXACT, label: str = "", shown: Step = Step.UP) -> Family:
    return Family(f"onionshh_{name}", Kind.GAUGE, help, step, label, shown)


def _age(name: str, help: str) -> Family:
    return _gauge(name, help, SECONDS, shown=Step.DOWN)


# Of every program.

BUILD: Final = Family("onionshh_build", Kind.INFO, "The program, its version and the cipher that it uses.")
UPTIME: Final = _age("uptime_seconds", "For how long this process has run.")
LAG: Final = _gauge(
    "event_loop_lag_seconds", "The longest delay of a due task, over the last 30 s.", LAG_SECONDS
)
HEALTHY: Final = _gauge("healthy", "1 if /health answers 200, else 0.")
CONSENSUS_AGE: Final = _age(
    "consensus_age_seconds", "Since the consensus in hand became valid; absent before the first."
)
DROP: Final = _counter(
    "drops", "What was dropped, refused or ended, by the name of the reason.", DROPS, "reason"
)

# Of a relay.

CIRCUIT: Final = _gauge("circuits", "Circuits, by their state.", CIRCUITS, "state")
CELL_SENT: Final = _counter("cells_sent", "Cells that have left, padding included.", CELLS)
CELL_FORWARDED: Final = _counter("cells_forwarded", "Cells that were passed on along a circuit.", CELLS)
FRAME_SENT: Final = _counter("frames_sent", "Frames that have left; each has at least one cell.", FRAMES)
BYTE_SENT: Final = _counter("sent_bytes", "Bytes that have left over links.", BYTES)
BYTE_RECEIVED: Final = _counter("received_bytes", "Bytes that have come over links.", BYTES)
BYTE_UNSENT: Final = _gauge("unsent_bytes", "Sealed bytes that the kernel has not taken yet.", MEMORY)
LINK: Final = _gauge("links", "Links to relays, to others, and those that are not open yet.", PEOPLE, "kind")
DIALS: Final = _gauge("dials", "Relays that are being dialled.", PEOPLE)
ADDRESSES: Final = _gauge("link_addresses", "Addresses from which others opened links.", PEOPLE)
HANDSHAKE: Final = _counter(
    "handshakes", "New circuits that were asked for, by the answer.", CIRCUITS, "answer"
)
HANDSHAKE_WAITING: Final = _gauge("handshakes_waiting", "New circuits that wait for their answer.", CIRCUITS)
MEMORY_USED: Final = _gauge("memory_used_bytes", "What queues and messages take of the quota.", MEMORY)
MEMORY_MOST: Final = _gauge("memory_quota_bytes", "The quota of queues and messages.")
MONTH_USED: Final = _gauge(
    "month_used_bytes", "What --monthly has counted in this month.", BYTES, shown=Step.DRAWN
)
MONTH_MOST: Final = _gauge("month_allowed_bytes", "What --monthly allows in a month; 0 for no limit.")
MONTH_ENDS: Final = _gauge("month_ends_seconds", "When the month ends, Unix time; 0 for no limit.")
HIBERNATING: Final = _gauge("hibernating", "1 while the bytes for the month are used up, else 0.")
MAILBOX_USED: Final = _gauge("mailbox_used_bytes", "What lies in mailboxes.", BYTES)
MAILBOX_ROOM: Final = _gauge("mailbox_room_bytes", "The room that mailboxes have; 0 for no limit.")
MAILBOX_ITEMS: Final = _gauge("mailbox_items", "Items that lie in mailboxes.", ITEMS)
MAILBOXES: Final = _gauge("mailboxes", "Mailboxes with an item in them.", ITEMS)
MAILBOX_READERS: Final = _gauge("mailbox_readers_waiting", "Readers that wait for an item.", PEOPLE)
MAILBOX_PRICE: Final = _gauge(
    "mailbox_price_tries", "What an hour in an empty inbox costs, in tries of work."
)
INTRODUCTION_KEYS: Final = _gauge("introduction_keys", "Introducers that endpoints have here.", PEOPLE)
INTRODUCTIONS_WAITING: Final = _gauge(
    "introductions_waiting", "Introductions with a proof of work that wait for their turn.", PEOPLE
)
COOKIES: Final = _gauge("cookies", "Visitors that wait here for an endpoint.", PEOPLE)
DESCRIPTORS: Final = _gauge("descriptors", "Descriptors of endpoints that are kept here.", ITEMS)
SIGNING_LEFT: Final = _age(
    "signing_key_seconds_left",
    "Until the relay's signing key ends, negative after that; absent with an identity at hand.",
)

# Of a directory. Which relays there are is public, and so is when a consensus comes.

RELAYS: Final = _gauge(
    "directory_relays", "Relays that the directory knows, by whether it lists them.", label="state"
)
ANSWERS: Final = _counter("directory_answers", "HTTP answers, by their status.", PEOPLE, "status")
CLOCK_DOUBTED: Final = _gauge(
    "directory_clock_doubted", "1 if most relays say that its clock is wrong, else 0."
)

# Of a host: its node and its endpoint.

ONLINE: Final = _gauge("host_online", "1 if a guard answers, else 0.")
GUARDS_UP: Final = _gauge("guards_up", "Guards with an open link.")
RELAYS_SEEN: Final = _gauge("consensus_relays", "Relays that the consensus in hand lists.")
HOST_CIRCUITS: Final = _gauge("host_circuits", "Circuits of this node, of all kinds.", CIRCUITS)
REACHABLE: Final = _gauge("endpoint_reachable", "1 if strangers reach the endpoint, else 0.")
INTRODUCERS: Final = _gauge("endpoint_introducers", "Introducers that stand ready.")
EFFORT: Final = _gauge(
    "endpoint_effort_tries", "What strangers must work to be let in, in tries; 0 for nothing."
)
VISITORS: Final = _gauge("endpoint_visitors", "Circuits of visitors that are joined.", PEOPLE)
WHISPERS: Final = _counter(
    "endpoint_whispers", "Whispers that the program was given or finished.", PEOPLE, "step"
)
INBOX: Final = _gauge(
    "endpoint_inbox_whispers", "Whispers that are not finished, by what they wait for.", PEOPLE, "state"
)
INBOX_CROWDED: Final = _gauge(
    "endpoint_inbox_crowded", "1 if the inbox at the relays was half full lately, else 0."
)
REPLIES_WAITING: Final = _gauge("endpoint_replies_waiting", "Replies that wait for their visitors.", PEOPLE)
TRANSFERS: Final = _gauge("endpoint_transfers", "Transfers that are not finished.", PEOPLE)
