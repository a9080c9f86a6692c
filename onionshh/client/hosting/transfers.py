"""Carries out what IncomingTransfers decides: writes parts, checks and shows wholes, sends receipts (SPEC
13).

What a record causes is done in the task that reads its lane. So each lane has at most one part that is not on
disk, and `WRITING_MOST` of them are being written at a time. Those that the program finishes are committed in
the program's own task.
"""

from __future__ import annotations

import logging
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.lanes import Lane, LaneSet
from onionshh.client.hosting.part_store import PartStore
from onionshh.client.incoming import Shown
from onionshh.client.session.keeper import SessionKeeper
from onionshh.core.delivery.actions import Count, LaneId, Send
from onionshh.core.delivery.parts import Part, TransferId
from onionshh.core.delivery.record import Record
from onionshh.core.delivery.transfer_actions import (
    CheckWhole,
    InAction,
    InActions,
    OfferTransfer,
    RememberTransfers,
    StoredTransfer,
    TransferLost,
)
from onionshh.core.delivery.transfer_in import IncomingTransfers
from onionshh.errors import BadData, Closed

logger = logging.getLogger("onionshh.client")

TIDY_SECONDS: Final = 60.0
WRITING_MOST: Final = 16
LOST_MOST: Final = 64
"""Transfers that did not come whole, until the program asks for them. The oldest is forgotten."""


@dataclass(eq=False, slots=True)
class _Wish:
    """A task of the program that waits for a transfer."""

    found: Shown | None = None
    came: trio.Event = field(default_factory=trio.Event)


