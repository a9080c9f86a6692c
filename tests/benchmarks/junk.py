"""What introductions that are junk do to an endpoint: to contacts with a session, to strangers who work, and
to its processor.

    python -m tests.benchmarks.junk
    python -m tests.benchmarks.junk --rates 0 100 --seconds 3 --known 5 --strangers 2      a short run

The network is one of its own, in which an introducer passes 25 introductions a second. Junk comes from one or
two processes, over circuits of one relay, which is the introducer: so it costs whoever sends it as little as
can be. It is as much as 10, 100 and 1 000 a second, and as much as the machine can make. What is late is not
made up for, and the rows say what was sent. All processes share one machine, so senders of junk, relays and
endpoint take each other's time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

import onionshh
from onionshh import geometry as g
from onionshh.client.context import Context
from onionshh.client.reach.finder import find
from onionshh.core.base.classes import TALK
from onionshh.core.circuit.purpose import PathKind, Purpose
from onionshh.core.endpoint.introduce import period_byte
from onionshh.core.paths.path import PathImpossible
from onionshh.crypto.identity import decode_address_untrusted
from onionshh.errors import NetworkUnreachable
from onionshh.ids import RelayId
from onionshh.net.circuits import CircuitFailed
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from tests.benchmarks.measured import Measured, some
from tests.benchmarks.onion import OnionNetwork
from tests.benchmarks.processes import Child
from tests.inside import inside

RATES: Final = (10, 100, 1_000)
AS_MANY: Final = 100_000
"""A rate that no machine reaches: as many as it can."""
ALL_RATES: Final = (0, *RATES, AS_MANY)
PARAMS: Final = ("introduce_rate=25", "introduce_burst=200", "resume_rate=100", "resume_burst=400")
RELAYS: Final = 6
FLOOD_SECONDS: Final = 12.0
"""Of junk, before anything is measured."""
KNOWN_TIMES: Final = 30
STRANGER_TIMES: Final = 8
AT_ONCE: Final = 64
KNOWN_P99_SECONDS: Final = 1.0
STRANGER_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Times:
    """How long junk comes before anything is measured, and how many of each are measured then."""

    flood_seconds: float = FLOOD_SECONDS
    known: int = KNOWN_TIMES
    strangers: int = STRANGER_TIMES


def measure(rates: Sequence[int] = ALL_RATES, times: Times | None = None) -> list[Measured]:
    """Every row of this file; about five minutes."""
    times = times or Times()
    found: dict[str, dict[int, float]] = {}
    with tempfile.TemporaryDirectory(prefix="onionshh-bench-") as folder:
        net = OnionNetwork(Path(folder), RELAYS, PARAMS)
        try:
            for rate in rates:
                figures = _at(net, rate, times)
                for name, value in figures.items():
                    found.setdefault(name, {})[max(1, round(figures["sent"]))] = value
        finally:
            net.stop()
    known, stranger = found["known p99"], found["stranger"]
    by = "under junk, by introductions a second (1: none)"
    return [
        Measured(f"{by}: a resumption, median", "ms", values=found["known"]),
        Measured(
            f"{by}: a resumption, p99",
            "ms",
            values=known,
            bar="≤ 1 s",
            limits=dict.fromkeys(known, KNOWN_P99_SECONDS * 1e3),
        ),
        Measured(
            f"{by}: a stranger gets in, slowest",
            "s",
            values=stranger,
            bar="≤ 60 s",
            limits=dict.fromkeys(stranger, STRANGER_SECONDS),
        ),
        Measured(f"{by}: CPU of the endpoint", "%", values=found["cpu"]),
    ]


def _at(net: OnionNetwork, rate: int, times: Times) -> dict[str, float]:
    """What is felt under so much junk a second."""
    senders = [_sender(net, rate, number) for number in range(2 if rate > RATES[0] else 1)] if rate else []
    try:
        for sender in senders:
            sender.ask(do="flood", rate=rate / len(senders), address=net.address)
        time.sleep(times.flood_seconds if rate else 1.0)
        began = time.monotonic()
        before = [sender.ask(do="sent") for sender in senders]
        cpu = net.endpoint.cpu_seconds()
        known = net.visitor.ask(do="again", times=times.known, session=True)["seconds"]
        stranger = net.visitor.ask(do="again", times=times.strangers, session=False)["seconds"]
        cpu = net.endpoint.cpu_seconds() - cpu
        after = [sender.ask(do="sent") for sender in senders]
        ended = time.monotonic()
    finally:
        for sender in senders:
            sender.stop()
    seconds = ended - began
    sent = sum(one["count"] for one in after) - sum(one["count"] for one in before)
    return {
        "sent": sent / seconds,
        "known": statistics.median(known) * 1e3,
        "known p99": sorted(known)[int(0.99 * len(known))] * 1e3,
        "stranger": max(stranger),
        "cpu": 100 * cpu / seconds,
    }


def _sender(net: OnionNetwork, rate: int, number: int) -> Child:
    name = f"junk-{rate}-{number}"
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.junk",
        "--serve",
        str(net.file),
        str(net.folder / name),
    ]
    return Child(command, log=net.folder / f"{name}.log", environment=net.environment)


class Sender:
    """One node that sends junk; every `do` of a line is a method."""

    def __init__(self, node: onionshh.Node, nursery: trio.Nursery) -> None:
        self._context: Context = inside(node)
        self._nursery = nursery
        self._count = 0

    async def flood(self, told: dict[str, Any]) -> dict[str, Any]:
        """Send so much a second from now on."""
        found = await find(self._context, decode_address_untrusted(told["address"]))
        entries = [
            (RelayId(entry.relay_id), entry.auth_key, period_byte(found.period))
            for entry in found.descriptor.introducers
        ]
        self._nursery.start_soon(self._flood, told["rate"], entries)
        return {}

    async def sent(self, told: dict[str, Any]) -> dict[str, Any]:
        """How much was sent so far."""
        return {"count": self._count}

    async def _flood(self, rate: float, entries: Sequence[tuple[RelayId, bytes, int]]) -> None:
        turns = trio.Semaphore(AT_ONCE)
        due, number = trio.current_time(), 0
        async with trio.open_nursery() as nursery:
            while True:
                await turns.acquire()
                # Each circuit carries the same junk twice. What is late is not made up for.
                due = max(due + 2 / rate, trio.current_time() - 0.1)
                await trio.sleep_until(due)
                nursery.start_soon(self._send, entries[number % len(entries)], turns)
                number += 1

    async def _send(self, entry: tuple[RelayId, bytes, int], turns: trio.Semaphore) -> None:
        relay, auth_key, period = entry
        try:
            kind = PathKind(1, TALK.number)
            circuit = await self._context.builder.build(Purpose.INTRODUCE, kind, last=relay)
            sealed = os.urandom(g.INTRODUCE_SEALED)
            body = m.Introduce(auth_key, m.INTRODUCE_NEW, period, bytes(g.POW), sealed).encode()
            circuit.accept(m.INTRODUCE_ACK)
            for _ in range(2):
                circuit.send(m.INTRODUCE1, body)
                await circuit.receive()
                self._count += 1
            circuit.close(Reason.FINISHED)
        except (CircuitFailed, NetworkUnreachable, PathImpossible):
            await trio.sleep(0.1)
        finally:
            turns.release()


async def _serve(network: str, folder: str) -> None:
    async with (
        onionshh.join(network, data_dir=folder, introduction_hops=0) as node,
        trio.open_nursery() as nursery,
    ):
        sender = Sender(node, nursery)
        lines = trio.wrap_file(sys.stdin)
        while line := await lines.readline():
            told = json.loads(line)
            print(json.dumps(await getattr(sender, told["do"])(told)), flush=True)
        nursery.cancel_scope.cancel()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.junk")
    parser.add_argument("--rates", type=int, nargs="+", default=ALL_RATES, help="of junk, a second; 0: none")
    parser.add_argument("--seconds", type=float, default=FLOOD_SECONDS, help="of junk before it is measured")
    parser.add_argument("--known", type=some, default=KNOWN_TIMES, help="resumptions that are measured")
    parser.add_argument("--strangers", type=some, default=STRANGER_TIMES, help="strangers who come in")
    parser.add_argument("--serve", nargs=2, metavar=("NETWORK", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        trio.run(_serve, *options.serve)
        return
    for row in measure(options.rates, Times(options.seconds, options.known, options.strangers)):
        print(row.line(), flush=True)


if __name__ == "__main__":
    main()
