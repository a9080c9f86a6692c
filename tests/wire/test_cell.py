"""Cells: one size, big-endian, nothing lost on the way."""

from __future__ import annotations

import pytest

from onionshh import geometry as g
from onionshh.wire import cell
from tests.seeded import seeded


def test_known_bytes() -> None:
    packed = cell.pack_cell(0x80000102, cell.RELAY_EARLY, b"\xaa" * g.BODY)
    assert packed == b"\x80\x00\x01\x02\x09" + b"\xaa" * 509


def test_command_numbers() -> None:
    assert [
        cell.PADDING,
        cell.CREATE,
        cell.CREATED,
        cell.RELAY,
        cell.DESTROY,
        cell.LINK_AUTH,
        cell.RELAY_EARLY,
        cell.CREATE_MORE,
        cell.CREATED_MORE,
    ] == [0, 1, 2, 3, 4, 5, 9, 10, 11]
    assert sorted(cell.COMMANDS) == [0, 1, 2, 3, 4, 5, 9, 10, 11]


@pytest.mark.parametrize("count", [0, 1, 2, g.FRAME_CELLS])
def test_frame_splits_into_the_cells_it_was_made_of(count: int) -> None:
    random = seeded(1)
    cells = [(int.from_bytes(random(4), "big"), random(1)[0], random(g.BODY)) for _ in range(count)]
    frame = b"".join(cell.pack_cell(*one) for one in cells)
    assert len(frame) == count * g.CELL
    assert cell.split_cells(frame) == cells


@pytest.mark.parametrize("size", [0, g.BODY - 1, g.BODY + 1])
def test_a_body_of_another_size_is_refused_not_filled(size: int) -> None:
    with pytest.raises(ValueError, match="509"):
        cell.pack_cell(1, cell.RELAY, bytes(size))


def test_the_two_ends_draw_circuit_ids_from_different_halves() -> None:
    assert cell.INITIATOR_BIT == 1 << 31
