"""Nothing acknowledged is lost, nothing is delivered twice, every status is final once and true.

The Sender of `core/delivery` over bad lanes, by seeded runs: lanes that cannot be opened, end at once, lose
records, double them, deliver them late, take nothing for a while, end while records wait in them; an other
end that is full, restarts, answers at once, late, twice or never. Time is virtual: nothing waits.

    python -m simulations.delivery --runs 1000000
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from onionshh.core.chance import Chance
from onionshh.core.delivery.actions import (
    Actions,
    Answered,
    EndLane,
    Failure,
    LaneId,
    NeedLane,
    Send,
    StopOpening,
    Tell,
)
from onionshh.core.delivery.outgoing import FINAL, State
from onionshh.core.delivery.sender import LEAVING_MOST, Sender
from onionshh.core.whisper import EXPIRY_GRACE_SECONDS, WHISPER, Record, new_whisper, receipt_for
from onionshh.ids import WhisperId

STEPS_MOST = 20_000
CALM_SECONDS = 300.0
"""Without a fault for so long, what has not expired must be delivered: no wait between tries is longer."""


class Broken(Exception):
    """The invariant does not hold; the seed says where."""


@dataclass(slots=True)
class _Sent:
    """What the program knows of one whisper."""

    record: Record
    asked_at: float
    deadline: float
    states: list[State] = field(default_factory=list)
    final_at: float = inf
    awaits: bool = False
    answers: list[bytes | None] = field(default_factory=list)


class Run:
    """One run: a program, its Sender, the lanes, the other end."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._sender = Sender(receipt_seconds=10.0, chance=Chance(self._random.randbytes))
        self._now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._sent: dict[WhisperId, _Sent] = {}
        self._bad = self._random.random()  # how bad everything is, from never to nearly always
        self._calm_at = self._random.uniform(0, 900)
        self._lanes: set[LaneId] = set()
        self._in_lane: dict[LaneId, int] = {}
        self._made = 0
        self._opening = 0
        # The other end: what survives a restart, what it showed its program, and what it will answer.
        self._known: set[WhisperId] = set()
        self._shown: list[WhisperId] = []
        self._answers: dict[WhisperId, Record] = {}
        self._full_until = 0.0

    def run(self) -> None:
        """To the end of the last time to live. Broken."""
        for _ in range(self._random.randint(1, 12)):
            self._at(self._random.choice((0.0, self._random.uniform(0, 600))), self._submit)
        for _ in range(STEPS_MOST):
            due = self._sender.next_deadline()
            at = self._events[0][0] if self._events else inf
            if min(due, at) == inf:
                if not self._lanes:
                    break
                self._now += 10_000  # past any time in which one could ask again
                self._cut(next(iter(self._lanes)))
                continue
            if at <= due:
                self._now, _, happens = heapq.heappop(self._events)
                happens()
            else:
                self._now = max(self._now, due)
                self._do(self._sender.tick(self._now))
                self._check(self._sender.next_deadline() > self._now, "the clock stands still")
        else:
            raise Broken("it never ends")
        self._judge()

    # The program.

    def _submit(self) -> None:
        ttl = self._random.choice((1.0, 30.0, 600.0, 600.0, 3600.0))
        body = self._random.randbytes(self._random.choice((0, 10, 300, 60_000)))
        record = new_whisper(
            body, expires=int(self._now + ttl), privacy_class=1, random_bytes=self._random.randbytes
        )
        one = self._sent[record.whisper_id] = _Sent(record, self._now, self._now + ttl)
        self._do(self._sender.submit(record, one.deadline, self._now))
        if self._random.random() < 0.5:
            self._after(self._random.choice((0.0, 40.0, 700.0)), lambda: self._await(record.whisper_id))

    def _await(self, whisper_id: WhisperId) -> None:
        self._sent[whisper_id].awaits = True
        self._do(self._sender.await_answer(whisper_id, self._now))

    # What the Sender asks for.

    def _do(self, actions: Actions) -> None:
        for action in actions:
            match action:
                case Tell(whisper, state):
                    self._told(whisper, state)
                case Answered(whisper, body):
                    self._sent[whisper].answers.append(body)
                case NeedLane(first):
                    self._check(not self._lanes and not self._opening, "a lane too many")
                    self._open(first)
                case StopOpening():
                    self._check(self._opening > 0, "stopped what is not opening")
                    self._opening = 0
                case EndLane(lane):
                    self._check(lane in self._lanes, "ended what is not there")
                    self._lanes.discard(lane)
                case Send(lane, records, whisper_sent):
                    self._check(lane in self._lanes, "sent over what is not there")
                    self._in_lane[lane] += 1
                    self._check(self._in_lane[lane] <= LEAVING_MOST, "too much in a lane")
                    self._take(lane, records, whisper_sent)

    def _told(self, whisper: WhisperId, state: State) -> None:
        one = self._sent[whisper]
        one.states.append(state)
        self._check(one.final_at == inf, "told after the end")
        if state in FINAL:
            one.final_at = self._now
        if state is State.DELIVERED:
            self._check(whisper in self._known, "delivered, and not there")
        if state is State.EXPIRED:
            self._check(self._now >= one.deadline, "expired too early")

    # Lanes.

    def _open(self, first: Record) -> None:
        self._made += 1
        number = self._opening = self._made
        began = self._now
        self._after(self._random.choice((0.05, 1.0, 20.0)), lambda: self._opened(number, first, began))

    def _opened(self, number: int, first: Record, began: float) -> None:
        if self._opening != number:
            return
        self._opening = 0
        if self._fault():
            kind = Failure("busy", nobody=self._random.random() < 0.5)
            self._do(self._sender.lane_failed(kind, self._now))
            return
        lane = LaneId(number)
        self._lanes.add(lane)
        self._in_lane[lane] = 0
        rides = len(first.body) <= 256 and self._random.random() < 0.9
        if rides:
            self._arrive_soon(lane, first)
        self._do(self._sender.lane_opened(lane, began, first.whisper_id if rides else None, self._now))
        if self._fault():
            self._after(self._random.choice((0.0, 5.0, 100.0)), lambda: self._cut(lane))

    def _cut(self, lane: LaneId) -> None:
        self._lanes.discard(lane)
        self._do(self._sender.lane_lost(lane, self._now))  # also of one that we ended

    def _take(self, lane: LaneId, records: tuple[Record, ...], whisper: WhisperId | None) -> None:
        wait = self._random.choice((5.0, 60.0)) if self._fault() else 0.001

        def left() -> None:
            self._in_lane[lane] -= 1
            if lane in self._lanes:
                for record in records:
                    self._arrive_soon(lane, record)
            self._do(self._sender.lane_sent(lane, whisper, self._now))  # also of one that ended

        self._after(wait, left)

    def _arrive_soon(self, lane: LaneId, record: Record) -> None:
        for _ in range(0 if self._fault() else 2 if self._fault() else 1):
            late = self._random.choice((0.0, 30.0)) if self._fault() else 0.05
            self._after(late, lambda: self._arrive(lane, record))

    # The other end.

    def _arrive(self, lane: LaneId, record: Record) -> None:
        if record.kind != WHISPER:
            self._answers.pop(record.in_reply_to, None)
            return
        if self._fault():
            self._full_until = self._now + 20.0
        if record.whisper_id not in self._known:
            if self._now < self._full_until or self._now > record.expires + EXPIRY_GRACE_SECONDS:
                return
            self._known.add(record.whisper_id)
            self._shown.append(record.whisper_id)
            if self._random.random() < 0.7:
                self._answers[record.whisper_id] = new_whisper(
                    b"re " + record.whisper_id,
                    expires=record.expires + 600,
                    privacy_class=1,
                    random_bytes=self._random.randbytes,
                    in_reply_to=record.whisper_id,
                )
        self._say(lane, receipt_for(record, self._random.randbytes))
        answer = self._answers.get(record.whisper_id)
        if answer is not None:
            for _ in range(2 if self._fault() else 1):
                self._after(self._random.choice((0.0, 3.0, 90.0)), lambda: self._say(lane, answer))

    def _say(self, lane: LaneId, record: Record) -> None:
        if self._fault() or lane not in self._lanes:
            return
        self._after(0.05, lambda: self._hear(lane, record))

    def _hear(self, lane: LaneId, record: Record) -> None:
        self._do(self._sender.record_in(lane, record, self._now))

    # The end.

    def _judge(self) -> None:
        self._check(len(set(self._shown)) == len(self._shown), "shown twice")
        for whisper_id, one in self._sent.items():
            self._check(one.final_at <= one.deadline, "no final status by its time")
            if one.deadline > max(one.asked_at, self._calm_at, self._full_until) + CALM_SECONDS:
                self._check(one.states[-1] is State.DELIVERED, "not delivered, though all was calm")
            if one.awaits:
                self._check(len(one.answers) >= 1, "waited for ever")
            for answer in one.answers:
                self._check(answer in (None, b"re " + whisper_id), "another's answer")
            self._check(sum(body is not None for body in one.answers) <= 1, "answered twice")

    def _fault(self) -> bool:
        return self._now < self._calm_at and self._random.random() < 0.4 * self._bad

    def _check(self, true: bool, what: str) -> None:
        if not true:
            raise Broken(what)

    def _after(self, seconds: float, happens: Callable[[], None]) -> None:
        self._at(self._now + seconds, happens)

    def _at(self, when: float, happens: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, happens))


def run(seed: int) -> None:
    """One run. Broken, with the seed."""
    try:
        Run(seed).run()
    except Broken as broken:
        raise Broken(f"seed {seed}: {broken}") from broken


def main() -> None:
    """So many runs, from a seed on."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for seed in range(asked.seed, asked.seed + asked.runs):
        run(seed)
    print(f"{asked.runs} runs: nothing lost, nothing twice, every status final and true")


if __name__ == "__main__":
    main()
