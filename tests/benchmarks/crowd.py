"""Many at once over a running network: a bulk circuit beside quiet ones, visitors beside visitors, and the
round trip that plain.py's stand beside."""

from __future__ import annotations

import statistics
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.benchmarks.measured import Measured, single
from tests.benchmarks.onion import OnionNetwork
from tests.benchmarks.plain import trip_rows
from tests.benchmarks.processes import Child
from tests.benchmarks.visitor import CROWD_TTL_SECONDS

TRIPS = 1_000
QUIET_CONTACTS = 63
QUIET_RATE = 115.0
QUIET_SECONDS = 10.0
BESIDE_BULK_MOST = 3.0
CROWDS = (1, 10, 100, 500)
"""Visitors at once, each a contact with circuits of its own."""
CROWD_SECONDS = 4.0
CROWD_PROCESSES = 2
_OPEN: dict[str, Any] = {"do": "open_up_to", "at_once": 8, "seconds": 40.0}
"""What each of the processes is asked; with the TTL below it bounds a run that goes wrong."""


def measure(net: OnionNetwork) -> list[Measured]:
    """Every row of this file; about a minute and a half."""
    trips = net.visitor.ask(do="round_trip", times=TRIPS)["seconds"]
    return [*trip_rows("onionshh, whisper and reply", trips), *_beside_bulk(net.visitor), *_crowd(net)]


def _beside_bulk(visitor: Child) -> list[Measured]:
    visitor.ask(do="open_many", contacts=QUIET_CONTACTS)
    asked = {"rate": QUIET_RATE, "seconds": QUIET_SECONDS}
    alone = visitor.ask(do="quiet", **asked)
    p99 = _p99_ms(alone["seconds"])
    lost = alone["sent"] - alone["delivered"]
    rows = [single("p99 of 63 quiet circuits, nothing beside them", "ms", p99)]
    for what, background in (("a bulk circuit", False), ("a background contact's bulk", True)):
        beside = visitor.ask(do="quiet_beside_bulk", background=background, **asked)
        lost += beside["sent"] - beside["delivered"]
        ratio = _p99_ms(beside["seconds"]) / p99
        rows += [
            single(f"beside {what}: p99 over p99 alone", "×", ratio, BESIDE_BULK_MOST),
            single(f"beside {what}: median", "ms", statistics.median(beside["seconds"]) * 1e3),
            single(f"beside {what}: its rate", "MB/s", beside["bulk_bytes"] / QUIET_SECONDS / 1e6),
        ]
    visitor.ask(do="close_many")
    return [*rows, single("whispers of quiet circuits that were lost", "", lost, 0)]


def _crowd(net: OnionNetwork) -> list[Measured]:
    visitors = [net.another_visitor(number) for number in range(CROWD_PROCESSES)]
    rate: dict[int, float] = {}
    median: dict[int, float] = {}
    p99: dict[int, float] = {}
    lost: dict[int, float] = {}
    why = ""
    for count in CROWDS:
        shares = [count // len(visitors) + (at < count % len(visitors)) for at in range(len(visitors))]
        opened = _all(visitors, [_OPEN | {"contacts": share} for share in shares])
        told = _all(visitors, [{"do": "crowd", "seconds": CROWD_SECONDS}] * len(visitors))
        trips = [one for part in told for one in part["seconds"]]
        rate[count] = sum(part["in_time"] for part in told) / CROWD_SECONDS
        if len(trips) > 1:
            median[count], p99[count] = statistics.median(trips) * 1e3, _p99_ms(trips)
        missing = count - sum(part["open"] for part in opened)
        unheard = sum(part["sent"] - part["delivered"] for part in told)
        lost[count] = missing + unheard
        if missing or unheard:
            why += f"{count}: {missing} not connected, {unheard} whispers lost in {CROWD_TTL_SECONDS:g} s. "
    for visitor in visitors:
        visitor.ask(do="close_many")
        visitor.stop()
    return [
        Measured("endpoint, by visitors at once: whispers of 256 B a second", "1/s", values=rate),
        Measured("endpoint, by visitors at once: whisper to receipt, median", "ms", values=median),
        Measured("endpoint, by visitors at once: whisper to receipt, p99", "ms", values=p99),
        Measured(
            "endpoint, by visitors at once: not connected, or lost",
            "",
            values=lost,
            bar="none",
            limits=dict.fromkeys(CROWDS, 0.0),
            why=why.strip(),
        ),
    ]


def _all(visitors: list[Child], questions: list[dict[str, Any]]) -> list[Any]:
    """Ask all at once."""
    with ThreadPoolExecutor(len(visitors)) as pool:
        return list(pool.map(lambda pair: pair[0].ask(**pair[1]), zip(visitors, questions, strict=True)))


def _p99_ms(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98] * 1e3
