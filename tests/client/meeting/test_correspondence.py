"""A correspondence whose two ends are alike: what goes live, and what is left in the mailbox (SPEC 14)."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.correspondence import SESSIONS_MOST
from onionshh.client.meeting.correspondence import NOTE_SECONDS, MeetingCorrespondence
from onionshh.client.meeting.folder import meeting_folder
from onionshh.core.delivery.record import NO_ID, WAY_BACK, Record
from onionshh.core.session.way_back import WayBack, encode_ways
from onionshh.errors import Closed
from onionshh.ids import AuthKey, RelayId, WhisperId
from onionshh.wire import messages as m
from onionshh.wire.mailbox import PAIR
from tests.client.hostile import HostileIntroducer, mount
from tests.client.letterworld import slowly
from tests.client.mail.postal import bend
from tests.client.meeting.meetings import (
    HOUR,
    SECRET,
    TOPIC,
    Program,
    both_met,
    delivered,
    hello,
    items,
    network,
)
from tests.client.session.pair import both
from tests.client.world import WALL, until
from tests.inside import inside


async def test_where_nobody_can_be_called_all_goes_through_the_mailbox(autojump_clock: MockClock) -> None:
    """Every introducer says that it is busy, so no way back leads anywhere."""
    one, other = Program(), Program()
    with slowly(30.0):
        async with network() as net, net.join("one") as left_node, net.join("other") as right_node:
            for running in net.relays:
                mount(running, HostileIntroducer(running, answer=m.BUSY))
            async with one.at(left_node) as left, other.at(right_node) as right:
                await both_met(left, right, seconds=600)
                letters = [
                    left.send(b"ask", ttl_seconds=12 * HOUR),
                    right.send(b"news", ttl_seconds=12 * HOUR),
                ]
                short = left.send(b"only live", ttl_seconds=300)
                with trio.fail_after(HOUR):
                    for letter in letters:
                        await letter.stored()
                await delivered(*letters, seconds=6 * HOUR)
                with trio.fail_after(3 * HOUR):
                    assert await letters[0].reply() == b"ASK"
                await until(lambda: short.is_final, 600)
                assert short.status == "expired"
                assert left.session is not None
                assert left.session.resumed == 0
            assert other.bodies == [b"ask"]
            assert [body for body in one.bodies if body != b"ASK"] == [b"news"]


async def test_a_session_that_has_begun_leaves_a_sign_in_the_mailbox(autojump_clock: MockClock) -> None:
    """It is for an hour, and the relays erase it then, or once it was read."""
    with slowly(30.0):
        async with network() as net, net.join("one") as node, net.join("third") as third:
            relays = bend(net)
            async with third.board(TOPIC.secret) as board, node.meet(SECRET) as meeting:
                await (await board.post(hello(bytes(16)), ttl_seconds=60)).stored()

                def signs() -> list[int]:
                    puts = [(now, put) for bent in relays.values() for now, put, _ in bent.puts]
                    return [
                        put.expires - WALL - round(now - began)
                        for now, put in puts
                        if put.mailbox.kind == PAIR
                    ]

                began = trio.current_time() - (net.clock.wall() - WALL)
                await until(lambda: len(signs()) == 4)
                assert all(abs(left - NOTE_SECONDS) < 120 for left in signs())
                assert meeting.session is None
            await trio.sleep(NOTE_SECONDS + 700)
            assert items(net) == 0


async def test_a_session_is_kept_when_it_begins_and_used_when_the_other_side_has_shown_itself(
    autojump_clock: MockClock,
) -> None:
    async with network(3) as net, net.join("one") as node:
        context = inside(node)
        async with meeting_folder(context, SECRET, None) as folder:
            made = MeetingCorrespondence(context, SECRET, folder)
            with pytest.raises(Closed, match="This meeting is not open"):
                await made.finding.withdraw()
            await made.load()
            first, second = both(1)[0], both(2)[0]
            for session in (first, second):
                await made.begun(session)
                assert made.known.keeper.get(session.session_id) is session
            assert (made.known.usable, made.session) == (None, None)
            await made.known.heard(second)
            assert made.known.usable is second
            assert made.session is not None
            # More sessions than are kept, of which nothing is shown, drive out none that is used.
            for number in range(SESSIONS_MOST + 2):
                await made.begun(both(100 + number)[0])
            assert made.known.keeper.get(second.session_id) is made.known.usable is second
            assert made.known.keeper.get(first.session_id) is None
            assert len(made.known.with_mail) == SESSIONS_MOST


async def test_what_lay_in_a_mailbox_does_not_undo_what_was_said_since(autojump_clock: MockClock) -> None:
    """Where the other side can be called: a note may be read after what was said over a circuit."""

    def told(number: int, at: int) -> Record:
        ways = (WayBack(RelayId(bytes((number,)) * 32), AuthKey(bytes((number,)) * 32), WALL + HOUR),)
        return Record(WhisperId(bytes((number,)) * 16), NO_ID, at, 0, WAY_BACK, encode_ways(ways))

    async with network(3) as net, net.join("one") as node:
        async with meeting_folder(inside(node), SECRET, None) as folder:
            made = MeetingCorrespondence(inside(node), SECRET, folder)
            await made.load()
            session = both(1)[0]
            await made.begun(session)
            assert made.mail is not None
            for number, at, known in ((2, 20, 2), (1, 10, 2), (3, 20, 3), (4, 21, 4)):
                await made.mailed(session, told(number, WALL + at))
                assert [way.relay[0] for way in session.way_back] == [known]


async def test_the_session_that_was_shown_last_is_in_use_and_the_one_before_is_kept(
    autojump_clock: MockClock,
) -> None:
    async with network(3) as net, net.join("one") as node:
        context = inside(node)
        async with meeting_folder(context, SECRET, None) as folder:
            made = MeetingCorrespondence(context, SECRET, folder)
            await made.load()
            first, second = both(1)[0], both(2)[0]
            for session in (first, second):
                await made.begun(session)
            await made.known.heard(second)
            await made.known.heard(first)
            assert made.known.usable is first
            assert made.known.with_mail == [first, second]
            assert made.known.beside == [second]
