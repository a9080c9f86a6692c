"""How many bytes a relay may send and receive in a month, and when it hibernates for that. No I/O.

            look                                     what follows
    AWAKE     -> DRAINING   98 % are used up         Drain: no new circuits, nothing is published
    DRAINING  -> ASLEEP     all are, or 60 s passed  Sleep: no links
    ASLEEP    -> AWAKE      the moment to wake       Wake
    DRAINING  -> AWAKE      a new period began       Wake

**A clock that jumps gives no second allowance.** The time that is passed in is the earlier of this machine's
and of what a consensus has confirmed, so one wrong clock can only delay. If both jump ahead and come back,
the period goes back with them, and what was used in both counts in it. The length of a period comes from the
calendar (UTC), and one that has begun never ends earlier than was said, whatever day is asked for later.

**A crash is counted against us.** What is written is more than what was used: as much more as a minute takes
at the present rate. Before use gets past that, more is written. So whatever was lost was counted already.

**Not all wake at once.** A relay that used up its month in part of it wakes at a random moment of the next
one, such that the rest of that month is still long enough for all of it. Relays with a limit then do not all
come on the first day and go before the last one (Tor does the same).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from onionshh.core.base.chance import Chance
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason
from onionshh.wire.packing import Int, fields, pack, unpack_untrusted

DRAIN_SECONDS: Final = 60.0
WRITE_SECONDS: Final = 60.0
SPARE: Final = 50
"""The last 2 % are for draining."""
WARN_PERCENTS: Final = (75, 90)
BACK_SECONDS: Final = 600
"""Clocks may differ by this much anyway, so a smaller step back changes no period."""
SPREAD: Final = 0.9
LEAST_RESERVE: Final = 1 << 20
MONTH_DAY_MOST: Final = 28
"""Each month has this day."""
BYTES_MOST: Final = 1 << 60
TIME_MOST: Final = 1 << 36
"""Later dates than this (in the year 4147) are no dates of ours, and calendars end somewhere."""
PERIOD_MOST_SECONDS: Final = 366 * 86_400
"""A period is a month, and longer by up to a month each time that another day is asked for in it."""
MONTH_MOST_SECONDS: Final = 31 * 86_400

_VERSION: Final = 1
_TIME: Final = Int(TIME_MOST)
_SHAPE: Final = fields(Int(255), _TIME, _TIME, Int(BYTES_MOST), _TIME, _TIME, Int(BYTES_MOST), Int(100))
_MOST_BYTES: Final = 128


class Stage(enum.Enum):
    """What the relay does."""

    AWAKE = enum.auto()
    DRAINING = enum.auto()
    ASLEEP = enum.auto()


@dataclass(frozen=True, slots=True)
class Kept:
    """What is on disk. All times are Unix seconds."""

    start: int
    end: int
    """The present period."""
    used: int
    """Bytes, at least as many as were used in it."""
    began: int
    """Since when they have been used."""
    wakes: int = 0
    """Until when it sleeps; 0 while it does not."""
    before: int = 0
    """What was used in the period before this one."""
    warned: int = 0
    """The last percentage that was said."""

    def encode(self) -> bytes:
        """The bytes for the disk."""
        row = (self.start, self.end, self.used, self.began, self.wakes, self.before, self.warned)
        return pack((_VERSION, *row))


def decode_untrusted(data: bytes) -> Kept:
    """The inverse of `Kept.encode`, or ProtocolError."""
    version, *row = unpack_untrusted(data, _SHAPE, _MOST_BYTES)
    kept = Kept(*row)
    if version != _VERSION or not _is_possible(kept):
        raise ProtocolError(Reason.DOCUMENT_SHAPE)
    return kept


def _is_possible(kept: Kept) -> bool:
    """Whether these dates can follow from one another. Else a damaged file could let a relay sleep for
    ever."""
    return (
        kept.start < kept.end <= kept.start + PERIOD_MOST_SECONDS
        and kept.start <= kept.began <= kept.end
        and (kept.wakes == 0 or kept.start <= kept.wakes <= kept.end + MONTH_MOST_SECONDS)
    )


@dataclass(frozen=True, slots=True)
class Write:
    """Write this to disk."""

    kept: Kept


@dataclass(frozen=True, slots=True)
class Drain:
    """Take no new circuits, publish nothing."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """End all links until `wakes`, Unix seconds."""

    wakes: int


@dataclass(frozen=True, slots=True)
class Wake:
    """Take circuits and publish again."""


@dataclass(frozen=True, slots=True)
class Warn:
    """Say that this much of the amount is used up."""

    percent: int


Action = Write | Drain | Sleep | Wake | Warn


@dataclass(frozen=True, slots=True)
class AllowanceStatistics:
    """How much of its amount a relay has used. The defaults: it has no limit."""

    used_bytes: int = 0
    most_bytes: int = 0
    """0 for no limit."""
    ends: int = 0
    """When the present period ends, Unix seconds; 0 before that is known."""
    hibernating: bool = False
    """Whether it hibernates or is about to."""


class Allowance:
    """The amount of one relay. `kept`: what is on disk, if anything is."""

    def __init__(self, most_bytes: int, month_day: int, kept: Kept | None, chance: Chance) -> None:
        self._most = most_bytes
        self._soft = most_bytes - most_bytes // SPARE
        self._month_day = month_day
        self._chance = chance
        if kept is not None:  # the day may be another one now
            end = boundary(kept.end, month_day)
            kept = replace(kept, end=end if end <= kept.start + PERIOD_MOST_SECONDS else kept.end)
        self._kept = kept
        """`used` in it is exact; only what is written has a reserve."""
        self.stage = Stage.ASLEEP if kept is not None and kept.wakes else Stage.AWAKE
        self._total = 0
        self._drained_at = 0.0
        self._book = _Book(min(LEAST_RESERVE, most_bytes // 1000))

    def look(self, total: int, now: int, monotonic: float) -> tuple[Action, ...]:
        """What follows from this. `total`: bytes sent and received since the start of this process; `now`:
        Unix seconds that both clocks agree on, 0 if that is not known."""
        if not now:
            return ()
        before = self._kept
        kept = self._turned(now)
        passed, self._total = max(0, total - self._total), total
        self._kept = kept = replace(kept, used=min(kept.used + passed, BYTES_MOST))
        actions = [*self._warn(kept), *self._move(now, monotonic)]
        kept = self._now()
        dates_changed = before is None or replace(before, used=kept.used) != kept
        if dates_changed or self._book.is_due(kept.used, monotonic):
            actions.insert(0, Write(self._book.write(kept, monotonic)))
        return tuple(actions)

    def close(self, total: int) -> Kept | None:
        """What to write at the end: exactly what was used."""
        if self._kept is None:
            return None
        return replace(self._kept, used=min(self._kept.used + max(0, total - self._total), BYTES_MOST))

    def statistics(self) -> AllowanceStatistics:
        """The numbers of this moment."""
        used, ends = (self._kept.used, self._kept.end) if self._kept is not None else (0, 0)
        return AllowanceStatistics(used, self._most, ends, self.stage is not Stage.AWAKE)

    @property
    def wakes(self) -> int:
        """Until when it sleeps, Unix seconds; 0 while it does not."""
        return self._kept.wakes if self._kept is not None else 0

    def _now(self) -> Kept:
        if self._kept is None:
            raise RuntimeError("there is no period yet")
        return self._kept

    def _turned(self, now: int) -> Kept:
        """The period of this moment, and what was used in it."""
        kept = self._kept
        if kept is not None and kept.start - BACK_SECONDS <= now < kept.end:
            return kept
        start, end = month_of(now, self._month_day)
        if kept is None:
            return Kept(start, end, 0, now)
        if now >= kept.end:
            return Kept(start, end, 0, start, wakes=kept.wakes, before=kept.used)
        back = replace(kept, start=start, end=end, began=start, used=kept.used + kept.before, before=0)
        return replace(back, wakes=self._draw(back, now)) if back.wakes else back

    def _warn(self, kept: Kept) -> list[Action]:
        percent = max((one for one in WARN_PERCENTS if kept.used * 100 >= self._most * one), default=0)
        if percent <= kept.warned or self.stage is not Stage.AWAKE:
            return []
        self._kept = replace(kept, warned=percent)
        return [Warn(percent)]

    def _move(self, now: int, monotonic: float) -> list[Action]:
        kept = self._now()
        has_room = kept.used < self._soft
        if self.stage is Stage.AWAKE and not has_room:
            self.stage, self._drained_at = Stage.DRAINING, monotonic + DRAIN_SECONDS
            return [Drain()]
        if self.stage is Stage.DRAINING and has_room:
            return self._wake(now)
        if self.stage is Stage.DRAINING and (kept.used >= self._most or monotonic >= self._drained_at):
            self.stage = Stage.ASLEEP
            self._kept = replace(kept, wakes=self._draw(kept, now))
            return [Sleep(self._kept.wakes)]
        # It sleeps into the next period, and yet there is room in this one: the amount was raised.
        if self.stage is Stage.ASLEEP and (now >= kept.wakes or (has_room and kept.wakes >= kept.end)):
            return self._wake(now)
        return []

    def _wake(self, now: int) -> list[Action]:
        kept = self._now()
        self.stage = Stage.AWAKE
        self._kept = replace(kept, began=max(now, kept.start), wakes=0)
        return [Wake()]

    def _draw(self, kept: Kept, now: int) -> int:
        """When to wake: in the next period, and early enough to use up all of it at this pace."""
        length = boundary(kept.end + 1, self._month_day) - kept.end
        room = max(0, length - max(0, now - kept.began))
        return kept.end + int(SPREAD * room * self._chance.unit())


class _Book:
    """When to write, and how much more than was used. `least`: the smallest reserve, bytes."""

    def __init__(self, least: int) -> None:
        self._least = least
        self._reserve = least
        self._written = 0
        self._used = -1
        self._at = 0.0

    def is_due(self, used: int, monotonic: float) -> bool:
        """Whether the disk must hear of this use."""
        late = monotonic >= self._at + WRITE_SECONDS
        return used >= self._written or (late and (used != self._used or self._reserve > self._least))

    def write(self, kept: Kept, monotonic: float) -> Kept:
        """What to write now."""
        used, first = kept.used, self._used < 0
        passed, seconds = max(0, used - self._used), max(1.0, monotonic - self._at)
        rate = 0 if first else int(passed / seconds * WRITE_SECONDS * 1.25)
        early = not first and used >= self._written
        self._reserve = max(self._least, rate, self._reserve * 2 if early else 0)
        self._used, self._at, self._written = used, monotonic, used + self._reserve
        return replace(kept, used=min(self._written, BYTES_MOST))


def month_of(now: int, day: int) -> tuple[int, int]:
    """The start and end of the period that this moment is in, from the `day` of a month to that of the next,
    UTC."""
    end = boundary(now + 1, day)
    return _date(end, day, -1), end


def boundary(since: int, day: int) -> int:
    """The first start of a period at this moment or later, Unix seconds."""
    this = _date(since, day, 0)
    return this if this >= since else _date(since, day, 1)


def _date(moment: int, day: int, months: int) -> int:
    """Midnight of the `day` in the month of this moment, or so many months from it."""
    at = datetime.fromtimestamp(moment, UTC)
    number = at.year * 12 + at.month - 1 + months
    return int(datetime(number // 12, number % 12 + 1, day, tzinfo=UTC).timestamp())
