"""An endpoint's introducers: wanted in number, distinct, replaced when they die, rotated by age (SPEC 11).

Each is held by a task of its own over a circuit of its own. A new one is found before an old one's time is
over, so there is no moment without; across a restart the same ones are taken up again under the same keys.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from onionshh.client.context import Context
from onionshh.client.vault import HeldIntroducer, Vault
from onionshh.core.path import choose_targets
from onionshh.crypto.identity import SigningKey
from onionshh.errors import BadData, NetworkUnreachable, NoDirectory, ProtocolError
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


class Introducers:
    """`introduced(body, auth_key)` is called in a task of its own for each INTRODUCE2."""

    def __init__(
        self,
        context: Context,
        vault: Vault,
        wanted: int,
        introduced: Callable[[bytes, bytes], Awaitable[bool]],
    ) -> None:
        self._context = context
        self._vault = vault
        self._wanted = wanted
        self._introduced = introduced
        self._slots: dict[bytes, HeldIntroducer] = {}
        self._live: dict[bytes, HeldIntroducer] = {}
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

    async def changed(self) -> None:
        """Until `entries` is another."""
        await self._changed.wait()

    async def run(self) -> None:
        """Hold them, for ever."""
        async with trio.open_nursery() as nursery:
            for held in await self._vault.introducers(self._context.clock.wall()):
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
        """More relays, more introducers: at once on a network that is just starting."""
        while True:
            await self._context.keeper.changed()
            self._poke.set()

    def _target(self) -> int:
        view = self._context.keeper.current
        return min(self._wanted, len(view.relays)) if view is not None else 0

    async def _fill(self, nursery: trio.Nursery) -> None:
        """Start what is missing; what is about to end does not count, nor hinder a new one anywhere."""
        context = self._context
        if context.keeper.current is None:
            return
        wall = context.clock.wall()
        overlap = context.params.introducer_life_min_seconds // OVERLAP_PART
        fresh = [held for held in self._slots.values() if held.expiry > wall + overlap]
        missing = self._target() - len(fresh)
        if missing <= 0:
            return
        view = context.view
        avoid = context.builder.failures.avoided(context.clock.monotonic(), len(view.relays))
        used = context.builder.own_relays.union(held.relay for held in fresh)
        for row in choose_targets(view, context.chance, missing, exclude=used, avoid=avoid):
            life = context.chance.between(
                context.params.introducer_life_min_seconds, context.params.introducer_life_max_seconds
            )
            key = SigningKey.generate(context.chance.bytes)
            held = HeldIntroducer(row.identity, key, wall + int(life))
            try:
                await self._vault.keep_introducer(held)
            except BadData as error:
                logger.error("a new introducer waits: %s", error)
                return
            self._start(held, nursery)

    def _start(self, held: HeldIntroducer, nursery: trio.Nursery) -> None:
        self._slots[held.key.public] = held
        nursery.start_soon(self._hold, held, nursery)

    async def _hold(self, held: HeldIntroducer, nursery: trio.Nursery) -> None:
        """One introducer until it dies or its time is over."""
        context = self._context
        life = max(0.0, held.expiry - context.clock.wall())
        with trio.move_on_after(life):
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
                    target_failures = failures = 0
                    await self._serve(held, circuit, nursery)
                await trio.sleep(RETRY_SECONDS * context.chance.between(0.2, 1.0))
        del self._slots[held.key.public]
        await self._drop(held)
        self._poke.set()

    async def _drop(self, held: HeldIntroducer) -> None:
        try:
            await self._vault.drop_introducer(held)
        except BadData as error:
            # After a restart it is tried once more, and dropped then.
            logger.error("an introducer that is over could not be forgotten: %s", error)

    async def _establish(self, held: HeldIntroducer) -> Circuit:
        row = self._context.view.relay(held.relay)
        if row is None:
            raise CircuitFailed("introducer-unlisted", held.relay)
        circuit = await self._context.builder.build(
            self._context.kinds.holding, "introducer", last=row.identity
        )
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

    async def _serve(self, held: HeldIntroducer, circuit: Circuit, nursery: trio.Nursery) -> None:
        key = held.key.public
        self._live[key] = held
        self._tell()
        try:
            while True:
                message = await circuit.receive()
                if m.Introduce.decode_untrusted(message.body).auth_key != key:
                    raise ProtocolError("introduce-auth-key")
                nursery.start_soon(self._introduced, message.body, key)
        except CircuitFailed:
            pass
        except ProtocolError as error:
            # No stranger's junk, of which an introducer cannot know: its own, or it would not have passed.
            self._context.drops.count(error.reason)
        finally:
            circuit.close("introducer-over")
            del self._live[key]
            self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()
