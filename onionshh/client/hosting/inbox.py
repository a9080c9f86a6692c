"""Reads an endpoint's inbox: the letters that visitors left while it was away (SPEC 14).

The inbox of the present period is read at the start, and then every 10 to 20 minutes. Those of earlier
periods are read once, spread over the first ten minutes. Someone with an older list of relays, or whose relay
could not be reached, may still write to the period that is over, so that one is read from time to time.

A letter is opened with the keys of the last periods, the latest first, and brought like a whisper that came
over a circuit. The relays are asked to erase it only when it is on disk. If there is no room for it, the rest
of the inbox waits at its relays.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Final, Protocol

import trio

from onionshh.client.context import Context
from onionshh.client.hosting.letter_keys import LetterKey, LetterKeys
from onionshh.client.mail.part_store import Parts, keep_tidy
from onionshh.client.mail.reading import MailboxReader, NoRoom, read_older
from onionshh.core.delivery.record import WHISPER, Record
from onionshh.core.mailbox.letter import Letter, NewSender, letter_info, letter_root, open_letter_untrusted
from onionshh.core.mailbox.price import ITEMS_MOST
from onionshh.core.session.session import Session
from onionshh.crypto.identity import BlindedKey, IdentityKeys
from onionshh.errors import BadData, NoDirectory, ProtocolError
from onionshh.reasons import Reason
from onionshh.wire.mailbox import INBOX, Item, Mailbox

logger = logging.getLogger("onionshh.client")

PAUSE_SECONDS: Final = (600.0, 1200.0)
UNREACHED_SECONDS: Final = (30.0, 90.0)
"""The pause after a reading in which no relay answered."""
OLDER_SECONDS: Final = 600.0
"""How long the first readings of the earlier periods are spread over."""
OLDER_MOST: Final = 16
PREVIOUS_EVERY: Final = 6
"""The period that is over is read with each of so many readings."""
KEYS_MOST: Final = 16
"""Keys that a letter is tried with."""
CROWDED_SECONDS: Final = 86_400.0
"""How long an inbox counts as crowded after one reading found it half full."""


class Letterbox(Protocol):
    """Takes what was read."""

    async def mailed(self, record: Record, session: Session | None) -> None:
        """Take a whisper. It is on disk when this returns, with what is owed for it, or it is of no use.
        `session`: its sender's. NoRoom, BadData, Closed, ProtocolError for a record of no use."""

    def session_of(self, session_id: bytes) -> Session | None:
        """The session with this id."""


