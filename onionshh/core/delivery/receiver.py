"""What came and what is owed for it: each whisper shown until it is finished, once (SPEC 13). Pure.

One method per input; each returns the actions that the driver carries out, in order. The Receiver of an
endpoint serves every lane of its visitors. What moves a whisper stands in the table of `incoming.py`.

Before a receipt leaves, the whisper is on disk, or finished and its id is. A receipt waits up to 20 ms: for
the whisper behind it, so that they share a frame, or for a program that has just been given the whisper: a
reply is a receipt, and a program that is quick finishes in one transaction what would have been two. When
there is no room, nothing is acknowledged; what waits is held with its lane, which is read no further.

How often a whisper was shown is on disk before it is shown from there. Those never shown come first, then
those whose senders still wait: a whisper that ends the program keeps no other waiting.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Final

from onionshh.core.delivery.actions import (
    Action,
    Actions,
    Count,
    EndLane,
    Erase,
    Finish,
    Judge,
    Keep,
    LaneId,
    Offer,
    Pause,
    Remember,
    Repeat,
    Resume,
    Send,
    Tell,
)
from onionshh.core.delivery.incoming import Event, Incoming, Stage, Taken
from onionshh.core.delivery.outgoing import State
from onionshh.core.delivery.record import (
    EXPIRED,
    RECEIPTS_WAIT_SECONDS,
    REFUSED,
    WHISPER,
    Record,
    receipt_for,
    refusal_of,
)
from onionshh.ids import RandomBytes, WhisperId

WHISPERS_MOST: Final = 1024
BYTES_MOST: Final = 16 * 1024 * 1024
SEEN_MOST: Final = 1_000_000
"""Ids remembered: with that many nothing more is taken on until the oldest expire."""
REPLIES_MOST: Final = 1024
"""Replies kept for visitors that have not come back."""
LANES_MOST: Final = 1024
VISITOR_IDLE_SECONDS: Final = 600.0
VISITOR_SENDINGS_MOST: Final = 4
"""Sendings that may wait for one visitor's window before nothing more is taken from him."""
RECEIPTS_TOGETHER: Final = 8
"""So many receipts may wait for the whisper that is on its way."""
CLOSED: Final = "the endpoint was closed; the reply goes out when it runs again"


@dataclass(slots=True)
class _Owed:
    """A receipt that is due. `again`: for a whisper that was here before, so its reply is repeated too.
    `offered`: the program has just been given that whisper, and may reply."""

    receipt: Record
    again: bool
    offered: bool


@dataclass(slots=True)
class _Lane:
    used_at: float
    owed: dict[WhisperId, _Owed] = field(default_factory=dict)
    since: float = inf
    """When the first of them began to wait."""
    more: bool = False
    """Whether another record is on its way."""
    leaving: int = 0
    blocked: Record | None = None
    """What waits for room."""
    waited_for: bool = True
    """Whether its sender still waited for it when it came."""
    judging: bool = False
    """Whether the disk is asked about it once more."""
    paused: bool = False

    @property
    def may_be_read(self) -> bool:
        return self.blocked is None and not self.judging and self.leaving < VISITOR_SENDINGS_MOST

    @property
    def may_wait(self) -> bool:
        offered = any(one.offered for one in self.owed.values())
        return len(self.owed) < RECEIPTS_TOGETHER and (self.more or offered)


