"""An hour of a whole network, as its operators and its users have it.

    python -m tests.benchmarks.hour --minutes 60

A directory, relays and hosts run as processes of the command line, each with --metrics, and visitors whisper
to the hosts all the time. Relays leave and are killed and come back, hosts and the directory too. Each
program's numbers are read every few seconds, and by a Prometheus where that is installed. At the end: which
whispers were lost or came twice, what was wrong in the numbers, which lines tell more than they may, how
memory grew, and how often each kind of line was said. With DIR all of it stays there, the lines of each
program in a file.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.hour.churn import Churn
from tests.benchmarks.hour.lines import blamed, kinds
from tests.benchmarks.hour.programs import PATIENCE_SECONDS, World
from tests.benchmarks.hour.prometheus import Prometheus
from tests.benchmarks.hour.scrapes import Scrapes

LOOK_SECONDS: Final = 0.5
SETTLE_SECONDS: Final = 60.0
"""At the end all programs are there, and what waits is delivered."""
LAST_SECONDS: Final = 400.0
"""For the visitors' last whispers: more than their TTL."""


def main() -> int:
    """Run it and tell. 1 if a whisper was lost or anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.hour")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--relays", type=int, default=12)
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--visitors", type=int, default=2)
    parser.add_argument("--log-level", default="debug")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, default=None, metavar="DIR")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="onionshh-hour-") as temporary:
        folder: Path = options.data or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        world = World(folder, options.relays, options.hosts, options.visitors, options.log_level)
        try:
            world.start()
            with Prometheus(folder, [program.metrics for program in world.served]) as prometheus:
                return _run(world, prometheus, options.minutes * 60, options.seed)
        finally:
            world.kill()


def _run(world: World, prometheus: Prometheus, seconds: float, seed: int) -> int:
    print(f"all there; {seconds / 60:.0f} minutes begin", flush=True)
    scrapes, churn = Scrapes(world), Churn(world, seed)
    end, looked = time.monotonic() + seconds, 0.0
    while (now := time.monotonic()) < end:
        churn.look()
        if now - looked > PATIENCE_SECONDS / 2:
            looked = now
            for program in world.all:
                if program.runs:
                    program.look()
        time.sleep(LOOK_SECONDS)
    churn.all_back()
    time.sleep(SETTLE_SECONDS)
    for program in world.all:
        program.look()
    for visitor in world.visitors:
        visitor.notify(signal.SIGTERM)
    last = time.monotonic() + LAST_SECONDS
    while any(visitor.runs for visitor in world.visitors) and time.monotonic() < last:
        time.sleep(LOOK_SECONDS)
    scrapes.stop()
    answers = prometheus.answers()
    for program in world.all:
        if program.runs:
            program.end()
    return _tell(world, scrapes, churn, answers)


def _tell(world: World, scrapes: Scrapes, churn: Churn, answers: dict[str, str]) -> int:
    faults = [
        *(f"{program.name}: {wrong}" for program in world.all for wrong in program.ended_wrongly),
        *(f"{what}, {times} times" for what, times in scrapes.wrong.items()),
        *_whispers(world),
    ]
    told = [line for program in world.all if program not in world.visitors for line in blamed(program)]
    print("\nwhat happened:", *(f"  {times} × {what}" for what, times in churn.happened.items()), sep="\n")
    _numbers(scrapes)
    print("\nPrometheus says:", *(f"  {what}: {value}" for what, value in answers.items()), sep="\n")
    print("\nmemory, MiB, first, last and most:")
    for program in world.all:
        seen = [kib / 1024 for kib in program.memory_kib]
        print(f"  {program.name:10} {seen[0]:7.1f} {seen[-1]:7.1f} {max(seen):7.1f}")
    print("\nkinds of lines, info and above first:")
    for line, times in kinds(program for program in world.all if program not in world.visitors):
        print(f"  {times:6} {line}")
    print(f"\nlines that tell more than they may: {len(told)}", *told[:50], sep="\n  ")
    print(f"\nfaults: {len(faults)}", *faults, sep="\n  ")
    return 1 if faults or told else 0


def _numbers(scrapes: Scrapes) -> None:
    if scrapes.seconds:
        ordered = sorted(scrapes.seconds)
        p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
        print(
            f"\nscrapes: {len(ordered)}, and {scrapes.down} while a program was away; median"
            f" {statistics.median(ordered) * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms, at most"
            f" {ordered[-1] * 1e3:.0f} ms; {max(scrapes.bytes)} bytes at most"
        )


def _whispers(world: World) -> list[str]:
    """What became of each whisper; what is lost or came twice."""
    ended, answered = Counter[str](), 0
    seconds: list[float] = []
    delivered: set[str] = set()
    for line in (line for visitor in world.visitors for line in visitor.said()):
        told = _object(line)
        if "status" in told:
            ended[told["status"]] += 1
            answered += told["answered"]
            seconds.append(told["seconds"])
            if told["status"] == "delivered":
                delivered.add(told["body"])
    shown = Counter(
        told["body"]
        for host in world.hosts
        for told in map(_object, host.said())
        if told.get("event") == "whisper"
    )
    ordered = sorted(seconds) or [0.0]
    print(
        f"\nwhispers: {dict(ended)}, {answered} answered; until the answer: median"
        f" {statistics.median(ordered):.3f} s, p99 {ordered[len(ordered) * 99 // 100]:.1f} s, at most"
        f" {ordered[-1]:.1f} s"
    )
    lost = sum(times for status, times in ended.items() if status != "delivered")
    wrong = [f"{lost} whispers were not delivered"] if lost else []
    wrong += [f"{body} was delivered and never shown" for body in sorted(delivered - set(shown))]
    wrong += [f"{body} was shown {times} times" for body, times in shown.items() if times > 1]
    return wrong + [line for visitor in world.visitors for line in visitor.said() if not _object(line)]


def _object(line: str) -> dict[str, Any]:
    if not line.startswith("{"):
        return {}
    found: dict[str, Any] = json.loads(line)
    return found


if __name__ == "__main__":
    sys.exit(main())
