"""Child processes, and what the kernel says of them: CPU time, memory."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")
REPLY_SECONDS = 120.0


class Child:
    """A process whose standard output is read line by line; ended by its id alone."""

    def __init__(
        self, command: list[str], *, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._log = log.open("wb")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **(environment or {})},
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def line(self, seconds: float = REPLY_SECONDS) -> str:
        """The next line it prints. TimeoutError."""
        try:
            return self._lines.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(f"nothing came; see {self._log.name}") from None

    def wait_for(self, pattern: str, seconds: float = REPLY_SECONDS) -> re.Match[str]:
        """The first line in which the pattern is found."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.line(max(0.1, end - time.monotonic())))
            if found:
                return found

    def statistics(self) -> dict[str, Any]:
        """What it answers to SIGUSR1, sent before."""
        found: dict[str, Any] = json.loads(self.wait_for(r'^\{.*"kind": .*\}$').group())
        return found

    def ask(self, **question: Any) -> Any:
        """Write one JSON object to its standard input and return the JSON of its next line."""
        if self._process.stdin is None:
            raise ValueError("no standard input")
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self.line())

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def cpu_seconds(self) -> float:
        """User and system time so far, to 10 ms."""
        return cpu_seconds(self.pid)

    def memory_kib(self) -> int:
        """Resident memory now."""
        return memory_kib(self.pid)

    def stop(self) -> None:
        """Ask it to end, and end it if it does not."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(6)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _read(self) -> None:
        if self._process.stdout is not None:
            for line in self._process.stdout:
                self._lines.put(line.decode(errors="replace").rstrip("\n"))


def environment(*, pure: bool) -> dict[str, str]:
    """What a process of ours finds besides what is here: which cipher to take, and leave to keep compiled
    modules, as an installed program does. Without, each start compiles all of them and keeps that memory."""
    return {"ONIONSHH_PURE": "1" if pure else "", "PYTHONDONTWRITEBYTECODE": ""}


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_kib(pid: int) -> int:
    """Resident memory of a process, KiB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found.group(1)) if found else 0
