"""Rates from two answers of a running program, and the last of them for a picture. No clock is read here.

What was counted so far is divided by the time between the answers, which the program itself says. If it was
started anew in between, its counters began anew, and there is no rate until the next answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from onionshh.cli.status_words import Answer, Numbers

HISTORY: Final = 240
"""Rates that are kept: more than most terminals have columns."""

Reading = Callable[[Numbers], float]


@dataclass(frozen=True, slots=True)
class Counter:
    """Something that only grows. `reads`: where it is in an answer."""

    name: str
    reads: Reading
    in_bytes: bool = False


COUNTERS: Final[dict[str, tuple[Counter, ...]]] = {
    "relay": (
        Counter("cells sent", lambda n: n.inside("links").number("cells_sent")),
        Counter("cells forwarded", lambda n: n.number("cells_forwarded")),
        Counter("bytes out", lambda n: n.inside("links").number("bytes_sent"), in_bytes=True),
        Counter("bytes in", lambda n: n.inside("links").number("bytes_received"), in_bytes=True),
        Counter("circuits made", lambda n: n.number("handshakes_served")),
        Counter("circuits refused", lambda n: n.number("handshakes_refused")),
    ),
    "host": (
        Counter("whispers taken", lambda n: n.number("taken")),
        Counter("whispers finished", lambda n: n.number("finished")),
    ),
    "directory": (
        Counter("requests answered", lambda n: sum(count for _, count in n.inside("answers").counts())),
    ),
}
"""By the kind of the program. The first one is drawn as a picture."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How often in all, and per second; None if that is not known yet."""

    name: str
    total: float
    per_second: float | None
    in_bytes: bool = False


class Rates:
    """The last two answers of one program."""

    def __init__(self) -> None:
        self._before: Numbers | None = None
        self.now = Numbers({})
        self.picture: deque[float] = deque(maxlen=HISTORY)
        """The latest rates of the first counter, the newest last."""

    def came(self, answer: Answer) -> None:
        """The next answer."""
        now = Numbers(answer)
        anew = now.text("kind") != self.now.text("kind") or _up(now) <= _up(self.now)
        self._before = None if anew else self.now
        self.now = now
        if anew:
            self.picture.clear()
        elif (counters := self.counters()) and counters[0].per_second is not None:
            self.picture.append(counters[0].per_second)

    def counters(self) -> list[Rate]:
        """Each counter of this kind of program."""
        return [
            self._rate(counter.name, counter.reads, in_bytes=counter.in_bytes)
            for counter in COUNTERS.get(self.now.text("kind"), ())
        ]

    def drops(self) -> list[Rate]:
        """Each reason for drops, the most frequent ones of this moment first."""
        found = [
            self._rate(name, lambda n, name=name: n.inside("drops").number(name))  # type: ignore[misc]
            for name, _ in self.now.inside("drops").counts()
        ]
        return sorted(found, key=lambda rate: (-(rate.per_second or 0), -rate.total, rate.name))

    def _rate(self, name: str, reads: Reading, *, in_bytes: bool = False) -> Rate:
        total = reads(self.now)
        if self._before is None:
            return Rate(name, total, None, in_bytes)
        grown = max(0.0, total - reads(self._before))
        return Rate(name, total, grown / (_up(self.now) - _up(self._before)), in_bytes)


def _up(numbers: Numbers) -> float:
    return numbers.number("up_seconds")
