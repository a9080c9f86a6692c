"""Whether strangers reach the endpoint: tests it again and again, and tells when that changes (SPEC 11).

`self_test.py` says what a test is, `core/endpoint/reachability.py` what to believe after it; this file does
the waiting. A test has a time limit, and ends at once when the last introducer or the last link to a guard
is lost: then nobody reaches us, whatever the test would have said.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from onionshh.client.context import Context
from onionshh.client.hosting.introducers import Introducers
from onionshh.client.hosting.publication import Publication
from onionshh.core.base.patience import TEST_SECONDS
from onionshh.core.endpoint.publication import ANOTHER
from onionshh.core.endpoint.reachability import NO_GUARD, NO_INTRODUCER, ReachabilityState
from onionshh.net.signals import Broadcast, Poke

ONLINE_CHECK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Reachability:
    """Whether strangers reach an endpoint, as its last tests say: what `Endpoint.reachability` returns."""

    reachable: bool
    """Whether they do."""
    introducers: int
    """How many introducers stand ready."""
    seconds: float
    """When reachable, how long that took. Else for how long it has not been reachable, since it started or
    was reachable last."""
    why: str = ""
    """When not reachable, why, in words."""
    tested_at: int = 0
    """When the last test ended, Unix seconds; 0 before the first."""


class ReachabilityChanges:
    """Every gain and loss, as an asynchronous iterator: first the present gain, if there is one."""

    def __init__(self, watch: ReachabilityWatch) -> None:
        self._watch = watch
        self._shown = False

    def __aiter__(self) -> ReachabilityChanges:
        return self

    async def __anext__(self) -> Reachability:
        state = await self._watch.change_from(self._shown)
        self._shown = state.reachable
        return state


class ReachabilityWatch:
    """Watches one endpoint. `test()` is one test: None when it arrived, else why not."""

    def __init__(
        self,
        context: Context,
        introducers: Introducers,
        publication: Publication,
        test: Callable[[], Awaitable[str | None]],
    ) -> None:
        self._context = context
        self._introducers = introducers
        self._publication = publication
        self._test = test
        self._state = ReachabilityState(context.chance, context.clock.monotonic())
        self._testing = trio.CancelScope()
        self._ended = ""
        """Why the test under way has no point any more."""
        self._poke = Poke()
        self._changed = Broadcast()

    @property
    def state(self) -> Reachability:
        """What is known now."""
        state = self._state
        return Reachability(
            state.reachable,
            len(self._introducers.entries),
            round(state.seconds(self._now()), 3),
            state.why,
            state.tested_at,
        )

    async def reachable(self) -> None:
        """Wait until the endpoint is reachable."""
        await self.change_from(False)

    async def change_from(self, reachable: bool) -> Reachability:
        """The state, as soon as it differs from `reachable`."""
        await trio.lowlevel.checkpoint()
        while self._state.reachable == reachable:
            await self._changed.wait()
        return self.state

    async def run(self) -> None:
        """Test, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_introducers)
            nursery.start_soon(self._watch_publication)
            while True:
                while not self._introducers.entries:
                    self._lose(self._why_none())
                    await self._introducers.changed()
                self._state.testing()
                why = await self._test_within_its_time()
                self._tell(
                    self._state.tested(
                        why,
                        self._now(),
                        self._context.clock.best(),
                        settled=self._introducers.complete,
                        disputed=self._publication.disputed,
                    )
                )
                while (due := self._state.next_deadline()) > self._now():
                    with trio.move_on_at(due):
                        await self._poke.wait()

    # Inside.

    def _now(self) -> float:
        return self._context.clock.monotonic()

    def _why_none(self) -> str:
        """Why there is no introducer."""
        return NO_INTRODUCER if self._context.builder.online else NO_GUARD

    async def _watch_introducers(self) -> None:
        """Without an introducer nobody reaches us, and there is nothing to test."""
        while True:
            await self._introducers.changed()
            if not self._introducers.entries:
                self._lose(self._why_none())
                self._end_test(self._why_none())

    async def _watch_publication(self) -> None:
        """Act when another program with our identity took our place."""
        while True:
            await self._publication.overtaken.wait()
            self._lose(ANOTHER)

    async def _watch_guards(self) -> None:
        """End the test when the last link to a guard goes."""
        builder = self._context.builder
        was_online = False
        while builder.online or not was_online:
            was_online = builder.online
            await trio.sleep(ONLINE_CHECK_SECONDS)
        self._end_test(NO_GUARD)

    def _end_test(self, why: str) -> None:
        self._ended = why
        self._testing.cancel()

    async def _test_within_its_time(self) -> str | None:
        self._ended = f"the network did not carry a test to it within {TEST_SECONDS:.0f} s"
        why: str | None = None
        with trio.CancelScope(deadline=trio.current_time() + TEST_SECONDS) as self._testing:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_guards)
                why = await self._test()
                nursery.cancel_scope.cancel()
        return self._ended if self._testing.cancel_called else why

    def _lose(self, why: str) -> None:
        self._tell(self._state.lost(why, self._now()))
        self._poke.send()

    def _tell(self, changed: bool) -> None:
        if changed:
            self._changed.send()
