"""A relay that keeps mailboxes: deposits and lists a second, what they do to the cells that it forwards, and
what an item takes on disk.

    python -m tests.benchmarks.mailboxes
    python -m tests.benchmarks.mailboxes --fast 80 --paced 40 --heads 80 --seconds 2      a short run

runs these rows alone, over a network of its own, and prints them. In the run of all benchmarks they go over
the network that is there. Deposits and lists are real: over circuits, with proofs of work that were found
before, synced to disk. All processes share one machine, so what a deposit costs the other relays of its
circuit, and whoever deposits, is in the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import trio

import onionshh
from onionshh.core.circuit.purpose import Purpose
from onionshh.crypto.identity import SigningKey
from onionshh.geometry import MAILBOX_VALUE
from onionshh.net.circuits import Circuit
from onionshh.wire import mailbox as w
from onionshh.wire import messages as m
from onionshh.wire.consensus import RelayRow
from tests.benchmarks.measured import Measured, single, some
from tests.benchmarks.onion import OnionNetwork
from tests.benchmarks.processes import Child
from tests.inside import inside
from tests.rendezvous.mailbox_client import ask, circuit_to, deposit
from tests.seeded import seeded

FAST_ITEMS = 1_600
"""As fast as they go."""
PACED_ITEMS = 400
PACE = 50
"""A second, while something else goes through the relay."""
EMPTY = 1 << 16
"""A mailbox in which nothing lies."""
EACH = 100
"""Items of one mailbox, few enough that its price does not rise."""
EFFORT = 24
SECONDS = 3600
CIRCUITS = 8
AT_ONCE = 8
"""Deposits under way on one circuit."""
HEADS = 1_000
TRIP_SECONDS = 8.0
PAUSE_SECONDS = 0.02
SEARCHES = 60
RELAYS = 7


@dataclass(frozen=True, slots=True)
class Times:
    """How many of each are measured."""

    fast: int = FAST_ITEMS
    paced: int = PACED_ITEMS
    heads: int = HEADS
    trip_seconds: float = TRIP_SECONDS

    @property
    def items(self) -> int:
        """All that are deposited."""
        return self.fast + self.paced


def measure(net: OnionNetwork, times: Times | None = None) -> list[Measured]:
    """Every row of this file; about a minute and a half."""
    times = times or Times()
    mail, beside = (_program(net, name) for name in ("mail", "trips"))
    try:
        keeper = mail.ask(do="keeper")
        relay = net.relays[int(keeper["nickname"].removeprefix("relay"))]
        folder = net.folder / keeper["nickname"]
        beside.ask(do="through", keeper=keeper["identity"])
        mail.ask(do="prepare", items=times.items)
        alone = [ms for _, ms in beside.ask(do="trips", seconds=times.trip_seconds)["trips"]]
        cpu = relay.cpu_seconds()
        fast = mail.ask(do="deposits", items=times.fast, pause=0.0)
        cpu = relay.cpu_seconds() - cpu
        with ThreadPoolExecutor(1) as pool:
            trips = pool.submit(beside.ask, do="trips", seconds=times.trip_seconds)
            paced = mail.ask(do="deposits", items=times.paced, pause=CIRCUITS / PACE)
            during = [ms for at, ms in trips.result()["trips"] if paced["from"] <= at <= paced["until"]]
        on_disk = _pages_bytes(folder / "mailboxes.db")
        values, heads = mail.ask(do="values", items=times.items), mail.ask(do="heads", times=times.heads)
    finally:
        for child in (mail, beside):
            child.stop()
    beside_them = f"beside {PACE} deposits a second"
    return [
        single("mailboxes: deposits a second, synced", "1/s", times.fast / (fast["until"] - fast["from"])),
        single("mailboxes: CPU of the relay for a deposit", "ms", cpu / times.fast * 1e3),
        single("mailboxes: values read a second", "1/s", values["items"] / values["seconds"]),
        single("mailboxes: lists of 100 heads a second", "1/s", times.heads / heads["seconds"]),
        single("mailboxes: an item on disk", "B", on_disk / times.items),
        single("through that relay and back, alone: median", "ms", statistics.median(alone)),
        single("through that relay and back, alone: p99", "ms", _p99(alone)),
        single(f"through that relay and back, {beside_them}: median", "ms", statistics.median(during)),
        single(f"through that relay and back, {beside_them}: p99", "ms", _p99(during)),
    ]


def _pages_bytes(file: Path) -> int:
    """The size of the database, with what its log holds. The log itself has up to 4 MiB more."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    return int(pages) * int(page_bytes)


def _p99(milliseconds: Sequence[float]) -> float:
    return sorted(milliseconds)[int(0.99 * len(milliseconds))]


def _program(net: OnionNetwork, name: str) -> Child:
    command = [sys.executable, "-m", "tests.benchmarks.mailboxes", "--serve"]
    command += [str(net.file), str(net.folder / name)]
    return Child(command, log=net.folder / f"{name}.log", environment=net.environment)


