"""Over a circuit, or with one cell alone (SPEC 12)."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from onionshh.client.reach.connect import NoStatus
from onionshh.client.session.going_on import ALONE_KNOWN_MOST, ALONE_MOST, GoingOn, path_info
from onionshh.core.session.session import SILENCES_MOST, UNANSWERED_MOST
from onionshh.ids import WhisperId
from tests.client.recorded import refuse
from tests.client.session.doors import TERMS, Paused, paused


def going_on(p: Paused) -> GoingOn:
    return GoingOn(p.context, p.keeper, lambda: TERMS)


async def test_what_goes_alone(autojump_clock: MockClock) -> None:
    async with paused() as p:
        for body, may, alone, rode in (
            (bytes(ALONE_MOST), True, True, True),
            (bytes(ALONE_MOST + 1), True, False, False),
            (b"x", False, False, True),
        ):
            opening = await going_on(p).once(p.session, p.door, p.record(body), alone=may)
            assert (opening.joined is None) is alone
            assert opening.rode is rode
            assert opening.resumed
            assert opening.session is p.session
            assert opening.paths[0].hops >= 1
            if opening.joined is not None:
                assert opening.paths == (path_info(opening.joined.circuit),)
                opening.joined.close()


async def test_a_receipt_answers_the_step_of_what_went_alone(autojump_clock: MockClock) -> None:
    async with paused() as p:
        it, records = going_on(p), [p.record(b"%d" % number) for number in range(3)]
        for record in records:
            await it.once(p.session, p.door, record, alone=True)
        assert p.session.chains.spend.unanswered == 3
        it.arrived(records[1].whisper_id)
        assert p.session.chains.spend.unanswered == 1  # an answer settles those before it
        it.arrived(records[1].whisper_id)
        it.arrived(WhisperId(b"n" * 16))
        it.silent(WhisperId(b"n" * 16))
        assert p.session.silences == 0
        it.silent(records[0].whisper_id)
        it.silent(records[0].whisper_id)
        assert p.session.silences == 1
        it.arrived(records[2].whisper_id)
        assert p.session.silences == 0
        assert p.session.chains.spend.unanswered == 0


async def test_an_introducer_that_says_nothing_of_a_whisper_is_a_silence(autojump_clock: MockClock) -> None:
    async with paused() as p:
        refuse(p.doorkeeper, ends=True)
        for _ in range(SILENCES_MOST):
            assert p.session.may_spend
            with pytest.raises(NoStatus):
                await going_on(p).once(p.session, p.door, p.record(b"x"), alone=True)
        assert not p.session.may_spend


async def test_the_sixteenth_receipt_asks_for_a_circuit(autojump_clock: MockClock) -> None:
    async with paused() as p:
        it = going_on(p)
        for number in range(UNANSWERED_MOST - 1):
            assert await it.answer(p.session, p.door, p.record(b"%d" % number)) is None
        joined = await it.answer(p.session, p.door, p.record(b"the last"))
        assert joined is not None
        assert p.session.chains.spend.unanswered == 0
        joined.close()


async def test_no_more_are_known_than_may_be_out(autojump_clock: MockClock) -> None:
    assert ALONE_KNOWN_MOST > UNANSWERED_MOST
