"""Holds an endpoint's introducers: one task and one circuit for each (SPEC 11).

A visitor's ways back are held in the same way (SPEC 12).

`core/endpoint/introducers.py` decides which relays, how many and for how long; this file does the waiting.
After a restart the same introducers are taken up again under the same keys.

An introducer may be hostile, or relay for somebody who is. Each has some places of its own for introductions
that are being looked at. While they are all taken, nothing more is read from it: then its queue fills, not
ours, and it tells visitors that it is busy.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

import trio

from onionshh import geometry as g
from onionshh.client.context import Context
from onionshh.client.steps import steps
from onionshh.core.base.patience import ANSWER_SECONDS
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.endpoint.admission import Admission
from onionshh.core.endpoint.introducers import Decision, GiveUp, HeldIntroducer, IntroducerSet
from onionshh.errors import BadData, NetworkUnreachable, NoDirectory, ProtocolError
from onionshh.net.circuits import Circuit, CircuitFailed
from onionshh.net.signals import Broadcast, Poke
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from onionshh.wire.endpoint import IntroducerEntry, ProofWanted

logger = logging.getLogger("onionshh.client")

NEXT_CIRCUIT_SECONDS = 1.0
"""After a circuit to an introducer ends, the next is tried within this time."""
FILL_SECONDS = 30.0
"""How often to look for missing introducers, if nothing else asks for it."""
IN_HAND_MOST = 64
"""Introductions that are being looked at, over all introducers. Each introducer has its share."""


LookedAt = Callable[[bool | None], None]
"""Called once it is known whether an introduction was for us and new. None means that there was no room to
look."""


class IntroducerStore(Protocol):
    """Where introducers outlive the program."""

    async def introducers(self, wall: int) -> list[HeldIntroducer]:
        """Those from before a restart whose time is not over at `wall` (Unix seconds). BadData."""

    async def keep_introducer(self, held: HeldIntroducer) -> None:
        """Sync one, before a relay hears of it. BadData."""

    async def drop_introducer(self, held: HeldIntroducer) -> None:
        """It is not ours any more. BadData."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is held. `name`: in words, for people. `life_seconds`: as in `IntroducerSet`."""

    purpose: Purpose
    name: str
    life_seconds: tuple[int, int] | None = None


INTRODUCERS: Final = Held(Purpose.INTRODUCER, "an introducer")


@dataclass(eq=False, slots=True)
class _Holding:
    """The task that holds one introducer."""

    held: HeldIntroducer
    scope: trio.CancelScope
    places: trio.Semaphore
    """For introductions that are not looked at yet."""
    circuit: Circuit | None = None
    """While it stands."""


