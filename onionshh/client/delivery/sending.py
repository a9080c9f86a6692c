"""Carries out what a Sender decides: opens lanes, sends records, keeps receipts current.

Nothing is decided here. Actions come as a tuple and are carried out in order. What they cause is the next
input. The Sender of a contact and that of an endpoint, for one peer that it speaks to first, have the same
driver; they differ in how they open lanes (`Opener`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.driver import Driver
from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.delivery.known import KnownReceipts
from onionshh.client.delivery.lanes import Lane, LaneSet
from onionshh.client.delivery.mailing import Mailing, MakesMail
from onionshh.client.delivery.outbox import InMemoryOutbox, Outbox, Stored, mark_of
from onionshh.client.receipt import Outcome, PathInfo, Receipt, Route, Status
from onionshh.core.base.words import amount
from onionshh.core.delivery.actions import (
    Action,
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
from onionshh.core.delivery.outgoing import FINAL, State
from onionshh.core.delivery.record import (
    EXPIRED,
    EXPIRY_GRACE_SECONDS,
    NOT_WHOLE,
    WHISPER,
    Record,
    about,
)
from onionshh.core.delivery.sender import Sender, TooMany
from onionshh.core.delivery.way import IDLE_SECONDS, SENDINGS_MOST
from onionshh.core.session.session import Session
from onionshh.crypto.primitives import equal
from onionshh.errors import BadData, Closed
from onionshh.ids import WhisperId
from onionshh.net.signals import Broadcast
from onionshh.reasons import Reason

logger = logging.getLogger("onionshh.client")

STORED_AND_CLOSED: Final = "stored, but nobody waits for the receipt any more"
RECALLED: Final = "it was recalled"
EXPIRED_AWAY: Final = "its time to live ended while the contact was closed"

_STATUS: Final[Mapping[State, Status]] = MappingProxyType(
    {
        State.QUEUED: "queued",
        State.OUT: "sent",
        State.STORED: "stored",
        State.SENT: "sent",
        State.DELIVERED: "delivered",
        State.EXPIRED: "expired",
        State.FAILED: "failed",
    }
)


class NotReached(Exception):
    """This try led nowhere; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.why)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Opening:
    """What one try at reaching the other end led to. `joined`: None if the record went alone, in one cell.
    `rode`: whether the record went with it. `resumed`: whether a session went on. `receipts`: whether the
    other end sends receipts."""

    joined: JoinedCircuit | None
    rode: bool
    paths: tuple[PathInfo, ...]
    session: Session | None = None
    resumed: bool = False
    receipts: bool = True


class Opener(Protocol):
    """The way to the other end."""

    async def once(self, record: Record, *, more: bool) -> Opening:
        """One try. `record`: what waits first; `more`: more waits behind it. NotReached."""

    def arrived(self, whisper: WhisperId) -> None:
        """A receipt, a refusal or an answer for this whisper came."""

    def silent(self, whisper: WhisperId) -> None:
        """Nothing came back in time for this whisper, or for a question about it, which went alone."""