class Transfers:
    """The transfers that one endpoint gets. `load` it, then `run` it."""

    def __init__(self, context: Context, lanes: LaneSet, store: PartStore, sessions: SessionKeeper) -> None:
        self._context = context
        self._lanes = lanes
        self._store = store
        self._sessions = sessions
        self._machine = IncomingTransfers(context.chance.bytes)
        self._found: list[StoredTransfer] = []
        self._writing = trio.Semaphore(WRITING_MOST)
        self._wishes: deque[_Wish] = deque()
        self._lost: deque[TransferLost] = deque(maxlen=LOST_MOST)
        self._closed = False
        self._token = trio.lowlevel.current_trio_token()

    @property
    def machine(self) -> IncomingTransfers:
        """The machine behind it, for its numbers."""
        return self._machine

    async def load(self) -> None:
        """Read what is on disk. BadData."""
        self._found = await self._store.held()

    async def run(self) -> None:
        """Take up what an earlier run left, and erase what is past its time, until cancelled."""
        try:
            found, self._found = self._found, []
            await self._do(self._machine.restored(found, self._now()))
            while True:
                await self._do(self._machine.tidy(self._context.clock.earliest()))
                await trio.sleep(TIDY_SECONDS)
        finally:
            self._closed = True
            for wish in self._wishes:
                wish.came.set()

    async def bring(self, lane: Lane, record: Record) -> None:
        """A part came over this lane. ProtocolError if it is not one."""
        part = Part.decode_untrusted(record.body)
        self._lanes.used(lane.number, self)
        async with self._writing:
            await self._do(
                self._machine.part_in(
                    lane.number,
                    record,
                    part,
                    refuse=lane.carrier.why_refused(record),
                    now=self._now(),
                    session=None if lane.session is None else lane.session.session_id,
                )
            )

    # For the program.

    async def next(self) -> Shown | None:
        """As `TransferHolder.next`."""
        found = await self._wished()
        if isinstance(found, OfferTransfer):
            try:
                await self._store.show(found.transfer)
            except BaseException:
                self._not_shown(found)
                raise
        return found

    async def read(self, transfer: TransferId, number: int) -> bytes | None:
        """As `TransferHolder.read`."""
        return await self._store.read(transfer, number)

    async def finish(self, transfer: TransferId) -> None:
        """As `TransferHolder.finish`."""
        if self._closed:
            raise Closed("This endpoint is not open.")
        for action in self._machine.finish(transfer):
            if isinstance(action, RememberTransfers):
                self._at_once(await self._commit(action))

    def let_go_soon(self, transfer: TransferId) -> None:
        """As `TransferHolder.let_go_soon`."""
        if not self._closed:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._let_go, transfer)

    def _let_go(self, transfer: TransferId) -> None:
        if not self._closed:
            self._at_once(self._machine.let_go(transfer))

    async def _wished(self) -> Shown | None:
        if self._closed:
            return None
        if self._lost:
            await trio.lowlevel.checkpoint()
            return self._lost.popleft()
        wish = _Wish()
        self._wishes.append(wish)
        self._at_once(self._machine.want())
        try:
            if wish.found is None:
                await wish.came.wait()
            else:
                await trio.lowlevel.checkpoint()
        except BaseException:
            if wish.found is None:
                self._wishes.remove(wish)
                self._machine.unwant()
            else:
                self._not_shown(wish.found)
            raise
        return wish.found

    def _not_shown(self, found: Shown) -> None:
        """Its caller went away."""
        if isinstance(found, TransferLost):
            self._tell_lost(found)
        elif not self._closed:
            self._at_once(self._machine.not_shown(found.transfer))

    def _tell_lost(self, lost: TransferLost) -> None:
        if not self._wishes:
            self._lost.append(lost)
            return
        self._machine.unwant()
        self._grant(lost)

    def _grant(self, found: Shown) -> None:
        wish = self._wishes.popleft()
        wish.found = found
        wish.came.set()

    # Actions.

    async def _do(self, actions: InActions) -> None:
        """Carry out actions in order; what they cause comes after those that wait already."""
        todo: deque[InAction] = deque(actions)
        while todo:
            action = todo.popleft()
            match action:
                case RememberTransfers():
                    todo.extend(await self._keep(action))
                case CheckWhole():
                    todo.extend(await self._check(action))
                case _:
                    self._at_once((action,))

    def _at_once(self, actions: InActions) -> None:
        """Carry out actions that await nothing."""
        for action in actions:
            match action:
                case Send():
                    self._lanes.used(action.lane, self)
                    self._lanes.send(action, _nobody_asks)
                case OfferTransfer():
                    self._grant(action)
                case TransferLost():
                    self._tell_lost(action)
                case Count(reason):
                    self._context.drops.count(reason)

    async def _keep(self, remember: RememberTransfers) -> InActions:
        try:
            return await self._commit(remember)
        except BadData as error:
            # It is not on disk, so not acknowledged: its sender keeps it and sends it again.
            logger.error("a part of a transfer could not be kept: %s", error)
        except Closed:
            pass
        return ()

    async def _commit(self, remember: RememberTransfers) -> InActions:
        """Write rows, and the first rows of the sessions that they came in. BadData, Closed."""
        sessions = self._sessions.unwritten(remember.rows)
        try:
            await self._store.commit(remember.rows, sessions.write)
        except BaseException:
            self._at_once(self._machine.not_remembered(remember.token))
            raise
        sessions.written()
        return self._machine.remembered(remember.token)

    async def _check(self, check: CheckWhole) -> InActions:
        whole_hash: bytes | None = None
        try:
            whole_hash = await self._store.whole_hash(check.transfer, check.parts)
        except BadData as error:
            logger.error("a transfer could not be read: %s", error)
        except Closed:
            pass
        return self._machine.checked(check.transfer, whole_hash, self._context.clock.best())

    def _now(self) -> float:
        return self._context.clock.monotonic()

    # A user of lanes, which never ends one and needs no word of their end: a part without a receipt comes
    # again.

    def lane_gone(self, number: LaneId) -> None:
        """Nothing to do."""

    def lane_used(self, number: LaneId) -> None:
        """Nothing to do."""


def _nobody_asks(send: Send) -> None:
    """Nobody asks when a receipt has left."""
