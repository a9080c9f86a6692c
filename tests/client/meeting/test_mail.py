"""What two leave for each other: watched while it is the only way, else read now and then (SPEC 14)."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.delivery.mailing import NotLeft
from onionshh.client.mail.part_store import PartsInMemory
from onionshh.client.meeting.mail import MeetingMail
from onionshh.client.meeting.reaching import NOT_MET
from onionshh.client.meeting.sessions import MeetingSessions
from onionshh.client.session.keeper import SessionKeeper
from onionshh.core.delivery.record import new_whisper
from onionshh.ids import RelayId
from onionshh.net.database import IN_MEMORY, Database
from onionshh.net.store import run_inline
from onionshh.wire import mailbox as w
from tests.client.mail.postal import Bent, Heard, bend
from tests.client.meeting.meetings import TOPIC, Program, both_met, delivered, hello, network
from tests.client.session.pair import Rows, both
from tests.client.world import WALL, until
from tests.inside import inside
from tests.seeded import seeded


def watched(relays: dict[RelayId, Bent], since: float) -> int:
    """How often a pair mailbox was asked for with the wish to wait."""
    return sum(
        asked.mailbox.kind == w.PAIR and asked.wait > 0 and now >= since
        for bent in relays.values()
        for now, asked, _ in bent.lists
    )


async def test_the_mailboxes_are_watched_until_each_can_call_the_other(autojump_clock: MockClock) -> None:
    one, other = Program(), Program()
    async with network() as net, net.join("one") as left_node, net.join("other") as right_node:
        relays = bend(net)
        async with one.at(left_node) as left:
            await trio.sleep(60)
            assert watched(relays, 0.0) == 0, "there is no session yet"
            async with other.at(right_node) as right:
                await both_met(left, right)
                await delivered(left.send(b"hello"), right.send(b"hello"))
                await trio.sleep(60)
                assert watched(relays, 0.0) > 0
                before = trio.current_time()
                await trio.sleep(600)
                assert watched(relays, before) == 0


async def test_nothing_is_left_before_the_other_one_has_shown_itself(autojump_clock: MockClock) -> None:
    record = new_whisper(b"hello", expires=WALL + 7200, privacy_class=1, random_bytes=seeded(1))
    async with network(3) as net, net.join("one") as node:
        context, rows = inside(node), Rows()
        sessions = MeetingSessions(context, SessionKeeper(context, rows, 16))

        async def nothing(*_: object) -> list[object]:
            raise AssertionError("nothing comes")

        made = MeetingMail(
            context,
            Database(IN_MEMORY, (), run_inline),
            sessions,
            PartsInMemory(context),
            Heard(),
            bring=nothing,  # type: ignore[arg-type]
            live=nothing,  # type: ignore[arg-type]
            expects=lambda: True,
        )
        assert made.receipts
        for session in (None, both()[0]):
            sessions.current = session
            with pytest.raises(NotLeft) as caught:
                await made.leave(record)
            assert (caught.value.why, caught.value.again_seconds) == (NOT_MET, 30)
        assert not made.has(record.whisper_id)


async def test_a_session_that_leads_to_nobody_is_watched_beside_the_others(autojump_clock: MockClock) -> None:
    """A hello of somebody who was never there."""
    one, other = Program(), Program()
    async with network() as net, net.join("one") as left_node, net.join("other") as right_node:
        relays = bend(net)
        async with one.at(left_node) as left:
            async with net.join("third") as third, third.board(TOPIC.secret) as board:
                await (await board.post(hello(bytes(16)), ttl_seconds=3600)).stored()
            await until(lambda: left.others == 1)
            await until(lambda: watched(relays, 0.0) > 0)
            assert left.session is None
            early = left.send(b"early", ttl_seconds=3600)
            await trio.sleep(60)
            assert early.status == "queued"
            async with other.at(right_node) as right:
                await both_met(left, right)
                await delivered(early)
                assert await right.ask(b"ask") == b"ASK"
        assert other.bodies == [b"early"]
