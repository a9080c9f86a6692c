"""One transfer on its way out: how it is cut, what goes out when, what ends it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from hashlib import sha3_256
from math import inf

import pytest

from onionshh.core.base.chance import Chance
from onionshh.core.delivery import transfer_out as module
from onionshh.core.delivery.parts import MOST_BYTES, NOT_FOR_BULK, PART_DATA, PARTS_MOST, Part
from onionshh.core.delivery.record import Record
from onionshh.core.delivery.transfer_actions import (
    NeedMore,
    OutActions,
    Progress,
    Renew,
    SendPart,
    TransferEnded,
    Withdraw,
)
from onionshh.core.delivery.transfer_out import (
    GROUP_LEAST,
    GROUP_MOST,
    OVER,
    PAUSE_SECONDS,
    TABLE,
    OutEvent,
    OutgoingTransfer,
    OutStage,
)
from onionshh.errors import TooLarge
from onionshh.ids import WhisperId
from tests.seeded import seeded

DEADLINE = 600.0


def made(size: int | None = None, seed: int = 1) -> OutgoingTransfer:
    return OutgoingTransfer(
        size=size, expires=1_000, privacy_class=1, deadline=DEADLINE, chance=Chance(seeded(seed))
    )


def sent(actions: OutActions) -> list[Record]:
    return [one.record for one in actions if isinstance(one, SendPart)]


class Driver:
    """Gives the machine what it asks for, and acknowledges each part when told."""

    def __init__(self, transfer: OutgoingTransfer, pieces: list[bytes]) -> None:
        self.transfer = transfer
        self.pieces = pieces
        self.records: list[Record] = []
        self.groups: list[list[Record]] = [[]]
        self.pauses: list[float] = []
        self.progress: list[Progress] = []
        self.ended: TransferEnded | None = None
        self.asked = 0

    def do(self, actions: OutActions) -> None:
        for action in actions:
            match action:
                case NeedMore():
                    self.asked += 1
                    self.do(self.transfer.more(self.pieces.pop(0)) if self.pieces else self.transfer.end())
                case SendPart(record):
                    self.records.append(record)
                    self.groups[-1].append(record)
                case Renew(pause):
                    self.pauses.append(pause)
                    self.groups.append([])
                case Progress():
                    self.progress.append(action)
                case TransferEnded():
                    assert self.ended is None
                    self.ended = action
                case Withdraw():
                    raise AssertionError("nothing fails here")

    def run(self) -> list[Part]:
        """The parts in the order in which they went out."""
        now = 0.0
        self.do(self.transfer.begin())
        while self.ended is None:
            for record in self.groups[-1][:]:
                self.do(self.transfer.acknowledged(record.whisper_id, now))
            if self.transfer.stage is OutStage.PAUSING:
                assert self.transfer.next_deadline() == now + self.pauses[-1]
                assert self.transfer.tick(now) == () or self.pauses[-1] == 0.0
                now = self.transfer.next_deadline()
                self.do(self.transfer.tick(now))
        return [Part.decode_untrusted(record.body) for record in self.records]


def pieces_of(whole: bytes, size: int) -> list[bytes]:
    return [whole[at : at + size] for at in range(0, len(whole), size)]


# The table.


def sending() -> tuple[OutgoingTransfer, WhisperId]:
    transfer = made()
    transfer.begin()
    (first,) = sent(transfer.more(bytes(PART_DATA + 1)))
    return transfer, first.whisper_id


def settling() -> tuple[OutgoingTransfer, WhisperId]:
    transfer = made()
    transfer.begin()
    parts = sent(transfer.more(bytes((GROUP_MOST + 1) * PART_DATA)))
    for record in parts[1:]:
        transfer.acknowledged(record.whisper_id, 0.0)
    return transfer, parts[0].whisper_id


def last_out() -> tuple[OutgoingTransfer, WhisperId]:
    transfer = made()
    transfer.begin()
    transfer.more(b"all")
    (record,) = sent(transfer.end())
    return transfer, record.whisper_id


def pausing() -> tuple[OutgoingTransfer, WhisperId]:
    transfer, record = settling()
    transfer.acknowledged(record, 0.0)
    return transfer, record


def delivered() -> tuple[OutgoingTransfer, WhisperId]:
    transfer, record = last_out()
    transfer.acknowledged(record, 0.0)
    return transfer, record


def failed() -> tuple[OutgoingTransfer, WhisperId]:
    transfer, record = settling()
    transfer.close("enough")
    return transfer, record


def expired() -> tuple[OutgoingTransfer, WhisperId]:
    transfer, record = settling()
    transfer.tick(DEADLINE)
    return transfer, record


Made = Callable[[], tuple[OutgoingTransfer, WhisperId]]
INPUTS: dict[str, Callable[[OutgoingTransfer, WhisperId], OutActions]] = {
    "more": lambda transfer, _: transfer.more(bytes(GROUP_MOST * PART_DATA)),
    "end": lambda transfer, _: transfer.end(),
    "acknowledged": lambda transfer, record: transfer.acknowledged(record, 1.0),
    "pause over": lambda transfer, _: transfer.tick(DEADLINE - 1.0),
    "source failed": lambda transfer, _: transfer.source_failed("gone"),
    "too late": lambda transfer, record: transfer.expired(record, "too late"),
    "failed": lambda transfer, record: transfer.failed(record, "no way"),
    "close": lambda transfer, _: transfer.close("enough"),
    "deadline": lambda transfer, _: transfer.tick(DEADLINE),
}
ENDS = {
    "source failed": OutStage.FAILED,
    "too late": OutStage.EXPIRED,
    "failed": OutStage.FAILED,
    "close": OutStage.FAILED,
    "deadline": OutStage.EXPIRED,
}
OF_A_PART = ("too late", "failed")
MOVES: dict[str, tuple[Made, OutStage, dict[str, OutStage]]] = {
    "sending": (
        sending,
        OutStage.SENDING,
        {"more": OutStage.SETTLING, "end": OutStage.SETTLING, **ENDS},
    ),
    "settling": (settling, OutStage.SETTLING, {"acknowledged": OutStage.PAUSING, **ENDS}),
    "last out": (
        last_out,
        OutStage.SETTLING,
        {"acknowledged": OutStage.DELIVERED, "more": OutStage.FAILED, **ENDS},
    ),
    "pausing": (
        pausing,
        OutStage.PAUSING,
        # No part is out, so nothing can be said of one.
        {
            "pause over": OutStage.SENDING,
            **{name: end for name, end in ENDS.items() if name not in OF_A_PART},
        },
    ),
    "delivered": (delivered, OutStage.DELIVERED, {}),
    "failed": (failed, OutStage.FAILED, {}),
    "expired": (expired, OutStage.EXPIRED, {}),
}


@pytest.mark.parametrize(("name", "given"), list(itertools.product(MOVES, INPUTS)))
def test_every_stage_with_every_input(name: str, given: str) -> None:
    begin, stage, moves = MOVES[name]
    transfer, record = begin()
    assert transfer.stage is stage
    actions = INPUTS[given](transfer, record)
    becomes = moves.get(given, stage)
    assert transfer.stage is becomes
    if stage in OVER:
        assert actions == ()
    ended = [one for one in actions if isinstance(one, TransferEnded)]
    assert [one.stage for one in ended] == ([becomes] if becomes in OVER and stage not in OVER else [])
    if becomes in OVER:
        assert transfer.next_deadline() == inf
        assert not sent(actions)


def test_the_table_in_the_file_is_this_table() -> None:
    lines = [line for line in (module.__doc__ or "").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "---" not in line]
    told = {
        (OutStage[row[0]], OutEvent[name]): OutStage[cell]
        for row in cells[1:]
        for name, cell in zip(cells[0][1:], row[1:], strict=True)
        if cell
    }
    assert told == dict(TABLE)
    assert len(cells) == 1 + len(OutStage)


# Cutting.


SIZES = [0, 1, PART_DATA - 1, PART_DATA, PART_DATA + 1, 2 * PART_DATA, 9 * PART_DATA + 5]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("piece", [4_097, PART_DATA, 10 * PART_DATA])
@pytest.mark.parametrize("known", [False, True])
def test_the_parts_are_the_same_however_the_program_gives_it(size: int, piece: int, known: bool) -> None:
    whole = seeded(3)(size)
    driver = Driver(made(size if known else None), pieces_of(whole, piece))
    parts = driver.run()
    assert driver.ended == TransferEnded(OutStage.DELIVERED)
    assert [part.number for part in parts] == list(range(max(1, -(-size // PART_DATA))))
    assert b"".join(part.data for part in parts) == whole
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].whole_hash == sha3_256(whole).digest()
    assert {part.transfer for part in parts} == {driver.transfer.transfer}
    assert driver.progress[-1] == Progress(size, size)


def test_single_bytes_and_empty_pieces_are_pieces() -> None:
    driver = Driver(made(), [b"a", b"", b"b", b"", b"c"])
    (part,) = driver.run()
    assert part.data == b"abc"
    assert driver.asked == 6


def test_the_largest_whole_passes_and_one_byte_more_does_not() -> None:
    driver = Driver(made(), [bytes(MOST_BYTES)])
    assert len(driver.run()) == PARTS_MOST
    with pytest.raises(TooLarge, match="8 MiB"):
        made(MOST_BYTES + 1)


# Groups.


def test_a_group_has_2_to_6_parts_and_after_it_comes_a_pause() -> None:
    sizes: list[int] = []
    pauses: list[float] = []
    for seed in range(30):
        driver = Driver(made(seed=seed), pieces_of(bytes(20 * PART_DATA), 3 * PART_DATA))
        driver.run()
        assert driver.groups[-1]  # no group without parts
        sizes += [len(group) for group in driver.groups[:-1]]
        pauses += driver.pauses
        assert len(driver.pauses) == len(driver.groups) - 1
    assert set(sizes) == set(range(GROUP_LEAST, GROUP_MOST + 1))
    assert abs(sum(pauses) / len(pauses) - PAUSE_SECONDS) < 0.4
    assert len(set(pauses)) == len(pauses)


def test_the_next_group_waits_for_every_part_of_this_one_and_for_the_pause() -> None:
    transfer = made()
    transfer.begin()
    first = sent(transfer.more(bytes(20 * PART_DATA)))
    assert GROUP_LEAST <= len(first) <= GROUP_MOST
    for record in reversed(first[1:]):
        (progress,) = transfer.acknowledged(record.whisper_id, 5.0)
        assert isinstance(progress, Progress)
    assert transfer.acknowledged(first[1].whisper_id, 5.0) == ()  # once is enough
    progress, renew = transfer.acknowledged(first[0].whisper_id, 5.0)
    assert progress == Progress(len(first) * PART_DATA, None)
    assert isinstance(renew, Renew)
    assert transfer.next_deadline() == 5.0 + renew.pause_seconds
    assert transfer.tick(5.0 + renew.pause_seconds / 2) == ()
    assert sent(transfer.tick(5.0 + renew.pause_seconds))
    assert transfer.next_deadline() == DEADLINE


def test_the_first_part_leaves_before_the_program_has_given_the_last() -> None:
    transfer = made()
    assert transfer.begin() == (NeedMore(),)
    assert transfer.more(bytes(PART_DATA)) == (NeedMore(),)  # it might be the last one
    send, more = transfer.more(b"x")
    assert isinstance(send, SendPart)
    assert more == NeedMore()


def test_it_asks_for_no_more_than_it_can_cut() -> None:
    transfer = made()
    transfer.begin()
    while NeedMore() in (actions := transfer.more(bytes(PART_DATA // 2))):
        pass
    out = 0 if not sent(actions) else 1
    assert transfer.stage is OutStage.SETTLING
    assert out <= 1
    assert transfer.tick(1.0) == ()  # one part waits, and it does not ask again


def test_the_seed_decides_everything() -> None:
    def run(seed: int) -> tuple[list[Record], list[float]]:
        driver = Driver(made(seed=seed), [bytes(20 * PART_DATA)])
        driver.run()
        return driver.records, driver.pauses

    assert run(5) == run(5)
    assert run(5) != run(6)


# Ends.


def test_a_source_that_gives_more_than_the_cap_fails_before_more_is_sent() -> None:
    transfer = made()
    transfer.begin()
    out = sent(transfer.more(bytes(MOST_BYTES)))
    for record in out[1:]:
        transfer.acknowledged(record.whisper_id, 0.0)
    transfer.acknowledged(out[0].whisper_id, 0.0)
    while transfer.stage is not OutStage.DELIVERED:
        more = transfer.tick(transfer.next_deadline())
        if NeedMore() in more:
            break
        for record in sent(more):
            transfer.acknowledged(record.whisper_id, 0.0)
    withdraw, ended = transfer.more(b"x")
    assert isinstance(withdraw, Withdraw)
    assert withdraw.parts == tuple(record.whisper_id for record in sent(more))
    assert isinstance(ended, TransferEnded)
    assert ended.why.startswith("its source gave more than the 8388608 bytes (8 MiB) that a transfer holds: ")
    assert ended.why.endswith(NOT_FOR_BULK)


def test_a_source_that_gives_more_or_less_than_it_announced() -> None:
    transfer = made(10)
    transfer.begin()
    (ended,) = transfer.more(bytes(11))
    assert ended == TransferEnded(
        OutStage.FAILED, "its source gave more than the 10 bytes that were announced"
    )
    transfer = made(10)
    transfer.begin()
    transfer.more(bytes(9))
    (ended,) = transfer.end()
    assert ended == TransferEnded(
        OutStage.FAILED, "its source ended after 9 of the 10 bytes that were announced"
    )


@pytest.mark.parametrize("stage", [OutStage.FAILED, OutStage.EXPIRED])
def test_the_end_of_one_part_ends_it_all(stage: OutStage) -> None:
    transfer = made()
    transfer.begin()
    parts = sent(transfer.more(bytes(20 * PART_DATA)))
    end = transfer.failed if stage is OutStage.FAILED else transfer.expired
    withdraw, ended = end(parts[1].whisper_id, "the endpoint refused it")
    assert withdraw == Withdraw(tuple(record.whisper_id for record in parts))
    assert ended == TransferEnded(stage, "the endpoint refused it")
    assert transfer.acknowledged(parts[0].whisper_id, 1.0) == ()
    assert transfer.tick(DEADLINE) == ()


def test_what_is_said_of_a_part_that_is_not_out_changes_nothing() -> None:
    transfer, _ = settling()
    stranger = WhisperId(b"?" * 16)
    assert transfer.acknowledged(stranger, 1.0) == ()
    assert transfer.expired(stranger, "too late") == ()
    assert transfer.failed(stranger, "no way") == ()
    assert transfer.stage is OutStage.SETTLING


def test_why_it_ended_is_said_in_words() -> None:
    transfer, record = settling()
    assert transfer.failed(record, "no path of that length exists")[-1] == TransferEnded(
        OutStage.FAILED, "no path of that length exists"
    )
    transfer, _ = settling()
    assert transfer.source_failed("OSError")[-1] == TransferEnded(OutStage.FAILED, "OSError")
    transfer, _ = settling()
    (_, ended) = transfer.tick(DEADLINE)
    assert ended == TransferEnded(OutStage.EXPIRED, "its time to live ended before all of it had arrived")
