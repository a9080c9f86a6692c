"""Which session of a meeting is in use, and which are kept beside it (SPEC 14)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock

from onionshh.client.meeting.sessions import BESIDE_MOST, MISSED_MOST, SHOWN_SECONDS, MeetingSessions
from onionshh.client.session.keeper import SessionKeeper
from onionshh.core.session.session import Session
from onionshh.errors import BadData
from tests.client.meeting.meetings import network
from tests.client.session.pair import Rows, both
from tests.inside import inside


@asynccontextmanager
async def several(
    many: int, rows: Rows | None = None
) -> AsyncIterator[tuple[MeetingSessions, list[Session]]]:
    """So many sessions that were shown, each after the one before."""
    async with network(3) as net, net.join("one") as node:
        context = inside(node)
        sessions = MeetingSessions(context, SessionKeeper(context, Rows(), 16))
        await sessions.load()
        made = [both(number)[0] for number in range(1, many + 1)]
        for session in made:
            await sessions.keeper.save(session)
            await sessions.heard(session)
        yield sessions, made


def alone(sessions: MeetingSessions) -> bool:
    """Whether it says that nobody can be called."""
    return sessions.alone.is_sent


def ids(*sessions: Session | None) -> list[bytes | None]:
    """By which they are known again."""
    return [None if session is None else session.session_id for session in sessions]


async def test_whoever_shows_itself_is_spoken_to(autojump_clock: MockClock) -> None:
    async with several(2) as (sessions, (first, second)):
        assert (sessions.current, sessions.beside) == (second, [first])
        for session in (first, second, second, first):
            await sessions.heard(session)
            assert sessions.current is session
        assert sessions.beside == [second]
        await sessions.heard(None)
        assert sessions.current is first


async def test_few_are_kept_and_the_rest_is_erased(autojump_clock: MockClock) -> None:
    async with several(BESIDE_MOST + 3) as (sessions, made):
        assert sessions.current is made[-1]
        assert sessions.beside == made[-2 : -2 - BESIDE_MOST : -1]
        assert set(sessions.with_mail) == {*made[-1 - BESIDE_MOST :]}
        await sessions.heard(made[0])
        assert sessions.current is made[-1], "what is over stays over"


async def test_those_of_whoever_has_gone_make_room_first(autojump_clock: MockClock) -> None:
    async with several(BESIDE_MOST + 1) as (sessions, made):
        sessions.leave()
        assert sessions.current is made[-1], "what is said waits for it"
        assert sessions.hopeful(made[-1].session_id) is None
        another = both(50)[0]
        await sessions.keeper.save(another)
        await sessions.heard(another)
        assert sessions.beside == made[-2::-1]
        assert sessions.hopeful(made[0].session_id) is made[0]


async def test_those_of_an_earlier_run_are_known(autojump_clock: MockClock) -> None:
    made = [both(number)[0] for number in (1, 2, 3)]
    for at, session in enumerate(made):
        session.history.started_at += at
        session.marks.confirmed = at != 2
    async with network(3) as net, net.join("one") as node:
        sessions = MeetingSessions(inside(node), SessionKeeper(inside(node), Rows(*made), 16))
        await sessions.load()
        assert ids(sessions.current) == ids(made[1])
        assert ids(*sessions.beside) == ids(made[0])


async def test_one_that_cannot_be_kept_is_not_in_use(autojump_clock: MockClock) -> None:
    class Full(Rows):
        async def save(self, session: Session) -> None:
            raise BadData("the disk is full")

    async with network(3) as net, net.join("one") as node:
        sessions = MeetingSessions(inside(node), SessionKeeper(inside(node), Full(), 16))
        session = both(1)[0]
        await sessions.heard(session)
        assert (sessions.current, session.marks.confirmed) == (None, False)


async def test_who_cannot_be_called_is_left_once_and_comes_back_by_showing_itself(
    autojump_clock: MockClock,
) -> None:
    async with several(2) as (sessions, (first, second)):
        sessions.missed(first, gone=True)
        assert not alone(sessions), "it is not in use"
        sessions.missed(second, gone=True)
        assert not alone(sessions), "it showed itself just now, and tells soon where it can be called"
        await trio.sleep(SHOWN_SECONDS)
        for _ in range(MISSED_MOST - 1):
            sessions.missed(second, gone=False)
        assert not alone(sessions)
        await sessions.heard(second)
        await trio.sleep(SHOWN_SECONDS)
        for _ in range(MISSED_MOST):
            assert not alone(sessions)
            sessions.missed(second, gone=False)
        assert alone(sessions)
        await sessions.alone.wait()
        assert sessions.untried == [first]
        sessions.leave_for(first)
        assert (sessions.current, sessions.beside, sessions.untried) == (first, [second], [])
        sessions.missed(first, gone=True)
        assert alone(sessions)
        await sessions.heard(second)
        assert (sessions.current, sessions.untried) == (second, [first])
