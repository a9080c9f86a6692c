"""How two find each other by posts: who is answered, once, and what is made of all else (SPEC 14)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.board.working import WorkingBoard
from onionshh.client.context import Context
from onionshh.client.meeting.finding import (
    AGAIN_SECONDS,
    EXTEND_SECONDS,
    HELLO_SECONDS,
    REMEMBERED_SECONDS,
    TRIES_MOST,
    Finding,
)
from onionshh.client.meeting.store import MEETING_MIGRATIONS, MeetingStore, Oneself
from onionshh.client.meeting.turns import OTHERS_AN_HOUR
from onionshh.core.meeting.hello import Agreed, Hello, agreed_untrusted, answer_untrusted
from onionshh.core.session.session import Session
from onionshh.crypto.refresh import SEED, Offer
from onionshh.errors import BadData, Closed, NetworkUnreachable
from onionshh.net.database import IN_MEMORY, Database
from onionshh.net.store import run_inline
from onionshh.reasons import Reason
from tests.client.letterworld import slowly
from tests.client.meeting.meetings import SECRET, hello, network
from tests.inside import inside
from tests.seeded import seeded

LOW, MIDDLE, HIGH = b"\x01" * 16, b"\x80" * 16, b"\xf0" * 16
ONESELF = Oneself(MIDDLE, seeded(1)(SEED))
OURS = Hello.of(SECRET, MIDDLE, Offer.of_seed(ONESELF.seed).public)


class Posting:
    """A post of ours, and what was asked for it."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.is_final = False
        self.extended: list[float] = []
        self.recalled = False
        self.too_often = False

    async def extend(self, seconds: float) -> bool:
        await trio.lowlevel.checkpoint()
        if self.too_often:
            raise ValueError("it was extended too often")
        self.extended.append(seconds)
        return True

    async def recall(self) -> bool:
        await trio.lowlevel.checkpoint()
        self.recalled = self.is_final = True
        return True


class Board:
    """A board whose posts come from the test, and which keeps ours."""

    def __init__(self) -> None:
        self.publishing = self
        self.ours: list[Posting] = []
        self.fails = 0
        """So many posts cannot be taken on."""
        self._posts: list[bytes] = []
        self._more = trio.Event()

    def comes(self, *found: bytes) -> None:
        self._posts += found
        self._more.set()
        self._more = trio.Event()

    def with_body(self, body: bytes) -> list[Posting]:
        return [posting for posting in self.ours if posting.body == body]

    async def post(self, body: bytes, seconds: float) -> Posting:
        await trio.lowlevel.checkpoint()
        if self.fails:
            self.fails -= 1
            raise BadData("the disk is full")
        self.ours.append(Posting(body))
        return self.ours[-1]

    def watch(self) -> None:
        pass

    async def cursor(self) -> int:
        await trio.lowlevel.checkpoint()
        return 0

    async def next(self, after: int) -> list[SimpleNamespace]:
        while len(self._posts) <= after:
            await self._more.wait()
        return [
            SimpleNamespace(seq=number, post=SimpleNamespace(body=body))
            for number, body in enumerate(self._posts, start=1)
            if number > after
        ]


class World:
    """One side of a meeting. `begun`: the sessions that it has begun."""

    def __init__(self, context: Context, store: MeetingStore) -> None:
        self.context = context
        self.store = store
        self.board = Board()
        self.begun: list[Session] = []
        self.fails = 0
        """So many sessions cannot be kept."""
        self.finding = self.made()

    def made(self) -> Finding:
        board = cast(WorkingBoard, self.board)
        return Finding(self.context, SECRET, self.store, board, self._begun, self._session_of)

    def _session_of(self, session_id: bytes) -> Session | None:
        return next((one for one in self.begun if one.session_id == session_id), None)

    async def _begun(self, session: Session) -> None:
        await trio.lowlevel.checkpoint()
        if self.fails:
            self.fails -= 1
            raise BadData("the disk is full")
        self.begun.append(session)

    @property
    def answers(self) -> list[bytes]:
        return [posting.body for posting in self.board.ours if posting.body != OURS.encoded]

    @property
    def drops(self) -> dict[str, int]:
        return dict(self.context.drops.by_name())

    async def comes(self, *found: bytes) -> None:
        """This comes, and is dealt with."""
        self.board.comes(*found)
        await trio.sleep(0.1)


@asynccontextmanager
async def side(oneself: Oneself | None = ONESELF) -> AsyncIterator[World]:
    """It looks. `oneself`: who it is; None for someone new."""
    database = Database(IN_MEMORY, MEETING_MIGRATIONS, run_inline)
    with slowly(30.0):
        async with network(3) as net, net.join("one") as node, trio.open_nursery() as nursery:
            world = World(inside(node), MeetingStore(database))
            if oneself is not None:
                await world.store.keep(oneself)
            await world.finding.load()
            nursery.start_soon(world.finding.run)
            await trio.sleep(0.1)
            yield world
            nursery.cancel_scope.cancel()
    database.close()


