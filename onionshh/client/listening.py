"""What a contact hears from its endpoint first, and late replies: kept, shown to the program, answered (SPEC 12).

A contact that nobody iterates over and that has no name does without, and needs no database.
"""

from __future__ import annotations

from contextlib import suppress

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.lanes import LaneSet
from onionshh.client.delivery.receiving import Receiving
from onionshh.client.delivery.sending import Sending
from onionshh.client.hosting.whisper_store import WHISPER_MIGRATIONS, WhisperStore
from onionshh.client.peer import Peer
from onionshh.client.receipt import Receipt
from onionshh.client.session.keeper import SessionKeeper
from onionshh.core.delivery.incoming import Taken
from onionshh.core.delivery.record import TTL_DEFAULT_SECONDS, new_whisper
from onionshh.core.delivery.sender import WAITING_MOST
from onionshh.errors import Closed, Full
from onionshh.ids import WhisperId
from onionshh.net.database import Database
from onionshh.net.memory_folder import InMemory

DATABASE_NAME = "contact"


class Listening:
    """The Receiver of one contact, as the program sees it. `database`: that of a named contact, else None."""

    def __init__(
        self,
        context: Context,
        lanes: LaneSet,
        sessions: SessionKeeper,
        sending: Sending,
        database: Database | None = None,
    ) -> None:
        self._context = context
        self._sending = sending
        self._token = trio.lowlevel.current_trio_token()
        self._own = database is None
        self._database = database or Database(
            InMemory().database(DATABASE_NAME), WHISPER_MIGRATIONS, context.run_blocking
        )
        self._over = False
        self.shows_replies = False
        """Whether the program iterates, so that late replies are shown too."""
        self.receiving = Receiving(
            context, lanes, WhisperStore(self._database), sessions, lanes_wait=False
        )
        for lane in lanes:
            self.receiving.lane_opened(lane)

    async def load(self) -> None:
        """Take up what is on disk. BadData."""
        await self.receiving.load()

    async def run(self) -> None:
        """Receive, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                if self._own:
                    nursery.start_soon(self._database.keep_erased)
                await self.receiving.run()
        finally:
            self._over = True
            if self._own:
                self._database.close()

    # What the program does with its whispers.

    async def next(self) -> tuple[Taken, int] | None:
        """As `Holder.next`."""
        return await self.receiving.next()

    async def finish(self, whisper_id: WhisperId) -> None:
        """As `Holder.finish`. Closed, BadData."""
        self._check_open()
        await self.receiving.finish(whisper_id)

    async def reply(self, taken: Taken, body: bytes) -> Receipt:
        """As `Holder.reply`: the reply is a whisper of ours. Closed, BadData, Full."""
        self._check_open()
        if self._sending.sender.waiting >= WAITING_MOST:
            raise Full(f"{WAITING_MOST} whispers to this contact wait already; reply once some have a receipt.")
        clock = self._context.clock
        record = new_whisper(
            body,
            expires=max(taken.expires, clock.best() + TTL_DEFAULT_SECONDS),
            privacy_class=taken.privacy_class,
            random_bytes=self._context.chance.bytes,
            in_reply_to=taken.whisper_id,
        )
        await self.receiving.finish(taken.whisper_id)
        return self._sending.submit(record, clock.monotonic() + record.expires - clock.best())

    def let_go(self, whisper_id: WhisperId) -> None:
        """As `Holder.let_go`."""
        if not self._over:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self.receiving.let_go, whisper_id)

    def peer_of(self, taken: Taken) -> Peer | None:
        """None: the other side is the contact itself."""
        return None

    def _check_open(self) -> None:
        if self._over:
            raise Closed("This contact is not open.")
