"""What arrives in parts: what is acknowledged when, what is refused, what is shown; and all of it drawn."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import sha3_256
from random import Random

import pytest

from onionshh.core.base.chance import Chance
from onionshh.core.delivery import transfer_in as module
from onionshh.core.delivery.actions import Count, LaneId, Send
from onionshh.core.delivery.arriving import Kept
from onionshh.core.delivery.parts import (
    MOST_BYTES,
    PART_DATA,
    PARTS_MOST,
    Part,
    TransferId,
    part_record,
)
from onionshh.core.delivery.record import (
    EXPIRED,
    EXPIRY_GRACE_SECONDS,
    NOT_WHOLE,
    RECEIPT,
    REFUSED,
    SEEN_EXTRA_SECONDS,
    TOO_FAR,
    Record,
)
from onionshh.core.delivery.transfer_actions import (
    CheckWhole,
    DropTransfer,
    FinishTransfer,
    ForgetTransfer,
    InActions,
    KeepPart,
    MarkWhole,
    OfferTransfer,
    OutActions,
    RememberTransfers,
    SendPart,
    StoredPart,
    StoredTransfer,
    TransferEnded,
    TransferRow,
)
from onionshh.core.delivery.transfer_in import QUIET_SECONDS, IncomingTransfers
from onionshh.core.delivery.transfer_out import OutgoingTransfer, OutStage
from onionshh.ids import WhisperId
from onionshh.reasons import Reason
from tests.seeded import seeded

ONE, TWO = LaneId(1), LaneId(2)
EXPIRES = 600
random_bytes = seeded(1)


def cut(whole: bytes, transfer: bytes = b"t") -> list[Part]:
    """All parts of a whole."""
    pieces = [whole[at : at + PART_DATA] for at in range(0, len(whole), PART_DATA)] or [b""]
    whole_hash = sha3_256(whole).digest()
    name = TransferId(transfer.ljust(16, b"\0"))
    return [
        Part(name, number, data, whole_hash if number == len(pieces) - 1 else None)
        for number, data in enumerate(pieces)
    ]


def record_of(part: Part, expires: int = EXPIRES) -> Record:
    return part_record(part, expires=expires, privacy_class=1, random_bytes=random_bytes)


@dataclass
class ModelDisk:
    """What the store does, in two dicts."""

    states: dict[TransferId, StoredTransfer] = field(default_factory=dict)
    parts: dict[TransferId, dict[int, tuple[bytes, bytes]]] = field(default_factory=dict)
    """Digest and data."""
    order: dict[TransferId, None] = field(default_factory=dict)
    """The whole ones, in order."""

    def commit(self, rows: tuple[TransferRow, ...]) -> None:
        for row in rows:
            match row:
                case KeepPart(part, expires, digest):
                    self._keep(part, expires, digest)
                case MarkWhole(transfer):
                    self.states[transfer] = replace(self.states[transfer], state=Kept.WHOLE)
                    self.order[transfer] = None
                case DropTransfer(transfer, expires):
                    self.parts.pop(transfer, None)
                    self.states[transfer] = StoredTransfer(transfer, Kept.BAD, expires, 0, None, b"")
                case FinishTransfer(transfer):
                    self.parts.pop(transfer, None)
                    self.order.pop(transfer, None)
                    expires = self.states[transfer].expires
                    self.states[transfer] = StoredTransfer(transfer, Kept.DONE, expires, 0, None, b"")
                case ForgetTransfer(transfer):
                    self.states.pop(transfer, None)
                    self.parts.pop(transfer, None)

    def _keep(self, part: Part, expires: int, digest: bytes) -> None:
        transfer = part.transfer
        stored = self.states.get(transfer)
        if stored is None:
            stored = StoredTransfer(transfer, Kept.COMING, expires, 0, None, b"")
        if stored.state == Kept.COMING:
            if part.whole_hash is not None:
                stored = replace(stored, last=part.number, whole_hash=part.whole_hash)
            self.states[transfer] = stored
            self.parts.setdefault(transfer, {})[part.number] = (digest, part.data)

    def held(self) -> list[StoredTransfer]:
        whole_last = [one for one in self.states if one not in self.order] + list(self.order)
        return [
            replace(
                self.states[transfer],
                parts=tuple(
                    StoredPart(number, digest, len(data))
                    for number, (digest, data) in self.parts.get(transfer, {}).items()
                ),
            )
            for transfer in whole_last
        ]

    def whole(self, transfer: TransferId) -> bytes:
        parts = self.parts.get(transfer, {})
        return b"".join(data for _, (_, data) in sorted(parts.items()))


class Endpoint:
    """IncomingTransfers and a disk that does everything at once, unless it is to fail."""

    def __init__(self) -> None:
        self.disk = ModelDisk()
        self.transfers = IncomingTransfers(seeded(2))
        self.answers: list[tuple[LaneId, Record]] = []
        self.offers: list[OfferTransfer] = []
        self.counts: list[Reason] = []
        self.works = True
        self.reads = True

    def do(self, actions: InActions) -> None:
        for action in actions:
            match action:
                case RememberTransfers(token, rows):
                    if self.works:
                        self.disk.commit(rows)
                        self.do(self.transfers.remembered(token))
                    else:
                        self.do(self.transfers.not_remembered(token))
                case CheckWhole(transfer, parts):
                    assert set(self.disk.parts[transfer]) == set(range(parts))
                    whole = sha3_256(self.disk.whole(transfer)).digest() if self.reads else None
                    self.do(self.transfers.checked(transfer, whole, 0))
                case OfferTransfer():
                    self.offers.append(action)
                case Send(lane, records, whisper):
                    assert whisper is None
                    self.answers += [(lane, record) for record in records]
                case Count(reason):
                    self.counts.append(reason)

    def bring(
        self,
        part: Part,
        *,
        lane: LaneId = ONE,
        record: Record | None = None,
        refuse: int | None = None,
        now: float = 0.0,
    ) -> str:
        """Brings a part in; how it was answered."""
        record = record or record_of(part)
        before = len(self.answers)
        self.do(self.transfers.part_in(lane, record, part, refuse=refuse, now=now))
        said = [
            (on, answer) for on, answer in self.answers[before:] if answer.in_reply_to == record.whisper_id
        ]
        if not said:
            return "nothing"
        ((on, answer),) = said
        assert on == lane
        return "receipt" if answer.kind == RECEIPT else f"refused {answer.body[0]}"

    def restart(self) -> None:
        self.transfers = IncomingTransfers(seeded(3))
        self.offers = []
        self.do(self.transfers.restored(self.disk.held(), 0.0))


REFUSED_NOT_WHOLE = f"refused {NOT_WHOLE}"


@pytest.mark.parametrize("size", [0, 1, PART_DATA, PART_DATA + 1, 4 * PART_DATA + 9])
def test_a_whole_is_shown_once_and_every_part_was_acknowledged(size: int) -> None:
    endpoint, whole = Endpoint(), seeded(4)(size)
    endpoint.do(endpoint.transfers.want())
    parts = cut(whole)
    for part in parts:
        assert endpoint.offers == []
        assert endpoint.bring(part) == "receipt"
    transfer = parts[0].transfer
    assert endpoint.offers == [OfferTransfer(transfer, size, len(parts), 1)]
    assert endpoint.disk.whole(transfer) == whole
    assert (endpoint.transfers.unfinished, endpoint.transfers.stored_bytes) == (1, size)
    endpoint.do(endpoint.transfers.finish(transfer))
    assert (endpoint.transfers.unfinished, endpoint.transfers.stored_bytes) == (0, 0)
    assert endpoint.disk.parts == {}
    endpoint.do(endpoint.transfers.want())
    for part in parts:  # copies are acknowledged and not shown
        assert endpoint.bring(part) == "receipt"
    assert endpoint.transfers.finish(transfer) == ()
    assert len(endpoint.offers) == 1
    assert endpoint.counts == []


def test_parts_come_in_any_order_over_any_lane() -> None:
    endpoint, whole = Endpoint(), seeded(5)(5 * PART_DATA)
    parts = cut(whole)
    for part, lane in zip((parts[4], parts[1], parts[0], parts[3], parts[2]), range(5), strict=True):
        assert endpoint.bring(part, lane=LaneId(lane)) == "receipt"
    endpoint.do(endpoint.transfers.want())
    assert endpoint.offers == [OfferTransfer(parts[0].transfer, len(whole), 5, 1)]
    assert endpoint.disk.whole(parts[0].transfer) == whole


def test_a_copy_is_acknowledged_again_at_any_time() -> None:
    endpoint = Endpoint()
    parts = cut(bytes(2 * PART_DATA))
    record = record_of(parts[0])
    assert endpoint.bring(parts[0], record=record) == "receipt"
    assert endpoint.bring(parts[0], record=record, lane=TWO) == "receipt"
    assert endpoint.bring(parts[0], refuse=EXPIRED) == "receipt"  # it was accepted
    assert endpoint.transfers.stored_bytes == PART_DATA
    endpoint.restart()
    assert endpoint.bring(parts[0], record=record) == "receipt"
    endpoint.bring(parts[1])
    endpoint.do(endpoint.transfers.want())
    assert endpoint.bring(parts[1]) == "receipt"  # whole
    endpoint.do(endpoint.transfers.finish(parts[0].transfer))
    assert endpoint.bring(parts[1], refuse=EXPIRED) == "receipt"  # finished
    endpoint.restart()
    assert endpoint.bring(parts[0]) == "receipt"


def test_nothing_is_acknowledged_before_it_is_on_disk() -> None:
    transfers = IncomingTransfers(seeded(2))
    (first, last) = cut(bytes(PART_DATA + 1))
    (keep,) = transfers.part_in(ONE, record_of(first), first, refuse=None, now=0.0)
    assert isinstance(keep, RememberTransfers)
    record = record_of(first)
    assert transfers.part_in(TWO, record, first, refuse=None, now=0.0) == ()  # a copy waits too
    (send,) = transfers.remembered(keep.token)
    assert isinstance(send, Send)
    assert (send.lane, send.records[0].in_reply_to) == (TWO, record.whisper_id)
    (keep,) = transfers.part_in(ONE, record_of(last), last, refuse=None, now=0.0)
    assert isinstance(keep, RememberTransfers)
    (check,) = transfers.remembered(keep.token)
    assert check == CheckWhole(first.transfer, 2)
    assert transfers.part_in(TWO, record_of(last), last, refuse=None, now=0.0) == ()
    (mark,) = transfers.checked(first.transfer, last.whole_hash, 7)
    assert isinstance(mark, RememberTransfers)
    assert mark.rows == (MarkWhole(first.transfer, 7),)
    assert transfers.part_in(ONE, record_of(first), first, refuse=None, now=0.0) == ()
    assert transfers.want() == ()
    *receipts, offer = transfers.remembered(mark.token)
    assert [one.lane for one in receipts if isinstance(one, Send)] == [TWO, ONE]
    assert offer == OfferTransfer(first.transfer, PART_DATA + 1, 2, 1, None, 7)


# A disk that fails.


def test_what_could_not_be_written_can_come_again() -> None:
    endpoint = Endpoint()
    (first, last) = cut(bytes(PART_DATA + 1))
    endpoint.works = False
    assert endpoint.bring(first) == "nothing"
    assert endpoint.bring(last) == "nothing"
    assert endpoint.counts == [Reason.NOT_KEPT] * 2
    assert (endpoint.transfers.unfinished, endpoint.transfers.stored_bytes) == (0, 0)
    endpoint.works = True
    assert endpoint.bring(last) == "receipt"
    assert endpoint.bring(first) == "receipt"
    endpoint.do(endpoint.transfers.want())
    assert len(endpoint.offers) == 1


def test_a_whole_that_cannot_be_read_or_marked_is_tried_again_at_the_next_copy() -> None:
    endpoint = Endpoint()
    (part,) = cut(b"all")
    endpoint.reads = False
    assert endpoint.bring(part) == "nothing"
    assert endpoint.bring(part) == "nothing"
    endpoint.reads = True
    endpoint.works = False
    assert endpoint.bring(part) == "nothing"  # it is on disk, and the mark is not
    endpoint.works = True
    assert endpoint.bring(part) == "receipt"
    endpoint.do(endpoint.transfers.want())
    assert len(endpoint.offers) == 1


def test_an_ending_that_fails_leaves_the_transfer_with_the_program() -> None:
    endpoint = Endpoint()
    (part,) = cut(b"all")
    endpoint.bring(part)
    endpoint.do(endpoint.transfers.want())
    endpoint.works = False
    endpoint.do(endpoint.transfers.finish(part.transfer))
    endpoint.do(endpoint.transfers.want())
    assert len(endpoint.offers) == 1
    endpoint.do(endpoint.transfers.let_go(part.transfer))
    assert [offer.shown for offer in endpoint.offers] == [1, 2]
    endpoint.works = True
    endpoint.do(endpoint.transfers.finish(part.transfer))
    assert endpoint.transfers.unfinished == 0


def test_one_that_is_let_go_while_its_ending_fails_is_shown_again() -> None:
    transfers = Endpoint()
    (part,) = cut(b"all")
    transfers.bring(part)
    transfers.do(transfers.transfers.want())
    (remember,) = transfers.transfers.finish(part.transfer)
    assert isinstance(remember, RememberTransfers)
    transfers.do(transfers.transfers.let_go(part.transfer))
    transfers.do(transfers.transfers.want())
    assert len(transfers.offers) == 1
    transfers.do(transfers.transfers.not_remembered(remember.token))
    assert len(transfers.offers) == 2


def test_a_refusal_that_cannot_be_noted_is_not_sent() -> None:
    endpoint = Endpoint()
    parts = cut(bytes(3 * PART_DATA))
    endpoint.bring(parts[0])
    endpoint.works = False
    wrong = replace(parts[0], data=b"x" * PART_DATA)
    assert endpoint.bring(wrong) == "nothing"
    endpoint.works = True
    assert endpoint.bring(parts[1]) == "receipt"  # as before
    assert endpoint.bring(wrong) == REFUSED_NOT_WHOLE
    assert endpoint.bring(parts[2]) == REFUSED_NOT_WHOLE


def test_what_was_complete_when_the_program_ended_is_checked_at_the_start() -> None:
    """Its last part was on disk and not acknowledged; nobody need send it again."""
    disk, transfers = ModelDisk(), IncomingTransfers(seeded(2))
    (part,) = cut(b"all")
    (keep,) = transfers.part_in(ONE, record_of(part), part, refuse=None, now=0.0)
    assert isinstance(keep, RememberTransfers)
    disk.commit(keep.rows)
    assert transfers.remembered(keep.token) == (CheckWhole(part.transfer, 1),)
    transfers = IncomingTransfers(seeded(3))
    assert transfers.restored(disk.held(), 0.0) == (CheckWhole(part.transfer, 1),)
    (mark,) = transfers.checked(part.transfer, part.whole_hash, 0)
    assert isinstance(mark, RememberTransfers)
    transfers.want()
    assert transfers.remembered(mark.token) == (OfferTransfer(part.transfer, 3, 1, 1),)


def test_what_waits_for_a_refusal_is_not_acknowledged_when_the_disk_fails() -> None:
    """Other bytes come for a number that is being written. The refusal cannot be noted, the part can."""
    transfers = IncomingTransfers(seeded(2))
    wrong = replace(THREE[0], data=b"x" * PART_DATA)
    (keep,) = transfers.part_in(ONE, record_of(THREE[0]), THREE[0], refuse=None, now=0.0)
    _, drop = transfers.part_in(TWO, record_of(wrong), wrong, refuse=None, now=0.0)
    assert isinstance(keep, RememberTransfers)
    assert isinstance(drop, RememberTransfers)
    assert transfers.not_remembered(drop.token) == (Count(Reason.NOT_KEPT),)
    assert transfers.remembered(keep.token) == ()
    (receipt,) = transfers.part_in(ONE, record_of(THREE[0]), THREE[0], refuse=None, now=0.0)
    assert isinstance(receipt, Send)


# What does not fit.


THREE = cut(bytes(2 * PART_DATA + 1))
WRONG = {
    "other bytes for a number": replace(THREE[0], data=b"x" * PART_DATA),
    "a second last part": replace(THREE[2], data=b"y"),
    "a last part before others": replace(THREE[0], data=b"y", whole_hash=bytes(32)),
    "a part after the last": replace(THREE[0], number=3),
    "a last part after the last": replace(THREE[2], number=3),
    "a number past 8 MiB": replace(THREE[0], number=PARTS_MOST),
    "the largest number": replace(THREE[0], number=2**32 - 1),
    "a whisper among them": replace(THREE[1], whisper=True),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_part_that_does_not_fit_ends_its_transfer_for_good(name: str) -> None:
    endpoint = Endpoint()
    for part in (THREE[0], THREE[2]):
        assert endpoint.bring(part) == "receipt"
    assert endpoint.bring(WRONG[name]) == REFUSED_NOT_WHOLE
    assert endpoint.disk.parts == {}
    for _ in range(2):
        assert endpoint.transfers.stored_bytes == 0
        for part in THREE:
            assert endpoint.bring(part) == REFUSED_NOT_WHOLE
        assert endpoint.bring(THREE[0], refuse=EXPIRED) == f"refused {EXPIRED}"
        endpoint.restart()
    assert endpoint.bring(cut(b"of another", b"other")[0]) == "receipt"


def test_a_part_with_another_expiry_does_not_fit() -> None:
    endpoint = Endpoint()
    endpoint.bring(THREE[0])
    assert endpoint.bring(THREE[1], record=record_of(THREE[1], EXPIRES + 1)) == REFUSED_NOT_WHOLE
    endpoint = Endpoint()
    endpoint.bring(THREE[0])
    assert endpoint.bring(THREE[0], record=record_of(THREE[0], EXPIRES + 1)) == REFUSED_NOT_WHOLE


@pytest.mark.parametrize("name", ["a number past 8 MiB", "a whisper among them"])
def test_the_first_part_of_what_is_never_accepted(name: str) -> None:
    endpoint = Endpoint()
    assert endpoint.bring(WRONG[name]) == REFUSED_NOT_WHOLE
    assert endpoint.transfers.unfinished == 0
    assert endpoint.counts == [Reason.TRANSFER_NOT_WHOLE]


def test_a_whole_whose_hash_does_not_fit_is_never_shown() -> None:
    endpoint = Endpoint()
    endpoint.do(endpoint.transfers.want())
    parts = cut(bytes(3 * PART_DATA))
    endpoint.bring(parts[0])
    endpoint.bring(replace(parts[2], whole_hash=bytes(32)))
    assert endpoint.bring(parts[1]) == REFUSED_NOT_WHOLE
    assert endpoint.offers == []
    assert endpoint.counts == [Reason.TRANSFER_NOT_WHOLE]
    assert endpoint.disk.parts == {}


@pytest.mark.parametrize("name", [name for name in WRONG if name != "a last part before others"])
def test_a_whole_stays_whatever_comes_after_it(name: str) -> None:
    endpoint = Endpoint()
    for part in THREE:
        endpoint.bring(part)
    assert endpoint.bring(WRONG[name]) == REFUSED_NOT_WHOLE
    endpoint.do(endpoint.transfers.want())
    assert [offer.size for offer in endpoint.offers] == [2 * PART_DATA + 1]
    assert endpoint.bring(THREE[0]) == "receipt"


def test_a_part_that_is_written_after_its_transfer_was_dropped_is_not_there() -> None:
    """The disk may write in any order; whoever comes meanwhile is answered once that is done."""
    disk, transfers = ModelDisk(), IncomingTransfers(seeded(2))
    (keep,) = transfers.part_in(ONE, record_of(THREE[0]), THREE[0], refuse=None, now=0.0)
    count, drop = transfers.part_in(ONE, record_of(THREE[1], EXPIRES + 1), THREE[1], refuse=None, now=0.0)
    assert count == Count(Reason.TRANSFER_NOT_WHOLE)
    assert transfers.part_in(TWO, record_of(THREE[2]), THREE[2], refuse=None, now=0.0) == ()
    assert transfers.part_in(TWO, record_of(THREE[0]), THREE[0], refuse=None, now=0.0) == ()
    assert isinstance(keep, RememberTransfers)
    assert isinstance(drop, RememberTransfers)
    disk.commit(drop.rows)
    answers = transfers.remembered(drop.token)
    assert [one.records[0].kind for one in answers if isinstance(one, Send)] == [REFUSED] * 2
    disk.commit(keep.rows)
    assert transfers.remembered(keep.token) == ()
    assert disk.parts == {}
    assert transfers.stored_bytes == 0


def test_the_dates_of_a_new_part_are_judged() -> None:
    endpoint = Endpoint()
    assert endpoint.bring(THREE[0], refuse=EXPIRED) == f"refused {EXPIRED}"
    assert endpoint.bring(THREE[0], refuse=TOO_FAR) == f"refused {TOO_FAR}"
    assert endpoint.transfers.unfinished == 0
    assert endpoint.counts == [Reason.RECORD_EXPIRED, Reason.RECORD_FAR_FUTURE]
    endpoint.bring(THREE[0])
    assert endpoint.bring(THREE[1], refuse=EXPIRED) == f"refused {EXPIRED}"
    assert endpoint.transfers.unfinished == 1


# Time.


LATE = EXPIRES + EXPIRY_GRACE_SECONDS + 1
LATER = LATE + SEEN_EXTRA_SECONDS


def test_what_is_not_whole_in_time_is_erased_and_a_whole_stays() -> None:
    endpoint = Endpoint()
    (whole,) = cut(b"whole", b"w")
    endpoint.bring(whole)
    endpoint.bring(THREE[0])
    endpoint.do(endpoint.transfers.tidy(LATE - 1))
    assert endpoint.transfers.unfinished == 2
    endpoint.do(endpoint.transfers.tidy(LATE))
    assert endpoint.counts == [Reason.TRANSFER_EXPIRED]
    assert set(endpoint.disk.parts) == {whole.transfer}
    assert endpoint.bring(THREE[1], refuse=EXPIRED) == f"refused {EXPIRED}"
    endpoint.do(endpoint.transfers.tidy(10 * LATER))
    endpoint.do(endpoint.transfers.want())
    assert [offer.transfer for offer in endpoint.offers] == [whole.transfer]


def test_what_expired_while_the_endpoint_did_not_run_is_erased_at_the_start() -> None:
    endpoint = Endpoint()
    endpoint.bring(THREE[0])
    endpoint.restart()
    endpoint.do(endpoint.transfers.tidy(LATE))
    assert endpoint.disk.parts == {}


def test_a_part_that_is_being_written_is_not_erased_under_the_disks_hands() -> None:
    transfers = IncomingTransfers(seeded(2))
    (keep,) = transfers.part_in(ONE, record_of(THREE[0]), THREE[0], refuse=None, now=0.0)
    assert isinstance(keep, RememberTransfers)
    assert transfers.tidy(LATE) == ()
    transfers.remembered(keep.token)
    assert transfers.tidy(LATE)


def test_ids_are_forgotten_when_no_part_can_come_any_more() -> None:
    endpoint = Endpoint()
    (part,) = cut(b"all", b"done")
    endpoint.bring(part)
    endpoint.do(endpoint.transfers.want())
    endpoint.do(endpoint.transfers.finish(part.transfer))
    endpoint.bring(THREE[0])
    endpoint.bring(WRONG["other bytes for a number"])
    assert {stored.state for stored in endpoint.disk.held()} == {Kept.DONE, Kept.BAD}
    endpoint.do(endpoint.transfers.tidy(LATER - 1))
    assert len(endpoint.disk.states) == 2
    endpoint.do(endpoint.transfers.tidy(LATER))
    assert endpoint.disk.states == {}
    assert endpoint.bring(part, refuse=EXPIRED) == f"refused {EXPIRED}"


# Bounds.


def test_the_bounds() -> None:
    assert module.UNFINISHED_MOST == 1024
    assert module.UNFINISHED_BYTES_MOST == 64 * 1024 * 1024 == 8 * MOST_BYTES


def test_past_the_number_of_transfers_nothing_new_is_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNFINISHED_MOST", 2)
    endpoint = Endpoint()
    first, second = (cut(bytes(PART_DATA + 1), name) for name in (b"1", b"2"))
    (third,) = cut(b"third", b"3")
    endpoint.bring(first[0])
    endpoint.bring(second[0])
    assert endpoint.bring(third) == "nothing"
    assert endpoint.counts == [Reason.TRANSFERS_FULL]
    assert endpoint.bring(first[1]) == "receipt"
    assert endpoint.bring(third) == "nothing"  # a whole one counts until it is finished
    endpoint.restart()
    assert endpoint.bring(third) == "nothing"
    endpoint.do(endpoint.transfers.finish(first[0].transfer))
    assert endpoint.bring(third) == "receipt"


def test_past_the_number_of_finished_ids_nothing_new_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DONE_MOST", 1)
    endpoint = Endpoint()
    (part,) = cut(b"all", b"done")
    endpoint.bring(THREE[0])
    endpoint.bring(part)
    endpoint.do(endpoint.transfers.finish(part.transfer))
    (new,) = cut(b"new", b"new")
    assert endpoint.bring(new, now=2 * QUIET_SECONDS) == "nothing"
    assert endpoint.bring(THREE[1]) == "receipt"  # nothing was dropped for it
    endpoint.do(endpoint.transfers.tidy(LATER))
    assert endpoint.bring(new, record=record_of(new, 2 * LATER)) == "receipt"


def test_the_oldest_refused_id_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BAD_MOST", 2)
    endpoint = Endpoint()
    for name in (b"1", b"2", b"3"):
        first = cut(bytes(2 * PART_DATA), name)[0]
        endpoint.bring(first)
        assert endpoint.bring(replace(first, data=b"x" * PART_DATA)) == REFUSED_NOT_WHOLE
    assert [stored.transfer[:1] for stored in endpoint.disk.held()] == [b"2", b"3"]


SMALL = 4 * PART_DATA


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for four parts, one of them only for the oldest."""
    monkeypatch.setattr(module, "UNFINISHED_BYTES_MOST", SMALL)
    monkeypatch.setattr(module, "MOST_BYTES", PART_DATA)


