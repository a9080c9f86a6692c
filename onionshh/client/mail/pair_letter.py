"""Seals what one side of a session leaves for the other in their pair mailbox (SPEC 14)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from onionshh.client.context import Context
from onionshh.client.delivery.mailing import NotLeft
from onionshh.client.mail.deposits import SealedItem
from onionshh.core.delivery.record import Record
from onionshh.core.mailbox.dates import item_expiry
from onionshh.core.mailbox.pair import PairPart, pack_records, pair_mailbox, seal_pair, split, writes_to
from onionshh.core.session.session import Session
from onionshh.crypto.identity import SigningKey
from onionshh.errors import NoDirectory
from onionshh.geometry import KEY
from onionshh.ids import WhisperId

NO_KEY: Final = "the session is too old to leave it in a mailbox"
NO_LIST: Final = "without a list of relays it is not known where its mailbox lies"
TRY_AGAIN_SECONDS: Final = 60.0


def seal_for_pair(
    context: Context,
    session: Session,
    letter: WhisperId,
    records: Sequence[Record],
    until: int,
) -> list[SealedItem]:
    """These records for the other side of a session, as parts of one letter.
    `until`: Unix seconds. NotLeft."""
    try:
        view = context.view
    except NoDirectory:
        raise NotLeft(NO_LIST, TRY_AGAIN_SECONDS) from None
    period = max(view.period, session.mail.period)  # the other side may know of the next one already
    mail_key = session.mail.key_of(period)
    if mail_key is None or period > view.period + 1:
        raise NotLeft(NO_KEY)
    mailbox = pair_mailbox(mail_key, writes_to(session.introduced), period)
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
