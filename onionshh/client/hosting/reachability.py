"""Is the endpoint reachable? It asks as a stranger would: fresh circuits, the ring, an introducer (SPEC 11).

The test is a real introduction, sealed to our own descriptor as any visitor's; only we know its seed, and
only we can tell that it was ours. It has an end of its own, which comes at once when the last introducer or
the last link to a guard goes: then nobody reaches us, whatever the test would have said.

What it finds is acted upon. A ring that has not what we published is published to again, an introducer that
does not bring the test is replaced.
"""

from __future__ import annotations

from dataclasses import dataclass

import trio

from onionshh.client.context import Context
from onionshh.client.hosting.introducers import Introducers
from onionshh.client.hosting.introduction_service import IntroductionService
from onionshh.client.hosting.publication import ANOTHER, Publication
from onionshh.client.reach.finder import NoDescriptor, find
from onionshh.core.base.classes import TALK
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.endpoint.introduce import Introduction
from onionshh.core.paths.path import choose_target
from onionshh.crypto.identity import IdentityKeys
from onionshh.errors import BadData, NetworkUnreachable, NoDirectory, ProtocolError
from onionshh.ids import AuthKey, RelayId
from onionshh.net.circuits import CircuitFailed
from onionshh.wire import messages as m
from onionshh.wire.endpoint import IntroducerEntry

SETTLED_SECONDS = 300.0
UNSETTLED_SECONDS = 3.0
DISPUTED_SECONDS = 30.0
TEST_SECONDS = 60.0
"""A test has this long in all: offline, a circuit alone would wait for ever."""
GUARD_CHECK_SECONDS = 1.0
ARRIVAL_SECONDS = 15.0
ANSWER_SECONDS = 10.0
LOST_AFTER = 2
"""Tests that must fail in a row before the endpoint says it is unreachable."""


NO_INTRODUCER = "it has no introducer"
NO_GUARD = "no guard answers"