async def test_a_lower_one_is_answered_once_and_both_have_the_session(autojump_clock: MockClock) -> None:
    offer = Offer.of_seed(seeded(50)(SEED))
    async with side() as world:
        await world.comes(hello(LOW), hello(LOW))
        await world.comes(hello(LOW))
        (answer,), (session,) = world.answers, world.begun
        agreed = agreed_untrusted(SECRET, Hello.of(SECRET, LOW, offer.public), offer, answer)
        assert (agreed.instance, agreed.period) == (MIDDLE, world.context.view.period)
        theirs = Session.started(agreed.root, introduced=True, period=agreed.period, wall=0)
        assert theirs.session_id == session.session_id
        assert theirs.chains.spend.key == session.chains.accept.key
        assert not session.marks.confirmed
        assert (world.finding.others, world.drops) == (1, {})
        # Another run knows whom it answered.
        again = world.made()
        await again.load()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(again.run)
            await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
        assert len(world.begun) == len(world.answers) == 1
        rows = await world.store.began(world.context.clock.best() + REMEMBERED_SECONDS - 2)
        assert [instance for instance, _ in rows.values()] == [LOW]
        # An answer that nobody took is said again, and one that was taken is not.
        await trio.sleep(HELLO_SECONDS)
        await world.comes(hello(LOW))
        assert len(world.begun) == len(world.answers) == 2
        world.begun[1].marks.confirmed = True
        await trio.sleep(HELLO_SECONDS)
        await world.comes(hello(LOW))
        assert len(world.begun) == 2


async def test_a_higher_one_is_left_to_answer_and_its_answer_begins_a_session(
    autojump_clock: MockClock,
) -> None:
    async with side() as world:
        period = world.context.view.period

        def answer(instance: bytes, number: int) -> tuple[bytes, Agreed]:
            return answer_untrusted(SECRET, OURS, instance, period, seeded(number))

        await world.comes(hello(HIGH))
        assert (world.answers, world.begun, world.finding.others) == ([], [], 1)
        (body, agreed), (other_body, _) = answer(HIGH, 2), answer(b"\xff" * 16, 3)
        await world.comes(body)
        (session,) = world.begun
        theirs = Session.started(agreed.root, introduced=False, period=period, wall=0)
        assert theirs.session_id == session.session_id
        assert session.chains.spend.key == theirs.chains.accept.key
        # The same answer again is the same session, and that of another one is another.
        await world.comes(body, other_body)
        assert len({one.session_id for one in world.begun}) == 2
        assert world.finding.others == 2
        assert world.answers == []


async def test_an_answer_of_another_time_holds_up_nothing(autojump_clock: MockClock) -> None:
    """A third who knows the secret may write any period. Nobody reads the mailbox of such a session."""
    async with side() as world:
        now = world.context.view.period
        for period in (0, now - 2, now + 2, 2**63 - 1, 2**64 - 1):
            await world.comes(answer_untrusted(SECRET, OURS, HIGH, period, seeded(2))[0])
        assert world.begun == []
        assert world.drops == {Reason.MEETING_SHAPE: 5}
        for number, period in enumerate((now - 1, now, now + 1)):
            await world.comes(answer_untrusted(SECRET, OURS, HIGH, period, seeded(10 + number))[0])
        assert len(world.begun) == 3


async def test_answers_have_a_rate_as_hellos_have(autojump_clock: MockClock) -> None:
    async with side() as world:
        period = world.context.view.period
        for number in range(OTHERS_AN_HOUR + 4):
            instance = b"\xff" * 15 + bytes((number,))
            await world.comes(answer_untrusted(SECRET, OURS, instance, period, seeded(100 + number))[0])
        assert len(world.begun) == OTHERS_AN_HOUR
        assert world.drops == {Reason.MEETING_MANY: 4}
        await trio.sleep(3600)
        assert len(world.begun) == OTHERS_AN_HOUR + 4, "the others are dealt with later"


async def test_a_post_that_cannot_be_dealt_with_is_put_off_for_those_behind_it(
    autojump_clock: MockClock,
) -> None:
    async with side() as world:
        period = world.context.view.period
        world.fails = TRIES_MOST
        first = answer_untrusted(SECRET, OURS, HIGH, period, seeded(2))[0]
        second = answer_untrusted(SECRET, OURS, b"\xff" * 16, period, seeded(3))[0]
        await world.comes(first, second)
        await trio.sleep(TRIES_MOST * AGAIN_SECONDS + 1)
        assert len(world.begun) == 1
        await trio.sleep(2 * AGAIN_SECONDS)
        assert len(world.begun) == 2


