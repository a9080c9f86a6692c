"""Reads a whole board: the mailboxes of all periods of which something may lie there (SPEC 14).

An item lies in the mailbox of the period in which it was posted. So the last eight periods are read, all at
once, and their posts are released period by period, the oldest first. A reading ends when all relays have
given what they have. If only one of a place is left, it has some seconds more. The third relay of a place has
nothing in most cases, and answers first: it alone says little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from onionshh.client.board.arriving import Arriving
from onionshh.client.board.fetching import Fetching
from onionshh.client.context import Context
from onionshh.client.mail.listing import circuit_to
from onionshh.core.board.topic import Topic
from onionshh.core.mailbox.places import ASKED, Places
from onionshh.errors import BadData, Closed, NetworkUnreachable, NoDirectory, ProtocolError
from onionshh.ids import RelayId
from onionshh.net.circuits import CircuitFailed
from onionshh.reasons import Reason
from onionshh.wire.consensus import RelayRow

OLDER_MOST: Final = 8
PAGES_MOST: Final = 16
"""Pages of heads that one relay may give. An honest relay has 14 at most."""
SLOW_SECONDS: Final = 10.0
"""Beyond this and half as long again as the others took, nobody waits for a slow relay."""
READING_SECONDS: Final = 900.0


@dataclass(slots=True)
class Found:
    """What one reading found. `present`: the items that some relay has. `answered`: how many relays gave all
    that they have, of `asked`."""

    present: set[bytes] = field(default_factory=set)
    answered: int = 0
    asked: int = 0
    unsure: bool = False
    """Whether in some period fewer than two relays of one place answered."""
    error: BadData | Closed | None = None
    """Why what was found could not be kept."""

    @property
    def whole(self) -> bool:
        """Whether all relays answered."""
        return self.answered == self.asked > 0


class BoardReading:
    """The readings of one board."""

    def __init__(self, context: Context, topic: Topic, arriving: Arriving) -> None:
        self._context = context
        self._topic = topic
        self._arriving = arriving
        self._periods: dict[int, Fetching] = {}
        self._turn = trio.Lock()

    def period(self, period: int) -> Fetching:
        """The mailbox of this period. Whoever reads it at the same time shares the work."""
        if period not in self._periods:
            self._periods[period] = Fetching(self._context, self._topic, period, self._arriving)
        return self._periods[period]

    def live_periods(self) -> tuple[int, ...]:
        """The periods in which something may be posted now: the present one, and a neighbour near a change,
        because members have different consensuses. Oldest first. NoDirectory."""
        view, clock = self._context.view, self._context.clock
        params, valid_after = view.params, view.consensus.valid_after
        begun = valid_after % params.period_seconds < params.valid_seconds + params.interval_seconds
        over = clock.best() >= (view.period + 1) * params.period_seconds
        return tuple(range(view.period - begun, view.period + 1 + over))

    async def read(self, *, hold: bool = False) -> Found:
        """Read all. What is new is kept when this returns. `hold`: but for what was just posted, and comes
        after something that is missing: it is held for a while. NoDirectory, BadData, Closed."""
        async with self._turn:
            live = self.live_periods()
            oldest = max(0, live[-1] - OLDER_MOST)
            for gone in [period for period in self._periods if period < oldest]:
                del self._periods[gone]
            found = Found()
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(
                        self._read_periods, range(oldest, live[-1] + 1), found, nursery.cancel_scope, hold
                    )
            finally:
                self._arriving.end()
            if found.error is not None:
                raise found.error
            return found

    async def _read_periods(
        self, periods: Sequence[int], found: Found, scope: trio.CancelScope, hold: bool
    ) -> None:
        """Read all at once, and keep their posts in the order of the periods. `scope` ends all of it."""
        done = {period: trio.Event() for period in periods}
        async with trio.open_nursery() as nursery:
            for period, event in done.items():
                self._arriving.begin(period)
                nursery.start_soon(self._read_period, period, found, event, scope)
            for period, event in done.items():
                await event.wait()
                try:
                    await self._arriving.settle(period, all_of_it=not hold)
                except (BadData, Closed) as error:
                    found.error = error
                    scope.cancel()

    def _places(self, period: int) -> Places | None:
        view = self._context.keeper.current  # None when it has expired meanwhile: then nobody is asked
        if view is None:
            return None
        return self._context.shared.rings.readable(view, self._topic.mailbox(period))

    async def _read_period(
        self, period: int, found: Found, done: trio.Event, whole: trio.CancelScope
    ) -> None:
        places = self._places(period)
        if places is None:  # nobody knows where it lies
            done.set()
            return
        fetching, began = self.period(period), self._context.clock.monotonic()
        answered: set[RelayId] = set()
        left = {row.identity for place in places for row in place}

        def is_enough() -> bool:
            return all(
                any(row.identity in answered for row in place)
                and sum(row.identity in left for row in place) < ASKED - 1
                for place in places
                if place
            )

        async def ask(row: RelayRow) -> None:
            try:
                if await self._ask_one(fetching, row, found):
                    answered.add(row.identity)
                left.discard(row.identity)
            except (BadData, Closed) as error:
                found.error = error
                whole.cancel()
            if is_enough() and scope.deadline > now() + READING_SECONDS / 2:
                scope.deadline = now() + SLOW_SECONDS + (now() - began) / 2

        def now() -> float:
            return self._context.clock.monotonic()

        rows = [row for place in places for row in place]
        with trio.CancelScope() as scope:
            scope.deadline = trio.current_time() + 2 * READING_SECONDS
            async with trio.open_nursery() as nursery:
                for row in self._context.chance.shuffled(rows):
                    nursery.start_soon(ask, row)
        found.asked += len(rows)
        found.answered += len(answered)
        sure = all(
            sum(row.identity in answered for row in place) >= min(ASKED - 1, len(place)) for place in places
        )
        found.unsure = found.unsure or not sure
        done.set()

    async def _ask_one(self, fetching: Fetching, row: RelayRow, found: Found) -> bool:
        """Take all that one relay has. Returns whether it gave all."""
        context = self._context
        try:
            async with context.shared.mailbox_turns:
                circuit = await circuit_to(context, row)
                try:
                    with trio.move_on_after(READING_SECONDS):
                        after = 0
                        for _ in range(PAGES_MOST):
                            page = await fetching.ask(circuit, row, after)
                            if not page.heads or self._arriving.is_stuck:
                                return not page.heads
                            found.present.update(head.item_id for head in page.heads)
                            after = page.next
                        raise ProtocolError(Reason.MAILBOX_PAGES)
                finally:
                    circuit.close(Reason.FINISHED)
        except (CircuitFailed, NetworkUnreachable, NoDirectory):
            pass
        except ProtocolError as error:
            context.drops.count(error.reason)
        return False


def rows_of(places: Places | None) -> Sequence[RelayRow]:
    """All relays of both places."""
    return [row for place in places or () for row in place]
