"""Counts the bytes of a relay's links against its amount for the month, and has it hibernate (allowance.py).

The bytes are those that links give to the kernel and take from it. What TCP and IP add is not counted, nor
is HTTP: the consensus and our own descriptor. While the relay hibernates, the process and its keys stay, what
mailboxes and the ring hold stays on disk, and the consensus is still fetched, since it tells the time.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from onionshh.core.base.chance import Chance
from onionshh.core.base.words import utc
from onionshh.errors import BadData, ProtocolError
from onionshh.net.clocks import Clock
from onionshh.net.conditions import Condition
from onionshh.net.signals import Broadcast
from onionshh.net.store import DataDirectory, read_file
from onionshh.relay.allowance import (
    Action,
    Allowance,
    AllowanceStatistics,
    Drain,
    Kept,
    Sleep,
    Stage,
    Wake,
    Warn,
    Write,
    decode_untrusted,
)

logger = logging.getLogger("onionshh.relay")

ACCOUNTING_FILE: Final = "accounting"
LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Monthly:
    """How many bytes a relay may send and receive, from this day of a month (UTC) to that of the next."""

    most_bytes: int
    day: int = 1


class Rests(Protocol):
    """What must rest: it is told how the relay stands."""

    def set_stage(self, stage: Stage) -> None: ...


class Accounting:
    """The amount of one relay. `monthly` None: there is no limit, and nothing is counted. BadData."""

    def __init__(
        self,
        monthly: Monthly | None,
        folder: DataDirectory,
        clock: Clock,
        chance: Chance,
        say: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._say = say
        self._disk = Condition(logger.error)
        self._changed = Broadcast()
        self._allowance: Allowance | None = None
        if monthly is not None:
            self._allowance = Allowance(monthly.most_bytes, monthly.day, _read(folder), chance)

    @property
    def stage(self) -> Stage:
        """What the relay does."""
        return Stage.AWAKE if self._allowance is None else self._allowance.stage

    def statistics(self) -> AllowanceStatistics:
        """The numbers of this moment."""
        return AllowanceStatistics() if self._allowance is None else self._allowance.statistics()

    def why_not_well(self) -> str:
        """That it hibernates, in a sentence; empty if it does not."""
        if self._allowance is None or self.stage is Stage.AWAKE:
            return ""
        wakes = self._allowance.wakes
        until = f"; it wakes at {utc(wakes)}" if wakes else ""
        return f"This relay hibernates: its bytes for the month are used up{until}."

    async def run(self, total: Callable[[], int], rests: Rests) -> None:
        """Count until cancelled. `total`: bytes over all links since the start of this process."""
        allowance = self._allowance
        if allowance is None:
            return
        rests.set_stage(allowance.stage)
        if allowance.stage is Stage.ASLEEP:
            self._say(f"it still hibernates{_until_when(allowance.wakes)}")
        try:
            while True:
                now = min(self._clock.steady(), self._clock.earliest())
                for action in allowance.look(total(), now, self._clock.monotonic()):
                    self._carry_out(action, rests)
                await trio.sleep(LOOK_SECONDS)
        finally:
            last = allowance.close(total())
            if last is not None:
                self._write(last)

    async def while_awake(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do this while the relay is awake: cancel it when the relay drains, begin anew when it wakes."""
        while True:
            await self._until(awake=True)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(work)
                await self._until(awake=False)
                nursery.cancel_scope.cancel()

    async def _until(self, *, awake: bool) -> None:
        while (self.stage is Stage.AWAKE) is not awake:
            await self._changed.wait()

    def _carry_out(self, action: Action, rests: Rests) -> None:
        match action:
            case Write(kept=kept):
                self._write(kept)
                return
            case Warn(percent=percent):
                ends = self.statistics().ends
                self._say(f"{percent} % of this month's bytes are used up; the next month begins {utc(ends)}")
                return
            case Drain():
                self._say("this month's bytes are nearly used up: no new circuits, and it publishes no more")
            case Sleep(wakes=wakes):
                self._say(f"this month's bytes are used up: it hibernates{_until_when(wakes)}")
            case Wake():
                self._say("it is awake again, with the bytes of this month")
        rests.set_stage(self.stage)
        self._changed.send()

    def _write(self, kept: Kept) -> None:
        try:
            self._folder.write(ACCOUNTING_FILE, kept.encode())
        except OSError as error:
            self._disk.holds(f"how much was used cannot be written, a restart would forget it: {error}")
        else:
            self._disk.over("how much was used can be written again")


def _read(folder: DataDirectory) -> Kept | None:
    path = folder / ACCOUNTING_FILE
    data = read_file(path)
    if data is None:
        return None
    try:
        return decode_untrusted(data)
    except ProtocolError as error:
        raise BadData(
            f"{path} is damaged, or was written by another version of onionshh; move it away, and the month's"
            " bytes are counted from nothing."
        ) from error


def _until_when(wakes: int) -> str:
    return f", and wakes at {utc(wakes)}" if wakes else ""
