"""The table: every state with every input."""

from __future__ import annotations

import itertools

import pytest

from onionshh.core.delivery.outgoing import FINAL, TABLE, Happens, State

EXPECTED = """
              LEFT  LOST    ACKNOWLEDGED  OVERDUE  TOO_FAR  EXPIRES  HOPELESS
QUEUED        OUT   -       DELIVERED     EXPIRED  FAILED   EXPIRED  FAILED
OUT           -     QUEUED  DELIVERED     EXPIRED  FAILED   EXPIRED  FAILED
DELIVERED     -     -       -             -        -        -        -
EXPIRED       -     -       -             -        -        -        -
FAILED        -     -       -             -        -        -        -
"""


@pytest.mark.parametrize(("state", "happens"), list(itertools.product(State, Happens)))
def test_every_state_with_every_input(state: State, happens: Happens) -> None:
    head, *rows = EXPECTED.strip().splitlines()
    row = next(one.split()[1:] for one in rows if one.split()[0] == state.name)
    becomes = row[head.split().index(happens.name)]
    assert TABLE.get((state, happens)) is (None if becomes == "-" else State[becomes])


def test_the_table_in_the_file_is_this_table() -> None:
    from onionshh.core.delivery import outgoing

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


def test_what_is_final_never_moves() -> None:
    assert not [key for key in TABLE if key[0] in FINAL]
