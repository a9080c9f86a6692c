"""From items to posts: parts come together, authors' posts get their order, and each is kept once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.board import arriving as module
from onionshh.client.board import known, store
from onionshh.client.board.arriving import Arriving
from onionshh.client.board.store import BoardStore
from onionshh.client.context import Context
from onionshh.client.mail.deposits import SealedItem
from onionshh.core.board import lines
from onionshh.core.board.entry import Entry, open_entry_untrusted, seal_entry
from onionshh.core.board.lines import BEGIN_SECONDS, GAP_SECONDS
from onionshh.core.mailbox import gather
from onionshh.crypto.ed25519 import SigningKey
from onionshh.errors import BadData
from onionshh.geometry import BOARD_CHUNK
from onionshh.net.clocks import Clock
from onionshh.reasons import Reason
from onionshh.wire import mailbox as w
from tests.client.board.boards import (
    ALICE,
    BOB,
    BOX,
    DAY,
    HOUR,
    PERIOD,
    TOPIC,
    context_without_network,
    item_of,
    tables_in,
    written,
)
from tests.client.dying import DyingDisk
from tests.client.world import WALL, bytes_on_disk
from tests.seeded import seeded

EXPIRES = WALL + HOUR
BEFORE = TOPIC.mailbox(PERIOD - 1)


class Board:
    """The posts of one board, and what a test says to them."""

    def __init__(self, context: Context, store: BoardStore) -> None:
        self.context = context
        self.store = store
        self.arriving = Arriving(context, TOPIC, store)

    def take(self, items: list[SealedItem], **changes: int) -> None:
        """They were read from a relay."""
        for item in items:
            self.arriving.take(item.mailbox, item_of(item, **changes))

    def wants(self, items: list[SealedItem], expires: int = EXPIRES) -> list[bool]:
        return [self.arriving.wants(item.item_id, expires) for item in items]

    def is_stuck(self) -> bool:
        return self.arriving.is_stuck

    async def shown(self) -> list[tuple[bytes, int, bool]]:
        """What is kept, in its order: the body, how many are missing, and whether it is late."""
        kept = await self.store.after(0, 100, 0)
        return [(one.post.body, one.post.missing, one.post.late) for one in kept]

    async def bodies(self) -> list[bytes]:
        return [body for body, _, _ in await self.shown()]

    @property
    def drops(self) -> dict[str, int]:
        return {name: count for name, count in self.context.drops.by_name().items() if count}


@asynccontextmanager
async def board_in(folder: Path, context: Context | None = None) -> AsyncIterator[Board]:
    async with tables_in(folder) as tables:
        board = Board(context or context_without_network(), tables.store)
        await board.arriving.load()
        yield board


def post(
    number: int, body: bytes, author: SigningKey | None = ALICE, *, expires: int = EXPIRES
) -> list[SealedItem]:
    return written(author, number, body, expires=expires)


async def test_a_post_is_kept_once_and_its_items_are_known(tmp_path: Path) -> None:
    async with board_in(tmp_path) as board:
        items = post(1, b"hello")
        assert board.wants(items) == [True]
        ticket = board.arriving.changed.ticket()
        board.take(items)
        assert board.wants(items) == [False]
        assert board.wants(items, EXPIRES + 1) == [True]  # it may have been extended
        assert not ticket.is_set()
        await board.arriving.release()
        assert ticket.is_set()
        board.take(items)
        await board.arriving.release()
        (kept,) = await board.store.after(0, 9, 0)
        assert (kept.post.body, kept.post.number, kept.expires) == (b"hello", 1, EXPIRES)
        assert (kept.post.author, kept.post.posted) == (ALICE.public, WALL // 60 * 60)
        assert await board.store.items_of([1]) == {1: [items[0].item_id]}
        assert (board.arriving.last_number(ALICE.public), board.drops) == (1, {})
        assert board.arriving.last_number(BOB.public) == 0


async def test_a_post_that_comes_back_after_its_end_goes_to_its_old_place(tmp_path: Path) -> None:
    """Its author gave it a later end, and we heard of that too late: it is not shown a second time."""
    context = context_without_network()
    async with board_in(tmp_path, context) as board:
        for author, number in ((None, 0), (ALICE, 1), (ALICE, 2)):
            board.take(written(author, number, b"%d" % number, expires=WALL + 600))
        board.take(written(BOB, 1, b"stays", expires=WALL + 9000))
        await board.arriving.release()
        before = await board.store.after(0, 9, WALL)
        context.clock.confirm(WALL + 660)
        await board.arriving.tidy()
        assert [kept.post.body for kept in await board.store.after(0, 9, WALL)] == [b"stays"]
        for author, number in ((None, 0), (ALICE, 1)):
            items = written(author, number, b"%d" % number, expires=WALL + 600)
            assert board.wants(items, WALL + 4200) == [True]
            board.take(items, expires=WALL + 4200, revision=1)
        await board.arriving.settle(0, all_of_it=True)
        again = {kept.seq: kept for kept in await board.store.after(0, 9, WALL)}
        assert len(again) == 3
        for kept in before:
            if kept.seq in again:
                assert again[kept.seq].post == kept.post
        assert await board.store.after(len(before), 9, WALL) == []


async def test_what_a_wrong_clock_rules_out_is_looked_at_again(tmp_path: Path) -> None:
    context = context_without_network()
    async with board_in(tmp_path, context) as board:
        items = post(1, b"hello", expires=WALL + 9 * DAY)
        board.take(items)
        assert board.wants(items, WALL + 9 * DAY) == [False]
        assert board.drops == {Reason.MAILBOX_DATE: 1}
        right = Clock(WALL + 2 * DAY)
        right.confirm(WALL + 2 * DAY)
        vars(context)["clock"] = right
        board.arriving.begin(0)
        assert board.wants(items, WALL + 9 * DAY) == [True]
        board.take(items)
        await board.arriving.settle(0, all_of_it=True)
        assert [kept.post.body for kept in await board.store.after(0, 9, WALL)] == [b"hello"]


async def test_parts_that_give_another_number_or_time_make_no_post(tmp_path: Path) -> None:
    body = seeded(1)(6000)
    async with board_in(tmp_path) as board:
        one = written(ALICE, 1, body, expires=EXPIRES)
        for other in (
            written(ALICE, 2, body, expires=EXPIRES, again="number"),
            written(ALICE, 1, body, expires=EXPIRES, posted=WALL - 600, again="time"),
        ):
            board.take(one[:1])
            board.take(other[1:])
        await board.arriving.settle(0, all_of_it=True)
        assert await board.store.after(0, 9, 0) == []


async def test_parts_come_in_any_order_and_nothing_is_shown_before_the_last(tmp_path: Path) -> None:
    body = seeded(1)(60_000)
    async with board_in(tmp_path) as board:
        items = post(1, body)
        assert len(items) == 12
        for item in reversed(items[1:]):
            board.take([item])
        await board.arriving.release()
        assert await board.shown() == []
        board.take(items[:1])
        await board.arriving.release()
        assert await board.bodies() == [body]
        assert len((await board.store.items_of([1]))[1]) == 12


async def test_what_is_no_part_of_a_post_is_counted_once_and_not_asked_for_again(tmp_path: Path) -> None:
    async with board_in(tmp_path) as board:
        (good,) = post(1, b"hello")
        (other_period,) = written(ALICE, 2, b"x", expires=EXPIRES, mailbox=BEFORE)
        junk = [
            replace(good, seed=b"1" * 32),  # sealed for another id
            replace(good, seed=b"2" * 32, value=bytes(len(good.value))),
            replace(other_period, mailbox=BOX),
        ]
        board.take(junk)
        forged = SealedItem(BOX, b"3" * 32, EXPIRES, b"")
        entry = Entry(ALICE.public, 3, WALL // 60, b"p" * 16, 0, 1, b"not hers")
        value = seal_entry(TOPIC, BOX, forged.item_id, BOB, entry, seeded(2))
        junk.append(replace(forged, value=value))
        board.take(junk[3:])
        assert board.wants(junk) == [False] * 4
        await board.arriving.release()
        assert await board.shown() == []
        assert sum(board.drops.values()) == 4
        assert board.drops[Reason.SIGNATURE] == 1
        board.take([good])
        await board.arriving.release()
        assert await board.bodies() == [b"hello"]


async def test_a_part_that_contradicts_another_is_refused_and_the_others_stay(tmp_path: Path) -> None:
    body = seeded(3)(12_000)
    async with board_in(tmp_path) as board:
        items, key = post(1, body), ALICE
        board.take(items[:2])
        seed = b"9" * 32
        entry = Entry(key.public, 1, WALL // 60, post_id_of(items), 0, 2, b"c" * BOARD_CHUNK)
        value = seal_entry(TOPIC, BOX, SigningKey(seed).public, key, entry, seeded(4))
        board.take([SealedItem(BOX, seed, EXPIRES, value)])
        assert board.drops == {Reason.LETTER_PARTS: 1}
        board.take(items[2:])
        await board.arriving.release()
        assert await board.bodies() == [body]


def post_id_of(items: list[SealedItem]) -> bytes:
    return open_entry_untrusted(TOPIC, items[0].mailbox, items[0].item_id, items[0].value).post_id


@pytest.mark.parametrize("away", [0, -1, 7 * DAY + 1201])
async def test_what_is_past_its_time_or_too_far_ahead_is_no_post(
    autojump_clock: MockClock, tmp_path: Path, away: int
) -> None:
    async with board_in(tmp_path) as board:
        items = post(1, b"hello", expires=WALL + away)
        board.take(items)
        await board.arriving.release()
        assert await board.shown() == []
        assert board.drops == {Reason.MAILBOX_DATE: 1}
        assert board.wants(items, WALL + away) == [False]
        far = post(1, b"far", expires=WALL + 7 * DAY + 1200)
        board.take(far)
        await board.arriving.release()
        assert await board.bodies() == [b"far"]


async def test_posts_of_a_reading_wait_for_its_end_and_are_put_in_order(tmp_path: Path) -> None:
    async with board_in(tmp_path) as board:
        arriving = board.arriving
        arriving.begin(PERIOD - 1)
        arriving.begin(PERIOD)
        for number in (5, 3):
            board.take(written(ALICE, number, b"new %d" % number, expires=EXPIRES, posted=WALL + 60 * number))
        board.take(written(BOB, 2, b"b", expires=EXPIRES, posted=WALL + 240))
        for number in (2, 1):
            board.take(written(ALICE, number, b"old %d" % number, expires=EXPIRES, mailbox=BEFORE))
        await arriving.release()
        assert await board.shown() == []
        await arriving.settle(PERIOD - 1, all_of_it=True)
        assert await board.bodies() == [b"old 1", b"old 2"]
        await arriving.settle(PERIOD, all_of_it=True)
        assert await board.shown() == [
            (b"old 1", 0, False),
            (b"old 2", 0, False),
            (b"new 3", 0, False),
            (b"b", 0, False),
            (b"new 5", 1, False),
        ]
        assert arriving.next_deadline is None
        board.take(post(4, b"late"))
        await arriving.release()
        assert (await board.shown())[-1] == (b"late", 0, True)


async def test_what_was_just_posted_may_wait_for_what_is_on_its_way(tmp_path: Path) -> None:
    async with board_in(tmp_path) as board:
        arriving, best = board.arriving, board.context.clock.best()
        arriving.begin(PERIOD)
        for author, minutes in ((ALICE, 1), (BOB, 3)):
            body = b"%d minutes ago" % minutes
            board.take(written(author, 5, body, expires=EXPIRES, posted=best - 60 * minutes))
        await arriving.settle(PERIOD, all_of_it=False)
        assert await board.bodies() == [b"3 minutes ago"]
        assert arriving.next_deadline is not None
        board.take(post(1, b"on its way"))
        await arriving.release()
        assert await board.shown() == [(b"3 minutes ago", 0, False), (b"on its way", 0, False)]
        await arriving.settle(PERIOD, all_of_it=True)
        assert (await board.shown())[2:] == [(b"1 minutes ago", 3, False)]


async def test_a_reading_that_is_given_up_gives_what_it_found_in_time(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with board_in(tmp_path) as board:
        arriving, now = board.arriving, board.context.clock.monotonic()
        arriving.begin(PERIOD)
        board.take(post(1, b"first"))
        board.take(post(4, b"fourth"))
        board.take(post(9, b"b", BOB))
        arriving.end()
        with trio.fail_after(1):
            await arriving.held.wait()
        await arriving.release()
        assert await board.bodies() == [b"first"]
        assert arriving.next_deadline == now + BEGIN_SECONDS
        await trio.sleep(BEGIN_SECONDS)
        await arriving.release()
        assert await board.bodies() == [b"first", b"b"]
        assert arriving.next_deadline == now + GAP_SECONDS
        await trio.sleep(GAP_SECONDS - BEGIN_SECONDS)
        await arriving.release()
        assert await board.shown() == [(b"first", 0, False), (b"b", 0, False), (b"fourth", 2, False)]


async def test_a_reading_of_very_much_is_kept_before_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRESH_BYTES_MOST", 10_000)
    async with board_in(tmp_path) as board:
        board.arriving.begin(PERIOD)
        board.take(post(2, b"b" * 4000))
        await board.arriving.relieve()
        assert await board.shown() == []
        board.take(post(1, b"a" * 4000))
        board.take(post(4, b"d" * 4000))
        await board.arriving.relieve()
        assert [(body[:1], missing) for body, missing, _ in await board.shown()] == [
            (b"a", 0),
            (b"b", 0),
            (b"d", 1),
        ]
        board.take(post(5, b"e"))
        await board.arriving.relieve()
        assert len(await board.shown()) == 3  # what comes now waits again
        await board.arriving.settle(PERIOD, all_of_it=True)
        assert len(await board.shown()) == 4


async def test_a_later_revision_is_known_by_its_end(tmp_path: Path) -> None:
    async with board_in(tmp_path) as board:
        items = post(1, b"hello")
        board.take(items)
        await board.arriving.release()

        async def ends() -> int:
            await board.arriving.release()
            (kept,) = await board.store.after(0, 9, 0)
            return kept.expires

        board.take(items, expires=EXPIRES + HOUR, revision=1)
        assert await ends() == EXPIRES + HOUR
        board.take(items, expires=EXPIRES - 60, revision=3)
        assert await ends() == EXPIRES - 60
        board.take(items, expires=EXPIRES + 9, revision=2)  # from a relay that missed the last one
        assert await ends() == EXPIRES - 60
        for known in (EXPIRES, EXPIRES + HOUR, EXPIRES - 60, EXPIRES + 9):
            assert board.wants(items, known) == [False]
        assert board.drops == {}


async def test_what_was_posted_again_in_another_period_is_one_post(tmp_path: Path) -> None:
    """Too few relays took the first items, so the author sealed it again: with other ids, and one part of
    each is read twice."""
    body = seeded(5)(12_000)
    first = written(ALICE, 1, body, expires=EXPIRES, mailbox=BEFORE)
    again = written(ALICE, 1, body, expires=EXPIRES)
    async with board_in(tmp_path) as board:
        board.take(first[:2])
        board.take(again[1:])
        await board.arriving.release()
        assert await board.bodies() == [body]
        board.take(first[2:])
        board.take(again[:1])
        await board.arriving.release()
        assert await board.bodies() == [body]
        assert board.wants(first + again) == [False] * 6
        assert board.drops == {}
    async with board_in(tmp_path) as board:
        board.take([one for one in first + again if board.wants([one]) == [True]])
        await board.arriving.release()
        assert await board.bodies() == [body]


async def test_after_a_restart_all_is_known_and_the_lines_go_on(tmp_path: Path) -> None:
    async with board_in(tmp_path) as board:
        for number in (1, 2):
            board.take(post(number, b"post %d" % number))
        board.take(post(6, b"held"))
        await board.arriving.release()
        assert len(await board.shown()) == 2
        assert board.arriving.next_deadline is not None
    async with board_in(tmp_path) as board:
        assert board.wants([*post(1, b"post 1"), *post(2, b"post 2")]) == [False] * 2
        assert board.wants(post(6, b"held")) == [True]  # it was not on disk, so it is read again
        assert board.arriving.last_number(ALICE.public) == 2
        board.take(post(6, b"held"))
        board.take(post(3, b"post 3"))
        board.arriving.begin(PERIOD)
        await board.arriving.settle(PERIOD, all_of_it=True)
        assert await board.shown() == [
            (b"post 1", 0, False),
            (b"post 2", 0, False),
            (b"post 3", 0, False),
            (b"held", 2, False),
        ]


async def test_after_a_restart_an_author_of_several_posts_is_not_forgotten_for_strangers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LINES_MOST", 3)
    monkeypatch.setattr(store, "LINES_MOST", 3)
    async with board_in(tmp_path) as board:
        for number in (1, 2):
            board.take(post(number, b"post %d" % number))
        await board.arriving.release()
    async with board_in(tmp_path) as board:
        for number in range(3):
            board.take(written(SigningKey(bytes([number]) * 32), 1, b"x", expires=WALL + HOUR))
            await board.arriving.release()
        board.take(post(6, b"post 6"))
        board.arriving.begin(PERIOD)
        await board.arriving.settle(PERIOD, all_of_it=True)
        assert (await board.shown())[-1] == (b"post 6", 3, False)


async def test_what_is_past_its_time_is_erased_and_forgotten(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with tables_in(tmp_path) as tables:
        board = Board(context_without_network(), tables.store)
        board.take(post(1, b"a short life", expires=WALL + 600))
        board.take(post(2, b"a long life"))
        part = post(3, bytes(12_000), expires=WALL + 600)
        board.take(part[:2])
        await board.arriving.release()
        await trio.sleep(599)
        await board.arriving.tidy()
        assert len(await board.shown()) == 2
        await trio.sleep(1)
        await board.arriving.tidy()
        assert await board.bodies() == [b"a long life"]
        await tables.database.empty_log()
        assert b"a short life" not in bytes_on_disk(tmp_path)
        assert board.drops == {Reason.LETTER_EXPIRED: 1}
        assert board.arriving.last_number(ALICE.public) == 2


async def test_a_post_whose_time_ends_while_it_is_held_is_not_kept(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with board_in(tmp_path) as board:
        board.take(post(9, b"held", expires=WALL + 5))
        await trio.sleep(6)
        await board.arriving.tidy()
        await trio.sleep(10)
        await board.arriving.release()
        assert await board.shown() == []
        board.take(post(10, b"next"))
        await board.arriving.release()
        assert await board.shown() == [(b"next", 0, False)]


async def test_parts_that_were_given_up_for_want_of_room_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "LETTERS_MOST", 2)
    async with board_in(tmp_path) as board:
        posts = [post(number, seeded(number)(6000)) for number in (1, 2, 3)]
        for items in posts:
            board.take(items[:1])
        board.take(posts[0][1:])  # its first part was given up just now
        await board.arriving.release()
        assert await board.shown() == []
        assert board.drops == {Reason.LETTER_DISPLACED: 1}
        assert board.wants(posts[0]) == [True, True]
        for items in posts[1:]:
            board.take(items[1:])
        board.take(posts[0])
        await board.arriving.release()
        assert await board.bodies() == [seeded(number)(6000) for number in (1, 2, 3)]


async def test_a_full_disk_loses_nothing_and_nothing_comes_twice(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNKEPT_MOST", 3)
    disk = DyingDisk(monkeypatch, "board.db")
    async with board_in(tmp_path) as board:
        arriving, items = board.arriving, post(1, b"1")
        board.take(items)
        await arriving.release()
        disk.dies_after(0, tmp_path)
        for number in (2, 3):
            board.take(post(number, b"%d" % number))
            with pytest.raises(BadData):
                await arriving.release()
        assert not board.is_stuck()
        assert arriving.last_number(ALICE.public) == 3
        arriving.begin(PERIOD)
        board.take(post(6, b"6"))
        board.take(items, expires=EXPIRES + HOUR, revision=1)
        with pytest.raises(BadData):
            await arriving.settle(PERIOD, all_of_it=True)
        assert board.is_stuck()
        assert await board.bodies() == [b"1"]
        disk.restore()
        ticket = arriving.changed.ticket()
        await arriving.release()
        assert ticket.is_set()
        assert not board.is_stuck()
        assert await board.shown() == [
            (b"1", 0, False),
            (b"2", 0, False),
            (b"3", 0, False),
            (b"6", 2, False),
        ]
        assert (await board.store.after(0, 1, 0))[0].expires == EXPIRES + HOUR


async def test_items_that_are_known_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Junk, which costs its maker work, does not fill the memory."""
    monkeypatch.setattr(known, "KNOWN_MOST", 4)
    async with board_in(tmp_path) as board:
        (good,) = first = post(1, b"hello")
        junk = [replace(good, seed=bytes((n,)) * 32) for n in range(1, 7)]
        board.take(first)
        await board.arriving.release()
        board.take(junk)
        assert board.wants(junk) == [True] * 3 + [False] * 3
        assert board.wants(first) == [False]  # junk goes first
        more = [post(number, b"more") for number in range(2, 7)]
        for one in more:
            board.take(one)
            await board.arriving.release()
        assert board.wants(first) == [True]
        board.take(first)  # it is known no more, and is there all the same
        await board.arriving.release()
        assert await board.bodies() == [b"hello", *[b"more"] * 5]


