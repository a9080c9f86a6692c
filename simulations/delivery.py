"""Nothing acknowledged is lost, nothing is delivered twice, every final status is told once and is true.

Seeded runs of the Sender and the Receiver of `core/delivery` with many faults. Lanes cannot be opened, end at
once, lose, double or delay records, take nothing for a while, or end while records wait in them. The disks of
both ends are slow and fail. The inbox is full. The program is quick or slow, answers or not, raises, or is
killed and started again. Time is virtual: nothing waits.

In some runs the two ends have a session. Then whispers and questions may go alone, in one cell. The other end
opens lanes too, when a reply waits or when it wants to. In some runs the other end sends no receipts, and
some whispers want none.

    python -m simulations.delivery --runs 1000000
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, inf

from onionshh.core.base.chance import Chance
from onionshh.core.delivery.actions import (
    Actions,
    Answered,
    CallBack,
    EndLane,
    Erase,
    Failure,
    Finish,
    Judge,
    Keep,
    KeepAnswer,
    LaneId,
    NeedLane,
    Offer,
    Remember,
    Repeat,
    RepeatAll,
    Send,
    StopOpening,
    Tell,
)
from onionshh.core.delivery.incoming import Taken
from onionshh.core.delivery.outgoing import ASKABLE_SECONDS, FINAL, THERE, State
from onionshh.core.delivery.receiver import Receiver
from onionshh.core.delivery.record import ASK, RECEIPT, REFUSED, WHISPER, Record, about, new_whisper
from onionshh.core.delivery.sender import ASKS_SECONDS, Sender
from onionshh.core.delivery.way import SENDINGS_MOST
from onionshh.ids import WhisperId

STEPS_MOST = 20_000
SLOWEST_SECONDS = 90.0
"""The longest time that the program needs for one whisper."""
CALM_SECONDS = 300.0
"""After this time without faults, a whisper that has not expired must be delivered, since no pause between
tries is longer."""
ONE_CELL_SECONDS = 20.0
"""How long the way back of a record that came alone is there."""
PEER = b"the visitor's id"
"""The id of the session."""


class Broken(Exception):
    """The invariant is broken. The seed repeats the run."""


@dataclass(slots=True)
class _Sent:
    """What the program knows about one whisper."""

    record: Record
    asked_at: float
    deadline: float
    states: list[State] = field(default_factory=list)
    final_at: float = inf
    awaits: bool = False
    awaited_at: float = inf
    answers: list[Record | None] = field(default_factory=list)


class Run:
    """One run: a program, its Sender, the lanes, the other end."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.session = PEER if self.random.random() < 0.6 else None
        self.receipts = self.random.random() < 0.85
        self._keeps = self.random.random() < 0.5
        self._sender = Sender(
            receipt_seconds=10.0,
            chance=Chance(self.random.randbytes),
            keeps_answers=self._keeps,
        )
        self._disk: set[WhisperId] = set()
        """The answers on the disk of this end, by their own ids."""
        self._given: set[WhisperId] = set()
        """The answers that the program has."""
        self._now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._sent: dict[WhisperId, _Sent] = {}
        self._bad = self.random.random()  # how bad everything is, from never to nearly always
        self._calm_at = self.random.uniform(0, 900)
        self._lanes: set[LaneId] = set()
        self._theirs: set[LaneId] = set()
        """Lanes that our Sender never used: each brought one cell, or was opened when one was in use."""
        self._in_lane: dict[LaneId, int] = {}
        self._made = 0
        self._opening = 0
        self._end = OtherEnd(self)

    def run(self) -> None:
        """Run until the last time to live ends. Raises Broken."""
        for _ in range(self.random.randint(1, 12)):
            self._at(self.random.choice((0.0, self.random.uniform(0, 600))), self._submit)
        for _ in range(self.random.randint(0, 4)):
            self._at(self.random.uniform(0, 3000), self._end.tidy)
            if self.session is not None:
                self._at(self.random.uniform(0, 3000), self.called)
        for _ in range(STEPS_MOST):
            due = min(self._sender.next_deadline(), self._end.receiver.next_deadline())
            at = self._events[0][0] if self._events else inf
            if min(due, at) == inf:
                if not self._lanes:
                    break
                self._now += 10_000  # after this, no whisper can ask again
                self.cut(next(iter(self._lanes)))
                continue
            if at <= due:
                self._now, _, happens = heapq.heappop(self._events)
                happens()
            else:
                self._now = max(self._now, due)
                self._do(self._sender.tick(self._now))
                self._end.do(self._end.receiver.tick(self._now))
                self.check(self._sender.next_deadline() > self._now, "the sender's clock stands still")
                self.check(
                    self._end.receiver.next_deadline() > self._now, "the receiver's clock stands still"
                )
        else:
            raise Broken("it never ends")
        self._judge()

    # The program.

    def _submit(self) -> None:
        ttl = self.random.choice((1.0, 30.0, 600.0, 600.0, 3600.0))
        body = self.random.randbytes(self.random.choice((0, 10, 300, 60_000)))
        record = new_whisper(
            body,
            expires=ceil(self._now + ttl),
            privacy_class=1,
            random_bytes=self.random.randbytes,
            receipt_wanted=self.receipts and self.random.random() < 0.85,
        )
        sent = self._sent[record.whisper_id] = _Sent(record, self._now, self._now + ttl)
        self._do(self._sender.submit(record, sent.deadline, self._now))
        if self.random.random() < 0.5:
            self.after(self.random.choice((0.0, 40.0, 700.0)), lambda: self._await(record.whisper_id))

    def _await(self, whisper_id: WhisperId) -> None:
        self._sent[whisper_id].awaits, self._sent[whisper_id].awaited_at = True, self._now
        self._do(self._sender.await_answer(whisper_id, self._now))

    # What the Sender asks for.

    def _do(self, actions: Actions) -> None:
        for action in actions:
            match action:
                case Tell(whisper, state):
                    self._told(whisper, state)
                case Answered(whisper, answer):
                    self._answered(whisper, answer)
                case Remember(token, (KeepAnswer(answer),)):
                    self._keep(token, answer)
                case NeedLane(first):
                    self.check(self._lanes <= self._theirs, "a lane too many")
                    self._open(first)
                case StopOpening():
                    self.check(self._opening > 0, "stopped what is not opening")
                    self._opening = 0
                case EndLane(lane):
                    self.check(lane in self._lanes, "ended what is not there")
                    self.end_lane(lane)
                case Send(lane, records, whisper_sent):
                    self._look(records)
                    if lane in self._theirs or (whisper_sent is None and lane != self._sender.lane):
                        if lane in self._lanes:  # a receipt may go back over a lane that has ended
                            self._take(lane, records, whisper_sent)
                        continue
                    self.check(lane in self._lanes, "sent over what is not there")
                    self._in_lane[lane] += 1
                    self.check(self._in_lane[lane] <= SENDINGS_MOST, "too much in a lane")
                    self._take(lane, records, whisper_sent)

    def _told(self, whisper: WhisperId, state: State) -> None:
        sent = self._sent[whisper]
        turns_out = (sent.states[-1:], state) == ([State.SENT], State.DELIVERED)
        sent.states.append(state)
        self.check(sent.final_at == inf or turns_out, "told after the end")
        if state in FINAL:
            sent.final_at = min(sent.final_at, self._now)
        if state is State.SENT:
            self.check(not sent.record.receipt_wanted, "sent, and a receipt was wanted")
        if state is State.DELIVERED:
            self.check(whisper in self._end.disk.seen, "delivered, and not there")
        if state is State.EXPIRED:
            self.check(self._now >= sent.deadline, "expired too early")

    def _answered(self, whisper: WhisperId, answer: Record | None) -> None:
        self._sent[whisper].answers.append(answer)
        if answer is not None:
            self._given.add(answer.whisper_id)
            if self._keeps:
                self.check(answer.whisper_id in self._disk, "an answer was shown before it was on disk")

    def _keep(self, token: int, answer: Record) -> None:
        """The disk of this end."""
        fails = self.fault()

        def done() -> None:
            if fails:
                self._do(self._sender.not_remembered(token, self._now))
            else:
                self.check(answer.whisper_id not in self._disk, "an answer was written twice")
                self._disk.add(answer.whisper_id)
                self._do(self._sender.remembered(token, self._now))

        self.after(self.random.choice((0.0, 0.001, 3.0)) if self.fault() else 0.001, done)

    def _look(self, records: tuple[Record, ...]) -> None:
        """Check that an answer was given before its receipt leaves, unless its whisper had failed."""
        for record in records:
            if record.kind == RECEIPT:
                failed = self._sent[self._end.disk.whispers[record.in_reply_to]].states[-1] not in THERE
                self.check(failed or record.in_reply_to in self._given, "acknowledged an answer not given")

    # Lanes.

    def _open(self, first: Record) -> None:
        self._made += 1
        number = self._opening = self._made
        began = self._now
        self.after(self.random.choice((0.05, 1.0, 20.0)), lambda: self._opened(number, first, began))

    def _opened(self, number: int, first: Record, began: float) -> None:
        if self._opening != number:
            return
        self._opening = 0
        if self.fault():
            kind = Failure("busy", nobody=self.random.random() < 0.5)
            self._do(self._sender.lane_failed(kind, self._now))
            return
        lane = LaneId(number)
        small = len(first.body) <= 256
        if small and self.session is not None and self.random.random() < 0.4:
            self._goes_alone(lane, first, began)
            return
        if self._sender.lane is not None:
            self._theirs.add(self._sender.lane)  # we opened one meanwhile, and use it from now on
        self._begin(lane)
        rides = small and self.random.random() < 0.9
        if rides:
            self._arrive_soon(lane, first)
        self._do(self._sender.lane_opened(lane, began, about(first) if rides else None, self._now))
        if self.fault():
            self.after(self.random.choice((0.0, 5.0, 100.0)), lambda: self.cut(lane))

    def _begin(self, lane: LaneId) -> None:
        """A lane is there, and its other end serves it."""
        self._lanes.add(lane)
        self._in_lane[lane] = 0
        self._end.do(self._end.receiver.lane_opened(lane, int(self._now), self._now, self.session))

    def _goes_alone(self, lane: LaneId, record: Record, began: float) -> None:
        """The record leaves in one cell. What answers it comes by itself, for a while."""
        self._theirs.add(lane)
        if not self.fault():
            self._begin(lane)
            self._arrive_soon(lane, record)
            self.after(ONE_CELL_SECONDS, lambda: self.cut(lane))
        self._do(self._sender.went_alone(about(record), began, self._now))

    def called(self) -> None:
        """The other end opens a lane."""
        if self.fault():
            return
        self._made += 1
        lane = LaneId(self._made)
        self._theirs.add(lane)  # also while we use it: the end that opened it ends it
        self._begin(lane)
        self._do(self._sender.lane_adopted(lane, self._now))
        if lane in self._lanes:
            self.after(self.random.choice((0.0, 5.0, 100.0)), lambda: self.cut(lane))

    def cut(self, lane: LaneId) -> None:
        self.end_lane(lane)
        self._do(self._sender.lane_lost(lane, self._now))  # also for a lane that we ended

    @property
    def newest_lane(self) -> LaneId | None:
        """The lane that opened last, of those that are open."""
        return max(self._lanes, default=None)

    def end_lane(self, lane: LaneId) -> None:
        """The lane ends, and its other end notices."""
        if lane in self._lanes:
            self._lanes.discard(lane)
            self._end.do(self._end.receiver.lane_lost(lane, self._end._best(), self._now))

    def cut_all(self) -> None:
        """Cut all lanes, because the other end is gone."""
        for lane in list(self._lanes):
            self.cut(lane)

    def _take(self, lane: LaneId, records: tuple[Record, ...], whisper: WhisperId | None) -> None:
        wait = self.random.choice((5.0, 60.0)) if self.fault() else 0.001

        def left() -> None:
            if lane not in self._theirs:
                self._in_lane[lane] -= 1
            if lane in self._lanes:
                for record in records:
                    self._arrive_soon(lane, record)
            self._do(self._sender.lane_sent(lane, whisper, self._now))  # also for a lane that ended

        self.after(wait, left)

    def _arrive_soon(self, lane: LaneId, record: Record) -> None:
        for _ in range(0 if self.fault() else 2 if self.fault() else 1):
            late = self.random.choice((0.0, 30.0)) if self.fault() else 0.05
            self.after(late, lambda: self._arrive(lane, record))

    def _arrive(self, lane: LaneId, record: Record) -> None:
        if lane in self._lanes:
            self._end.arrive(lane, record)

    def say_anywhere(self, record: Record) -> None:
        """The other end sends this over a lane, if one is open."""
        for lane in list(self._lanes)[:1]:
            self.say(lane, record)

    def say(self, lane: LaneId, record: Record) -> None:
        """The other end sends this."""
        for _ in range(0 if self.fault() else 2 if self.fault() else 1):
            late = self.random.choice((0.0, 30.0)) if self.fault() else 0.05
            self.after(late, lambda: self._hear(lane, record))

    def _hear(self, lane: LaneId, record: Record) -> None:
        if lane in self._lanes:
            self._do(self._sender.record_in(lane, record, self._now))

    # The end.

    def _judge(self) -> None:
        busy = SLOWEST_SECONDS * len(
            self._sent
        )  # the program takes one whisper after another, perhaps with room for one only
        for whisper_id, sent in self._sent.items():
            self.check(sent.final_at <= sent.deadline, "no final status by its time")
            if sent.deadline > max(sent.asked_at, self._calm_at) + CALM_SECONDS + busy:
                there = THERE if not sent.record.receipt_wanted else {State.DELIVERED}
                self.check(sent.states[-1] in there, "not delivered, though all was calm")
            if sent.awaits:
                self.check(len(sent.answers) >= 1, "waited without end")
            answers = [answer for answer in sent.answers if answer is not None]
            self.check(len(answers) <= 1, "answered twice")
            for answer in answers:
                self.check(answer.body == b"re " + whisper_id, "another's answer")
            if sent.awaits and self._could_be_asked_for(whisper_id, sent):
                self.check(bool(answers), "an answer was there, and could be asked for, and did not come")

        disk = self._end.disk
        self.check(not disk.finished & set(disk.rows), "finished, and still there")
        delivered = {key for key, sent in self._sent.items() if sent.states[-1:] == [State.DELIVERED]}
        self.check(delivered <= disk.finished | set(disk.rows), "acknowledged, and lost")

    def _could_be_asked_for(self, whisper_id: WhisperId, sent: _Sent) -> bool:
        """Whether the answer was there, and all was calm, for longer than any pause between two questions."""
        made_at = self._end.disk.replied_at.get(whisper_id, inf)
        begins = max(made_at, sent.awaited_at, self._calm_at)
        return begins + ASKS_SECONDS[-1] + CALM_SECONDS < sent.deadline + ASKABLE_SECONDS

    @property
    def now(self) -> float:
        """Virtual seconds."""
        return self._now

    def fault(self) -> bool:
        """Whether a fault happens here."""
        return self._now < self._calm_at and self.random.random() < 0.4 * self._bad

    def check(self, true: bool, what: str) -> None:
        if not true:
            raise Broken(what)

    def after(self, seconds: float, happens: Callable[[], None]) -> None:
        self._at(self._now + seconds, happens)

    def _at(self, when: float, happens: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, happens))