async def test_what_is_no_hello_and_no_answer_to_us_is_passed_over(autojump_clock: MockClock) -> None:
    good, _ = answer_untrusted(SECRET, OURS, HIGH, 20_000, seeded(2))
    to_another, _ = answer_untrusted(
        SECRET, Hello.decode_untrusted(SECRET, hello(LOW)), HIGH, 20_000, seeded(3)
    )
    forged = (
        hello(LOW)[:-1] + b"\0",
        hello(LOW, secret=bytes(32)),
        good[:-1] + bytes((good[-1] ^ 1,)),
        answer_untrusted(SECRET, OURS, LOW, 20_000, seeded(4))[0],
    )
    async with side() as world:
        await world.comes(*forged)
        assert world.drops == {Reason.MEETING_SHAPE: len(forged)}
        await world.comes(b"", b"junk", to_another, OURS.encoded, bytes(5000))
        no_key = Hello.of(SECRET, LOW, bytes(32) + OURS.offer[32:]).encoded
        await world.comes(no_key)
        assert (world.begun, world.answers) == ([], [])
        assert world.drops[Reason.MEETING_SHAPE] == len(forged)
        assert world.drops[Reason.KEY_SMALL_ORDER] == 1
        await world.comes(hello(b"\x02" * 16))
        assert len(world.begun) == len(world.answers) == 1, "it goes on"


async def test_our_own_hello_is_no_other(autojump_clock: MockClock) -> None:
    async with side() as world:
        await world.comes(OURS.encoded, OURS.encoded)
        assert (world.finding.others, world.begun, world.answers) == (0, [], [])


async def test_so_many_are_answered_in_an_hour_and_no_more(autojump_clock: MockClock) -> None:
    async with side() as world:
        for number in range(40):
            await world.comes(hello(number.to_bytes(16, "big"), seed=100 + number))
        assert len(world.begun) == len(world.answers) == OTHERS_AN_HOUR
        assert world.drops == {Reason.MEETING_MANY: 40 - OTHERS_AN_HOUR}
        assert world.finding.others == OTHERS_AN_HOUR == 16
        # The others wait for their turn, and the one that came last is the first.
        await trio.sleep(HELLO_SECONDS / OTHERS_AN_HOUR + AGAIN_SECONDS)
        assert len(world.begun) == OTHERS_AN_HOUR + 1
        await world.comes(hello(LOW))
        await trio.sleep(2 * HELLO_SECONDS / OTHERS_AN_HOUR + AGAIN_SECONDS)
        assert any(answer[16:32] == LOW for answer in world.answers)


async def test_who_was_seen_an_hour_ago_is_not_here(autojump_clock: MockClock) -> None:
    async with side() as world:
        await world.comes(hello(HIGH))
        await trio.sleep(HELLO_SECONDS / 2)
        await world.comes(hello(b"\xf1" * 16))
        assert world.finding.others == 2
        await trio.sleep(HELLO_SECONDS / 2 + 1)
        assert world.finding.others == 1


async def test_what_the_disk_does_not_take_is_done_later(autojump_clock: MockClock) -> None:
    async with side() as world:
        world.fails, world.board.fails = 2, 1
        await world.comes(hello(LOW))
        assert (world.begun, world.answers) == ([], [])
        await trio.sleep(2 * AGAIN_SECONDS)
        assert (len(world.begun), world.answers) == (1, [])
        await trio.sleep(AGAIN_SECONDS)
        assert (len(world.begun), len(world.answers)) == (2, 1), "with other keys, and one of them is said"
        await world.comes(hello(LOW))
        assert len(world.answers) == 1


async def test_our_hello_is_posted_extended_and_posted_anew_when_it_is_gone(
    autojump_clock: MockClock,
) -> None:
    async with side() as world:
        (posting,) = world.board.ours
        assert posting.body == OURS.encoded
        await trio.sleep(2 * EXTEND_SECONDS + 1)
        assert posting.extended == [HELLO_SECONDS] * 2
        posting.is_final = True
        await trio.sleep(EXTEND_SECONDS)
        assert len(world.board.ours) == 2
        assert EXTEND_SECONDS < HELLO_SECONDS
        world.board.ours[1].too_often = True
        await trio.sleep(EXTEND_SECONDS + 1)
        assert [one.recalled for one in world.board.ours] == [False, True, False]
        await world.finding.withdraw()
        assert [one.recalled for one in world.board.ours] == [False, True, True]


async def test_a_hello_that_cannot_be_posted_is_posted_later_and_withdrawing_does_what_it_can(
    autojump_clock: MockClock,
) -> None:
    async with side() as world:
        world.board.ours.clear()
        world.board.fails = 2
        await trio.sleep(EXTEND_SECONDS)
        assert world.board.ours == []
        await trio.sleep(2 * AGAIN_SECONDS)
        (posting,) = world.board.ours

        async def unreachable() -> bool:
            await trio.lowlevel.checkpoint()
            raise NetworkUnreachable("no guard answers")

        posting.recall = unreachable  # type: ignore[method-assign]
        await world.finding.withdraw()


async def test_someone_new_is_the_same_in_the_next_run(autojump_clock: MockClock) -> None:
    async with side(None) as world:
        oneself = await world.store.load()
        assert oneself is not None
        assert (len(oneself.instance), len(oneself.seed)) == (16, SEED)
        (posting,) = world.board.ours
        said = Hello.decode_untrusted(SECRET, posting.body)
        assert said.instance == oneself.instance
        again = world.made()
        await again.load()
        assert await world.store.load() == oneself


async def test_before_it_is_loaded_nothing_is_withdrawn(autojump_clock: MockClock) -> None:
    async with side() as world:
        with pytest.raises(Closed, match="This meeting is not open"):
            await world.made().withdraw()
