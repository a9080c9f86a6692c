"""What an endpoint says to one peer, left in the pair mailbox of its session while the peer is away (SPEC
14)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onionshh.client.mail.leaving import Told
from onionshh.core.delivery.record import Record
from onionshh.core.mailbox.pair import pair_mailbox, writes_to
from onionshh.core.session.session import MAIL_AHEAD_MOST, Session
from onionshh.ids import WhisperId

if TYPE_CHECKING:
    from onionshh.client.hosting.post import Post


def names(session: Session) -> frozenset[bytes]:
    """The names of the mailboxes that this side may have written to in this session."""
    first, direction = session.mail.period, writes_to(session.introduced)
    keys = [(period, session.mail.key_of(period)) for period in range(first, first + MAIL_AHEAD_MOST + 1)]
    return frozenset(pair_mailbox(key, direction, period).name for period, key in keys if key is not None)


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
