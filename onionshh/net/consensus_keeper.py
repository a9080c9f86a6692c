"""Where a node's consensus comes from, and the task that keeps it fresh (SPEC 8).

At its first start, a node asks a directory over HTTP. Later a client fetches from any relay over a circuit at
a random moment, so the directory does not see who is online. Relays are public anyway. They ask over HTTP and
early, so that they know a relay before clients extend to it.

We do not assume that any clock is right. The time of the next fetch counts from the arrival of the present
consensus (net/fetch_schedule.py). The time that this consensus has confirmed decides when it expires
(net/clocks.py).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import trio

from onionshh.config import NetworkFile
from onionshh.core.base.chance import Chance
from onionshh.core.base.classes import PATH_RELAYS_MOST
from onionshh.core.base.words import utc
from onionshh.core.paths.path import PathImpossible
from onionshh.core.paths.view import View
from onionshh.core.trust import ConsensusOutOfTime, is_begun, open_consensus_untrusted
from onionshh.errors import ClockWrong, NetworkUnreachable, NoDirectory, ProtocolError
from onionshh.net.authority_client import DirectorySource, DirectoryUnreachable
from onionshh.net.circuits import CircuitFailed
from onionshh.net.clock_witnesses import ClockWitness, out_of_time
from onionshh.net.clocks import Clock
from onionshh.net.conditions import Condition
from onionshh.net.consensus_files import ConsensusFiles
from onionshh.net.fetch_schedule import FetchSchedule
from onionshh.net.guard_file import NoGuardAnswers
from onionshh.net.signals import Broadcast
from onionshh.net.store import Folder, run_in_thread
from onionshh.wire.consensus import Consensus

logger = logging.getLogger("onionshh.net")

RETRY_MIN_SECONDS = 1.0
INLINE_BYTES = 64 * 1024
"""Up to this size (about three hundred relays) the check takes a few milliseconds and needs no thread."""


class NotThisNetwork(NoDirectory):
    """A directory's answer is not for the network in the network file."""


class ConsensusKeeper:
    """Keeps the present consensus fresh, and on disk with the one before it.

    `over_circuit(valid_after)` fetches over a circuit and raises NoGuardAnswers if no guard answers. None
    means to use HTTP always (a relay).
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
        self._over_circuit = over_circuit
        self._files = ConsensusFiles(folder, network)
        self._schedule = FetchSchedule(clock, chance, early=over_circuit is None)
        self._changed = Broadcast()
        self._view: View | None = None
        self._out_of_time = Condition(logger.warning)
        self.document = b""
        """The present consensus as it was received, for nodes that ask us for it."""

    @property
    def view(self) -> View | None:
        """The present consensus, None before the first. It may have expired; see `current`."""
        return self._view

    @property
    def current(self) -> View | None:
        """The present consensus if it is still valid by `earliest`, so that a clock jump cannot end it."""
        view = self._view
        return view if view and self._clock.earliest() < view.consensus.valid_until else None

    @property
    def out_of_time(self) -> str:
        """Why clocks prevent us from accepting the next consensus; empty if they do not."""
        return self._out_of_time.now

    def require(self) -> View:
        """The present consensus. NoDirectory if none is valid."""
        view = self.current
        if view is None:
            raise NoDirectory("The network's consensus has expired and no newer one could be had.")
        return view

    async def changed(self) -> None:
        """Wait for the next new consensus."""
        await self._changed.wait()

    def load(self) -> None:
        """Use the consensus on disk if it is still valid. Only this machine's clock is known yet. A consensus
        from its future arrived while the clock was ahead, and is ignored."""
        kept = self._files.read()
        wall = self._clock.wall()
        if kept is not None and is_begun(kept.consensus, wall) and wall < kept.consensus.valid_until:
            self._take(kept.document, kept.consensus, kept.previous, from_disk=True)

    async def first(self) -> View:
        """A valid consensus, from disk or else from the directories. Raises NoDirectory or ClockWrong."""
        if self.current is None:
            self.load()
        held = self.current
        if held is not None and len(held.relays) >= PATH_RELAYS_MOST:
            return held
        # No consensus, or one with too few relays for a circuit, because the network was just starting.
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
        """Fetch the next consensus when it is due, until cancelled."""
        retry = RETRY_MIN_SECONDS
        while True:
            await self._schedule.until_due()
            held = self._view
            # If this fails for any reason, the present consensus serves as long as it is valid.
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
                retry = min(2 * retry, self._schedule.again_seconds)

    def fetch_soon(self) -> None:
        """No guard answers at the addresses in the present consensus: fetch the next one now."""
        self._schedule.soon()

    # Inside.

    async def _fetch(self) -> None:
        if self._over_circuit is not None and self.current is not None:
            held = self.current.consensus
            try:
                document = await self._over_circuit(held.valid_after if self._schedule.counts(held) else 0)
            except (PathImpossible, NoGuardAnswers) as error:
                # The network is just starting and has too few relays for a circuit. Or no guard answers at
                # its address, and a newer consensus may have another address (SPEC 8).
                if isinstance(error, NoGuardAnswers) and not self._schedule.directory_may_be_asked():
                    raise
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
            raise NotThisNetwork(other)  # only if all directories answered
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
        # A large one takes a tenth of a second. A thread lets the forwarding of cells continue.
        consensus = await run_in_thread(check) if len(document) > INLINE_BYTES else check()
        held = self._held()
        if held is not None and consensus.valid_after <= held.valid_after:
            return
        self._files.keep(document, self.document)
        self._take(document, consensus, self._view.consensus if self._view else None)

    def _held(self) -> Consensus | None:
        """The present consensus, if it counts: then we accept no older one."""
        held = self._view.consensus if self._view else None
        return held if held is not None and self._schedule.counts(held) else None

    def _take(
        self, document: bytes, consensus: Consensus, previous: Consensus | None, *, from_disk: bool = False
    ) -> None:
        self.document = document
        self._view = View(consensus, previous)
        self._clock.confirm(consensus.valid_after)
        self._schedule.came(consensus, self._view.params.interval_seconds, from_disk=from_disk)
        relays, since = len(consensus.relays), utc(consensus.valid_after)
        logger.debug("a consensus of %d relays, valid from %s", relays, since)
        self._changed.send()
