"""What one side of a session seals for their pair mailbox: the other side can open it, in any period."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from onionshh.client.delivery.mailing import NotLeft
from onionshh.client.hosting.pair_mail import names
from onionshh.client.mail.pair_letter import seal_for_pair
from onionshh.core.delivery.record import new_whisper
from onionshh.core.mailbox.pair import (
    FROM_ENDPOINT,
    FROM_VISITOR,
    open_pair_untrusted,
    pair_mailbox,
    unpack_records_untrusted,
)
from onionshh.core.session.session import MAIL_AHEAD_MOST, Session
from onionshh.ids import WhisperId
from tests.client.world import QUIET, small
from tests.inside import inside
from tests.seeded import seeded

random_bytes = seeded(4)
LETTER = WhisperId(b"l" * 16)


@pytest.mark.parametrize("introduced", [True, False])
@pytest.mark.parametrize(
    "body, count, parts", [(100, 17, 1), (4096, 1, 1), (16_384, 1, 4), (16_384, 2, 7), (65_535, 1, 13)]
)
async def test_the_other_side_opens_it_and_finds_the_records(
    body: int, count: int, parts: int, introduced: bool, autojump_clock: MockClock
) -> None:
    async with small(3, **QUIET) as net, net.join("host") as node:
        context = inside(node)
        now, period = context.clock.best(), context.view.period
        ours = Session.started(b"r" * 32, introduced=introduced, period=period - 2, wall=now)
        theirs = Session.started(b"r" * 32, introduced=not introduced, period=period - 2, wall=now)
        record = new_whisper(bytes(body), expires=now + 4000, privacy_class=1, random_bytes=random_bytes)
        items = seal_for_pair(context, ours, LETTER, count * [record], record.expires)
        key = theirs.mail.key_of(period)
        assert key is not None
        mailbox = pair_mailbox(key, FROM_VISITOR if introduced else FROM_ENDPOINT, period)
        assert {item.mailbox for item in items} == {mailbox}
        assert mailbox.name in names(ours)
        assert mailbox.name not in names(theirs)
        assert len({item.item_id for item in items}) == len(items) == parts
        assert {item.expires for item in items} == {now + 3 * 3600}
        opened = [open_pair_untrusted(key, mailbox, item.item_id, item.value) for item in items]
        assert [(part.letter_id, part.part, part.parts) for part in opened] == [
            (LETTER, number, len(items)) for number in range(len(items))
        ]
        whole = unpack_records_untrusted(b"".join(part.chunk for part in opened))
        assert whole == count * (record.encode(),)


async def test_what_has_no_key_or_no_place_is_not_sealed(autojump_clock: MockClock) -> None:
    async with small(3, **QUIET) as net, net.join("host") as node:
        context = inside(node)
        now, period = context.clock.best(), context.view.period
        record = new_whisper(b"x", expires=now + 4000, privacy_class=1, random_bytes=random_bytes)
        for begins in (period - MAIL_AHEAD_MOST - 1, period + 2):
            session = Session.started(b"r" * 32, introduced=False, period=begins, wall=now)
            with pytest.raises(NotLeft):
                seal_for_pair(context, session, LETTER, [record], record.expires)
        # A visitor whose consensus is newer began in the next period already.
        session = Session.started(b"r" * 32, introduced=False, period=period + 1, wall=now)
        (item,) = seal_for_pair(context, session, LETTER, [record], record.expires)
        assert item.mailbox.period == period + 1
