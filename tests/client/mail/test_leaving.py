"""Letters left at relays: how many copies, in which order, until when, and how they are called back."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.mail.deposits import DepositsInMemory
from onionshh.client.mail.leaving import PARTS_MOST, Leaving, NotStored, TooMuchMail
from onionshh.core.mailbox.copies import APART_LEAST_SECONDS, APART_MOST_SECONDS
from onionshh.core.mailbox.price import EFFORT_MOST
from onionshh.wire import mailbox as w
from tests.client.mail.postal import (
    LETTER,
    Heard,
    all_puts,
    bend,
    leaving,
    mailbox_of,
    places_of,
    relay_of,
    sealed,
)
from tests.client.world import QUIET, small, until
from tests.inside import inside

HOUR = 3600


@pytest.mark.parametrize("parts", [1, 4, 16])
async def test_each_part_is_at_four_relays_in_the_end(autojump_clock: MockClock, parts: int) -> None:
    async with small(9) as net, net.join() as node:
        context, relays, heard = inside(node), bend(net), Heard()
        box = mailbox_of(context)
        expires = context.clock.wall() + HOUR
        with all_puts(relays) as puts:
            async with leaving(context, DepositsInMemory(), heard) as made:
                await made.leave(LETTER, sealed(box, expires, parts), expires)
                await until(lambda: made.copies(LETTER) == 4, 600)
        assert [copies for copies, _ in heard.copies] == sorted({copies for copies, _ in heard.copies})
        assert heard.copies[-1] == (4, True)
        assert heard.tries > 0 and heard.why == []
        assert Counter(put.item_id for _, _, put in puts) == {
            item.item_id: 4 for item in sealed(box, expires, parts)
        }
        places = [side[:2] for side in places_of(context, box)]
        for item in sealed(box, expires, parts):
            ours = [(now, relay) for now, relay, put in puts if put.item_id == item.item_id]
            assert {relay for _, relay in ours} == {*places[0], *places[1]}
            first_two = [relay for _, relay in ours[:2]]
            assert {relay in places[0] for relay in first_two} == {True, False}
            for (earlier, _), (later, _) in zip(ours, ours[1:], strict=False):
                assert APART_LEAST_SECONDS <= later - earlier <= APART_MOST_SECONDS + 10
        assert all(put.effort == 96 for _, _, put in puts)
        circuits = [circuit for bent in relays.values() for _, _, circuit in bent.puts]
        assert len(set(circuits)) == len(circuits) == 4 * parts
