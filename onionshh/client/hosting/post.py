"""What an endpoint leaves at relays for peers that are away: receipts, replies, and what it says first (SPEC
14).

| moment                         | on disk first              | what happens                                |
|--------------------------------|----------------------------|---------------------------------------------|
| a letter was read              | its whisper, its receipt   | the relays are asked to erase the letter    |
| 17 receipts, or 60 s           |                            | over a circuit or the way back, if there is |
| neither is there               | the sealed receipts        | left in the pair mailbox                    |
| a reply, or a first word       | its row, then sealed bytes | left in the pair mailbox                    |
| the peer has acknowledged that | that it is recalled        | the relays erase it                         |

Receipts wait for each other, because each deposit takes work and a circuit for each copy. A node leaves at
most six letters a minute for peers: otherwise strangers could make it work for their letters without end.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Final

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.mailing import MakesMail, NotLeft
from onionshh.client.hosting.owed_store import OwedStore
from onionshh.client.hosting.pair_mail import PairMail, names
from onionshh.client.mail.deposit_store import DepositStore
from onionshh.client.mail.leaving import Leaving, NotStored, Told, TooMuchMail
from onionshh.client.mail.pair_letter import seal_for_pair
from onionshh.client.session.keeper import SessionKeeper
from onionshh.core.delivery.record import Record
from onionshh.core.session.session import Session
from onionshh.errors import BadData
from onionshh.geometry import WHISPER_ID
from onionshh.ids import WhisperId
from onionshh.net.database import Database
from onionshh.net.signals import Poke
from onionshh.reasons import Reason

logger = logging.getLogger("onionshh.client")

TOGETHER_SECONDS: Final = 60.0
TOGETHER_MOST: Final = 17
"""Receipts that fit into one item."""
OWED_MOST: Final = 4096
CALLS_AT_ONCE: Final = 16
"""Peers that are called at once to bring them receipts. A way back may lead nowhere, and the others must not
wait for that."""
LEAST_SECONDS: Final = 600
"""A receipt for a whisper with no more time than this is not left: the visitor asks for it live."""
TRY_AGAIN_SECONDS: Final = 60.0

OVER: Final = "the session with this peer is over"
TOLD_MOST: Final = 4096
"""Letters of which somebody is told."""

StoredToo = Callable[[WhisperId, int, bool], None]
"""As `Told.stored`."""
Live = Callable[[Session, Sequence[Record]], Awaitable[Sequence[Record]]]
"""Sends receipts to a peer now, if it can be reached. Returns those that did not leave."""


@dataclass(slots=True)
class _Owed:
    """The receipts for one session, by what they are for, and when they leave: monotonic seconds."""

    due: float
    receipts: dict[WhisperId, Record] = field(default_factory=dict)


class _Router:
    """Tells of each letter whoever left it. What is told of those of an earlier run is kept until somebody
    wants to know it. `stored_too` is told of copies as well."""

    def __init__(self, stored_too: StoredToo) -> None:
        self._stored_too = stored_too
        self._told: dict[WhisperId, Told] = {}
        self._early: dict[WhisperId, tuple[int, bool]] = {}
        self.restoring = False

    def tell(self, letter: WhisperId, told: Told) -> None:
        """From now on this one wants to know."""
        self._told[letter] = told
        while len(self._told) > TOLD_MOST:
            del self._told[next(iter(self._told))]
        if letter in self._early:
            told.stored(letter, *self._early.pop(letter))

    def forget(self, letter: WhisperId) -> None:
        """Nobody wants to know of this letter any more."""
        self._told.pop(letter, None)
        self._early.pop(letter, None)

    def proving(self, letter: WhisperId, seconds: float, tries: int) -> None:
        """As `Told.proving`."""
        if letter in self._told:
            self._told[letter].proving(letter, seconds, tries)

    def stored(self, letter: WhisperId, copies: int, enough: bool) -> None:
        """As `Told.stored`."""
        self._stored_too(letter, copies, enough)
        if letter in self._told:
            self._told[letter].stored(letter, copies, enough)
        elif self.restoring:
            self._early[letter] = copies, enough

    def not_stored(self, letter: WhisperId, why: NotStored) -> None:
        """As `Told.not_stored`."""
        if letter in self._told:
            self._told[letter].not_stored(letter, why)

    def lapsed(self, letter: WhisperId) -> None:
        """As `Told.lapsed`. Receipts that nobody could get are not left again: the visitor asks for them."""
        if letter in self._told:
            self._told[letter].lapsed(letter)


class Post:
    """The post of one endpoint. `load` it, then `run` it. `stored`: told how many relays have a letter."""

    def __init__(
        self,
        context: Context,
        database: Database,
        keeper: SessionKeeper,
        *,
        live: Live,
        stored: StoredToo,
    ) -> None:
        self._context = context
        self._keeper = keeper
        self._live = live
        self._store = OwedStore(database)
        self._router = _Router(stored)
        self.leaving = Leaving(context, DepositStore(database), self._router)
        self._owed: dict[bytes, _Owed] = {}
        self._flushing: set[bytes] = set()
        """Sessions whose receipts are just being brought over."""
        self._calls = trio.CapacityLimiter(CALLS_AT_ONCE)
        self._poke = Poke()

    @property
    def owed(self) -> int:
        """How many receipts wait."""
        return sum(len(owed.receipts) for owed in self._owed.values())

    async def load(self) -> None:
        """Take up what is on disk. BadData."""
        self._router.restoring = True
        await self.leaving.restore()
        self._router.restoring = False
        for session, receipt in await self._store.load():
            self._add(session, [receipt])

    async def run(self) -> None:
        """Leave what is to be left, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.leaving.run)
            while True:
                with trio.move_on_at(min((owed.due for _, owed in self._idle()), default=inf)):
                    await self._poke.wait()
                now = self._context.clock.monotonic()
                for session_id in [key for key, owed in self._idle() if owed.due <= now]:
                    self._flushing.add(session_id)
                    nursery.start_soon(self._flush_alone, session_id)

    # Receipts.

    async def owe(self, session: Session, receipts: Sequence[Record]) -> None:
        """These receipts are owed to a peer. They are on disk when this returns. BadData, Closed."""
        if self.owed + len(receipts) > OWED_MOST:
            self._context.drops.count(Reason.MAIL_RECEIPTS_MOST)
            return
        await self._store.add(session.session_id, receipts)
        self._add(session.session_id, receipts)
        self._poke.send()

    def _add(self, session_id: bytes, receipts: Sequence[Record]) -> None:
        now = self._context.clock.monotonic()
        owed = self._owed.setdefault(session_id, _Owed(now + TOGETHER_SECONDS))
        owed.receipts.update((receipt.in_reply_to, receipt) for receipt in receipts)
        if len(owed.receipts) >= TOGETHER_MOST:
            owed.due = min(owed.due, now)

    def _idle(self) -> list[tuple[bytes, _Owed]]:
        """The sessions whose receipts are not just being brought over."""
        return [(key, owed) for key, owed in self._owed.items() if key not in self._flushing]

    async def _flush_alone(self, session_id: bytes) -> None:
        try:
            await self._flush(session_id)
        finally:
            self._flushing.discard(session_id)
            self._poke.send()

    async def _flush(self, session_id: bytes) -> None:
        """Bring over the receipts of one session, as many as fit one item."""
        owed, session = self._owed.get(session_id), self._keeper.get(session_id)
        if owed is None:
            return
        receipts = list(owed.receipts.values())[:TOGETHER_MOST]
        if session is not None:
            try:
                async with self._calls:
                    receipts_left = await self._live(session, receipts)
                await self._bring(session, receipts_left)
            except (NotLeft, TooMuchMail, BadData) as error:
                if isinstance(error, BadData):
                    logger.error("a receipt could not be left: %s", error)
                wait = error.again_seconds if isinstance(error, NotLeft) else TRY_AGAIN_SECONDS
                if wait < inf:
                    owed.due = self._context.clock.monotonic() + wait
                    return
        self._done(session_id, [receipt.in_reply_to for receipt in receipts])

    async def _bring(self, session: Session, receipts: Sequence[Record]) -> None:
        best = self._context.clock.best()
        left = [receipt for receipt in receipts if receipt.expires - best > LEAST_SECONDS]
        if left:
            letter = WhisperId(self._context.chance.bytes(WHISPER_ID))
            await self._leave(session, letter, left, max(receipt.expires for receipt in left))

    def _done(self, session_id: bytes, whispers: Sequence[WhisperId]) -> None:
        """These receipts are not owed any more."""
        owed = self._owed.get(session_id)
        gone = [whisper for whisper in whispers if owed is not None and whisper in owed.receipts]
        if owed is None or not gone:
            return
        self._store.forget(gone)
        for whisper in gone:
            del owed.receipts[whisper]
        owed.due = self._context.clock.monotonic()
        owed.due += 0 if len(owed.receipts) >= TOGETHER_MOST else TOGETHER_SECONDS
        if not owed.receipts:
            del self._owed[session_id]

    # Letters.

    def mail_for(self, session: Session) -> MakesMail:
        """Makes the mail of the Sender for one peer."""
        return partial(PairMail, self, session)

    def tell(self, letter: WhisperId, told: Told) -> None:
        """This one wants to know what becomes of this letter."""
        self._router.tell(letter, told)

    async def leave(self, session: Session, record: Record) -> None:
        """Leave a reply, or what is said first, as `Mail.leave` does. A reply is also a receipt."""
        await self._leave(session, record.whisper_id, [record], record.expires)
        self._done(session.session_id, [record.in_reply_to])

    async def recall(self, letter: WhisperId) -> bool:
        """As `Mail.recall`."""
        self._router.forget(letter)
        return await self.leaving.recall(letter)

    def forget_peer(self, session: Session) -> None:
        """What waits for this peer at relays is recalled, and no receipt is owed to it any more."""
        owed = self._owed.get(session.session_id)
        if owed is not None:
            self._done(session.session_id, list(owed.receipts))
        for letter in self.leaving.letters_in(names(session)):
            self._router.forget(letter)
            self.leaving.recall_soon(letter)

    async def _leave(
        self, session: Session, letter: WhisperId, records: Sequence[Record], until: int
    ) -> None:
        if self.leaving.is_left(letter):
            return
        await self._context.shared.letter_turn(self._context.clock)
        if self._keeper.get(session.session_id) is not session:
            raise NotLeft(OVER)  # forgotten while others had their turns: nobody would recall it
        items = seal_for_pair(self._context, session, letter, records, until)
        await self.leaving.leave(letter, items, until)
