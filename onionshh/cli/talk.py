"""Lines for people: what happens on stdout with its time, remarks on stderr.

Nothing waits for such a line, and nothing ends because of one. A line that cannot be written at once is lost
and counted: its reader is gone or does not read, or its disk is full. The lines go directly to the
descriptors. Python's own buffers would try to write their rest again when the process ends.

What a program says of itself has a level, and may get another form (log_lines.py): `--log-level` and
`--log-format` set both here. Output, which `utter` writes, has neither.
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

from onionshh.cli.log_lines import INFO, OURS, WARNING, Form, Said, for_journal, iso_time
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
        self.form: Form | None = None
        """How a line of a log looks; None: as a person reads it."""
        self.least = INFO
        """What has a lower level is not said."""

    def log(self, said: Said, person: str) -> str:
        """Say what a program says of itself. `person`: how a person reads it. Returns as `say` does."""
        if said.level < self.least:
            return ""
        return self.say(person if self.form is None else self.form(said, time.time()))

    def say(self, line: str) -> str:
        """Write a line. If this is the first that fails since one was written, returns why it failed."""
        self.before()
        stream: TextIO | None = getattr(sys, self._name)
        if stream is None:
            return ""
        try:
            if self._lost:
                lost = f"{counted(self._lost, 'line')} could not be written here."
                form = self.form
                said = form(Said(lost, WARNING), time.time()) if form else f"onionshh: {lost}"
                self._write(stream, f"{said}\n")
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


def tell(line: str, level: int = INFO) -> None:
    """Say on stdout what happened, with the time."""
    _lost_on_stdout(stdout.log(Said(one_line(line), level), stamped(line)))


def utter(text: str) -> None:
    """Write a line on stdout as it is."""
    _lost_on_stdout(stdout.say(text))


def _lost_on_stdout(trouble: str) -> None:
    if trouble:
        note(f"stdout cannot be written ({trouble}); we go on, and what we would say there is lost.")


def nothing_more_to_stdout() -> None:
    """What stdout did not take is not tried again when the process ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def note(line: str, level: int = WARNING, logger: str = OURS) -> None:
    """A remark, which is not part of the output."""
    said = Said(one_line(line), level, logger)
    stderr.log(said, f"onionshh: {said.message}")


def remark(text: str, level: int = WARNING, logger: str = OURS) -> None:
    """One line on stderr, or several, as they are if a person reads them."""
    stderr.log(Said(text, level, logger), text)


def stamped(line: str) -> str:
    """One line of output with its time: with the date, too, where logs have it, and without where the journal
    has it."""
    if stdout.form is for_journal:
        return one_line(line)
    now = time.strftime("%H:%M:%S") if stdout.form is None else iso_time(time.time())
    return f"{now} {one_line(line)}"


def encoded(text: str) -> bytes:
    """Text in the encoding of stdout."""
    return text.encode(getattr(sys.stdout, "encoding", None) or "utf-8", "backslashreplace")


def counted(number: int, one: str, many: str = "") -> str:
    """`1 relay`, `2 relays`."""
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"
