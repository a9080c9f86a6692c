"""Is the endpoint reachable? It asks as a stranger would: fresh circuits, the ring, an introducer (SPEC 11).

The test is a real introduction, sealed to our own descriptor as any visitor's; only we know its seed, and
only we can tell that it was ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import trio

from onionshh.client.answering import Answering
from onionshh.client.context import Context
from onionshh.client.finder import NoDescriptor, find
from onionshh.client.introducers import Introducers
from onionshh.core.classes import TALK
from onionshh.core.introduce import Introduction
from onionshh.core.path import choose_target
from onionshh.crypto.identity import Identity
from onionshh.errors import NetworkUnreachable, NoDirectory, ProtocolError
from onionshh.ids import AuthKey, RelayId
from onionshh.net.circuits import CircuitFailed
from onionshh.wire import messages as m

SETTLED_SECONDS = 300.0
UNSETTLED_SECONDS = 3.0
ARRIVAL_SECONDS = 15.0
ANSWER_SECONDS = 10.0
LOST_AFTER = 2
"""Tests that must fail in a row before the endpoint says it is unreachable."""


@dataclass(frozen=True, slots=True)
class Reachability:
    """`introducers`: how many stand. `seconds`: since the endpoint started, or was last reachable.
    `why`: a sentence when not reachable."""

    reachable: bool
    introducers: int
    seconds: float
    why: str = ""


class ReachabilityChanges:
    """Every gain and loss, as an asynchronous iterator: first the present gain, if there is one."""

    def __init__(self, test: ReachabilityTest) -> None:
        self._test = test
        self._shown = False

    def __aiter__(self) -> ReachabilityChanges:
        return self

    async def __anext__(self) -> Reachability:
        state = await self._test.change_from(self._shown)
        self._shown = state.reachable
        return state


class ReachabilityTest:
    """One endpoint's."""

    def __init__(
        self, context: Context, identity: Identity, introducers: Introducers, answering: Answering
    ) -> None:
        self._context = context
        self._identity = identity
        self._introducers = introducers
        self._answering = answering
        self._since = context.clock.monotonic()
        self._state = Reachability(False, 0, 0.0, "it has just started")
        self._changed = trio.Event()
        self.not_on_ring: Callable[[], None] = lambda: None
        """Called when no ring relay has the descriptor: it is due once more."""

    @property
    def state(self) -> Reachability:
        """What is known now."""
        return replace(self._state, introducers=len(self._introducers.entries))

    async def reachable(self) -> None:
        """Until the endpoint is reachable; at once if it is."""
        await self.change_from(False)

    async def change_from(self, reachable: bool) -> Reachability:
        """The state, as soon as it is another than this."""
        await trio.lowlevel.checkpoint()
        while self._state.reachable == reachable:
            await self._changed.wait()
        return self._state

    async def run(self) -> None:
        """Test, for ever: soon after a failure or a change, else now and then."""
        failures = 0
        while True:
            while not self._introducers.entries:
                self._lose("it has no introducer")
                await self._introducers.changed()
            why = await self._test()
            if why is None:
                failures = 0
                self._gain()
            else:
                failures += 1
                if failures >= LOST_AFTER:
                    self._lose(why)
            settled = why is None and self._introducers.complete
            pause = SETTLED_SECONDS if settled else UNSETTLED_SECONDS
            with trio.move_on_after(pause * self._context.chance.between(0.7, 1.3)):
                while self._introducers.entries:
                    await self._introducers.changed()

    # Inside.

    async def _test(self) -> str | None:
        """None when a stranger's introduction would arrive, else why not."""
        context = self._context
        try:
            needed, have = context.kinds.answering.relays, len(context.view.relays)
            if have < needed:
                return f"the way to a visitor takes {needed} relays, and the network has {have}"
            found = await find(context, self._identity.A)
            standing = {entry.auth_key for entry in self._introducers.entries}
            entries = [one for one in found.descriptor.introducers if one.auth_key in standing]
            if not entries:
                return "the descriptor on the ring names none of its present introducers"
            entry = context.chance.choice(entries)
            introduction = Introduction(
                auth_key=AuthKey(entry.auth_key),
                period=found.period,
                subcredential=found.subcredential,
                rendezvous_key=found.descriptor.rendezvous_key,
                seal_key=found.descriptor.seal_key,
                rendezvous_point=choose_target(
                    context.view, context.chance, exclude=context.builder.own_relays
                ).identity,
                privacy_class=TALK.number,
                record=b"",
                random_bytes=context.chance.bytes,
            )
            return await self._introduce(RelayId(entry.relay_id), introduction)
        except NoDescriptor:
            self.not_on_ring()
            return "its descriptor is not on the ring"
        except NoDirectory as error:
            return str(error)
        except (CircuitFailed, NetworkUnreachable, ProtocolError) as error:
            return f"the network does not carry a test to it ({error})"

    async def _introduce(self, relay: RelayId, introduction: Introduction) -> str | None:
        row = self._context.view.any_relay(relay)
        if row is None:
            return "an introducer left the network"
        arrived = self._answering.expected[introduction.seed] = trio.Event()
        circuit = await self._context.pool.to(self._context.kinds.asking, row, "test")
        try:
            answer = await circuit.ask(m.INTRODUCE1, introduction.message, m.INTRODUCE_ACK, ANSWER_SECONDS)
            if m.status_untrusted(answer) != m.OK:
                return "an introducer refuses introductions"
            with trio.move_on_after(ARRIVAL_SECONDS):
                await arrived.wait()
                return None
            return "an introduction did not arrive"
        finally:
            self._answering.expected.pop(introduction.seed, None)
            circuit.close("tested")

    def _gain(self) -> None:
        if not self._state.reachable:
            self._move(True, "")

    def _lose(self, why: str) -> None:
        if self._state.reachable:
            self._move(False, why)
        else:
            self._state = Reachability(False, len(self._introducers.entries), self._state.seconds, why)

    def _move(self, reachable: bool, why: str) -> None:
        now = self._context.clock.monotonic()
        self._state = Reachability(
            reachable, len(self._introducers.entries), round(now - self._since, 3), why
        )
        self._since = now
        changed, self._changed = self._changed, trio.Event()
        changed.set()
