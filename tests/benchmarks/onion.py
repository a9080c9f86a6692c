"""The same network of ours: authority and relays started by the command line, an endpoint, a visitor."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.processes import Child, environment

LISTED_SECONDS = 60.0
_ONIONSHH = [sys.executable, "-m", "onionshh"]


class OnionNetwork:
    """Every part a process of its own. `visitor.ask(do=…)` drives what is measured. `params`: consensus
    parameters, each NAME=VALUE. `pure`: with the cipher in Python."""

    def __init__(self, folder: Path, relays: int, params: Sequence[str] = (), *, pure: bool = False) -> None:
        self.folder = folder
        self.environment = environment(pure=pure)
        self.file = folder / "network.toml"
        self._children: list[Child] = []
        self._start(
            "directory",
            "--listen",
            "127.0.0.1:0",
            "--data",
            str(folder / "directory"),
            "--network",
            str(self.file),
            *(f"--param={param}" for param in params),
        )
        end = time.monotonic() + LISTED_SECONDS
        while not self.file.exists() and time.monotonic() < end:
            time.sleep(0.05)
        self.relays = [self.start_relay(number) for number in range(relays)]
        for relay in self.relays:
            relay.wait_for(r"\blisted$", LISTED_SECONDS)
        self.endpoint = self._program("endpoint")
        self.address = self.endpoint.ask(do="address")["address"]
        self.visitor = self._program("visitor")
        self.visitor.ask(do="address", address=self.address)

    def start_relay(self, number: int) -> Child:
        """One relay, started by the command line."""
        return self._start(
            "relay", "--network", str(self.file), "--listen", "127.0.0.1:0",
            "--data", str(self.folder / f"relay{number}"), "--nickname", f"relay{number}",
        )  # fmt: skip

    def another_visitor(self, number: int) -> Child:
        """One more visitor process, with guards and a folder of its own; whoever asks for it stops it."""
        visitor = self._program("visitor", str(number))
        visitor.ask(do="address", address=self.address)
        return visitor

    def relay_cpu_seconds(self) -> float:
        """CPU of all relays so far."""
        return sum(relay.cpu_seconds() for relay in self.relays)

    def relay_cells_sent(self) -> float:
        """Cells the relays sent so far, by their own count."""
        for relay in self.relays:
            relay.signal(signal.SIGUSR1)
        return float(sum(relay.statistics()["links"]["cells_sent"] for relay in self.relays))

    def memory_kib(self) -> dict[str, int]:
        """Resident memory of a relay (median), the endpoint and the visitor."""
        relays = sorted(relay.memory_kib() for relay in self.relays)
        return {
            "relay": relays[len(relays) // 2],
            "endpoint": self.endpoint.memory_kib(),
            "visitor": self.visitor.memory_kib(),
        }

    def help_seconds(self) -> float:
        """How long `onionshh --help` takes, the median of five."""
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            subprocess.run(
                [*_ONIONSHH, "--help"],
                check=True,
                stdout=subprocess.DEVNULL,
                env={**os.environ, **self.environment},
            )
            seconds.append(time.perf_counter() - started)
        return statistics.median(seconds)

    def stop(self) -> None:
        """End every process that was started here."""
        for child in reversed(self._children):
            child.stop()

    def _start(self, *arguments: str) -> Child:
        log = self.folder / f"{arguments[0]}{len(self._children)}.log"
        child = Child([*_ONIONSHH, *arguments], log=log, environment=self.environment)
        self._children.append(child)
        return child

    def _program(self, module: str, suffix: str = "") -> Child:
        name = module + suffix
        command = [
            sys.executable, "-m", f"tests.benchmarks.{module}", str(self.file), str(self.folder / name)
        ]  # fmt: skip
        child = Child(command, log=self.folder / f"{name}.log", environment=self.environment)
        self._children.append(child)
        return child