class Mail:
    """One node that leaves and lists; every `do` of a line is a method."""

    def __init__(self, node: onionshh.Node) -> None:
        self._context = inside(node)
        self._keeper: RelayRow = self._context.view.relays[0]
        self._period = self._context.view.period
        self._puts: list[w.Put] = []
        self._through: Circuit | None = None

    async def keeper(self, told: dict[str, Any]) -> dict[str, Any]:
        """Which relay keeps what is left."""
        return {"nickname": self._keeper.nickname, "identity": self._keeper.identity.hex()}

    async def prepare(self, told: dict[str, Any]) -> dict[str, Any]:
        """Find the proofs of work."""
        for number in range(told["items"]):
            value = os.urandom(MAILBOX_VALUE)
            expires = int(time.time()) + SECONDS
            box = self._box(number // EACH)
            self._puts.append(deposit(self._context, box, value, effort=EFFORT, expires=expires))
        return {}

    async def deposits(self, told: dict[str, Any]) -> dict[str, Any]:
        """Leave some, several at a time on each of several circuits; with a `pause` one after the other."""
        circuits = [await circuit_to(self._context, self._keeper) for _ in range(CIRCUITS)]
        leaving, self._puts = self._puts[: told["items"]], self._puts[told["items"] :]
        most = 1 if told["pause"] else AT_ONCE

        async def leave(circuit: Circuit, puts: list[w.Put]) -> None:
            under_way = 0
            while puts or under_way:
                while puts and under_way < most:
                    circuit.send(m.PUT, puts.pop().encode())
                    under_way += 1
                answer = w.Kept.decode_untrusted((await circuit.receive()).body)
                if answer.status != w.STORED:
                    raise ValueError(f"a deposit was answered {answer}")
                under_way -= 1
                await trio.sleep(told["pause"])

        began = time.time()
        async with trio.open_nursery() as nursery:
            for number, circuit in enumerate(circuits):
                nursery.start_soon(leave, circuit, leaving[number::CIRCUITS])
        ended = time.time()
        for circuit in circuits:
            circuit.close()
        return {"from": began, "until": ended}

    async def values(self, told: dict[str, Any]) -> dict[str, Any]:
        """Read every value, three at a time, over several circuits at once."""
        read = 0

        async def read_all(circuit: Circuit, numbers: Sequence[int]) -> None:
            nonlocal read
            for number in numbers:
                after = 0
                while (page := await self._ask(circuit, number, w.VALUES, after)).items:
                    read += len(page.items)
                    after = page.next

        boxes = range(-(-told["items"] // EACH))
        circuits = [await circuit_to(self._context, self._keeper) for _ in range(CIRCUITS)]
        started = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for number, circuit in enumerate(circuits):
                nursery.start_soon(read_all, circuit, boxes[number::CIRCUITS])
        return {"seconds": time.perf_counter() - started, "items": read}

    async def heads(self, told: dict[str, Any]) -> dict[str, Any]:
        """Lists of 100 heads, over several circuits at once."""
        circuits = [await circuit_to(self._context, self._keeper) for _ in range(CIRCUITS)]

        async def list_some(circuit: Circuit) -> None:
            for _ in range(told["times"] // CIRCUITS):
                await self._ask(circuit, 0, w.HEADS, 0)

        started = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for circuit in circuits:
                nursery.start_soon(list_some, circuit)
        return {"seconds": time.perf_counter() - started}

    async def through(self, told: dict[str, Any]) -> dict[str, Any]:
        """A circuit that passes the keeper and ends elsewhere."""
        keeper = bytes.fromhex(told["keeper"])
        last = self._context.view.relays[-1]
        for _ in range(SEARCHES):
            circuit = await self._context.builder.build(Purpose.INTRODUCE, last=last.identity)
            if any(row.identity == keeper for row in circuit.path):
                circuit.accept(m.ITEMS)
                self._through = circuit
                return {}
            circuit.close()
        raise LookupError("no circuit passes that relay")

    async def trips(self, told: dict[str, Any]) -> dict[str, Any]:
        """From a question to the last relay of that circuit to its answer, again and again: when it began,
        and milliseconds."""
        circuit, box, trips = self._through, self._box(EMPTY), list[tuple[float, float]]()
        if circuit is None:
            raise LookupError("no circuit")
        end = time.perf_counter() + told["seconds"]
        while (started := time.perf_counter()) < end:
            began = time.time()
            await ask(circuit, circuit.path[-1], box, _owner(EMPTY))
            trips.append((began, (time.perf_counter() - started) * 1e3))
            await trio.sleep(PAUSE_SECONDS)
        return {"trips": trips}

    async def _ask(self, circuit: Circuit, number: int, mode: int, after: int) -> w.Items:
        box, owner = self._box(number), _owner(number)
        return await ask(circuit, self._keeper, box, owner, mode=mode, after=after)

    def _box(self, number: int) -> w.Mailbox:
        return w.Mailbox(w.BOARD, _owner(number).public, self._period)


@lru_cache
def _owner(number: int) -> SigningKey:
    return SigningKey.generate(seeded(100 + number))


async def _serve(network: str, folder: str) -> None:
    """Do what each line says until standard input ends."""
    async with onionshh.join(network, data_dir=folder) as node:
        mail = Mail(node)
        lines = trio.wrap_file(sys.stdin)
        while line := await lines.readline():
            told = json.loads(line)
            print(json.dumps(await getattr(mail, told["do"])(told)), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """The rows alone, over a network of their own."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.mailboxes")
    parser.add_argument("--fast", type=some, default=FAST_ITEMS, help="deposits as fast as they go")
    parser.add_argument("--paced", type=some, default=PACED_ITEMS, help=f"deposits at {PACE} a second")
    parser.add_argument("--heads", type=some, default=HEADS, help="lists of heads")
    parser.add_argument("--seconds", type=float, default=TRIP_SECONDS, help="of what passes through")
    parser.add_argument("--serve", nargs=2, metavar=("NETWORK", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        trio.run(_serve, *options.serve)
        return
    times = Times(options.fast, options.paced, options.heads, options.seconds)
    with tempfile.TemporaryDirectory(prefix="onionshh-bench-") as folder:
        net = OnionNetwork(Path(folder), RELAYS)
        try:
            for row in measure(net, times):
                print(row.line())
        finally:
            net.stop()


if __name__ == "__main__":
    main()
