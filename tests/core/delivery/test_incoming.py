"""The table of whispers that came: every stage with every event."""

from __future__ import annotations

import itertools

import pytest

from onionshh.core.delivery import incoming
from onionshh.core.delivery.incoming import TABLE, Event, Incoming, Stage, Taken
from onionshh.ids import WhisperId

EXPECTED = """
         REMEMBER  REMEMBERED  NOT_REMEMBERED  FINISH  FINISHED
FRESH    KEEPING   -           -               ENDING  -
KEEPING  -         KEPT        FRESH           ENDING  -
KEPT     -         -           -               ENDING  -
ENDING   -         -           -               -       DONE
DONE     -         -           -               -       -
"""


@pytest.mark.parametrize(("stage", "event"), list(itertools.product(Stage, Event)))
def test_every_stage_with_every_event(stage: Stage, event: Event) -> None:
    head, *rows = EXPECTED.strip().splitlines()
    row = next(one.split()[1:] for one in rows if one.split()[0] == stage.name)
    becomes = row[head.split().index(event.name)]
    whisper = made(stage)
    before = whisper.before
    moves = stage is Stage.ENDING and event in (Event.REMEMBERED, Event.NOT_REMEMBERED)
    assert whisper.move(event) is (becomes != "-" or moves)
    assert whisper.before is (stage if becomes == "ENDING" else before)
    assert whisper.stage is (stage if becomes == "-" else Stage[becomes])


def test_the_table_in_the_file_is_this_table() -> None:
    lines = [line for line in (incoming.__doc__ or "").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "---" not in line]
    names = cells[0][1:]
    told = {
        (Stage[row[0]], Event[name]): Stage[cell]
        for row in cells[1:]
        for name, cell in zip(names, row[1:], strict=True)
        if cell and name != "NOT_FINISHED"
    }
    assert told == dict(TABLE)


@pytest.mark.parametrize("stage", [Stage.FRESH, Stage.KEEPING, Stage.KEPT])
def test_an_ending_that_fails_goes_back(stage: Stage) -> None:
    whisper = made(stage)
    whisper.move(Event.FINISH)
    whisper.not_finished()
    assert whisper.stage is stage


@pytest.mark.parametrize(
    ("event", "before"), [(Event.REMEMBERED, Stage.KEPT), (Event.NOT_REMEMBERED, Stage.FRESH)]
)
def test_a_row_that_is_answered_while_the_program_finishes_counts_when_that_fails(
    event: Event, before: Stage
) -> None:
    whisper = made(Stage.KEEPING)
    whisper.move(Event.FINISH)
    assert whisper.move(event)
    assert whisper.stage is Stage.ENDING
    whisper.not_finished()
    assert (whisper.stage, whisper.taken is None) == (before, before is Stage.KEPT)


def test_what_is_kept_is_not_held_in_memory_too() -> None:
    whisper = made(Stage.FRESH)
    whisper.move(Event.REMEMBER)
    assert whisper.taken is not None
    whisper.move(Event.REMEMBERED)
    assert whisper.taken is None


def made(stage: Stage) -> Incoming:
    return Incoming(1, 600, 0, Taken(WhisperId(b"i" * 16), b"x", 0.0, 600, 1), stage)
