"""Delivery: records from the other end, well formed and hostile, to a Sender and a Receiver."""

from __future__ import annotations

from onionshh.core.base.chance import Chance
from onionshh.core.delivery.actions import Actions, LaneId, NeedLane, Remember
from onionshh.core.delivery.parts import Part, part_record
from onionshh.core.delivery.receiver import Receiver
from onionshh.core.delivery.record import EXPIRED, TOO_FAR, Record, new_whisper, receipt_for, refusal_of
from onionshh.core.delivery.sender import Sender
from onionshh.core.delivery.transfer_actions import CheckWhole, InActions, RememberTransfers
from onionshh.core.delivery.transfer_in import UNFINISHED_BYTES_MOST, UNFINISHED_MOST, IncomingTransfers
from tests.fuzz.doors import PARTS, WHISPER
from tests.fuzz.target import Left, Script, Target, string
from tests.seeded import seeded

_MOST = 2


def _receive(data: bytes) -> None:
    """Records on two lanes; flags say what the disk knows and does, and whether the program asks."""
    script, receiver = Script(data), Receiver(seeded(1), most=_MOST)
    now = 0.0
    for lane in (1, 2):
        receiver.lane_opened(LaneId(lane), 0, now)
    while not script.over:
        flags = script.number(1)
        now += script.number(1) / 100
        record = Record.decode_untrusted(script.string())
        if flags & 1:
            receiver.inbox.want(0)
        actions = receiver.record_in(
            LaneId(1 + (flags >> 1 & 1)),
            record,
            known=bool(flags & 4),
            refuse=EXPIRED if flags & 8 else None,
            more=bool(flags & 16),
            received_at=now,
            best=0,
            now=now,
        )
        _remember(receiver, actions, now, fails=bool(flags & 32))
        _remember(receiver, receiver.tick(now), now, fails=False)
        if len(receiver.inbox) > _MOST:
            raise Left(f"{len(receiver.inbox)} whispers where {_MOST} may be")
    receiver.close()


def _remember(receiver: Receiver, actions: Actions, now: float, *, fails: bool) -> None:
    for action in actions:
        if isinstance(action, Remember) and fails:
            receiver.not_remembered(action.token, 0, now)
        elif isinstance(action, Remember):
            receiver.remembered(action.token, 0, now)


def _put_together(data: bytes) -> None:
    """Parts of any transfers; flags say what the disk does, and whether the program asks."""
    script, transfers = Script(data), IncomingTransfers(seeded(1))
    now = 0.0
    while not script.over:
        flags = script.number(1)
        now += script.number(1)
        part = Part.decode_untrusted(script.string())
        record = part_record(part, expires=600 + (flags & 1), privacy_class=1, random_bytes=seeded(2))
        if flags & 2:
            transfers.want()
        refuse = EXPIRED if flags & 4 else None
        actions = transfers.part_in(LaneId(flags >> 3 & 1), record, part, refuse=refuse, now=now)
        _write(transfers, actions, part, fails=bool(flags & 16))
        if flags & 32:
            _write(transfers, transfers.tidy(int(now) * 100), part, fails=False)
    if transfers.unfinished > UNFINISHED_MOST or transfers.stored_bytes > UNFINISHED_BYTES_MOST:
        raise Left(f"{transfers.unfinished} transfers of {transfers.stored_bytes} bytes")


def _write(transfers: IncomingTransfers, actions: InActions, part: Part, *, fails: bool) -> None:
    for action in actions:
        match action:
            case RememberTransfers(token):
                done = transfers.not_remembered(token) if fails else transfers.remembered(token)
                _write(transfers, done, part, fails=fails)
            case CheckWhole(transfer):
                _write(transfers, transfers.checked(transfer, part.whole_hash, 0), part, fails=fails)


def _answer(data: bytes) -> None:
    """One whisper is out, one waits; records come in over the lane, or over one that is gone."""
    script, sender = Script(data), Sender(receipt_seconds=10.0, chance=Chance(seeded(1)))
    now, lane = 0.0, 1
    for record in (WHISPER, _OTHER):
        sender.submit(record, 600.0, now)
    sender.await_answer(WHISPER.whisper_id, now)
    sender.lane_opened(LaneId(lane), now, None, now)
    sender.lane_sent(LaneId(lane), WHISPER.whisper_id, now)
    while not script.over:
        flags = script.number(1)
        now += script.number(1)
        record = Record.decode_untrusted(script.string())
        refuse = TOO_FAR if flags & 2 else None
        actions = sender.record_in(LaneId(lane + (flags & 1)), record, now, refuse=refuse) + sender.tick(now)
        if any(isinstance(action, NeedLane) for action in actions):
            lane += 1
            sender.lane_opened(LaneId(lane), now, None, now)
    sender.close("over")
    if sender.waiting:
        raise Left(f"{sender.waiting} whispers wait in a sender that is closed")


_OTHER = new_whisper(b"", expires=600, privacy_class=1, random_bytes=seeded(3))
_REPLY = new_whisper(
    b"reply", expires=600, privacy_class=1, random_bytes=seeded(4), in_reply_to=WHISPER.whisper_id
)


def _records(*records: tuple[int, Record]) -> bytes:
    return b"".join(bytes((flags, 5)) + string(record.encode()) for flags, record in records)


def _parts(*parts: tuple[int, Part]) -> bytes:
    return b"".join(bytes((flags, 5)) + string(part.encode()) for flags, part in parts)


DELIVERY = (
    Target(
        "core.delivery.IncomingTransfers.part_in",
        _put_together,
        (
            _parts((2, PARTS[0]), (0, PARTS[0]), (33, PARTS[0]), (4, PARTS[0])),
            _parts((16, PARTS[0]), (0, PARTS[0]), (0, PARTS[1]), (0, PARTS[2])),
        ),
    ),
    Target(
        "core.delivery.Receiver.record_in",
        _receive,
        (
            _records(
                (0, WHISPER), (0, WHISPER), (17, _OTHER), (2, _REPLY), (0, receipt_for(WHISPER, seeded(5)))
            ),
            _records((33, WHISPER), (8, _OTHER), (4, _REPLY)),
        ),
    ),
    Target(
        "core.delivery.Sender.record_in",
        _answer,
        (
            _records((0, receipt_for(WHISPER, seeded(5))), (0, _REPLY), (1, _REPLY)),
            _records((0, refusal_of(WHISPER, EXPIRED, seeded(5))), (2, _REPLY)),
        ),
    ),
)
