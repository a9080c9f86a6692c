"""Lines out and in, without ever holding up the node.

Writing and reading block in threads, directly on the descriptors. Python's own buffers have a lock: an
abandoned thread would hold it, and the buffers could not be flushed at the end.

A failed write never ends the program. The system may not take a line now, since a disk is full or nobody
reads any more. It is then tried again until it is taken, each line whole and in its order.
"""

from __future__ import annotations

import base64
import json
import os
import select
import sys
from collections import deque
from typing import Final

import trio

from onionshh.cli.remarks import Trouble, why_refused
from onionshh.cli.talk import counted

STDIN, STDOUT = 0, 1
LINE_BYTES = 512 * 1024
"""A reply of 65 535 bytes, each of which JSON may write as six."""
SAID_MOST = 1024 * 1024
"""Bytes of lines that wait to be written while nobody waits for them."""
REWRITE_SECONDS = 0.5
REWRITE_MOST_SECONDS = 10.0
_READ_BYTES = 65536

TOO_LONG: Final = object()


def as_text(name: str, body: bytes) -> dict[str, str]:
    """`{name: text}`, or `{name_base64: …}` for what is not UTF-8."""
    try:
        return {name: body.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(body).decode()}


def as_json(value: dict[str, object]) -> bytes:
    """One object as a line."""
    return (json.dumps(value) + "\n").encode()


class Output:
    """Lines on stdout in their order, written by `run`. `gives_up`: for a command that only lists: `run`
    raises the OSError when stdout cannot be written."""

    def __init__(self, descriptor: int = STDOUT, *, gives_up: bool = False) -> None:
        self._descriptor = descriptor
        self._gives_up = gives_up
        self._waiting: deque[tuple[bytes, trio.Event]] = deque()
        self._bytes = 0
        self._lost = 0
        self._some = trio.Event()
        self._trouble = Trouble("stdout can be written again.")
        self._loss = Trouble("stdout is read again")

    @property
    def stuck(self) -> bool:
        """Whether stdout cannot be written now."""
        return self._trouble.lasts

    def say(self, line: bytes) -> None:
        """Write a line when its turn comes. While 1 MiB waits, the line is lost and counted."""
        if self._waiting and self._bytes + len(line) > SAID_MOST:
            self._lost += 1
            self._loss.on("lines for stdout are lost, since nobody reads it.")
        else:
            self._put(line, trio.Event())

    async def show(self, line: bytes) -> None:
        """As `say`, but never lost. Returns when the line is written."""
        written = trio.Event()
        self._put(line, written)
        await written.wait()

    def _put(self, line: bytes, written: trio.Event) -> None:
        self._waiting.append((line, written))
        self._bytes += len(line)
        self._some.set()

    async def run(self) -> None:
        """Write what waits, until cancelled."""
        while True:
            while not self._waiting:
                self._loss.off(f"; {counted(self._lost, 'line')} lost.")
                self._lost = 0
                self._some = trio.Event()
                await self._some.wait()
            line, written = self._waiting[0]
            await self._write(line)
            self._waiting.popleft()
            self._bytes -= len(line)
            written.set()

    async def _write(self, line: bytes) -> None:
        left, pause = line, REWRITE_SECONDS
        while left:
            try:
                count = await trio.to_thread.run_sync(self._some_of, left, abandon_on_cancel=True)
            except (OSError, MemoryError, RuntimeError) as error:  # RuntimeError: no thread can be had
                if self._gives_up and isinstance(error, OSError):
                    raise
                why = why_refused(error)
                self._trouble.on(f"stdout cannot be written ({why}); we go on, and try again until it can.")
                if isinstance(error, BrokenPipeError):
                    left = line  # the reader who had the first part is gone
                await trio.sleep(pause)
                pause = min(2 * pause, REWRITE_MOST_SECONDS)
            else:
                left = left[count:]
        self._trouble.off()

    def _some_of(self, data: bytes) -> int:
        while True:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                select.select([], [self._descriptor], [])


class LineReader:
    """Lines of at most 512 KiB from stdin."""

    def __init__(self, descriptor: int = STDIN) -> None:
        self._descriptor = descriptor
        self._buffer = bytearray()
        self._skipping = False
        self.ended = descriptor == STDIN and sys.stdin is None
        """Whether nothing more can come."""

    def look(self) -> None:
        """Notice an end that is there already, without waiting."""
        if not self.ended and select.select([self._descriptor], [], [], 0)[0]:
            self._take(self._read())

    async def next(self) -> bytes | object | None:
        """The next line without its end, TOO_LONG for one over the limit, None at the end."""
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                skipped, self._skipping = self._skipping, False
                return TOO_LONG if skipped or len(line) > LINE_BYTES else bytes(line)
            if len(self._buffer) > LINE_BYTES:
                self._buffer.clear()
                self._skipping = True
            if self.ended:
                self._buffer.clear()
                return bytes(line) or None
            try:
                data = await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)
            except (MemoryError, RuntimeError):  # no thread can be had now
                await trio.sleep(REWRITE_SECONDS)
            else:
                self._take(data)

    def _take(self, data: bytes) -> None:
        self._buffer += data
        self.ended = not data

    def _read(self) -> bytes:
        while True:
            try:
                return os.read(self._descriptor, _READ_BYTES)
            except BlockingIOError:
                select.select([self._descriptor], [], [])
            except OSError:
                return b""  # the terminal is not ours, or is gone
