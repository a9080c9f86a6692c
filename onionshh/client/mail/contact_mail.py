"""The mail of one contact: letters to the endpoint, and what the endpoint left for the contact (SPEC 14)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from onionshh.client.context import Context
from onionshh.client.mail.deposits import Deposits, DepositsInMemory
from onionshh.client.mail.leaving import Leaving, Told
from onionshh.client.mail.letters import Letters
from onionshh.client.mail.part_store import Parts, PartsInMemory, keep_tidy
from onionshh.client.mail.seed_store import Seeds, SeedsInMemory
from onionshh.client.mail.waiting import WaitingMail
from onionshh.client.session.visiting import VisitorSessions
from onionshh.core.delivery.record import Record
from onionshh.core.session.session import Session
from onionshh.ids import WhisperId

if TYPE_CHECKING:
    from onionshh.client.contact_folder import ContactFolder


class ContactMail:
    """The `Mail` of a contact's Sender. `load` it, `run` it. `folder`: that of a named contact, else None.
    `bring` and `expects`: as in `WaitingMail`."""

    def __init__(
        self,
        context: Context,
        address_key: bytes,
        sessions: VisitorSessions,
        folder: ContactFolder | None,
        told: Told,
        *,
        bring: Callable[[Session, Record], Awaitable[None]],
        expects: Callable[[], bool],
    ) -> None:
        seeds: Seeds = SeedsInMemory() if folder is None else folder.seeds
        self._letters = Letters(context, address_key, sessions, seeds)
        deposits: Deposits = DepositsInMemory() if folder is None else folder.deposits
        self._leaving = Leaving(context, deposits, told)
        self._parts: Parts = PartsInMemory(context) if folder is None else folder.mail_parts
        self._waiting = WaitingMail(context, sessions, bring, expects, self._parts)

    async def load(self) -> None:
        """Take up what was left in an earlier run. BadData."""
        await self._parts.load()
        await self._letters.load()
        await self._leaving.restore()

    async def run(self) -> None:
        """Leave letters and read mail, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._waiting.run)
            nursery.start_soon(keep_tidy, self._parts)
            await self._leaving.run()

    def answered(self) -> None:
        """The endpoint has shown that it has a session."""
        self._letters.answered()

    @property
    def receipts(self) -> bool:
        """As `Mail.receipts`."""
        return self._letters.receipts

    async def leave(self, record: Record) -> None:
        """As `Mail.leave`."""
        if not self.has(record.whisper_id):
            items = await self._letters.seal(record)
            await self._leaving.leave(record.whisper_id, items, record.expires)

    async def recall(self, whisper: WhisperId) -> bool:
        """As `Mail.recall`."""
        return await self._leaving.recall(whisper)

    def has(self, whisper: WhisperId) -> bool:
        """As `Mail.has`."""
        return self._leaving.is_left(whisper)
