"""Seals whispers as letters for an endpoint's inbox (SPEC 14).

The endpoint's descriptor says whether it has an inbox, and has the key that letters are sealed to. It stays
on the ring for a week after the endpoint left. A letter says who writes: the holder of a session, or a new
visitor with a seed. From the seed both sides derive a session, so that the endpoint can answer by mailbox.
The visitor has kept that session before the letter leaves.

Whispers of the same moment are sealed one after the other: they need one descriptor, and belong to one
session. If there is no descriptor, those that wait are told so without another search.
"""

from __future__ import annotations

from typing import Final

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.mailing import NotLeft
from onionshh.client.mail.deposits import SealedItem
from onionshh.client.mail.seed_store import PeriodSeed, Seeds
from onionshh.client.reach.descriptor_cache import CheckedDescriptor
from onionshh.client.reach.finder import NoDescriptor, find
from onionshh.client.session.visiting import VisitorSessions
from onionshh.client.steps import steps
from onionshh.core.delivery.record import Record
from onionshh.core.mailbox.dates import item_expiry
from onionshh.core.mailbox.letter import (
    KnownSender,
    Letter,
    NewSender,
    letter_info,
    letter_proof,
    letter_root,
    seal_letter,
    split,
)
from onionshh.core.paths.view import View
from onionshh.core.session.session import Session
from onionshh.crypto.identity import SigningKey, blind_public
from onionshh.errors import BadData, CryptoError, NetworkUnreachable, NoDirectory
from onionshh.geometry import KEY, SEED
from onionshh.net.circuits import CircuitFailed
from onionshh.wire.mailbox import INBOX, Mailbox

NO_INBOX: Final = "the endpoint is away, and takes no letters"
NOBODY: Final = "no endpoint is published under this address, so there is no inbox to leave it in"
OLDER_PERIODS: Final = 6
"""An endpoint's last descriptor may be that old: with the current period and its neighbour, eight in all."""
LOOK_AGAIN_SECONDS: Final = 600.0
TRY_AGAIN_SECONDS: Final = 60.0
NOT_FOUND_SECONDS: Final = 10.0
"""How long nobody else looks for it."""
FOUND_SECONDS: Final = 3600.0
"""How long a descriptor is used for letters before it is fetched anew."""


class Letters:
    """The letters of one contact. `sessions`: its sessions, which letters begin or go on with. `seeds`: what
    letters of an earlier run began with."""

    def __init__(self, context: Context, address_key: bytes, sessions: VisitorSessions, seeds: Seeds) -> None:
        self._context = context
        self._address_key = address_key
        self._sessions = sessions
        self._found: tuple[CheckedDescriptor, float] | None = None
        self._seeds = seeds
        self._may_have_seed = True
        self._not_left: tuple[NotLeft, float] | None = None
        """Why the last one could not be sealed, and until when that is so for others."""
        self._turn = trio.Lock()

    @property
    def receipts(self) -> bool:
        """As `Mail.receipts`."""
        return self._found is None or not self._found[0].descriptor.sends_no_receipts

    async def load(self) -> None:
        """Erase the seed of a session that is over: the session's keys are erased, and would come from it.
        BadData."""
        found = await self._seeds.load()
        if found is not None and self._context.keeper.view is not None and not self._has_begun(found):
            self._seeds.forget()

    def answered(self) -> None:
        """The endpoint has shown that it has a session: what the session began with is erased."""
        if self._may_have_seed:
            self._may_have_seed = False
            self._seeds.forget()

    async def seal(self, record: Record) -> list[SealedItem]:
        """The parts of a letter with this whisper, for the inbox of the present period. NotLeft, BadData,
        Closed."""
        async with self._turn:
            found, view = await self._find()
            period, period_seconds = view.period, view.params.period_seconds
            mailbox = Mailbox(INBOX, blind_public(self._address_key, period, period_seconds), period)
            seed, session = await self._writer(mailbox)
        expires = item_expiry(record.expires, self._context.clock.best(), period, period_seconds)
        chunks = split(record.encode())
        items = []
        for part, chunk in enumerate(chunks):
            key_seed = self._context.chance.bytes(KEY)
            item_id = SigningKey(key_seed).public
            letter = Letter(
                _sender(seed, session, period, item_id),
                record.whisper_id,
                record.privacy_class,
                part,
                len(chunks),
                chunk,
            )
            info = letter_info(found.period, found.subcredential, item_id)
            try:
                value = seal_letter(found.descriptor.letter_key, info, letter)
            except CryptoError:
                raise NotLeft(NO_INBOX, LOOK_AGAIN_SECONDS) from None
            items.append(SealedItem(mailbox, key_seed, expires, value))
        return items

    async def _find(self) -> tuple[CheckedDescriptor, View]:
        """The descriptor of the endpoint, which has an inbox, and the network as it is now. NotLeft."""
        monotonic = self._context.clock.monotonic
        if self._not_left is not None and monotonic() < self._not_left[1]:
            said = self._not_left[0]
            raise NotLeft(said.why, said.again_seconds)
        try:
            return await self._descriptor(), self._context.view
        except NotLeft as error:
            failure = error
        except NoDescriptor:
            failure = NotLeft(NOBODY, LOOK_AGAIN_SECONDS)
        except (CircuitFailed, NetworkUnreachable, NoDirectory) as error:
            failure = NotLeft(f"the network does not carry us there ({error})", TRY_AGAIN_SECONDS)
        self._not_left = failure, monotonic() + NOT_FOUND_SECONDS
        raise failure

    async def _descriptor(self) -> CheckedDescriptor:
        """The descriptor alone. Raises as `find`, and NotLeft."""
        now = self._context.clock.monotonic()
        if self._found is not None and now < self._found[1]:
            return self._found[0]
        steps.debug("we ask ring relays for the last descriptor of the endpoint, also of earlier days")
        found = await find(self._context, self._address_key, older=OLDER_PERIODS)
        if not found.descriptor.has_inbox:
            raise NotLeft(NO_INBOX, LOOK_AGAIN_SECONDS)
        steps.debug("the endpoint has an inbox; we seal the whisper so that it alone can read it")
        self._found = found, now + FOUND_SECONDS
        return found

    async def _writer(self, mailbox: Mailbox) -> tuple[bytes, Session | None]:
        """A seed, and the session that goes on, if one does. Without one, the session that comes from the
        seed is kept before this returns."""
        session = self._sessions.current
        if (
            session is not None
            and session.marks.confirmed
            and session.mail.key_of(mailbox.period) is not None
        ):
            return b"", session
        self._may_have_seed = True
        found = await self._seeds.load()
        if found is not None and found.period == mailbox.period and self._has_begun(found):
            return found.seed, None
        seed = self._context.chance.bytes(SEED)
        await self._sessions.begin_by_letter(letter_root(seed, mailbox.name, mailbox.period), mailbox.period)
        await self._seeds.keep(PeriodSeed(mailbox.period, seed))
        return seed, None

    def _has_begun(self, found: PeriodSeed) -> bool:
        """Whether the session from this seed is kept, and the endpoint has shown nothing of it yet."""
        blinded = blind_public(self._address_key, found.period, self._context.params.period_seconds)
        return self._sessions.has_begun(letter_root(found.seed, blinded, found.period))


def _sender(seed: bytes, session: Session | None, period: int, item_id: bytes) -> NewSender | KnownSender:
    if session is None:
        return NewSender(seed)
    mail_key = session.mail.key_of(period)
    if mail_key is None:
        raise BadData("a session has no key for the mailboxes of this period")
    return KnownSender(session.session_id, letter_proof(mail_key, item_id))
