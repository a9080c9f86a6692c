"""What an endpoint says to one peer, left in the pair mailbox of its session while the peer is away (SPEC
14)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from onionshh.client.context import Context
from onionshh.client.delivery.mailing import NotLeft
from onionshh.client.mail.deposits import SealedItem
from onionshh.client.mail.leaving import Told
from onionshh.core.delivery.record import Record
from onionshh.core.mailbox.dates import item_expiry
from onionshh.core.mailbox.pair import FROM_ENDPOINT, PairPart, pack_records, pair_mailbox, seal_pair, split
from onionshh.core.session.session import MAIL_AHEAD_MOST, Session
from onionshh.crypto.identity import SigningKey
from onionshh.errors import NoDirectory
from onionshh.geometry import KEY
from onionshh.ids import WhisperId

if TYPE_CHECKING:
    from onionshh.client.hosting.post import Post

NO_KEY = "the session is too old to leave it in a mailbox"
NO_LIST = "without a list of relays it is not known where its mailbox lies"
TRY_AGAIN_SECONDS = 60.0


def sealed(
    context: Context, session: Session, letter: WhisperId, records: Sequence[Record], until: int
) -> list[SealedItem]:
    """These records for the peer of a session, as parts of one letter. `until`: Unix seconds. NotLeft."""
    try:
        view = context.view
    except NoDirectory:
        raise NotLeft(NO_LIST, TRY_AGAIN_SECONDS) from None
    period = max(view.period, session.mail.period)  # the peer may know of the next one already
    mail_key = session.mail.key_of(period)
    if mail_key is None or period > view.period + 1:
        raise NotLeft(NO_KEY)
    mailbox = pair_mailbox(mail_key, FROM_ENDPOINT, period)
    expires = item_expiry(until, context.clock.best(), period, view.params.period_seconds)
    chunks = split(pack_records(record.encode() for record in records))
    items = []
    for part, chunk in enumerate(chunks):
        seed = context.chance.bytes(KEY)
        item_id = SigningKey(seed).public
        plain = PairPart(letter, part, len(chunks), chunk)
        value = seal_pair(mail_key, mailbox, item_id, plain, context.chance.bytes)
        items.append(SealedItem(mailbox, seed, expires, value))
    return items


def names(session: Session) -> frozenset[bytes]:
    """The names of the mailboxes that an endpoint may have written to in this session."""
    first = session.mail.period
    keys = [(period, session.mail.key_of(period)) for period in range(first, first + MAIL_AHEAD_MOST + 1)]
    return frozenset(pair_mailbox(key, FROM_ENDPOINT, period).name for period, key in keys if key is not None)


class PairMail:
    """The `Mail` of the Sender for one peer."""

    def __init__(self, post: Post, session: Session, told: Told) -> None:
        self._post = post
        self._session = session
        self._told = told

    @property
    def receipts(self) -> bool:
        """As `Mail.receipts`: each peer sends them."""
        return True

    async def leave(self, record: Record) -> None:
        """As `Mail.leave`."""
        self._post.tell(record.whisper_id, self._told)
        await self._post.leave(self._session, record)

    async def recall(self, whisper: WhisperId) -> bool:
        """As `Mail.recall`."""
        return await self._post.recall(whisper)

    def has(self, whisper: WhisperId) -> bool:
        """As `Mail.has`."""
        if not self._post.leaving.is_left(whisper):
            return False
        self._post.tell(whisper, self._told)
        return True
