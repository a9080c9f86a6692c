"""The whispers that one side has to deliver, each once, over as many lanes as needed (SPEC 13). Pure.

A lane (today a joined circuit) carries records in both directions for a while, and may end at any moment.
There is one method per input. Each returns the actions that the driver carries out, in order. `outgoing.py`
has the table of a whisper's states.

A whisper that is not acknowledged in time goes out again over another lane with the same id, and waits twice
as long each time. The other end recognises the id. A delivered whisper also goes out again if its answer is
awaited, as long as the other end accepts a copy. The new lane is then the way back for the answer.

`way.py` has the table of the lane, and `receipts.py` has the receipts owed for answers.
"""

from __future__ import annotations

from math import inf
from typing import Final

from onionshh.core.base.chance import Chance
from onionshh.core.delivery.actions import (
    Action,
    Actions,
    Answered,
    Count,
    EndLane,
    Failure,
    LaneId,
    NeedLane,
    Send,
    StopOpening,
    Tell,
)
from onionshh.core.delivery.kept import Kept
from onionshh.core.delivery.outgoing import FINAL, TABLE, Happens, OutgoingWhisper, State
from onionshh.core.delivery.receipts import ReceiptsOwed
from onionshh.core.delivery.record import (
    EXPIRED,
    RECEIPT,
    REFUSED,
    Record,
)
from onionshh.core.delivery.way import Way, WayEvent
from onionshh.ids import WhisperId
from onionshh.reasons import Reason

WAITING_MOST: Final = 1024
"""Whispers without a final status; more are refused."""
NO_ANSWER: Final = "the endpoint is there, but does not answer"


class TooMany(Exception):
    """Too many whispers wait."""


