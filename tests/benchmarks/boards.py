"""Boards and meetings over the running network: how soon a post is seen, posts and readings a second, and how
soon two meet.

    python -m tests.benchmarks.boards
    python -m tests.benchmarks.boards --seen 5 --burst 5 --reads 2 --meetings 1      a short run

runs these rows alone, over a network of its own. Whoever posts, watches, reads and meets is a process of its
own, driven by lines of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

import onionshh
from tests.benchmarks.measured import Measured, single, some
from tests.benchmarks.onion import OnionNetwork
from tests.benchmarks.processes import Child

TOPIC: Final = bytes(range(32))
TTL_SECONDS: Final = 600
SEEN: Final = 60
SEEN_PAUSE_SECONDS: Final = 0.5
BURST: Final = 200
READS: Final = 10
MEETINGS: Final = 5
RELAYS: Final = 7


@dataclass(frozen=True, slots=True)
class Times:
    """How many of each are measured."""

    seen: int = SEEN
    burst: int = BURST
    reads: int = READS
    meetings: int = MEETINGS


def measure(net: OnionNetwork, times: Times | None = None) -> list[Measured]:
    """Every row of this file; about two and a half minutes."""
    times = times or Times()
    return [*_posts(net, times), *_meetings(net, times.meetings)]


def _posts(net: OnionNetwork, times: Times) -> list[Measured]:
    author, watcher, reader = (_program(net, name) for name in ("author", "watcher", "reader"))
    try:
        watcher.ask(do="watch")
        author.ask(do="post", count=times.seen, pause=SEEN_PAUSE_SECONDS)
        delays = watcher.ask(do="seen", count=times.seen)["delays"]
        began = time.time()
        author.ask(do="post", count=times.burst, pause=0.0)
        last = max(watcher.ask(do="seen", count=times.burst)["at"])
        anew = reader.ask(do="read", times=1)
        again = reader.ask(do="read", times=times.reads)
    finally:
        for child in (author, watcher, reader):
            child.stop()
    posts = anew["posts"]
    return [
        single("a post: until a watcher sees it, median", "ms", statistics.median(delays) * 1e3),
        single("a post: until a watcher sees it, p99", "ms", _p99(delays) * 1e3),
        single(f"{times.burst} posts at once: seen a second", "1/s", times.burst / (last - began)),
        single(f"a board of {posts} posts, by somebody new", "s", anew["seconds"][0]),
        single(f"a board of {posts} posts, once more", "s", statistics.median(again["seconds"])),
    ]


def _meetings(net: OnionNetwork, meetings: int) -> list[Measured]:
    one, other = (_program(net, name) for name in ("one", "other"))
    met, talked = [], []
    try:
        for number in range(meetings):
            one.ask(do="enter", number=number)
            time.sleep(2)
            with ThreadPoolExecutor(1) as pool:
                waits = pool.submit(one.ask, do="meet", says=False)
                told = other.ask(do="meet", says=True, number=number)
                met.append(max(told["met"], waits.result()["met_at"] - told["began"]))
                talked.append(told["talked"])
            for child in (one, other):
                child.ask(do="leave")
    finally:
        for child in (one, other):
            child.stop()
    return [
        single("two meet: until both know, median", "s", statistics.median(met)),
        single("two meet: until the first reply over a way back, median", "s", statistics.median(talked)),
    ]


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[int(0.99 * len(values))]


def _program(net: OnionNetwork, name: str) -> Child:
    command = [sys.executable, "-m", "tests.benchmarks.boards", "--serve"]
    command += [str(net.file), str(net.folder / f"b-{name}")]
    return Child(command, log=net.folder / f"b-{name}.log", environment=net.environment)


class Program:
    """One node; every `do` of a line is a method."""

    def __init__(self, node: onionshh.Node, nursery: trio.Nursery) -> None:
        self._node = node
        self._nursery = nursery
        self._seen: list[tuple[float, float]] = []
        self._leave = trio.Event()
        self._left = trio.Event()
        self._meeting: onionshh.Meeting | None = None

    async def watch(self, told: dict[str, Any]) -> dict[str, Any]:
        """Watch from now on."""

        async def run(task_status: trio.TaskStatus[None]) -> None:
            async with self._node.board(TOPIC) as board:
                posts = aiter(board)
                await trio.sleep(5)
                task_status.started()
                async for post in posts:
                    now = time.time()
                    self._seen.append((now, now - float(post.body)))

        await self._nursery.start(run)
        return {}

    async def seen(self, told: dict[str, Any]) -> dict[str, Any]:
        """Wait until so many more posts were seen."""
        while len(self._seen) < told["count"]:
            await trio.sleep(0.01)
        seen, self._seen = self._seen, []
        return {"at": [at for at, _ in seen], "delays": [delay for _, delay in seen]}

    async def post(self, told: dict[str, Any]) -> dict[str, Any]:
        """Post so many, and go on when all are stored."""
        async with self._node.board(TOPIC) as board:
            postings = []
            for _ in range(told["count"]):
                body = f"{time.time():.6f}".encode()
                postings.append(await board.post(body, ttl_seconds=TTL_SECONDS))
                await trio.sleep(told["pause"])
            for posting in postings:
                await posting.stored()
        return {}

    async def read(self, told: dict[str, Any]) -> dict[str, Any]:
        """Read the board so many times, the first time as somebody new."""
        seconds, posts = [], 0
        async with self._node.board(TOPIC, name="reader") as board:
            for _ in range(told["times"]):
                started = time.perf_counter()
                posts = len(await board.read(limit=100_000))
                seconds.append(time.perf_counter() - started)
        return {"seconds": seconds, "posts": posts}

    async def enter(self, told: dict[str, Any]) -> dict[str, Any]:
        """Come to a meeting, and stay until `leave`."""
        self._leave, self._left = trio.Event(), trio.Event()

        async def run(task_status: trio.TaskStatus[None]) -> None:
            secret = told["number"].to_bytes(32, "big")
            async with self._node.meet(secret) as self._meeting, trio.open_nursery() as nursery:
                nursery.start_soon(_answer, self._meeting)
                task_status.started()
                await self._leave.wait()
                nursery.cancel_scope.cancel()
            self._left.set()

        await self._nursery.start(run)
        return {}

    async def meet(self, told: dict[str, Any]) -> dict[str, Any]:
        """Wait for the other one, and say something to it."""
        began = time.time()
        if told["says"]:
            await self.enter(told)
        if self._meeting is None:
            raise ValueError("enter first")
        await self._meeting.met()
        met = time.time()
        if told["says"]:
            await self._meeting.ask(b"hello", timeout_seconds=60)
        return {"began": began, "met": met - began, "met_at": met, "talked": time.time() - began}

    async def leave(self, told: dict[str, Any]) -> dict[str, Any]:
        """Leave the meeting."""
        self._leave.set()
        await self._left.wait()
        return {}


async def _answer(meeting: onionshh.Meeting) -> None:
    async for whisper in meeting:
        await whisper.reply(whisper.body)


async def _serve(network: str, folder: str) -> None:
    async with onionshh.join(network, data_dir=folder) as node, trio.open_nursery() as nursery:
        program = Program(node, nursery)
        lines = trio.wrap_file(sys.stdin)
        while line := await lines.readline():
            told = json.loads(line)
            print(json.dumps(await getattr(program, told["do"])(told)), flush=True)
        nursery.cancel_scope.cancel()


def main(arguments: Sequence[str] | None = None) -> None:
    """The rows alone, over a network of their own."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.boards")
    parser.add_argument("--seen", type=some, default=SEEN, help="posts one after the other")
    parser.add_argument("--burst", type=some, default=BURST, help="posts at once")
    parser.add_argument("--reads", type=some, default=READS, help="readings once more")
    parser.add_argument("--meetings", type=some, default=MEETINGS, help="how often two meet")
    parser.add_argument("--serve", nargs=2, metavar=("NETWORK", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        trio.run(_serve, *options.serve)
        return
    times = Times(options.seen, options.burst, options.reads, options.meetings)
    with tempfile.TemporaryDirectory(prefix="onionshh-bench-") as folder:
        net = OnionNetwork(Path(folder), RELAYS)
        try:
            for row in measure(net, times):
                print(row.line(), flush=True)
        finally:
            net.stop()


if __name__ == "__main__":
    main()