def test_past_the_bytes_only_the_oldest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    endpoint = Endpoint()
    first, second, third = (cut(bytes(2 * PART_DATA), name) for name in (b"1", b"2", b"3"))
    for parts in (first, second, third):
        assert endpoint.bring(parts[0]) == "receipt"
    for parts in (third, second):
        assert endpoint.bring(parts[1]) == "nothing"
    assert endpoint.bring(first[1]) == "receipt"
    assert endpoint.transfers.stored_bytes == SMALL
    assert endpoint.bring(second[1]) == "nothing"
    endpoint.do(endpoint.transfers.finish(first[0].transfer))
    assert endpoint.bring(third[1]) == "receipt"
    assert endpoint.bring(second[1]) == "receipt"
    assert set(endpoint.counts) == {Reason.TRANSFERS_FULL}


def test_who_has_been_quiet_long_makes_room_and_only_when_room_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small(monkeypatch)
    endpoint = Endpoint()
    first, second, third, fourth = (cut(bytes(2 * PART_DATA), name) for name in (b"1", b"2", b"3", b"4"))
    for now, parts in enumerate((second, first, third)):
        endpoint.bring(parts[0], now=float(now))
    assert endpoint.bring(fourth[0], now=QUIET_SECONDS - 1) == "nothing"
    assert endpoint.counts == [Reason.TRANSFERS_FULL]
    endpoint.bring(second[0], now=QUIET_SECONDS)  # a copy is no news
    assert endpoint.bring(fourth[0], now=QUIET_SECONDS) == "nothing"
    assert endpoint.counts[-1] == Reason.TRANSFER_DISPLACED
    assert endpoint.bring(fourth[0], now=QUIET_SECONDS) == "receipt"
    assert endpoint.bring(second[1], now=QUIET_SECONDS) == REFUSED_NOT_WHOLE
    assert endpoint.transfers.unfinished == 3


