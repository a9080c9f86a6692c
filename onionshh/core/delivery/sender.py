"""The whispers that one side has to deliver, each once, over as many lanes as needed (SPEC 13). Pure.

A lane carries records in both directions for a while, and may end at any moment. There is one method per
input. Each returns the actions that the driver carries out, in order. `outgoing.py` has the table of a
whisper's states, `way.py` that of the lane, and `receipts.py` has the receipts owed for answers.

A whisper that is not acknowledged in time goes out again over another lane with the same id, and waits twice
as long each time. The other end recognises the id. Some whispers go out alone, in one cell and over no lane;
their receipts come by another way.

The answer to a delivered whisper may take hours. Its lane then ends, and from time to time a small question
(ASK) goes out over another lane, which is the way back for the answer. If nothing at all comes back to it,
the other end does not know the whisper any more, and the whole whisper goes out again, as long as the other
end accepts a copy.

With `letters`, a whisper that does not arrive live is left in the other end's mailbox (`lettering.py`). Once
enough relays keep it, it is STORED. Then questions for its receipt go out as for an answer, and the first
receipt or answer by whichever way makes it DELIVERED. What relays still keep of it is then recalled.

With `keeps_answers`, an answer is on disk before it is shown and before its receipt leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

from onionshh.core.base.chance import Chance
from onionshh.core.delivery.actions import (
    Action,
    Actions,
    Answered,
    Count,
    Deposit,
    EndLane,
    Failure,
    KeepAnswer,
    LaneId,
    NeedLane,
    Recall,
    Remember,
    Send,
    StopOpening,
    Tell,
    Unheard,
)
from onionshh.core.delivery.kept import Kept
from onionshh.core.delivery.lettering import Lettering
from onionshh.core.delivery.outgoing import (
    ASKED_FOR,
    FINAL,
    TABLE,
    THERE,
    Body,
    Happens,
    OutgoingWhisper,
    State,
)
from onionshh.core.delivery.receipts import ReceiptsOwed
from onionshh.core.delivery.record import (
    EXPIRED,
    PART,
    RECEIPT,
    REFUSED,
    WHISPER,
    Record,
    question_for,
)
from onionshh.core.delivery.way import IDLE_SECONDS, Way, WayEvent
from onionshh.ids import WhisperId
from onionshh.reasons import Reason

WAITING_MOST: Final = 1024
"""Whispers without a final status; more are refused."""
NO_ANSWER: Final = "the endpoint is there, but does not answer"
ALONE_SECONDS: Final = 20.0
"""How long to wait for the receipt of a whisper that went out alone: another circuit must bring it."""
ASKS_SECONDS: Final = (60.0, 120.0, 240.0, 480.0, 960.0, 1800.0)
"""The pauses between questions for an answer."""


class TooMany(Exception):
    """Too many whispers wait."""


class Sender:
    """`receipt_seconds`: how long to wait for a receipt the first time. `idle_seconds`: as in `Way`.
    `letters`: whether whispers may be left in the other end's mailbox."""

    def __init__(
        self,
        *,
        receipt_seconds: float,
        chance: Chance,
        idle_seconds: tuple[float, float] = IDLE_SECONDS,
        keeps_answers: bool = False,
        letters: bool = False,
    ) -> None:
        self._terms = _Terms(receipt_seconds, letters)
        self._random_bytes = chance.bytes
        self._active: dict[WhisperId, OutgoingWhisper] = {}
        """Whispers without a final state, and whispers whose answers are awaited."""
        self._queue: dict[WhisperId, None] = {}
        """Which of them must go out, in order."""
        self._waiting = 0
        self._kept = Kept()
        self._look_at = inf
        """The earliest time when something may be due for a whisper."""
        self._way = Way(chance, idle_seconds)
        self._owed = ReceiptsOwed(chance.bytes)
        self._answers = _AnswersBeingKept(keeps_answers)
        self._closed = False
        self.gets_receipts = True
        """Whether the other end sends receipts at all."""

    @property
    def problem(self) -> str:
        """The present problem in words; empty if there is none."""
        return self._way.problem

    @property
    def away(self) -> bool:
        """Whether the last try found nobody there, and no new try has begun."""
        return self._way.away

    @property
    def lane(self) -> LaneId | None:
        """The lane in use."""
        return self._way.lane

    @property
    def has_room(self) -> bool:
        """Whether one more whisper may be submitted."""
        return self._waiting < WAITING_MOST

    def knows(self, whisper_id: WhisperId) -> bool:
        """Whether it was asked to deliver this whisper before."""
        return self._get(whisper_id) is not None

    @property
    def awaits_mail(self) -> bool:
        """Whether the other end may answer by mailbox to something that was left for it, or whose answer the
        program waits for."""
        return any(
            whisper.letter is not None and (whisper.letter.left or whisper.awaited)
            for whisper in self._active.values()
        )

    def record(self, whisper_id: WhisperId) -> Record | None:
        """A whisper on its way, while its body is here and nothing final is known of it."""
        whisper = self._active.get(whisper_id)
        if whisper is None or whisper.state in FINAL or whisper.body is not Body.HERE:
            return None
        return whisper.record

    def is_keeping(self, whisper_id: WhisperId) -> bool:
        """Whether the answer to this whisper is being written to disk."""
        return self._answers.is_keeping(whisper_id)

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to deliver, awaits no answer, and uses no lane."""
        return not self._active and self._way.lane is None

    # What the program asks for.

    def submit(self, record: Record, deadline: float, now: float) -> Actions:
        """Deliver this whisper before `deadline` (monotonic seconds). Raises TooMany."""
        if not self.has_room:
            raise TooMany
        letter = Lettering(deadline) if self._terms.letters and record.kind == WHISPER else None
        whisper = OutgoingWhisper(record, deadline, letter=letter)
        if letter is not None:
            letter.begin(now)
        self._active[record.whisper_id] = whisper
        self._queue[record.whisper_id] = None
        self._waiting += 1
        self._look_at = min(self._look_at, self._due_of(whisper, now))
        return self._go_on(now)

    def restored(self, record: Record, deadline: float, state: State = State.DELIVERED) -> None:
        """Know a whisper that left in an earlier run, and is SENT or DELIVERED: its answer may still come.
        The body is erased, so only questions for the answer go out."""
        whisper = OutgoingWhisper(record, deadline, state, body=Body.ERASED)
        self._kept.put(record.whisper_id, whisper)

    def restored_letter(self, whisper_id: WhisperId) -> None:
        """This whisper, which was submitted just now, was left in a mailbox in an earlier run. The driver
        goes on with that."""
        whisper = self._active.get(whisper_id)
        if whisper is not None and whisper.letter is not None:
            whisper.letter.was_left()

    def await_answer(self, whisper_id: WhisperId, now: float) -> Actions:
        """The program now waits for this whisper's answer. `Answered` follows, even if no answer can come."""
        whisper = self._get(whisper_id)
        if whisper is None or self._closed:
            return (Answered(whisper_id, None),)
        whisper.awaited = True
        if self._kept.take(whisper_id) is not None:
            self._active[whisper_id] = whisper
        return self._ask_again(whisper_id, whisper, now, after_pause=False) + self._go_on(now)

    def stop_awaiting(self, whisper_id: WhisperId) -> Actions:
        """Nobody waits for this whisper's answer any more."""
        whisper = self._active.get(whisper_id)
        if whisper is not None:
            whisper.awaited = False
            if whisper.state in THERE:
                self._finish(whisper_id, whisper)
        return self._stop_if_idle()

    def give_up(self, whisper_id: WhisperId, why: str, now: float) -> Actions:
        """Do not deliver this whisper any more."""
        whisper = self._active.get(whisper_id)
        if whisper is None:
            return ()
        return self._move(whisper_id, whisper, Happens.HOPELESS, why) + self._go_on(now)

    def close(self, why: str, why_stored: str = "") -> Actions:
        """Stop trying and receiving. Receipts that are owed leave if they can. What is in a mailbox stays
        there. `why_stored`: what is said of it."""
        self._closed = True
        actions: list[Action] = []
        for whisper_id, whisper in list(self._active.items()):
            said = (why_stored or why) if whisper.state is State.STORED else why
            actions += self._move(whisper_id, whisper, Happens.HOPELESS, said)
            if whisper.state in THERE:
                actions += self._no_answer(whisper_id, whisper)
        owed = self._owed.take()
        if self._way.lane is not None and owed:
            actions.append(Send(self._way.lane, owed, None))
        return (*actions, *self._stop_if_idle())

    # Mailboxes.

    def stored(self, whisper_id: WhisperId, now: float) -> Actions:
        """Enough relays keep this whisper for the other end."""
        whisper = self._active.get(whisper_id)
        if whisper is None or whisper.state in FINAL or whisper.state is State.STORED:
            return ()
        actions = self._move(whisper_id, whisper, Happens.STORED)
        if not (whisper.record.receipt_wanted and self.gets_receipts):
            return actions + self._move(whisper_id, whisper, Happens.UNTOLD)
        if whisper.lane is None and not whisper.alone:
            self._queue.pop(whisper_id, None)
            actions += self._ask_again(whisper_id, whisper, now, after_pause=True)
        return (*actions, Tell(whisper_id, State.STORED), *self._go_on(now))

    def not_stored(self, whisper_id: WhisperId, why: str, again_at: float) -> Actions:
        """This whisper could not be left in a mailbox. It is tried again at `again_at` (monotonic seconds;
        inf: never)."""
        whisper = self._active.get(whisper_id)
        if whisper is None or whisper.letter is None or whisper.state in ASKED_FOR:
            return ()
        whisper.letter.again(again_at)
        self._look_at = min(self._look_at, whisper.letter.at)
        return (Tell(whisper_id, whisper.state, why),) if whisper.state is State.QUEUED else ()

    # What happens to lanes.

    def lane_opened(self, lane: LaneId, began: float, rode: WhisperId | None, now: float) -> Actions:
        """A lane is open. `began`: when its opening began. `rode`: the whisper that the opening carried."""
        self._way.opened(lane, now)
        self._ask_about_stored()
        actions: Actions = ()
        if rode is not None and rode in self._queue:
            actions = self._left(rode, lane, began, now) + self._on_its_way(rode, now)
        return actions + self._go_on(now)

    def lane_adopted(self, lane: LaneId, now: float) -> Actions:
        """The other end has opened a lane. It is used as if we had opened it, unless one is in use. A try of
        our own goes on: if both ends gave theirs up for the other's, none would be left."""
        if self._closed or self._way.lane is not None:
            return ()
        self._way.opened(lane, now, borrowed=True)
        self._ask_about_stored()
        return self._go_on(now)

    def way_is_new(self, now: float) -> Actions:
        """There is a new way to the other end: what waits is tried at once."""
        self._way.try_now(now)
        return self._go_on(now)

    def went_alone(self, whisper_id: WhisperId, began: float, now: float) -> Actions:
        """The whisper left in one cell, and no lane was opened. `began`: when that began."""
        self._way.move(WayEvent.STOPPED)
        actions: Actions = ()
        if whisper_id in self._queue:
            actions = self._left(whisper_id, None, began, now)
            self._is_due(self._active[whisper_id], now + ALONE_SECONDS)
            actions += self._on_its_way(whisper_id, now)
        return actions + self._go_on(now)

    def lane_failed(self, failure: Failure, now: float) -> Actions:
        """No lane could be opened."""
        self._way.failed(failure, now)
        actions: list[Action] = []
        for whisper_id in list(self._queue):
            whisper = self._active[whisper_id]
            if failure.hopeless and whisper.state is not State.STORED:
                actions += self._move(whisper_id, whisper, Happens.HOPELESS, failure.why)
            elif whisper.state is State.STORED:
                self._queue.pop(whisper_id)
                actions += self._ask_again(whisper_id, whisper, now, after_pause=True)
            elif whisper.state not in FINAL:
                actions.append(Tell(whisper_id, whisper.state, failure.why))
                if whisper.letter is not None:
                    whisper.letter.nobody(now) if failure.nobody else whisper.letter.in_vain(now)
                    actions += self._leave_if_due(whisper, now)
        return (*actions, *self._go_on(now))

    def lane_used(self, lane: LaneId, now: float) -> Actions:
        """The other direction uses the lane, so it is not idle."""
        self._way.used(lane, now)
        return ()

    def lane_sent(self, lane: LaneId, whisper_id: WhisperId | None, now: float) -> Actions:
        """One sending has left completely."""
        if lane != self._way.lane:
            return ()
        self._way.sent(now)
        actions = self._on_its_way(whisper_id, now) if whisper_id is not None else ()
        return actions + self._go_on(now)

    def lane_lost(self, lane: LaneId, now: float) -> Actions:
        """The lane ended, and we did not end it. It may be one that was in use before the present one."""
        if lane != self._way.lane:
            return self._gone(now, after_pause=False, before=lane) + self._go_on(now)
        self._way.lost(now)
        return self._gone(now, after_pause=False) + self._go_on(now)

    def renew(self, now: float) -> Actions:
        """End the lane, so that the next one is drawn anew."""
        lane = self._way.lane
        if lane is None:
            return ()
        ended: Actions = () if self._way.borrowed else (EndLane(lane, Reason.RENEWED),)
        return (*ended, *self._gone(now, after_pause=False), *self._go_on(now))

    def record_in(
        self, lane: LaneId, record: Record, now: float, *, refuse: int | None = None, owes: bool = True
    ) -> Actions:
        """A receipt, a refusal or an answer arrived. `refuse`: why an answer is not accepted. `owes`: whether
        its receipt is ours to send; else the Receiver keeps the answer too, and sends it."""
        self._way.heard(lane, now)
        whisper_id = record.in_reply_to
        whisper = self._get(whisper_id)
        actions: Actions = ()
        if record.kind == REFUSED:
            if whisper is not None:
                actions = self._refused(whisper_id, whisper, record.body[0], now)
            return actions + self._go_on(now)
        if whisper is not None:
            trip = now - whisper.left_at if whisper.lane is not None or whisper.alone else None
            actions = self._move(
                whisper_id, whisper, Happens.ACKNOWLEDGED, lane=lane, round_trip_seconds=trip
            )
            whisper.due, whisper.alone, whisper.question.in_vain = inf, False, False
            if whisper_id in self._active and record.kind == RECEIPT:
                actions += self._ask_again(whisper_id, whisper, now, after_pause=True)
        if record.kind != RECEIPT:
            actions += self._answer_in(lane if owes else None, whisper, record, refuse, now)
        return actions + self._go_on(now)

    # The disk.

    def remembered(self, token: int, now: float) -> Actions:
        """The answer is on disk: the program may have it, and its receipt may leave."""
        done = self._answers.done(token)
        if done is None:
            return ()
        answer, lane = done
        whisper = self._get(answer.in_reply_to)
        answered = () if whisper is None else self._answered(answer.in_reply_to, whisper, answer)
        return answered + self._owe(lane, answer, None, now) + self._go_on(now)

    def not_remembered(self, token: int, now: float) -> Actions:
        """The answer is not on disk: acknowledge nothing, so that the other end sends it again. If nobody
        else asks for it, we do."""
        done = self._answers.done(token)
        actions: Actions = ()
        if done is not None:
            whisper_id = done[0].in_reply_to
            whisper = self._active.get(whisper_id)
            if whisper is not None:
                actions = self._ask_again(whisper_id, whisper, now, after_pause=True)
        return actions + self._go_on(now)

    # Time.

    def tick(self, now: float) -> Actions:
        """Do what is due."""
        actions: list[Action] = []
        late = False
        for whisper_id, whisper in list(self._active.items()):
            if whisper.state in THERE:
                if not self._may_be_answered(whisper, now):
                    actions += self._no_answer(whisper_id, whisper)
                    continue
            elif now >= whisper.deadline:
                why = self._way.problem or "no receipt came before its time to live ended"
                actions += self._move(whisper_id, whisper, Happens.EXPIRES, why)
                continue
            if now >= whisper.question.at:
                whisper.question.at = inf
                self._queue[whisper_id] = None
            if now >= whisper.due:
                whisper.wait *= 2
                late = late or not whisper.alone
                actions += self._late(whisper_id, whisper, now)
            actions += self._leave_if_due(whisper, now)
        lane = self._way.lane
        if lane is not None and (late or self._idle_at() <= now):
            if late:
                self._way.problem = NO_ANSWER
            if not self._way.borrowed:
                actions.append(EndLane(lane, Reason.RECEIPT_LATE if late else Reason.IDLE))
            actions += self._gone(now, after_pause=not late)
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
                return (NeedLane(self._next_record()),)
            return self._stop_if_idle()
        actions: list[Action] = []
        while self._queue and self._way.has_room:
            whisper_id, record = next(iter(self._queue)), self._next_record()
            actions += self._left(whisper_id, lane, now, now)
            actions.append(self._sending(lane, record, whisper_id))
        if self._way.has_room and now >= self._owed.due_at:
            actions.append(self._sending(lane, None, None))
        return tuple(actions)

    def _next_record(self) -> Record:
        """What goes out for the whisper that is first in the queue: itself, or a question for its answer."""
        whisper = self._active[next(iter(self._queue))]
        if whisper.state not in ASKED_FOR or (whisper.question.in_vain and whisper.whole):
            return whisper.record
        return question_for(whisper.record, self._random_bytes)

    def _sending(self, lane: LaneId, record: Record | None, whisper_id: WhisperId | None) -> Send:
        owed = self._owed.take()
        self._way.sending()
        return Send(lane, owed if record is None else (*owed, record), whisper_id)

    def _stop_if_idle(self) -> Actions:
        return (StopOpening(),) if not self._queue and self._way.move(WayEvent.STOPPED) else ()

    def _left(self, whisper_id: WhisperId, lane: LaneId | None, left_at: float, now: float) -> Actions:
        """The whisper was handed to the lane, which now has some time to send it. None: it went alone."""
        whisper = self._active[whisper_id]
        del self._queue[whisper_id]
        whisper.lane, whisper.left_at, whisper.alone = lane, left_at, lane is None
        whisper.wait = whisper.wait or self._terms.receipt_seconds
        self._is_due(whisper, now + whisper.wait)
        return self._move(whisper_id, whisper, Happens.LEFT)

    def _on_its_way(self, whisper_id: WhisperId, now: float) -> Actions:
        """The whisper's last cell has left: its receipt is due from now on."""
        whisper = self._active.get(whisper_id)
        if whisper is None or whisper.due == inf or (whisper.lane is None and not whisper.alone):
            return ()
        if not (whisper.record.receipt_wanted and self.gets_receipts):
            return self._untold(whisper_id, whisper, now)
        if not whisper.alone:
            self._is_due(whisper, now + whisper.wait)
        if whisper.state is not State.OUT:
            return ()
        return (Tell(whisper_id, State.OUT, lane=whisper.lane),)

    def _untold(self, whisper_id: WhisperId, whisper: OutgoingWhisper, now: float) -> Actions:
        """A whisper without a receipt has left, or a question for its answer. That nothing comes back says
        nothing."""
        whisper.due, whisper.alone = inf, False
        told = self._move(whisper_id, whisper, Happens.UNTOLD, lane=whisper.lane)
        if whisper_id not in self._active:
            return told
        return told + self._ask_again(whisper_id, whisper, now, after_pause=True)

    def _late(self, whisper_id: WhisperId, whisper: OutgoingWhisper, now: float) -> Actions:
        """No receipt came in time."""
        if whisper.state in ASKED_FOR:
            whisper.question.in_vain = True  # a question about it got nothing at all
        if not whisper.alone:
            return ()  # the whole lane is given up
        self._tried_in_vain(whisper, now)
        whisper.due, whisper.alone = inf, False
        if whisper.state in ASKED_FOR:
            self._queue[whisper_id] = None
            return (Unheard(whisper_id),)
        self._queue = {whisper_id: None} | self._queue
        moved = self._move(whisper_id, whisper, Happens.LOST)
        return (Unheard(whisper_id), *moved, Tell(whisper_id, State.QUEUED, NO_ANSWER))

    def _tried_in_vain(self, whisper: OutgoingWhisper, now: float) -> None:
        """It went out live, and that brought no receipt."""
        if whisper.letter is not None and whisper.state is State.OUT:
            whisper.letter.in_vain(now)
            self._look_at = min(self._look_at, whisper.letter.at)

    def _leave_if_due(self, whisper: OutgoingWhisper, now: float) -> Actions:
        """Leave a whisper that does not arrive live in the other end's mailbox."""
        letter = whisper.letter
        if letter is None or whisper.state in FINAL or not letter.due(now):
            return ()
        return (Deposit(whisper.record),)

    def _ask_about_stored(self) -> None:
        """A lane is open: those whose letters wait may have been read, or can go out live."""
        for whisper_id, whisper in self._active.items():
            if whisper.state is State.STORED and whisper.lane is None and not whisper.alone:
                whisper.question.at = inf
                self._queue[whisper_id] = None

    def _is_due(self, whisper: OutgoingWhisper, when: float) -> None:
        whisper.due = when
        self._look_at = min(self._look_at, when)

    def _due_of(self, whisper: OutgoingWhisper, now: float) -> float:
        if whisper.state not in THERE:
            leave_at = inf if whisper.letter is None else whisper.letter.at
            return min(whisper.deadline, whisper.due, whisper.question.at, leave_at)
        # After that time an answer can come only over the present lane, so the end of the lane decides.
        askable_until = whisper.askable_until
        return min(whisper.due, whisper.question.at, askable_until if askable_until > now else inf)

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
        before = whisper.state
        becomes = TABLE.get((before, happens))
        if becomes is None:
            return ()
        whisper.state = becomes
        if becomes not in FINAL:
            return ()
        if before not in FINAL:
            self._waiting -= 1
            self._queue.pop(whisper_id, None)
        told = Tell(whisper_id, becomes, why, lane, refused, seconds_left, round_trip_seconds)
        recalled = self._recalled(whisper)
        if becomes not in THERE:
            del self._active[whisper_id]
            return (told, *recalled, Answered(whisper_id, None))
        if not whisper.awaited and whisper_id in self._active:
            self._finish(whisper_id, whisper)
        return (told, *recalled)

    def _recalled(self, whisper: OutgoingWhisper) -> Actions:
        """Nothing of a whisper that has ended should wait in a mailbox. But what nobody will say anything
        about must wait there, and so must what outlives this Sender."""
        letter = whisper.letter
        if letter is None or not letter.left or self._closed or whisper.state is State.SENT:
            return ()
        letter.left = False
        return (Recall(whisper.record.whisper_id),)

    def _answer_in(
        self,
        lane: LaneId | None,
        whisper: OutgoingWhisper | None,
        answer: Record,
        refuse: int | None,
        now: float,
    ) -> Actions:
        known = whisper is not None and whisper.question.answered
        if known:
            refuse = None  # a copy: the answer was accepted before, so its dates do not matter
        if refuse is not None and lane is not None:
            count = Count(Reason.RECORD_EXPIRED if refuse == EXPIRED else Reason.RECORD_FAR_FUTURE)
            return (count, *self._owe(lane, answer, refuse, now))
        if self._answers.needed and whisper is not None and lane is not None and not known:
            token = self._answers.begin(answer, lane)
            return () if token is None else (Remember(token, (KeepAnswer(answer),)),)
        answered = () if whisper is None else self._answered(answer.in_reply_to, whisper, answer)
        return answered + self._owe(lane, answer, None, now)

    def _owe(self, lane: LaneId | None, answer: Record, refuse: int | None, now: float) -> Actions:
        """The receipt or refusal of an answer is owed. It leaves with our next whisper. But if no lane is in
        use, and the answer came over a lane that we never used, it goes back over that lane at once. `lane`:
        None if the Receiver sends it."""
        if lane is None:
            return ()
        if self._way.lane is not None or self._way.is_ours(lane):
            self._owed.add(answer, refuse, now)
            return ()
        return (Send(lane, (self._owed.receipt(answer, refuse),), None),)

    def _answered(self, whisper_id: WhisperId, whisper: OutgoingWhisper, answer: Record) -> Actions:
        if whisper.question.answered:
            return ()
        whisper.question.answered = True
        self._finish(whisper_id, whisper)
        return (Answered(whisper_id, answer),)

    def _refused(self, whisper_id: WhisperId, whisper: OutgoingWhisper, why: int, now: float) -> Actions:
        """The other end will not accept it. `why`: the byte in the refusal."""
        happens = Happens.OVERDUE if why == EXPIRED else Happens.REFUSED
        left = max(0.0, whisper.deadline - now)
        whisper.alone = False
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

    def _ask_again(
        self, whisper_id: WhisperId, whisper: OutgoingWhisper, now: float, *, after_pause: bool
    ) -> Actions:
        """Ask for the answer to a delivered whisper, or whether a stored one has arrived, if the lane that it
        went out on has ended."""
        if whisper.state not in ASKED_FOR or self._is_on(whisper):
            return ()
        if whisper.question.answered or now >= whisper.askable_until:
            return self._no_answer(whisper_id, whisper)
        if not after_pause:
            self._queue[whisper_id], whisper.question.at = None, inf
        elif whisper_id not in self._queue and whisper.question.at == inf:
            whisper.question.at = now + ASKS_SECONDS[min(whisper.question.asked, len(ASKS_SECONDS) - 1)]
            whisper.question.asked += 1
        self._look_at = min(self._look_at, whisper.askable_until, whisper.question.at)
        return ()

    def _gone(self, now: float, *, after_pause: bool, before: LaneId | None = None) -> Actions:
        """The lane has ended: whispers not acknowledged on it go over another lane. `after_pause`: answers
        are asked for only after a while, because the lane was idle. `before`: this lane, which is not in use
        any more, has ended."""
        if before is None:
            self._way.move(WayEvent.GONE)
        actions: list[Action] = []
        for whisper_id, whisper in list(self._active.items()):
            if whisper.lane is not None and before in (None, whisper.lane):
                whisper.lane, whisper.due = None, inf
                self._tried_in_vain(whisper, now)
                actions += self._move(whisper_id, whisper, Happens.LOST)
                actions += self._ask_again(whisper_id, whisper, now, after_pause=after_pause)
        again = {key: None for key, whisper in self._active.items() if whisper.state is State.QUEUED}
        self._queue = again | self._queue  # in the order of submission; those sent for answers come last
        return tuple(actions)

    def _idle_at(self) -> float:
        if any(whisper.state in (State.QUEUED, State.OUT) for whisper in self._active.values()):
            return inf
        return self._way.idle_at(asked=any(not whisper.question.asked for whisper in self._active.values()))

    def _finish(self, whisper_id: WhisperId, whisper: OutgoingWhisper) -> None:
        """The whisper is there, and nobody awaits its answer. A part gets none, so nothing is kept of it."""
        self._active.pop(whisper_id, None)
        self._queue.pop(whisper_id, None)
        if whisper.record.kind == PART:
            return
        whisper.question.at = inf
        self._kept.put(whisper_id, whisper)


@dataclass(frozen=True, slots=True)
class _Terms:
    """As in `Sender`."""

    receipt_seconds: float
    letters: bool


class _AnswersBeingKept:
    """The answers that are being written to disk, by token, and the lane that each came over. An answer that
    comes twice is written once. `needed`: whether answers are written to disk at all."""

    def __init__(self, needed: bool) -> None:
        self.needed = needed
        self._by_token: dict[int, tuple[Record, LaneId]] = {}
        self._token = 0

    def begin(self, answer: Record, lane: LaneId) -> int | None:
        """The token for this answer; None if an answer to the same whisper is being written."""
        if self.is_keeping(answer.in_reply_to):
            return None
        self._token += 1
        self._by_token[self._token] = answer, lane
        return self._token

    def is_keeping(self, whisper_id: WhisperId) -> bool:
        """Whether an answer to this whisper is being written."""
        return any(answer.in_reply_to == whisper_id for answer, _ in self._by_token.values())

    def done(self, token: int) -> tuple[Record, LaneId] | None:
        """The answer is on disk, or will not be."""
        return self._by_token.pop(token, None)