class Sending(Driver):
    """The driver of one Sender. `outbox`: where whispers outlive the program; None: nowhere. `mail`: where
    they wait for an end that is away; None: nowhere."""

    def __init__(
        self,
        context: Context,
        lanes: LaneSet,
        opener: Opener,
        *,
        outbox: Outbox | None = None,
        idle_seconds: tuple[float, float] = IDLE_SECONDS,
        opened: Callable[[Lane], None] = lambda lane: None,
        mail: MakesMail | None = None,
    ) -> None:
        self._context = context
        self._opener = opener
        self._outbox: Outbox = outbox or InMemoryOutbox()
        self._opened = opened
        self._sender = Sender(
            receipt_seconds=float(context.params.talk_receipt_seconds),
            chance=context.chance,
            idle_seconds=idle_seconds,
            keeps_answers=self._outbox.lasts,
            letters=mail is not None,
        )
        super().__init__(self._sender, context.clock, lanes)
        self._mailing = (
            None
            if mail is None
            else Mailing(mail, self._sender, context.clock, lanes, self.do, self._outcome)
        )
        self._known = KnownReceipts(lasts=self._outbox.lasts)
        self._opening: trio.CancelScope | None = None
        self._openings: dict[LaneId, _Opened] = {}
        self._changed = Broadcast()
        self._leaving = False
        self._not_kept: set[WhisperId] = set()
        """Whispers whose answers came and could not be written to disk."""

    @property
    def sender(self) -> Sender:
        """The machine behind it, for what it says of itself."""
        return self._sender

    async def changed(self) -> None:
        """Wait until one whisper less waits, or a try to reach the other end has ended."""
        await self._changed.wait()

    def accept(self, record: Record, deadline: float, key: bytes | None = None) -> Receipt:
        """Take a whisper of the program on: it is in the outbox when this returns, and not sent before that.
        If one was accepted with this key, return its receipt. TooMany, BadData, Closed, ValueError for
        another body under the same key."""
        if key is not None:
            same = self._same(key, record)
            if same is not None:
                return same
        if not self._sender.has_room:
            raise TooMany
        self._outbox.accept(record, key)
        return self.submit(record, deadline)

    def _same(self, key: bytes, record: Record) -> Receipt | None:
        found = self._outbox.with_key(key)
        if found is None:
            return None
        whisper_id, mark = found
        if not equal(mark, mark_of(whisper_id, record.body)):
            raise ValueError("A whisper with another body was sent with this key; take another key.")
        return self.receipt(whisper_id)

    def submit(self, record: Record, deadline: float) -> Receipt:
        """Deliver a whisper that is on disk, or need not be; its receipt tells what becomes of it.
        TooMany."""
        actions = self._sender.submit(record, deadline, self.now())
        receipt = self._know(record.whisper_id, Outcome(record.whisper_id.hex(), record=record))
        self.do(actions)
        return receipt

    def restore(self, rows: Iterable[Stored]) -> None:
        """Go on with the whispers of an earlier run, in this order. Their lanes may open from now on."""
        time = self._judging_time()
        for stored in rows:
            record = stored.record
            deadline = self.now() + record.expires - time
            if stored.status is not None:
                state = State.SENT if stored.status == "sent" else State.DELIVERED
                self._sender.restored(record, deadline, state)
            elif record.expires <= time:
                self._know(record.whisper_id, Outcome(record.whisper_id.hex(), record=record))
                self._conclude(record.whisper_id, "expired", EXPIRED_AWAY)
            else:
                self.submit(record, deadline)
                self.restored_letter(record.whisper_id)

    def restored_letter(self, whisper: WhisperId) -> None:
        """Go on with a whisper that was submitted just now: an earlier run may have left it as a letter."""
        if self._mailing is not None:
            self._mailing.restored(whisper)

    def receipt(self, whisper_id: WhisperId) -> Receipt | None:
        """The receipt of a whisper of this run, or of one in the outbox. BadData, Closed."""
        known = self._known.receipt(whisper_id)
        if known is not None:
            return known
        stored = self._outbox.find(whisper_id)
        if stored is None:
            return None
        outcome = Outcome(whisper_id.hex())
        if stored.answer is not None:
            outcome.settle(stored.answer)
        if stored.status is not None:
            outcome.conclude(stored.status, stored.why)
        return self._know(whisper_id, outcome)

    def forget(self, whisper: WhisperId) -> None:
        """Nobody asks for this whisper's receipt any more."""
        self._known.forget(whisper)

    def pending(self) -> list[Receipt]:
        """The receipts that are not final, in the order in which their whispers were accepted."""
        return self._known.pending()

    def _know(self, whisper_id: WhisperId, outcome: Outcome) -> Receipt:
        receipt = Receipt(
            outcome,
            lambda waits: self._awaiting(whisper_id, waits),
            lambda answer: self._outbox.shown(answer.whisper_id),
            lambda: self._recall(whisper_id),
        )
        self._known.add(whisper_id, outcome, receipt)
        return receipt

    def _outcome(self, whisper_id: WhisperId) -> Outcome | None:
        return self._known.outcome(whisper_id)

    def _judging_time(self) -> int:
        """By what whispers expired while the program was away, Unix seconds: by the wall clock only if the
        consensus does not contradict it."""
        best, view = self._context.clock.best(), self._context.keeper.view
        if view is None or best > view.consensus.valid_until:
            return self._context.clock.earliest()
        return best

    def renew(self) -> None:
        """Everything about the way is drawn anew for what comes next."""
        self.do(self._sender.renew(self.now()))

    def close(self, why: str, *, keep: bool = False) -> None:
        """Stop: nothing more is tried, and nothing more comes. `keep`: what is not final stays in the outbox,
        for the next run."""
        self._leaving = keep
        self.do(self._sender.close(why, why if keep else STORED_AND_CLOSED))

    # Actions.

    def carry_out(self, action: Action) -> None:
        match action:
            case Send():
                self.send(action)
            case Tell():
                self._tell(action)
            case Unheard(whisper):
                self._opener.silent(whisper)
            case Deposit(record):
                if self._mailing is not None:
                    self._mailing.deposit(record)
            case Recall(whisper):
                if self._mailing is not None:
                    self._mailing.recall(whisper)
            case Answered(whisper, answer):
                self._answered(whisper, answer)
            case EndLane(lane, reason):
                self.lanes.end(lane, reason, by=self)
                self._openings.pop(lane, None)
            case NeedLane(first):
                self._opening = trio.CancelScope()
                self.lanes.soon(self._open, first, self._opening)
            case StopOpening():
                if self._opening is not None:
                    self._opening.cancel()
                    self._opening = None
            case Remember(token, (KeepAnswer() as row,)):
                self.lanes.soon(self._remember, token, row)
            case Count(reason):
                self._context.drops.count(reason)

    def _tell(self, told: Tell) -> None:
        outcome = self._outcome(told.whisper)
        if outcome is not None:
            opened = self._openings.get(told.lane) if told.lane is not None else None
            if opened is not None:
                opened.tell(outcome, first=told.state is State.OUT)
            if told.round_trip_seconds is not None:
                outcome.round_trip_seconds = told.round_trip_seconds
        if told.state in FINAL:
            why = told.why or ("" if told.refused is None else self._refused(told))
            self._conclude(told.whisper, _STATUS[told.state], why)
        elif outcome is not None:
            outcome.tell(_STATUS[told.state], "" if told.state is State.OUT else told.why)

    def _conclude(self, whisper: WhisperId, status: Status, why: str) -> None:
        if not self._leaving:
            self._outbox.settled(whisper, status, why)
        outcome = self._outcome(whisper)
        if outcome is not None:
            outcome.conclude(status, why)
            self._changed.send()

    async def _recall(self, whisper: WhisperId) -> bool:
        """As `Receipt.recall`."""
        await trio.lowlevel.checkpoint()
        self.do(self._sender.give_up(whisper, RECALLED, self.now()))
        erased = self._mailing is None or await self._mailing.recalled(whisper)
        outcome = self._outcome(whisper)
        return outcome is not None and outcome.status != "delivered" and not outcome.route.paths and erased

    def _answered(self, whisper: WhisperId, answer: Record | None) -> None:
        outcome = self._outcome(whisper)
        if answer is not None and outcome is not None and outcome.awaited:
            outcome.taken = True
            self._outbox.shown(answer.whisper_id)
        if outcome is not None:
            outcome.settle(answer)

    def _refused(self, told: Tell) -> str:
        """Why the other end refused it; if its dates are wrong, whose clock is to blame, as far as they
        tell."""
        clock = self._context.clock
        if told.refused == NOT_WHOLE:
            return "the endpoint refused it: the parts do not fit together"
        if told.refused == EXPIRED:
            # The endpoint judged by its consensus; the whisper's date was made by our clock.
            sentence = "the endpoint refused it: by the network's time, its time to live was over"
            behind = EXPIRY_GRACE_SECONDS + told.seconds_left
            if behind > EXPIRY_GRACE_SECONDS / 2:
                sentence += f"; this machine's clock is at least {amount(behind)} behind, set it right"
            return sentence
        ahead = clock.wall() - clock.earliest() - 2 * self._context.params.interval_seconds
        whose = "the endpoint's clock is behind the network's"
        if ahead > EXPIRY_GRACE_SECONDS:
            whose = f"this machine's clock is about {amount(ahead)} ahead, set it right"
        return f"the endpoint refused it, since it would expire later than any whisper may: {whose}"

    def _awaiting(self, whisper_id: WhisperId, waits: bool) -> None:
        if waits:
            self.do(self._sender.await_answer(whisper_id, self.now()))
        else:
            self.do(self._sender.stop_awaiting(whisper_id))

    # The disk.

    async def _remember(self, token: int, row: KeepAnswer) -> None:
        try:
            await self._outbox.keep_answer(row.answer)
        except (BadData, Closed) as error:
            if isinstance(error, BadData):
                logger.error("an answer could not be kept: %s", error)
            self._not_kept.add(row.answer.in_reply_to)
            self.do(self._sender.not_remembered(token, self.now()))
        else:
            self._not_kept.discard(row.answer.in_reply_to)
            self.do(self._sender.remembered(token, self.now()))
        self._changed.send()

    # Lanes.

    async def _open(self, first: Record, scope: trio.CancelScope) -> None:
        began = self.now()
        opening: Opening | None = None
        failure = Failure("")
        with scope:
            try:
                opening = await self._opener.once(first, more=self._sender.waiting > 1)
            except NotReached as error:
                failure = error.failure
        if scope is not self._opening:
            if opening is not None and opening.joined is not None:
                opening.joined.close(Reason.NOT_NEEDED)
            return
        self._opening = None
        now = self.now()
        if opening is None:
            if self._sender.lane is None:  # else the other end has opened one meanwhile
                self.do(self._sender.lane_failed(failure, now))
            self._changed.send()
            return
        self._sender.gets_receipts = opening.receipts
        rode = about(first) if opening.rode else None
        lane = self._add(opening, began)
        if lane is not None and self._sender.lane is not None:
            return  # the other end was faster; this lane is served, and ends when it is idle
        if lane is not None:
            self.do(self._sender.lane_opened(lane.number, began, rode, now))
        elif rode is not None:
            outcome = self._outcome(rode)
            if outcome is not None:
                _Opened(opening, now - began).tell(outcome, first=True)
            self.do(self._sender.went_alone(rode, began, now))

    def _add(self, opening: Opening, began: float) -> Lane | None:
        """The new lane, if there is one."""
        if opening.joined is None:
            return None
        lane = self.lanes.add(opening.joined, writers=SENDINGS_MOST, session=opening.session)
        self._openings[lane.number] = _Opened(opening, self.now() - began)
        self._opened(lane)
        return lane

    def adopt(self, lane: Lane, opening: Opening) -> None:
        """The other end has opened this lane. It is used as if we had opened it, unless there is one."""
        self._openings[lane.number] = _Opened(opening, None)
        self.do(self._sender.lane_adopted(lane.number, self.now()))

    def worked(self, whisper: WhisperId, seconds: float, tries: int) -> None:
        """This machine worked so that this whisper is let in: so much since it was told last."""
        outcome = self._outcome(whisper)
        if outcome is not None:
            outcome.course.entry_seconds += seconds
            outcome.course.entry_tries += tries
            outcome.course.changed.send()

    def way_is_new(self) -> None:
        """The other end can be reached in a new way."""
        self.do(self._sender.way_is_new(self.now()))

    def lane_gone(self, number: LaneId) -> None:
        self._openings.pop(number, None)
        self.do(self._sender.lane_lost(number, self.now()))

    def bring(self, lane: Lane, record: Record, *, owes: bool = True) -> None:
        """A receipt, a refusal or an answer came over this lane. `owes`: as in `Sender.record_in`."""
        self.lanes.used(lane.number, self)
        self._opener.arrived(record.in_reply_to)
        refuse = lane.carrier.why_refused(record) if record.kind == WHISPER else None
        self.do(self._sender.record_in(lane.number, record, self.now(), refuse=refuse, owes=owes))

    async def kept(self, whisper: WhisperId) -> None:
        """Wait until the answer to this whisper, which was brought just now, is where it will be found again.
        BadData if it could not be kept."""
        while self._sender.is_keeping(whisper):
            await self._changed.wait()
        if whisper in self._not_kept:
            raise BadData("an answer could not be kept")

    def is_awaited(self, whisper: WhisperId) -> bool:
        """Whether the program waits now for the answer to this whisper, or has it. BadData, Closed."""
        outcome = self._outcome(whisper)
        if outcome is None:
            stored = self._outbox.find(whisper)
            return stored is not None and stored.answer is not None
        return outcome.awaited or outcome.answer is not None


@dataclass(frozen=True, slots=True)
class _Opened:
    """How a lane was opened, for the receipts of the whispers on it."""

    opening: Opening
    connect_seconds: float | None

    def tell(self, outcome: Outcome, *, first: bool) -> None:
        connect_seconds = self.connect_seconds if first else outcome.route.connect_seconds
        outcome.route = Route(self.opening.paths, self.opening.resumed, connect_seconds)
