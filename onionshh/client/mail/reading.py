"""Reads one mailbox: what its relays hold, each item once (SPEC 14).

The first three relays of both places are asked, over one circuit each, for the heads of what they have. An
item whose value is not known yet is fetched from one relay, and its depositor's signature is checked: a relay
cannot put its own value under somebody's id. Then `take` gets it, which must have synced it when it returns.
Only then does the reader ask on at each relay that has it, which erases it there (in inboxes and pairs).

Relays may hide items, be empty, late or full, or lie: what one of them says is used for itself alone. A value
is fetched from one relay at a time, but a slow relay holds up the others only once, for some seconds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import Final

import trio

from onionshh.client.context import Context
from onionshh.client.mail.listing import Sign, ask_page, circuit_to
from onionshh.core.base.patience import MAILBOX_SECONDS
from onionshh.core.mailbox.item import check_item_untrusted
from onionshh.errors import NetworkUnreachable, NoDirectory, ProtocolError
from onionshh.ids import RelayId
from onionshh.net.circuits import Circuit, CircuitFailed
from onionshh.reasons import Reason
from onionshh.wire import mailbox as w
from onionshh.wire.consensus import RelayRow
from onionshh.wire.mailbox import Head, Item, Items, Mailbox

PAGES_MOST: Final = 16
"""Pages of heads that one relay may give in one reading. An honest relay has 14 at most."""
TAKEN_MOST: Final = 2048
"""Ids that a reader remembers. An honest inbox has half as many. What was forgotten is taken once more."""
TURN_SECONDS: Final = 5.0
"""How long a relay waits for its turn, and how long its turn may take. Beyond that two values may be fetched
at once, perhaps the same one twice."""
WATCH_SECONDS: Final = 450
WATCH_PAGES_MOST: Final = 256
WATCH_AGAIN_SECONDS: Final = 1.0
WATCH_MOST_AGAIN_SECONDS: Final = 30.0
AGAIN_LEAST_SECONDS: Final = 600.0
AGAIN_MOST_SECONDS: Final = 1200.0
AGAIN_TIMES: Final = 6

Take = Callable[[Item], Awaitable[None]]
"""Gets one item that its depositor signed. It has synced it, or decided that it is of no use, when it
returns. The same item may come again after a start. If it raises, the item is not erased at any relay, and
the error goes to the reader."""


class NoRoom(Exception):
    """What was read cannot be taken now. It stays at its relays."""


@dataclass(frozen=True, slots=True)
class Read:
    """One reading. `taken`: how many items were new. `asked`: the relays of the mailbox. `answered`: how many
    of them gave all that they have, in this reading, or with `missing` in an earlier one."""

    taken: int
    answered: int
    asked: int

    @property
    def whole(self) -> bool:
        """Whether every relay answered."""
        return self.answered == self.asked > 0


@dataclass(slots=True)
class _Reading:
    """One reading on its way."""

    taken: int = 0
    answered: set[RelayId] = field(default_factory=set)
    slow: set[RelayId] = field(default_factory=set)
    """Relays whose turn took too long. They get no other one."""
    error: Exception | None = None


class _NotTaken(Exception):
    """`take` raised this. It is not the relay's fault, whatever it is."""

    def __init__(self, why: Exception) -> None:
        super().__init__()
        self.why = why


