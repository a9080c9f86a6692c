"""Where a node's consensus comes from, and the task that keeps it fresh (SPEC 8).

A node's first start asks a directory over HTTP; later a client fetches from any relay over a circuit, at a
random moment, so the directory does not see who is online. Relays, which are public anyway, ask HTTP, and
early, so that they know a relay before clients extend to it.

Whose clock is wrong is not taken for granted. When the next consensus is due is counted from when the one
in hand came; whether that one is over is judged by what it confirmed itself (net/clocks.py). One that our
clock says is of the future binds us to nothing: it came while our clock and the directory's were ahead.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import trio

from onionshh.advice import in_words
from onionshh.config import NetworkFile
from onionshh.core.base.chance import Chance
from onionshh.core.base.classes import PATH_RELAYS_MOST
from onionshh.core.paths.path import PathImpossible
from onionshh.core.paths.view import View
from onionshh.core.trust import (
    ConsensusOutOfTime,
    is_begun,
    open_consensus_untrusted,
    read_consensus_untrusted,
)
from onionshh.errors import ClockWrong, NetworkUnreachable, NoDirectory, ProtocolError
from onionshh.net.authority_client import DirectorySource, DirectoryUnreachable
from onionshh.net.circuits import CircuitFailed
from onionshh.net.clock_witnesses import ClockWitness, out_of_time
from onionshh.net.clocks import JUMP_SECONDS, Clock
from onionshh.net.conditions import Condition
from onionshh.net.guard_file import NoGuardAnswers
from onionshh.net.signals import Broadcast
from onionshh.net.store import Folder, run_in_thread
from onionshh.wire.consensus import Consensus

logger = logging.getLogger("onionshh.net")

RETRY_MIN_SECONDS = 1.0
RETRY_MAX_SECONDS = 60.0
AGAIN_PART = 6
NAP_SECONDS = 60.0
INLINE_BYTES = 64 * 1024
"""A consensus of up to some three hundred relays is checked where it arrives: a few milliseconds."""
CONSENSUS_FILE = "consensus"
PREVIOUS_FILE = "consensus-previous"


class NotThisNetwork(NoDirectory):
    """A directory answers, and what it says is not of the network that the network file describes."""


class ConsensusKeeper:
    """The consensus in hand and the one before it, on disk and kept fresh.

    `over_circuit(valid_after)` fetches over a circuit, NoGuardAnswers when none can be had; None to ask HTTP
    always (a relay).
    """

    def __init__(
        self,
        *,
        network: NetworkFile,
        source: DirectorySource,
        clock: Clock,
        chance: Chance,
        folder: Folder,
        over_circuit: Callable[[int], Awaitable[bytes]] | None,
    ) -> None:
        self._network = network
        self._source = source
        self._clock = clock
        self._chance = chance
        self._folder = folder
        self._over_circuit = over_circuit
        self._changed = Broadcast()
        self._wanted = Broadcast()
        self._view: View | None = None
        self._came = (0.0, 0)
        """When it came: monotonic seconds, and what the wall clock showed."""
        self._wait = 0.0
        """How many seconds after that the next one is to be fetched."""
        self._http_not_before = 0.0
        self._out_of_time = Condition(logger.warning)
        self._not_kept = Condition(logger.warning)
        self.document = b""
        """The consensus in hand as it came, for those who ask us for it."""

    @property
    def view(self) -> View | None:
        """The consensus in hand, None before the first; perhaps expired, see `current`."""
        return self._view

    @property
    def current(self) -> View | None:
        """The consensus in hand if it is still valid, by what it confirmed: a clock that jumps ends none."""
        view = self._view
        return view if view and self._clock.earliest() < view.consensus.valid_until else None

    @property
    def out_of_time(self) -> str:
        """Why the next consensus cannot be taken, if clocks are why; empty when all is well."""
        return self._out_of_time.now

    def require(self) -> View:
        """The consensus in hand. NoDirectory when there is none that is still valid."""
        view = self.current
        if view is None:
            raise NoDirectory("The network's consensus has expired and no newer one could be had.")
        return view

    async def changed(self) -> None:
        """Until the next new consensus."""
        await self._changed.wait()

    def load(self) -> None:
        """Take up what is on disk: what was accepted once and is still valid. Nothing is known yet but what
        this machine's clock says; what is of its future came while it was ahead, and does not count."""
        previous = self._read(PREVIOUS_FILE)
        data = self._read(CONSENSUS_FILE)
        wall = self._clock.wall()
        if data is not None and is_begun(data[1], wall) and wall < data[1].valid_until:
            self._take(data[0], data[1], previous[1] if previous else None, from_disk=True)

    async def first(self) -> View:
        """A valid consensus, from disk or else from the directories. NoDirectory, ClockWrong."""
        if self.current is None:
            self.load()
        held = self.current
        if held is not None and len(held.relays) >= PATH_RELAYS_MOST:
            return held
        # None, or one of a network that was just starting, of which no circuit could be made to ask.
        try:
            await self._fetch_http()
        except (NoDirectory, ClockWrong):
            if held is None:
                raise
        view = self.current
        if view is None:
            raise NoDirectory("No valid consensus could be had.")
        return view

    async def keep(self) -> None:
        """Fetch the next one when its time has come, for ever."""
        retry = RETRY_MIN_SECONDS
        while True:
            await self._until_due()
            held = self._view
            # Whatever stands in the way, the one in hand serves as long as it is valid.
            with suppress(NoDirectory, NetworkUnreachable, CircuitFailed, ProtocolError):
                try:
                    await self._fetch()
                except ClockWrong as error:
                    self._out_of_time.holds(str(error))
            if self._view is not held:
                self._out_of_time.over("The network's consensus and this machine's clock agree again.")
                retry = RETRY_MIN_SECONDS
            else:
                await trio.sleep(retry * self._chance.between(0.5, 1.0))
                retry = min(2 * retry, self._again_seconds())

    # Inside.

    def _interval(self) -> float:
        return float(self._view.params.interval_seconds) if self._view else RETRY_MAX_SECONDS

    def _again_seconds(self) -> float:
        """How long between two tries at most: no list is made more often than once an interval."""
        return min(RETRY_MAX_SECONDS, max(1.0, self._interval() / AGAIN_PART))

    async def _until_due(self) -> None:
        """Until the next one is wanted or due: so many seconds after this one came, whatever the wall clock
        does meanwhile. If it went ahead, perhaps the machine was asleep: then those seconds count too."""
        while self._view is not None and self._counts(self._view.consensus):
            now, (came, came_wall) = self._clock.monotonic(), self._came
            asleep = (self._clock.wall() - came_wall) - (now - came)
            due = came + self._wait - (asleep if asleep > JUMP_SECONDS else 0.0)
            if now >= due:
                return
            with trio.move_on_at(min(due, now + NAP_SECONDS)):
                await self._wanted.wait()
                return

    def fetch_soon(self) -> None:
        """No guard answers where the one in hand says: the next is looked for now, whether due or not."""
        self._wanted.send()

    def _wait_after(self, consensus: Consensus, from_disk: bool) -> float:
        """How long after it came the next one is to be fetched: no longer than if it had just been made,
        however far our clock is behind. One that comes from the network and is overdue by an interval was
        made just now, too: it is our clock that is ahead, and asking each minute would not bring the next."""
        low, high = (0.02, 0.1) if self._over_circuit is None else (0.2, 0.9)
        interval = consensus.fresh_until - consensus.valid_after
        fresh = min(consensus.fresh_until - self._clock.steady(), interval)
        if fresh < -self._interval() and not from_disk:
            fresh = interval
        return max(0.0, fresh + self._interval() * self._chance.between(low, high))

    def _counts(self, consensus: Consensus) -> bool:
        """Whether it is more than something from the future. Either clock may vouch for it, so that a jump
        that does not last makes nothing of what we hold."""
        return is_begun(consensus, max(self._clock.wall(), self._clock.steady()))

    async def _fetch(self) -> None:
        if self._over_circuit is not None and self.current is not None:
            held = self.current.consensus
            try:
                document = await self._over_circuit(held.valid_after if self._counts(held) else 0)
            except (PathImpossible, NoGuardAnswers) as error:
                # A network that is just starting, of which no circuit can be made; or no guard answers where
                # the one in hand says: then a newer one may know another place (SPEC 8).
                now = self._clock.monotonic()
                if isinstance(error, NoGuardAnswers):
                    if now < self._http_not_before:
                        raise
                    self._http_not_before = now + self._again_seconds()
            else:
                if document:
                    await self._accept(document)
                return
        await self._fetch_http()

    async def _fetch_http(self) -> None:
        why = other = ""
        witnesses: list[ClockWitness] = []
        for authority in self._chance.shuffled(self._network.authorities):
            try:
                await self._accept(await self._source.consensus(authority))
                return
            except DirectoryUnreachable as error:
                why = why or f"{authority.url}: {error}"
            except ConsensusOutOfTime as error:
                witnesses.append(ClockWitness(authority.url, error, self._source.date(authority)))
            except ProtocolError as error:
                other = f"What the directory {authority.url} serves is not of this network ({error.reason});"
                other += " check its address, or ask whoever runs the network for its current network file."
        if witnesses:
            raise out_of_time(witnesses, self._clock.wall())
        if other and not why:
            raise NotThisNetwork(other)  # with some that did not answer, one must not have the last word
        raise NoDirectory(f"No directory answers ({why}); check that it runs and that you are online.")

    async def _accept(self, document: bytes) -> None:
        held = self._held()
        wall, steady = self._clock.wall(), self._clock.steady()
        check = partial(
            open_consensus_untrusted,
            document,
            network=self._network,
            wall=max(wall, steady),
            earliest=self._clock.earliest() if held is not None else min(wall, steady),
            held=held,
        )
        # A large one takes a tenth of a second. In a thread it yields to whoever forwards cells.
        consensus = await run_in_thread(check) if len(document) > INLINE_BYTES else check()
        held = self._held()
        if held is not None and consensus.valid_after <= held.valid_after:
            return
        try:
            if self.document:
                self._folder.write(PREVIOUS_FILE, self.document)
            self._folder.write(CONSENSUS_FILE, document)
        except OSError as error:
            self._not_kept.holds(f"a new consensus is used and could not be kept on disk: {in_words(error)}")
        else:
            self._not_kept.over("consensuses are kept on disk again")
        self._take(document, consensus, self._view.consensus if self._view else None)

    def _held(self) -> Consensus | None:
        """The consensus in hand, in so far as it binds us to take no older one."""
        held = self._view.consensus if self._view else None
        return held if held is not None and self._counts(held) else None

    def _take(
        self, document: bytes, consensus: Consensus, previous: Consensus | None, *, from_disk: bool = False
    ) -> None:
        self.document = document
        self._view = View(consensus, previous)
        self._clock.confirm(consensus.valid_after)
        self._came = (self._clock.monotonic(), self._clock.wall())
        self._wait = self._wait_after(consensus, from_disk)
        self._changed.send()

    def _read(self, name: str) -> tuple[bytes, Consensus] | None:
        data = self._folder.read(name)
        if data is None:
            return None
        try:
            return data, read_consensus_untrusted(data, self._network)
        except ProtocolError:
            return None  # of another network, or damaged: fetched anew
