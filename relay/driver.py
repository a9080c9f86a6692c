"""Does what a relay's switch leaves to be done: handshakes between reads, links for EXTENDs, rows to commit
and to read, what is due at an exact time, the memory quota."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio

from onionshh.core.link.outbox import Memory
from onionshh.core.roles import Look, Remember
from onionshh.ids import RelayId
from onionshh.net.clocks import Clock
from onionshh.net.conditions import Condition
from onionshh.net.freed_memory import give_back
from onionshh.net.links import LinkFailed, LinkSet
from onionshh.net.signals import Poke
from onionshh.net.store import RunBlocking, run_in_thread
from onionshh.reasons import Reason
from onionshh.relay.extend import WantedLink
from onionshh.relay.forward import Switch
from onionshh.wire.consensus import RelayRow

logger = logging.getLogger("onionshh.relay")

LINKS_WANTED_MOST = 1024
LINK_WANTED_MOST = 128
"""EXTENDs that may wait for links, in all and for one relay: a silent relay must not take every place."""
GIVE_BACK_CIRCUITS = 1000
"""When this many circuits have newly come to rest, giving back memory is worth some milliseconds."""
HURRIES_A_SECOND = 5
"""Ticks in a second in which a role has something due at an exact time."""
HANDSHAKES_A_PASS = 8
"""They take under two milliseconds in all. A forwarded cell may have to wait that long."""
COSTLY_A_PASS = 3
"""As long as that: a proof of work and a signature for each."""


class SwitchDriver:
    """Carries out what the switch leaves to be done. `find(id)` is the relay in either consensus."""

    def __init__(
        self,
        *,
        switch: Switch,
        clock: Clock,
        memory: Memory,
        find: Callable[[RelayId], RelayRow | None],
        run_blocking: RunBlocking = run_in_thread,
    ) -> None:
        self._switch = switch
        self._clock = clock
        self._memory = memory
        self._find = find
        self._nursery: trio.Nursery | None = None
        self._dialling: Counter[RelayId] = Counter()
        self._given_back = 0
        self._commits = Commits(switch, clock, run_blocking)
        self._looks = Looks(switch, clock, run_blocking)
        self._hurry = Poke()
        self.links: LinkSet | None = None
        """Set once the links, which need the switch, are made."""

    def after_read(self) -> bool:
        """Called after each pass over what the links brought and each tick. True while handshakes or costly
        messages wait.

        A handshake costs as much as fifty forwarded cells, so links with bytes to read come before the next
        few handshakes. A few are done at a time, so that their answers share frames.
        """
        switch = self._switch
        control = switch.control
        while control.extends.wanted_links:
            self._extend(control.extends.wanted_links.popleft())
        if self._memory.used_bytes > self._memory.most_bytes:
            while (port := switch.relieve()) is not None and self.links is not None:
                self.links.end(port, Reason.MEMORY)
        more = False
        now = self._clock.monotonic()
        if control.creates.waiting:
            more = all(switch.serve_handshake(now) for _ in range(HANDSHAKES_A_PASS))
        if control.costly:
            more |= all(switch.serve_costly(now) for _ in range(COSTLY_A_PASS))
        self._ask_disk()
        return more

    def tick(self, now: float) -> None:
        """About once a second."""
        self._switch.tick(now)
        if self._switch.rested - self._given_back >= GIVE_BACK_CIRCUITS:
            self._given_back = self._switch.rested
            give_back()
        if self._switch.control.hurries():
            self._hurry.send()

    async def run(self) -> None:
        """Dial, and commit and read what roles keep, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._go_to_disk, self._commits.next)
                nursery.start_soon(self._go_to_disk, self._looks.next)
                nursery.start_soon(self._be_punctual)
                await trio.sleep_forever()
        finally:
            self._switch.control.mounted.close()

    def _ask_disk(self) -> None:
        if self._switch.control.remembering.waits:
            self._commits.wanted.send()
        if self._switch.control.looking.waits:
            self._looks.wanted.send()

    async def _go_to_disk(self, next_step: Callable[[], Awaitable[None]]) -> None:
        while True:
            await next_step()
            self._after_turn()

    async def _be_punctual(self) -> None:
        """A role's tick comes once a second. In a second in which something is due, it comes more often."""
        while True:
            await self._hurry.wait()
            for _ in range(HURRIES_A_SECOND - 1):
                await trio.sleep(1 / HURRIES_A_SECOND)
                self._switch.hurry(self._clock.monotonic())
                self._after_turn()

    def _after_turn(self) -> None:
        """Something happened that no link has brought: what roles want next, and what they sent."""
        self._ask_disk()
        if self.links is not None:
            self.links.flush()

    def _extend(self, wanted: WantedLink) -> None:
        port = self.links.open_to(wanted.relay) if self.links is not None else None
        if port is not None:
            self._switch.extend_over(wanted, port, self._clock.monotonic())
        elif self._nursery is None or not self._may_dial(wanted.relay):
            self._switch.extend_failed(wanted, self._clock.monotonic())
        else:
            self._dialling[wanted.relay] += 1
            self._nursery.start_soon(self._dial, wanted)

    def _may_dial(self, relay: RelayId) -> bool:
        return self._dialling[relay] < LINK_WANTED_MOST and self._dialling.total() < LINKS_WANTED_MOST

    async def _dial(self, wanted: WantedLink) -> None:
        links = self.links
        try:
            row = self._find(wanted.relay)
            if row is None or links is None:
                raise LinkFailed(Reason.EXTEND_UNKNOWN_RELAY)
            port = await links.to(row)
        except LinkFailed:
            self._switch.extend_failed(wanted, self._clock.monotonic())
        else:
            self._switch.extend_over(wanted, port, self._clock.monotonic())
        finally:
            self._dialling -= Counter((wanted.relay,))  # drops those that are 0
        if links is not None:
            links.flush()


