"""The way to the other side of a meeting: none before it has come, then by its ways back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.delivery.sending import NotReached
from onionshh.client.meeting.reaching import CALLING_MOST, NOT_MET, MeetingReach
from onionshh.client.meeting.sessions import SHOWN_SECONDS, MeetingSessions
from onionshh.client.session.calling import NO_WAY, Calling
from onionshh.client.session.keeper import SessionKeeper
from onionshh.core.delivery.record import new_whisper
from onionshh.core.session.session import SILENCES_MOST
from onionshh.net.circuits import CircuitFailed
from tests.client.meeting.meetings import network
from tests.client.session.pair import Rows, both
from tests.client.world import WALL
from tests.inside import inside
from tests.seeded import seeded

RECORD = new_whisper(b"hello", expires=WALL + 600, privacy_class=1, random_bytes=seeded(1))


@asynccontextmanager
async def reach() -> AsyncIterator[tuple[MeetingReach, MeetingSessions]]:
    async with network(3) as net, net.join("one") as node:
        context = inside(node)
        sessions = MeetingSessions(context, SessionKeeper(context, Rows(), 16))
        await sessions.load()
        yield MeetingReach(context, sessions, lambda: True), sessions


async def test_before_the_other_one_has_come_nobody_is_there(autojump_clock: MockClock) -> None:
    async with reach() as (way, _):
        with pytest.raises(NotReached, match=NOT_MET) as caught:
            await way.once(RECORD, more=False)
        assert caught.value.failure.nobody
        assert not caught.value.failure.hopeless
        assert way.found is None
        way.arrived(RECORD.whisper_id)
        way.silent(RECORD.whisper_id)


async def test_with_a_session_and_no_way_back_it_waits(autojump_clock: MockClock) -> None:
    async with reach() as (way, sessions):
        session, _ = both()
        await sessions.keeper.save(session)
        with pytest.raises(NotReached, match=NOT_MET):
            await way.once(RECORD, more=False)
        await sessions.heard(session)  # the other side has shown itself
        assert sessions.usable is session
        with pytest.raises(NotReached, match=NO_WAY) as caught:
            await way.once(RECORD, more=False)
        assert caught.value.failure.nobody
        with pytest.raises(CircuitFailed):
            await way.answer(session, RECORD)
        assert session.chains.spend.index == 0, "nothing was spent"


async def test_after_silences_it_waits_until_the_other_side_shows_itself(autojump_clock: MockClock) -> None:
    """There is nobody to introduce oneself to instead."""
    async with reach() as (way, sessions):
        session, _ = both()
        await sessions.keeper.save(session)
        await sessions.heard(session)
        session.silences = SILENCES_MOST
        await trio.sleep(SHOWN_SECONDS)
        with pytest.raises(NotReached, match=NO_WAY):
            await way.once(RECORD, more=False)
        assert sessions.alone.is_sent
        await sessions.heard(session)
        assert sessions.usable is session


async def test_few_ways_are_kept_at_hand(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    class Watched(Calling):
        def __init__(self, context, keeper, session, calls_back):  # type: ignore[no-untyped-def]
            super().__init__(context, keeper, session, calls_back)
            made.append(session)

    monkeypatch.setattr("onionshh.client.meeting.reaching.Calling", Watched)
    async with reach() as (way, _):
        found = [both(number)[0] for number in range(1, CALLING_MOST + 3)]
        for session in (*found, found[-1], found[0]):
            with pytest.raises(CircuitFailed):
                await way.answer(session, RECORD)
        assert made == [*found, found[0]]
