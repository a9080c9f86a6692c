"""A board is watched: what is posted is seen within seconds, whatever single relays do. Whole networks in
virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh.client import context as module
from onionshh.client.board import watching
from onionshh.client.board.watching import AGAIN_MEAN_SECONDS, FIRST_AGAIN_SECONDS, WAIT_SECONDS
from onionshh.core.base.patience import LIST_ANSWER_SECONDS
from onionshh.wire import mailbox as w
from tests.client.board.boards import DAY, HOUR, SECRET, TOPIC, at_six, network
from tests.client.dying import DyingDisk
from tests.client.mail.postal import bend
from tests.client.world import WALL, small, until
from tests.inside import inside

SOON_SECONDS = 5.0


class Watcher:
    """What a loop over a board was given, and when."""

    def __init__(self, board: onionshh.Board) -> None:
        self._board = board
        self.posts: list[onionshh.Post] = []
        self.ended = False

    @property
    def bodies(self) -> list[bytes]:
        return [post.body for post in self.posts]

    async def run(self) -> None:
        async for post in self._board:
            self.posts.append(post)
        self.ended = True

    async def sees(self, body: bytes, seconds: float = SOON_SECONDS) -> None:
        await until(lambda: body in self.bodies, seconds)


@asynccontextmanager
async def watching_board(node: onionshh.Node, name: str | None = None) -> AsyncIterator[Watcher]:
    """A loop over the board, which has read it once."""
    async with node.board(SECRET, name=name) as board, trio.open_nursery() as nursery:
        watcher = Watcher(board)
        nursery.start_soon(watcher.run)
        await trio.sleep(60)
        yield watcher
        board.close()
        await trio.sleep(1)
        assert watcher.ended


async def test_a_post_is_seen_within_seconds_and_the_relays_wait_for_it(autojump_clock: MockClock) -> None:
    me = onionshh.Identity.generate()
    async with network() as net, net.join("a") as a, net.join("b") as b:
        async with a.board(SECRET, author=me) as mine:
            await (await mine.post(b"before", ttl_seconds=HOUR)).stored()
            async with watching_board(b) as watcher:
                assert watcher.bodies == [b"before"]
                relays, context = bend(net), inside(b)
                for number in range(3):
                    body = b"post %d" % number
                    await mine.post(body, ttl_seconds=HOUR)
                    await watcher.sees(body)
                    await trio.sleep(90)
                await mine.post(bytes(20_000), ttl_seconds=HOUR)  # five parts, one after the other
                await watcher.sees(bytes(20_000), 30)
                assert [post.number for post in watcher.posts] == [1, 2, 3, 4, 5]
                assert {(post.missing, post.late) for post in watcher.posts} == {(0, False)}
                waits = {
                    wanted.wait
                    for bent in at_six(context, relays)
                    for _, wanted, _ in bent.lists
                    if wanted.mode == w.HEADS
                }
                assert all(WAIT_SECONDS[0] <= wait <= WAIT_SECONDS[1] for wait in waits)
                watched = [circuit for circuit in context.circuits.circuits if circuit.purpose == "mailbox"]
                assert len(watched) == 6
            await trio.sleep(1)
            assert not any(circuit.purpose == "mailbox" for circuit in context.circuits.circuits)


async def test_the_period_changes_in_the_middle(autojump_clock: MockClock) -> None:
    midnight = WALL // DAY * DAY + DAY
    async with network(wall=midnight - 1500) as net, net.join("a") as a, net.join("b") as b:
        me = onionshh.Identity.generate()
        async with a.board(SECRET, author=me) as mine, watching_board(b) as watcher:
            period, seen = inside(b).view.period, list[bytes]()
            while inside(a).view.period == period or inside(b).view.period == period or len(seen) < 5:
                seen.append(b"post %d" % len(seen))
                await mine.post(seen[-1], ttl_seconds=3 * HOUR)
                await watcher.sees(seen[-1], 10)
                await trio.sleep(300)
            assert watcher.bodies == seen
            assert [post.number for post in watcher.posts] == list(range(1, len(seen) + 1))
            await mine.post(b"the end", ttl_seconds=HOUR)
            await watcher.sees(b"the end", 10)


async def test_where_too_many_wait_a_relay_is_asked_now_and_then(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with network() as net, net.join("a") as a, net.join("b") as b, a.board(SECRET) as mine:
        relays = bend(net)
        box = TOPIC.mailbox(inside(b).view.period)
        crowded = at_six(inside(b), relays)

        def at_once(wanted: w.List) -> w.Items | None:
            return w.Items(w.STORED, wanted.after) if wanted.wait and wanted.mailbox == box else None

        for bent in crowded:
            bent.on_list = at_once
        async with watching_board(b) as watcher:
            before = [len(bent.lists) for bent in crowded]
            await trio.sleep(1000)
            for bent, count in zip(crowded, before, strict=True):
                assert (
                    0.4 * 1000 / AGAIN_MEAN_SECONDS < len(bent.lists) - count < 3 * 1000 / AGAIN_MEAN_SECONDS
                )
            for bent in crowded[1:]:
                bent.silent = True
            crowded[0].silent = True
            before = [len(bent.lists) for bent in crowded]
            await trio.sleep(WAIT_SECONDS[1] + LIST_ANSWER_SECONDS)
            assert all(len(bent.lists) - count < 8 for bent, count in zip(crowded, before, strict=True))
            for bent in crowded:
                bent.silent, bent.on_list = False, lambda wanted: None
            await mine.post(b"hello", ttl_seconds=HOUR)
            await watcher.sees(b"hello", 2 * WAIT_SECONDS[1])


async def test_circuits_are_renewed_and_failures_are_tried_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "CIRCUIT_LIFE_SECONDS", (20.0, 40.0))
    monkeypatch.setattr(watching, "WAIT_SECONDS", (30, 50))
    async with network() as net, net.join("a") as a, net.join("b") as b, a.board(SECRET) as mine:
        relays = bend(net)
        async with watching_board(b) as watcher:
            six = at_six(inside(b), relays)
            for bent in six:
                bent.lists.clear()
            for status in (w.FULL, w.REFUSED):
                six[0].on_list = lambda wanted, status=status: w.Items(status)  # type: ignore[misc]
                await trio.sleep(200)
            assert 4 <= len(six[0].lists) < 30  # ever later
            six[0].on_list = lambda wanted: w.Items(w.STORED, 5, heads=(w.Head(bytes(32), 9, 0),))
            await trio.sleep(200)
            assert inside(b).drops.by_name()["mailbox-shape"] >= 1
            honest = {circuit for _, _, circuit in six[1].lists}
            assert len(honest) > 5
            six[0].on_list = lambda wanted: None
            for bent in six[1:]:
                bent.on_list = lambda wanted: w.Items(w.STORED, wanted.after) if wanted.wait else None
            await trio.sleep(70)
            posting = await mine.post(b"hello", ttl_seconds=HOUR)
            while posting.copies[0] < 4:
                await posting.changed()
            await watcher.sees(b"hello", 130)


async def test_a_full_disk_holds_up_what_is_given_and_loses_nothing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = DyingDisk(monkeypatch, "board.db")
    async with network() as net, net.join("a") as a, net.join("b") as b, a.board(SECRET) as mine:
        async with b.board(SECRET, name="b") as board:
            working = aiter(board)
            given = []

            async def follow() -> None:
                while True:
                    try:
                        given.append((await anext(working)).body)
                    except onionshh.BadData:
                        await trio.sleep(5)
                    except StopAsyncIteration:
                        return

            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow)
                await trio.sleep(30)
                disk.dies_after(0, net.folder / "b")
                await (await mine.post(b"one", ttl_seconds=HOUR)).stored()
                await (await mine.post(b"two", ttl_seconds=HOUR)).stored()
                await trio.sleep(100)
                assert given == []
                disk.restore()
                await until(lambda: len(given) == 2, 3 * FIRST_AGAIN_SECONDS + 60)
                assert sorted(given) == [b"one", b"two"]
                board.close()


async def test_a_node_watches_so_many_boards_at_a_time(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module.WATCHES_MOST == 16
    monkeypatch.setattr(module, "WATCHES_MOST", 2)
    async with small(3) as net, net.join() as node:
        boards = [node.board(f"board {number}") for number in range(3)]
        async with boards[0], boards[1]:
            async with boards[2]:
                for board in (boards[0], boards[1], boards[0]):
                    aiter(board)  # twice is once
                assert inside(node).shared.watches == 2
                with pytest.raises(ValueError, match="A node watches at most 2 boards at a time"):
                    aiter(boards[2])
                boards[0].close()
                await trio.sleep(1)
                aiter(boards[2])
            assert inside(node).shared.watches == 1
        assert inside(node).shared.watches == 0


async def test_a_post_behind_a_gap_is_held_for_a_while(autojump_clock: MockClock) -> None:
    me = onionshh.Identity.generate()
    async with network() as net, net.join("a") as a, net.join("b") as b:
        async with a.board(SECRET, author=me) as board:
            await (await board.post(b"1", ttl_seconds=HOUR)).stored()
            gone = await board.post(b"2", ttl_seconds=HOUR)
            await gone.stored()
            assert await gone.recall()
            await (await board.post(b"3", ttl_seconds=HOUR)).stored()
            async with watching_board(b) as watcher:
                await until(lambda: watcher.bodies == [b"1", b"3"], 120)
