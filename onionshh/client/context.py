"""What every part of one node shares."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from onionshh.client.kinds import Kinds
from onionshh.client.pool import Pool
from onionshh.core.chance import Chance
from onionshh.core.drops import Drops
from onionshh.core.params import Params
from onionshh.core.view import View
from onionshh.net.builder import CircuitBuilder
from onionshh.net.circuits import CircuitSet
from onionshh.net.clocks import Clock
from onionshh.net.directory import ConsensusKeeper
from onionshh.net.guarding import Guarding
from onionshh.net.store import DataDirectory, RunBlocking


@dataclass(frozen=True, slots=True)
class Context:
    """Made once by the node; parts take what they need from it."""

    folder: DataDirectory
    keeper: ConsensusKeeper
    guarding: Guarding
    builder: CircuitBuilder
    circuits: CircuitSet
    pool: Pool
    kinds: Kinds
    clock: Clock
    chance: Chance
    drops: Drops
    run_blocking: RunBlocking
    nursery: trio.Nursery

    @property
    def view(self) -> View:
        """The consensus in hand. NoDirectory when there is no valid one."""
        return self.keeper.require()

    @property
    def params(self) -> Params:
        """The parameters in force."""
        return self.view.params