class MailboxReader:
    """Reads one mailbox, as often as one likes, one reading at a time. What was taken is not taken again."""

    def __init__(self, context: Context, mailbox: Mailbox, sign: Sign, take: Take) -> None:
        self._context = context
        self.mailbox = mailbox
        self._sign = sign
        self._take = take
        self._taken: dict[bytes, None] = {}
        self._answered: set[RelayId] = set()
        self._turn = trio.Lock()
        """Held while values are fetched, so that none is fetched twice. See `_turn_of`."""
        self._taking = trio.Lock()
        """Held while an item is taken, so that none is taken twice."""

    async def read(self, *, missing: bool = False) -> Read:
        """Ask all relays. With `missing`, only those that did not answer since the last reading without it.
        Raises what `take` raises, and nothing when the network fails."""
        rows = self._rows()
        if not missing:
            self._answered.clear()
        reading = _Reading()
        async with trio.open_nursery() as nursery:
            for row in self._context.chance.shuffled(rows):
                if row.identity not in self._answered:
                    nursery.start_soon(self._ask_one, row, reading, nursery.cancel_scope)
        if reading.error is not None:
            raise reading.error
        self._answered |= reading.answered
        return Read(reading.taken, sum(row.identity in self._answered for row in rows), len(rows))

    async def watch(self) -> None:
        """Take what lies there, and what comes, until cancelled: each relay is asked to answer as soon as it
        has something. Raises what `take` raises, and nothing when the network fails."""
        while True:
            rows, reading = self._rows(), _Reading()
            async with trio.open_nursery() as nursery:
                for row in rows:
                    nursery.start_soon(self._watch_one, row, reading, nursery.cancel_scope)
                await self._context.keeper.changed()  # other relays may be meant
                nursery.cancel_scope.cancel()
            if reading.error is not None:
                raise reading.error

    async def _watch_one(self, row: RelayRow, reading: _Reading, scope: trio.CancelScope) -> None:
        pause = WATCH_AGAIN_SECONDS
        while reading.error is None:
            asked = self._context.clock.monotonic()
            await self._ask_one(row, reading, scope, wait=WATCH_SECONDS)
            if self._context.clock.monotonic() > asked + WATCH_MOST_AGAIN_SECONDS:
                pause = WATCH_AGAIN_SECONDS
            await trio.sleep(pause * self._context.chance.between(0.5, 1.0))
            pause = min(2 * pause, WATCH_MOST_AGAIN_SECONDS)

    def _rows(self) -> Sequence[RelayRow]:
        try:
            places = self._context.shared.rings.readable(self._context.view, self.mailbox)
        except NoDirectory:
            return ()
        return [row for place in places or () for row in place]

    async def _ask_one(
        self, row: RelayRow, reading: _Reading, scope: trio.CancelScope, wait: int = 0
    ) -> None:
        """Take all that one relay has. With `wait`, also what comes, for as long as the circuit lasts."""
        context, turns = self._context, self._context.shared.mailbox_turns
        try:
            async with turns if not wait else nullcontext():
                circuit = await circuit_to(context, row)
                try:
                    await self._empty(circuit, row, reading, wait)
                finally:
                    circuit.close(Reason.FINISHED)
            reading.answered.add(row.identity)
        except (CircuitFailed, NetworkUnreachable):
            return
        except ProtocolError as error:
            context.drops.count(error.reason)
        except _NotTaken as error:
            reading.error = error.why
            scope.cancel()

    async def _empty(self, circuit: Circuit, row: RelayRow, reading: _Reading, wait: int) -> None:
        """Take all that this relay has. Each page acknowledges the one before, also the empty page at the
        end. CircuitFailed, ProtocolError."""
        clock = self._context.clock
        until = inf if wait else clock.monotonic() + MAILBOX_SECONDS
        after = 0
        for _ in range(WATCH_PAGES_MOST if wait else PAGES_MOST):
            asked = clock.monotonic()
            page = await self._list(circuit, row, w.HEADS, after, until, wait)
            if not page.heads:
                if wait and clock.monotonic() > asked + WATCH_MOST_AGAIN_SECONDS:
                    continue
                return  # with `wait`: too many wait at this relay
            numbers = [after, *(head.number for head in page.heads)]
            if any(later <= earlier for earlier, later in pairwise(numbers)):
                raise ProtocolError(Reason.MAILBOX_SHAPE)
            await self._fetch(circuit, row, page.heads, after, until, reading)
            after = page.next
        raise ProtocolError(Reason.MAILBOX_PAGES)

    async def _fetch(
        self,
        circuit: Circuit,
        row: RelayRow,
        heads: Sequence[Head],
        after: int,
        until: float,
        reading: _Reading,
    ) -> None:
        """Take the values of these heads that are not taken yet. Whatever lies before an item that is asked
        for is taken, or is not there any more, so it may be erased."""
        for head in heads:
            if head.item_id not in self._taken and head.number > after:
                async with self._turn_of(row, reading):
                    if head.item_id not in self._taken:  # another relay had its turn meanwhile
                        page = await self._list(circuit, row, w.VALUES, after, until)
                        for item in page.items:
                            async with self._taking:
                                await self._take_one(item, reading)
                        after = max(after, page.next)
            after = max(after, head.number)

    @asynccontextmanager
    async def _turn_of(self, row: RelayRow, reading: _Reading) -> AsyncIterator[None]:
        """This relay's turn to give values. A relay could hold up all others by being slow, so they wait for
        it a few seconds for each value, and it gets no second turn."""
        clock, held = self._context.clock, False
        if row.identity not in reading.slow:
            with trio.move_on_after(TURN_SECONDS):
                await self._turn.acquire()
                held = True
        began = clock.monotonic()
        try:
            yield
        finally:
            if held:
                self._turn.release()
            if clock.monotonic() > began + TURN_SECONDS:
                reading.slow.add(row.identity)

    async def _take_one(self, item: Item, reading: _Reading) -> None:
        if item.item_id in self._taken:
            return
        check_item_untrusted(self.mailbox, item)
        try:
            await self._take(item)
        except Exception as error:
            raise _NotTaken(error) from error
        reading.taken += 1
        self._taken[item.item_id] = None
        while len(self._taken) > TAKEN_MOST:
            del self._taken[next(iter(self._taken))]

    async def _list(
        self, circuit: Circuit, row: RelayRow, mode: int, after: int, until: float, wait: int = 0
    ) -> Items:
        """One page. CircuitFailed, also when the relay gives none; ProtocolError."""
        if self._context.clock.monotonic() >= until:
            raise CircuitFailed(Reason.ANSWER_TIMEOUT)
        return await ask_page(circuit, row, self.mailbox, self._sign, mode=mode, after=after, wait=wait)


async def read_older(context: Context, readers: Sequence[MailboxReader], over_seconds: float) -> None:
    """Read each of these once, at moments drawn from so many seconds; then again every 10 to 20 min from the
    relays that did not answer, a few times. Raises what `take` raises."""
    chance = context.chance
    started = context.clock.monotonic()
    moments = sorted(started + chance.between(0.0, over_seconds) for _ in readers)
    left = []
    for moment, reader in zip(moments, readers, strict=True):
        await trio.sleep_until(moment)
        if not (await reader.read()).whole:
            left.append(reader)
    for _ in range(AGAIN_TIMES):
        if not left:
            return
        await trio.sleep(chance.between(AGAIN_LEAST_SECONDS, AGAIN_MOST_SECONDS))
        left = [reader for reader in left if not (await reader.read(missing=True)).whole]
