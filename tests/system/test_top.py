"""`onionshh status` and `onionshh top` with programs that run, and `top` on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from onionshh.net.local_socket import NAME
from tests.system.processes import COMMAND, PATIENCE_SECONDS, Running


class OnTerminal:
    """A command on a terminal of its own, and all that it has drawn."""

    def __init__(self, *arguments: object) -> None:
        self._ours, theirs = pty.openpty()
        self.size(80, 24)
        before = termios.tcgetattr(theirs)
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color", "PYTHONUTF8": "1"},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            start_new_session=True,
        )
        self._theirs, self._before = theirs, before
        self._drawn, self._came = bytearray(), threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._ours, 4096)
            except OSError:
                return
            with self._came:
                self._drawn += part
                self._came.notify_all()

    def size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def until(self, text: bytes, after: int = 0) -> int:
        """Wait until this is drawn; how much is drawn then."""
        with self._came:
            assert self._came.wait_for(lambda: text in self._drawn[after:], PATIENCE_SECONDS), self._drawn
            return len(self._drawn)

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def ended(self) -> bytes:
        """It has ended well, and the terminal is as it was; all that was drawn."""
        assert self.process.wait(PATIENCE_SECONDS) == 0, self._drawn
        after = termios.tcgetattr(self._theirs)
        assert after == self._before
        self.until(b"\x1b[?1049l")
        assert b"Traceback" not in self._drawn
        assert b"\x1b[?25h" in self._drawn[self._drawn.rindex(b"\x1b[?25l") :]
        return bytes(self._drawn)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._theirs)
        os.close(self._ours)
        self._thread.join()


def directory(folder: Path) -> Running:
    where = ("--data", folder / "dir", "--network", folder / "net.toml")
    return Running("directory", "--listen", "127.0.0.1:0", *where)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A directory that answers."""
    process = directory(tmp_path)
    try:
        process.until(lambda line: "relays listed" in line)
        yield process
    finally:
        process.destroy()


def status(folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [*COMMAND, "status", "--data", str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    return done.returncode, done.stdout, done.stderr


def test_status_of_a_directory_that_runs_hangs_was_killed_and_runs_again(
    running: Running, tmp_path: Path
) -> None:
    folder = tmp_path / "dir"
    code, said, _ = status(folder)
    assert (code, said.splitlines()[0]) == (0, "All is well: this directory publishes in time.")
    code, said, _ = status(folder, "--json")
    assert (code, json.loads(said)["kind"]) == (0, "directory")
    assert (folder / NAME).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    running.process.send_signal(signal.SIGSTOP)
    code, _, why = status(folder)
    assert code == 1
    assert "does not answer within 5 s" in why
    running.process.send_signal(signal.SIGCONT)
    running.kill()
    assert (folder / NAME).exists()
    assert status(folder)[0] == 2
    again = directory(tmp_path)
    try:
        again.until(lambda line: "relays listed" in line)
        assert status(folder)[0] == 0
        other = directory(tmp_path)  # it may not have the folder, and takes nothing from who has it
        try:
            assert other.wait() == 1
        finally:
            other.destroy()
        assert status(folder)[0] == 0
        again.end()
    finally:
        again.destroy()
    assert not (folder / NAME).exists()
    assert status(folder)[0] == 2


@pytest.mark.parametrize("way", ["q", "ctrl-c", "SIGTERM", "SIGHUP"])
def test_top_draws_follows_the_size_and_ends_cleanly(running: Running, tmp_path: Path, way: str) -> None:
    top = OnTerminal("top", "--data", tmp_path / "dir", "--interval", "0.3")
    try:
        drawn = top.until(b"per second")
        drawn = top.until(b"requests answered", drawn)
        top.size(30, 8)
        top.until(b"directory, onionshh 0.1.0, up", drawn)
        if way == "q":
            top.type(b"xq")
        elif way == "ctrl-c":
            top.type(b"\x03")
        else:
            top.process.send_signal(getattr(signal, way))
        top.ended()
    finally:
        top.close()


def test_top_says_when_the_program_has_ended(running: Running, tmp_path: Path) -> None:
    top = OnTerminal("top", "--data", tmp_path / "dir", "--interval", "0.3")
    try:
        top.until(b"per second")
        time.sleep(0.5)
        running.end()
        assert top.ended().endswith(b"onionshh: The directory has ended.\r\n")
    finally:
        top.close()
