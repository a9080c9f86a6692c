"""Circuits built ahead: idle ones to random relays, and stubs that need one more relay (SPEC 6).

An idle circuit belongs to nobody. Its taker has it for good, so two identities never share a circuit.
A node keeps stubs from the start, through both its guards. So the links to the guards are open and padded
before the first contact, just as they are with one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from onionshh.core.circuit.purpose import PathKind, Purpose
from onionshh.core.paths.path import PathImpossible
from onionshh.errors import Error
from onionshh.net.builder import TRIES, CircuitBuilder
from onionshh.net.circuits import Circuit, CircuitFailed
from onionshh.net.signals import Poke
from onionshh.reasons import Reason
from onionshh.wire.consensus import RelayRow

IDLE_CIRCUITS = 3
STUBS = 2
MOST_AGE_SECONDS = 600.0
START_SECONDS = 1.0
CHECK_SECONDS = 5.0


@dataclass(slots=True)
class _Shelf:
    """The circuits kept ready of one kind. `wishes`: each user's (idle, stubs); the largest counts."""

    wishes: list[tuple[int, int]] = field(default_factory=list)
    idle: list[Circuit] = field(default_factory=list)
    stubs: list[Circuit] = field(default_factory=list)

    @property
    def idle_wanted(self) -> int:
        return max((idle for idle, _ in self.wishes), default=0)

    @property
    def stubs_wanted(self) -> int:
        return max((stubs for _, stubs in self.wishes), default=0)


class Pool:
    """`run` keeps the circuits of a kind ready as long as somebody uses that kind."""

    def __init__(self, builder: CircuitBuilder) -> None:
        self._builder = builder
        self._shelves: dict[PathKind, _Shelf] = {}
        self._poke = Poke()

    def use(self, kind: PathKind, *, idle: int = 0, stubs: int = 0) -> None:
        """Keep this many circuits of this kind ready from now on."""
        if kind.relays == 1:
            return  # built ahead, it would show our address to a relay for nothing
        self._shelves.setdefault(kind, _Shelf()).wishes.append((idle, stubs))
        self._poke.send()

    def leave(self, kind: PathKind, *, idle: int = 0, stubs: int = 0) -> None:
        """Undo a `use` with the same numbers. Circuits that nobody else wants are closed."""
        shelf = self._shelves.get(kind)
        if shelf is None or (idle, stubs) not in shelf.wishes:
            return
        shelf.wishes.remove((idle, stubs))
        if not shelf.wishes:
            del self._shelves[kind]
        for kept, wanted in ((shelf.idle, shelf.idle_wanted), (shelf.stubs, shelf.stubs_wanted)):
            for circuit in kept[wanted:]:
                circuit.close(Reason.POOL_CLOSED)
            del kept[wanted:]

    def ready(self, kind: PathKind) -> tuple[Circuit, ...]:
        """The circuits of this kind that nobody uses yet, whole ones and stubs, each sort oldest first."""
        shelf = self._shelves.get(kind, _Shelf())
        return (*shelf.idle, *shelf.stubs)

    async def take(self, purpose: Purpose, kind: PathKind | None = None) -> Circuit:
        """A circuit to a random relay: a ready one of this kind, else one built now. `kind` and errors as in
        `CircuitBuilder.build`.
        """
        kind = kind or self._builder.kind(purpose)
        await trio.lowlevel.checkpoint()
        shelf = self._shelves.get(kind)
        self._poke.send()
        while shelf is not None and shelf.idle:
            circuit = shelf.idle.pop(0)
            if circuit.failed is None and circuit.age_seconds < MOST_AGE_SECONDS:
                circuit.purpose = purpose
                return circuit
            circuit.close(Reason.POOL_OLD)
        return await self._builder.build(purpose, kind)

    async def to(
        self, purpose: Purpose, last: RelayRow, kind: PathKind | None = None, *, tries: int = TRIES
    ) -> Circuit:
        """A circuit that ends at the relay `last`: an extended stub, else one built now. `tries`: how many
        circuits may be spent in all. `kind` and errors as in `CircuitBuilder.build`.
        """
        kind = kind or self._builder.kind(purpose)
        shelf = self._shelves.get(kind)
        self._poke.send()
        if shelf is not None:
            for stub in shelf.stubs:
                if self._builder.fits(stub, last):
                    shelf.stubs.remove(stub)
                    stub.purpose = purpose
                    try:
                        return await self._builder.finish(stub, last)
                    except CircuitFailed:
                        tries -= 1
                        if not tries:
                            raise
                        break
        return await self._builder.build(purpose, kind, last=last.identity, tries=tries)

    async def run(self) -> None:
        """Keep the shelves full, until cancelled. It starts a moment late: the first use needs the machine
        more."""
        await self._poke.wait()
        while True:
            await trio.sleep(START_SECONDS)
            for kind, shelf in list(self._shelves.items()):
                await self._fill(kind, shelf)
            with trio.move_on_after(CHECK_SECONDS if self._short() else MOST_AGE_SECONDS / 10):
                await self._poke.wait()

    def _short(self) -> bool:
        return any(
            len(shelf.idle) < shelf.idle_wanted or len(shelf.stubs) < shelf.stubs_wanted
            for shelf in self._shelves.values()
        )

    async def _fill(self, kind: PathKind, shelf: _Shelf) -> None:
        for kept in (shelf.idle, shelf.stubs):
            for circuit in [held for held in kept if held.failed or held.age_seconds > MOST_AGE_SECONDS]:
                kept.remove(circuit)
                circuit.close(Reason.POOL_OLD)
        try:
            while len(shelf.idle) < shelf.idle_wanted and self._shelves.get(kind) is shelf:
                self._keep(kind, shelf, shelf.idle, await self._builder.build(Purpose.READY, kind))
            while len(shelf.stubs) < shelf.stubs_wanted and self._shelves.get(kind) is shelf:
                self._keep(kind, shelf, shelf.stubs, await self._builder.stub(kind, shelf.stubs))
        except (CircuitFailed, PathImpossible, Error):
            return  # a caller that needs a circuit finds out why; the pool tries again later

    def _keep(self, kind: PathKind, shelf: _Shelf, kept: list[Circuit], circuit: Circuit) -> None:
        wanted = shelf.idle_wanted if kept is shelf.idle else shelf.stubs_wanted
        if self._shelves.get(kind) is shelf and len(kept) < wanted:
            kept.append(circuit)
        else:
            circuit.close(Reason.POOL_CLOSED)
