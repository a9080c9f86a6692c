"""Carries out what a contact's Sender decides: opens and reads lanes, sends records, keeps receipts current.

Nothing is decided here. Actions come as a tuple and are carried out in order. What they cause is the next
input.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.delivery.lanes import Driver, Lane
from onionshh.client.reach.reach import NotReached, Reach
from onionshh.client.receipt import Outcome, Receipt
from onionshh.core.base.words import amount
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
from onionshh.core.delivery.outgoing import FINAL, State
from onionshh.core.delivery.record import EXPIRED, EXPIRY_GRACE_SECONDS, WHISPER, Record
from onionshh.core.delivery.sender import Sender
from onionshh.core.delivery.way import SENDINGS_MOST
from onionshh.core.endpoint.introduce import fits_introduction
from onionshh.ids import WhisperId
from onionshh.net.circuits import CircuitFailed
from onionshh.net.signals import Broadcast
from onionshh.reasons import Reason

LINGER_SECONDS = 2.0
RECEIPTS_MOST = 16_384
"""Receipts kept current. The Sender's own bounds stay below this."""


class Visitor(Driver):
    """The driver of one contact. `background`: leave others room on the way."""

    def __init__(self, context: Context, reach: Reach, *, background: bool = False) -> None:
        self._context = context
        self._reach = reach
        self._background = background
        self._sender = Sender(
            receipt_seconds=float(context.params.talk_receipt_seconds), chance=context.chance
        )
        super().__init__(self._sender, context.clock)
        self._outcomes: dict[WhisperId, Outcome] = {}
        self._opening: trio.CancelScope | None = None
        self._changed = Broadcast()

    @property
    def away(self) -> bool:
        """Whether the last try found that nobody is there."""
        return self._sender.away

    async def changed(self) -> None:
        """Wait until one whisper less waits, or a try to reach the endpoint has ended."""
        await self._changed.wait()

    @property
    def problem(self) -> str:
        """What stands in the way of delivery right now, in words; empty when nothing does."""
        return self._sender.problem

    def submit(self, record: Record, deadline: float) -> Receipt:
        """Take a whisper on; its receipt tells what becomes of it. TooMany."""
        whisper_id = record.whisper_id
        outcome = Outcome(whisper_id.hex())
        actions = self._sender.submit(record, deadline, self.now())
        self._outcomes[whisper_id] = outcome
        while len(self._outcomes) > RECEIPTS_MOST:
            del self._outcomes[next(iter(self._outcomes))]
        self.do(actions)
        return Receipt(outcome, lambda waits: self._awaiting(whisper_id, waits))

    async def run(self, started: Callable[[], None]) -> None:
        """Deliver, until cancelled. `started` is called once whispers may be submitted."""
        try:
            async with trio.open_nursery() as nursery:
                self.nursery = nursery
                started()
                await self.keep_time()
        finally:
            self.nursery = None
            for joined in self.joined_circuits:
                self._context.nursery.start_soon(self._let_go, joined)

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
            case Answered(whisper, body):
                outcome = self._outcomes.get(whisper)
                if outcome is not None:
                    outcome.settle(body)
            case EndLane(lane, reason):
                self.end_lane(lane, reason)
            case NeedLane(first):
                self._opening = trio.CancelScope()
                self.soon(self._open, first, self._opening)
            case StopOpening():
                if self._opening is not None:
                    self._opening.cancel()
                    self._opening = None
            case Count(reason):
                self._context.drops.count(reason)

    def _tell(self, told: Tell) -> None:
        outcome = self._outcomes.get(told.whisper)
        if outcome is None:
            return
        lane = self.lane(told.lane)
        if lane is not None:
            outcome.hops = lane.joined.relays_between
            if told.state is State.OUT:
                outcome.connect_seconds = lane.connect_seconds
        if told.round_trip_seconds is not None:
            outcome.round_trip_seconds = told.round_trip_seconds
        if told.state in FINAL:
            self._changed.send()
        match told.state:
            case State.QUEUED:
                outcome.why = told.why
            case State.OUT:
                outcome.status = "sent"
            case State.DELIVERED:
                outcome.conclude("delivered")
            case State.EXPIRED:
                outcome.conclude("expired", told.why or self._refused(told))
            case State.FAILED:
                outcome.conclude("failed", told.why or self._refused(told))

    def _refused(self, told: Tell) -> str:
        """Whose clock is wrong, as far as the dates tell."""
        clock = self._context.clock
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

    # Lanes.

    async def _open(self, first: Record, scope: trio.CancelScope) -> None:
        began = self.now()
        joined: JoinedCircuit | None = None
        failure = Failure("")
        encoded = first.encode()
        rides = fits_introduction(encoded)
        with scope:
            try:
                joined = await self._reach.once(encoded if rides else b"")
            except NotReached as error:
                failure = error.failure
        if scope is not self._opening:
            if joined is not None:
                joined.close(Reason.NOT_NEEDED)
            return
        self._opening = None
        now = self.now()
        if joined is None:
            self.do(self._sender.lane_failed(failure, now))
            self._changed.send()
            return
        if self._background:
            joined.circuit.leave_room()
        lane = self.add_lane(joined, writers=SENDINGS_MOST, connect_seconds=now - began)
        self.soon(self._read, lane)
        self.do(self._sender.lane_opened(lane.number, began, first.whisper_id if rides else None, now))

    def lane_lost(self, number: LaneId) -> Actions:
        return self._sender.lane_lost(number, self.now())

    async def _read(self, lane: Lane) -> None:
        with suppress(CircuitFailed):
            while True:
                record = await lane.joined.receive()
                refuse = lane.joined.why_refused(record) if record.kind == WHISPER else None
                self.do(self._sender.record_in(lane.number, record, self.now(), refuse=refuse))
        self.lost(lane)

    async def _let_go(self, joined: JoinedCircuit) -> None:
        """Close it a moment late: a circuit's end overtakes what waits in it, perhaps our last receipt."""
        try:
            if not self._context.closed.is_set():
                await trio.sleep(LINGER_SECONDS)
        finally:
            joined.close(Reason.CONTACT_CLOSED)
