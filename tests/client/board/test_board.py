"""A board as a program uses it: what it may be asked, cursors, names, and how it ends. Whole networks in
virtual time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh import testing
from onionshh.client.board.board import READ_DEFAULT, TTL_DEFAULT_SECONDS
from onionshh.core.board.entry import POST_MOST
from onionshh.core.board.topic import Topic
from tests.client.board.boards import DAY, HOUR, SECRET, bodies, network, numbers
from tests.client.dying import DyingDisk
from tests.client.world import small, until

ME, YOU = (onionshh.Identity.generate(testing.seeded(n)) for n in (41, 42))


async def post(board: onionshh.Board, *what: bytes, ttl_seconds: float = HOUR) -> list[onionshh.Posting]:
    """Post these one after the other, and wait until they are stored."""
    postings = [await board.post(body, ttl_seconds=ttl_seconds) for body in what]
    with trio.fail_after(900):
        for posting in postings:
            await posting.stored()
    return postings


async def test_two_people_post_and_read(autojump_clock: MockClock) -> None:
    body = testing.seeded(1)(60_000)
    async with network() as net, net.join("a") as a, net.join("b") as b:
        async with a.board("café", author=ME) as mine, b.board("cafe\u0301", author=YOU, name="you") as yours:
            assert (len(mine.author or ""), mine.author != yours.author) == (64, True)
            (first, second) = await post(mine, body, b"second")
            (answer,) = await post(yours, b"answer")
            posts = await yours.read()
            assert sorted(bodies(posts)) == sorted([body, b"second", b"answer"])
            found = {one.id: one for one in posts}
            assert (found[first.id].author, found[answer.id].author) == (mine.author, yours.author)
            assert found[second.id].number == 2
            assert found[second.id].posted_at % 60 == 0
            assert found[second.id].expires == second.expires
            assert {one.cursor for one in await mine.read()} == {""}
            assert sorted(bodies(await mine.read())) == sorted(bodies(posts))
            assert await first.recall()
            assert sorted(bodies(await yours.read())) == [b"answer", b"second"]
            async with b.board("another café") as other:
                assert await other.read() == []
        assert mine.author == ME.author_key(Topic.of("café").secret).public.hex()


async def test_a_board_with_a_name_goes_on_behind_what_was_finished(autojump_clock: MockClock) -> None:
    async with network() as net, net.join("a") as a, net.join("b") as b, a.board(SECRET, author=ME) as mine:
        await post(mine, b"1", b"2", b"3")
        async with b.board(SECRET, name="me") as board:
            posts = await board.read()
            assert bodies(posts) == [b"1", b"2", b"3"]
            assert bodies(await board.read(posts[0].cursor)) == [b"2", b"3"]
            assert bodies(await board.read(posts[0].cursor, 1)) == [b"2"]
            assert bodies(await board.read(limit=2)) == [b"1", b"2"]
            assert await board.read(posts[2].cursor) == []
            seen = []
            async for one in board:
                seen.append(one.body)
                if len(seen) == 2:
                    break
            async for one in board:  # the second was not finished with
                seen.append(one.body)
                break
            assert seen == [b"1", b"2", b"2"]
        async with b.board(SECRET, name="me") as board:
            async for one in board:
                assert one == posts[1]
                break
            assert bodies(await board.read(posts[1].cursor)) == [b"3"]
            for wrong in (
                posts[0].cursor[1:],
                posts[0].cursor + "0",
                posts[0].cursor + "-",
                posts[0].cursor.replace("-", ""),
                posts[0].cursor.replace("-", "--"),
                posts[0].cursor.partition("-")[0] + "-" + "٣",
                posts[0].cursor.partition("-")[0] + "-4",
                posts[0].cursor.partition("-")[0] + "-" + "9" * 19,
                " ",
            ):
                with pytest.raises(ValueError, match="This cursor is not of this board and name"):
                    await board.read(wrong)
            with pytest.raises(TypeError, match="A cursor is text, not int"):
                await board.read(1)  # type: ignore[arg-type]
            for name, said in (("other", "not of this board"), (None, "needs a board with a name")):
                async with b.board(SECRET, name=name) as other:
                    with pytest.raises(ValueError, match=said):
                        await other.read(posts[0].cursor)
        with pytest.raises(onionshh.Closed):
            await board.read(posts[0].cursor)


async def test_two_machines_with_one_identity_lose_nothing(autojump_clock: MockClock) -> None:
    async with network() as net, net.join("a") as a, net.join("b") as b, net.join("c") as c:
        async with a.board(SECRET, author=ME) as first, b.board(SECRET, author=ME) as second:
            async with trio.open_nursery() as nursery:
                for board, mark in ((first, b"a"), (second, b"b")):
                    nursery.start_soon(post, board, mark + b"1", mark + b"2")
            await post(second, b"last")
        async with c.board(SECRET) as board:
            posts = await board.read()
            assert sorted(bodies(posts)) == [b"a1", b"a2", b"b1", b"b2", b"last"]
            assert len({one.author for one in posts}) == 1
            shown = [one for one in posts if not one.late]
            assert numbers(shown) == [(number, 0, False) for number in range(1, len(shown) + 1)]
            assert len(shown) < 5
            assert len({one.id for one in posts}) == 5


async def test_what_a_board_may_not_be_asked(autojump_clock: MockClock) -> None:
    assert (READ_DEFAULT, TTL_DEFAULT_SECONDS) == (100, DAY)
    async with small(3) as net, net.join() as node:
        for topic, error in (
            ("", ValueError),
            (" a", ValueError),
            (bytes(31), ValueError),
            (None, TypeError),
            (bytearray(32), TypeError),
        ):
            with pytest.raises(error, match="topic"):
                node.board(topic)  # type: ignore[arg-type]
        for name in ("", " ", "x" * 65, "a\n", 5):
            with pytest.raises(ValueError, match="name must be text of 1 to 64 printable characters"):
                node.board(SECRET, name=name)  # type: ignore[arg-type]
        for author in ("0f" * 32, b"k" * 32, node):
            with pytest.raises(TypeError, match="An author is an Identity, not "):
                node.board(SECRET, author=author)  # type: ignore[arg-type]
        async with node.board(SECRET) as board:
            assert board.author is None
            with pytest.raises(TypeError, match="A post is bytes, not str"):
                await board.post("text")  # type: ignore[arg-type]
            with pytest.raises(onionshh.TooLarge, match="at most 65535 bytes; this one has 65536"):
                await board.post(bytes(POST_MOST + 1))
            for ttl in (59, 604_801):
                with pytest.raises(ValueError, match="ttl_seconds"):
                    await board.post(b"", ttl_seconds=ttl)
            for limit in (0, 100_001, 1.5, True):
                with pytest.raises(ValueError, match="limit must be a whole number, from 1 to 100000"):
                    await board.read(limit=limit)  # type: ignore[arg-type]
            posting = await board.post(b"")
            assert posting.expires - net.clock.wall() == TTL_DEFAULT_SECONDS
            for ttl in (59, 604_801):
                with pytest.raises(ValueError, match="ttl_seconds"):
                    await posting.extend(ttl)
            assert len(board.postings()) == 1


async def test_a_board_is_open_in_its_block_only(autojump_clock: MockClock) -> None:
    async with small(3) as net, net.join() as node:
        board = node.board(SECRET, name="me")
        assert board.postings() == []

        async def fails() -> None:
            for attempt in (board.post(b"hello"), board.read()):
                with pytest.raises(onionshh.Closed, match="This board is not open"):
                    await attempt
            with pytest.raises(onionshh.Closed):
                aiter(board)

        await fails()
        async with board:
            with pytest.raises(onionshh.Closed, match="entered once"):
                async with board:
                    pass
            with pytest.raises(onionshh.DataInUse, match="A board of this topic and name is open already"):
                async with node.board(SECRET, name="me"):
                    pass
            async with node.board("chess", name="me"), node.board(SECRET), node.board(SECRET, name="you"):
                pass
            posting = await board.post(b"hello")
            board.close()
            board.close()
            assert posting.status == "failed"
            await fails()
        await fails()
        assert [one.id for one in board.postings()] == [posting.id]
        with pytest.raises(onionshh.Closed):
            async with board:
                pass
        closed = node.board(SECRET)
        closed.close()
        with pytest.raises(onionshh.Closed, match="closed"):
            async with closed:
                pass
        async with node.board(SECRET, name="me") as again:  # the name is free at once
            assert [one.id for one in again.postings()] == [posting.id]
        late = node.board(SECRET)
    with pytest.raises(onionshh.Closed):
        node.board(SECRET)
    with pytest.raises(onionshh.Closed):
        async with late:
            pass


async def test_a_damaged_file_is_said_and_the_node_goes_on(autojump_clock: MockClock) -> None:
    async with small(3) as net, net.join("a") as node:
        async with node.board(SECRET, name="me"):
            pass
        (path,) = (net.folder / "a" / "boards").glob("*/board.db")
        path.write_bytes(b"no database" * 100)
        for _ in range(2):
            with pytest.raises(onionshh.BadData):
                async with node.board(SECRET, name="me"):
                    pass
        path.unlink()
        async with node.board(SECRET, name="me") as board:
            assert board.postings() == []


async def test_whoever_waits_for_posts_is_woken_when_the_board_is_closed(autojump_clock: MockClock) -> None:
    async with small(3) as net:
        ended = []

        async def follow(board: onionshh.Board, name: str) -> None:
            async for _ in board:
                pass
            ended.append(name)

        async with trio.open_nursery() as nursery:
            async with net.join() as node:
                async with node.board(SECRET) as board:
                    nursery.start_soon(follow, board, "block")
                    await trio.sleep(5)
                await until(lambda: ended == ["block"], 5)
                async with node.board(SECRET) as board:
                    nursery.start_soon(follow, board, "close")
                    await trio.sleep(5)
                    board.close()
                    await until(lambda: ended == ["block", "close"], 5)
        assert ended == ["block", "close"]


async def test_a_full_disk_is_said_to_whoever_posts(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = DyingDisk(monkeypatch, "board.db")
    async with network() as net, net.join("a") as node:
        async with node.board(SECRET, author=ME, name="me") as board:
            (kept,) = await post(board, b"kept")
            disk.dies_after(0, net.folder / "a")
            with pytest.raises(onionshh.BadData, match="make room"):
                await board.post(b"lost")
            for attempt in (kept.recall(), kept.extend(600)):
                with pytest.raises(onionshh.BadData):
                    await attempt
            assert [one.id for one in board.postings()] == [kept.id]
            assert kept.status == "stored"
            disk.restore()
            await post(board, b"next")
            assert numbers(await board.read()) == [(1, 0, False), (2, 0, False)]


async def test_offline_a_post_waits_and_nothing_can_be_read(autojump_clock: MockClock) -> None:
    async with network() as net, net.join("a") as node, node.board(SECRET) as board:
        for running in list(net.relays):
            await running.stop()
        with pytest.raises(onionshh.NetworkUnreachable):
            await board.read()
        posting = await board.post(b"hello", ttl_seconds=3 * HOUR)
        await trio.sleep(100)
        assert (posting.status, posting.copies) == ("queued", (0, 4))
