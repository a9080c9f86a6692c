"""The mail of one contact: letters to the endpoint, and what the endpoint left for the contact (SPEC 14).

Letters go into the endpoint's inbox. Any stranger may fill that, or make it dear. Somebody whom the endpoint
knows then leaves a second letter with the same whisper in the pair mailbox of their session, whose name
nobody else has. The first is still tried, since the endpoint may have forgotten the session. The two are one
whisper, with one id.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.mailing import NotLeft
from onionshh.client.mail.deposits import Deposits, DepositsInMemory, beside, whisper_of
from onionshh.client.mail.leaving import Leaving, NotStored, Told, TooMuchMail
from onionshh.client.mail.letters import Letters
from onionshh.client.mail.pair_letter import seal_for_pair
from onionshh.client.mail.part_store import Parts, PartsInMemory, keep_tidy
from onionshh.client.mail.seed_store import Seeds, SeedsInMemory
from onionshh.client.mail.waiting import WaitingMail
from onionshh.client.session.visiting import VisitorSessions
from onionshh.client.steps import steps
from onionshh.core.delivery.record import Record
from onionshh.core.session.session import Session
from onionshh.errors import BadData, Closed
from onionshh.ids import WhisperId

if TYPE_CHECKING:
    from onionshh.client.contact_folder import ContactFolder

AGAIN_SECONDS: Final = 600.0
"""When to try again to leave the second letter, where there was no session or no room on the disk."""


class ContactMail:
    """The `Mail` of a contact's Sender. `load` it, `run` it. `folder`: that of a named contact, else None.
    `bring` and `expects`: as in `WaitingMail`. `record`: a whisper that is on its way."""

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
        record: Callable[[WhisperId], Record | None],
    ) -> None:
        self._context = context
        self._sessions = sessions
        self._told = told
        self._record = record
        self._nursery: trio.Nursery | None = None
        self._refused: set[WhisperId] = set()
        """Whispers whose second letter is to be left."""
        seeds: Seeds = SeedsInMemory() if folder is None else folder.seeds
        self._letters = Letters(context, address_key, sessions, seeds)
        deposits: Deposits = DepositsInMemory() if folder is None else folder.deposits
        self._leaving = Leaving(context, deposits, self)
        self._parts: Parts = PartsInMemory(context) if folder is None else folder.mail_parts
        self._waiting = WaitingMail(context, sessions, bring, expects, self._parts)

    async def load(self) -> None:
        """Take up what was left in an earlier run. BadData."""
        await self._parts.load()
        await self._letters.load()
        await self._leaving.restore()

    async def run(self) -> None:
        """Leave letters and read mail, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._waiting.run)
            self._nursery.start_soon(keep_tidy, self._parts)
            try:
                await self._leaving.run()
            finally:
                self._nursery = None

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
        gone: list[bool] = []
        failed: list[BadData | Closed] = []

        async def recall_one(letter: WhisperId) -> None:
            try:
                gone.append(await self._leaving.recall(letter))
            except (BadData, Closed) as error:
                failed.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(recall_one, whisper)
            nursery.start_soon(recall_one, beside(whisper))
        if failed:
            raise failed[0]
        return all(gone)

    def has(self, whisper: WhisperId) -> bool:
        """As `Mail.has`."""
        return self._leaving.is_left(whisper)

    # As `Told`, for both letters of a whisper.

    def proving(self, letter: WhisperId, seconds: float, tries: int) -> None:
        """As `Told.proving`."""
        whisper = self._whisper_of(letter)
        works = [self._leaving.work(one) for one in (whisper, beside(whisper))]
        self._told.proving(whisper, sum(work[0] for work in works), sum(work[1] for work in works))

    def stored(self, letter: WhisperId, copies: int, enough: bool) -> None:
        """As `Told.stored`: of the letter that more relays have."""
        whisper = self._whisper_of(letter)
        both = whisper, beside(whisper)
        most = max(self._leaving.copies(one) for one in both)
        self._told.stored(whisper, most, any(self._leaving.is_enough(one) for one in both))

    def not_stored(self, letter: WhisperId, why: NotStored) -> None:
        """As `Told.not_stored`. Where there is a pair mailbox, it is tried before anybody is told."""
        whisper = self._whisper_of(letter)
        if letter == whisper and why is not NotStored.REFUSED and whisper not in self._refused:
            self._leave_beside_soon(whisper, why)
        elif not self._leaving.is_enough(beside(letter)):
            self._told.not_stored(whisper, why)

    def lapsed(self, letter: WhisperId) -> None:
        """As `Told.lapsed`."""
        whisper = self._whisper_of(letter)
        if letter == whisper:
            self._told.lapsed(letter)
        else:
            self._leave_beside_soon(whisper, NotStored.FULL)

    def _leave_beside_soon(self, whisper: WhisperId, why: NotStored) -> None:
        if whisper not in self._refused and self._nursery is not None:
            self._refused.add(whisper)
            self._nursery.start_soon(self._leave_beside, whisper, why)

    async def _leave_beside(self, whisper: WhisperId, why: NotStored) -> None:
        """Leave the second letter, now or when there is a session, while the inbox does not take the
        first."""
        try:
            told = False
            while self._is_refused(whisper):
                if await self._left_beside(whisper):
                    return
                if not told:
                    told = True
                    self._told.not_stored(whisper, why)
                await trio.sleep(AGAIN_SECONDS)
        finally:
            self._refused.discard(whisper)

    def _is_refused(self, whisper: WhisperId) -> bool:
        waits = self.has(whisper) and not self._leaving.is_enough(whisper)
        return waits and not self._leaving.is_left(beside(whisper)) and self._record(whisper) is not None

    async def _left_beside(self, whisper: WhisperId) -> bool:
        """Returns whether the second letter is being left."""
        session, record = self._session, self._record(whisper)
        if session is None or record is None:
            return False
        try:
            items = seal_for_pair(self._context, session, whisper, [record], record.expires)
            steps.debug("the inbox is full or too dear; we also leave it in the mailbox of our session")
            await self._leaving.leave(beside(whisper), items, record.expires)
        except (NotLeft, TooMuchMail, BadData, Closed):
            return False
        if self._record(whisper) is None:  # it was delivered or recalled meanwhile
            self._leaving.recall_soon(beside(whisper))
        return True

    def _whisper_of(self, letter: WhisperId) -> WhisperId:
        return whisper_of(letter, self._leaving.kind(letter))

    @property
    def _session(self) -> Session | None:
        """The session that the endpoint has shown to have. It has a mailbox now."""
        session, view = self._sessions.current, self._context.keeper.view
        if session is None or view is None or not session.marks.confirmed:
            return None
        return session if session.mail.key_of(view.period) is not None else None
