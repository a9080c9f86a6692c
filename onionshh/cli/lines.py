"""JSON lines out and in, without ever holding up the node.

Writing and reading block in threads, on the descriptors themselves: Python's own buffers hold a lock that
an abandoned thread would keep from being flushed at the end.
"""

from __future__ import annotations

import base64
import json
import os
import select
import sys
from typing import Final

import trio

STDIN, STDOUT = 0, 1
LINE_MOST = 512 * 1024
"""A reply of 65 535 bytes, each of which JSON may write as six."""
_READ_BYTES = 65536

TOO_LONG: Final = object()


def as_text(name: str, body: bytes) -> dict[str, str]:
    """`{name: text}`, or `{name_base64: …}` for what is not UTF-8."""
    try:
        return {name: body.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(body).decode()}


class JsonLines:
    """One object a line on stdout, each whole."""

    def __init__(self, descriptor: int = STDOUT) -> None:
        self._descriptor = descriptor
        self._turn = trio.Lock()

    async def write(self, value: dict[str, object]) -> None:
        """On its way when this returns. BrokenPipeError when nobody reads any more."""
        line = (json.dumps(value) + "\n").encode()
        async with self._turn:
            await trio.to_thread.run_sync(self._write, line, abandon_on_cancel=True)

    def _write(self, line: bytes) -> None:
        while line:
            try:
                line = line[os.write(self._descriptor, line) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])


class LineReader:
    """Lines of at most 512 KiB from stdin."""

    def __init__(self, descriptor: int = STDIN) -> None:
        self._descriptor = descriptor
        self._buffer = bytearray()
        self._skipping = False
        self.ended = descriptor == STDIN and sys.stdin is None
        """Whether there is nothing to come."""

    def look(self) -> None:
        """Without waiting: notice an end that is there already."""
        if not self.ended and select.select([self._descriptor], [], [], 0)[0]:
            self._take(self._read())

    async def next(self) -> bytes | object | None:
        """The next line without its end, TOO_LONG for one over the limit, None at the end."""
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                skipped, self._skipping = self._skipping, False
                return TOO_LONG if skipped or len(line) > LINE_MOST else bytes(line)
            if len(self._buffer) > LINE_MOST:
                self._buffer.clear()
                self._skipping = True
            if self.ended:
                self._buffer.clear()
                return bytes(line) or None
            self._take(await trio.to_thread.run_sync(self._read, abandon_on_cancel=True))

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
                return b""  # no terminal of ours, or gone
