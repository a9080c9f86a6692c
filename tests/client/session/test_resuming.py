"""One resumption: two circuits, one step, one cell (SPEC 12)."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.reach.connect import NoAnswer, NoStatus, NotIntroduced
from onionshh.client.session.keeper import SessionKeeper
from onionshh.client.session.resuming import LastStep, resume, resume_alone, rides
from onionshh.core.base.patience import RENDEZVOUS_SECONDS
from onionshh.core.session.resumption import record_most
from onionshh.core.session.session import LEGS_BURST, LEGS_EVERY_SECONDS, UNANSWERED_MOST
from onionshh.errors import BadData
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from tests.client.hostile import mount_deaf
from tests.client.recorded import noting, refuse
from tests.client.session.doors import TERMS, paused
from tests.client.session.pair import Rows
from tests.inside import parts


def test_what_rides_along() -> None:
    for legs in (0, 1):
        assert rides(bytes(record_most(legs)), legs)
        assert not rides(bytes(record_most(legs) + 1), legs)
    assert not rides(b"x", 3)


async def test_both_ends_are_joined_and_the_step_is_answered(autojump_clock: MockClock) -> None:
    async with paused() as p:
        resumed = await resume(p.context, p.keeper, p.session, p.door, TERMS, p.record(b"rides").encode())
        assert resumed.rode
        assert resumed.joined.open
        assert p.session.chains.spend.unanswered == 0
        await trio.sleep(1)
        assert p.got[b"rides"] == 1
        assert p.held() == Counter(rendezvous=1)  # the one to the introducer is closed
        large = await resume(p.context, p.keeper, p.session, p.door, TERMS, p.record(bytes(400)).encode())
        assert not large.rode
        for one in (resumed, large):
            one.joined.close()


async def test_a_ninth_circuit_waits_until_the_other_side_would_build_it(autojump_clock: MockClock) -> None:
    async with paused() as p:
        times = []
        for _ in range(LEGS_BURST + 2):
            began = trio.current_time()
            (await resume(p.context, p.keeper, p.session, p.door, TERMS, b"")).joined.close()
            times.append(trio.current_time() - began)
        assert max(times[:LEGS_BURST]) < 1
        assert min(times[LEGS_BURST:]) > LEGS_EVERY_SECONDS / 2
        assert p.session.silences == 0
        assert Reason.RESUME_BUDGET not in p.host.drops()


@pytest.mark.parametrize(
    ("answer", "ends", "silences"),
    [(m.BUSY, False, 0), (m.NO_SUCH_KEY, False, 0), (None, False, 1), (None, True, 1)],
)
async def test_what_an_introducer_says_and_what_counts_as_silence(
    answer: int | None, ends: bool, silences: int, autojump_clock: MockClock
) -> None:
    async with paused() as p:
        refuse(p.doorkeeper, answer=answer, ends=ends)
        with pytest.raises(NotIntroduced) as caught:
            await resume(p.context, p.keeper, p.session, p.door, TERMS, b"")
        assert isinstance(caught.value, NoStatus) is (answer is None)
        assert caught.value.gone is (answer == m.NO_SUCH_KEY)
        assert p.session.silences == silences
        assert p.session.chains.spend.unanswered == 1
        assert p.held() == Counter()
        # A receipt that went alone awaits no answer, and so says nothing of the session.
        with pytest.raises(NotIntroduced):
            await resume_alone(p.context, p.keeper, p.session, p.door, 1, p.record(b"x").encode())
        assert p.session.silences == silences


async def test_nobody_comes_to_the_meeting(autojump_clock: MockClock) -> None:
    async with paused() as p:
        mount_deaf(p.doorkeeper)
        began = trio.current_time()
        with pytest.raises(NoAnswer):
            await resume(p.context, p.keeper, p.session, p.door, TERMS, b"")
        assert RENDEZVOUS_SECONDS <= trio.current_time() - began < RENDEZVOUS_SECONDS + 2
        assert p.session.silences == 1
        assert p.held() == Counter()


async def test_nothing_leaves_before_the_step_is_on_disk(autojump_clock: MockClock) -> None:
    async with paused() as p:
        seen, rows = noting(p.net), Rows()
        rows.full = True
        keeper = SessionKeeper(p.context, rows)
        with pytest.raises(BadData):
            await resume(p.context, keeper, p.session, p.door, TERMS, b"")
        with pytest.raises(BadData):
            await resume_alone(p.context, keeper, p.session, p.door, 1, b"")
        assert seen.introduced == seen.met == []
        assert p.held() == Counter()


async def test_a_cell_alone_brings_its_record_and_leaves_no_circuit(autojump_clock: MockClock) -> None:
    async with paused() as p:
        spent, _ = await resume_alone(p.context, p.keeper, p.session, p.door, 1, p.record(b"alone").encode())
        await trio.sleep(1)
        assert p.got[b"alone"] == 1
        assert p.held() == Counter()
        assert p.session.chains.spend.unanswered == 1
        p.keeper.answered(p.session, spent)
        assert p.session.chains.spend.unanswered == 0
        assert not list(parts(p.endpoint).peers.lanes) or p.session.silences == 0


async def test_the_last_step_that_may_be_out_asks_for_a_circuit(autojump_clock: MockClock) -> None:
    async with paused() as p:
        for _ in range(UNANSWERED_MOST - 1):
            p.session.spend()
        with pytest.raises(LastStep):
            await resume_alone(p.context, p.keeper, p.session, p.door, 1, p.record(b"x").encode())
        resumed = await resume(p.context, p.keeper, p.session, p.door, TERMS, b"")
        assert p.session.chains.spend.unanswered == 0  # its answer settles all
        resumed.joined.close()
