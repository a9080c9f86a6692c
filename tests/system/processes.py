"""Processes of `onionshh`, as people and scripts run them.

Whoever waits for one waits until it has said or done the thing, at most `PATIENCE_SECONDS`: a machine that is
busy with other work is slow, and not wrong.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

COMMAND = (sys.executable, "-m", "onionshh")
PATIENCE_SECONDS = 120.0


class Running:
    """One `onionshh` process and what it has said so far. `command`: another program; `network`: what it
    finds as its network file by the environment; `folder`: where it runs."""

    def __init__(
        self,
        *arguments: object,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        command: Sequence[str] = COMMAND,
        network: Path | None = None,
        folder: Path | None = None,
    ) -> None:
        self.arguments = [str(one) for one in arguments]
        environment = {name: value for name, value in os.environ.items() if name != "ONIONSHH_NETWORK"}
        self.process = subprocess.Popen(
            [*command, *self.arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=environment if network is None else {**environment, "ONIONSHH_NETWORK": str(network)},
            cwd=folder,
        )
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._said = threading.Condition()
        self._threads = [
            threading.Thread(target=self._read, args=pair, daemon=True)
            for pair in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
            if pair[0] is not None
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, stream: Any, lines: list[str]) -> None:
        for line in stream:
            with self._said:
                lines.append(line.decode().rstrip("\n"))
                self._said.notify_all()

    def until(self, wanted: Callable[[str], bool], *, after: int = 0, of: list[str] | None = None) -> str:
        """The first line (from number `after` on) that is wanted, of its stdout unless told otherwise."""
        lines = self.lines if of is None else of
        with self._said:
            found = self._said.wait_for(
                lambda: next((line for line in lines[after:] if wanted(line)), None), PATIENCE_SECONDS
            )
        assert found is not None, (self.arguments, self.lines, self.errors)
        return found

    def event(self, name: str, *, after: int = 0) -> dict[str, Any]:
        """The first such event of `host --json`."""
        line = self.until(lambda line: json.loads(line).get("event") == name, after=after)
        return cast(dict[str, Any], json.loads(line))

    def statistics(self, *, after: int = 0) -> dict[str, Any]:
        """What it answered to SIGUSR1."""
        line = self.until(lambda line: line.startswith("{") and '"kind"' in line, after=after)
        return cast(dict[str, Any], json.loads(line))

    def send(self, value: object) -> None:
        """An object as a line on its stdin."""
        self.type(json.dumps(value))

    def type(self, line: str) -> None:
        """A line on its stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def end(self, number: int = signal.SIGTERM) -> None:
        """End it as a person would; it must be clean and quick: what hangs ends itself, with status 1."""
        self.process.send_signal(number)
        assert self.wait() == 0, (self.arguments, self.errors)

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.wait()

    def wait(self) -> int:
        """Its exit status."""
        status = self.process.wait(PATIENCE_SECONDS)
        for thread in self._threads:
            thread.join()
        assert not any("Traceback" in line for line in self.errors), self.errors
        return status

    def destroy(self) -> None:
        """Whatever became of it, nothing of it is left."""
        self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@contextmanager
def running(
    *arguments: object, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.PIPE
) -> Iterator[Running]:
    """A process that is ended with the block, if it has not ended before."""
    process = Running(*arguments, stdin=stdin, stdout=stdout)
    try:
        yield process
        if process.process.poll() is None:
            process.end()
        else:
            process.wait()
    finally:
        process.destroy()


def until(true: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something that no line tells."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def heeds(process: Running, number: int) -> bool:
    """Whether the process has a handler for that signal by now."""
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)
