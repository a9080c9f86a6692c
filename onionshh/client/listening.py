"""What a contact hears from its endpoint first, and late replies (SPEC 12): kept, shown, answered.

A contact that nobody iterates over and that has no name does without, and needs no database.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.alone import CameAlone
from onionshh.client.delivery.lanes import LaneSet
from onionshh.client.delivery.receiving import Receiving
from onionshh.client.delivery.sending import Sending
from onionshh.client.hosting.whisper_store import WHISPER_MIGRATIONS, WhisperStore, nothing_else
from onionshh.client.peer import Peer
from onionshh.client.receipt import Receipt
from onionshh.client.session.keeper import SessionKeeper
from onionshh.core.delivery.incoming import Taken
from onionshh.core.delivery.record import TTL_DEFAULT_SECONDS, Record, new_whisper
from onionshh.core.delivery.sender import WAITING_MOST
from onionshh.errors import BadData, Closed, Full
from onionshh.ids import WhisperId
from onionshh.net.database import IN_MEMORY, Database

if TYPE_CHECKING:
    from onionshh.client.contact_folder import ContactFolder
    from onionshh.client.outbox_store import PeerOutbox

logger = logging.getLogger("onionshh.client")


class _FromOutbox(CameAlone):
    """Answers that an earlier run acknowledged. They are shown whatever their dates."""

    def why_refused(self, record: Record) -> int | None:
        """Nothing is wrong with them."""
        return None


class Listening:
    """The Receiver of one contact, as the program sees it. `folder`: that of a named contact, else None."""

    def __init__(
        self,
        context: Context,
        lanes: LaneSet,
        sessions: SessionKeeper,
        sending: Sending,
        folder: ContactFolder | None = None,
    ) -> None:
        self._context = context
        self._lanes = lanes
        self._sending = sending
        self._folder = folder
        self._token = trio.lowlevel.current_trio_token()
        self._database = (
            Database(IN_MEMORY, WHISPER_MIGRATIONS, context.run_blocking)
            if folder is None
            else folder.database
        )
        self._over = False
        self.shows_replies = False
        """Whether the program iterates, so that late replies are shown too."""
        self.receiving = Receiving(context, lanes, WhisperStore(self._database), sessions, lanes_wait=False)
        for lane in lanes:
            self.receiving.lane_opened(lane)

    async def load(self) -> None:
        """Take up what is on disk. BadData."""
        await self.receiving.load()

    async def run(self) -> None:
        """Receive, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                if self._folder is None:
                    nursery.start_soon(self._database.keep_erased)
                await self.receiving.run()
        finally:
            self._over = True
            if self._folder is None:
                self._database.close()

    async def take_up(self) -> None:
        """Show the answers that came while nobody waited for them. Each is marked as shown in the outbox once
        it is among the whispers on disk."""
        folder = self._folder
        if folder is None:
            return

        async def acknowledged(receipt: Record) -> None:
            folder.outbox.shown(receipt.in_reply_to)

        with suppress(Closed):
            try:
                answers = await folder.outbox.late_answers()
                if answers:
                    carrier = _FromOutbox(answers[0], acknowledged, self._context.clock)
                    lane = self._lanes.add(carrier, writers=1)
                    self.receiving.lane_opened(lane)
                for answer in answers:
                    await self.receiving.bring(lane, answer)
            except BadData as error:
                logger.error("answers of an earlier run cannot be shown: %s", error)

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
        if not self._sending.sender.has_room:
            raise Full(
                f"{WAITING_MOST} whispers to this contact wait already; reply once some have a receipt."
            )
        clock = self._context.clock
        record = new_whisper(
            body,
            expires=max(taken.expires, clock.best() + TTL_DEFAULT_SECONDS),
            privacy_class=taken.privacy_class,
            random_bytes=self._context.chance.bytes,
            in_reply_to=taken.whisper_id,
        )
        also = nothing_else if self._folder is None else partial(self._write, self._folder.outbox, record)
        await self.receiving.finish(taken.whisper_id, also=also)
        return self._sending.submit(record, clock.monotonic() + record.expires - clock.best())

    def let_go(self, whisper_id: WhisperId) -> None:
        """As `Holder.let_go`."""
        if not self._over:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self.receiving.let_go, whisper_id)

    def peer_of(self, taken: Taken) -> Peer | None:
        """None: the other side is the contact itself."""
        return None

    def sender_of(self, taken: Taken) -> str | None:
        """None: the other side is the contact itself."""
        return None

    @staticmethod
    def _write(outbox: PeerOutbox, record: Record, connection: sqlite3.Connection) -> None:
        outbox.write(connection, record)

    def _check_open(self) -> None:
        if self._over:
            raise Closed("This contact is not open.")
