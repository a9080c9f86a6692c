"""A condition that lasts is not repeated: one line when it begins, and one when it ends.

The library logs a failure each time. Here a line that comes again is counted. The count is written after one
minute, then two, then four, and at last once an hour, as long as the line comes again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from onionshh.cli.log_lines import OURS
from onionshh.cli.talk import note, remark

COUNT_SECONDS = 60.0
COUNT_MOST_SECONDS = 3600.0
LINES_MOST = 32
"""Different lines that are told apart; further ones are counted together."""
_OTHERS = "(other remarks)"
WHYS_MOST = 8


@dataclass(slots=True)
class _Said:
    """A line that was written: how often it came since then, and when to say so."""

    until: float
    level: int
    logger: str
    span: float = COUNT_SECONDS
    times: int = 0


class Remarks(logging.Handler):
    """Log records on stderr, each line once; `run` tells how often it came again."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._said: dict[str, _Said] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write or count a record. Never raises: the code that logs must go on."""
        try:
            line = self.format(record)
        except Exception as error:  # a record whose arguments do not fit: a bug, but no reason to end
            line = f"a remark could not be put into words ({type(error).__name__})"
        self.tell_counts()
        if line not in self._said and len(self._said) >= LINES_MOST:
            line = _OTHERS
        if line in self._said:
            self._said[line].times += 1
        else:
            others = line == _OTHERS
            name = OURS if others else record.name
            said = _Said(self._now() + COUNT_SECONDS, record.levelno, name, times=int(others))
            self._said[line] = said
            if not others:
                _write(line, said)

    def tell_counts(self) -> None:
        """Write the counts that are due. A line that did not come again is forgotten."""
        now = self._now()
        for line, said in [item for item in self._said.items() if item[1].until <= now]:
            if not said.times:
                del self._said[line]
                continue
            times = "once" if said.times == 1 else f"{said.times} times"
            _write(f"{line} (again {times} in {said.span / 60:.0f} min)", said)
            said.times = 0
            said.span = min(2 * said.span, COUNT_MOST_SECONDS)
            said.until = now + said.span

    async def run(self) -> None:
        """Tell the counts when they are due, until cancelled."""
        import trio  # here, since some commands do not need it

        while True:
            await trio.sleep(COUNT_SECONDS)
            self.acquire()  # records come from threads, too
            try:
                self.tell_counts()
            finally:
                self.release()


def _write(line: str, said: _Said) -> None:
    if "\n" in line:  # a traceback, which was asked for
        remark(line, said.level, said.logger)
    else:
        note(line, said.level, said.logger)


class Trouble:
    """Something that is wrong for a while: said when it begins, once for each reason, and when it is over."""

    def __init__(self, over: str) -> None:
        self._over = over
        self._whys: set[str] = set()

    @property
    def lasts(self) -> bool:
        """Whether it goes on."""
        return bool(self._whys)

    def on(self, line: str) -> None:
        """It goes on, for the reason that this line says."""
        if line not in self._whys and len(self._whys) < WHYS_MOST:
            self._whys.add(line)
            note(line)

    def off(self, more: str = "") -> None:
        """It is over. `more` is added to the line."""
        if self._whys:
            self._whys.clear()
            note(self._over + more)

    def forget(self) -> None:
        """It is not looked at any more, so nobody can say that it is over."""
        self._whys.clear()


def why_refused(error: Exception) -> str:
    """Why the system refuses, as a part of a sentence."""
    if isinstance(error, MemoryError):
        return "out of memory"
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
