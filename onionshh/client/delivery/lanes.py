"""The lanes between two ends, shared by the drivers of a Sender and of a Receiver.

A lane is a joined circuit, or for a moment one cell that arrived alone (`alone.py`). What its window takes
leaves at once, without another task; the rest waits in turn for the tasks that write. One task reads each
lane, and takes the records where they belong (`reading.py`).

A lane has several users. If one of them ends it, or it is lost, the others are told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Protocol, TypeVarTuple, Unpack

import trio

from onionshh.core.delivery.actions import LaneId, Send
from onionshh.core.delivery.record import Record
from onionshh.core.session.session import Session
from onionshh.net.circuits import CircuitFailed
from onionshh.net.signals import Broadcast
from onionshh.reasons import Reason

Ts = TypeVarTuple("Ts")
Left = Callable[[Send], None]
"""Called with each sending that has left completely."""


class Carrier(Protocol):
    """What carries the records of a lane: a joined circuit (`joined.py`), or one cell and its answers
    (`alone.py`). The methods are explained there."""

    @property
    def open(self) -> bool: ...
    async def closed(self) -> None: ...
    @property
    def more_is_coming(self) -> bool: ...
    def send_at_once(self, *records: Record) -> bool: ...
    async def send(self, *records: Record) -> None: ...
    async def receive(self) -> Record: ...
    def why_refused(self, record: Record) -> int | None: ...
    def close(self, reason: Reason = Reason.CLOSED) -> None: ...


class Lane:
    """A way to the other end, and what waits to be sent over it. `session`: that of the exchange, if there is
    one. `waited`: whether what comes over it lay in a mailbox."""

    def __init__(
        self, number: LaneId, carrier: Carrier, session: Session | None, *, waited: bool = False
    ) -> None:
        self.number = number
        self.carrier = carrier
        self.session = session
        self.waited = waited
        self._waiting: deque[tuple[Send, Left]] = deque()
        self._more = Broadcast()
        self._paused = False
        self._resumed = Broadcast()

    def send(self, send: Send, left: Left) -> None:
        """Send now if the window allows it, else in turn. CircuitFailed."""
        if not self._waiting and self.carrier.send_at_once(*send.records):
            left(send)
        else:
            self._waiting.append((send, left))
            self._more.send()

    async def write(self) -> None:
        """Send what waits, until the lane ends."""
        with suppress(CircuitFailed):
            while self.carrier.open:
                if self._waiting:
                    send, left = self._waiting.popleft()
                    await self.carrier.send(*send.records)
                    left(send)
                else:
                    await self._more.wait()

    def pause(self, paused: bool) -> None:
        """Set whether `readable` waits from now on."""
        self._paused = paused
        self._resumed.send()

    @property
    def paused(self) -> bool:
        """Whether nothing is read from it."""
        return self._paused

    async def readable(self) -> None:
        """Wait until the lane may be read, or has ended."""
        if not self.paused:
            return
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def until_closed() -> None:
                await self.carrier.closed()
                nursery.cancel_scope.cancel()

            await self._until_resumed()
            nursery.cancel_scope.cancel()

    async def _until_resumed(self) -> None:
        while self._paused:
            await self._resumed.wait()

    def end(self, reason: Reason) -> None:
        """Close it, and wake its tasks."""
        self.carrier.close(reason)
        self._more.send()
        self._resumed.send()


class LaneUser(Protocol):
    """A driver that sends over lanes."""

    def lane_gone(self, number: LaneId) -> None:
        """The lane has ended, and this user did not end it."""

    def lane_used(self, number: LaneId) -> None:
        """Something went over the lane that this user does not see."""


class LaneSet:
    """All lanes of one endpoint or contact, by number. `nursery`: where their tasks run; None before the
    first task and after the last."""

    def __init__(self) -> None:
        self._lanes: dict[LaneId, Lane] = {}
        self._made = 0
        self.users: list[LaneUser] = []
        self.nursery: trio.Nursery | None = None

    def __iter__(self) -> Iterator[Lane]:
        return iter(list(self._lanes.values()))

    def soon(self, task: Callable[[Unpack[Ts]], Awaitable[object]], *arguments: *Ts) -> None:
        """Start a task, if tasks run at all now."""
        if self.nursery is not None:
            self.nursery.start_soon(task, *arguments)

    def add(
        self, carrier: Carrier, *, writers: int, session: Session | None = None, waited: bool = False
    ) -> Lane:
        """A lane that `writers` tasks write to: one task fills what another leaves of the window."""
        self._made += 1
        lane = Lane(LaneId(self._made), carrier, session, waited=waited)
        self._lanes[lane.number] = lane
        for _ in range(writers):
            self.soon(lane.write)
        return lane

    def get(self, number: LaneId | None) -> Lane | None:
        """The lane of this number, while it exists."""
        return None if number is None else self._lanes.get(number)

    def send(self, send: Send, left: Left) -> None:
        """Send over its lane, if that still exists."""
        lane = self._lanes.get(send.lane)
        if lane is not None:
            try:
                lane.send(send, left)
            except CircuitFailed:
                self.lost(lane)

    def end(self, number: LaneId, reason: Reason, by: LaneUser | None = None) -> None:
        """End a lane, and tell its users, except the one that asked for it."""
        lane = self._lanes.pop(number, None)
        if lane is not None:
            lane.end(reason)
            for user in list(self.users):
                if user is not by:
                    user.lane_gone(number)

    def lost(self, lane: Lane) -> None:
        """The lane ended, and nobody here ended it."""
        if self._lanes.get(lane.number) is lane:
            self.end(lane.number, Reason.EXCHANGE_OVER)

    def used(self, number: LaneId, by: LaneUser) -> None:
        """One user sent or got something over a lane. For the others it is not idle."""
        for user in self.users:
            if user is not by:
                user.lane_used(number)
