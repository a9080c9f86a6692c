"""What the drivers of delivery share: they carry out a machine's actions, keep its deadlines and its lanes.

A lane is a joined circuit. What its window takes leaves at once, without another task; the rest waits in turn
for the tasks that write. A Sender and a Receiver ask the same of lanes.
"""

from __future__ import annotations

import abc
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from typing import Protocol, TypeVarTuple, Unpack

import trio

from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.core.delivery.actions import Action, Actions, LaneId, Send
from onionshh.ids import WhisperId
from onionshh.net.circuits import CircuitFailed
from onionshh.net.clocks import Clock
from onionshh.net.signals import Broadcast, Poke
from onionshh.reasons import Reason

Ts = TypeVarTuple("Ts")


class Lane:
    """A joined circuit, and what waits to be sent over it. `left` is called with each sending that left."""

    def __init__(
        self,
        number: LaneId,
        joined: JoinedCircuit,
        left: Callable[[Send], None],
        connect_seconds: float | None = None,
    ) -> None:
        self.number = number
        self.joined = joined
        self.connect_seconds = connect_seconds
        """How long opening it took, if we opened it."""
        self._left = left
        self._waiting: deque[Send] = deque()
        self._more = Broadcast()
        self._paused = False
        self._resumed = Broadcast()

    def send(self, send: Send) -> None:
        """Send now if the window allows it, else in turn. CircuitFailed."""
        if not self._waiting and self.joined.send_at_once(*send.records):
            self._left(send)
        else:
            self._waiting.append(send)
            self._more.send()

    async def write(self) -> None:
        """Send what waits, until the circuit ends."""
        with suppress(CircuitFailed):
            while self.joined.open:
                if self._waiting:
                    send = self._waiting.popleft()
                    await self.joined.send(*send.records)
                    self._left(send)
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
                await self.joined.closed()
                nursery.cancel_scope.cancel()

            await self._until_resumed()
            nursery.cancel_scope.cancel()

    async def _until_resumed(self) -> None:
        while self._paused:
            await self._resumed.wait()

    def end(self, reason: Reason) -> None:
        """Close it, and wake its tasks."""
        self.joined.close(reason)
        self._more.send()
        self._resumed.send()


class Machine(Protocol):
    """What a driver knows of a Sender or Receiver."""

    def tick(self, now: float) -> Actions: ...

    def next_deadline(self) -> float: ...

    def lane_sent(self, lane: LaneId, whisper: WhisperId | None, now: float) -> Actions: ...


class Driver(abc.ABC):
    """Carries out a machine's actions, keeps its lanes, and wakes it when its time has come."""

    def __init__(self, machine: Machine, clock: Clock) -> None:
        self._machine = machine
        self._clock = clock
        self._todo: deque[Action] = deque()
        self._doing = False
        self._sooner = Poke()
        self._asleep_until = inf
        self._lanes: dict[LaneId, Lane] = {}
        self._lanes_made = 0
        self.nursery: trio.Nursery | None = None
        """Where its tasks run. None before the first task and after the last."""

    def now(self) -> float:
        """Monotonic seconds."""
        return self._clock.monotonic()

    def do(self, actions: Actions) -> None:
        """Carry out actions in order. Actions that one of them causes come after those that wait already."""
        self._todo.extend(actions)
        if self._doing:
            return
        self._doing = True
        try:
            while self._todo:
                self.carry_out(self._todo.popleft())
        finally:
            self._doing = False
        if self._machine.next_deadline() < self._asleep_until:
            self._sooner.send()

    async def keep_time(self) -> None:
        """Wake the machine at its deadlines, until cancelled."""
        while True:
            self._asleep_until = self._machine.next_deadline()
            with trio.move_on_at(self._asleep_until):
                await self._sooner.wait()
            if self.now() >= self._asleep_until:
                self.do(self._machine.tick(self.now()))

    @abc.abstractmethod
    def carry_out(self, action: Action) -> None:
        """Carry out one action, without awaiting anything."""

    # Lanes.

    @property
    def joined_circuits(self) -> list[JoinedCircuit]:
        """The circuits that records go over now."""
        return [lane.joined for lane in self._lanes.values()]

    def soon(self, task: Callable[[Unpack[Ts]], Awaitable[object]], *arguments: *Ts) -> None:
        """Start a task, if tasks run at all now."""
        if self.nursery is not None:
            self.nursery.start_soon(task, *arguments)

    def add_lane(self, joined: JoinedCircuit, *, writers: int, connect_seconds: float | None = None) -> Lane:
        """A lane that `writers` tasks write to: one task fills what another leaves of the window."""
        self._lanes_made += 1
        lane = Lane(LaneId(self._lanes_made), joined, self._left, connect_seconds)
        self._lanes[lane.number] = lane
        for _ in range(writers):
            self.soon(lane.write)
        return lane

    def lane(self, number: LaneId | None) -> Lane | None:
        """The lane of this number, while it exists."""
        return None if number is None else self._lanes.get(number)

    def send(self, send: Send) -> None:
        """Send over its lane, if that still exists."""
        lane = self._lanes.get(send.lane)
        if lane is not None:
            try:
                lane.send(send)
            except CircuitFailed:
                self.lost(lane)

    def end_lane(self, number: LaneId, reason: Reason) -> None:
        """The machine does not need this lane any more, or knows that it has ended."""
        lane = self._lanes.pop(number, None)
        if lane is not None:
            lane.end(reason)

    def lost(self, lane: Lane) -> None:
        """The lane ended, and we did not end it."""
        if self._lanes.get(lane.number) is lane:
            self.end_lane(lane.number, Reason.EXCHANGE_OVER)
            self.do(self.lane_lost(lane.number))

    @abc.abstractmethod
    def lane_lost(self, number: LaneId) -> Actions:
        """Tell the machine that this lane was lost, and return its actions."""

    def _left(self, send: Send) -> None:
        self.do(self._machine.lane_sent(send.lane, send.whisper, self.now()))
