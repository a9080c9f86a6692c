"""What grows: CPU and memory with the circuits of a relay, time and memory with the relays of a consensus.

Each measurement is a process of its own, so that none counts what another left behind.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.measured import Measured, in_python, single
from tests.benchmarks.processes import environment

CPU_RATIOS = {1_000: 1.6, 10_000: 1.8}
"""How many times the CPU of a cell at one circuit a cell may take at so many."""
ACTIVE_KIB, IDLE_KIB = 16.0, 4.0
TAKE_SECONDS, TAKE_MB, STALL_MS = 0.2, 20.0, 20.0


def measure() -> list[Measured]:
    """Every row of this file; about 10 seconds."""
    return [*in_python([_cpu(pure=False)], [_cpu(pure=True)]), *_memory(), *_consensus()]


def cpu_by_circuits(*, pure: bool) -> dict[int, float]:
    """Microseconds a forwarded cell takes at a switch, by its circuits."""
    return {int(count): value for count, value in _child("circuits", "cpu", pure=pure).items()}


def _cpu(*, pure: bool) -> Measured:
    told = cpu_by_circuits(pure=pure)
    first = told[min(told)]
    return Measured(
        "CPU per forwarded cell, by circuits on the relay",
        "µs",
        values=told,
        bar=", ".join(f"≤ {ratio:g} × the first at {count}" for count, ratio in CPU_RATIOS.items()),
        limits={count: ratio * first for count, ratio in CPU_RATIOS.items()},
    )


def _memory() -> list[Measured]:
    together, apart = _child("circuits", "active"), _child("circuits", "rested")
    return [
        single("relay memory per active circuit", "KiB", together["active"], ACTIVE_KIB),
        single("relay memory per idle circuit, each rested in its turn", "KiB", apart["rested"], IDLE_KIB),
        single("relay memory per idle circuit, 5 000 rested at once", "KiB", together["rested"], IDLE_KIB),
        single("next cell of a circuit that is awake", "µs", together["next_awake"]),
        single(
            "next cell after a rest, more than that", "µs", together["next_resting"] - together["next_awake"]
        ),
    ]


def _consensus() -> list[Measured]:
    with tempfile.TemporaryDirectory(prefix="onionshh-bench-") as folder:
        path = str(Path(folder) / "document")
        _child("many_relays", "make", path)
        taken, stalled = _child("many_relays", "take", path), _child("many_relays", "stall", path)
    return [
        single("5 700 consensus rows checked and indexed", "s", taken["seconds"], TAKE_SECONDS),
        single("5 700 consensus rows, memory they take", "MB", taken["kept_mb"], TAKE_MB),
        single("5 700 consensus rows, memory while they are checked", "MB", taken["peak_mb"], TAKE_MB),
        single("5 700 consensus rows, longest stall of a running node", "ms", stalled["stall_ms"], STALL_MS),
        single("longest stall of a node that does nothing", "ms", stalled["alone_ms"]),
    ]


def _child(module: str, *arguments: str, pure: bool = False) -> dict[str, Any]:
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments]
    beside = {**os.environ, **environment(pure=pure)}
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=beside).stdout
    told: dict[str, Any] = json.loads(output)
    return told
