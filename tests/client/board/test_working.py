"""What works behind one board, put together: what lies there now, what comes next, and how far one has read.
Whole networks in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh import testing
from onionshh.client.board.folder import board_folder
from onionshh.client.board.working import WorkingBoard
from onionshh.client.context import Context
from onionshh.crypto.ed25519 import SigningKey
from onionshh.ids import RelayId
from onionshh.wire import mailbox as w
from tests.client.board.boards import ALICE, HOUR, TOPIC, at_six, network, written
from tests.client.dying import DyingDisk
from tests.client.mail.postal import Bent, bend, place, places_of
from tests.client.world import bytes_on_disk, until
from tests.inside import inside


class Post:
    """A network, a reader's node, and posts that lie at relays."""

    def __init__(self, net: testing.Network, node: onionshh.Node) -> None:
        self.net = net
        self.context: Context = inside(node)
        self.relays: dict[RelayId, Bent] = bend(net)

    @property
    def six(self) -> list[Bent]:
        return at_six(self.context, self.relays)

    async def leave(
        self, number: int, body: bytes, *at: int, author: SigningKey | None = ALICE, seconds: int = HOUR
    ) -> None:
        """A post lies at these of the six relays, or at the four where it belongs."""
        box = TOPIC.mailbox(self.context.view.period)
        items = written(author, number, body, expires=self.net.clock.wall() + seconds, mailbox=box)
        six = [relay for side in places_of(self.context, box) for relay in side]
        await place(self.context, items, *(six[number] for number in at or (0, 1, 3, 4)))

    @asynccontextmanager
    async def working(self, name: str | None = None) -> AsyncIterator[WorkingBoard]:
        """The board works."""
        async with board_folder(self.context, TOPIC, name) as folder, trio.open_nursery() as nursery:
            made = WorkingBoard(self.context, TOPIC, None, folder)
            await made.load()
            started = trio.Event()
            nursery.start_soon(made.run, started.set)
            await started.wait()
            yield made
            made.close()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def posts(**params: int) -> AsyncIterator[Post]:
    async with network(**params) as net, net.join("reader") as node:
        yield Post(net, node)


async def bodies(working: WorkingBoard, after: int = 0, limit: int = 1000) -> list[bytes]:
    return [kept.post.body for kept in await working.read(after, limit)]


async def test_what_lies_there_now_is_read_in_pages(autojump_clock: MockClock) -> None:
    async with posts() as post, post.working() as working:
        assert await bodies(working) == []
        assert (await working.last(), await working.cursor()) == (0, 0)
        for number in range(1, 6):
            await post.leave(number, b"%d" % number)
        assert await bodies(working) == [b"1", b"2", b"3", b"4", b"5"]
        assert await bodies(working, 2) == [b"3", b"4", b"5"]
        assert await bodies(working, 1, 2) == [b"2", b"3"]
        assert await bodies(working, 9) == []
        assert await working.last() == 5
        await working.finished(3)
        assert await working.cursor() == 3


async def test_what_was_taken_back_is_read_no_more_unless_nobody_can_say(autojump_clock: MockClock) -> None:
    async with posts() as post, post.net.join("author") as node:
        async with node.board(TOPIC.secret) as board, post.working() as working:
            first = await board.post(b"first" * 2000, ttl_seconds=HOUR)
            second = await board.post(b"second", ttl_seconds=HOUR)
            await first.stored()
            await second.stored()
            while first.copies[0] < 4 or second.copies[0] < 4:
                await trio.sleep(5)
            assert sorted(await bodies(working)) == [b"first" * 2000, b"second"]
            assert await first.recall()
            for bent in post.six[:3]:
                bent.silent = True
            assert len(await bodies(working)) == 2  # it may lie where nobody answers
            for bent in post.six[:3]:
                bent.silent = False
            assert await bodies(working) == [b"second"]
            for bent in post.relays.values():
                bent.silent = True
            with pytest.raises(onionshh.NetworkUnreachable, match="No relay of this board answers"):
                await working.read(0, 10)


