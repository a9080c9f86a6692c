"""A whole relay: keys, links, switch, roles, its consensus and its place in the directory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import trio

from onionshh.config import NetworkFile
from onionshh.core.base.chance import Chance
from onionshh.core.base.drops import Drops
from onionshh.core.base.params import Params
from onionshh.core.link.outbox import Memory, MemoryStatistics
from onionshh.core.paths.view import View
from onionshh.core.roles import Role
from onionshh.errors import ClockWrong
from onionshh.ids import RelayId
from onionshh.net.authority_client import DirectorySource
from onionshh.net.clocks import Clock
from onionshh.net.conditions import Condition
from onionshh.net.consensus_keeper import ConsensusKeeper
from onionshh.net.links import LinkSet
from onionshh.net.open_links import LinkStatistics
from onionshh.net.store import DataDirectory, Folder, RunBlocking, run_in_thread
from onionshh.net.throttle import Throttle
from onionshh.net.transport import Dialer, Listener, Reader
from onionshh.reasons import Reason
from onionshh.relay.accounting import Accounting, Monthly
from onionshh.relay.allowance import AllowanceStatistics, Stage
from onionshh.relay.driver import SwitchDriver
from onionshh.relay.forward import Switch
from onionshh.relay.keys import RelayKeys
from onionshh.relay.leaving import Leaving
from onionshh.relay.mirror import Mirror
from onionshh.relay.publish import About, Publisher
from onionshh.relay.renewal import Renewal
from onionshh.wire import messages as m
from onionshh.wire.consensus import Consensus, RelayRow
from onionshh.wire.descriptor import CAPABILITY_MAILBOXES, CAPABILITY_RING

logger = logging.getLogger("onionshh.relay")

MEMORY_BYTES = 256 * 1024 * 1024
KEY_CHECK_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Mounting:
    """What a role learns about the relay that it is mounted on."""

    relay_id: RelayId
    params: Callable[[], Params]
    view: Callable[[], View | None]
    wall: Callable[[], int]
    """This machine's clock, Unix seconds. It may be wrong; a role is also told the time that is confirmed."""
    folder: Folder
    """The relay's data folder, which a role may keep a file in."""


@dataclass(frozen=True, slots=True)
class RelayStatistics:
    """What a relay did so far and how it stands now: counts and names of drops, no address, no id."""

    circuits: int
    circuits_by_stage: Mapping[str, int]
    """The same by their stage (relay/state.py)."""
    cells_forwarded: int
    handshakes_waiting: int
    """CREATEs that wait for their answer."""
    handshakes_served: int
    """CREATEs that were answered with a circuit."""
    handshakes_refused: int
    """CREATEs that were refused."""
    listed: bool
    """Whether the consensus it has is valid and lists this relay."""
    consensus_age_seconds: int | None
    """Since the consensus it has became valid; None before the first one."""
    links: LinkStatistics
    memory: MemoryStatistics
    drops: Mapping[str, int]
    monthly: AllowanceStatistics
    """How much of its bytes for the month is used."""
    roles: Mapping[str, int]
    """What the mounted roles count, such as items in mailboxes, what room there is, and what it costs."""
    signing_key_seconds_left: int | None = None
    """Until its signing key is over, negative after that; None for a relay that has its identity at hand."""


