"""Sessions: a resumed whisper and its reply against a new introduction, a whisper in one cell, many sessions
of one endpoint, and a transfer."""

from __future__ import annotations

import json
import resource
import sqlite3
import statistics
import subprocess
import sys
import time
from contextlib import closing
from typing import Any

from onionshh.client.session.store import SESSION_MIGRATIONS
from onionshh.core.session.document import from_document_untrusted, to_document
from onionshh.core.session.session import Session
from onionshh.core.session.table import SESSIONS_MOST, SessionTable
from tests.benchmarks.measured import Measured, single
from tests.benchmarks.onion import OnionNetwork
from tests.seeded import seeded

TIMES = 30
SLOWER_MOST = 1.2
"""How many times the time of an introduction a resumption may take."""
TRANSFER_BYTES = 1024 * 1024
LOOKUPS = 10_000


def measure(net: OnionNetwork) -> list[Measured]:
    """Every row of this file; about two and a half minutes."""
    new, resumed = (_again(net, session=session) for session in (False, True))
    alone, cells, cpu = _counted(net, do="alone", times=TIMES)
    one_cell = "whisper of 256 B in one cell"
    transfer = net.visitor.ask(do="transfer", bytes=TRANSFER_BYTES)
    return [
        single("whisper and reply by a new introduction, median", "ms", new["ms"]),
        single("whisper and reply by a resumption, median", "ms", resumed["ms"]),
        single("a resumption against an introduction: time", "×", resumed["ms"] / new["ms"], SLOWER_MOST),
        single("a resumption against an introduction: cells", "×", resumed["cells"] / new["cells"], 1.0),
        single("a resumption against an introduction: CPU of relays", "×", resumed["cpu"] / new["cpu"]),
        single(f"{one_cell}, to its receipt, median", "ms", _median_ms(alone["seconds"])),
        single(f"{one_cell}: cells of relays, against a resumption", "×", cells / resumed["cells"]),
        single(f"{one_cell}: CPU of relays, against a resumption", "×", cpu / resumed["cpu"]),
        *_many_sessions(),
        single("1 MiB by a transfer", "s", transfer["seconds"]),
    ]


def _again(net: OnionNetwork, *, session: bool) -> dict[str, float]:
    told, cells, cpu = _counted(net, do="again", times=TIMES, session=session)
    return {"ms": _median_ms(told["seconds"]), "cells": cells, "cpu": cpu}


def _counted(net: OnionNetwork, **asked: Any) -> tuple[Any, float, float]:
    """What the visitor says, then cells and CPU seconds of all relays each time. What relays do when nothing
    is asked of them is not in it, and neither is what keeps circuits ready."""
    idle_cells, idle_cpu = _over(net, lambda: time.sleep(asked["times"] / 4))
    told: list[Any] = []
    cells, cpu = _over(net, lambda: told.append(net.visitor.ask(**asked)))
    return told[0], max(1.0, cells - idle_cells) / asked["times"], max(1e-6, cpu - idle_cpu) / asked["times"]


def _over(net: OnionNetwork, run: Any) -> tuple[float, float]:
    cells, cpu = net.relay_cells_sent(), net.relay_cpu_seconds()
    run()
    return net.relay_cells_sent() - cells, net.relay_cpu_seconds() - cpu


def _median_ms(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1e3


def _many_sessions() -> list[Measured]:
    command = [sys.executable, "-m", "tests.benchmarks.sessions"]
    told: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return [
        single("1 024 sessions of one endpoint: memory", "MiB", told["mib"]),
        single("1 024 sessions of one endpoint: a tag looked up", "µs", told["lookup_us"]),
        single("1 024 sessions of one endpoint: read at a start", "s", told["start_seconds"]),
    ]


def _child() -> None:
    """In a process of its own: memory, look-ups and start of a full table."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SESSION_MIGRATIONS[0])
        for number in range(SESSIONS_MOST):
            root = seeded(number)(32)
            session = Session.started(root, introduced=False, period=20_000, wall=1_728_000_000)
            row = (session.session_id, to_document(session), number)
            connection.execute("INSERT INTO sessions VALUES (?, ?, ?)", row)
        before = _resident_mib()
        started = time.perf_counter()
        table = SessionTable()
        for (document,) in connection.execute("SELECT document FROM sessions"):
            table.add(from_document_untrusted(document))
        start_seconds = time.perf_counter() - started
        mib = _resident_mib() - before
    tags = [tag for session in table.sessions for tag, _ in session.chains.accept.tags()][:LOOKUPS]
    started = time.perf_counter()
    for tag in tags:
        table.find(tag)
    lookup = (time.perf_counter() - started) / len(tags)
    print(json.dumps({"mib": mib, "lookup_us": lookup * 1e6, "start_seconds": start_seconds}))


def _resident_mib() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


if __name__ == "__main__":
    _child()
