"""The whispers that arrived and the receipts owed for them: each is shown until finished (SPEC 13). Pure.

There is one method per input. Each returns the actions that the driver carries out, in order. An endpoint's
Receiver serves all lanes of its visitors; a contact has one for what its endpoint says first. `incoming.py`
has the table of a whisper's states, `inbox.py` chooses the next whisper to show, and `replies.py` follows the
replies.

A receipt leaves only when the whisper is on disk, or is finished and its id is on disk. It waits up to 20 ms.
It may wait for the next whisper, so that their receipts share a frame. Or it waits for a program that just
got the whisper: a reply is also a receipt, and a quick program then needs one transaction, not two.

If there is no room, nothing is acknowledged. The record waits with its lane, and the lane is not read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import Final

from onionshh.core.delivery.actions import (
    Action,
    Actions,
    CallBack,
    Count,
    EndLane,
    Finish,
    Judge,
    Keep,
    LaneId,
    Offer,
    Pause,
    Remember,
    Repeat,
    RepeatAll,
    Resume,
    Send,
)
from onionshh.core.delivery.inbox import Inbox
from onionshh.core.delivery.incoming import Event, Stage
from onionshh.core.delivery.record import (
    ASK,
    EXPIRED,
    RECEIPT,
    RECEIPTS_WAIT_SECONDS,
    REFUSED,
    Record,
    about,
    receipt_for,
    refusal_of,
)
from onionshh.core.delivery.replies import Replies
from onionshh.core.delivery.visitor_lane import Owed, VisitorLane
from onionshh.ids import RandomBytes, WhisperId
from onionshh.reasons import Reason

LANES_MOST: Final = 1024
VISITOR_IDLE_SECONDS: Final = 90.0
"""A lane on which nothing came or left for so long ends. The visitor ends it earlier, but may be gone."""
VISITOR_WAITS_SECONDS: Final = 150.0
"""The same for a lane whose visitor may wait for the reply to a whisper that is not finished."""


@dataclass(frozen=True, slots=True)
class _Keeping:
    """The receipts that leave over a lane when their whispers are on disk."""

    lane: LaneId
    owed: dict[WhisperId, Owed]


class Receiver:
    """The Receiver of one endpoint, or of one contact. `most`: how many unfinished whispers it holds.
    `give_up_after`: a whisper that was shown this often and never finished is set aside; None: never.
    `receipts`: whether receipts are sent at all. `lanes_wait`: whether a lane is read no further while there
    is no room for its record; else the record is left to its sender."""

    def __init__(
        self,
        random_bytes: RandomBytes,
        *,
        most: int | None = None,
        give_up_after: int | None = None,
        receipts: bool = True,
        lanes_wait: bool = True,
    ) -> None:
        self._random_bytes = random_bytes
        self._receipts = receipts
        self._lanes_wait = lanes_wait
        self.inbox = Inbox(most=most, give_up_after=give_up_after)
        self.replies = Replies()
        self._lanes: dict[LaneId, VisitorLane] = {}
        self._blocked: dict[LaneId, None] = {}
        """Lanes with a record that waits for room, in order."""
        self._owing: dict[LaneId, None] = {}
        """Lanes that owe receipts, in the order of `since`."""
        self._token = 0
        self._pending: dict[int, _Keeping | Finish] = {}
        """What continues after each commit, by token."""

    # What is on disk.

    def counted(
        self, seen: int, replies: Iterable[tuple[WhisperId, bytes | None]], best: int, now: float
    ) -> Actions:
        """After a clean-up: how many ids are remembered, and which replies are on disk, each with its peer's
        session."""
        self.inbox.seen = seen
        self.replies.counted(replies)
        return self._unblock(best, now)

    # Lanes.

    def lane_opened(self, lane: LaneId, best: int, now: float, session: bytes | None = None) -> Actions:
        """A visitor's lane opened. If there are too many, the lane that was idle longest ends. `session`: the
        visitor's, if there is one; the replies that wait for it leave now."""
        actions: Actions = ()
        if len(self._lanes) >= LANES_MOST:
            oldest = min(self._lanes, key=lambda other: self._lanes[other].used_at)
            actions = (EndLane(oldest, Reason.EXCHANGES_MOST), Count(Reason.EXCHANGES_MOST))
            actions += self._gone(oldest) + self._unblock(best, now)
        self._lanes[lane] = VisitorLane(now, session)
        if session is not None and self.replies.wait_for(session):
            actions += (RepeatAll(session),)
        return actions

    def lane_lost(self, lane: LaneId, best: int, now: float) -> Actions:
        """A lane ended. What it owes stays unacknowledged, so its visitor comes again. Another lane's record
        may take its place in the queue for room."""
        return self._gone(lane) + self._unblock(best, now)

    def lane_sent(self, lane: LaneId, reply: WhisperId | None, now: float) -> Actions:
        """One sending has left completely, perhaps with our reply in it."""
        told = self.replies.left(reply)
        held = self._lanes.get(lane)
        if held is None:
            return told
        held.used_at = now
        held.leaving -= 1
        return told + self._read_or_not(lane)

    def close(self) -> Actions:
        """Accept and send nothing more. What is on disk stays there."""
        ended = tuple(EndLane(lane, Reason.ENDPOINT_CLOSED) for lane in self._lanes)
        self._lanes.clear()
        self._owing.clear()
        self._blocked.clear()
        return ended + self.replies.close()

    # Records.

    def record_in(
        self,
        lane: LaneId,
        record: Record,
        *,
        known: bool,
        refuse: int | None,
        more: bool,
        received_at: float,
        best: int,
        now: float,
        waited: bool = False,
    ) -> Actions:
        """A record arrived. `known`: its id is on disk. `refuse`: what is wrong with its dates. `more`:
        another record is on its way. `received_at`, `best`: Unix seconds. `waited`: it lay in a mailbox."""
        held = self._lanes.get(lane)
        if held is None:
            return ()
        held.used_at = now
        held.more = more
        if record.kind in (RECEIPT, REFUSED):
            held.replies.discard(record.in_reply_to)
            return self.replies.acknowledged(record) + self._settle(lane, now)
        held.judging = False
        # An accepted whisper is always acknowledged, even if its dates would be refused now.
        if known or self.inbox.get(about(record)) is not None:
            owed = self._owe(lane, record, again=True, offered=False, now=now)
            return owed + self._read_or_not(lane) + self._unblock(best, now)
        if record.kind == ASK:  # its sender hears nothing, and sends the whole whisper again
            return self._settle(lane, now) + self._read_or_not(lane) + self._unblock(best, now)
        if refuse is not None:
            refused = self._refuse(lane, record, refuse) + self._settle(lane, now)
            return refused + self._read_or_not(lane) + self._unblock(best, now)
        if not self.inbox.has_room(len(record.body)):
            if not self._lanes_wait:
                return (Count(Reason.NO_ROOM_FOR_WHISPER), *self._settle(lane, now))
            return self._block(lane, record, best, now)
        self.inbox.take_on(record, lane, held.session, received_at, waited=waited)
        offered = self.inbox.offer(best)
        ours = any(isinstance(act, Offer) and act.whisper == record.whisper_id for act in offered)
        owed = self._owe(lane, record, again=False, offered=ours, now=now)
        return offered + owed + self._read_or_not(lane) + self._unblock(best, now)

    def lane_used(self, lane: LaneId, now: float) -> Actions:
        """The other direction uses the lane, so it is not idle."""
        held = self._lanes.get(lane)
        if held is not None:
            held.used_at = now
        return ()

    def repeated(self, lane: LaneId, reply: Record) -> Actions:
        """A reply that `Repeat` asked for was found on disk. It is not sent if it was
        acknowledged while it was read, or if it went over this lane before."""
        held = self._lanes.get(lane)
        if held is None or reply.whisper_id in held.replies or reply.whisper_id not in self.replies:
            return ()
        return self._send(lane, (reply,), reply.whisper_id)

    # The program.

    def finish(self, whisper_id: WhisperId, reply: Record | None, lives_until: float = 0.0) -> Remember:
        """The program has finished a whisper, perhaps with a reply. Commit this; then `remembered`."""
        whisper = self.inbox.get(whisper_id)
        fresh = session = None
        if whisper is not None:
            fresh, session = whisper.taken, whisper.session
            whisper.move(Event.FINISH)
        if reply is not None:
            self.replies.made(reply.whisper_id, lives_until)
        row = Finish(whisper_id, fresh, reply, session)
        return self._remember((row,), row)

    # The disk.

    def remembered(self, token: int, best: int, now: float) -> Actions:
        """The rows are on disk: continue with what waited for them."""
        pending = self._pending.pop(token)
        if isinstance(pending, Finish):
            return self._ended(pending, best, now)
        for whisper_id in pending.owed:
            whisper = self.inbox.get(whisper_id)
            if whisper is not None:
                whisper.move(Event.REMEMBERED)
        return self._pay(pending.lane, pending.owed)

    def not_remembered(self, token: int, best: int, now: float) -> Actions:
        """The rows are not on disk: acknowledge nothing, so that the visitor comes again."""
        pending = self._pending.pop(token)
        if isinstance(pending, Finish):
            return self._not_ended(pending, now)
        for whisper_id in pending.owed:
            whisper = self.inbox.get(whisper_id)
            if whisper is not None:
                whisper.move(Event.NOT_REMEMBERED)
        if pending.lane not in self._lanes:
            return ()
        gone = self._gone(pending.lane)
        return (EndLane(pending.lane, Reason.NOT_KEPT), *gone, *self._unblock(best, now))

    # Time.

    def tick(self, now: float) -> Actions:
        """Send the receipts that are due."""
        actions: list[Action] = []
        for lane in list(self._owing):
            if now < self._lanes[lane].since + RECEIPTS_WAIT_SECONDS:
                break
            actions += self._flush(lane, now)
        return tuple(actions)

    def next_deadline(self) -> float:
        """When to `tick` next, monotonic seconds."""
        first = next(iter(self._owing), None)
        return inf if first is None else self._lanes[first].since + RECEIPTS_WAIT_SECONDS

    def tidy(self, now: float) -> Actions:
        """Every few seconds: end idle lanes, and give up replies that nobody fetched in time."""
        actions: list[Action] = []
        waited_on = self.inbox.lanes()
        for lane, held in list(self._lanes.items()):
            if now >= held.used_at + (VISITOR_WAITS_SECONDS if lane in waited_on else VISITOR_IDLE_SECONDS):
                actions.append(EndLane(lane, Reason.IDLE))
                actions += self._gone(lane)
        return (*actions, *self.replies.expire(now))

    # Numbers.

    @property
    def lanes(self) -> int:
        """How many joined circuits are served."""
        return len(self._lanes)

    # Inside: what arrived.

    def _block(self, lane: LaneId, record: Record, best: int, now: float) -> Actions:
        """The record waits for room. The receipts that its lane owes do not wait."""
        held = self._lanes[lane]
        if lane not in self._blocked:
            held.waited_for = best < record.expires
        held.blocked = record
        self._blocked[lane] = None
        return self._flush(lane, now) + self._read_or_not(lane)

    def _unblock(self, best: int, now: float) -> Actions:
        """There may be room now for the record that has waited longest."""
        actions: list[Action] = []
        for lane in list(self._blocked):
            held = self._lanes[lane]
            record = held.blocked
            if record is None:
                continue  # the driver is asking the disk about it
            expired = held.waited_for and best >= record.expires
            if not expired and not self.inbox.has_room(len(record.body)):
                break
            held.blocked = None
            if not expired:
                held.judging = True
                return (*actions, Judge(lane, record))
            # Its sender has given it up, so another whisper should have the room.
            del self._blocked[lane]
            actions.append(Count(Reason.RECORD_EXPIRED_WAITING))
            actions += self._refuse(lane, record, EXPIRED)
            actions += self._read_or_not(lane)
        return tuple(actions)

    def _read_or_not(self, lane: LaneId) -> Actions:
        """Pause or resume the lane, if that has to change."""
        held = self._lanes[lane]
        if held.blocked is None and not held.judging:
            self._blocked.pop(lane, None)
        if held.may_be_read is not held.paused:
            return ()
        held.paused = not held.may_be_read
        return (Pause(lane),) if held.paused else (Resume(lane),)

    def _refuse(self, lane: LaneId, record: Record, why: int) -> Actions:
        count = Count(Reason.RECORD_EXPIRED if why == EXPIRED else Reason.RECORD_FAR_FUTURE)
        return (count, *self._send(lane, (refusal_of(record, why, self._random_bytes),), None))

    # Inside: what is owed.

    def _owe(self, lane: LaneId, record: Record, *, again: bool, offered: bool, now: float) -> Actions:
        held = self._lanes[lane]
        if not held.owed:
            held.since = now
            self._owing[lane] = None
        subject = about(record)
        wanted = self._receipts and record.receipt_wanted
        receipt = receipt_for(record, self._random_bytes) if wanted else None
        held.owed[subject] = Owed(receipt, again, offered)
        whisper = self.inbox.get(subject)
        if whisper is not None:
            whisper.lane = lane
        return self._settle(lane, now)

    def _settle(self, lane: LaneId, now: float) -> Actions:
        """Send what is owed, unless it may wait."""
        held = self._lanes[lane]
        return () if not held.owed or held.may_wait else self._flush(lane, now)

    def _flush(self, lane: LaneId, now: float) -> Actions:
        """Send what is owed. Whispers not on disk are written first; those being written now stay owed."""
        held = self._lanes[lane]
        if not held.owed:
            return ()
        stays, leaves, rows = {}, {}, []
        for whisper_id, owed in held.owed.items():
            whisper = self.inbox.get(whisper_id)
            if whisper is not None and whisper.stage in (Stage.ENDING, Stage.KEEPING):
                stays[whisper_id] = owed
                continue
            leaves[whisper_id] = owed
            if whisper is not None and whisper.taken is not None and whisper.move(Event.REMEMBER):
                rows.append(Keep(whisper.taken, whisper.shown))
        held.owed = stays
        del self._owing[lane]
        if stays:
            held.since = now
            self._owing[lane] = None
        if not leaves:
            return ()
        if not rows:
            return self._pay(lane, leaves)
        return (self._remember(tuple(rows), _Keeping(lane, leaves)),)

    def _remember(self, rows: tuple[Keep | Finish, ...], pending: _Keeping | Finish) -> Remember:
        self._token += 1
        self._pending[self._token] = pending
        return Remember(self._token, rows)

    def _pay(self, lane: LaneId, owed: dict[WhisperId, Owed]) -> Actions:
        if lane not in self._lanes:
            return ()
        receipts = tuple(debt.receipt for debt in owed.values() if debt.receipt is not None)
        repeats = tuple(Repeat(lane, whisper_id) for whisper_id, debt in owed.items() if debt.again)
        return (self._send(lane, receipts, None) if receipts else ()) + repeats

    def _send(self, lane: LaneId, records: tuple[Record, ...], reply: WhisperId | None) -> Actions:
        held = self._lanes.get(lane)
        if held is None:
            return ()
        held.leaving += 1
        if reply is not None:
            held.replies.add(reply)
        return (Send(lane, records, reply), *self._read_or_not(lane))

    # Inside: what is finished.

    def _ended(self, row: Finish, best: int, now: float) -> Actions:
        """The ending is on disk: there is room for one more whisper, and the receipt may leave."""
        whisper = self.inbox.forget(row.whisper)
        actions: Actions = () if row.reply is None else self.replies.kept(row.reply.whisper_id, row.session)
        if whisper is not None:
            whisper.move(Event.FINISHED)
            actions += self._answer(whisper.lane, row, now)
        return actions + self._unblock(best, now)

    def _answer(self, lane: LaneId | None, row: Finish, now: float) -> Actions:
        """Send the reply. It replaces the receipt unless it is larger. Without a reply, send the receipt."""
        reply = row.reply
        if reply is None:
            return self._no_longer_offered(lane, row.whisper, now)
        held = self._lanes.get(lane) if lane is not None else None
        if lane is None or held is None:
            return self._reply_elsewhere(row.session, reply)
        owed = held.owed.pop(row.whisper, None)
        if owed is not None and not held.owed:
            del self._owing[lane]
        receipt = None if owed is None else owed.receipt
        slow = receipt is not None and reply.size != receipt.size
        records = (receipt, reply) if receipt is not None and slow else (reply,)
        return self._send(lane, records, reply.whisper_id) + self._settle(lane, now)

    def _reply_elsewhere(self, session: bytes | None, reply: Record) -> Actions:
        """The lane that the whisper came over has ended: another of the same peer, or call the peer back."""
        if session is None:
            return ()
        for lane, held in self._lanes.items():
            if held.session == session:
                return self._send(lane, (reply,), reply.whisper_id)
        return (CallBack(session, reply),)

    def _not_ended(self, row: Finish, now: float) -> Actions:
        """The ending is not on disk: the whisper is as before, and the program still holds it."""
        if row.reply is not None:
            self.replies.not_kept(row.reply.whisper_id)
        whisper = self.inbox.get(row.whisper)
        if whisper is None:
            return ()
        whisper.not_finished()
        return self._no_longer_offered(whisper.lane, row.whisper, now)

    def _no_longer_offered(self, lane: LaneId | None, whisper_id: WhisperId, now: float) -> Actions:
        held = self._lanes.get(lane) if lane is not None else None
        if lane is None or held is None:
            return ()
        if whisper_id in held.owed:
            held.owed[whisper_id].offered = False
        return self._settle(lane, now)

    def _gone(self, lane: LaneId) -> Actions:
        """Forget the lane. If it was the last of a peer, what it did not acknowledge goes another way."""
        held = self._lanes.pop(lane, None)
        self._blocked.pop(lane, None)
        self._owing.pop(lane, None)
        session = None if held is None else held.session
        if session is None or not self.replies.wait_for(session):
            return ()
        if any(other.session == session for other in self._lanes.values()):
            return ()
        return (RepeatAll(session),)