class Sender:
    """`receipt_seconds`: how long to wait for a receipt the first time."""

    def __init__(self, *, receipt_seconds: float, chance: Chance) -> None:
        self._receipt_seconds = receipt_seconds
        self._active: dict[WhisperId, OutgoingWhisper] = {}
        """Whispers without a final state, and whispers whose answers are awaited."""
        self._queue: dict[WhisperId, None] = {}
        """Which of them must go out, in order."""
        self._waiting = 0
        self._kept = Kept()
        self._look_at = inf
        """The earliest time when something may be due for a whisper."""
        self._way = Way(chance)
        self._owed = ReceiptsOwed(chance.bytes)
        self._closed = False

    @property
    def problem(self) -> str:
        """The present problem in words; empty if there is none."""
        return self._way.problem

    @property
    def away(self) -> bool:
        """Whether the last try found nobody there, and no new try has begun."""
        return self._way.away

    # What the program asks for.

    def submit(self, record: Record, deadline: float, now: float) -> Actions:
        """Deliver this whisper before `deadline` (monotonic seconds). Raises TooMany."""
        if self._waiting >= WAITING_MOST:
            raise TooMany
        self._active[record.whisper_id] = OutgoingWhisper(record, deadline)
        self._queue[record.whisper_id] = None
        self._waiting += 1
        self._look_at = min(self._look_at, deadline)
        return self._go_on(now)

    def await_answer(self, whisper_id: WhisperId, now: float) -> Actions:
        """The program now waits for this whisper's answer. `Answered` follows, even if no answer can come."""
        whisper = self._get(whisper_id)
        if whisper is None or self._closed:
            return (Answered(whisper_id, None),)
        whisper.awaited = True
        if self._kept.take(whisper_id) is not None:
            self._active[whisper_id] = whisper
        return self._ask_again(whisper_id, whisper, now) + self._go_on(now)

    def stop_awaiting(self, whisper_id: WhisperId) -> Actions:
        """Nobody waits for this whisper's answer any more."""
        whisper = self._active.get(whisper_id)
        if whisper is not None:
            whisper.awaited = False
            if whisper.state is State.DELIVERED:
                self._finish(whisper_id, whisper)
        return self._stop_if_idle()

    def close(self, why: str) -> Actions:
        """Stop trying and receiving. Receipts that are owed leave if they can."""
        self._closed = True
        actions: list[Action] = []
        for whisper_id, whisper in list(self._active.items()):
            actions += self._move(whisper_id, whisper, Happens.HOPELESS, why)
            if whisper.state is State.DELIVERED:
                actions += self._no_answer(whisper_id, whisper)
        owed = self._owed.take()
        if self._way.lane is not None and owed:
            actions.append(Send(self._way.lane, owed, None))
        return (*actions, *self._stop_if_idle())

    # What happens to lanes.

    def lane_opened(self, lane: LaneId, began: float, rode: WhisperId | None, now: float) -> Actions:
        """A lane is open. `began`: when its opening began. `rode`: the whisper that the opening carried."""
        self._way.opened(lane, now)
        actions: Actions = ()
        if rode is not None and rode in self._queue:
            actions = self._left(rode, lane, began, now) + self._on_its_way(rode, now)
        return actions + self._go_on(now)

    def lane_failed(self, failure: Failure, now: float) -> Actions:
        """No lane could be opened."""
        self._way.failed(failure, now)
        actions: list[Action] = []
        for whisper_id in list(self._queue):
            whisper = self._active[whisper_id]
            if failure.hopeless:
                actions += self._move(whisper_id, whisper, Happens.HOPELESS, failure.why)
            elif whisper.state not in FINAL:
                actions.append(Tell(whisper_id, whisper.state, failure.why))
        return (*actions, *self._go_on(now))

    def lane_sent(self, lane: LaneId, whisper_id: WhisperId | None, now: float) -> Actions:
        """One sending has left completely."""
        if lane != self._way.lane:
            return ()
        self._way.sent(now)
        actions = self._on_its_way(whisper_id, now) if whisper_id is not None else ()
        return actions + self._go_on(now)

    def lane_lost(self, lane: LaneId, now: float) -> Actions:
        """The lane ended, and we did not end it."""
        if lane != self._way.lane:
            return ()
        self._way.lost(now)
        return self._gone(now) + self._go_on(now)

    def record_in(self, lane: LaneId, record: Record, now: float, *, refuse: int | None = None) -> Actions:
        """A receipt, a refusal or an answer arrived. `refuse`: why an answer is not accepted."""
        self._way.heard(lane, now)
        whisper_id = record.in_reply_to
        whisper = self._get(whisper_id)
        actions: Actions = ()
        if record.kind == REFUSED:
            if whisper is not None:
                actions = self._refused(whisper_id, whisper, record.body[0], now)
            return actions + self._go_on(now)
        if whisper is not None:
            trip = now - whisper.left_at if whisper.lane is not None else None
            actions = self._move(
                whisper_id, whisper, Happens.ACKNOWLEDGED, lane=lane, round_trip_seconds=trip
            )
            whisper.due = inf
        if record.kind != RECEIPT:
            if whisper is not None and whisper.answered:
                refuse = None  # a copy: the answer was accepted before, so its dates do not matter
            if refuse is not None:
                actions += (Count(Reason.RECORD_EXPIRED if refuse == EXPIRED else Reason.RECORD_FAR_FUTURE),)
            elif whisper is not None:
                actions += self._answered(whisper_id, whisper, record.body)
            self._owed.add(record, refuse, now)
        return actions + self._go_on(now)

    # Time.

    def tick(self, now: float) -> Actions:
        """Do what is due."""
        actions: list[Action] = []
        late = False
        for whisper_id, whisper in list(self._active.items()):
            if whisper.state is State.DELIVERED:
                if not self._may_be_answered(whisper, now):
                    actions += self._no_answer(whisper_id, whisper)
                    continue
            elif now >= whisper.deadline:
                why = self._way.problem or "no receipt came before its time to live ended"
                actions += self._move(whisper_id, whisper, Happens.EXPIRES, why)
                continue
            if now >= whisper.due:
                whisper.wait *= 2
                late = True
        lane = self._way.lane
        if lane is not None and (late or self._idle_at() <= now):
            if late:
                self._way.problem = NO_ANSWER
            actions.append(EndLane(lane, Reason.RECEIPT_LATE if late else Reason.IDLE))
            actions += self._gone(now)
        actions += self._go_on(now)
        self._look_at = min((self._due_of(whisper, now) for whisper in self._active.values()), default=inf)
        return tuple(actions)

    def next_deadline(self) -> float:
        """When to `tick` next, monotonic seconds. It may be earlier than anything is due."""
        if self._closed:
            return inf
        when = min(self._look_at, self._idle_at())
        if self._way.lane is not None and self._way.has_room:
            when = min(when, self._owed.due_at)
        if self._queue:
            when = min(when, self._way.openable_at)
        return when

    @property
    def waiting(self) -> int:
        """Whispers without a final status."""
        return self._waiting

    # Inside.

    def _go_on(self, now: float) -> Actions:
        """Do what is possible now: send, open a lane, or stop opening one."""
        if self._closed:
            return ()
        lane = self._way.lane
        if lane is None:
            if self._queue and self._way.may_open(now):
                return (NeedLane(self._active[next(iter(self._queue))].record),)
            return self._stop_if_idle()
        actions: list[Action] = []
        while self._queue and self._way.has_room:
            whisper_id = next(iter(self._queue))
            record = self._active[whisper_id].record
            actions += self._left(whisper_id, lane, now, now)
            actions.append(self._sending(lane, record, whisper_id))
        if self._way.has_room and now >= self._owed.due_at:
            actions.append(self._sending(lane, None, None))
        return tuple(actions)

    def _sending(self, lane: LaneId, record: Record | None, whisper_id: WhisperId | None) -> Send:
        owed = self._owed.take()
        self._way.sending()
        return Send(lane, owed if record is None else (*owed, record), whisper_id)

    def _stop_if_idle(self) -> Actions:
        return (StopOpening(),) if not self._queue and self._way.move(WayEvent.STOPPED) else ()

    def _left(self, whisper_id: WhisperId, lane: LaneId, left_at: float, now: float) -> Actions:
        """The whisper was handed to the lane, which now has some time to send it."""
        whisper = self._active[whisper_id]
        del self._queue[whisper_id]
        whisper.lane, whisper.left_at = lane, left_at
        whisper.wait = whisper.wait or self._receipt_seconds
        self._is_due(whisper, now + whisper.wait)
        return self._move(whisper_id, whisper, Happens.LEFT)

    def _on_its_way(self, whisper_id: WhisperId, now: float) -> Actions:
        """The whisper's last cell has left: its receipt is due from now on."""
        whisper = self._active.get(whisper_id)
        if whisper is None or whisper.lane is None or whisper.due == inf:
            return ()
        self._is_due(whisper, now + whisper.wait)
        if whisper.state is not State.OUT:
            return ()
        return (Tell(whisper_id, State.OUT, lane=whisper.lane),)

    def _is_due(self, whisper: OutgoingWhisper, when: float) -> None:
        whisper.due = when
        self._look_at = min(self._look_at, when)

    def _due_of(self, whisper: OutgoingWhisper, now: float) -> float:
        if whisper.state is not State.DELIVERED:
            return min(whisper.deadline, whisper.due)
        # After that time an answer can come only over the present lane, so the end of the lane decides.
        askable_until = whisper.askable_until
        return min(whisper.due, askable_until if askable_until > now else inf)

    def _get(self, whisper_id: WhisperId) -> OutgoingWhisper | None:
        return self._active.get(whisper_id) or self._kept.get(whisper_id)

    def _move(
        self,
        whisper_id: WhisperId,
        whisper: OutgoingWhisper,
        happens: Happens,
        why: str = "",
        *,
        lane: LaneId | None = None,
        refused: int | None = None,
        seconds_left: float = 0.0,
        round_trip_seconds: float | None = None,
    ) -> Actions:
        """Change the state by the table; returns what to tell the program."""
        becomes = TABLE.get((whisper.state, happens))
        if becomes is None:
            return ()
        whisper.state = becomes
        if becomes not in FINAL:
            return ()
        self._waiting -= 1
        self._queue.pop(whisper_id, None)
        told = Tell(whisper_id, becomes, why, lane, refused, seconds_left, round_trip_seconds)
        if becomes is not State.DELIVERED:
            del self._active[whisper_id]
            return (told, Answered(whisper_id, None))
        if not whisper.awaited:
            self._finish(whisper_id, whisper)
        return (told,)

    def _answered(self, whisper_id: WhisperId, whisper: OutgoingWhisper, body: bytes) -> Actions:
        if whisper.answered:
            return ()
        whisper.answered = True
        self._finish(whisper_id, whisper)
        return (Answered(whisper_id, body),)

    def _refused(self, whisper_id: WhisperId, whisper: OutgoingWhisper, why: int, now: float) -> Actions:
        happens = Happens.OVERDUE if why == EXPIRED else Happens.TOO_FAR
        left = whisper.deadline - now
        actions = self._move(whisper_id, whisper, happens, refused=why, seconds_left=left)
        if not actions and whisper_id in self._active:
            return self._no_answer(whisper_id, whisper)  # a copy came too late
        return actions

    def _no_answer(self, whisper_id: WhisperId, whisper: OutgoingWhisper) -> Actions:
        whisper.awaited = False
        self._finish(whisper_id, whisper)
        return (Answered(whisper_id, None),)

    def _may_be_answered(self, whisper: OutgoingWhisper, now: float) -> bool:
        return self._is_on(whisper) or now < whisper.askable_until

    def _is_on(self, whisper: OutgoingWhisper) -> bool:
        """Whether the lane that the whisper last went out on still exists."""
        return whisper.lane is not None and whisper.lane == self._way.lane

    def _ask_again(self, whisper_id: WhisperId, whisper: OutgoingWhisper, now: float) -> Actions:
        """Send a delivered whisper again to get its answer, if the lane that it went out on has ended."""
        if whisper.state is not State.DELIVERED or self._is_on(whisper):
            return ()
        if whisper.answered or now >= whisper.askable_until:
            return self._no_answer(whisper_id, whisper)
        self._queue[whisper_id] = None
        self._look_at = min(self._look_at, whisper.askable_until)
        return ()

    def _gone(self, now: float) -> Actions:
        """The lane has ended: whispers not acknowledged on it go over another lane."""
        self._way.move(WayEvent.GONE)
        actions: list[Action] = []
        for whisper_id, whisper in list(self._active.items()):
            if whisper.lane is not None:
                whisper.lane, whisper.due = None, inf
                actions += self._move(whisper_id, whisper, Happens.LOST)
                actions += self._ask_again(whisper_id, whisper, now)
        again = {key: None for key, whisper in self._active.items() if whisper.state is State.QUEUED}
        self._queue = again | self._queue  # in the order of submission; those sent for answers come last
        return tuple(actions)

    def _idle_at(self) -> float:
        return inf if self._active else self._way.idle_at

    def _finish(self, whisper_id: WhisperId, whisper: OutgoingWhisper) -> None:
        """The whisper is delivered, and nobody awaits its answer."""
        self._active.pop(whisper_id, None)
        self._queue.pop(whisper_id, None)
        self._kept.put(whisper_id, whisper)
