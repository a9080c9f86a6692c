"""The programs of the hour: a directory, relays, hosts and visitors, each with a file of all that it said.

Each kind has addresses of its own on the loopback. So a line or a number that tells of a visitor or a host is
known by its address.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.benchmarks.processes import memory_kib

ONIONSHH: Final = (sys.executable, "-m", "onionshh")
VISITOR: Final = (sys.executable, "-m", "tests.benchmarks.hour.visitor")
RELAYS_AT: Final = "127.0.31."
HOSTS_AT: Final = "127.0.32."
VISITORS_AT: Final = "127.0.33."
DIRECTORY_AT: Final = "127.0.34.1"
PATIENCE_SECONDS: Final = 120.0


class Program:
    """One program that can be ended and started again. `metrics`: where its numbers are, "" for none."""

    def __init__(self, name: str, command: Sequence[object], log: Path, metrics: str = "") -> None:
        self.name = name
        self.metrics = metrics
        self.log = log
        self.started_at = 0.0
        self.leaving = False
        self.memory_kib: list[int] = []
        self.ended_wrongly: list[str] = []
        self._command = [str(one) for one in command]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it, once more if it has run before. What it says is added to its file."""
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        self.started_at, self.leaving = time.monotonic(), False

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def notify(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it by this signal and wait. Another status than it should have is kept."""
        if self._process is None:
            return
        self.leaving = True
        self._process.send_signal(number)
        try:
            status = self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
            self.ended_wrongly.append(f"did not end within {PATIENCE_SECONDS:.0f} s of {number.name}")
        if status != (-signal.SIGKILL if number == signal.SIGKILL else 0):
            self.ended_wrongly.append(f"status {status} after {number.name}")

    def look(self) -> None:
        """Note its memory, and whether it ended by itself."""
        if self._process is None:
            return
        if self._process.poll() is not None:
            self.ended_wrongly.append(f"ended by itself with status {self._process.returncode}")
            return
        self.memory_kib.append(memory_kib(self._process.pid))

    def said(self) -> list[str]:
        """Every line so far."""
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()

    def until(self, wanted: str) -> str:
        """The first line with these characters in it."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            for line in self.said() if self.log.exists() else ():
                if wanted in line:
                    return line
            time.sleep(0.1)
        raise TimeoutError(f"{self.name} did not say {wanted!r}; see {self.log}")


class World:
    """Everything that runs, in one folder."""

    def __init__(self, folder: Path, relays: int, hosts: int, visitors: int, level: str) -> None:
        self.folder = folder
        self._file = folder / "net.toml"
        self._says = ("--log-format", "text", "--log-level", level)
        self.directory = self._program("directory", DIRECTORY_AT)
        self.relays = [self._program(f"relay{n}", f"{RELAYS_AT}{n}") for n in range(1, relays + 1)]
        self.hosts = [self._program(f"host{n}", f"{HOSTS_AT}{n}") for n in range(1, hosts + 1)]
        self.visitors: list[Program] = []
        self.addresses: list[str] = []
        self._visitors = visitors

    def start(self) -> None:
        """All of it, each when what it needs is there."""
        self.directory.start()
        self.directory.until("relays listed")
        for relay in self.relays:
            relay.start()
        for relay in self.relays:
            relay.until(" listed")
        for host in self.hosts:
            host.start()
        for host in self.hosts:
            host.until('"reachable"')
            self.addresses.append(host.until('"address"').rpartition('"address": "')[2].partition('"')[0])
        for number in range(1, self._visitors + 1):
            at, name = f"{VISITORS_AT}{number}", f"visitor{number}"
            command = (*VISITOR, self._file, self.folder / name, at, *self.addresses)
            self.visitors.append(Program(name, command, self.folder / f"{name}.log"))
            self.visitors[-1].start()

    @property
    def served(self) -> list[Program]:
        """Those that serve numbers."""
        return [self.directory, *self.relays, *self.hosts]

    @property
    def all(self) -> list[Program]:
        """Everything, in the order in which it may be ended."""
        return [*self.visitors, *self.hosts, *self.relays, self.directory]

    def kill(self) -> None:
        """Whatever came before, nothing of it is left."""
        for program in self.all:
            if program.runs:
                program.end(signal.SIGKILL)

    def _program(self, name: str, at: str) -> Program:
        kind = name.rstrip("0123456789")
        metrics = f"{at}:{free_port(at)}"
        own = {
            "directory": ("--listen", f"{at}:{free_port(at)}", "--interval", 60),
            "relay": ("--listen", f"{at}:{free_port(at)}", "--bind", at, "--nickname", name, *_DRAIN),
            "host": ("--bind", at, "--echo", "--json"),
        }[kind]
        data = ("--data", self.folder / name)
        command = (*ONIONSHH, kind, "--network", self._file, *data, *own, "--metrics", metrics, *self._says)
        return Program(name, command, self.folder / f"{name}.log", f"http://{metrics}/metrics")


_DRAIN = ("--drain-seconds", 10)


def free_port(at: str) -> int:
    """A port of this address that nobody uses now."""
    with socket.socket() as free:
        free.bind((at, 0))
        port: int = free.getsockname()[1]
        return port