class Receiver:
    """One endpoint's. `most`: how many unfinished whispers it holds; `give_up_after`: one that was shown so
    often and never finished is set aside, None: none is."""

    def __init__(
        self, random_bytes: RandomBytes, *, most: int | None = None, give_up_after: int | None = None
    ) -> None:
        self._random_bytes = random_bytes
        self._give_up_after = inf if give_up_after is None else give_up_after
        self._most = WHISPERS_MOST if most is None else most
        self._unfinished: dict[WhisperId, Incoming] = {}
        self._bytes = 0
        self._seen = 0
        self._lanes: dict[LaneId, _Lane] = {}
        self._blocked: dict[LaneId, None] = {}
        """Those where something waits for room, in that order."""
        self._owing: dict[LaneId, None] = {}
        """Those that owe receipts, in the order of `since`."""
        self._wanting = 0
        self._token = 0
        self._keeping: dict[int, tuple[LaneId, dict[WhisperId, _Owed]]] = {}
        self._ending: dict[int, Finish] = {}
        self._replies: dict[WhisperId, float] = {}
        """Replies of this run that no visitor acknowledged, and until when each lives, monotonic seconds."""
        self._on_disk: set[WhisperId] = set()
        """All replies on disk, so that nobody can ask for others to be erased."""

    # What is on disk.

    def restored(self, held: Iterable[tuple[WhisperId, int, int, int]]) -> None:
        """Whispers of before, oldest first: (id, size, expires, how often shown)."""
        for whisper_id, size, expires, shown in held:
            whisper = Incoming(size, expires, shown, None, Stage.KEPT, aside=shown >= self._give_up_after)
            self._unfinished[whisper_id] = whisper
            self._bytes += size

    def counted(self, seen: int, replies: Iterable[WhisperId], best: int, now: float) -> Actions:
        """How many ids are remembered, and which replies are on disk, after a tidying."""
        self._seen = seen
        self._on_disk = set(replies)
        return self._unblock(best, now)

    def missing(self, whisper_id: WhisperId) -> None:
        """Its row is not on disk any more."""
        whisper = self._unfinished.pop(whisper_id, None)
        if whisper is not None:
            self._bytes -= whisper.size

    def dropped(self, replies: Iterable[WhisperId]) -> None:
        """These had to make room for another, and are not on disk any more."""
        self._on_disk.difference_update(replies)

    # Lanes.

    def lane_opened(self, lane: LaneId, now: float) -> Actions:
        """A visitor's; the one that idles longest makes room."""
        actions: Actions = ()
        if len(self._lanes) >= LANES_MOST:
            oldest = min(self._lanes, key=lambda one: self._lanes[one].used_at)
            actions = (EndLane(oldest, "exchanges-most"), Count("exchanges-most"))
            self._gone(oldest)
        self._lanes[lane] = _Lane(now)
        return actions

    def lane_lost(self, lane: LaneId, best: int, now: float) -> Actions:
        """It ended: what it owes stays unacknowledged, and its visitor comes again. The place that it was
        about to take is somebody else's."""
        self._gone(lane)
        return self._unblock(best, now)

    def lane_sent(self, lane: LaneId, reply: WhisperId | None, now: float) -> Actions:
        """One sending has wholly left, and a reply of ours with it."""
        told: Actions = (Tell(reply, State.OUT),) if reply in self._replies and reply is not None else ()
        held = self._lanes.get(lane)
        if held is None:
            return told
        held.used_at = now
        held.leaving -= 1
        return told + self._read_or_not(lane)

    def close(self) -> Actions:
        """Nothing more is taken on or goes out; what is on disk stays there."""
        ended = tuple(EndLane(lane, "endpoint-closed") for lane in self._lanes)
        told = tuple(Tell(reply, State.FAILED, CLOSED) for reply in self._replies)
        self._lanes.clear()
        self._owing.clear()
        self._blocked.clear()
        self._replies.clear()
        return ended + told

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
    ) -> Actions:
        """A record came. `known`: the disk knows its id; `refuse`: why its dates cannot be; `more`: another
        one is on its way; `received_at`, `best`: Unix seconds."""
        held = self._lanes.get(lane)
        if held is None:
            return ()
        held.used_at = now
        held.more = more
        if record.kind != WHISPER:
            return self._acknowledged(record) + self._settle(lane, now)
        held.judging = False
        # What was taken on once is acknowledged, whatever its dates have become.
        if known or record.whisper_id in self._unfinished:
            owed = self._owe(lane, record, again=True, offered=False, now=now)
            return owed + self._read_or_not(lane) + self._unblock(best, now)
        if refuse is not None:
            refused = self._refuse(lane, record, refuse) + self._settle(lane, now)
            return refused + self._read_or_not(lane) + self._unblock(best, now)
        if not self._room(len(record.body)):
            return self._block(lane, record, best, now)
        taken = Taken(record.whisper_id, record.body, received_at, record.expires, record.privacy_class)
        whisper = Incoming(len(record.body), record.expires, 0, taken, Stage.FRESH, lane=lane)
        self._unfinished[record.whisper_id] = whisper
        self._bytes += whisper.size
        self._seen += 1
        offered = self._offer(best)
        ours = any(isinstance(one, Offer) and one.whisper == record.whisper_id for one in offered)
        owed = self._owe(lane, record, again=False, offered=ours, now=now)
        return offered + owed + self._read_or_not(lane) + self._unblock(best, now)

    def repeated(self, lane: LaneId, reply: Record) -> Actions:
        """What `Repeat` asked for was found on disk."""
        return self._send(lane, (reply,), reply.whisper_id)

    # The program.

    def want(self, best: int) -> Actions:
        """It asks for a whisper: an `Offer` now, or as soon as there is one."""
        self._wanting += 1
        return self._offer(best)

    def unwant(self) -> None:
        """It asks no more, and was offered nothing."""
        self._wanting -= 1

    def let_go(self, whisper_id: WhisperId, best: int) -> Actions:
        """It has let an unfinished one go: somebody else may have it."""
        whisper = self._unfinished.get(whisper_id)
        if whisper is None:
            return ()
        whisper.held = False
        given_up: Actions = ()
        if whisper.shown >= self._give_up_after and not whisper.aside:
            whisper.aside = True
            given_up = (Count("whisper-given-up"),)
        return given_up + self._offer(best)

    def take_aside(self) -> list[Offer]:
        """All that are set aside and in nobody's hand; the program has them in hand from now on."""
        found = [(one, it) for one, it in self._unfinished.items() if it.aside and not it.held]
        for _, whisper in found:
            whisper.held = True
        return [Offer(one, whisper.taken, whisper.shown) for one, whisper in found]

    def not_shown(self, whisper_id: WhisperId, best: int) -> Actions:
        """It was offered one and went away before it had it."""
        whisper = self._unfinished.get(whisper_id)
        if whisper is not None:
            whisper.shown -= 1
        return self.let_go(whisper_id, best)

    def finish(self, whisper_id: WhisperId, reply: Record | None, lives_until: float = 0.0) -> Remember:
        """It is done with one, and perhaps answers. To be committed; then `remembered`."""
        whisper = self._unfinished.get(whisper_id)
        fresh = None
        if whisper is not None:
            fresh = whisper.taken
            whisper.move(Event.FINISH)
        row = Finish(whisper_id, fresh, reply)
        self._token += 1
        self._ending[self._token] = row
        if reply is not None:
            self._replies[reply.whisper_id] = lives_until
        return Remember(self._token, (row,))

    # The disk.

    def remembered(self, token: int, best: int, now: float) -> Actions:
        """It is on disk: what depends on it goes on."""
        ended = self._ending.pop(token, None)
        if ended is not None:
            return self._ended(ended, best, now)
        lane, owed = self._keeping.pop(token)
        for whisper_id in owed:
            whisper = self._unfinished.get(whisper_id)
            if whisper is not None:
                whisper.move(Event.REMEMBERED)
        return self._pay(lane, owed)

    def not_remembered(self, token: int, now: float) -> Actions:
        """It is not: nothing of it is acknowledged, so that its visitor comes again."""
        ended = self._ending.pop(token, None)
        if ended is not None:
            whisper = self._unfinished.get(ended.whisper)
            if ended.reply is not None:
                self._replies.pop(ended.reply.whisper_id, None)
            if whisper is None:
                return ()
            whisper.not_finished()
            return self._no_longer_offered(ended.whisper, whisper, now)
        lane, owed = self._keeping.pop(token)
        for whisper_id in owed:
            one = self._unfinished.get(whisper_id)
            if one is not None:
                one.move(Event.NOT_REMEMBERED)
        if lane not in self._lanes:
            return ()
        self._gone(lane)
        return (EndLane(lane, "not-kept"),)

    # Time.

    def tick(self, now: float) -> Actions:
        """Send the receipts whose time has come."""
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
        """About once a minute: give up lanes that idle, and replies that nobody came for in time."""
        actions: list[Action] = []
        for lane, held in list(self._lanes.items()):
            if now >= held.used_at + VISITOR_IDLE_SECONDS:
                actions.append(EndLane(lane, "idle"))
                self._gone(lane)
        for reply, until in list(self._replies.items()):
            if now >= until:
                del self._replies[reply]
                actions.append(Tell(reply, State.EXPIRED, "the visitor did not come back for it in time"))
        return tuple(actions)

    # Numbers.

    @property
    def unfinished(self) -> int:
        """Whispers that the program has still to finish with."""
        return len(self._unfinished)

    @property
    def given_up(self) -> int:
        """Of these, those set aside."""
        return sum(one.aside for one in self._unfinished.values())

    @property
    def replies(self) -> int:
        """Replies on disk."""
        return len(self._on_disk)

    @property
    def lanes(self) -> int:
        """Joined circuits that are served."""
        return len(self._lanes)

    # Inside: what came.

    def _room(self, size: int) -> bool:
        return (
            len(self._unfinished) < self._most and self._bytes + size <= BYTES_MOST and self._seen < SEEN_MOST
        )

    def _block(self, lane: LaneId, record: Record, best: int, now: float) -> Actions:
        """It waits, and what its lane owes does not."""
        held = self._lanes[lane]
        if lane not in self._blocked:
            held.waited_for = best < record.expires
        held.blocked = record
        self._blocked[lane] = None
        return self._flush(lane, now) + self._read_or_not(lane)

    def _unblock(self, best: int, now: float) -> Actions:
        """There may be room for the one that waits longest."""
        actions: list[Action] = []
        for lane in list(self._blocked):
            held = self._lanes[lane]
            record = held.blocked
            if record is None:
                continue  # the disk is asked about it
            expired = held.waited_for and best >= record.expires
            if not expired and not self._room(len(record.body)):
                break
            held.blocked = None
            if not expired:
                held.judging = True
                return (*actions, Judge(lane, record))
            # Its sender has given it up meanwhile: it would take the room of one that is waited for.
            del self._blocked[lane]
            actions.append(Count("record-expired-waiting"))
            actions += self._refuse(lane, record, EXPIRED)
            actions += self._read_or_not(lane)
        return tuple(actions)

    def _read_or_not(self, lane: LaneId) -> Actions:
        """Whether more is taken from this visitor."""
        held = self._lanes[lane]
        if held.blocked is None and not held.judging:
            self._blocked.pop(lane, None)
        if held.may_be_read is not held.paused:
            return ()
        held.paused = not held.may_be_read
        return (Pause(lane),) if held.paused else (Resume(lane),)

    def _refuse(self, lane: LaneId, record: Record, why: int) -> Actions:
        count = Count("record-expired" if why == EXPIRED else "record-far-future")
        return (count, *self._send(lane, (refusal_of(record, why, self._random_bytes),), None))

    def _acknowledged(self, record: Record) -> Actions:
        reply_id = record.in_reply_to
        if reply_id not in self._on_disk:
            return ()  # whoever acknowledges what was never sent makes no work
        self._on_disk.discard(reply_id)
        if self._replies.pop(reply_id, None) is None:
            return (Erase(reply_id),)
        if record.kind == REFUSED:
            return (
                Erase(reply_id),
                Tell(reply_id, State.EXPIRED, "the visitor refused it: its time was over"),
            )
        return (Erase(reply_id), Tell(reply_id, State.DELIVERED))

    # Inside: what is owed.

    def _owe(self, lane: LaneId, record: Record, *, again: bool, offered: bool, now: float) -> Actions:
        held = self._lanes[lane]
        if not held.owed:
            held.since = now
            self._owing[lane] = None
        receipt = receipt_for(record, self._random_bytes)
        held.owed[record.whisper_id] = _Owed(receipt, again, offered)
        whisper = self._unfinished.get(record.whisper_id)
        if whisper is not None:
            whisper.lane = lane
        return self._settle(lane, now)

    def _settle(self, lane: LaneId, now: float) -> Actions:
        """What is owed leaves, unless it may wait."""
        held = self._lanes[lane]
        return () if not held.owed or held.may_wait else self._flush(lane, now)

    def _flush(self, lane: LaneId, now: float) -> Actions:
        """Whatever of it is not on disk is brought there first. What is being finished leaves after that."""
        held = self._lanes[lane]
        if not held.owed:
            return ()
        stays, leaves, rows = {}, {}, []
        for whisper_id, owed in held.owed.items():
            whisper = self._unfinished.get(whisper_id)
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
        self._token += 1
        self._keeping[self._token] = (lane, leaves)
        return (Remember(self._token, tuple(rows)),)

    def _pay(self, lane: LaneId, owed: dict[WhisperId, _Owed]) -> Actions:
        if lane not in self._lanes:
            return ()
        receipts = tuple(one.receipt for one in owed.values())
        repeats = tuple(Repeat(lane, whisper_id) for whisper_id, one in owed.items() if one.again)
        return self._send(lane, receipts, None) + repeats

    def _send(self, lane: LaneId, records: tuple[Record, ...], reply: WhisperId | None) -> Actions:
        held = self._lanes.get(lane)
        if held is None:
            return ()
        held.leaving += 1
        return (Send(lane, records, reply), *self._read_or_not(lane))

    # Inside: the program.

    def _offer(self, best: int) -> Actions:
        if not self._wanting:
            return ()
        chosen = self._choose(best)
        if chosen is None:
            return ()
        whisper = self._unfinished[chosen]
        self._wanting -= 1
        whisper.held = True
        whisper.shown += 1
        return (Offer(chosen, whisper.taken, whisper.shown),)

    def _choose(self, best: int) -> WhisperId | None:
        chosen: tuple[tuple[int, bool], WhisperId] | None = None
        for whisper_id, one in self._unfinished.items():  # oldest first
            if one.held or one.aside or one.stage is Stage.ENDING:
                continue
            rank = (one.shown, one.expires <= best)
            if chosen is None or rank < chosen[0]:
                chosen = (rank, whisper_id)
                if rank == (0, False):
                    break
        return None if chosen is None else chosen[1]

    def _ended(self, row: Finish, best: int, now: float) -> Actions:
        """The program has finished with it: there is room for one more, and its receipt may go."""
        whisper = self._unfinished.pop(row.whisper, None)
        reply = row.reply
        actions: list[Action] = []
        if reply is not None:
            self._on_disk.add(reply.whisper_id)
            while len(self._replies) > REPLIES_MOST:
                oldest = next(iter(self._replies))
                del self._replies[oldest]
                actions.append(Tell(oldest, State.FAILED, "too many other replies wait for their visitors"))
        if whisper is not None:
            whisper.move(Event.FINISHED)
            self._bytes -= whisper.size
            lane = whisper.lane
            held = self._lanes.get(lane) if lane is not None else None
            if lane is not None and held is not None:
                if reply is not None:
                    owed = held.owed.pop(row.whisper, None)
                    if owed is not None and not held.owed:
                        del self._owing[lane]
                    records: tuple[Record, ...] = (reply,)
                    if owed is not None and reply.size != owed.receipt.size:
                        records = (owed.receipt, reply)  # the reply takes longer
                    actions += self._send(lane, records, reply.whisper_id)
                elif row.whisper in held.owed:
                    held.owed[row.whisper].offered = False
                actions += self._settle(lane, now)
        return (*actions, *self._unblock(best, now))

    def _no_longer_offered(self, whisper_id: WhisperId, whisper: Incoming, now: float) -> Actions:
        lane = whisper.lane
        held = self._lanes.get(lane) if lane is not None else None
        if lane is None or held is None or whisper_id not in held.owed:
            return ()
        held.owed[whisper_id].offered = False
        return self._settle(lane, now)

    def _gone(self, lane: LaneId) -> None:
        self._lanes.pop(lane, None)
        self._blocked.pop(lane, None)
        self._owing.pop(lane, None)