class Inbox:
    """The inbox of one endpoint. `load` it, then `run` it. `parts`: where parts of letters wait."""

    def __init__(
        self,
        context: Context,
        identity: IdentityKeys,
        letter_keys: LetterKeys,
        parts: Parts,
        letterbox: Letterbox,
    ) -> None:
        self._context = context
        self._identity = identity
        self.letter_keys = letter_keys
        self._parts = parts
        self._letterbox = letterbox
        self._readers: dict[int, MailboxReader] = {}
        self._blinded: dict[int, BlindedKey] = {}
        self._count = 0
        self._lay: Counter[int] = Counter()
        """Items that lay in the inbox of each period when it was read last."""
        self._crowded_until = -inf

    @property
    def crowded(self) -> bool:
        """Whether visitors may have found no room in it, or a price that they did not pay."""
        return self._context.clock.monotonic() < self._crowded_until

    async def load(self) -> None:
        """Take up what is on disk. BadData."""
        await self.letter_keys.load()
        await self._parts.load()

    async def run(self) -> None:
        """Read, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_tidy, self._parts)
            nursery.start_soon(self._read_older)
            while True:
                unreached = await self._guarded(self.read) is False
                pause = UNREACHED_SECONDS if unreached else PAUSE_SECONDS
                await trio.sleep(self._context.chance.between(*pause))

    async def read(self) -> bool:
        """Read the present inbox, and sometimes the one before. Returns whether a relay answered. BadData,
        NoDirectory."""
        period = self._context.view.period
        self._forget_before(period - OLDER_MOST)
        often = self._just_begun() or self._count % PREVIOUS_EVERY == 0
        self._count += 1
        self._lay[period] = 0
        answered = await self._reader(period).read()
        if often and self._known(period - 1):
            self._lay[period - 1] = 0
            await self._reader(period - 1).read()
        return answered.answered > 0

    # Inside.

    async def _read_older(self) -> None:
        while not await self._guarded(self._older):
            await trio.sleep(self._context.chance.between(*PAUSE_SECONDS))

    async def _older(self) -> bool:
        """The inboxes of the periods before the last."""
        period = self._context.view.period
        older = [past for past in range(period - 2, period - OLDER_MOST, -1) if self._known(past)]
        if older:
            await read_older(self._context, [self._reader(past) for past in older], OLDER_SECONDS)
        return True

    async def _guarded(self, read: Callable[[], Awaitable[bool]]) -> bool | None:
        """None if what was read could not be taken."""
        try:
            return await read()
        except NoDirectory:
            return False
        except NoRoom:
            self._context.drops.count(Reason.LETTER_WAITS)
            self._is_crowded()  # what stays at its relays takes room there
        except BadData as error:
            logger.error("a letter could not be kept, and stays where it lies: %s", error)
        return None

    def _just_begun(self) -> bool:
        """Whether visitors with an older list of relays still write to the period before."""
        view = self._context.view
        params = view.params
        into = view.consensus.valid_after % params.period_seconds
        return into < params.valid_seconds + params.interval_seconds

    def _known(self, period: int) -> bool:
        """Whether it is known where the inbox of this period lies."""
        return period >= 0 and self._context.view.shared_random(period) is not None

    def _reader(self, period: int) -> MailboxReader:
        reader = self._readers.get(period)
        if reader is None:
            context, blinded = self._context, self._blind(period)
            mailbox = Mailbox(INBOX, blinded.public, period)

            def sign(message: bytes) -> bytes:
                return blinded.sign(message, context.chance.bytes)

            async def take(item: Item) -> None:
                await self.take(mailbox, item)

            reader = self._readers[period] = MailboxReader(context, mailbox, sign, take)
        return reader

    def _forget_before(self, period: int) -> None:
        for past in [past for past in self._readers if past < period]:
            del self._readers[past]
            del self._lay[past]
        oldest = min((key.period for key in self.letter_keys.newest_first(KEYS_MOST)), default=period)
        for past in [past for past in self._blinded if past < min(period, oldest)]:
            del self._blinded[past]

    def _blind(self, period: int) -> BlindedKey:
        if period not in self._blinded:
            seconds = self._context.params.period_seconds
            self._blinded[period] = self._identity.blind(period, seconds)
        return self._blinded[period]

    # One letter.

    async def take(self, mailbox: Mailbox, item: Item) -> None:
        """One item. What it says is on disk when this returns, or it is of no use. NoRoom, BadData,
        Closed."""
        self._note_crowd(mailbox)
        try:
            letter = self._opened(item)
            self._checked(letter, mailbox, item)
            name = _name(letter, mailbox)
            whole = await self._parts.add(name, letter.part, letter.parts, letter.chunk, item.expires)
            if whole is not None:
                with self._counted():
                    record = _whisper_of(letter, whole)
                    await self._letterbox.mailed(record, self._session(letter, mailbox))
                await self._parts.done(name)
        except ProtocolError as error:
            self._context.drops.count(error.reason)

    def _note_crowd(self, mailbox: Mailbox) -> None:
        self._lay[mailbox.period] += 1
        if 2 * self._lay[mailbox.period] >= ITEMS_MOST[INBOX]:
            self._is_crowded()

    def _is_crowded(self) -> None:
        self._crowded_until = self._context.clock.monotonic() + CROWDED_SECONDS

    @contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            yield
        except ProtocolError as error:
            self._context.drops.count(error.reason)

    def _opened(self, item: Item) -> Letter:
        """The letter in an item. ProtocolError."""
        for key in self.letter_keys.newest_first(KEYS_MOST):
            letter = self._opened_with(key, item)
            if letter is not None:
                return letter
        raise ProtocolError(Reason.SEAL_OPEN)

    def _opened_with(self, key: LetterKey, item: Item) -> Letter | None:
        info = letter_info(key.period, self._blind(key.period).subcredential, item.item_id)
        try:
            return open_letter_untrusted(key.key, info, item.value)
        except ProtocolError as error:
            if error.reason is Reason.LETTER_SHAPE:
                raise  # it was for this key
            return None

    def _checked(self, letter: Letter, mailbox: Mailbox, item: Item) -> None:
        """Check that a letter which names a session comes from its other side. ProtocolError."""
        if isinstance(letter.sender, NewSender):
            return
        session = self._letterbox.session_of(letter.sender.session_id)
        if session is not None:
            mail_key = session.mail.key_of(mailbox.period)
            if mail_key is None or not letter.sender.holds(mail_key, item.item_id):
                raise ProtocolError(Reason.LETTER_PROOF)

    def _session(self, letter: Letter, mailbox: Mailbox) -> Session | None:
        """The session that a letter belongs to: one that is known, or one that begins with it. None if the
        session is over: the letter is a stranger's then."""
        if not isinstance(letter.sender, NewSender):
            return self._letterbox.session_of(letter.sender.session_id)
        root = letter_root(letter.sender.seed, mailbox.name, mailbox.period)
        begun = Session.started(
            root, introduced=False, period=mailbox.period, wall=self._context.clock.best()
        )
        return self._letterbox.session_of(begun.session_id) or begun


def _name(letter: Letter, mailbox: Mailbox) -> bytes:
    """What all parts of one letter have in common. A stranger can make none of another's."""
    match letter.sender:
        case NewSender(seed):
            sender = b"new" + seed
        case known:
            sender = b"known" + known.session_id
    return mailbox.encode() + sender + letter.letter_id


def _whisper_of(letter: Letter, whole: bytes) -> Record:
    """The whisper in a letter. ProtocolError."""
    record = Record.decode_untrusted(whole)
    if (record.whisper_id, record.privacy_class, record.kind) != (
        letter.letter_id,
        letter.privacy_class,
        WHISPER,
    ):
        raise ProtocolError(Reason.LETTER_SHAPE)
    return record
