"""Carries out a machine's actions, and wakes the machine when its time has come."""

from __future__ import annotations

import abc
from collections import deque
from math import inf
from typing import Protocol

import trio

from onionshh.client.delivery.lanes import LaneSet
from onionshh.core.delivery.actions import Action, Actions, LaneId, Send
from onionshh.ids import WhisperId
from onionshh.net.clocks import Clock
from onionshh.net.signals import Poke


class Machine(Protocol):
    """What a driver knows of a Sender or Receiver."""

    def tick(self, now: float) -> Actions: ...

    def next_deadline(self) -> float: ...

    def lane_sent(self, lane: LaneId, whisper: WhisperId | None, now: float) -> Actions: ...

    def lane_used(self, lane: LaneId, now: float) -> Actions: ...


class Driver(abc.ABC):
    """One machine over a set of lanes, which other machines may use too."""

    def __init__(self, machine: Machine, clock: Clock, lanes: LaneSet) -> None:
        self._machine = machine
        self._clock = clock
        self._todo: deque[Action] = deque()
        self._doing = False
        self._sooner = Poke()
        self._asleep_until = inf
        self.lanes = lanes
        lanes.users.append(self)

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

    def let_go_of_lanes(self) -> None:
        """This driver uses no lane any more."""
        if self in self.lanes.users:
            self.lanes.users.remove(self)

    @abc.abstractmethod
    def carry_out(self, action: Action) -> None:
        """Carry out one action, without awaiting anything."""

    @abc.abstractmethod
    def lane_gone(self, number: LaneId) -> None:
        """The lane has ended, and this machine did not end it."""

    def lane_used(self, number: LaneId) -> None:
        """Another machine has used the lane."""
        self.do(self._machine.lane_used(number, self.now()))

    def send(self, send: Send) -> None:
        """Send over its lane, if that still exists."""
        self.lanes.used(send.lane, self)
        self.lanes.send(send, self._left)

    def _left(self, send: Send) -> None:
        self.do(self._machine.lane_sent(send.lane, send.whisper, self.now()))
