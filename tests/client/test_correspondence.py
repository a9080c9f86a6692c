"""What works behind a contact (SPEC 12): what it holds, what it takes up, and how it ends."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.correspondence import LINGER_SECONDS, SESSIONS_MOST, Correspondence, Terms
from onionshh.core.base.classes import TALK
from onionshh.crypto.identity import decode_address_untrusted
from tests.client.session.doors import paused
from tests.client.world import PATIENCE_SECONDS, hosted, small
from tests.inside import behind, inside, parts


async def test_without_a_session_nothing_of_sessions_is_made(autojump_clock: MockClock) -> None:
    async with small(3) as net, net.join() as node:
        it = Correspondence(inside(node), Terms(b"k" * 32, TALK, session=False))
        made: list[object] = [it.sessions, it.ways, it.session, it.listening]
        assert made == [None] * 4
        with pytest.raises(ValueError, match="session=False"):
            it.listen()
        plain = Correspondence(inside(node), Terms(b"k" * 32, TALK))
        assert plain.sessions is not None
        made = [plain.ways, plain.listening]
        assert made == [None] * 2  # so it needs no database


async def test_ways_back_are_taken_and_given_back(autojump_clock: MockClock) -> None:
    async with small(5) as net, hosted(net) as (_, endpoint), net.join("visitor") as node:
        shared = inside(node).shared
        async with node.contact(endpoint.address, way_back=True):
            assert shared.ways == 2
        await trio.sleep(1)
        assert shared.ways == 0


async def test_iterating_makes_the_receiver_once(autojump_clock: MockClock) -> None:
    async with paused() as p:
        it = behind(p.contact)
        listening = it.listen()
        assert it.listen() is listening is it.listening
        assert listening.shows_replies


async def test_what_is_known_of_the_session(autojump_clock: MockClock) -> None:
    async with paused() as p:
        known = behind(p.contact).session
        assert known is not None
        assert (known.exchanges, known.resumed, known.way_back) == (1, 0, False)
        with trio.fail_after(PATIENCE_SECONDS):
            await p.contact.whisper(b"again")
        known = behind(p.contact).session
        assert known is not None
        assert (known.exchanges, known.resumed) == (2, 1)


async def test_a_call_after_the_end_finds_nobody(autojump_clock: MockClock) -> None:
    async with paused() as p:
        it, session = behind(p.contact), p.session
        with trio.fail_after(PATIENCE_SECONDS):
            await p.contact.whisper(b"again")
        (lane,) = it.lanes
        p.contact.close()
        await trio.sleep(LINGER_SECONDS + 1)
        assert not lane.carrier.open  # a moment late, so that the last receipt leaves
        it.called(None, session, p.record(b"x"))
        assert not [one for one in it.lanes if one is not lane]


async def test_few_sessions_are_kept(autojump_clock: MockClock) -> None:
    """One that never was answered is forgotten, however often a visitor introduces itself."""
    async with paused(name="n") as p:
        keeper = parts(p.endpoint).peers.keeper
        for number in range(SESSIONS_MOST + 2):
            for session in list(keeper.table.sessions):
                keeper.forget(session)
            with trio.fail_after(PATIENCE_SECONDS):
                assert not (await p.contact.whisper(b"%d" % number)).resumed
            await trio.sleep(65)
        assert len(p.keeper) == 1
        assert decode_address_untrusted(p.endpoint.address)
