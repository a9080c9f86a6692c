"""The budgets add up: every size that the specification names, as a number, against geometry's sums."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from onionshh import geometry as g
from onionshh.wire import cell, messages
from tests.layers import SHIPPED

ROOT = Path(__file__).parent.parent


def test_cells() -> None:
    assert g.CELL == 514
    assert g.PAYLOAD == 493
    assert g.DATA == 489
    assert cell.HEADER.size == g.CELL_HEADER == 5
    assert g.LAYER_STATE == 80
    assert 1 + g.KEY + g.SIGNATURE <= g.BODY  # LINK_AUTH


def test_both_flights_of_a_link_look_alike() -> None:
    assert g.HANDSHAKE_CLIENT == 32 + 32 + 32 + 1184 + 32 == 1312
    assert g.HANDSHAKE_SERVER == 32 + 1088 + 32 == 1152
    assert g.LINK_FLIGHT == 1542 == 3 * g.CELL
    assert g.HANDSHAKE_SERVER + g.LINK_SERVER_MESSAGE == g.LINK_FLIGHT
    assert g.LINK_KEYSTREAM == 96


def test_a_frame_fits_its_length_field() -> None:
    assert g.FRAME - g.FRAME_HEADER <= 0xFFFF < g.FRAME - g.FRAME_HEADER + g.CELL
    assert g.FRAME == 65296


def test_setting_up_a_circuit_takes_three_cells_each_way() -> None:
    assert g.CREATE_CELLS == 3
    assert g.CIRCUIT_CLIENT == 1328
    assert g.CIRCUIT_SERVER == 1168
    for handshake in (g.CIRCUIT_CLIENT, g.CIRCUIT_SERVER):
        assert 2 * g.BODY < 2 + handshake <= g.CREATE_CELLS * g.BODY  # CREATE, CREATED: u16 length first
        assert g.cells_for(handshake) == g.CREATE_CELLS  # EXTEND, EXTENDED
    assert g.CIRCUIT_KEYSTREAM == 80 + 80 + 32


def test_introduction_is_six_cells_and_hides_a_whisper() -> None:
    assert g.INTRODUCE == 2934
    assert g.cells_for(g.INTRODUCE) == 6
    assert g.INTRODUCE_HEADER == 74
    assert g.INTRODUCE_SEALED == 2860
    assert g.INTRODUCE_PLAIN == 1724
    assert g.INTRODUCE_RECORD == 344
    assert g.RENDEZVOUS_CLIENT == 1312
    assert g.RECORD_HEADER + 256 == 296 <= g.INTRODUCE_RECORD


def test_introduction_on_the_wire_measures_what_geometry_says() -> None:
    sealed = bytes(g.HPKE_ENC + g.INTRODUCE_PLAIN + g.AEAD_TAG)
    message = messages.Introduce(bytes(g.KEY), messages.INTRODUCE_NEW, 0, bytes(g.POW), sealed)
    assert len(message.encode()) == 2934


def test_a_resumption_is_one_cell() -> None:
    assert g.RESUME == 489
    assert g.cells_for(g.RESUME) == 1
    assert g.RESUME_HEADER == 32 + 1 + 16 + 12 == 61
    assert g.RESUME_SEALED == 428
    assert g.RESUME_PLAIN == 412


def test_rendezvous_is_three_cells_in_both_halves() -> None:
    assert g.RENDEZVOUS_SEALED == 1168
    assert g.RENDEZVOUS1 == 1200
    assert g.cells_for(g.RENDEZVOUS1) == g.cells_for(g.RENDEZVOUS_SEALED) == 3
    assert g.RENDEZVOUS_KEYSTREAM == 80 + 80 + 32 + 32


def test_hpke() -> None:
    assert g.HPKE_KEY == 1184 + 32 == 1216
    assert g.HPKE_ENC == 1088 + 32 == 1120


def test_endpoint_descriptor() -> None:
    assert g.DESCRIPTOR_HEADER == 32 + 8 + 8 + 16 + 32 + 8 + 64
    assert g.DESCRIPTOR == g.DESCRIPTOR_HEADER + 12288 + 16 + 64 == 12536
    introducers = 20 * (32 + 32 + 8)
    keys = g.POINT + g.HPKE_KEY + g.POINT + g.PQ_KEY
    assert 8 + 8 + keys + introducers + g.POW + 1 + g.PQ_SIGNATURE < g.DESCRIPTOR_PLAIN
    assert 1 + g.DESCRIPTOR <= g.RING_MAX  # FOUND: a status before it
    assert g.cells_for(g.DESCRIPTOR) == 26


@pytest.mark.parametrize(
    "body, size, cells",
    [
        (0, 256, 1),
        (1, 256, 1),
        (256, 256, 1),
        (257, 1024, 3),
        (1024, 1024, 3),
        (1025, 4096, 9),
        (4097, 16384, 34),
        (16385, 65536, 135),
        (65535, 65536, 135),
    ],
)
def test_whisper_classes(body: int, size: int, cells: int) -> None:
    assert g.record_size(body) == size
    assert g.cells_for(g.RECORD_HEADER + size) == cells


def test_bodies_of_one_length() -> None:
    assert g.PART_HEADER == 16 + 4 + 1 == 21
    assert g.REFRESH_BODY == 4 + 32 + 1184
    assert g.REFRESHED_BODY == 4 + 32 + 1088
    assert g.WAY_BACK_BODY == 137
    assert g.PROVE_BODY == 32 + 8 + 32


def test_whisper_limits() -> None:
    assert g.RECORD_HEADER == 40
    assert g.WHISPER_MAX == 65535
    assert g.RECORD_HEADER + g.RECORD_SIZES[-1] <= g.WHISPER_MESSAGE_MAX
    with pytest.raises(ValueError):
        g.record_size(65537)


@pytest.mark.parametrize("size, cells", [(0, 1), (1, 1), (489, 1), (490, 2), (978, 2), (979, 3)])
def test_cells_for(size: int, cells: int) -> None:
    assert g.cells_for(size) == cells


def test_every_message_has_a_cap() -> None:
    assert (g.CONTROL_MAX, g.RING_MAX, g.WHISPER_MESSAGE_MAX) == (4096, 17408, 66560)
    assert g.CONSENSUS_MAX == 4 * 2**20 < 2**24  # what `remaining` can say
    assert max(messages.MOST.values()) == g.CONSENSUS_MAX
    assert messages.MOST[messages.INTRODUCE1] >= g.INTRODUCE
    assert messages.MOST[messages.EXTEND] >= g.CIRCUIT_CLIENT
    assert messages.MOST[messages.FOUND] == messages.MOST[messages.PUBLISH] == g.RING_MAX
    assert messages.MOST[messages.RECORD] == g.WHISPER_MESSAGE_MAX
    for later in (messages.CONTINUE, messages.SHARE):
        assert later not in messages.MOST


# Numbers that can mean nothing but one of these sizes.
TELLING = frozenset(
    {489, 493, 509, 514, 1184, 1312, 1328, 1542, 1724, 1952, 2860, 2934, 3309, 12288, 17408, 66560}
)


def test_no_size_is_written_as_a_bare_number_elsewhere() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno} writes {node.value}"
        for folder in SHIPPED
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "geometry.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value in TELLING
    ]
    assert not found, "take it from onionshh/geometry.py: " + ", ".join(found)


def test_an_item_of_a_mailbox_holds_a_letter_or_a_part_of_what_a_pair_leaves() -> None:
    assert (g.MAILBOX, g.PUT_HEAD, g.PUT_HEADER, g.PUT) == (41, 78, 162, 5490)
    assert (g.LIST_SIGNED, g.LIST, g.ITEM, g.ITEM_HEAD) == (52, 116, 5429, 44)
    assert g.ITEMS_HEADER + g.MAILBOX_PAGE_VALUES * g.ITEM <= g.RING_MAX
    assert g.ITEMS_HEADER + g.MAILBOX_PAGE_HEADS * g.ITEM_HEAD <= g.RING_MAX
    assert (g.LETTER_PLAIN, g.LETTER_HEADER, g.LETTER_CHUNK) == (4192, 54, 4136)
    assert g.LETTER_HEADER + g.LETTER_CHUNK <= g.LETTER_PLAIN
    assert g.RECORD_HEADER + 16_384 <= 4 * g.LETTER_CHUNK
    assert g.RECORD_HEADER + 65_536 <= 16 * g.LETTER_CHUNK
    assert (g.PAIR_PLAIN, g.PAIR_HEADER, g.PAIR_CHUNK) == (5296, 20, 5276)
    assert 17 * (4 + g.RECORD_HEADER + 256) <= g.PAIR_CHUNK
