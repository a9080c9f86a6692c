"""What every part of one node shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

import trio

from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.pool import Pool
from onionshh.client.reach.descriptor_cache import DescriptorCache
from onionshh.core.base.buckets import TokenBucket
from onionshh.core.base.chance import Chance
from onionshh.core.base.drops import Drops
from onionshh.core.base.params import Params
from onionshh.core.endpoint.introduce import EndToEndKeys
from onionshh.core.mailbox.places import Rings
from onionshh.core.paths.view import View
from onionshh.crypto.primitives import KeyPair
from onionshh.errors import Closed
from onionshh.net.builder import CircuitBuilder
from onionshh.net.circuits import Circuit, CircuitSet
from onionshh.net.clocks import Clock
from onionshh.net.consensus_keeper import ConsensusKeeper
from onionshh.net.guard_file import GuardFile
from onionshh.net.store import Folder, RunBlocking


class PeriodKeyPair(Protocol):
    """The keys of one period, as far as others need them."""

    @property
    def rendezvous(self) -> KeyPair: ...


class HoldsPeriodKeys(Protocol):
    """What is known here of a hosted endpoint's keys (`client/hosting/key_store.py`)."""

    def keys_of(self, period: int) -> PeriodKeyPair | None: ...


class HoldsSessions(Protocol):
    """What is known here of an endpoint's sessions (`client/session/keeper.py`)."""

    def __len__(self) -> int: ...

    def displace(self) -> None: ...


SESSIONS_MOST: Final = 8192
"""Sessions of all endpoints of a node."""
WAYS_MOST: Final = 16
"""Ways back of all contacts of a node."""
LETTERS_A_MINUTE: Final = 6
"""Letters that the endpoints of a node leave for their peers. Each takes work, and strangers cause it."""
WATCHES_MOST: Final = 16
"""Boards that a node watches, over six circuits each."""
MAILBOX_TURNS: Final = 8
"""Relays that a node asks about mailboxes at a time, over one circuit each."""


@dataclass(eq=False, slots=True)
class Shared:
    """What the endpoints and the contacts of a node share, and may have together."""

    sessions: list[HoldsSessions] = field(default_factory=list)
    """By endpoint."""
    ways: int = 0
    """Ways back that are taken."""
    watches: int = 0
    """Boards that are watched."""
    proving: trio.Lock = field(default_factory=trio.Lock)
    """Held during each piece of work for a proof for a mailbox: one at a time."""
    letters: TokenBucket = field(default_factory=lambda: TokenBucket(LETTERS_A_MINUTE / 60, LETTERS_A_MINUTE))
    letter_lock: trio.Lock = field(default_factory=trio.Lock)
    rings: Rings = field(default_factory=Rings)
    """Where mailboxes lie, by the consensus in hand."""
    mailbox_turns: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(MAILBOX_TURNS))
    """Held while a relay is asked about a mailbox."""

    async def letter_turn(self, clock: Clock) -> None:
        """Wait until an endpoint may leave one more letter for a peer."""
        async with self.letter_lock:
            await trio.sleep(self.letters.seconds_until(clock.monotonic()))
            self.letters.take(clock.monotonic())

    def make_room(self) -> None:
        """If there are too many sessions, one of the endpoint with most of them must go."""
        while sum(map(len, self.sessions)) > SESSIONS_MOST:
            max(self.sessions, key=len).displace()

    def take_watch(self) -> None:
        """One more board is watched. ValueError if there are too many."""
        if self.watches >= WATCHES_MOST:
            raise ValueError(f"A node watches at most {WATCHES_MOST} boards at a time.")
        self.watches += 1

    def take_ways(self, count: int) -> None:
        """Take so many ways back. ValueError if there are not so many left."""
        if self.ways + count > WAYS_MOST:
            raise ValueError(
                f"A node has at most {WAYS_MOST} ways back, {count} for each contact that has any, and"
                " they are all taken."
            )
        self.ways += count


@dataclass(frozen=True, slots=True)
class Context:
    """Made once by the node; parts take what they need from it."""

    folder: Folder
    keeper: ConsensusKeeper
    guard_file: GuardFile
    builder: CircuitBuilder
    circuits: CircuitSet
    pool: Pool
    clock: Clock
    chance: Chance
    drops: Drops
    run_blocking: RunBlocking
    run_long: RunBlocking
    """The same, for work that takes many milliseconds: never on the event loop, except in virtual time."""
    nursery: trio.Nursery
    descriptors: DescriptorCache = field(default_factory=DescriptorCache)
    hosted: dict[bytes, HoldsPeriodKeys] = field(default_factory=dict)
    """The endpoints that this node hosts now, by their address keys."""
    shared: Shared = field(default_factory=Shared)
    closed: trio.Event = field(default_factory=trio.Event)
    """Set when the node is closed."""

    def check_open(self) -> None:
        """Raises Closed once the node is closed."""
        if self.closed.is_set():
            raise Closed("This node is closed.")

    def joined(self, circuit: Circuit, keys: EndToEndKeys, *, as_visitor: bool) -> JoinedCircuit:
        """Records over a circuit that was just joined."""
        return JoinedCircuit(circuit, keys, as_visitor=as_visitor, clock=self.clock, drops=self.drops)

    @property
    def view(self) -> View:
        """The consensus that this node has. NoDirectory when none is valid."""
        return self.keeper.require()

    @property
    def params(self) -> Params:
        """The parameters in force, also while no consensus is valid and a newer one is awaited."""
        view = self.keeper.view
        return view.params if view is not None else self.view.params
