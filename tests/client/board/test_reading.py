"""A whole board is read: all its periods, all its relays, whatever single ones of them do. Whole networks in
virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.board.arriving import Arriving
from onionshh.client.board.folder import board_folder
from onionshh.client.board.reading import OLDER_MOST, PAGES_MOST, BoardReading, rows_of
from onionshh.client.board.store import KeptPost
from onionshh.client.context import Context
from onionshh.client.mail.deposits import SealedItem
from onionshh.core.base.patience import LIST_ANSWER_SECONDS
from onionshh.core.mailbox.dates import last_expiry
from onionshh.core.mailbox.item import GRACE_SECONDS
from onionshh.crypto.ed25519 import SigningKey
from onionshh.errors import BadData
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.wire import mailbox as w
from tests.client.board.boards import ALICE, BOB, DAY, HOUR, TOPIC, at_six, network, written
from tests.client.letterworld import slowly
from tests.client.mail.postal import Bent, bend, place, places_of
from tests.client.world import WALL, small
from tests.inside import inside

Kept = Callable[[], Awaitable[list[KeptPost]]]


class Reader:
    """Reads a board, and shows what was kept."""

    def __init__(self, context: Context, relays: dict[RelayId, Bent], arriving: Arriving, kept: Kept) -> None:
        self.context = context
        self.relays = relays
        self.arriving = arriving
        self.reading = BoardReading(context, TOPIC, arriving)
        self._kept = kept

    @property
    def period(self) -> int:
        return self.context.view.period

    @property
    def six(self) -> list[Bent]:
        return at_six(self.context, self.relays)

    async def leave(
        self,
        number: int,
        body: bytes,
        *at: int,
        author: SigningKey | None = ALICE,
        before: int = 0,
        posted: int = WALL,
        expires: int | None = None,
    ) -> list[SealedItem]:
        """A post lies at these of the six relays, or at the four where it belongs."""
        box = TOPIC.mailbox(self.period - before)
        expires = self.context.clock.wall() + HOUR if expires is None else expires
        items = written(author, number, body, expires=expires, mailbox=box, posted=posted)
        six = [relay for side in places_of(self.context, box) for relay in side]
        await place(self.context, items, *(six[number] for number in at or (0, 1, 3, 4)))
        return items

    def lies(self, number: int, answer: Callable[[w.List], w.Items | None]) -> None:
        """This one of the six lies about the present mailbox."""
        box = TOPIC.mailbox(self.period)
        self.six[number].on_list = lambda wanted: answer(wanted) if wanted.mailbox == box else None

    async def shown(self) -> list[tuple[bytes, int, int]]:
        return [(one.post.body, one.post.number, one.post.missing) for one in await self._kept()]


@asynccontextmanager
async def reader(**params: int) -> AsyncIterator[Reader]:
    async with network(**params) as net, net.join() as node:
        context, relays = inside(node), bend(net)
        async with board_folder(context, TOPIC, None) as folder:
            arriving = Arriving(context, TOPIC, folder.posts)
            await arriving.load()

            async def kept() -> list[KeptPost]:
                return await folder.posts.after(0, 1000, 0)

            yield Reader(context, relays, arriving, kept)


async def test_a_board_is_read_from_all_its_relays(autojump_clock: MockClock) -> None:
    async with reader() as board:
        found = await board.reading.read()
        assert (found.answered, found.asked, found.whole, found.unsure) == (
            found.asked,
            found.asked,
            True,
            False,
        )
        assert found.present == set()
        first = await board.leave(1, b"one", 0)
        second = await board.leave(2, bytes(60_000), 4)
        third = await board.leave(0, b"anonymous", author=None)
        found = await board.reading.read()
        assert found.whole
        assert found.present == {item.item_id for item in first + second + third}
        shown = await board.shown()
        assert sorted(shown) == sorted([(b"one", 1, 0), (bytes(60_000), 2, 0), (b"anonymous", 0, 0)])
        before = sum(len(bent.lists) for bent in board.six)
        assert (await board.reading.read()).present == found.present
        assert await board.shown() == shown
        asked = [wanted for bent in board.six for _, wanted, _ in bent.lists]
        assert len(asked) > before
        assert not any(circuit.purpose == "mailbox" for circuit in board.context.circuits.circuits)
        assert {wanted.wait for wanted in asked} == {0}


async def test_a_relay_that_hides_every_third_item_hides_it_in_vain(autojump_clock: MockClock) -> None:
    async with reader() as board:
        items = [(await board.leave(n, b"%d" % n, author=one))[0] for n in (1, 2, 3) for one in (ALICE, BOB)]
        hidden = {item.item_id for item in items[::3]}

        def hide(wanted: w.List) -> w.Items | None:
            """It gives what it has, but for those."""
            if wanted.mode == w.VALUES:
                return None
            rest = [(n, item) for n, item in enumerate(items, 1) if item.item_id not in hidden]
            heads = tuple(w.Head(item.item_id, n, item.expires) for n, item in rest if n > wanted.after)
            return w.Items(w.STORED, max(6, wanted.after), heads=heads)

        for number in (0, 3, 4):
            board.lies(number, hide)
        found = await board.reading.read()
        assert found.whole
        assert hidden <= found.present
        shown = await board.shown()
        assert sorted(body for body, _, _ in shown) == [b"1", b"1", b"2", b"2", b"3", b"3"]
        assert [(number, missing) for _, number, missing in shown if missing] == []


async def test_what_all_relays_hide_is_missing(autojump_clock: MockClock) -> None:
    async with reader() as board:
        for number in (1, 2, 5):
            await board.leave(number, b"%d" % number)
        await board.leave(9, b"9", author=BOB)
        await board.reading.read()
        shown = await board.shown()
        assert [row for row in shown if row[0] != b"9"] == [(b"1", 1, 0), (b"2", 2, 0), (b"5", 5, 2)]
        assert (b"9", 9, 0) in shown  # nobody knows of those before it
        assert board.arriving.next_deadline is None


async def test_relays_that_lie_are_not_believed(autojump_clock: MockClock) -> None:
    """One gives wrong values, one the value of another id, one numbers that fall, one heads without end."""
    async with reader() as board:
        one, other = [(await board.leave(n, b"%d" % n, 2, 5))[0] for n in (1, 2)]

        def wrong(forged: w.Item) -> Callable[[w.List], w.Items]:
            def answer(wanted: w.List) -> w.Items:
                if wanted.mode == w.VALUES:
                    return w.Items(w.STORED, 1, items=(forged,))
                return w.Items(w.STORED, 1, heads=(w.Head(one.item_id, 1, one.expires),))

            return answer

        junk = w.Item(one.item_id, one.expires, 0, bytes(64), bytes(len(one.value)))
        board.lies(0, wrong(junk))
        board.lies(1, wrong(replace(junk, value=other.value)))
        falling = tuple(w.Head(bytes(32), number, 0) for number in (5, 4))
        board.lies(3, lambda wanted: w.Items(w.STORED, 9, heads=falling))
        board.lies(4, endless)
        board.six[2].silent = board.six[5].silent = True
        await board.reading.read()  # the liars alone
        assert await board.shown() == []
        drops = board.context.drops.by_name()
        assert (drops[Reason.MAILBOX_PAGES], drops[Reason.MAILBOX_SHAPE]) == (1, 1)
        assert drops[Reason.SIGNATURE] >= 1
        board.six[2].silent = board.six[5].silent = False
        found = await board.reading.read()
        assert found.asked - found.answered == 4
        assert found.unsure  # of each place, only one answered as it should
        assert await board.shown() == [(b"1", 1, 0), (b"2", 2, 0)]
        assert len(board.six[4].lists) <= 2 * (2 * PAGES_MOST + 2)


def endless(wanted: w.List) -> w.Items:
    """Heads of what is not there."""
    if wanted.mode == w.VALUES:
        return w.Items(w.STORED, wanted.after)
    first = wanted.after + 1
    return w.Items(w.STORED, first, heads=(w.Head(first.to_bytes(32), first, 2**31),))


async def test_relays_that_are_silent_are_not_waited_for_long(autojump_clock: MockClock) -> None:
    async with reader() as board:
        await board.leave(1, b"1", 0, 3)
        board.six[1].silent = board.six[4].silent = True
        began = trio.current_time()
        found = await board.reading.read()
        assert trio.current_time() - began < LIST_ANSWER_SECONDS + 10
        assert 2 <= found.asked - found.answered <= 4  # of two periods
        assert (found.whole, found.unsure) == (False, False)
        assert await board.shown() == [(b"1", 1, 0)]
        for place_number in range(3):
            board.six[place_number].silent = True
        found = await board.reading.read()
        assert found.unsure  # nobody of one place says anything
        for bent in board.relays.values():
            bent.silent = True
        found = await board.reading.read()
        assert (found.answered, found.unsure) == (0, True)


async def test_older_periods_are_read_too_and_given_first(autojump_clock: MockClock) -> None:
    async with reader() as board:
        await board.leave(2, b"today")
        await board.leave(1, b"yesterday", before=1)
        found = await board.reading.read()
        assert found.asked > 6
        assert await board.shown() == [(b"yesterday", 1, 0), (b"today", 2, 0)]
        periods = {wanted.mailbox.period for bent in board.relays.values() for _, wanted, _ in bent.lists}
        assert {board.period, board.period - 1} <= periods
        assert min(periods) >= board.period - OLDER_MOST
        assert board.reading.period(board.period) is board.reading.period(board.period)


async def test_a_reading_that_is_cancelled_leaves_nothing_stuck(autojump_clock: MockClock) -> None:
    async with reader() as board:
        await board.leave(1, b"1", 0)
        await board.leave(2, b"2", 0)
        for bent in board.six[1:]:
            bent.silent = True  # so the reading takes its time
        async with trio.open_nursery() as nursery:
            nursery.start_soon(board.reading.read)
            with trio.fail_after(120):  # its turn comes when chance will have it
                await trio.sleep(1)
                while not board.six[0].lists:
                    await trio.sleep(1)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        with trio.fail_after(1):
            await board.arriving.held.wait()
        await board.arriving.release()
        assert await board.shown() == [(b"1", 1, 0), (b"2", 2, 0)]
        for bent in board.six:
            bent.silent = False
        await board.leave(3, b"3")
        with trio.fail_after(60):
            assert (await board.reading.read()).whole
        assert [body for body, _, _ in await board.shown()] == [b"1", b"2", b"3"]


async def test_a_watcher_may_hold_what_was_just_posted_behind_a_gap(autojump_clock: MockClock) -> None:
    async with reader() as board:
        for number, body in ((1, b"1"), (3, b"3")):
            await board.leave(number, body, posted=board.context.clock.wall())
        assert (await board.reading.read(hold=True)).whole
        assert await board.shown() == [(b"1", 1, 0)]
        assert (await board.reading.read()).whole
        assert await board.shown() == [(b"1", 1, 0), (b"3", 3, 1)]


async def test_two_readings_follow_each_other(autojump_clock: MockClock) -> None:
    async with reader() as board:
        await board.leave(1, b"1")
        answers = []

        async def read() -> None:
            answers.append((await board.reading.read()).whole)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(read)
        assert answers == [True, True]
        assert await board.shown() == [(b"1", 1, 0)]


async def test_what_cannot_be_kept_ends_the_reading(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with reader() as board:
        await board.leave(1, b"1")
        settle = board.arriving.settle

        async def full(period: int, *, all_of_it: bool) -> None:
            raise BadData("the disk is full")

        monkeypatch.setattr(board.arriving, "settle", full)
        with pytest.raises(BadData, match="full"):
            await board.reading.read()
        monkeypatch.setattr(board.arriving, "settle", settle)
        assert (await board.reading.read()).whole
        assert await board.shown() == [(b"1", 1, 0)]


@pytest.mark.parametrize(("hour", "live"), [(10, (0,)), (0, (-1, 0))])
async def test_near_a_change_two_periods_are_live(
    autojump_clock: MockClock, hour: int, live: tuple[int, ...]
) -> None:
    wall = WALL // 86_400 * 86_400 + hour * HOUR + 60
    async with small(3, wall=wall) as net, net.join() as node:
        context = inside(node)
        async with board_folder(context, TOPIC, None) as folder:
            reading = BoardReading(context, TOPIC, Arriving(context, TOPIC, folder.posts))
            assert reading.live_periods() == tuple(context.view.period + n for n in live)


async def test_the_next_period_is_live_once_it_has_begun_though_no_consensus_says_so_yet(
    autojump_clock: MockClock,
) -> None:
    """Others may have a newer consensus, and post there already."""
    midnight = WALL // 86_400 * 86_400 + 86_400
    async with small(3, wall=midnight - 900, interval_seconds=600) as net, net.join() as node:
        context = inside(node)
        async with board_folder(context, TOPIC, None) as folder:
            reading = BoardReading(context, TOPIC, Arriving(context, TOPIC, folder.posts))
            period = context.view.period
            assert reading.live_periods() == (period,)
            await trio.sleep(midnight + 1 - context.clock.best())
            assert context.view.period == period
            assert reading.live_periods() == (period, period + 1)


async def test_the_oldest_of_nine_periods_is_read(autojump_clock: MockClock) -> None:
    with slowly(300.0):
        async with reader(period_seconds=HOUR, interval_seconds=1800, valid_seconds=5400) as board:
            begun = board.period
            await board.leave(1, b"long ago", expires=last_expiry(begun, HOUR))
            with trio.fail_after(9 * HOUR):
                while board.reading.live_periods()[-1] < begun + 8:
                    await trio.sleep(60)
            await board.reading.read()
            assert await board.shown() == [(b"long ago", 1, 0)]


def test_a_period_is_read_as_long_as_a_relay_whose_clock_is_late_may_have_something_of_it() -> None:
    newest = (last_expiry(0, DAY) + GRACE_SECONDS) // DAY
    assert newest == OLDER_MOST  # it has begun, and may be live by then


def test_the_rows_of_both_places() -> None:
    assert rows_of(None) == []
    assert rows_of(((), ())) == []
