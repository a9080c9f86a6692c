"""How a node is put together from its parts, and which tasks run as long as it does.

Everything a node rests on is an argument: folder, directory, dialer, clock and chance. `join` gives the real
ones, `onionshh.testing` a network in memory.

The keeper of the consensus and the builder of circuits need each other: circuits are drawn from the
consensus, and a newer consensus comes over a circuit. So the keeper gets a function that looks the builder
up only when it is called. Both exist by then.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from onionshh.client.context import Context
from onionshh.client.pool import STUBS, Pool
from onionshh.config import NetworkFile
from onionshh.core.base.chance import Chance
from onionshh.core.base.classes import INTRODUCTION_HOPS
from onionshh.core.base.drops import Drops
from onionshh.core.base.params import Params
from onionshh.core.base.patience import CONSENSUS_SECONDS
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.link.outbox import Memory
from onionshh.core.paths.view import View
from onionshh.errors import ClockWrong, NoDirectory
from onionshh.ids import RandomBytes, RelayId
from onionshh.net.authority_client import DirectorySource
from onionshh.net.background import background
from onionshh.net.builder import CircuitBuilder
from onionshh.net.circuits import CircuitSet
from onionshh.net.clocks import Clock
from onionshh.net.consensus_keeper import ConsensusKeeper, NotThisNetwork
from onionshh.net.freed_memory import GivingBack
from onionshh.net.guard_file import GuardFile, NoGuardAnswers
from onionshh.net.links import LinkSet
from onionshh.net.store import Folder, RunBlocking, RunWhereQuick, run_in_thread
from onionshh.net.transport import Dialer
from onionshh.reasons import Reason
from onionshh.wire import messages as m

MEMORY_BYTES = 256 * 1024 * 1024
PAUSE_SECONDS = 0.5
PAUSE_MOST_SECONDS = 30.0


@asynccontextmanager
async def assembled(
    network: NetworkFile,
    *,
    folder: Folder,
    source: DirectorySource,
    dialer: Dialer,
    clock: Clock,
    wait_seconds: float = 0.0,
    random_bytes: RandomBytes = os.urandom,
    run_blocking: RunBlocking | None = None,
    own_relays: frozenset[RelayId] = frozenset(),
    introduction_hops: int = INTRODUCTION_HOPS,
) -> AsyncIterator[Context]:
    """The parts of one node, running until the block ends. Arguments and errors as those of `join`."""
    chance, drops = Chance(random_bytes), Drops()
    keeper = ConsensusKeeper(
        network=network,
        source=source,
        clock=clock,
        chance=chance,
        folder=folder,
        over_circuit=lambda valid_after: _newer_consensus(builder, guard_file, valid_after),
    )
    links, circuits = _links_and_circuits(lambda: _params(keeper), dialer, clock, chance, drops)
    guard_file = GuardFile(folder, chance, own_relays, over_tor=dialer.reaches_onions)
    builder = CircuitBuilder(
        links=links,
        circuits=circuits,
        guard_file=guard_file,
        clock=clock,
        chance=chance,
        view=keeper.require,
        own_relays=own_relays,
        introduction_hops=introduction_hops,
    )
    guard_file.update(await _first_view(keeper, wait_seconds))
    pool = Pool(builder)
    pool.use(builder.kind(Purpose.CONSENSUS), stubs=STUBS)  # until the node is closed
    async with links.running(), background() as nursery:
        context = Context(
            folder=folder,
            keeper=keeper,
            guard_file=guard_file,
            builder=builder,
            circuits=circuits,
            pool=pool,
            clock=clock,
            chance=chance,
            drops=drops,
            run_blocking=run_blocking or RunWhereQuick(),
            run_long=run_blocking or run_in_thread,
            nursery=nursery,
        )
        _start(context)
        try:
            yield context
        finally:
            context.closed.set()


def _start(context: Context) -> None:
    """The tasks that live as long as the node."""
    nursery, keeper, guard_file = context.nursery, context.keeper, context.guard_file
    nursery.start_soon(keeper.keep)
    nursery.start_soon(context.builder.watch_guards)
    nursery.start_soon(guard_file.watch, keeper.fetch_soon)
    nursery.start_soon(context.pool.run)
    nursery.start_soon(_follow_consensus, keeper, guard_file)


def _links_and_circuits(
    params: Callable[[], Params], dialer: Dialer, clock: Clock, chance: Chance, drops: Drops
) -> tuple[LinkSet, CircuitSet]:
    """Circuits take what comes over links, and flush the links when they have cells to send."""
    memory = Memory(MEMORY_BYTES)
    circuits = CircuitSet(clock=clock, params=params, memory=memory, drops=drops, random_bytes=chance.bytes)
    links = LinkSet(
        dialer=dialer,
        clock=clock,
        sink=circuits,
        params=params,
        chance=chance,
        memory=memory,
        drops=drops,
        on_tick=GivingBack().tick,
    )
    circuits.flush = links.flush
    return links, circuits


def _params(keeper: ConsensusKeeper) -> Params:
    return _DEFAULTS if keeper.view is None else keeper.view.params


async def _newer_consensus(builder: CircuitBuilder, guard_file: GuardFile, valid_after: int) -> bytes:
    """A consensus later than `valid_after`, asked of a relay over a circuit. NoGuardAnswers once offline."""
    with trio.CancelScope() as asking:
        async with background() as beside:
            beside.start_soon(guard_file.end_when_offline, asking)
            circuit = await builder.build(Purpose.CONSENSUS)
            try:
                question = m.encode_fetch_consensus(valid_after)
                return await circuit.ask(m.FETCH_CONSENSUS, question, m.CONSENSUS, CONSENSUS_SECONDS)
            finally:
                circuit.close(Reason.FINISHED)
    raise NoGuardAnswers("no guard answers")


async def _follow_consensus(keeper: ConsensusKeeper, guard_file: GuardFile) -> None:
    while True:
        await keeper.changed()
        guard_file.update(keeper.require())


async def _first_view(keeper: ConsensusKeeper, wait_seconds: float) -> View:
    """The first consensus, tried again for `wait_seconds`. Errors as in `ConsensusKeeper.first`."""
    end, pause = trio.current_time() + wait_seconds, PAUSE_SECONDS
    while True:
        try:
            return await keeper.first()
        except NotThisNetwork:
            raise  # waiting does not repair a file
        except (NoDirectory, ClockWrong):
            if trio.current_time() + pause > end:
                raise
        await trio.sleep(pause)
        pause = min(1.5 * pause, PAUSE_MOST_SECONDS)


_DEFAULTS = Params()
