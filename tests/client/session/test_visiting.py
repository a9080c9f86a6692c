"""Which session a contact goes on with, and when the one before is forgotten (SPEC 12)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock

from onionshh.client.session.keeper import SessionKeeper
from onionshh.client.session.visiting import VisitorSessions
from onionshh.core.session.session import SILENCES_MOST, Session
from onionshh.errors import Closed
from tests.client.session.pair import Rows, both
from tests.client.world import WALL, small
from tests.inside import inside


@asynccontextmanager
async def visitor(*before: Session) -> AsyncIterator[tuple[VisitorSessions, Rows]]:
    async with small(3) as net, net.join() as node:
        rows = Rows(*before)
        sessions = VisitorSessions(inside(node), SessionKeeper(inside(node), rows))
        await sessions.load()
        yield sessions, rows


def in_use(sessions: VisitorSessions) -> tuple[Session | None, Session | None]:
    """The present session, and the one to go on with."""
    return sessions.current, sessions.usable


async def test_it_is_used_once_the_endpoint_has_shown_that_it_keeps_it(autojump_clock: MockClock) -> None:
    async with visitor() as (sessions, rows):
        session = sessions.begun(b"r" * 32, 1)
        assert session.introduced
        assert in_use(sessions) == (None, None)
        assert rows.documents == {}
        await sessions.heard(session)
        assert in_use(sessions) == (session, session)
        assert rows.on_disk(session.session_id).marks.confirmed
        await sessions.heard(session)
        await sessions.heard(None)
        assert sessions.current is session


async def test_the_one_before_stays_until_the_new_one_is_answered(autojump_clock: MockClock) -> None:
    async with visitor() as (sessions, rows):
        first, second = sessions.begun(b"1" * 32, 1), sessions.begun(b"2" * 32, 1)
        await sessions.heard(first)
        for _ in range(SILENCES_MOST):
            assert sessions.usable is first
            first.silent()
        assert in_use(sessions) == (first, None)
        assert sessions.keeper.get(first.session_id) is first  # the endpoint may still go on with it
        await sessions.heard(second)
        assert sessions.usable is second
        assert set(rows.documents) == {second.session_id}
        assert sessions.keeper.get(first.session_id) is None


async def test_a_full_disk_means_an_introduction_each_time(autojump_clock: MockClock) -> None:
    async with visitor() as (sessions, rows):
        rows.full = True
        session = sessions.begun(b"1" * 32, 1)
        await sessions.heard(session)
        assert sessions.usable is None
        rows.full = False
        await sessions.heard(session)  # its next receipt
        assert sessions.usable is session


async def test_heard_of_while_the_file_is_closed_it_is_not_kept(autojump_clock: MockClock) -> None:
    class Gone(Rows):
        async def save(self, session: Session) -> None:
            raise Closed("closed")

    async with small(3) as net, net.join() as node:
        sessions = VisitorSessions(inside(node), SessionKeeper(inside(node), Gone()))
        await sessions.heard(sessions.begun(b"1" * 32, 1))
        assert sessions.usable is None


async def test_of_two_on_disk_the_younger_goes_on(autojump_clock: MockClock) -> None:
    (old, _), (young, _) = both(1, WALL - 100), both(2, WALL - 50)
    old.marks.confirmed = young.marks.confirmed = True
    for order in ((old, young), (young, old)):
        async with visitor(*order) as (sessions, _):
            assert sessions.usable is not None
            assert sessions.usable.session_id == young.session_id


async def test_a_run_that_ended_in_silence_counts_as_one(autojump_clock: MockClock) -> None:
    """Else nobody whose runs are shorter than two silences would ever introduce himself anew."""
    for steps in (0, 1, 5):
        session, _ = both()
        session.marks.confirmed = True
        for _ in range(steps):
            session.spend()
        async with visitor(session) as (sessions, _):
            (loaded,) = sessions.with_mail
            assert sessions.usable is loaded
            loaded.silent()
            assert (sessions.usable is loaded) == (steps == 0)


async def test_forgotten_it_is_erased(autojump_clock: MockClock) -> None:
    async with visitor() as (sessions, rows):
        sessions.forget()
        await sessions.heard(sessions.begun(b"1" * 32, 1))
        sessions.forget()
        assert sessions.current is None
        assert rows.documents == {}


async def test_one_that_began_earlier_by_letter_is_kept_beside_the_one_in_use(
    autojump_clock: MockClock,
) -> None:
    """The endpoint's answer lies in its mailbox, and is found after a new introduction was answered."""
    async with visitor() as (sessions, rows):
        by_letter = await sessions.begin_by_letter(b"l" * 32, 1)
        assert in_use(sessions) == (None, None)
        await trio.sleep(5)
        introduced = sessions.begun(b"i" * 32, 1)
        await sessions.heard(introduced)
        assert sessions.usable is introduced
        await sessions.heard(by_letter)
        assert sessions.usable is introduced
        assert set(sessions.with_mail) == {by_letter, introduced}
        assert rows.on_disk(by_letter.session_id).marks.confirmed
