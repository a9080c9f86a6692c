"""Carries out what a Sender decides: opens lanes, sends records, keeps receipts current.

Nothing is decided here. Actions come as a tuple and are carried out in order. What they cause is the next
input. The Sender of a contact and that of an endpoint, for one peer that it speaks to first, have the same
driver; they differ in how they open lanes (`Opener`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.driver import Driver
from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.delivery.lanes import Lane, LaneSet
from onionshh.client.receipt import Outcome, PathInfo, Receipt, Status
from onionshh.core.base.words import amount
from onionshh.core.delivery.actions import (
    Action,
    Answered,
    Count,
    EndLane,
    Failure,
    KeepAnswer,
    LaneId,
    NeedLane,
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
from onionshh.core.delivery.sender import Sender
from onionshh.core.delivery.way import IDLE_SECONDS, SENDINGS_MOST
from onionshh.core.session.session import Session
from onionshh.errors import BadData, Closed
from onionshh.ids import WhisperId
from onionshh.net.signals import Broadcast
from onionshh.reasons import Reason

logger = logging.getLogger("onionshh.client")

RECEIPTS_MOST = 16_384
"""Receipts kept current. The Sender's own bounds stay below this."""


_STATUS: Final[Mapping[State, Status]] = MappingProxyType(
    {
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
    `rode`: whether the record went with it. `resumed`: whether a session went on."""

    joined: JoinedCircuit | None
    rode: bool
    paths: tuple[PathInfo, ...]
    session: Session | None = None
    resumed: bool = False


class Opener(Protocol):
    """The way to the other end."""

    async def once(self, record: Record, *, more: bool) -> Opening:
        """One try. `record`: what waits first; `more`: more waits behind it. NotReached."""

    def arrived(self, whisper: WhisperId) -> None:
        """A receipt, a refusal or an answer for this whisper came."""

    def silent(self, whisper: WhisperId) -> None:
        """Nothing came back in time for this whisper, or for a question about it, which went alone."""


class Outbox(Protocol):
    """Where whispers, and the answers to them, outlive the program. `NoOutbox` keeps nothing."""

    @property
    def lasts(self) -> bool:
        """Whether anything is on disk at all."""

    def settled(self, whisper: WhisperId, status: str, why: str) -> None:
        """Note what became of a whisper, soon."""

    async def keep_answer(self, answer: Record) -> None:
        """Write an answer to disk. BadData, Closed."""


class NoOutbox:
    """For a sender that leaves nothing on disk."""

    @property
    def lasts(self) -> bool:
        """Never."""
        return False

    def settled(self, whisper: WhisperId, status: str, why: str) -> None:
        """Nothing is on disk."""

    async def keep_answer(self, answer: Record) -> None:
        """Never called: without a disk, answers are not kept."""


class Sending(Driver):
    """The driver of one Sender. `background`: leave others room on the way. `late`: called with an answer
    that came while nobody waited for it."""

    def __init__(
        self,
        context: Context,
        lanes: LaneSet,
        opener: Opener,
        *,
        outbox: Outbox | None = None,
        background: bool = False,
        idle_seconds: tuple[float, float] = IDLE_SECONDS,
        opened: Callable[[Lane], None] = lambda lane: None,
        late: Callable[[Record], None] = lambda answer: None,
    ) -> None:
        self._context = context
        self._opener = opener
        self._outbox = outbox or NoOutbox()
        self._background = background
        self._told = opened, late
        self._sender = Sender(
            receipt_seconds=float(context.params.talk_receipt_seconds),
            chance=context.chance,
            idle_seconds=idle_seconds,
            keeps_answers=self._outbox.lasts,
        )
        super().__init__(self._sender, context.clock, lanes)
        self._outcomes: dict[WhisperId, Outcome] = {}
        self._opening: trio.CancelScope | None = None
        self._openings: dict[LaneId, _Opened] = {}
        self._changed = Broadcast()

    @property
    def sender(self) -> Sender:
        """The machine behind it, for what it says of itself."""
        return self._sender

    async def changed(self) -> None:
        """Wait until one whisper less waits, or a try to reach the other end has ended."""
        await self._changed.wait()

    def submit(self, record: Record, deadline: float) -> Receipt:
        """Take a whisper on; its receipt tells what becomes of it. TooMany."""
        outcome = Outcome(record.whisper_id.hex())
        actions = self._sender.submit(record, deadline, self.now())
        receipt = self.know(record, outcome)
        self.do(actions)
        return receipt

    def know(self, record: Record, outcome: Outcome) -> Receipt:
        """A receipt for a whisper that the Sender knows, or that became final in an earlier run."""
        whisper_id = record.whisper_id
        outcome.record = record
        self._outcomes[whisper_id] = outcome
        while len(self._outcomes) > RECEIPTS_MOST:
            del self._outcomes[next(iter(self._outcomes))]
        return Receipt(outcome, lambda waits: self._awaiting(whisper_id, waits))

    def renew(self) -> None:
        """Everything about the way is drawn anew for what comes next."""
        self.do(self._sender.renew(self.now()))

    def close(self, why: str) -> None:
        """Stop: nothing more is tried, and nothing more comes."""
        self.do(self._sender.close(why))

    # Actions.

    def carry_out(self, action: Action) -> None:
        match action:
            case Send():
                self.send(action)
            case Tell():
                self._tell(action)
            case Unheard(whisper):
                self._opener.silent(whisper)
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
            case Remember(token, rows):
                self.lanes.soon(self._remember, token, rows[0])
            case Count(reason):
                self._context.drops.count(reason)

    def _tell(self, told: Tell) -> None:
        outcome = self._outcomes.get(told.whisper)
        if outcome is None:
            return
        opened = self._openings.get(told.lane) if told.lane is not None else None
        if opened is not None:
            opened.tell(outcome, first=told.state is State.OUT)
        if told.round_trip_seconds is not None:
            outcome.round_trip_seconds = told.round_trip_seconds
        if told.state not in FINAL:
            outcome.status, outcome.why = ("sent", "") if told.state is State.OUT else ("queued", told.why)
            return
        why = told.why or ("" if told.refused is None else self._refused(told))
        status = _STATUS[told.state]
        outcome.conclude(status, why)
        self._outbox.settled(told.whisper, status, why)
        self._changed.send()

    def _answered(self, whisper: WhisperId, answer: Record | None) -> None:
        outcome = self._outcomes.get(whisper)
        if answer is not None and (outcome is None or not outcome.awaited):
            self._told[1](answer)
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

    async def _remember(self, token: int, row: object) -> None:
        try:
            if isinstance(row, KeepAnswer):
                await self._outbox.keep_answer(row.answer)
        except (BadData, Closed) as error:
            if isinstance(error, BadData):
                logger.error("an answer could not be kept: %s", error)
            self.do(self._sender.not_remembered(token, self.now()))
        else:
            self.do(self._sender.remembered(token, self.now()))

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
            self.do(self._sender.lane_failed(failure, now))
            self._changed.send()
            return
        rode = about(first) if opening.rode else None
        lane = self._add(opening, began)
        if lane is not None:
            self.do(self._sender.lane_opened(lane.number, began, rode, now))
        elif rode is not None:
            outcome = self._outcomes.get(rode)
            if outcome is not None:
                _Opened(opening, now - began).tell(outcome, first=True)
            self.do(self._sender.went_alone(rode, began, now))

    def _add(self, opening: Opening, began: float) -> Lane | None:
        """The new lane, if there is one."""
        if opening.joined is None:
            return None
        if self._background:
            opening.joined.circuit.leave_room()
        lane = self.lanes.add(opening.joined, writers=SENDINGS_MOST, session=opening.session)
        self._openings[lane.number] = _Opened(opening, self.now() - began)
        self._told[0](lane)
        return lane

    def adopt(self, lane: Lane, opening: Opening) -> None:
        """The other end has opened this lane. It is used as if we had opened it, unless there is one."""
        self._openings[lane.number] = _Opened(opening, None)
        self.do(self._sender.lane_adopted(lane.number, self.now()))

    def lane_gone(self, number: LaneId) -> None:
        self._openings.pop(number, None)
        self.do(self._sender.lane_lost(number, self.now()))

    def bring(self, lane: Lane, record: Record) -> None:
        """A receipt, a refusal or an answer came over this lane."""
        self.lanes.used(lane.number, self)
        self._opener.arrived(record.in_reply_to)
        refuse = lane.carrier.why_refused(record) if record.kind == WHISPER else None
        self.do(self._sender.record_in(lane.number, record, self.now(), refuse=refuse))


@dataclass(frozen=True, slots=True)
class _Opened:
    """How a lane was opened, for the receipts of the whispers on it."""

    opening: Opening
    connect_seconds: float | None

    def tell(self, outcome: Outcome, *, first: bool) -> None:
        outcome.paths, outcome.resumed = self.opening.paths, self.opening.resumed
        if first:
            outcome.connect_seconds = self.connect_seconds
