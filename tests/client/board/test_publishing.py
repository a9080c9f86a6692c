"""One's own posts on their way: numbered, sealed, left, taken back, extended; after a crash at any moment.
Whole networks in virtual time."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh import testing
from onionshh.client.board import publishing
from onionshh.client.board.publishing import CLOSED, CLOSED_NAMED, NO_AUTHOR, NO_NUMBER, UNREAD
from onionshh.client.mail.one_letter import NotStored
from onionshh.core.board.entry import NUMBER_MOST
from onionshh.core.mailbox.dates import last_expiry
from onionshh.ids import RelayId
from onionshh.wire import mailbox as w
from tests.client.board.boards import (
    ALICE,
    DAY,
    HOUR,
    SECRET,
    at_six,
    bodies,
    kept,
    network,
    numbers,
    written,
)
from tests.client.dying import DyingDisk
from tests.client.mail.postal import Bent, bend, place, places_of
from tests.client.world import bytes_on_disk, until
from tests.inside import inside

ME = onionshh.Identity.generate(testing.seeded(31))
OTHER = onionshh.Identity.generate(testing.seeded(32))


class Both:
    """A network, the node of an author and the node of a reader."""

    def __init__(self, net: testing.Network, author: onionshh.Node, reader: onionshh.Node) -> None:
        self.net = net
        self.author = author
        self.reader = reader
        self.relays: dict[RelayId, Bent] = bend(net)

    @property
    def wall(self) -> int:
        return self.net.clock.wall()

    async def read(self) -> list[onionshh.Post]:
        """What somebody finds who enters the board now."""
        async with self.reader.board(SECRET) as board:
            return await board.read()

    def refuse(self, status: int | None) -> None:
        """All relays answer so to what is new. None: they are honest again."""
        for bent in self.relays.values():
            bent.on_put = lambda put: w.Kept(status) if status is not None and put.value else None


@asynccontextmanager
async def both(**params: int) -> AsyncIterator[Both]:
    async with network(**params) as net, net.join("a") as author, net.join("b") as reader:
        yield Both(net, author, reader)


async def stored(*postings: onionshh.Posting, copies: int = 4, seconds: float = 900) -> None:
    """Wait until they are stored, with so many copies."""
    with trio.fail_after(seconds):
        for posting in postings:
            await posting.stored()
            while posting.copies[0] < copies:
                await posting.changed()


async def test_posts_are_numbered_in_their_order_also_by_an_author_who_has_forgotten_all(
    autojump_clock: MockClock,
) -> None:
    async with both() as two:
        async with two.author.board(SECRET, author=ME) as board:
            mine = [await board.post(b"%d" % number, ttl_seconds=HOUR) for number in range(4)]
            assert [posting.status for posting in mine] == ["queued"] * 4
            assert [one.id for one in board.postings()] == [one.id for one in mine]
            await stored(*mine)
            assert {posting.why for posting in mine} == {""}
            assert [posting.expires for posting in mine] == [posting.expires for posting in board.postings()]
            assert kept(two.relays) == 16
        assert [posting.status for posting in mine] == ["stored"] * 4  # it stays there
        async with two.author.board(SECRET, author=ME) as board:  # without a name: nothing is known of it
            assert board.postings() == []
            again = await board.post(b"again", ttl_seconds=HOUR)
            async with two.author.board(SECRET) as other:
                nobody = await other.post(b"anonymous", ttl_seconds=HOUR)
                await stored(again, nobody)
            async with two.author.board(b"another board".ljust(32), author=ME) as elsewhere:
                first = await elsewhere.post(b"first", ttl_seconds=600)
                await stored(first, copies=2)
                assert numbers(await elsewhere.read()) == [(1, 0, False)]
        posts = await two.read()
        authors = {post.body: post.author for post in posts}
        assert authors.pop(b"anonymous") is None
        assert set(authors.values()) == {board.author}
        line = [post for post in posts if post.author]
        assert numbers(line) == [(number, 0, False) for number in range(1, 6)]
        assert bodies(line) == [b"0", b"1", b"2", b"3", b"again"]
        assert [post.id for post in line[:4]] == [posting.id for posting in mine]
        assert {post.expires for post in line[:4]} == {posting.expires for posting in mine}


async def test_a_post_of_ones_own_releases_nothing_that_is_held(autojump_clock: MockClock) -> None:
    """To learn its number, an author reads the board. What others are just posting keeps its order."""
    async with both() as two, two.reader.board(SECRET, author=ME) as board, trio.open_nursery() as nursery:
        seen = list[onionshh.Post]()

        @nursery.start_soon
        async def watch() -> None:
            async for post in board:
                seen.append(post)

        await trio.sleep(30)
        context = inside(two.author)
        for number in (1, 3, 2):
            items = written(ALICE, number, b"%d" % number, expires=two.wall + HOUR, posted=two.wall)
            await place(context, items, *(side[0] for side in places_of(context, items[0].mailbox)))
            if number == 1:
                await until(lambda: len(seen) == 1)
            if number == 3:
                await stored(await board.post(b"mine", ttl_seconds=HOUR), copies=2)
        with trio.fail_after(120):
            while len(seen) < 4:
                await trio.sleep(1)
        hers = [post for post in seen if post.author == ALICE.public.hex()]
        assert numbers(hers) == [(1, 0, False), (2, 0, False), (3, 0, False)]
        nursery.cancel_scope.cancel()


async def test_while_the_board_cannot_be_read_an_author_has_no_number(autojump_clock: MockClock) -> None:
    async with both() as two, two.author.board(SECRET, author=ME) as board:
        for bent in at_six(inside(two.author), two.relays)[:3]:
            bent.silent = True  # one place: it may be that only these have earlier posts
        posting = await board.post(b"hello", ttl_seconds=HOUR)
        await until(lambda: posting.why == UNREAD)
        assert (posting.status, kept(two.relays)) == ("queued", 0)
        for bent in two.relays.values():
            bent.silent = False
        await stored(posting)
        assert posting.why == ""
        assert numbers(await two.read()) == [(1, 0, False)]


async def test_why_no_relay_takes_a_post(autojump_clock: MockClock) -> None:
    async with both() as two:
        async with two.author.board(SECRET) as board:
            two.refuse(w.FULL)
            posting = await board.post(b"hello", ttl_seconds=3 * HOUR)
            await until(lambda: posting.why == NotStored.FULL, 900)
            assert posting.status == "queued"
            two.refuse(None)
            await stored(posting, seconds=2 * HOUR)
            assert posting.why == ""
            two.refuse(w.REFUSED)
            unstored = await board.post(b"more", ttl_seconds=HOUR)
        assert (unstored.status, unstored.why) == ("failed", CLOSED)
        with pytest.raises(onionshh.NotStored, match=CLOSED):
            await unstored.stored()
        with pytest.raises(ValueError, match="failed"):
            await unstored.extend(600)
        with pytest.raises(onionshh.Closed):
            await unstored.recall()
        assert posting.copies == (4, 4)
        with pytest.raises(onionshh.Closed):
            await posting.extend(600)
        with pytest.raises(onionshh.Closed):
            await posting.recall()


async def test_a_post_is_taken_back_at_all_relays(autojump_clock: MockClock) -> None:
    async with both() as two, two.author.board(SECRET, author=ME) as board:
        mine = [await board.post(b"%d" % number * 6000, ttl_seconds=HOUR) for number in range(3)]
        assert await mine[1].recall()  # before it has a number
        await stored(mine[0], mine[2])
        assert kept(two.relays) == 16
        assert await mine[0].recall()
        assert kept(two.relays) == 8
        assert [(posting.status, posting.copies) for posting in mine] == [
            ("recalled", (0, 4)),
            ("recalled", (0, 4)),
            ("stored", (4, 4)),
        ]
        with pytest.raises(ValueError, match="recalled"):
            await mine[0].extend(600)
        with pytest.raises(onionshh.NotStored):
            await mine[1].stored()
        assert await mine[0].recall()  # twice does no harm
        assert numbers(await two.read()) == [(2, 0, False)]  # what was not sealed has no number
        at_six(inside(two.author), two.relays)[0].silent = True
        began = trio.current_time()
        assert not await mine[2].recall()
        assert 59 < trio.current_time() - began < 62
        for bent in two.relays.values():
            bent.silent = False
        await until(lambda: kept(two.relays) == 0, 900)


async def test_a_post_is_extended_for_the_hours_that_this_adds(autojump_clock: MockClock) -> None:
    async with both() as two, two.author.board(SECRET, author=ME) as board:
        posting = await board.post(b"hello" * 2000, ttl_seconds=600)
        await stored(posting)
        async with two.reader.board(SECRET) as reader:
            (post,) = await reader.read()
            assert post.expires == posting.expires
            for ttl, life, effort in ((2 * HOUR, 3 * HOUR, 3 * 24), (HOUR, HOUR, 0)):
                for bent in two.relays.values():
                    bent.puts.clear()
                now = two.wall
                assert await posting.extend(ttl)
                assert now + life <= posting.expires <= now + life + 5
                await stored(posting)
                puts = [put for bent in two.relays.values() for _, put, _ in bent.puts]
                assert {put.effort for put in puts} == {effort}
                assert {put.expires for put in puts} == {posting.expires}
                assert len(puts) == 8
                (post,) = await reader.read()
                assert post.expires == posting.expires
            await trio.sleep(700)
            assert bodies(await reader.read()) == [b"hello" * 2000]
            two.refuse(w.FULL)
            began = trio.current_time()
            assert not await posting.extend(DAY)
            assert trio.current_time() - began < 62
            assert posting.copies == (0, 4)
            two.refuse(None)
            await stored(posting)


async def test_a_post_that_a_relay_may_still_have_is_not_said_to_be_gone(autojump_clock: MockClock) -> None:
    """A relay that did not hear of an earlier end keeps the post until the old one."""
    async with both() as two, two.author.board(SECRET) as board:
        posting = await board.post(b"hello", ttl_seconds=3 * DAY)
        await stored(posting)
        deaf = next(bent for bent in two.relays.values() if bent.kept)
        deaf.on_put = lambda put: w.Kept(w.FULL)
        assert await posting.extend(600)
        await until(lambda: posting.status == "expired", 3600)
        assert [post.body for post in await two.read()] == [b"hello"]
        assert not await posting.recall()


async def test_a_post_of_an_older_period_is_extended_as_far_as_it_can_be_found(
    autojump_clock: MockClock,
) -> None:
    async with both(period_seconds=HOUR) as two:
        async with two.author.board(SECRET, name="me") as board:
            period = inside(two.author).view.period
            posting = await board.post(b"hello", ttl_seconds=3 * HOUR)
            await stored(posting)
            await trio.sleep(2 * HOUR + 600)
            assert inside(two.author).view.period >= period + 2
            assert await posting.extend(7 * DAY)
            assert posting.expires == last_expiry(period, HOUR)
            assert [post.expires for post in await two.read()] == [posting.expires]
        async with two.author.board(SECRET, name="me") as board:
            (posting,) = board.postings()
            assert (posting.status, posting.expires) == ("stored", last_expiry(period, HOUR))


async def test_what_too_few_relays_took_is_sealed_again_in_a_later_period(autojump_clock: MockClock) -> None:
    async with both(period_seconds=HOUR) as two, two.author.board(SECRET, author=ME) as board:
        two.refuse(w.FULL)
        period = inside(two.author).view.period
        posting = await board.post(b"hello", ttl_seconds=DAY)
        await trio.sleep(2 * HOUR)
        assert posting.status == "queued"
        two.refuse(None)
        await stored(posting, seconds=2 * HOUR)
        (post,) = await two.read()
        assert (post.id, post.number, post.expires) == (posting.id, 1, posting.expires)
        puts = [put for bent in two.relays.values() for _, put, _ in bent.puts]
        assert {put.mailbox.period for put in puts} >= {period}
        assert max(put.mailbox.period for put in puts) > period
        assert await posting.recall()
        assert await two.read() == []


async def test_when_its_time_is_over_nothing_of_it_is_left(autojump_clock: MockClock) -> None:
    async with both() as two:
        async with two.author.board(SECRET, name="me") as board:
            posting = await board.post(b"a short life", ttl_seconds=600)
            await stored(posting)
            two.refuse(w.FULL)
            never = await board.post(b"never stored", ttl_seconds=600)
            assert b"a short life" in bytes_on_disk(two.net.folder / "a")
            assert len(board.postings()) == 2
            await until(lambda: posting.is_final and never.is_final, 2400)
            await trio.sleep(5)
            assert (posting.status, never.status) == ("expired", "expired")
            assert board.postings() == []
            assert await posting.recall()
            with pytest.raises(onionshh.NotStored):
                await never.stored()
            for mark in (b"a short life", b"never stored"):
                assert mark not in bytes_on_disk(two.net.folder / "a")
        assert await two.read() == []
        await until(lambda: kept(two.relays) == 0, 900)


async def test_so_many_parts_may_lie_on_a_board(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "PARTS_MOST", 4)
    async with both() as two, two.author.board(SECRET) as board:
        first = await board.post(bytes(12_000), ttl_seconds=HOUR)
        await board.post(b"", ttl_seconds=HOUR)
        with pytest.raises(onionshh.Full, match="recall some"):
            await board.post(b"one too many")
        assert await first.recall()
        await board.post(bytes(6000), ttl_seconds=HOUR)
        assert len(board.postings()) == 3


async def test_a_board_with_a_name_goes_on_with_its_posts(autojump_clock: MockClock) -> None:
    async with both() as two:
        two.refuse(w.FULL)
        async with two.author.board(SECRET, author=ME, name="me") as board:
            first = await board.post(b"first", ttl_seconds=3 * HOUR)
            await until(lambda: first.why == NotStored.FULL, 900)
            second = await board.post(b"second", ttl_seconds=3 * HOUR)
        assert (first.status, first.why, second.status) == ("failed", CLOSED_NAMED, "failed")
        two.refuse(None)
        async with two.author.board(SECRET, author=ME, name="me") as board:
            assert [posting.id for posting in board.postings()] == [first.id, second.id]
            third = await board.post(b"third", ttl_seconds=3 * HOUR)
            await stored(*board.postings())
            assert await third.recall()
        async with two.author.board(SECRET, author=ME, name="me") as board:
            again = board.postings()
            assert [posting.status for posting in again] == ["stored", "stored", "recalled"]
            assert [posting.copies for posting in again[:2]] == [(4, 4), (4, 4)]
            assert await again[0].recall()
            assert await again[1].extend(DAY)
            fourth = await board.post(b"fourth", ttl_seconds=HOUR)
            await stored(fourth, again[1])
        posts = await two.read()
        assert (bodies(posts), numbers(posts)) == ([b"second", b"fourth"], [(2, 0, False), (4, 1, False)])
        assert posts[0].expires == again[1].expires
        ids = {put.item_id for bent in two.relays.values() for _, put, _ in bent.puts}
        assert len(ids) == 4  # each was sealed once


async def test_a_post_waits_for_its_author(autojump_clock: MockClock) -> None:
    async with both() as two:
        for bent in two.relays.values():
            bent.silent = True
        async with two.author.board(SECRET, author=ME, name="me") as board:
            posting = await board.post(b"hello", ttl_seconds=3 * HOUR)
        for bent in two.relays.values():
            bent.silent = False
        for other in (None, OTHER):
            async with two.author.board(SECRET, author=other, name="me") as board:
                (waiting,) = board.postings()
                await until(lambda: waiting.why == NO_AUTHOR, 60)  # noqa: B023
        async with two.author.board(SECRET, author=ME, name="me") as board:
            await stored(*board.postings())
        (post,) = await two.read()
        assert (post.id, post.author) == (posting.id, board.author)


class Run:
    """A board with a name, in a folder that may die."""

    def __init__(self, two: Both, disk: DyingDisk) -> None:
        self._two = two
        self._disk = disk
        self.accepted: dict[bytes, str] = {}
        """What `post` returned for: its body, and its id."""

    @property
    def folder(self) -> Path:
        return self._two.net.folder / "a" / "boards"

    async def once(self, number: int) -> bool:
        """Post two things on a disk that dies after so many commits, and go on with it for a while; then as
        after a kill at that moment. Returns whether it has died."""
        name = f"n{number}"
        self._disk.dies_after(number, self.folder)
        with suppress(onionshh.BadData):
            async with self._two.author.board(SECRET, author=ME, name=name) as board:
                for body in (f"{name} one".encode(), f"{name} two".encode()):
                    with suppress(onionshh.BadData):
                        self.accepted[body] = (await board.post(body, ttl_seconds=3 * HOUR)).id
                    with trio.move_on_after(150):
                        while not self._disk.dead and any(one.copies[0] < 4 for one in board.postings()):
                            await trio.sleep(1)
                await trio.sleep(20)
        died = self._disk.dead
        if died:
            self._disk.restore()
        self._disk.dies_after(1_000_000, self.folder)
        async with self._two.author.board(SECRET, author=ME, name=name) as board:
            await stored(*board.postings())
            ours = {body: one for body, one in self.accepted.items() if body.startswith(name.encode() + b" ")}
            assert {posting.id for posting in board.postings()} == set(ours.values())
        return died


async def test_a_board_may_die_after_any_of_its_commits_while_it_posts(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = DyingDisk(monkeypatch, "board.db")
    async with both() as two:
        run, number = Run(two, disk), 0
        while await run.once(number):
            number += 1
        assert 10 < number < 80
        posts = await two.read()
        found = {post.body: post.id for post in posts}
        assert len(posts) == len(found)
        assert run.accepted.items() <= found.items()  # nothing that was acknowledged is lost
        assert found == run.accepted
        assert kept(two.relays) == 4 * len(found)  # each under one id
        assert [post.number for post in posts if post.late] == []


async def test_a_post_that_waits_holds_up_those_of_its_author_alone(autojump_clock: MockClock) -> None:
    async with both() as two:
        async with two.author.board(SECRET, author=ME, name="me") as board:
            for bent in two.relays.values():
                bent.silent = True
            waiting = await board.post(b"1", ttl_seconds=3 * HOUR)
        for bent in two.relays.values():
            bent.silent = False
        assert waiting.status == "failed"
        async with two.author.board(SECRET, name="me") as board:
            other = await board.post(b"2", ttl_seconds=3 * HOUR)
            await stored(other)
            (waiting, _) = board.postings()
            assert (waiting.status, waiting.why) == ("queued", NO_AUTHOR)
        async with two.author.board(SECRET, author=ME, name="me") as board:
            await stored(board.postings()[0])
        assert sorted(bodies(await two.read())) == [b"1", b"2"]


async def test_a_post_is_extended_before_it_is_stored_and_not_too_often(autojump_clock: MockClock) -> None:
    async with both() as two, two.author.board(SECRET) as board:
        posting, begun = await board.post(b"1", ttl_seconds=600), two.wall
        await posting.extend(3 * HOUR)
        await stored(posting)
        assert posting.expires - begun == 3 * HOUR
        assert [one.expires - begun for one in await two.read()] == [3 * HOUR]
        with pytest.raises(ValueError, match="254 times"):
            for _ in range(300):
                with trio.move_on_after(0.001):
                    await posting.extend(600)
        await stored(posting)
        assert await posting.recall()
        assert kept(two.relays) == 0


async def test_a_post_ends_with_the_last_period_that_shows_it_also_after_a_restart(
    autojump_clock: MockClock,
) -> None:
    async with both(period_seconds=HOUR) as two:
        async with two.author.board(SECRET, name="me") as board:
            posting = await board.post(b"1", ttl_seconds=7 * DAY)
            await stored(posting)
            end = posting.expires
        async with two.author.board(SECRET, name="me") as board:
            (posting,) = board.postings()
            await trio.sleep(60)
            assert (posting.expires, posting.copies[0] >= 2) == (end, True)
        assert [one.expires for one in await two.read()] == [end]


async def test_a_post_that_only_one_place_took_is_sealed_again_for_the_next_period(
    autojump_clock: MockClock,
) -> None:
    async with both(period_seconds=HOUR) as two, two.author.board(SECRET) as board:
        six = at_six(inside(two.author), two.relays)
        two.refuse(w.FULL)
        six[0].on_put = lambda put: None
        posting = await board.post(b"hello", ttl_seconds=DAY)
        await trio.sleep(2 * HOUR)
        assert (posting.status, posting.copies) == ("queued", (1, 4))
        two.refuse(None)
        await stored(posting, seconds=2 * HOUR)
        assert bodies(await two.read()) == [b"hello"]


async def another_machine_posts(two: Both, number: int) -> None:
    """Somebody else has the identity of ME, and posts under this number."""
    context, key = inside(two.reader), ME.author_key(SECRET)
    items = written(key, number, b"of another machine", expires=two.wall + DAY, posted=two.wall)
    await place(context, items, *(relay for side in places_of(context, items[0].mailbox) for relay in side))


async def test_behind_the_last_number_a_post_fails_and_says_what_to_do(autojump_clock: MockClock) -> None:
    async with both() as two:
        await another_machine_posts(two, NUMBER_MOST - 1)
        async with two.author.board(SECRET, author=ME, name="me") as board:
            await stored(await board.post(b"the last", ttl_seconds=HOUR))
            first, second = [await board.post(body, ttl_seconds=HOUR) for body in (b"1", b"2")]
            for posting in (first, second):
                with pytest.raises(onionshh.NotStored, match="with another author"):
                    await posting.stored()
                assert (posting.status, posting.why) == ("failed", NO_NUMBER)
            assert await first.recall()  # and what it says is on disk no more
            assert kept(two.relays) == 6 + 4
            posts = await board.read()
            assert bodies(posts) == [b"of another machine", b"the last"]
            assert numbers(posts) == [(NUMBER_MOST - 1, 0, False), (NUMBER_MOST, 0, False)]
        async with two.author.board(SECRET, author=OTHER, name="me") as board:
            assert [posting.status for posting in board.postings()] == ["stored", "recalled", "queued"]
            await stored(await board.post(b"of a new author", ttl_seconds=HOUR))
            assert board.postings()[2].why == NO_AUTHOR
            assert len(await board.read()) == 3
        assert len(await two.read()) == 3


async def test_a_board_on_which_a_number_beyond_the_last_was_kept_goes_on(autojump_clock: MockClock) -> None:
    async with both() as two:
        for bent in two.relays.values():
            bent.silent = True
        async with two.author.board(SECRET, author=ME, name="me") as board:
            await board.post(b"hello", ttl_seconds=DAY)
        (path,) = (two.net.folder / "a" / "boards").rglob("board.db")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE own_posts SET number = ?", (NUMBER_MOST + 1,))
            row = ME.author_key(SECRET).public, NUMBER_MOST + 1
            connection.execute("INSERT INTO own_numbers VALUES (?, ?)", row)
        for bent in two.relays.values():
            bent.silent = False
        await another_machine_posts(two, 1)
        async with two.author.board(SECRET, author=ME, name="me") as board:
            (posting,) = board.postings()
            await until(lambda: posting.is_final, 60)
            assert (posting.status, posting.why) == ("failed", NO_NUMBER)
            assert bodies(await board.read()) == [b"of another machine"]


async def test_a_recall_of_which_half_was_kept_goes_on(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between the two commits of a recall: the board has it, the deposits do not."""
    disk = DyingDisk(monkeypatch, "board.db")
    async with both() as two:
        async with two.author.board(SECRET, author=ME, name="me") as board:
            posting = await board.post(b"hello", ttl_seconds=HOUR)
            await stored(posting)
            for bent in two.relays.values():
                bent.silent = True  # no relay hears of it in this run
            disk.dies_after(1, two.net.folder / "a" / "boards")
            with pytest.raises(onionshh.BadData):
                await posting.recall()
        assert disk.dead
        disk.restore()
        for bent in two.relays.values():
            bent.silent = False
        assert kept(two.relays) == 4
        async with two.author.board(SECRET, author=ME, name="me") as board:
            assert [posting.status for posting in board.postings()] == ["recalled"]
            await until(lambda: kept(two.relays) == 0, 300)