# The program.


def test_the_one_shown_least_comes_first_and_then_the_one_whole_for_longest() -> None:
    endpoint = Endpoint()
    names = [TransferId(name.ljust(16, b"\0")) for name in (b"1", b"2", b"3")]
    later = cut(bytes(PART_DATA + 1), b"1")
    endpoint.bring(later[0])
    for name in (b"2", b"3"):
        endpoint.bring(cut(b"x", name)[0])
    endpoint.bring(later[1])
    for _ in range(3):
        endpoint.do(endpoint.transfers.want())
    assert [offer.transfer for offer in endpoint.offers] == [names[1], names[2], names[0]]
    endpoint.do(endpoint.transfers.want())
    endpoint.do(endpoint.transfers.let_go(names[2]))
    assert endpoint.offers[-1] == OfferTransfer(names[2], 1, 1, 2)
    endpoint.do(endpoint.transfers.let_go(names[2]))
    endpoint.do(endpoint.transfers.not_shown(names[0]))
    endpoint.do(endpoint.transfers.want())
    assert endpoint.offers[-1] == OfferTransfer(names[0], PART_DATA + 1, 2, 1)
    endpoint.do(endpoint.transfers.finish(names[1]))
    assert endpoint.transfers.let_go(names[1]) == ()
    endpoint.restart()
    endpoint.do(endpoint.transfers.want())
    assert endpoint.offers == [OfferTransfer(names[2], 1, 1, 1)]


