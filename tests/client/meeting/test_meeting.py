"""Two who share a secret meet and talk (SPEC 14). Whole networks in virtual time."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.context import WATCHES_MOST
from onionshh.client.meeting.meeting import MANY
from onionshh.client.meeting.turns import OTHERS_AN_HOUR
from onionshh.core.meeting.hello import HELLO, Hello, answer_untrusted
from onionshh.errors import Away, Closed, DataInUse
from tests.client.letterworld import slowly
from tests.client.meeting.meetings import (
    HOUR,
    SECRET,
    TOPIC,
    Program,
    bodies,
    both_met,
    delivered,
    hellos,
    items,
    network,
)
from tests.client.world import WrongClock, joined, until
from tests.inside import inside
from tests.seeded import seeded


async def test_they_meet_and_talk_both_ways(autojump_clock: MockClock) -> None:
    one, other = Program(), Program()
    async with network() as net, net.join("one") as left_node, net.join("other") as right_node:
        async with one.at(left_node) as left:
            early = [left.send(b"early %d" % number, ttl_seconds=HOUR) for number in range(3)]
            assert (left.session, left.others, left.problem) == (None, 0, "")
            with pytest.raises(Away):
                await left.ask(b"nobody", unless_away=True)
            await trio.sleep(300)
            assert [receipt.status for receipt in early] == ["queued"] * 3
            async with other.at(right_node) as right:
                await both_met(left, right)
                await delivered(*early)
                assert other.bodies == [b"early 0", b"early 1", b"early 2"]
                assert (left.others, right.others, left.problem, right.problem) == (1, 1, "", "")
                assert await right.ask(b"ask left") == b"ASK LEFT"
                assert await left.ask(b"ask right") == b"ASK RIGHT"
                # After a pause either side speaks first, with one cell or with many.
                for speaker, heard in ((left, other), (right, one)):
                    for body in (b"short", b"x" * 3000):
                        await trio.sleep(120)
                        receipt = speaker.send(body)
                        await delivered(receipt)
                        assert heard.bodies[-1] == body
                        assert receipt.resumed
                assert left.session is not None
                assert right.session is not None
                assert left.session.started_at == right.session.started_at
                assert left.session.way_back
                assert right.session.way_back
                assert left.pending() == []
                assert left.receipt(early[0].id) is early[0]
                assert (left.others, right.others) == (1, 1)
        assert one.bodies == [b"ask left", b"short", b"x" * 3000]
        assert other.bodies == [*(b"early %d" % n for n in range(3)), b"ask right", b"short", b"x" * 3000]
        for node in (left_node, right_node):
            assert not {"meeting-shape", "meeting-many"} & set(node.drops())


async def test_whoever_comes_first_and_whoever_answers(autojump_clock: MockClock) -> None:
    """Each pair draws anew who has the higher instance."""
    async with network() as net, net.join("one") as one, net.join("other") as other:
        for number in range(4):
            secret = bytes((number,)) * 32
            first, second = (one, other) if number % 2 else (other, one)
            async with first.meet(secret) as left:
                receipt = left.send(b"hello", ttl_seconds=HOUR)
                await trio.sleep(60)
                async with second.meet(secret) as right:
                    await both_met(left, right)
                    whisper = await anext(aiter(right))
                    assert whisper.body == b"hello"
                    await whisper.done()
                    await delivered(receipt)


async def test_a_meeting_says_what_is_wrong_with_its_arguments(autojump_clock: MockClock) -> None:
    async with network(5) as net, net.join("one") as node:
        with pytest.raises(ValueError, match="A secret has 32 bytes; this one has 31"):
            node.meet(bytes(31))
        with pytest.raises(TypeError, match="A secret is 32 bytes, not str"):
            node.meet("secret")  # type: ignore[arg-type]
        for name in ("", "a" * 65, "a\nb"):
            with pytest.raises(ValueError, match="name"):
                node.meet(SECRET, name=name)
        meeting = node.meet(SECRET)
        for action in (meeting.met, lambda: meeting.ask(b"?")):
            with pytest.raises(Closed, match="This meeting is not open"):
                await action()
        with pytest.raises(Closed, match="not open"):
            meeting.send(b"hello")
        with pytest.raises(Closed, match="not open"):
            aiter(meeting)
        async with meeting:
            with pytest.raises(Closed, match="A meeting is entered once"):
                await meeting.__aenter__()
            with pytest.raises(ValueError, match="65535"):
                meeting.send(bytes(65_536))
            assert (meeting.session, meeting.others, meeting.problem) == (None, 0, "")
        async with node.meet(SECRET, name="a"), node.meet(SECRET, name="b"), node.meet(SECRET):
            with pytest.raises(DataInUse, match="A meeting with this secret and name is open already"):
                async with node.meet(SECRET, name="a"):
                    pass
    with pytest.raises(Closed):
        node.meet(SECRET)


async def test_who_listens_is_told_that_it_was_closed_and_what_waited_fails(
    autojump_clock: MockClock,
) -> None:
    async with network(5) as net, net.join("one") as node:
        async with node.meet(SECRET) as meeting, trio.open_nursery() as nursery:
            ended = trio.Event()

            async def listens() -> None:
                async for _ in meeting:
                    raise AssertionError("nobody is there")
                ended.set()

            nursery.start_soon(listens)
            receipt = meeting.send(b"nobody hears it", ttl_seconds=HOUR)
            await trio.sleep(30)
            assert not ended.is_set()
            meeting.close()
            meeting.close()
            with trio.fail_after(5):
                assert (await receipt.final()).status == "failed"
                await ended.wait()
        with pytest.raises(Closed):
            await meeting.met()


async def test_without_ways_back_there_is_no_meeting_and_the_node_goes_on(autojump_clock: MockClock) -> None:
    async with network(5) as net, net.join("one") as node, AsyncExitStack() as stack:
        for number in range(8):
            await stack.enter_async_context(node.meet(bytes((number,)) * 32))
        for name in (None, "press"):
            with pytest.raises(ValueError, match="they are all taken"):
                await node.meet(SECRET, name=name).__aenter__()
        await stack.aclose()
        async with node.meet(SECRET, name="press") as meeting:
            assert meeting.problem == ""


async def test_a_hello_lies_there_while_the_meeting_is_open_and_no_longer(autojump_clock: MockClock) -> None:
    with slowly(30.0):
        async with network() as net, net.join("one") as node, net.join("third") as third:
            async with third.board(TOPIC.secret) as board:
                async with node.meet(SECRET):
                    await until(lambda: items(net) == 4)
                    (instance,) = hellos(await bodies(board))
                    for _ in range(2):  # after an hour it would be over
                        await trio.sleep(0.7 * HOUR)
                        assert hellos(await bodies(board)) == [instance]
                    assert items(net) == 4, "it is one post, extended"
                assert items(net) == 0
                assert await bodies(board) == []


@pytest.mark.parametrize("shift", [-300, 300])
async def test_they_meet_with_clocks_that_are_five_minutes_apart(
    shift: int, autojump_clock: MockClock
) -> None:
    one, other = Program(), Program()
    async with (
        network() as net,
        net.join("one") as left_node,
        joined(net, "other", WrongClock(net, shift)) as right_node,
    ):
        async with one.at(left_node) as left, other.at(right_node) as right:
            await both_met(left, right)
            await delivered(left.send(b"hello"), right.send(b"hello"))
            assert await left.ask(b"ask") == b"ASK"
            await trio.sleep(200)
            await delivered(left.send(b"again"), right.send(b"again"))
        assert one.bodies == [b"hello", b"again"]
        assert other.bodies == [b"hello", b"ask", b"again"]


async def test_one_comes_back_with_a_name_and_the_other_stays(autojump_clock: MockClock) -> None:
    one, other = Program(), Program()
    async with network() as net, net.join("one") as left_node, net.join("other") as right_node:
        async with one.at(left_node) as left:
            async with other.at(right_node, "press") as right:
                await both_met(left, right)
                await delivered(left.send(b"first"), right.send(b"first"))
                await trio.sleep(20)
                before = right.session
                assert before is not None
            await trio.sleep(90)
            waits = left.send(b"while you were away", ttl_seconds=HOUR)
            live = left.send(b"only live")
            await trio.sleep(30)
            assert "delivered" not in (waits.status, live.status)
            async with other.at(right_node, "press") as right:
                await both_met(left, right)
                assert right.session is not None
                assert right.session.started_at == before.started_at
                await delivered(waits, live)
                assert await right.ask(b"ask again") == b"ASK AGAIN"
                assert left.others == 1
                assert MANY.partition(" ")[2] not in left.problem
                await trio.sleep(120)
                await delivered(right.send(b"last"), left.send(b"last"))
        assert one.bodies == [b"first", b"ask again", b"last"]
        assert sorted(other.bodies) == sorted([b"first", b"while you were away", b"only live", b"last"])


async def test_both_have_names_and_are_never_there_together_again(autojump_clock: MockClock) -> None:
    one, other = Program(), Program()
    with slowly(30.0):
        async with network() as net, net.join("one") as left_node, net.join("other") as right_node:
            async with one.at(left_node, "a") as left, other.at(right_node, "b") as right:
                await both_met(left, right)
                await delivered(left.send(b"met"), right.send(b"met"))
                await trio.sleep(60)
            async with one.at(left_node, "a") as left:
                letter = left.send(b"ask in a letter", ttl_seconds=20 * HOUR)
                with trio.fail_after(600):
                    await letter.stored()
                    while letter.copies[0] < 4:
                        await letter.changed()
            assert other.bodies == [b"met"]
            async with other.at(right_node, "b") as right:
                with trio.fail_after(600):
                    while len(other.bodies) < 2:
                        await trio.sleep(5)
                back = right.send(b"a letter back", ttl_seconds=20 * HOUR)
                with trio.fail_after(1200):
                    while back.status != "stored":
                        await back.changed()
                await trio.sleep(240)  # its receipt and its answer are left, too
            async with one.at(left_node, "a") as left:
                again = left.receipt(letter.id)
                assert again is not None
                await delivered(again, seconds=2 * HOUR)
                with trio.fail_after(2 * HOUR):
                    assert await again.reply() == b"ASK IN A LETTER"
                    while b"a letter back" not in one.bodies:
                        await trio.sleep(5)
                assert left.pending() == []
                await trio.sleep(240)
            async with other.at(right_node, "b") as right:
                again = right.receipt(back.id)
                assert again is not None
                await delivered(again, seconds=2 * HOUR)
            assert [body for body in one.bodies if body != b"ASK IN A LETTER"] == [b"met", b"a letter back"]
            assert other.bodies == [b"met", b"ask in a letter"]


async def test_the_other_one_is_restarted_without_a_name(autojump_clock: MockClock) -> None:
    one, other = Program(), Program()
    async with network() as net, net.join("one") as left_node, net.join("other") as right_node:
        async with one.at(left_node) as left:
            async with other.at(right_node) as right:
                await both_met(left, right)
                await delivered(left.send(b"to the first"))
                before = left.session
                assert before is not None
            await trio.sleep(100)
            async with other.at(right_node) as right:
                await both_met(right)
                receipt = right.send(b"from the second")
                await delivered(receipt)
                await until(lambda: left.session is not None and left.session != before)
                assert left.session is not None
                assert left.session.started_at > before.started_at
                await delivered(left.send(b"to the second"))
                assert left.others == 2
                assert left.problem.endswith(MANY.format(others=2))
                await trio.sleep(100)
                assert await left.ask(b"ask") == b"ASK"
        assert one.bodies == [b"from the second"]
        assert other.bodies == [b"to the first", b"to the second", b"ask"]


async def test_a_third_who_knows_the_secret_comes_too(autojump_clock: MockClock) -> None:
    one, other, third = Program(), Program(), Program()
    async with network() as net, net.join("one") as a, net.join("other") as b, net.join("third") as c:
        async with one.at(a) as left, other.at(b) as right:
            await both_met(left, right)
            await delivered(left.send(b"between two"), seconds=500)
            await trio.sleep(30)
            async with third.at(c) as late:
                await both_met(late)
                await delivered(late.send(b"I am here, too"), seconds=500)
                await until(lambda: left.others == right.others == late.others == 2, 60)
                assert left.problem.endswith(MANY.format(others=2))
                # Whoever showed itself last is spoken to, and nothing goes to two of them.
                await delivered(left.send(b"to one of you"), seconds=500)
                heard = other.bodies + third.bodies
                assert heard.count(b"to one of you") == 1
        shown = one.bodies + other.bodies
        assert shown.count(b"I am here, too") == 1
        assert other.bodies[0] == b"between two"


@pytest.mark.parametrize(
    ("speakers", "killed", "pause"),
    [
        ("both", False, 75),
        ("both", True, 75),
        ("one", True, 75),
        ("other", False, 75),
        ("one", False, 7200),
        ("other", True, 7200),
    ],
)
async def test_when_a_third_has_come_and_gone_the_two_find_each_other_again(
    pause: int, killed: bool, speakers: str, autojump_clock: MockClock
) -> None:
    """Each of them is in a session with the third by then, which lies in no mailbox that anybody reads."""
    one, other, third = Program(), Program(), Program()
    async with network() as net, net.join("one") as a, net.join("other") as b, net.join("third") as c:
        async with one.at(a) as left, other.at(b) as right:
            await both_met(left, right)
            await delivered(left.send(b"between two"), right.send(b"between two"), seconds=500)
            async with third.at(c) as late:
                await both_met(late)
                await delivered(late.send(b"I am here, too"), seconds=500)
                await until(lambda: left.others == right.others == late.others == 2, 60)
                await trio.sleep(30)
                if killed:
                    inside(c).nursery.cancel_scope.cancel()
            await trio.sleep(pause)
            said = []
            if speakers in ("both", "one"):
                said.append(left.send(b"to the other", ttl_seconds=HOUR))
            if speakers in ("both", "other"):
                said.append(right.send(b"to the one", ttl_seconds=HOUR))
            await delivered(*said, seconds=600)
            assert left.session is not None
            assert right.session is not None
            await trio.sleep(100)
            await delivered(left.send(b"again"), right.send(b"again"), seconds=300)
        assert other.bodies.count(b"again") == one.bodies.count(b"again") == 1
        assert not {b"again", b"to the one", b"to the other"} & set(third.bodies)


@pytest.mark.parametrize("times", [4, 7])
async def test_a_third_that_comes_often_parts_nobody(times: int, autojump_clock: MockClock) -> None:
    """More often than sessions are kept: then the two have none any more, and meet anew."""
    one, other, third = Program(), Program(), Program()
    async with network() as net, net.join("one") as a, net.join("other") as b, net.join("third") as c:
        async with one.at(a) as left, other.at(b) as right:
            await both_met(left, right)
            await delivered(left.send(b"between two"), right.send(b"between two"), seconds=500)
            for _ in range(times):
                async with third.at(c) as late:
                    await both_met(late)
                    await delivered(late.send(b"I am here, too"), seconds=500)
                    await trio.sleep(60)
            said = left.send(b"to the other", ttl_seconds=HOUR), right.send(b"to the one", ttl_seconds=HOUR)
            await delivered(*said, seconds=1200)
        assert other.bodies.count(b"to the other") == one.bodies.count(b"to the one") == 1


async def test_answers_by_a_third_do_not_take_the_session_that_is_in_use(
    autojump_clock: MockClock,
) -> None:
    """As many as begin sessions in an hour, and none of them is shown."""
    one, other = Program(), Program()
    with slowly(30.0):
        async with network() as net, net.join("one") as a, net.join("other") as b, net.join("third") as c:
            async with c.board(TOPIC.secret) as board, one.at(a) as left, other.at(b) as right:
                await both_met(left, right, seconds=1200)
                await delivered(left.send(b"before"), right.send(b"before, too"), seconds=500)
                before = [left.session, right.session]
                found = [body for body in await bodies(board) if len(body) == HELLO]
                period = inside(c).view.period
                for number in range(OTHERS_AN_HOUR + 4):
                    for body in found:
                        hello = Hello.decode_untrusted(SECRET, body)
                        instance = b"\xff" * 15 + bytes((number,))
                        said, _ = answer_untrusted(SECRET, hello, instance, period, seeded(500 + number))
                        await board.post(said, ttl_seconds=600)
                await trio.sleep(900)
                assert left.others > 2
                assert right.others > 2
                assert [one and one.started_at for one in (left.session, right.session)] == [
                    one and one.started_at for one in before
                ]
                await delivered(left.send(b"after"), right.send(b"after, too"), seconds=500)


async def test_who_waits_for_the_other_one_is_told_that_the_meeting_was_closed(
    autojump_clock: MockClock,
) -> None:
    async with network(4) as net, net.join("one") as node, node.meet(SECRET) as meeting:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def wait() -> None:
                with pytest.raises(Closed):
                    await meeting.met()

            await trio.sleep(10)
            meeting.close()


async def test_a_node_that_watches_too_many_boards_holds_no_meeting(autojump_clock: MockClock) -> None:
    async with network(4) as net, net.join("one") as node:
        inside(node).shared.watches = WATCHES_MOST
        with pytest.raises(ValueError, match="16 boards"):
            async with node.meet(SECRET):
                pass
        inside(node).shared.watches = 0
        async with node.meet(SECRET):
            assert inside(node).shared.watches == 1
