"""What arrives at an endpoint in parts is put together, and only a whole is shown (SPEC 13). Pure.

A part is acknowledged when it is on disk. The one that completes the transfer waits until the whole is marked
on disk. So a sender whose last receipt has come knows that the whole will be shown. Copies are acknowledged
again. Parts may come in any order and over any lane. A part that cannot be taken now gets no answer, and its
sender sends it again.

There is one method per input. Each returns the actions that the driver carries out, in order. `arriving.py`
has the table of a transfer's stages.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

from onionshh.core.delivery.actions import Count, LaneId, Send
from onionshh.core.delivery.arriving import Arriving, InEvent, InStage, Kept, LastPart, Piece
from onionshh.core.delivery.parts import MOST_BYTES, PARTS_MOST, Part, TransferId
from onionshh.core.delivery.record import (
    EXPIRED,
    EXPIRY_GRACE_SECONDS,
    NOT_WHOLE,
    SEEN_EXTRA_SECONDS,
    TOO_FAR,
    Record,
    receipt_for,
    refusal_of,
)
from onionshh.core.delivery.transfer_actions import (
    CheckWhole,
    DropTransfer,
    FinishTransfer,
    ForgetTransfer,
    InAction,
    InActions,
    KeepPart,
    MarkWhole,
    OfferTransfer,
    RememberTransfers,
    StoredTransfer,
    TransferLost,
    TransferRow,
)
from onionshh.crypto.primitives import sha3_256
from onionshh.ids import RandomBytes
from onionshh.reasons import Reason

UNFINISHED_MOST: Final = 1024
UNFINISHED_BYTES_MOST: Final = 64 * 1024 * 1024
"""Of data, on disk. Whole transfers that the program has not finished count too. The last `MOST_BYTES` of it
are for the oldest transfer that still comes. So many at once do not all stop half-way for want of room."""
DONE_MOST: Final = 32_768
"""Ids of finished transfers. With this many, no new transfer is accepted until the oldest ids expire."""
BAD_MOST: Final = 1024
"""Ids of dropped transfers. Past that the oldest is forgotten, and may come again from its first part on."""
QUIET_SECONDS: Final = 3600.0
"""A transfer of which no new part has come for this long makes room when room is short."""


class IncomingTransfers:
    """The transfers of one endpoint."""

    def __init__(self, random_bytes: RandomBytes) -> None:
        self._random_bytes = random_bytes
        self._transfers: dict[TransferId, Arriving] = {}
        self._done: dict[TransferId, int] = {}
        self._bad: dict[TransferId, int] = {}
        """Ids of finished and of dropped transfers, and when each expires; oldest first."""
        self._bytes = 0
        self._wanting = 0
        self._order = 0
        self._token = 0
        self._pending: dict[int, tuple[TransferRow, ...]] = {}

    @property
    def unfinished(self) -> int:
        """How many transfers are not finished."""
        return len(self._transfers)

    @property
    def stored_bytes(self) -> int:
        """Bytes of data of these."""
        return self._bytes

    # What is on disk.

    def restored(self, found: Iterable[StoredTransfer], now: float) -> InActions:
        """Add the transfers of an earlier run, whole ones in their order."""
        actions: list[InAction] = []
        for stored in found:
            if stored.state == Kept.DONE:
                self._done[stored.transfer] = stored.expires
                continue
            if stored.state == Kept.BAD:
                self._bad[stored.transfer] = stored.expires
                continue
            entry = Arriving(stored.expires, now, shown=stored.shown, session=stored.session)
            entry.received_at = stored.received_at
            if stored.last is not None:
                entry.last = LastPart(stored.last, stored.whole_hash)
            entry.pieces = {part.number: Piece(part.digest, part.size, kept=True) for part in stored.parts}
            self._transfers[stored.transfer] = entry
            self._bytes += entry.size
            if stored.state == Kept.WHOLE:
                entry.stage = InStage.WHOLE
                self._order += 1
                entry.order = self._order
            elif entry.complete:
                actions += self._check(stored.transfer, entry)
        return tuple(actions)

    # Parts.

    def part_in(
        self,
        lane: LaneId,
        record: Record,
        part: Part,
        *,
        refuse: int | None,
        now: float,
        session: bytes | None = None,
    ) -> InActions:
        """A part arrived. `refuse`: what is wrong with the dates of its record. `session`: that of the lane,
        if there is one."""
        transfer = part.transfer
        if transfer in self._done:
            return self._acknowledge(lane, record)
        if transfer in self._bad:
            return self._refuse(lane, record, NOT_WHOLE if refuse is None else refuse)
        entry = self._transfers.get(transfer)
        digest = sha3_256(record.body)
        if entry is not None:
            piece = entry.pieces.get(part.number)
            if piece is not None and piece.digest == digest and record.expires == entry.expires:
                return self._again(lane, record, part, entry)
        # An accepted part is always acknowledged, even if its dates would be refused now.
        if refuse is not None:
            return self._refuse(lane, record, refuse)
        if entry is not None and entry.contradicts(part, record.expires):
            return self._contradicted(lane, record, part, entry)
        if part.whisper or part.number >= PARTS_MOST:
            return self._refuse(lane, record, NOT_WHOLE)
        if entry is not None and entry.stage is not InStage.COMING:
            return ()  # it is being dropped
        if not self._has_room(transfer, len(part.data), now):
            return (Count(Reason.TRANSFERS_FULL), *self._make_room(transfer, now))
        if entry is None:
            entry = self._transfers[transfer] = Arriving(record.expires, now)
        entry.session = session
        return self._take(lane, record, part, entry, digest, now)

    # The disk.

    def remembered(self, token: int) -> InActions:
        """The rows are on disk: continue with what waited for them."""
        actions: list[InAction] = []
        for row in self._pending.pop(token):
            match row:
                case KeepPart():
                    actions += self._kept(row)
                case MarkWhole(transfer):
                    actions += self._marked(transfer)
                case DropTransfer(transfer, _, reason):
                    actions += self._dropped(transfer, reason)
                case FinishTransfer(transfer):
                    self._finished(transfer)
                case ForgetTransfer():
                    pass
        return tuple(actions)

    def not_remembered(self, token: int) -> InActions:
        """The rows are not on disk: acknowledge nothing, so that the parts come again."""
        actions: InActions = (Count(Reason.NOT_KEPT),)
        for row in self._pending.pop(token):
            match row:
                case KeepPart():
                    self._not_kept(row)
                case MarkWhole(transfer) | DropTransfer(transfer) | FinishTransfer(transfer):
                    self._disk_failed(transfer)
                    actions += self._offer()  # an ending that failed
                case ForgetTransfer():
                    pass  # it is forgotten after the next start
        return actions

    def checked(self, transfer: TransferId, whole_hash: bytes | None, wall: int) -> InActions:
        """The hash over all parts on disk. None: they could not be read. `wall`: Unix seconds."""
        entry = self._transfers.get(transfer)
        if entry is None or entry.stage is not InStage.CHECKING:
            return ()  # it is being dropped
        if whole_hash is None:
            self._disk_failed(transfer)
            return ()
        if entry.last is None or whole_hash != entry.last.whole_hash:
            return self._give_up(transfer, entry, Reason.TRANSFER_NOT_WHOLE)
        entry.move(InEvent.FITS)
        entry.received_at = wall
        return (self._remember(MarkWhole(transfer, wall)),)

    # The program.

    def want(self) -> InActions:
        """The program asks for a transfer. An `OfferTransfer` comes now or when one is whole."""
        self._wanting += 1
        return self._offer()

    def unwant(self) -> None:
        """The program stops asking, and was offered nothing."""
        self._wanting -= 1

    def let_go(self, transfer: TransferId) -> InActions:
        """The program gives an unfinished transfer back: another caller may have it."""
        entry = self._transfers.get(transfer)
        if entry is None:
            return ()
        entry.held = False
        return self._offer()

    def not_shown(self, transfer: TransferId) -> InActions:
        """The caller went away before it got the transfer that was offered."""
        entry = self._transfers.get(transfer)
        if entry is not None:
            entry.shown -= 1
        return self.let_go(transfer)

    def finish(self, transfer: TransferId) -> InActions:
        """The program has finished a transfer. Commit this; then `remembered`. Empty if that was done."""
        entry = self._transfers.get(transfer)
        if entry is None or not entry.move(InEvent.FINISH):
            return ()
        return (self._remember(FinishTransfer(transfer)),)

    # Time.

    def tidy(self, earliest: int) -> InActions:
        """At the start and about once per minute: drop what expired before it was whole, forget old ids.

        `earliest`: Unix seconds, from `Clock.earliest`. A wall clock that jumped must not erase anything.
        """
        actions: list[InAction] = []
        for transfer, entry in list(self._transfers.items()):
            if entry.stage is InStage.COMING and entry.settled and earliest > _refused_after(entry.expires):
                actions += self._give_up(transfer, entry, Reason.TRANSFER_EXPIRED)
        old: list[TransferRow] = []
        for ids in (self._done, self._bad):
            for transfer, expires in list(ids.items()):
                if earliest > _refused_after(expires) + SEEN_EXTRA_SECONDS:
                    del ids[transfer]
                    old.append(ForgetTransfer(transfer))
        if old:
            actions.append(self._remember(*old))
        return tuple(actions)

    # Inside: parts.

    def _again(self, lane: LaneId, record: Record, part: Part, entry: Arriving) -> InActions:
        """A copy of a part that is known."""
        if entry.stage in (InStage.WHOLE, InStage.ENDING):
            return self._acknowledge(lane, record)
        if entry.stage is InStage.COMING and entry.pieces[part.number].kept:
            if not entry.complete:
                return self._acknowledge(lane, record)
            entry.wait(part.number, lane, record)
            return self._check(part.transfer, entry)  # the disk failed before
        entry.wait(part.number, lane, record)
        return ()

    def _contradicted(self, lane: LaneId, record: Record, part: Part, entry: Arriving) -> InActions:
        """A part does not fit the others. A whole whose hash is right stays."""
        if entry.stage in (InStage.MARKING, InStage.WHOLE, InStage.ENDING):
            return self._refuse(lane, record, NOT_WHOLE)
        entry.wait(part.number, lane, record)
        return self._give_up(part.transfer, entry, Reason.TRANSFER_NOT_WHOLE)

    def _take(
        self, lane: LaneId, record: Record, part: Part, entry: Arriving, digest: bytes, now: float
    ) -> InActions:
        entry.pieces[part.number] = Piece(digest, len(part.data))
        if part.whole_hash is not None:
            entry.last = LastPart(part.number, part.whole_hash)
        entry.heard_at = now
        entry.wait(part.number, lane, record)
        self._bytes += len(part.data)
        return (self._remember(KeepPart(part, entry.expires, digest, entry.session)),)

    def _has_room(self, transfer: TransferId, size: int, now: float) -> bool:
        full = len(self._transfers) >= UNFINISHED_MOST or len(self._done) >= DONE_MOST
        if full and transfer not in self._transfers:
            return False
        total = self._bytes + size
        if total <= UNFINISHED_BYTES_MOST - MOST_BYTES:
            return True
        return total <= UNFINISHED_BYTES_MOST and self._oldest(now) in (None, transfer)

    def _oldest(self, now: float) -> TransferId | None:
        """The oldest transfer that still comes."""
        for transfer, entry in self._transfers.items():
            if entry.stage is InStage.COMING and now < entry.heard_at + QUIET_SECONDS:
                return transfer
        return None

    def _make_room(self, wants: TransferId, now: float) -> InActions:
        """Drop the transfer that has been quiet longest, if that is long. `wants`: who needs the room."""
        quiet = [
            (entry.heard_at, transfer)
            for transfer, entry in self._transfers.items()
            if entry.stage is InStage.COMING and entry.settled and transfer != wants
        ]
        heard_at, transfer = min(quiet, default=(now, wants))
        if now < heard_at + QUIET_SECONDS or len(self._done) >= DONE_MOST:
            return ()
        return self._give_up(transfer, self._transfers[transfer], Reason.TRANSFER_DISPLACED)

    # Inside: the disk.

    def _remember(self, *rows: TransferRow) -> RememberTransfers:
        self._token += 1
        self._pending[self._token] = rows
        return RememberTransfers(self._token, rows)

    def _kept(self, row: KeepPart) -> InActions:
        transfer, number = row.part.transfer, row.part.number
        entry = self._written(row)
        if entry is None:
            return ()
        entry.pieces[number].kept = True
        if entry.stage is not InStage.COMING:
            return ()  # it is being dropped
        if entry.complete:
            return self._check(transfer, entry)
        waits = entry.waiting.pop(number, None)
        return () if waits is None else self._acknowledge(*waits)

    def _not_kept(self, row: KeepPart) -> None:
        entry = self._written(row)
        if entry is None:
            return
        self._bytes -= entry.pieces.pop(row.part.number).size
        entry.waiting.pop(row.part.number, None)
        if row.part.last:
            entry.last = None
        if not entry.pieces and entry.stage is InStage.COMING:
            del self._transfers[row.part.transfer]

    def _written(self, row: KeepPart) -> Arriving | None:
        """The transfer that this part was written for. None if it was dropped meanwhile."""
        entry = self._transfers.get(row.part.transfer)
        piece = None if entry is None else entry.pieces.get(row.part.number)
        return None if piece is None or piece.digest != row.digest else entry

    def _check(self, transfer: TransferId, entry: Arriving) -> InActions:
        entry.move(InEvent.COMPLETE)
        return (CheckWhole(transfer, len(entry.pieces)),)

    def _marked(self, transfer: TransferId) -> InActions:
        entry = self._transfers[transfer]
        entry.move(InEvent.MARKED)
        self._order += 1
        entry.order = self._order
        actions: InActions = ()
        for lane, record in entry.waiting.values():
            actions += self._acknowledge(lane, record)
        entry.waiting.clear()
        return actions + self._offer()

    def _give_up(self, transfer: TransferId, entry: Arriving, reason: Reason) -> InActions:
        if not entry.move(InEvent.GIVE_UP):
            return ()
        return (Count(reason), self._remember(DropTransfer(transfer, entry.expires, reason)))

    def _dropped(self, transfer: TransferId, reason: Reason) -> InActions:
        entry = self._transfers.pop(transfer)
        entry.move(InEvent.DROPPED)
        self._bytes -= entry.size
        self._bad[transfer] = entry.expires
        actions: InActions = (TransferLost(transfer, entry.size, reason, entry.session),)
        for lane, record in entry.waiting.values():
            actions += (Send(lane, (refusal_of(record, NOT_WHOLE, self._random_bytes),), None),)
        if len(self._bad) > BAD_MOST:
            oldest = next(iter(self._bad))
            del self._bad[oldest]
            actions += (self._remember(ForgetTransfer(oldest)),)
        return actions

    def _finished(self, transfer: TransferId) -> None:
        entry = self._transfers.pop(transfer)
        entry.move(InEvent.FINISHED)
        self._bytes -= entry.size
        self._done[transfer] = entry.expires

    def _disk_failed(self, transfer: TransferId) -> None:
        entry = self._transfers[transfer]
        entry.move(InEvent.DISK_FAILED)
        entry.waiting.clear()  # they come again

    # Inside: answers.

    def _acknowledge(self, lane: LaneId, record: Record) -> InActions:
        if not record.receipt_wanted:
            return ()
        return (Send(lane, (receipt_for(record, self._random_bytes),), None),)

    def _refuse(self, lane: LaneId, record: Record, why: int) -> InActions:
        refusal = refusal_of(record, why, self._random_bytes)
        return (Count(_REASONS[why]), Send(lane, (refusal,), None))

    def _offer(self) -> InActions:
        """Offer a transfer, if the program asks and one is whole: the one shown least, then the oldest."""
        ready = [
            (entry.shown, entry.order, transfer)
            for transfer, entry in self._transfers.items()
            if entry.stage is InStage.WHOLE and not entry.held
        ]
        if not self._wanting or not ready:
            return ()
        transfer = min(ready)[2]
        entry = self._transfers[transfer]
        self._wanting -= 1
        entry.held = True
        entry.shown += 1
        return (
            OfferTransfer(
                transfer, entry.size, len(entry.pieces), entry.shown, entry.session, entry.received_at
            ),
        )


_REASONS: Final = MappingProxyType(
    {
        EXPIRED: Reason.RECORD_EXPIRED,
        TOO_FAR: Reason.RECORD_FAR_FUTURE,
        NOT_WHOLE: Reason.TRANSFER_NOT_WHOLE,
    }
)


def _refused_after(expires: int) -> int:
    """After this time, by the consensus, no part of the transfer is accepted."""
    return expires + EXPIRY_GRACE_SECONDS