async def test_whoever_waits_for_the_next_is_woken(autojump_clock: MockClock) -> None:
    async with posts() as post, post.working() as working:
        given, ended = list[bytes](), list[int]()

        async def follow() -> None:
            at = 0
            while True:
                try:
                    page = await working.next(at)
                except onionshh.Closed:
                    ended.append(at)
                    return
                given.extend(kept.post.body for kept in page)
                at = page[-1].seq

        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(follow)
            await post.leave(1, b"1")
            await trio.sleep(60)
            assert given == []  # nobody watches
            working.watch()
            working.watch()
            assert post.context.shared.watches == 1
            await until(lambda: given == [b"1"] * 2, 60)
            await post.leave(2, b"2")
            await until(lambda: given == [b"1"] * 2 + [b"2"] * 2, 10)
            working.close()
            await trio.sleep(1)
            assert ended == [2, 2]
        with pytest.raises(onionshh.Closed):
            await working.next(0)
    assert post.context.shared.watches == 0


async def test_a_reading_that_is_cancelled_gives_what_it_found_to_whoever_waits(
    autojump_clock: MockClock,
) -> None:
    async with posts() as post, post.working() as working:
        await post.leave(1, b"1", 0)
        for bent in post.six[1:]:
            bent.silent = True
        with trio.move_on_after(8) as scope:
            await working.read(0, 10)
        assert scope.cancelled_caught
        with trio.fail_after(5):
            (kept,) = await working.next(0)
        assert kept.post.body == b"1"
        for bent in post.six:
            bent.silent = False
        with trio.fail_after(60):
            assert await bodies(working) == [b"1"]


async def test_after_a_restart_a_named_board_knows_all(autojump_clock: MockClock) -> None:
    async with posts() as post:
        for number in (1, 2):
            await post.leave(number, b"%d" % number)
        async with post.working("me") as working:
            assert await bodies(working) == [b"1", b"2"]
            await working.finished(1)
            tag = working.tag
            assert tag
        for bent in post.relays.values():
            bent.lists.clear()
        await post.leave(3, b"3")
        async with post.working("me") as working:
            assert (working.tag, await working.cursor(), await working.last()) == (tag, 1, 2)
            assert [kept.post.body for kept in await working.next(1)] == [b"2"]
            assert await bodies(working) == [b"1", b"2", b"3"]
            values = sum(
                wanted.mode == w.VALUES for bent in post.relays.values() for _, wanted, _ in bent.lists
            )
            assert values == 1
        async with post.working() as working:
            assert (working.tag, await working.last()) == ("", 0)


async def test_what_has_expired_is_gone_from_what_is_read_and_from_disk(autojump_clock: MockClock) -> None:
    async with posts() as post, post.working("me") as working:
        await post.leave(1, b"a short life", seconds=700)
        await post.leave(2, b"a long life", seconds=3 * HOUR)
        assert await bodies(working) == [b"a short life", b"a long life"]
        await trio.sleep(720)
        assert [kept.post.body for kept in await working.next(0)] == [b"a long life"]
        assert await bodies(working) == [b"a long life"]
        await trio.sleep(1300)  # whoever goes by a consensus is late
        left = bytes_on_disk(post.net.folder / "reader")
        assert b"a short life" not in left
        assert b"a long life" in left


async def test_a_full_disk_is_said_and_nothing_is_lost(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = DyingDisk(monkeypatch, "board.db")
    async with posts() as post, post.working("me") as working:
        await post.leave(1, b"1")
        disk.dies_after(0, post.net.folder / "reader")
        for _ in range(2):
            with pytest.raises(onionshh.BadData, match="make room"):
                await working.read(0, 10)
        with pytest.raises(onionshh.BadData):
            await working.finished(1)
        await post.leave(3, b"3")
        disk.restore()
        assert await bodies(working) == [b"1", b"3"]
        (kept,) = await working.read(1, 10)
        assert kept.post.missing == 1