@dataclass(frozen=True, slots=True)
class Reachability:
    """`introducers`: how many stand. `seconds`: for how long the endpoint has not been reachable, since it
    started or was so last; when it is reachable, how long that took. `why`: a sentence when not reachable.
    `tested_at`: when the last test ended, Unix seconds, 0 before the first."""

    reachable: bool
    introducers: int
    seconds: float
    why: str = ""
    tested_at: int = 0


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
        self,
        context: Context,
        identity: IdentityKeys,
        introducers: Introducers,
        answering: IntroductionService,
        publication: Publication,
    ) -> None:
        self._context = context
        self._identity = identity
        self._introducers = introducers
        self._introduction_service = answering
        self._publication = publication
        publication.overtaken = self._overtaken
        self._reachable = False
        self._why = "it has just started"
        self._since = context.clock.monotonic()
        """When it started or was last reachable."""
        self._took = 0.0
        self._tested_at = 0
        self._testing = trio.CancelScope()
        self._lost = ""
        """Why the test under way has no point any more."""
        self._poke = trio.Event()
        self._changed = trio.Event()

    @property
    def state(self) -> Reachability:
        """What is known now."""
        seconds = self._took if self._reachable else self._context.clock.monotonic() - self._since
        count = len(self._introducers.entries)
        return Reachability(self._reachable, count, round(seconds, 3), self._why, self._tested_at)

    async def reachable(self) -> None:
        """Until the endpoint is reachable; at once if it is."""
        await self.change_from(False)

    async def change_from(self, reachable: bool) -> Reachability:
        """The state, as soon as it is another than this."""
        await trio.lowlevel.checkpoint()
        while self._reachable == reachable:
            await self._changed.wait()
        return self.state

    async def run(self) -> None:
        """Test, for ever: soon after a failure, else now and then."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_introducers)
            failures = 0
            while True:
                while not self._introducers.entries:
                    self._lose(self._why_none())
                    await self._introducers.changed()
                self._poke = trio.Event()
                why = await self._test_within_its_time()
                if why is None:
                    failures = 0
                    self._gain()
                else:
                    failures += 1
                    # One that failed may be bad luck; these are certain.
                    if failures >= LOST_AFTER or not self._reachable or why in (NO_GUARD, ANOTHER):
                        self._lose(why)
                with trio.move_on_after(self._pause(why) * self._context.chance.between(0.7, 1.3)):
                    await self._poke.wait()

    # Inside.

    def _why_none(self) -> str:
        """Why there is no introducer."""
        return NO_INTRODUCER if self._context.builder.online else NO_GUARD

    def _pause(self, why: str | None) -> float:
        if self._publication.disputed:
            return DISPUTED_SECONDS
        settled = why is None and self._introducers.complete
        return SETTLED_SECONDS if settled else UNSETTLED_SECONDS

    async def _watch_introducers(self) -> None:
        """Without an introducer nobody reaches us, and there is nothing to test."""
        while True:
            await self._introducers.changed()
            if not self._introducers.entries:
                self._lose(self._why_none())
                self._end_test(self._why_none())
                self._poke.set()

    async def _watch_guards(self) -> None:
        """End the test when the last link to a guard goes."""
        builder = self._context.builder
        was_online = False
        while builder.online or not was_online:
            was_online = builder.online
            await trio.sleep(GUARD_CHECK_SECONDS)
        self._end_test(NO_GUARD)

    def _end_test(self, why: str) -> None:
        self._lost = why
        self._testing.cancel()

    def _overtaken(self) -> None:
        self._lose(ANOTHER)
        self._poke.set()

    async def _test_within_its_time(self) -> str | None:
        self._lost = f"the network did not carry a test to it within {TEST_SECONDS:.0f} s"
        why: str | None = None
        with trio.CancelScope(deadline=trio.current_time() + TEST_SECONDS) as self._testing:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_guards)
                why = await self._test()
                nursery.cancel_scope.cancel()
        self._tested_at = self._context.clock.best()
        return self._lost if self._testing.cancel_called else why

    async def _test(self) -> str | None:
        """None when a stranger's introduction would arrive, else why not."""
        context = self._context
        try:
            needed, have = context.builder.kind(Purpose.ANSWER).relays, len(context.view.relays)
            if have < needed:
                return f"the way to a visitor takes {needed} relays, and the network has {have}"
            found = await find(context, self._identity.A)
            if later := await self._publication.compare(found):
                return later
            standing = {entry.auth_key for entry in self._introducers.entries}
            entries = [one for one in found.descriptor.introducers if one.auth_key in standing]
            if not entries:
                self._publication.again()
                if self._publication.disputed:
                    return ANOTHER
                return "the descriptor on the ring names none of its present introducers"
            entry = context.chance.choice(self._introducers.doubtful(entries))
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
            return await self._introduce(entry, introduction)
        except NoDescriptor:
            self._publication.lost()
            trouble = self._publication.trouble
            return f"its descriptor is not on the ring{f': {trouble}' if trouble else ''}"
        except (NoDirectory, BadData) as error:
            return str(error)
        except (CircuitFailed, NetworkUnreachable, ProtocolError) as error:
            return f"the network does not carry a test to it ({error})"

    async def _introduce(self, entry: IntroducerEntry, introduction: Introduction) -> str | None:
        introducers, auth_key = self._introducers, entry.auth_key
        row = self._context.view.any_relay(RelayId(entry.relay_id))
        if row is None:
            introducers.left(auth_key)
            return "an introducer left the network"
        arrived = self._introduction_service.expected[introduction.seed] = trio.Event()
        circuit = await self._context.pool.to(Purpose.TEST, row)
        try:
            try:
                answer = await circuit.ask(
                    m.INTRODUCE1, introduction.message, m.INTRODUCE_ACK, ANSWER_SECONDS
                )
            except CircuitFailed:
                introducers.doubt(auth_key)
                raise
            if m.status_untrusted(answer) != m.OK:
                introducers.failed(auth_key, "refuses introductions")
                return "an introducer refuses introductions"
            with trio.move_on_after(ARRIVAL_SECONDS):
                await arrived.wait()
                introducers.proved(auth_key)
                return None
            introducers.failed(auth_key, "does not bring introductions")
            return "an introduction did not arrive"
        finally:
            self._introduction_service.expected.pop(introduction.seed, None)
            circuit.close("tested")

    def _gain(self) -> None:
        if not self._reachable:
            self._took = self._context.clock.monotonic() - self._since
            self._move(True, "")

    def _lose(self, why: str) -> None:
        if self._reachable:
            self._since = self._context.clock.monotonic()
            self._move(False, why)
        self._why = why

    def _move(self, reachable: bool, why: str) -> None:
        self._reachable, self._why = reachable, why
        changed, self._changed = self._changed, trio.Event()
        changed.set()
