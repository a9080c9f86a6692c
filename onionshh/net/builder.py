"""Builds circuits: chooses a path, tries it, remembers failures, tries another (SPEC 6).

A guard fails only if its link fails; a further relay fails if an EXTEND fails there. A circuit never has
fewer hops than requested: if it cannot be built, an error says why.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import trio

from onionshh.advice import in_words
from onionshh.core.base.chance import Chance
from onionshh.core.base.classes import INTRODUCTION_HOPS
from onionshh.core.base.failures import FailureMemory
from onionshh.core.circuit.circuit import SETUP_ROUNDS
from onionshh.core.circuit.purpose import PathKind, Purpose
from onionshh.core.paths.path import PathImpossible, choose_path
from onionshh.core.paths.view import View
from onionshh.errors import BadData, NetworkUnreachable, NoDirectory
from onionshh.ids import RelayId
from onionshh.net.circuits import Circuit, CircuitFailed, CircuitSet
from onionshh.net.clocks import Clock
from onionshh.net.guard_file import GuardFile
from onionshh.net.links import LinkFailed, LinkSet
from onionshh.wire.consensus import RelayRow

TRIES = 12
LAST_TRIES = 2
"""After this many failures at the wanted last relay, we stop: the fault is there, and other work waits."""
GUARD_CHECK_SECONDS = 5.0
OFFLINE_WAIT_SECONDS = 1.0
STUB_AGE_SECONDS = 600.0


class _GuardFailed(CircuitFailed):
    """The link to a guard failed before there was a circuit."""


class CircuitBuilder:
    """Builds one node's circuits. `view()` is the present consensus; NoDirectory if it has expired."""

    def __init__(
        self,
        *,
        links: LinkSet,
        circuits: CircuitSet,
        guard_file: GuardFile,
        clock: Clock,
        chance: Chance,
        view: Callable[[], View],
        own_relays: frozenset[RelayId] = frozenset(),
        introduction_hops: int = INTRODUCTION_HOPS,
    ) -> None:
        self.links = links
        self._circuits = circuits
        self._guard_file = guard_file
        self._clock = clock
        self._chance = chance
        self._view = view
        self.own_relays = own_relays
        """Relays of the same operator, which are never on our paths (SPEC 6)."""
        self._introduction_hops = introduction_hops
        self.failures = FailureMemory()

    def kind(self, purpose: Purpose) -> PathKind:
        """The kind of path for this purpose on this node. ValueError if the purpose does not decide it."""
        return purpose.kind(self._introduction_hops)

    async def build(
        self,
        purpose: Purpose,
        kind: PathKind | None = None,
        *,
        last: RelayId | None = None,
        tries: int = TRIES,
    ) -> Circuit:
        """A circuit with padded set-up that ends at `last`, if given. `kind`: needed if the purpose does not
        decide it. `tries`: how many circuits to begin; use few if a stranger chose `last`.

        Raises NetworkUnreachable, also if the consensus has expired or pinned second hops cannot be kept on
        disk, PathImpossible if no path of that length exists, CircuitFailed if every try failed.
        """
        kind = kind or self.kind(purpose)
        failed_at_last = 0
        while True:
            path = await self._path(kind, last)
            try:
                return await self._try(path, kind, purpose)
            except _GuardFailed:
                continue  # not counted as a try: after two the guard is down; if all are down, we wait
            except CircuitFailed as error:
                tries -= 1
                failed_at_last += error.relay is not None and error.relay == last
                if tries <= 0 or failed_at_last >= LAST_TRIES:
                    raise

    async def stub(self, kind: PathKind, beside: Collection[Circuit] = ()) -> Circuit:
        """A circuit without its last relay, with padded set-up, to be completed by `finish`. Its guard
        differs from the guards of the circuits `beside` it, if another guard is up."""
        shorter = kind.without_last
        path = await self._path(
            shorter, None, stub=True, beside=frozenset(circuit.path[0].identity for circuit in beside)
        )
        return await self._try(path, shorter, Purpose.READY, SETUP_ROUNDS - 1)

    def fits(self, stub: Circuit, last: RelayRow) -> bool:
        """Whether a stub may be extended to this relay: it is alive, not old, and has no relay of its
        group."""
        try:
            view = self._view()
        except NoDirectory:
            return False
        return (
            stub.failed is None
            and stub.age_seconds < STUB_AGE_SECONDS
            and not any(view.same_group(row, last) for row in stub.path)
        )

    async def finish(self, stub: Circuit, last: RelayRow) -> Circuit:
        """Add the last relay to a stub, which makes it a circuit. Raises CircuitFailed."""
        await self._extend(stub, last)
        await stub.pad()
        return stub

    @property
    def online(self) -> bool:
        """Whether a link to a guard is open. If not, our own network may be down."""
        return self.guards_up > 0

    @property
    def guards_up(self) -> int:
        """How many guards have an open link."""
        return len(set(self._guard_file.guards.sample).intersection(self.links.peers()))

    async def watch_guards(self) -> None:
        """Try the guards that are down when their retry is due, until cancelled."""
        while True:
            await trio.sleep(GUARD_CHECK_SECONDS)
            try:
                view = self._view()
            except NoDirectory:
                continue  # the keeper is already looking for a new consensus
            for identity in self._guard_file.guards.next_retry(self._clock.monotonic()):
                row = view.relay(identity)
                if row is not None:
                    await self._link_to_guard(row)

    # Inside.

    async def _path(
        self,
        kind: PathKind,
        last: RelayId | None,
        *,
        stub: bool = False,
        beside: frozenset[RelayId] = frozenset(),
    ) -> tuple[RelayRow, ...]:
        """A path to try now. While every guard is down we are offline, and this waits."""
        while True:
            try:
                view = self._view()
            except NoDirectory as error:
                raise NetworkUnreachable(str(error)) from error
            now = self._clock.monotonic()
            first: Sequence[RelayId] | None = None
            if kind.relays > 1 or stub:
                first = sorted(self._guard_file.first_hops(view), key=beside.__contains__)
                if not first and self._guard_file.guards.all_down():
                    await self._try_guards(view, now)
                    continue
            avoid = self.failures.avoided(now, len(view.relays)) - frozenset(first or ())
            if stub and kind.relays == 1:
                return self._first_alone(view, first or ())
            return choose_path(
                view,
                self._chance,
                relays=kind.relays,
                first=first,
                last=last,
                second=self._second_hops(view) if kind.pinned else (),
                exclude=self.own_relays,
                avoid=avoid,
                beside=beside,  # a later hop must not take the place of the guard that is wanted
            )

    def _second_hops(self, view: View) -> list[RelayId]:
        try:
            return self._guard_file.second_hops(view)
        except BadData as error:
            raise NetworkUnreachable(str(error)) from error
        except OSError as error:
            # If we forgot what we drew, each start would draw others. So no pinned circuit is built.
            raise NetworkUnreachable(f"second hops cannot be kept on disk: {in_words(error)}") from error

    @staticmethod
    def _first_alone(view: View, first: Sequence[RelayId]) -> tuple[RelayRow, ...]:
        for identity in first:
            row = view.relay(identity)
            if row is not None:
                return (row,)
        raise PathImpossible(2, 0, "none of our guards is up to be its first hop")

    async def _try_guards(self, view: View, now: float) -> None:
        for identity in self._guard_file.guards.next_retry(now):
            row = view.relay(identity)
            if row is not None and await self._link_to_guard(row):
                return
        await trio.sleep(OFFLINE_WAIT_SECONDS)

    async def _link_to_guard(self, row: RelayRow) -> bool:
        guards = self._guard_file.guards
        try:
            await self.links.to(row)
        except LinkFailed:
            guards.link_failed(row.identity, self._clock.monotonic())
            return False
        guards.link_worked(row.identity, self._clock.monotonic())
        return True

    async def _try(
        self, path: Sequence[RelayRow], kind: PathKind, purpose: Purpose, rounds: int = SETUP_ROUNDS
    ) -> Circuit:
        first = path[0]
        guard = first.identity in self._guard_file.guards.sample
        try:
            port = await self.links.to(first)
        except LinkFailed as error:
            now = self._clock.monotonic()
            if guard:
                self._guard_file.guards.link_failed(first.identity, now)
            if not guard or len(path) == 1:
                self.failures.failed(first.identity, now)
            failed = _GuardFailed if guard and len(path) > 1 else CircuitFailed
            raise failed(error.reason, first.identity, str(error)) from error
        if guard:
            self._guard_file.guards.link_worked(first.identity, self._clock.monotonic())
        circuit = self._circuits.start(port, purpose, kind.privacy_class)
        await circuit.add(first)
        for row in path[1:]:
            await self._extend(circuit, row)
        await circuit.pad(rounds)
        return circuit

    async def _extend(self, circuit: Circuit, row: RelayRow) -> None:
        try:
            await circuit.add(row)
        except CircuitFailed as error:
            if error.relay is not None:
                self.failures.failed(error.relay, self._clock.monotonic())
            raise
        self.failures.worked(row.identity)
