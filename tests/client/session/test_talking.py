"""What both sides say of a session itself (SPEC 12): keys are renewed once, whatever comes twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.context import Context
from onionshh.client.delivery.lanes import Lane, LaneSet
from onionshh.client.session.keeper import SessionKeeper
from onionshh.client.session.talking import SessionTalk
from onionshh.core.delivery.record import PROVE, REFRESH, REFRESHED, WAY_BACK, Record
from onionshh.core.session.session import REFRESH_SECONDS, Session
from onionshh.errors import ProtocolError
from tests.client.delivery.pipe import Pipe
from tests.client.session.pair import Rows, both
from tests.client.world import WALL, small
from tests.inside import inside


@dataclass
class Side:
    """One side, with a lane to the other side that the test carries."""

    session: Session
    rows: Rows
    talk: SessionTalk
    lane: Lane
    pipe: Pipe

    def said(self) -> Record:
        """What it said last."""
        return self.pipe.sent[-1]


async def side(context: Context, nursery: trio.Nursery, session: Session) -> Side:
    rows, lanes, pipe = Rows(session), LaneSet(), Pipe()
    keeper = SessionKeeper(context, rows)
    await keeper.load()
    kept = keeper.get(session.session_id)
    assert kept is not None
    lanes.nursery = nursery
    lane = lanes.add(pipe, writers=1, session=kept)
    return Side(kept, rows, SessionTalk(context, keeper, lanes), lane, pipe)


@asynccontextmanager
async def talk() -> AsyncIterator[tuple[Side, Side]]:
    """A visitor and an endpoint whose session is old enough to be renewed."""
    visitor, endpoint = both(1, WALL - REFRESH_SECONDS)
    visitor.marks.confirmed = True
    async with small(3) as net, net.join() as node, trio.open_nursery() as nursery:
        yield await side(inside(node), nursery, visitor), await side(inside(node), nursery, endpoint)
        nursery.cancel_scope.cancel()


async def test_keys_are_renewed_and_on_disk_before_anybody_hears_of_them(autojump_clock: MockClock) -> None:
    async with talk() as (visitor, endpoint):
        endpoint.talk.lane_opened(endpoint.lane)
        assert not endpoint.pipe.sent  # only the side that introduced itself asks
        visitor.talk.lane_opened(visitor.lane)
        offer = visitor.said()
        assert offer.kind == REFRESH
        endpoint.rows.full = True
        await endpoint.talk.take(endpoint.lane, offer)
        assert not endpoint.pipe.sent
        endpoint.rows.full = False
        await endpoint.talk.take(endpoint.lane, offer)
        assert endpoint.said().kind == REFRESHED
        assert endpoint.rows.on_disk(endpoint.session.session_id).coming is not None
        await visitor.talk.take(visitor.lane, endpoint.said())
        assert visitor.rows.on_disk(visitor.session.session_id).chains.epoch == 1
        visitor.talk.lane_opened(visitor.lane)
        assert len(visitor.pipe.sent) == 1


async def test_what_comes_twice_does_no_harm(autojump_clock: MockClock) -> None:
    async with talk() as (visitor, endpoint):
        visitor.talk.lane_opened(visitor.lane)
        visitor.talk.lane_opened(visitor.lane)
        first, again = visitor.pipe.sent
        assert first.body == again.body
        await endpoint.talk.take(endpoint.lane, first)
        await endpoint.talk.take(endpoint.lane, again)
        answer, same = endpoint.pipe.sent
        assert answer.body == same.body
        await visitor.talk.take(visitor.lane, answer)
        chains = visitor.session.chains
        await visitor.talk.take(visitor.lane, same)
        assert visitor.session.chains is chains


async def test_each_side_takes_only_what_is_for_it(autojump_clock: MockClock) -> None:
    async with talk() as (visitor, endpoint):
        visitor.talk.lane_opened(visitor.lane)
        for kind in (REFRESH, REFRESHED):
            wrong = visitor.talk.record(kind, b"short")
            for one in (visitor, endpoint):
                with pytest.raises(ProtocolError):
                    await one.talk.take(one.lane, wrong)
        with pytest.raises(ProtocolError):
            await visitor.talk.take(visitor.lane, visitor.said())
        for kind in (WAY_BACK, PROVE):  # nobody minds here
            await visitor.talk.take(visitor.lane, visitor.talk.record(kind, b""))


async def test_a_session_that_is_not_on_disk_is_not_talked_of(autojump_clock: MockClock) -> None:
    async with talk() as (visitor, endpoint):
        visitor.talk.lane_opened(visitor.lane)
        _, stranger = both(2)
        endpoint.lane.session = stranger
        await endpoint.talk.take(endpoint.lane, visitor.said())
        endpoint.lane.session = None
        await endpoint.talk.take(endpoint.lane, visitor.said())
        assert not endpoint.pipe.sent
        proofs: list[Record] = []

        async def prove(lane: Lane, session: Session, record: Record) -> None:
            proofs.append(record)

        endpoint.talk.check_senders(prove)
        endpoint.lane.session = stranger  # a proof comes before the first whisper, so before the first row
        await endpoint.talk.take(endpoint.lane, visitor.talk.record(PROVE, b"x"))
        assert [one.body for one in proofs] == [b"x"]
