"""Lines for people: what happens on stdout with its time, remarks on stderr.

Nothing waits for such a line, and nothing ends because of one. A line that cannot be written at once is lost
and counted: its reader is gone or does not read, or its disk is full. The lines go directly to the
descriptors. Python's own buffers would try to write their rest again when the process ends.
"""

from __future__ import annotations

import errno
import os
import select
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from onionshh.cli.text import one_line


def _nothing() -> None:
    """Nothing is drawn."""


class Mouth:
    """One stream of this process, by its name in `sys`: lines that are written now or lost."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lost = 0
        self._cut = False
        """Whether what was written last is half a line."""
        self.before: Callable[[], None] = _nothing
        """Called before each line: takes away what is drawn where the line goes."""

    def say(self, line: str) -> str:
        """Write a line. If this is the first that fails since one was written, returns why it failed."""
        self.before()
        stream: TextIO | None = getattr(sys, self._name)
        if stream is None:
            return ""
        try:
            if self._lost:
                self._write(stream, f"onionshh: {counted(self._lost, 'line')} could not be written here.\n")
                self._lost = 0
            self._write(stream, line + "\n")
        except (OSError, ValueError) as error:  # ValueError: somebody has closed it
            self._lost += 1
            why = error.strerror if isinstance(error, OSError) else None
            return (why or str(error)) if self._lost == 1 else ""
        return ""

    def _write(self, stream: TextIO, text: str) -> None:
        try:
            descriptor = stream.fileno()
        except OSError:  # not a real file: a test's stream
            stream.write(text)
            stream.flush()
            return
        data = ("\n" * self._cut + text).encode(stream.encoding or "utf-8", "backslashreplace")
        room = select.poll()
        room.register(descriptor, select.POLLOUT)
        left = data
        try:
            while left:
                if not room.poll(0):
                    raise BlockingIOError(errno.EAGAIN, "its reader does not read")
                # A pipe that has any room has room for this many bytes, so this does not wait.
                left = left[os.write(descriptor, left[: select.PIPE_BUF]) :]
        finally:
            self._cut = (self._cut or len(left) < len(data)) and bool(left)


stdout, stderr = Mouth("stdout"), Mouth("stderr")
"""What `tell`, `note` and the others speak through."""


def tell(line: str) -> None:
    """Say on stdout what happened, with the time."""
    utter(stamped(line))


def utter(text: str) -> None:
    """Write a line on stdout as it is."""
    trouble = stdout.say(text)
    if trouble:
        note(f"stdout cannot be written ({trouble}); we go on, and what we would say there is lost.")


def nothing_more_to_stdout() -> None:
    """What stdout did not take is not tried again when the process ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def note(line: str) -> None:
    """A remark, which is not part of the output."""
    remark(f"onionshh: {one_line(line)}")


def remark(text: str) -> None:
    """One line on stderr, or several, as they are."""
    stderr.say(text)


def stamped(line: str) -> str:
    """One line with its time."""
    return f"{time.strftime('%H:%M:%S')} {one_line(line)}"


def encoded(text: str) -> bytes:
    """Text in the encoding of stdout."""
    return text.encode(getattr(sys.stdout, "encoding", None) or "utf-8", "backslashreplace")


def counted(number: int, one: str, many: str = "") -> str:
    """`1 relay`, `2 relays`."""
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"
