"""Watches a board: asks each relay of the present mailbox to answer when something comes (SPEC 14).

One task and one circuit for each relay of each period in which something may be posted now. When the
consensus changes, other relays or another period may be meant: then the tasks are others. The whole board is
read at the start, and now and then, for what lies in earlier periods and at relays that were away.
"""

from __future__ import annotations

import logging
from typing import Final

import trio

from onionshh.client.board.arriving import Arriving
from onionshh.client.board.fetching import Fetching
from onionshh.client.board.reading import BoardReading, rows_of
from onionshh.client.context import Context
from onionshh.client.mail.listing import circuit_to
from onionshh.errors import BadData, NetworkUnreachable, NoDirectory, ProtocolError
from onionshh.ids import RelayId
from onionshh.net.circuits import Circuit, CircuitFailed
from onionshh.net.signals import Poke
from onionshh.reasons import Reason
from onionshh.wire.consensus import RelayRow

logger = logging.getLogger("onionshh.client")

WAIT_SECONDS: Final = (300, 600)
CIRCUIT_LIFE_SECONDS: Final = (3600.0, 7200.0)
SOON_SECONDS: Final = 5.0
"""An empty answer that comes sooner says that too many wait at this relay."""
AGAIN_MEAN_SECONDS: Final = 20.0
FAILED_LEAST_SECONDS: Final = 1.0
FAILED_MOST_SECONDS: Final = 60.0
SWEEP_SECONDS: Final = (1200.0, 2400.0)
FIRST_AGAIN_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 60.0

_Target = tuple[int, RelayId]


class Watching:
    """Watches one board while `run` runs."""

    def __init__(self, context: Context, reading: BoardReading, arriving: Arriving) -> None:
        self._context = context
        self._reading = reading
        self._arriving = arriving
        self._tasks: dict[_Target, trio.CancelScope] = {}
        self._after: dict[_Target, int] = {}
        self._look = Poke()

    async def run(self) -> None:
        """Watch, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sweep)
            nursery.start_soon(self._follow_consensus)
            while True:
                self._aim(nursery)
                with trio.move_on_after(LOOK_SECONDS):
                    await self._look.wait()

    async def _sweep(self) -> None:
        while True:
            pause = FIRST_AGAIN_SECONDS
            try:
                if (await self._reading.read(hold=True)).answered:
                    pause = self._context.chance.between(*SWEEP_SECONDS)
            except NoDirectory:
                pass  # without a list of relays nothing can be asked
            except BadData as error:
                logger.error("posts of a board could not be kept: %s", error)
            await trio.sleep(pause)

    async def _follow_consensus(self) -> None:
        while True:
            await self._context.keeper.changed()
            self._look.send()

    def _aim(self, nursery: trio.Nursery) -> None:
        """Start and end tasks, so that there is one for each relay that is to be watched."""
        try:
            view, periods = self._context.view, self._reading.live_periods()
        except NoDirectory:
            return
        wanted: dict[_Target, RelayRow] = {}
        for period in periods:
            places = self._context.shared.rings.readable(view, self._reading.period(period).mailbox)
            wanted.update(((period, row.identity), row) for row in rows_of(places))
        for target in self._tasks.keys() - wanted.keys():
            self._tasks.pop(target).cancel()
        self._after = {target: after for target, after in self._after.items() if target[0] in periods}
        for target in wanted.keys() - self._tasks.keys():
            scope = self._tasks[target] = trio.CancelScope()
            nursery.start_soon(self._watch, target, wanted[target], scope)

    async def _watch(self, target: _Target, row: RelayRow, scope: trio.CancelScope) -> None:
        fetching, failures = self._reading.period(target[0]), 0
        with scope:
            while True:
                try:
                    async with self._context.shared.mailbox_turns:
                        circuit = await circuit_to(self._context, row)
                    try:
                        life = self._context.chance.between(*CIRCUIT_LIFE_SECONDS)
                        while circuit.age_seconds < life:
                            await self._ask(target, row, fetching, circuit)
                            failures = 0
                    finally:
                        circuit.close(Reason.FINISHED)
                    continue
                except (CircuitFailed, NetworkUnreachable, NoDirectory):
                    pass
                except ProtocolError as error:
                    self._context.drops.count(error.reason)
                except BadData as error:
                    logger.error("posts of a board could not be kept: %s", error)
                failures += 1
                pause = min(FAILED_MOST_SECONDS, FAILED_LEAST_SECONDS * 2**failures)
                await trio.sleep(pause * self._context.chance.between(0.5, 1.0))

    async def _ask(self, target: _Target, row: RelayRow, fetching: Fetching, circuit: Circuit) -> None:
        """Wait for one answer, and keep what it brings."""
        context = self._context
        asked = context.clock.monotonic()
        wait = int(context.chance.between(*WAIT_SECONDS))
        page = await fetching.ask(circuit, row, self._after.get(target, 0), wait)
        await self._arriving.release()
        self._after[target] = page.next
        now = context.clock.monotonic()
        if not page.heads and now < asked + SOON_SECONDS:
            await trio.sleep(min(context.chance.exponential(AGAIN_MEAN_SECONDS), FAILED_MOST_SECONDS))
