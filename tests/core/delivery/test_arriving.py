"""The table of transfers that arrive: every stage with every event, and what belongs to a transfer."""

from __future__ import annotations

import itertools

import pytest

from onionshh.core.delivery import arriving
from onionshh.core.delivery.actions import LaneId
from onionshh.core.delivery.arriving import TABLE, Arriving, InEvent, InStage, LastPart, Piece
from onionshh.core.delivery.parts import PART_DATA, PARTS_MOST, Part, TransferId, part_record
from tests.seeded import seeded

EXPECTED = """
          COMPLETE  FITS     MARKED  FINISH  FINISHED  GIVE_UP   DROPPED  DISK_FAILED
COMING    CHECKING  -        -       -       -         DROPPING  -        -
CHECKING  -         MARKING  -       -       -         DROPPING  -        COMING
MARKING   -         -        WHOLE   -       -         -         -        COMING
WHOLE     -         -        -       ENDING  -         -         -        -
ENDING    -         -        -       -       DONE      -         -        WHOLE
DROPPING  -         -        -       -       -         -         BAD      COMING
DONE      -         -        -       -       -         -         -        -
BAD       -         -        -       -       -         -         -        -
"""
ID = TransferId(b"t" * 16)


@pytest.mark.parametrize(("stage", "event"), list(itertools.product(InStage, InEvent)))
def test_every_stage_with_every_event(stage: InStage, event: InEvent) -> None:
    head, *rows = EXPECTED.strip().splitlines()
    row = next(one.split()[1:] for one in rows if one.split()[0] == stage.name)
    becomes = row[head.split().index(event.name)]
    transfer = Arriving(600, 0.0, stage)
    assert transfer.move(event) is (becomes != "-")
    assert transfer.stage is (stage if becomes == "-" else InStage[becomes])


def test_the_table_in_the_file_is_this_table() -> None:
    lines = [line for line in (arriving.__doc__ or "").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "---" not in line]
    told = {
        (InStage[row[0]], InEvent[name]): InStage[cell]
        for row in cells[1:]
        for name, cell in zip(cells[0][1:], row[1:], strict=True)
        if cell
    }
    assert told == dict(TABLE)
    assert len(cells) == 1 + len(InStage)


def part(number: int, *, last: bool = False, whisper: bool = False) -> Part:
    return Part(ID, number, b"x" if last else bytes(PART_DATA), bytes(32) if last else None, whisper)


def made(*numbers: int, last: int | None = None) -> Arriving:
    transfer = Arriving(600, 0.0, last=None if last is None else LastPart(last, bytes(32)))
    for number in numbers:
        transfer.pieces[number] = Piece(bytes(32), 10, kept=True)
    return transfer


@pytest.mark.parametrize(
    ("transfer", "new", "expires", "contradicts"),
    [
        (made(0, 1), part(2), 600, False),
        (made(0, 1), part(1), 600, True),
        (made(0, 1), part(2), 601, True),
        (made(0, 1), part(2, whisper=True), 600, True),
        (made(0), part(PARTS_MOST - 1), 600, False),
        (made(0), part(PARTS_MOST), 600, True),
        (made(0, 2), part(3, last=True), 600, False),
        (made(0, 2), part(1, last=True), 600, True),
        (made(0, 3, last=3), part(2), 600, False),
        (made(0, 3, last=3), part(4), 600, True),
        (made(0, 3, last=3), part(2, last=True), 600, True),
        (made(0, 3, last=3), part(4, last=True), 600, True),
    ],
)
def test_which_part_cannot_belong_to_a_transfer(
    transfer: Arriving, new: Part, expires: int, contradicts: bool
) -> None:
    assert transfer.contradicts(new, expires) is contradicts


def test_it_is_complete_when_all_parts_are_on_disk() -> None:
    assert not made(0, 1).complete
    assert not made(0, 2, last=2).complete
    transfer = made(0, 1, 2, last=2)
    assert transfer.complete
    assert transfer.size == 30
    transfer.pieces[1].kept = False
    assert (transfer.complete, transfer.settled) == (False, False)


def test_who_waits_is_kept_once_a_number_without_the_body() -> None:
    transfer = made(0)
    for number in (0, 0, *range(2 * PARTS_MOST)):
        record = part_record(part(number), expires=600, privacy_class=1, random_bytes=seeded(number))
        transfer.wait(number, LaneId(number), record)
    assert len(transfer.waiting) == PARTS_MOST
    assert {record.body for _, record in transfer.waiting.values()} == {b""}