def test_who_stops_asking_is_offered_nothing() -> None:
    endpoint = Endpoint()
    endpoint.do(endpoint.transfers.want())
    endpoint.transfers.unwant()
    endpoint.bring(cut(b"x")[0])
    assert endpoint.offers == []


# Everything drawn.


class Story:
    """A few senders, an endpoint that crashes, a disk that fails and takes its time, lanes that lose."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.disk = ModelDisk()
        self.transfers = IncomingTransfers(seeded(seed))
        self.trouble = True
        self.now = 0.0
        self.senders: dict[TransferId, OutgoingTransfer] = {}
        self.wholes: dict[TransferId, bytes] = {}
        self.out: dict[WhisperId, Record] = {}
        self.ended: dict[TransferId, OutStage] = {}
        self.waiting: list[RememberTransfers] = []
        self.written: list[int] = []
        self.checks: list[CheckWhole] = []
        self.held: list[TransferId] = []
        self.asked = False
        self.finished: list[TransferId] = []
        for number in range(4):
            self._begin(number)

    def _begin(self, number: int) -> None:
        size = self.random.choice((0, 1, PART_DATA, PART_DATA + 1, 3 * PART_DATA, 7 * PART_DATA + 2))
        whole = self.random.randbytes(size)
        chance = Chance(Random(f"{number} {size}").randbytes)
        sender = OutgoingTransfer(size=None, expires=EXPIRES, privacy_class=1, deadline=1e9, chance=chance)
        self.senders[sender.transfer] = sender
        self.wholes[sender.transfer] = whole
        self._go_out(sender, sender.begin())
        self._go_out(sender, sender.more(whole))
        self._go_out(sender, sender.end())

    def _go_out(self, sender: OutgoingTransfer, actions: OutActions) -> None:
        for action in actions:
            if isinstance(action, SendPart):
                self.out[action.record.whisper_id] = action.record
            elif isinstance(action, TransferEnded):
                self.ended[sender.transfer] = action.stage

    def _do(self, actions: InActions) -> None:
        for action in actions:
            match action:
                case RememberTransfers():
                    self.waiting.append(action)
                case CheckWhole():
                    self.checks.append(action)
                case OfferTransfer(transfer, size, parts):
                    whole = self.wholes[transfer]
                    assert self.disk.states[transfer].state == Kept.WHOLE
                    assert (self.disk.whole(transfer), size) == (whole, len(whole))
                    assert parts == len(self.disk.parts[transfer])
                    assert transfer not in self.finished
                    assert transfer not in self.held
                    self.held.append(transfer)
                    self.asked = False
                case Send(_, records):
                    for record in records:
                        self._answered(record)

    def _answered(self, answer: Record) -> None:
        assert answer.kind == RECEIPT
        record = self.out.get(answer.in_reply_to)
        if record is None:
            return  # acknowledged before
        part = Part.decode_untrusted(record.body)
        stored = self.disk.states[part.transfer]
        if stored.state == Kept.COMING:
            assert self.disk.parts[part.transfer][part.number][1] == part.data
        else:
            assert stored.state in (Kept.WHOLE, Kept.DONE)
        if self.trouble and self.random.random() < 0.3:
            return  # lost
        del self.out[record.whisper_id]
        sender = self.senders[part.transfer]
        self._go_out(sender, sender.acknowledged(record.whisper_id, self.now))

    def step(self) -> None:
        self.now += 1.0
        one = self.random.choice((self._send, self._send, self._write, self._report, self._check, self._use))
        one()
        for sender in self.senders.values():
            self._go_out(sender, sender.tick(self.now))
        if self.trouble and self.random.random() < 0.02:
            self._crash()

    def _send(self) -> None:
        if self.out:
            record = self.random.choice(list(self.out.values()))
            part = Part.decode_untrusted(record.body)
            lane = LaneId(self.random.randrange(3))
            self._do(self.transfers.part_in(lane, record, part, refuse=None, now=self.now))

    def _write(self) -> None:
        if self.waiting:
            remember = self.waiting.pop(self.random.randrange(len(self.waiting)))
            if self.trouble and self.random.random() < 0.15:
                self._do(self.transfers.not_remembered(remember.token))
                return
            self.disk.commit(remember.rows)
            self.written.append(remember.token)
            self.finished += [row.transfer for row in remember.rows if isinstance(row, FinishTransfer)]

    def _report(self) -> None:
        if self.written:
            token = self.written.pop(self.random.randrange(len(self.written)))
            self._do(self.transfers.remembered(token))

    def _check(self) -> None:
        if self.checks:
            check = self.checks.pop()
            whole: bytes | None = sha3_256(self.disk.whole(check.transfer)).digest()
            if self.trouble and self.random.random() < 0.2:
                whole = None
            self._do(self.transfers.checked(check.transfer, whole, 0))

    def _use(self) -> None:
        if not self.asked and not self.held:
            self.asked = True
            self._do(self.transfers.want())
        elif self.held:
            transfer = self.held[-1]
            if self.trouble and self.random.random() < 0.3:
                self.held.remove(transfer)
                self._do(self.transfers.let_go(transfer))
            else:
                self._do(self.transfers.finish(transfer))
                if transfer in self.finished:
                    self.held.remove(transfer)

    def _crash(self) -> None:
        self.transfers = IncomingTransfers(self.random.randbytes)
        self.waiting, self.written, self.checks, self.held, self.asked = [], [], [], [], False
        self._do(self.transfers.restored(self.disk.held(), self.now))
        self._do(self.transfers.tidy(0))


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_each_whole_is_shown_until_finished_once(seed: int) -> None:
    story = Story(seed)
    for _ in range(400):
        story.step()
    story.trouble = False
    for _ in range(20_000):
        if len(story.finished) == len(story.wholes) and not story.out:
            break
        story.step()
    assert sorted(story.finished) == sorted(story.wholes)
    assert set(story.ended.values()) == {OutStage.DELIVERED}
    assert len(story.ended) == len(story.wholes)
    assert story.disk.parts == {}
