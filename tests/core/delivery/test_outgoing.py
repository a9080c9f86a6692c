"""The table: every state with every input."""

from __future__ import annotations

import itertools

import pytest

from onionshh.core.delivery import outgoing
from onionshh.core.delivery.outgoing import FINAL, TABLE, THERE, Happens, State

EXPECTED = """
              LEFT  LOST    UNTOLD  STORED  ACKNOWLEDGED  OVERDUE  REFUSED  EXPIRES  HOPELESS
QUEUED        OUT   -       -       STORED  DELIVERED     EXPIRED  FAILED   EXPIRED  FAILED
OUT           -     QUEUED  SENT    STORED  DELIVERED     EXPIRED  FAILED   EXPIRED  FAILED
STORED        -     -       SENT    -       DELIVERED     EXPIRED  FAILED   EXPIRED  FAILED
SENT          -     -       -       -       DELIVERED     -        -        -        -
DELIVERED     -     -       -       -       -             -        -        -        -
EXPIRED       -     -       -       -       -             -        -        -        -
FAILED        -     -       -       -       -             -        -        -        -
"""


@pytest.mark.parametrize(("state", "happens"), list(itertools.product(State, Happens)))
def test_every_state_with_every_input(state: State, happens: Happens) -> None:
    head, *rows = EXPECTED.strip().splitlines()
    row = next(one.split()[1:] for one in rows if one.split()[0] == state.name)
    becomes = row[head.split().index(happens.name)]
    assert TABLE.get((state, happens)) is (None if becomes == "-" else State[becomes])


def test_the_table_in_the_file_is_this_table() -> None:
    lines = [line for line in (outgoing.__doc__ or "").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "---" not in line]
    names = cells[0][1:]
    told = {
        (State[row[0]], Happens[name]): State[cell]
        for row in cells[1:]
        for name, cell in zip(names, row[1:], strict=True)
        if cell
    }
    assert told == dict(TABLE)


def test_what_is_final_never_moves_but_for_one_that_turns_out_to_be_there() -> None:
    moves = {key: becomes for key, becomes in TABLE.items() if key[0] in FINAL}
    assert moves == {(State.SENT, Happens.ACKNOWLEDGED): State.DELIVERED}
    assert THERE < FINAL