@dataclass(slots=True)
class _Disk:
    """What survives when the program is killed."""

    seen: set[WhisperId] = field(default_factory=set)
    rows: dict[WhisperId, tuple[Taken, int]] = field(default_factory=dict)
    replies: dict[WhisperId, Record] = field(default_factory=dict)
    finished: set[WhisperId] = field(default_factory=set)
    whispers: dict[WhisperId, WhisperId] = field(default_factory=dict)
    """To which whisper each reply belongs, for good."""
    replied_at: dict[WhisperId, float] = field(default_factory=dict)
    """When each reply was written for the first time, by whisper."""


class OtherEnd:
    """An endpoint: its Receiver, its disk, its program."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.disk = _Disk()
        self._most = run.random.choice((1, 2, 1024))
        self._life = 0
        self._start()

    def _start(self) -> None:
        """Start its program, perhaps again. A whisper that it held and did not finish is not held now."""
        self._life += 1
        self.receiver = Receiver(self._run.random.randbytes, most=self._most, receipts=self._run.receipts)
        self.receiver.inbox.restored(
            (key, len(taken.body), taken.expires, shown, taken.session)
            for key, (taken, shown) in self.disk.rows.items()
        )
        replies = [(reply.whisper_id, self._run.session) for reply in self.disk.replies.values()]
        self.do(self.receiver.counted(len(self.disk.seen), replies, self._best(), self._run.now))
        self.do(self.receiver.inbox.want(self._best()))

    def _best(self) -> int:
        return int(self._run.now)

    def arrive(self, lane: LaneId, record: Record) -> None:
        """A record arrives over a lane."""
        best = self._best()
        asks = record.kind in (WHISPER, ASK)
        refuse = record.why_refused(earliest=best, best=best) if asks else None
        self.do(
            self.receiver.record_in(
                lane,
                record,
                known=asks and about(record) in self.disk.seen,
                refuse=refuse,
                more=self._run.random.random() < 0.2,
                received_at=self._run.now,
                best=best,
                now=self._run.now,
            )
        )

    def do(self, actions: Actions) -> None:
        """Carry out what the Receiver asks for."""
        for action in actions:
            match action:
                case Send(lane, records, reply):
                    for record in records:
                        self._look(record)
                        self._run.say(lane, record)
                    self.do(self.receiver.lane_sent(lane, reply, self._run.now))
                case Remember():
                    self._commit(action)
                case Offer(whisper, taken):
                    self._offered(whisper, taken)
                case Judge(lane, record):
                    self._run.after(0.01, lambda lane=lane, record=record: self._judge(lane, record))  # type: ignore[misc]
                case Repeat(lane, whisper):
                    if whisper in self.disk.replies:
                        self.do(self.receiver.repeated(lane, self.disk.replies[whisper]))
                case RepeatAll():
                    self._run.after(0.01, self._bring_replies)
                case CallBack():
                    self._run.after(self._run.random.choice((0.1, 5.0)), self._run.called)
                case Erase(reply):
                    self.disk.replies = {
                        key: kept for key, kept in self.disk.replies.items() if kept.whisper_id != reply
                    }
                case EndLane(lane):
                    self._run.after(0.05, lambda lane=lane: self._run.cut(lane))  # type: ignore[misc]

    def _bring_replies(self) -> None:
        """What another Sender does for the replies that wait: over any lane that is open."""
        for reply in self.disk.replies.values():
            self._run.say_anywhere(reply)

    def tidy(self) -> None:
        """End idle lanes."""
        self.do(self.receiver.tidy(self._run.now))

    def _judge(self, lane: LaneId, record: Record) -> None:
        self.arrive(lane, record)

    def _look(self, record: Record) -> None:
        """Check that a whisper is on disk or finished before its receipt or reply leaves."""
        self._run.check(record.kind != RECEIPT or self._run.receipts, "a receipt where none is sent")
        if record.kind != REFUSED:
            self._run.check(record.in_reply_to in self.disk.seen, "acknowledged before it was on disk")

    def _commit(self, remember: Remember) -> None:
        life = self._life
        fails = self._run.fault()

        def done() -> None:
            if life != self._life:
                return  # the program was killed since then
            if fails:
                self.do(self.receiver.not_remembered(remember.token, self._best(), self._run.now))
                for row in remember.rows:
                    if isinstance(row, Finish):  # the program tries again later
                        self._run.after(1.0, lambda row=row: self._finish(row.whisper, row.reply, life))  # type: ignore[misc]
                return
            for row in remember.rows:
                if isinstance(row, Keep):
                    key = row.whisper.whisper_id
                    if key not in self.disk.seen:
                        self.disk.seen.add(key)
                        self.disk.rows[key] = (row.whisper, row.shown)
                elif isinstance(row, Finish):
                    self._end_row(row)
            self.do(self.receiver.remembered(remember.token, self._best(), self._run.now))
            if any(isinstance(row, Finish) for row in remember.rows):
                self.do(self.receiver.inbox.want(self._best()))

        self._run.after(self._run.random.choice((0.0, 0.001, 3.0)) if self._run.fault() else 0.001, done)

    def _end_row(self, row: Finish) -> None:
        self.disk.seen.add(row.whisper)
        self.disk.rows.pop(row.whisper, None)
        self._run.check(row.whisper not in self.disk.finished, "finished twice")
        self.disk.finished.add(row.whisper)
        if row.reply is not None:
            self.disk.replies[row.whisper] = row.reply
            self.disk.whispers[row.reply.whisper_id] = row.whisper
            self.disk.replied_at[row.whisper] = self._run.now

    def _offered(self, whisper: WhisperId, taken: Taken | None) -> None:
        """Show a whisper to the program."""
        self._run.check(whisper not in self.disk.finished, "shown after it was finished")
        if taken is None:
            row, shown = self.disk.rows[whisper]
            self.disk.rows[whisper] = (row, shown + 1)
        life = self._life
        if self._run.fault() and self._run.random.random() < 0.3:
            self._run.after(self._run.random.choice((0.0, 0.5)), lambda: self._killed(life))
            return
        if self._run.fault():
            self._run.after(0.5, lambda: self._raised(whisper, life))
            return
        reply = None
        if self._run.random.random() < 0.7:
            reply = new_whisper(
                b"re " + whisper,
                expires=self._best() + 4000,
                privacy_class=1,
                random_bytes=self._run.random.randbytes,
                in_reply_to=whisper,
            )
        takes = self._run.random.choice((0.0, 0.01, 0.5, SLOWEST_SECONDS))
        self._run.after(takes, lambda: self._finish(whisper, reply, life))

    def _finish(self, whisper: WhisperId, reply: Record | None, life: int) -> None:
        if life == self._life:
            self.do((self.receiver.finish(whisper, reply, self._run.now + 4000),))

    def _raised(self, whisper: WhisperId, life: int) -> None:
        if life == self._life:
            self.do(self.receiver.inbox.let_go(whisper, self._best()))
            self.do(self.receiver.inbox.want(self._best()))

    def _killed(self, life: int) -> None:
        if life == self._life:
            self._run.cut_all()
            self._start()


def run(seed: int) -> None:
    """One run. Raises Broken with the seed."""
    try:
        Run(seed).run()
    except Broken as broken:
        raise Broken(f"seed {seed}: {broken}") from broken


def main() -> None:
    """Do `--runs` runs, from `--seed` on."""
    parser = argparse.ArgumentParser(
        prog="python -m simulations.delivery", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for seed in range(asked.seed, asked.seed + asked.runs):
        run(seed)
    print(f"{asked.runs} runs: nothing lost, nothing twice, every status final and true")


if __name__ == "__main__":
    main()
