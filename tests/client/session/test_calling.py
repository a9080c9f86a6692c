"""How an endpoint calls a peer by its way back (SPEC 12)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.delivery.sending import NotReached
from onionshh.client.session.calling import NO_WAY, UNKNOWN_MOST, Calling
from onionshh.core.session.session import SILENCES_MOST, Session
from onionshh.net.circuits import CircuitFailed
from onionshh.wire import messages as m
from tests.client.hostile import by_id
from tests.client.recorded import refuse
from tests.client.session.doors import Paused, paused
from tests.client.world import until
from tests.inside import behind, inside, parts


async def called(p: Paused) -> tuple[Session, Calling]:
    """The endpoint's side, once it knows the ways back."""
    ways = behind(p.contact).ways
    assert ways is not None
    await until(lambda: ways.call_us)
    await trio.sleep(100)
    (session,) = parts(p.endpoint).peers.known()
    return session, Calling(inside(p.host), parts(p.endpoint).peers.keeper, session)


async def test_without_a_way_it_waits(autojump_clock: MockClock) -> None:
    async with paused() as p:
        (session,) = parts(p.endpoint).peers.known()
        calling = Calling(inside(p.host), parts(p.endpoint).peers.keeper, session)
        with pytest.raises(NotReached, match=NO_WAY) as caught:
            await calling.once(p.record(b"x"), more=False)
        assert caught.value.failure.nobody
        with pytest.raises(CircuitFailed):
            await calling.answer(p.record(b"x"))
        assert session.chains.spend.index == 0


async def test_a_way_whose_time_is_over_is_not_used(autojump_clock: MockClock) -> None:
    async with paused(way_back=True) as p:
        session, calling = await called(p)
        assert session.way_back
        session.way_back = tuple(replace(way, expires=1) for way in session.way_back)
        with pytest.raises(NotReached, match=NO_WAY):
            await calling.once(p.record(b"x"), more=False)


async def test_it_calls_with_one_cell_or_over_a_circuit(autojump_clock: MockClock) -> None:
    async with paused(way_back=True) as p:
        session, calling = await called(p)
        record = p.record(b"short")
        opening = await calling.once(record, more=False)
        assert opening.joined is None
        assert session.chains.spend.unanswered == 1
        calling.arrived(record.whisper_id)
        assert session.chains.spend.unanswered == 0
        opening = await calling.once(p.record(bytes(2000)), more=False)
        assert opening.joined is not None
        opening.joined.close()
        # The other side could not answer to one cell, so it gets a circuit.
        keeper = parts(p.endpoint).peers.keeper
        opening = await Calling(inside(p.host), keeper, session, lambda: False).once(record, more=False)
        assert opening.joined is not None
        opening.joined.close()


async def test_a_way_that_is_unknown_twice_is_forgotten(autojump_clock: MockClock) -> None:
    async with paused(way_back=True) as p:
        session, calling = await called(p)
        (way, *_) = session.way_back
        session.way_back = only = session.way_back[:1]
        refuse(by_id(p.net, way.relay.hex()), answer=m.NO_SUCH_KEY, key=way.auth_key)
        for tries in range(UNKNOWN_MOST):
            assert session.way_back == only, tries
            with pytest.raises(NotReached, match="way back failed"):
                await calling.once(p.record(b"x"), more=False)
        assert not session.way_back
        assert session.silences == 0


async def test_after_two_silences_it_waits_until_the_peer_comes(autojump_clock: MockClock) -> None:
    async with paused(way_back=True) as p:
        session, calling = await called(p)
        for way in session.way_back:
            refuse(by_id(p.net, way.relay.hex()), ends=True, key=way.auth_key)
        for _ in range(SILENCES_MOST):
            with pytest.raises(NotReached, match="way back failed"):
                await calling.once(p.record(b"x"), more=False)
        with pytest.raises(NotReached, match=NO_WAY):
            await calling.once(p.record(b"x"), more=False)
        with trio.fail_after(60):
            await p.contact.whisper(b"here I am" + bytes(300))
        assert session.silences == 0
