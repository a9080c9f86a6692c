"""Which mailboxes of a session are read, and when."""

from __future__ import annotations

from trio.testing import MockClock

from onionshh.client.mail.pair_reading import PairReading
from onionshh.client.mail.part_store import PartsInMemory
from onionshh.core.delivery.record import Record
from onionshh.core.mailbox.pair import FROM_VISITOR, pair_mailbox
from onionshh.core.session.session import Session
from tests.client.world import QUIET, small
from tests.inside import inside


async def brings_nothing(session: Session, record: Record) -> None:
    raise AssertionError("nothing waits")


async def test_each_period_has_a_mailbox_whose_reader_is_kept_while_it_is_needed(
    autojump_clock: MockClock,
) -> None:
    async with small(3, **QUIET) as net, net.join("host") as node:
        context = inside(node)
        reading = PairReading(context, brings_nothing, PartsInMemory(context))
        now = context.view.period
        assert reading.periods(often=True) == (now - 1, now)
        assert reading.periods()[-1] == now
        one, other = (
            Session.started(root * 32, introduced=False, period=now - 1, wall=0) for root in (b"r", b"s")
        )
        assert reading.reader(one, now - 2) is None
        before, present, others = (
            reading.reader(one, now - 1),
            reading.reader(one, now),
            reading.reader(other, now),
        )
        key = one.mail.key_of(now)
        assert key is not None
        assert present is not None
        assert present.mailbox == pair_mailbox(key, FROM_VISITOR, now)
        assert reading.reader(one, now) is present
        reading.forget_others({one.session_id}, now)
        assert reading.reader(one, now) is present
        assert reading.reader(one, now - 1) is not before
        assert reading.reader(other, now) is not others