class Introducers:
    """`introduced(body, auth_key, looked_at)` is called in a task of its own for each INTRODUCE2.
    `admission`: None if strangers never need a proof of work."""

    def __init__(
        self,
        context: Context,
        store: IntroducerStore,
        wanted: int,
        introduced: Callable[[bytes, bytes, LookedAt], Awaitable[None]],
        what: Held = INTRODUCERS,
        admission: Admission | None = None,
    ) -> None:
        self._admission = admission
        self._context = context
        self._store = store
        self._what = what
        self._places_each = IN_HAND_MOST // wanted
        self._introduced = introduced
        self._set = IntroducerSet(wanted, context.chance, context.builder.own_relays, what.life_seconds)
        self._held: dict[bytes, _Holding] = {}
        self._poke = Poke()
        self._stepped = Poke()
        self._changed = Broadcast()

    @property
    def entries(self) -> tuple[IntroducerEntry, ...]:
        """The introducers that stand now, for the descriptor."""
        return self._set.entries

    @property
    def complete(self) -> bool:
        """Whether as many stand as are wanted and can be had."""
        return self._set.complete(self._context.keeper.current, self._now())

    @property
    def effort(self) -> int:
        """How much work strangers must prove now, in tries; 0 for none."""
        return 0 if self.proof is None else self.proof.effort

    async def changed(self) -> None:
        """Wait until `entries` changes."""
        await self._changed.wait()

    # What one of our own tests found.

    def left(self, auth_key: bytes) -> None:
        """Its relay is not in the network any more."""
        self._carry_out(self._set.left(auth_key, self._now()))

    def doubt(self, auth_key: bytes) -> None:
        """It may not have answered. The second time, it is replaced."""
        self._carry_out(self._set.doubted(auth_key, self._now()))

    def doubtful(self, entries: Sequence[IntroducerEntry]) -> Sequence[IntroducerEntry]:
        """The entries to test next: the doubtful ones if there are any, else all."""
        return self._set.doubtful(entries)

    def proved(self, auth_key: bytes) -> None:
        """A test arrived through it."""
        self._set.proved(auth_key)

    def failed(self, auth_key: bytes, what: str) -> None:
        """A test did not get through it. `what`: what it does wrong, in words for people."""
        self._carry_out(self._set.failed(auth_key, what, self._now()))

    async def run(self) -> None:
        """Hold them, until cancelled."""
        context = self._context
        async with trio.open_nursery() as nursery:
            wall = context.clock.earliest()
            before = await self._before(wall)
            again = self._set.restored(before, context.params, self._now(), wall)
            for held in before:
                if held in again:
                    self._start(held, again[held], nursery)
                else:
                    await self._forget(held)
            nursery.start_soon(self._follow_consensus)
            if self._admission is not None:
                nursery.start_soon(self._step_admission, self._admission)
            while True:
                await self._fill(nursery)
                with trio.move_on_after(FILL_SECONDS):
                    await self._poke.wait()

    # Inside.

    def _now(self) -> float:
        return self._context.clock.monotonic()

    async def _before(self, wall: int) -> list[HeldIntroducer]:
        try:
            return await self._store.introducers(wall)
        except BadData as error:
            logger.error("those of an earlier run cannot be taken up (%s): %s", self._what.name, error)
            return []

    async def _follow_consensus(self) -> None:
        """Follow each new consensus. More relays mean more introducers, at once on a network that is just
        starting. A relay that left is given up."""
        while True:
            await self._context.keeper.changed()
            view = self._context.keeper.current
            if view is not None:
                self._carry_out(self._set.consensus(view, self._now()))
            self._poke.send()

    async def _fill(self, nursery: trio.Nursery) -> None:
        """Start the missing introducers, each as soon as it is on disk."""
        context, view = self._context, self._context.keeper.current
        if view is None:
            return
        avoid = context.builder.failures.avoided(self._now(), len(view.relays))
        for held, ends in self._set.draw(view, avoid, self._now(), context.clock.best()).items():
            try:
                await self._store.keep_introducer(held)
            except BadData as error:
                logger.error("%s waits: %s", self._what.name, error)
                return
            self._set.taken(held, ends)
            self._start(held, ends, nursery)

    def _start(self, held: HeldIntroducer, ends: float, nursery: trio.Nursery) -> None:
        holding = _Holding(held, trio.CancelScope(deadline=ends), trio.Semaphore(self._places_each))
        self._held[held.key.public] = holding
        nursery.start_soon(self._hold, holding, nursery)

    async def _hold(self, holding: _Holding, nursery: trio.Nursery) -> None:
        """Hold one introducer until it has failed, is given up, or its time is over."""
        held, key = holding.held, holding.held.key.public
        with holding.scope:
            while not self._set.has_failed(key):
                try:
                    circuit = await self._establish(held)
                except CircuitFailed as error:
                    self._set.not_had(key, its_fault=error.relay == held.relay)
                except (ProtocolError, NetworkUnreachable, NoDirectory):
                    self._set.not_had(key)
                else:
                    await self._serve(holding, circuit, nursery)
                await trio.sleep(NEXT_CIRCUIT_SECONDS * self._context.chance.between(0.2, 1.0))
        del self._held[key]
        self._set.over(key)
        await self._forget(held)
        self._poke.send()

    def _carry_out(self, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            if isinstance(decision, GiveUp):
                self._context.drops.count(decision.reason)
                logger.warning("%s %s: another takes its place", self._what.name, decision.what)
                self._held[decision.auth_key].scope.cancel()
            else:
                self._context.drops.count(Reason.INTRODUCER_KEPT)

    async def _forget(self, held: HeldIntroducer) -> None:
        try:
            await self._store.drop_introducer(held)
        except BadData as error:
            # After a restart it is tried once more, and dropped then.
            logger.error("%s that is over could not be forgotten: %s", self._what.name, error)

    async def _establish(self, held: HeldIntroducer) -> Circuit:
        row = self._context.view.relay(held.relay)
        if row is None:
            raise CircuitFailed(Reason.INTRODUCER_UNLISTED, held.relay)
        circuit = await self._context.builder.build(self._what.purpose, last=row.identity)
        try:
            text = m.EstablishIntro.signed(circuit.binding, held.relay)
            message = m.EstablishIntro(held.key.public, held.key.sign(text)).encode()
            answer = await circuit.ask(m.ESTABLISH_INTRO, message, m.INTRO_ESTABLISHED, ANSWER_SECONDS)
            if m.status_untrusted(answer) != m.OK:
                raise CircuitFailed(Reason.INTRODUCER_REFUSED, held.relay)
            circuit.accept(m.INTRODUCE2, m.INTRO_LOAD)
            self._tell_proof(circuit)
        except BaseException:
            circuit.close(Reason.INTRODUCER_NOT_HAD)
            raise
        return circuit

    async def _serve(self, holding: _Holding, circuit: Circuit, nursery: trio.Nursery) -> None:
        """Read an introducer's circuit until the circuit ends."""
        key = holding.held.key.public
        self._set.stands(key, self._now())
        holding.circuit = circuit
        self._changed.send()
        try:
            while True:
                body = await self._next(holding, circuit)
                resumption = len(body) == g.RESUME
                decisions = self._set.brought(key, self._context.params, self._now(), resumption=resumption)
                if decisions:
                    self._carry_out(decisions)
                    return
                nursery.start_soon(self._introduce, holding, body)
        except CircuitFailed:
            pass
        except ProtocolError as error:
            # The introducer is to blame: it must not pass this on. It cannot know what a stranger sealed.
            self._context.drops.count(error.reason)
        finally:
            circuit.close(Reason.INTRODUCER_OVER)
            holding.circuit = None
            self._set.falls(key, self._now())
            self._changed.send()

    async def _next(self, holding: _Holding, circuit: Circuit) -> bytes:
        """The next introduction, once there is a place for it."""
        await holding.places.acquire()
        try:
            message = await circuit.receive()
            while message.message_type == m.INTRO_LOAD:
                self._loaded(holding, m.IntroLoad.decode_untrusted(message.body))
                message = await circuit.receive()
            if m.introduced_untrusted(message.body).auth_key != holding.held.key.public:
                raise ProtocolError(Reason.INTRODUCE_AUTH_KEY)
        except BaseException:
            holding.places.release()
            raise
        return message.body

    # The proof of work that strangers need.

    @property
    def proof(self) -> ProofWanted | None:
        """What strangers must prove now. None: nothing."""
        return None if self._admission is None else self._admission.proof

    def _loaded(self, holding: _Holding, load: m.IntroLoad) -> None:
        clock, admission = self._context.clock, self._admission
        if admission is None:
            return
        if admission.load(holding.held.key.public, load, clock.monotonic(), clock.best()):
            steps.debug("strangers are turned away; from now on they must prove some work")
            self._proof_changed()
        self._stepped.send()

    async def _step_admission(self, admission: Admission) -> None:
        clock = self._context.clock
        while True:
            with trio.move_on_at(inf if admission.next_deadline is None else admission.next_deadline):
                await self._stepped.wait()
            if admission.tick(len(self._set.entries), clock.monotonic(), clock.best()):
                self._proof_changed()

    def _proof_changed(self) -> None:
        """All introducers are told, and the descriptor is published anew."""
        for holding in self._held.values():
            if holding.circuit is not None:
                with suppress(CircuitFailed):
                    self._tell_proof(holding.circuit, changed=True)
        self._changed.send()

    def _tell_proof(self, circuit: Circuit, *, changed: bool = False) -> None:
        """Tell an introducer what strangers must prove. CircuitFailed."""
        proof = self.proof
        if proof is not None:
            said = m.IntroProof(proof.seed, proof.effort, proof.expires)
            circuit.send(m.INTRO_PROOF, said.encode())
        elif changed:
            circuit.send(m.INTRO_PROOF, m.IntroProof(bytes(g.SEED), 0, 0).encode())

    async def _introduce(self, holding: _Holding, body: bytes) -> None:
        key = holding.held.key.public

        def looked_at(good: bool | None) -> None:
            # From here on the rendezvous point may be slow, and that must not hold up an introducer.
            holding.places.release()
            if good is False:
                self._carry_out(self._set.brought_junk(key, self._now()))

        await self._introduced(body, key, looked_at)