async def test_an_item_that_a_relay_gives_with_an_end_that_is_over_stays_what_it_is(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with board_in(tmp_path) as board:
        items = post(1, bytes(12_000), expires=WALL + 600)
        board.take(items[:1], expires=WALL + HOUR, revision=1)
        await board.arriving.release()
        await trio.sleep(700)
        assert board.wants(items[:1], WALL + 600) == [True]
        board.take(items[:1])
        assert board.wants(items[:1], WALL + 600) == [False]
        await trio.sleep(HOUR)
        await board.arriving.tidy()
        assert board.wants(items[:1], WALL + HOUR) == [True]


async def test_a_post_that_was_sealed_again_ends_with_the_later_of_both(tmp_path: Path) -> None:
    first = written(ALICE, 1, b"x", expires=EXPIRES, mailbox=BEFORE)
    again = written(ALICE, 1, b"x", expires=EXPIRES)
    async with board_in(tmp_path) as board:
        for items in (first, again):
            board.take(items)
            await board.arriving.release()
        board.take(again, expires=EXPIRES + HOUR, revision=1)
        await board.arriving.release()
        (kept,) = await board.store.after(0, 9, 0)
        assert kept.expires == EXPIRES + HOUR


async def test_what_was_just_posted_behind_a_gap_is_held_and_what_is_older_is_not(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with board_in(tmp_path) as board:
        board.arriving.begin(PERIOD)
        board.take(post(1, b"one"))
        board.take(post(3, b"three"))
        await board.arriving.settle(PERIOD, all_of_it=False)
        assert await board.bodies() == [b"one"]
        board.take(post(2, b"two"))
        await board.arriving.release()
        assert await board.bodies() == [b"one", b"two", b"three"]
        await trio.sleep(600)
        board.arriving.begin(PERIOD)
        board.take(post(5, b"five"))
        await board.arriving.settle(PERIOD, all_of_it=False)
        assert (await board.bodies())[3:] == [b"five"]


async def test_two_machines_with_one_identity_lose_nothing(tmp_path: Path) -> None:
    async with board_in(tmp_path) as board:
        board.arriving.begin(PERIOD)
        for number in (1, 2, 3):
            for machine in ("a", "b"):
                body = f"{machine}{number}".encode()
                board.take(written(ALICE, number, body, expires=EXPIRES, mark=machine))
        await board.arriving.settle(PERIOD, all_of_it=True)
        shown = await board.shown()
        assert sorted(body for body, _, _ in shown) == [b"a1", b"a2", b"a3", b"b1", b"b2", b"b3"]
        assert [late for _, _, late in shown] == [False, True] * 3
        assert [body[1:] for body, _, _ in shown] == [b"1", b"1", b"2", b"2", b"3", b"3"]


def test_a_mailbox_of_this_period_is_the_boards() -> None:
    assert w.Mailbox(w.BOARD, TOPIC.key(PERIOD).public, PERIOD) == BOX
