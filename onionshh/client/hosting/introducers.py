"""An endpoint's introducers: wanted in number, distinct, replaced when they die, rotated by age (SPEC 11).

Each is held by a task of its own over a circuit of its own. A new one is found before an old one's time is
over, so there is no moment without; across a restart the same ones are taken up again under the same keys.

An introducer may be hostile, or relay for somebody who is. Each has some places of its own for introductions
at work, and is read no further while they are taken: then its queue fills, not ours, and it tells visitors
that it is busy. One that brings more than the consensus allows can only be inventing, and is given up. One
that brings much junk may be honest: whoever knows the address can send it. Such a one is replaced too, but
only so often, or a stranger could make us go from introducer to introducer until all are his.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from onionshh.client.context import Context
from onionshh.client.hosting.key_store import HeldIntroducer, KeyStore
from onionshh.core.base.buckets import TokenBucket
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.paths.path import choose_targets
from onionshh.core.paths.view import View
from onionshh.crypto.identity import SigningKey
from onionshh.errors import BadData, NetworkUnreachable, NoDirectory, ProtocolError
from onionshh.ids import RelayId
from onionshh.net.circuits import Circuit, CircuitFailed
from onionshh.wire import messages as m
from onionshh.wire.endpoint import IntroducerEntry

logger = logging.getLogger("onionshh.client")

ANSWER_SECONDS = 10.0
RETRY_SECONDS = 1.0
CHECK_SECONDS = 30.0
TARGET_FAILURES_MOST = 2
FAILURES_MOST = 5
OVERLAP_PART = 24
"""A replacement is sought when 1/24 of the shortest life is left: 45 min of 18 h."""


STEADY_SECONDS = 30.0
"""A circuit that lasted less was as good as none."""

RATE_SLACK = 1.5
BURST_EXTRA = 128
"""What waits at an introducer and on the way may come at once."""
RATE_UNLIMITED, BURST_UNLIMITED = 100.0, 1000.0
"""Held to when the consensus sets no rate."""
JUNK_MOST = 300
JUNK_SECONDS = 3600.0
"""So many introductions that do not open may come through one introducer, and as many again in this time."""
IN_HAND_MOST = 64
"""Introductions that are looked at, over all introducers: each has its part."""
DOUBTS_MOST = 2
REPLACING_SECONDS = 6 * 3600.0
"""In this time as many introducers as are wanted may be replaced for what they need not have done."""
SHUNNED_SECONDS = 4 * 3600.0
SHUNNED_PART = 3
"""At most 1/3 of the relays are shunned: more, and whoever brings that about chooses the others."""


LookedAt = Callable[[bool | None], None]
"""To be called once it is known whether an introduction was for us and new; None if there was no room to
look."""


@dataclass(slots=True, eq=False)
class _Slot:
    """One introducer while it is ours. `ends` is in monotonic seconds."""

    held: HeldIntroducer
    ends: float
    scope: trio.CancelScope
    rate: TokenBucket
    junk: TokenBucket
    places: trio.Semaphore
    """For introductions that are not looked at yet."""
    doubts: int = 0


class Introducers:
    """`introduced(body, auth_key, looked_at)` is called in a task of its own for each INTRODUCE2."""

    def __init__(
        self,
        context: Context,
        key_store: KeyStore,
        wanted: int,
        introduced: Callable[[bytes, bytes, LookedAt], Awaitable[None]],
    ) -> None:
        self._context = context
        self._keys = key_store
        self._wanted = wanted
        self._introduced = introduced
        self._slots: dict[bytes, _Slot] = {}
        self._live: dict[bytes, HeldIntroducer] = {}
        self._shunned: dict[RelayId, float] = {}
        self._replacing = TokenBucket(wanted / REPLACING_SECONDS, wanted)
        self._poke = trio.Event()
        self._changed = trio.Event()

    @property
    def entries(self) -> tuple[IntroducerEntry, ...]:
        """Those that stand now, for the descriptor."""
        return tuple(
            IntroducerEntry(held.relay, held.key.public, held.expiry) for held in self._live.values()
        )

    @property
    def complete(self) -> bool:
        """As many stand as are wanted and can be had."""
        return len(self._live) >= self._target() > 0

    def left(self, auth_key: bytes) -> None:
        """Its relay is not in the network any more."""
        self._give_up(auth_key, "introducer-left", "has left the network", shun=False)

    def doubt(self, auth_key: bytes) -> None:
        """It may not have answered a test of ours: the second time it is replaced."""
        slot = self._slots.get(auth_key)
        if slot is not None:
            slot.doubts += 1
            if slot.doubts >= DOUBTS_MOST:
                self.failed(auth_key, "does not answer")

    def doubtful(self, entries: Sequence[IntroducerEntry]) -> Sequence[IntroducerEntry]:
        """Those of them to be tested next: the doubtful ones, else all."""
        return [one for one in entries if (slot := self._slots.get(one.auth_key)) and slot.doubts] or entries

    def proved(self, auth_key: bytes) -> None:
        """A test of ours arrived through it."""
        slot = self._slots.get(auth_key)
        if slot is not None:
            slot.doubts = 0

    def failed(self, auth_key: bytes, what: str) -> None:
        """A test did not get through it. `what` it does wrong, for people."""
        self._replace(auth_key, "introducer-failed", what)

    async def changed(self) -> None:
        """Until `entries` is another."""
        await self._changed.wait()

    async def run(self) -> None:
        """Hold them, for ever."""
        async with trio.open_nursery() as nursery:
            for held in await self._keys.introducers(self._context.clock.earliest()):
                if len(self._slots) < self._wanted:
                    self._start(held, nursery)
                else:
                    await self._drop(held)
            nursery.start_soon(self._follow_consensus)
            while True:
                self._poke = trio.Event()
                await self._fill(nursery)
                with trio.move_on_after(CHECK_SECONDS):
                    await self._poke.wait()

    # Inside.

    async def _follow_consensus(self) -> None:
        """More relays, more introducers: at once on a network that is just starting. And who left, left."""
        while True:
            await self._context.keeper.changed()
            view = self._context.keeper.current
            if view is not None:
                for key in [one for one in self._live if view.any_relay(self._live[one].relay) is None]:
                    self.left(key)
            self._poke.set()

    def _usable(self, view: View) -> int:
        """How many relays may be introducers of ours at all."""
        out = self._context.builder.own_relays | self._shun(view)
        return sum(row.identity not in out for row in view.relays)

    def _target(self) -> int:
        view = self._context.keeper.current
        return min(self._wanted, self._usable(view)) if view is not None else 0

    def _shun(self, view: View) -> frozenset[RelayId]:
        """Relays that were given up lately, the last ones first."""
        now = self._context.clock.monotonic()
        for relay in [one for one, until in self._shunned.items() if now >= until]:
            del self._shunned[relay]
        latest = sorted(self._shunned, key=lambda one: self._shunned[one], reverse=True)
        return frozenset(latest[: len(view.relays) // SHUNNED_PART])

    async def _fill(self, nursery: trio.Nursery) -> None:
        """Start what is missing; what is about to end does not count, nor hinder a new one anywhere."""
        context = self._context
        if context.keeper.current is None:
            return
        overlap = context.params.introducer_life_min_seconds // OVERLAP_PART
        now = context.clock.monotonic()
        fresh = [slot for slot in self._slots.values() if slot.ends > now + overlap]
        missing = self._target() - len(fresh)
        if missing <= 0:
            return
        view = context.view
        avoid = context.builder.failures.avoided(now, len(view.relays))
        used = context.builder.own_relays.union(slot.held.relay for slot in fresh) | self._shun(view)
        for row in choose_targets(view, context.chance, missing, exclude=used, avoid=avoid):
            life = context.chance.between(
                context.params.introducer_life_min_seconds, context.params.introducer_life_max_seconds
            )
            key = SigningKey.generate(context.chance.bytes)
            held = HeldIntroducer(row.identity, key, context.clock.best() + int(life))
            try:
                await self._keys.keep_introducer(held)
            except BadData as error:
                logger.error("a new introducer waits: %s", error)
                return
            self._start(held, nursery, life)

    def _start(self, held: HeldIntroducer, nursery: trio.Nursery, life: float | None = None) -> None:
        """`life` in seconds; what was taken up from disk has what its date leaves, whoever set the clock."""
        context = self._context
        if life is None:
            most = context.params.introducer_life_max_seconds
            life = min(max(0, held.expiry - context.clock.earliest()), most)
        ends = context.clock.monotonic() + life
        slot = self._slots[held.key.public] = _Slot(
            held,
            ends,
            trio.CancelScope(deadline=ends),
            TokenBucket(RATE_UNLIMITED, BURST_UNLIMITED),
            TokenBucket(JUNK_MOST / JUNK_SECONDS, JUNK_MOST),
            trio.Semaphore(IN_HAND_MOST // self._wanted),
        )
        nursery.start_soon(self._hold, slot, nursery)

    async def _hold(self, slot: _Slot, nursery: trio.Nursery) -> None:
        """One introducer until it dies, is given up, or its time is over."""
        context, held = self._context, slot.held
        with slot.scope:
            target_failures = failures = 0
            while target_failures < TARGET_FAILURES_MOST and failures < FAILURES_MOST:
                try:
                    circuit = await self._establish(held)
                except CircuitFailed as error:
                    failures += 1
                    target_failures += error.relay == held.relay
                except (ProtocolError, NetworkUnreachable, NoDirectory):
                    failures += 1
                else:
                    began = context.clock.monotonic()
                    await self._serve(slot, circuit, nursery)
                    if context.clock.monotonic() >= began + STEADY_SECONDS:
                        target_failures = failures = 0
                    else:
                        failures += 1
                await trio.sleep(RETRY_SECONDS * context.chance.between(0.2, 1.0))
        del self._slots[held.key.public]
        await self._drop(held)
        self._poke.set()

    def _give_up(self, auth_key: bytes, reason: str, what: str, *, shun: bool = True) -> None:
        slot = self._slots.get(auth_key)
        if slot is None or slot.scope.cancel_called:
            return
        self._context.drops.count(reason)
        logger.warning("an introducer %s: another takes its place", what)
        if shun:
            self._shunned[slot.held.relay] = self._context.clock.monotonic() + SHUNNED_SECONDS
        slot.scope.cancel()

    def _replace(self, auth_key: bytes, reason: str, what: str) -> None:
        """Give up one that may be honest, if that has not happened too often."""
        slot = self._slots.get(auth_key)
        if slot is None or slot.scope.cancel_called:
            return
        if self._replacing.take(self._context.clock.monotonic()):
            self._give_up(auth_key, reason, what)
        else:
            self._context.drops.count("introducer-kept")

    async def _drop(self, held: HeldIntroducer) -> None:
        try:
            await self._keys.drop_introducer(held)
        except BadData as error:
            # After a restart it is tried once more, and dropped then.
            logger.error("an introducer that is over could not be forgotten: %s", error)

    async def _establish(self, held: HeldIntroducer) -> Circuit:
        row = self._context.view.relay(held.relay)
        if row is None:
            raise CircuitFailed("introducer-unlisted", held.relay)
        circuit = await self._context.builder.build(Purpose.INTRODUCER, last=row.identity)
        try:
            text = m.EstablishIntro.signed(circuit.binding, held.relay)
            message = m.EstablishIntro(held.key.public, held.key.sign(text)).encode()
            answer = await circuit.ask(m.ESTABLISH_INTRO, message, m.INTRO_ESTABLISHED, ANSWER_SECONDS)
            if m.status_untrusted(answer) != m.OK:
                raise CircuitFailed("introducer-refused", held.relay)
            circuit.accept(m.INTRODUCE2)
        except BaseException:
            circuit.close("introducer-not-had")
            raise
        return circuit

    async def _serve(self, slot: _Slot, circuit: Circuit, nursery: trio.Nursery) -> None:
        key = slot.held.key.public
        self._live[key] = slot.held
        self._tell()
        try:
            while True:
                await slot.places.acquire()
                try:
                    message = await circuit.receive()
                    if m.Introduce.decode_untrusted(message.body).auth_key != key:
                        raise ProtocolError("introduce-auth-key")
                except BaseException:
                    slot.places.release()
                    raise
                if not self._within_rate(slot):
                    self._give_up(key, "introducer-floods", "brings more than any visitors could send")
                    return
                nursery.start_soon(self._introduce, slot, message.body)
        except CircuitFailed:
            pass
        except ProtocolError as error:
            # No stranger's junk, of which an introducer cannot know: its own, or it would not have passed.
            self._context.drops.count(error.reason)
        finally:
            circuit.close("introducer-over")
            del self._live[key]
            self._tell()

    def _within_rate(self, slot: _Slot) -> bool:
        params, rate = self._context.params, slot.rate
        if params.introduce_rate:
            rate.rate = RATE_SLACK * params.introduce_rate
            rate.burst = RATE_SLACK * params.introduce_burst + BURST_EXTRA
        else:
            rate.rate, rate.burst = RATE_UNLIMITED, BURST_UNLIMITED
        return rate.take(self._context.clock.monotonic())

    async def _introduce(self, slot: _Slot, body: bytes) -> None:
        key = slot.held.key.public

        def looked_at(good: bool | None) -> None:
            # From here on the rendezvous point takes its time, and no introducer is held up by that.
            slot.places.release()
            if good is False and not slot.junk.take(self._context.clock.monotonic()):
                self._replace(key, "introducer-junk", "brings much that does not open")

        await self._introduced(body, key, looked_at)

    def _tell(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()
