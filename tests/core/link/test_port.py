from __future__ import annotations

import pytest

from onionshh.core.link.outbox import Memory
from onionshh.core.link.port import LinkPort
from onionshh.errors import ProtocolError
from onionshh.ids import RelayId
from onionshh.wire.cell import DESTROY, INITIATOR_BIT, split_cells
from tests.seeded import seeded


def port(*, peer: RelayId | None = None, initiated: bool = False) -> LinkPort:
    return LinkPort(Memory(1 << 20), [], peer=peer, initiated=initiated, host="1.1.1.1", now=0.0)


@pytest.mark.parametrize(
    "peer, initiated, may",
    [(None, False, True), (None, True, False), (b"r", False, True), (b"r", True, True)],
)
def test_who_may_create(peer: RelayId | None, initiated: bool, may: bool) -> None:
    assert port(peer=peer, initiated=initiated).may_create is may


def test_ids_are_random_and_of_our_half() -> None:
    for initiated in (False, True):
        one = port(initiated=initiated)
        ids = {one.new_circuit_id(seeded(n)) for n in range(50)}
        assert len(ids) == 50
        assert all(bool(number & INITIATOR_BIT) == initiated for number in ids)
        assert not any(one.theirs(number) for number in ids)
        assert all(one.theirs(number ^ INITIATOR_BIT) for number in ids)


@pytest.mark.parametrize("drawn", [b"\0\0\0\0", b"\x80\0\0\0"])
@pytest.mark.parametrize("initiated", [False, True])
def test_the_first_id_of_each_half_is_kept_free(initiated: bool, drawn: bytes) -> None:
    one = port(initiated=initiated)
    with pytest.raises(ProtocolError):
        one.new_circuit_id(lambda n: drawn)
    assert not one.theirs(int.from_bytes(drawn, "big"))


def test_ids_that_cannot_be_had_are_an_error_and_no_endless_search() -> None:
    one = port()
    one.legs[5] = object()
    with pytest.raises(ProtocolError):
        one.new_circuit_id(lambda n: b"\0\0\0\5")


def test_destroy_tells_nothing_and_looks_random() -> None:
    one = port()
    one.destroy(7, seeded(1))
    one.destroy(7, seeded(2))
    cells = [split_cells(cell)[0] for cell in one.outbox.take(9)]
    assert [(number, command, body[0]) for number, command, body in cells] == [(7, DESTROY, 0)] * 2
    assert cells[0][2][1:] != cells[1][2][1:]
    assert cells[0][2].count(0) < 30
