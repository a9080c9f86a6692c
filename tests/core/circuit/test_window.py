"""The window of one layer: what may leave, which tags ACKs must name, which ACKs are owed."""

from __future__ import annotations

import pytest

from onionshh.core.circuit.window import Flow, ReceiveWindow, SendWindow
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason

FLOW = Flow(ack_every=31, window=124)


def tag(number: int) -> bytes:
    return number.to_bytes(16, "big")


def full() -> SendWindow:
    window = SendWindow(FLOW)
    for number in range(1, 125):
        window.sent(tag(number))
    return window


def reason(error: pytest.ExceptionInfo[ProtocolError]) -> str:
    return error.value.reason


def test_the_tag_of_every_31st_cell_is_kept_and_no_other() -> None:
    window = full()
    assert window.expected == [tag(31), tag(62), tag(93), tag(124)]
    assert (window.sent_cells, window.unacknowledged, window.limit) == (124, 124, 124)


def test_acks_open_the_window_in_order() -> None:
    window = full()
    for at, number in enumerate((31, 62, 93, 124), 1):
        window.acknowledged(tag(number))
        assert window.unacknowledged == 124 - 31 * at
    assert window.sent_cells == 124
    with pytest.raises(ProtocolError) as info:
        window.acknowledged(tag(124))
    assert reason(info) == Reason.ACK_NOT_DUE


@pytest.mark.parametrize("number", [0, 30, 32, 62])
def test_an_ack_that_names_another_tag(number: int) -> None:
    window = full()
    with pytest.raises(ProtocolError) as info:
        window.acknowledged(tag(number))
    assert reason(info) == Reason.ACK_MISMATCH


@pytest.mark.parametrize(
    ("flow", "limit"), [(FLOW, 31), (Flow(31, 248), 62), (Flow(31, 1240), 310), (Flow(100, 124), 100)]
)
def test_a_quarter_of_the_window_and_never_less_than_an_ack_is_due_for(flow: Flow, limit: int) -> None:
    window = SendWindow(flow)
    window.leave_room()
    window.leave_room()  # said again it says no more
    assert window.limit == limit


def test_an_ack_is_owed_for_every_31st_cell() -> None:
    window = ReceiveWindow(FLOW)
    for number in range(1, 63):
        window.came(tag(number))
        assert len(window.owed) == number // 31
    assert [window.take_ack(), window.take_ack()] == [tag(31), tag(62)]
    assert window.owed == []


def test_cells_beyond_the_window_are_refused_until_an_ack_has_left() -> None:
    window = ReceiveWindow(FLOW)
    for number in range(1, 125):
        window.came(tag(number))
    window.take_ack()
    for number in range(125, 156):
        window.came(tag(number))
    with pytest.raises(ProtocolError) as info:
        window.came(tag(156))
    assert reason(info) == Reason.WINDOW_OVERRUN


def test_once_the_circuit_is_over_nothing_is_owed() -> None:
    window = ReceiveWindow(FLOW)
    for number in range(1, 63):
        window.came(tag(number))
    window.forget()
    assert window.owed == []