class Relay:
    """One relay. `mount` makes the roles it serves; `say` gets one line for its operator now and then.
    `run_blocking` writes what its roles keep on disk."""

    def __init__(
        self,
        *,
        network: NetworkFile,
        source: DirectorySource,
        dialer: Dialer,
        listeners: Sequence[Listener],
        folder: DataDirectory,
        about: About,
        clock: Clock,
        chance: Chance,
        mount: Callable[[Mounting], Sequence[Role]],
        say: Callable[[str], None] = logger.info,
        reader: Reader | None = None,
        memory_bytes: int = MEMORY_BYTES,
        rate_bytes: int = 0,
        monthly: Monthly | None = None,
        run_blocking: RunBlocking = run_in_thread,
    ) -> None:
        self._clock = clock
        self.keys = RelayKeys(folder, chance.bytes)
        self.accounting = Accounting(monthly, folder, clock, chance, say)
        self.keeper = ConsensusKeeper(
            network=network, source=source, clock=clock, chance=chance, folder=folder, over_circuit=None
        )
        self.drops = Drops()
        self.memory = Memory(memory_bytes)
        mounting = Mounting(self.keys.relay_id, self.params, lambda: self.keeper.view, clock.best, folder)
        self.switch = self._make_switch((Mirror(self._held), *mount(mounting)), chance)
        self._driver = SwitchDriver(
            switch=self.switch, clock=clock, memory=self.memory, find=self._find, run_blocking=run_blocking
        )
        self.links = self._driver.links = LinkSet(
            dialer=dialer,
            clock=clock,
            sink=self.switch,
            params=self.params,
            chance=chance,
            memory=self.memory,
            drops=self.drops,
            identity=lambda: self.keys.signer,
            reader=reader,
            after_read=self._driver.after_read,
            on_tick=self._driver.tick,
            throttle=Throttle(rate_bytes) if rate_bytes else None,
        )
        self.leaving = Leaving(self.switch, self.links, listeners, clock)
        self.publisher = Publisher(
            about=replace(about, capabilities=self._capabilities()),
            keys=self.keys,
            network=network,
            source=source,
            keeper=self.keeper,
            clock=clock,
            chance=chance,
            say=say,
        )
        self._renewal = Renewal(self.keys, folder, say)

    def _capabilities(self) -> int:
        """What the mounted roles can do beyond what every relay can."""
        mailboxes = CAPABILITY_MAILBOXES if m.PUT in self.switch.control.creates.accepts else 0
        return CAPABILITY_RING | mailboxes

    def _make_switch(self, roles: Sequence[Role], chance: Chance) -> Switch:
        return Switch(
            identity=self.keys.relay_id,
            onion_keys=self.keys.onion_keys,
            knows=self._knows,
            params=self.params,
            roles=roles,
            memory=self.memory,
            drops=self.drops,
            random_bytes=chance.bytes,
            wall=self._clock.earliest,
        )

    def change(self, about: About, rate_bytes: int) -> None:
        """Say this of the relay from now on, in a descriptor that is published at once, and read at most so
        many bytes per second (0: no limit). Links and circuits stay."""
        self.links.limit(rate_bytes)
        about = replace(about, capabilities=self._capabilities())
        if about != self.publisher.about:
            self.publisher.about = about
            self.publisher.now.send()

    def params(self) -> Params:
        """The consensus parameters in force; the defaults before the first consensus."""
        view = self.keeper.view
        return view.params if view is not None else _DEFAULTS

    async def first(self) -> View:
        """Get the first consensus. NoDirectory; ClockWrong, which the directories are told about."""
        try:
            return await self.keeper.first()
        except ClockWrong:
            await self.publisher.testify()
            raise

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled. NoDirectory or ClockWrong when there is no first consensus."""
        await self.first()
        async with self.links.running(), trio.open_nursery() as nursery:
            nursery.start_soon(self.leaving.until_then, self._serve)
            nursery.start_soon(self._driver.run)
            nursery.start_soon(self.keeper.keep)
            nursery.start_soon(self.accounting.run, lambda: self.links.moved.both_ways, self)
            publish = partial(self.accounting.while_awake, self.publisher.run)
            nursery.start_soon(self.leaving.until_then, publish)
            nursery.start_soon(self._turn_keys)
            task_status.started()

    def set_stage(self, stage: Stage) -> None:
        """Take circuits or none, and have links or none, as its bytes for the month allow."""
        self.switch.control.creates.close_for(None if stage is Stage.AWAKE else Reason.HIBERNATING)
        if stage is Stage.ASLEEP:
            self.links.rest(Reason.HIBERNATING)
        else:
            self.links.resume()

    async def _serve(self) -> None:
        async with trio.open_nursery() as nursery:
            for listener in self.leaving.listeners:
                nursery.start_soon(self._serve_at, listener)

    async def _serve_at(self, listener: Listener) -> None:
        await self.links.serve(
            listener,
            identity=self.keys.relay_id,
            onion_keys=self.keys.onion_keys,
            is_relay=self._knows,
        )

    async def _turn_keys(self) -> None:
        """Make a new onion key when its time has come, take a new signing key when one was put there, and
        tell the directory at once."""
        noted: Consensus | None = None
        full = Condition(logger.error)
        while True:
            view, now = self.keeper.view, self._clock.monotonic()
            if view is not None and view.consensus is not noted:
                if noted is None and view.previous is not None:
                    self._note_key(view.previous, now)
                noted = view.consensus
                self._note_key(noted, now)
            self.keys.let_go(now)
            try:
                if self.keys.rotate(self._clock.earliest(), self.params().onion_key_seconds):
                    self.publisher.now.send()
                full.over("onion keys can be kept again")
            except OSError as error:
                full.holds(f"a new onion key could not be kept, the old one serves on: {error}")
            if self._renewal.look(self._clock.earliest(), self._clock.best()):
                self.publisher.now.send()
            with trio.move_on_after(KEY_CHECK_SECONDS):
                await self.keeper.changed()

    def _note_key(self, consensus: Consensus, now: float) -> None:
        row = next((row for row in consensus.relays if row.identity == self.keys.relay_id), None)
        if row is not None:
            self.keys.named(row.onion_key, now + consensus.valid_until - consensus.valid_after)

    def statistics(self) -> RelayStatistics:
        """The numbers of this moment."""
        view, creates = self.keeper.view, self.switch.control.creates
        age = None if view is None else max(0, self._clock.best() - view.consensus.valid_after)
        return RelayStatistics(
            circuits=len(self.switch.circuits),
            circuits_by_stage=self.switch.by_stage(),
            cells_forwarded=self.switch.cells_forwarded,
            handshakes_waiting=len(creates.waiting),
            handshakes_served=creates.served,
            handshakes_refused=creates.refused,
            listed=not self.why_not_well(),
            consensus_age_seconds=age,
            links=self.links.statistics(),
            memory=self.memory.statistics(),
            drops=self.drops.by_name(),
            monthly=self.accounting.statistics(),
            roles=self.switch.control.mounted.statistics(),
            signing_key_seconds_left=self._renewal.seconds_left(self._clock.best()),
        )

    def why_not_well(self) -> str:
        """Why others do not use this relay now, in a sentence without addresses; empty if they do."""
        view = self.keeper.current
        if self.leaving.begun:
            return "This relay leaves: it takes no new circuits, and ends once the old ones have."
        if why := self.accounting.why_not_well():
            return why
        if self.keeper.view is None:
            return "This relay has no consensus yet."
        if view is None and self.keeper.out_of_time:
            return "The consensus that this relay has is over, and its clock and the network's differ."
        if view is None:
            return "The consensus that this relay has is over, and no newer one could be had."
        left = self._renewal.seconds_left(self._clock.best())
        if view.relay(self.keys.relay_id) is None and left is not None and left <= 0:
            return "This relay's signing key is over, so no directory lists it."
        if view.relay(self.keys.relay_id) is None:
            return "The consensus does not list this relay; what it says on stdout has the reason."
        return ""

    def _find(self, identity: RelayId) -> RelayRow | None:
        view = self.keeper.view
        return view.any_relay(identity) if view is not None else None

    def _knows(self, identity: RelayId) -> bool:
        return self._find(identity) is not None

    def _held(self) -> tuple[int, bytes]:
        view = self.keeper.current
        return (view.consensus.valid_after, self.keeper.document) if view is not None else (0, b"")


_DEFAULTS = Params()