class Commits:
    """Commits what roles asked to have remembered, in order and never on the event loop (core/roles.py)."""

    def __init__(self, switch: Switch, clock: Clock, run_blocking: RunBlocking) -> None:
        self._switch = switch
        self._clock = clock
        self._run_blocking = run_blocking
        self._disk = Condition(logger.error)
        self.wanted = Poke()
        """Send it when something waits to be committed."""

    async def next(self) -> None:
        """Wait until something is wanted, commit all of it, and tell the roles how it went."""
        await self.wanted.wait()
        while batch := self._switch.control.remembering.take():
            failures = [await self._failure(batch)] * len(batch)
            if failures[0] is not None and len(batch) > 1:  # one bad row must not lose the others
                failures = [await self._failure([asked]) for asked in batch]
            if None in failures:
                self._disk.over("what this relay's roles keep can be written again")
            else:
                self._disk.holds(f"what this relay's roles keep cannot be written: {failures[0]}")
            for asked, failure in zip(batch, failures, strict=True):
                self._tell(asked, kept=failure is None)

    async def _failure(self, batch: Sequence[Remember]) -> Exception | None:
        """Commit these. Returns why it could not be done, None if it was."""
        store, rows = batch[0].role.store, [row for asked in batch for row in asked.rows]
        try:
            await self._run_blocking(partial(store.commit, rows))
        except Exception as error:  # whatever it is, nothing is on disk, and the relay goes on
            return error
        return None

    def _tell(self, asked: Remember, *, kept: bool) -> None:
        try:
            self._switch.remembered(asked, self._clock.monotonic(), kept=kept)
        except Exception:
            # A bug of ours that somebody's bytes brought out must not end the relay.
            logger.exception("ended by a fault of this program: what a role does once its rows are on disk")


class Looks:
    """Reads what roles asked to look at, in order and never on the event loop."""

    def __init__(self, switch: Switch, clock: Clock, run_blocking: RunBlocking) -> None:
        self._switch = switch
        self._clock = clock
        self._run_blocking = run_blocking
        self._disk = Condition(logger.error)
        self.wanted = Poke()
        """Send it when something waits to be read."""

    async def next(self) -> None:
        """Wait until something is wanted, read all of it, and tell the roles what was found."""
        await self.wanted.wait()
        while batch := self._switch.control.looking.take():
            found = await self._read(batch)
            at = 0
            for asked in batch:
                mine = None if found is None else found[at : at + len(asked.keys)]
                at += len(asked.keys)
                self._tell(asked, mine)

    async def _read(self, batch: Sequence[Look]) -> list[bytes | None] | None:
        store, keys = batch[0].role.store, [key for asked in batch for key in asked.keys]
        try:
            found = await self._run_blocking(partial(store.read, keys))
        except Exception as error:  # whatever it is, the relay goes on
            self._disk.holds(f"what this relay's roles keep cannot be read: {error}")
            return None
        self._disk.over("what this relay's roles keep can be read again")
        return found

    def _tell(self, asked: Look, found: Sequence[bytes | None] | None) -> None:
        try:
            self._switch.looked(asked, found, self._clock.monotonic())
        except Exception:
            # A bug of ours that somebody's bytes brought out must not end the relay.
            logger.exception("ended by a fault of this program: what a role does with what it looked for")
