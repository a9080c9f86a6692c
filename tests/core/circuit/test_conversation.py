"""Messages, window and ACKs of one layer, every rule of SPEC 2 and 7."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import pytest

from onionshh.core.circuit.conversation import Conversation, OutgoingPayload
from onionshh.core.circuit.window import Flow
from onionshh.core.link.outbox import Memory
from onionshh.errors import ProtocolError
from onionshh.geometry import DATA, PAYLOAD
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from onionshh.wire.framing import build_payload, parse_head
from tests.seeded import seeded

FLOW = Flow(ack_every=31, window=124)
ACCEPTS = frozenset((m.PUBLISH, m.RECORD, m.FETCH))


def tag(number: int) -> bytes:
    return number.to_bytes(16, "big")


def talk(memory: Memory | None = None, *, flow: Flow = FLOW, echoes: int = 0) -> Conversation:
    return Conversation(
        flow, accepts=ACCEPTS, echoes=echoes, memory=memory or Memory(1 << 30), random_bytes=seeded(1)
    )


def payload(message_type: int, remaining: int, data: bytes = b"") -> bytes:
    return (message_type << 24 | remaining).to_bytes(4, "big") + data.ljust(DATA, b"\xaa")


def payloads(message_type: int, body: bytes) -> Iterator[bytes]:
    """A message as its sender cuts it."""
    yield build_payload(message_type, body, 0, seeded(2))
    for offset in range(DATA, len(body), DATA):
        yield build_payload(message_type, body, offset, seeded(2))


def refused(one: Conversation, cell: bytes) -> str:
    with pytest.raises(ProtocolError) as info:
        one.receive(cell, tag(9))
    return info.value.reason


class Line:
    """Two conversations and what lies between them; tags are the numbers of the cells."""

    def __init__(self, flow: Flow = FLOW) -> None:
        self.one, self.other = talk(flow=flow), talk(flow=flow)
        self.wires: dict[Conversation, deque[tuple[bytes, bytes]]] = {self.one: deque(), self.other: deque()}
        self.got: dict[Conversation, list[tuple[int, bytes]]] = {self.one: [], self.other: []}
        self.acks: dict[Conversation, int] = {self.one: 0, self.other: 0}
        self.cells = 0

    def pump(self, sender: Conversation) -> int:
        """Let everything leave that may; how many cells did."""
        count = 0
        while (outgoing := sender.next_payload()) is not None:
            self.cells += 1
            count += 1
            if outgoing.counts:
                sender.sent(tag(self.cells))
            else:
                self.acks[sender] += 1
            self.wires[sender].append((outgoing.payload, tag(self.cells)))
        return count

    def carry(self, sender: Conversation) -> int:
        """Bring what left to the other side."""
        receiver = self.other if sender is self.one else self.one
        count = len(self.wires[sender])
        for _ in range(count):
            cell, under = self.wires[sender].popleft()
            whole = receiver.receive(cell, under)
            if whole is not None:
                self.got[receiver].append(whole)
        return count

    def settle(self) -> None:
        while any([self.pump(one) + self.carry(one) for one in (self.one, self.other)]):
            pass


# Cutting and joining.


@pytest.mark.parametrize("size", [0, 1, DATA - 1, DATA, DATA + 1, 2 * DATA, 2 * DATA + 1, 17_408])
def test_a_message_of_any_size_arrives_whole(size: int) -> None:
    line = Line()
    body = seeded(3)(size)
    line.one.send(m.PUBLISH, body)
    line.settle()
    assert line.got[line.other] == [(m.PUBLISH, body)]


def test_every_cell_but_the_last_is_full_and_says_what_is_left() -> None:
    one = talk()
    one.send(m.PUBLISH, bytes(2 * DATA + 5))
    cells = []
    while (outgoing := one.next_payload()) is not None:
        cells.append(outgoing.payload)
        one.sent(tag(0))
    assert [parse_head(cell) for cell in cells] == [
        (m.PUBLISH, 2 * DATA + 5),
        (m.CONTINUE, DATA + 5),
        (m.CONTINUE, 5),
    ]
    assert {len(cell) for cell in cells} == {PAYLOAD}


def test_what_fills_a_cell_up_is_fresh_randomness() -> None:
    one = talk()
    one.send(m.PUBLISH, b"x")
    one.send(m.PUBLISH, b"x")
    first, second = one.next_payload(), one.next_payload()
    assert isinstance(first, OutgoingPayload)
    assert isinstance(second, OutgoingPayload)
    assert first.payload[:5] == second.payload[:5]
    assert first.payload[5:] != second.payload[5:]
    assert first.payload.count(0) < 30


def test_what_fills_a_cell_up_is_not_read() -> None:
    assert talk().receive(payload(m.PUBLISH, 3, b"abcdef"), tag(1)) == (m.PUBLISH, b"abc")


def test_messages_of_both_sides_cross() -> None:
    line = Line()
    bodies = [seeded(n)(n * 700) for n in range(9)]
    for body in bodies:
        line.one.send(m.RECORD, body)
        line.other.send(m.PUBLISH, body)
    line.settle()
    assert line.got[line.other] == [(m.RECORD, body) for body in bodies]
    assert line.got[line.one] == [(m.PUBLISH, body) for body in bodies]


def test_a_message_larger_than_its_type_allows_is_not_even_queued() -> None:
    one = talk()
    with pytest.raises(ValueError):
        one.send(m.PUBLISH, bytes(m.MOST[m.PUBLISH] + 1))
    assert one.next_payload() is None


# What a receiver refuses.


def test_continue_with_no_message_open() -> None:
    assert refused(talk(), payload(m.CONTINUE, 5)) == Reason.CONTINUE_NOT_DUE


def test_continue_after_a_message_was_whole() -> None:
    one = talk()
    assert one.receive(payload(m.PUBLISH, 5), tag(1)) is not None
    assert refused(one, payload(m.CONTINUE, 5)) == Reason.CONTINUE_NOT_DUE


@pytest.mark.parametrize("wrong", [0, 1, DATA + 4, DATA + 6, 2 * DATA + 5])
def test_continue_must_say_exactly_what_is_left(wrong: int) -> None:
    one = talk()
    one.receive(payload(m.PUBLISH, 2 * DATA + 5), tag(1))
    assert refused(one, payload(m.CONTINUE, wrong)) == Reason.CONTINUE_NOT_DUE


@pytest.mark.parametrize("inside", [m.PUBLISH, m.FETCH, m.EXTEND, 49, 255])
def test_a_message_inside_a_message(inside: int) -> None:
    one = talk()
    one.receive(payload(m.PUBLISH, 2 * DATA), tag(1))
    assert refused(one, payload(inside, 5)) == Reason.MESSAGE_INSIDE_MESSAGE


def test_drop_and_ack_are_allowed_inside_a_message() -> None:
    one = talk(flow=Flow(1, 4))
    one.send(m.FETCH, b"q")
    one.next_payload()
    one.sent(tag(77))
    one.send(m.DROP, m.DROP_ECHO)
    body = seeded(4)(2 * DATA + 9)
    first, *rest = payloads(m.PUBLISH, body)
    assert one.receive(first, tag(1)) is None
    assert one.receive(payload(m.ACK, 16, tag(77)), tag(2)) is None
    assert one.receive(payload(m.DROP, 1, m.DROP_PLAIN), tag(3)) == (m.DROP, m.DROP_PLAIN)
    assert one.receive(rest[0], tag(4)) is None
    assert one.receive(rest[1], tag(5)) == (m.PUBLISH, body)


@pytest.mark.parametrize("message_type", [m.PUBLISH, m.FETCH, m.RECORD])
def test_a_message_over_its_cap_is_refused_at_its_first_cell(message_type: int) -> None:
    memory = Memory(1 << 30)
    most = m.MOST[message_type]
    assert refused(talk(memory), payload(message_type, most + 1)) == Reason.MESSAGE_SIZE
    assert refused(talk(memory), payload(message_type, (1 << 24) - 1)) == Reason.MESSAGE_SIZE
    assert memory.used_bytes == 0
    assert talk(memory).receive(payload(message_type, most), tag(1)) is None


@pytest.mark.parametrize("message_type", [5, 15, 37, m.SHARE, 50, 51, 52, 255])
def test_an_unknown_type(message_type: int) -> None:
    assert refused(talk(), payload(message_type, 1)) == Reason.MESSAGE_NOT_ACCEPTED


@pytest.mark.parametrize("message_type", sorted(set(m.MOST) - ACCEPTS - {m.ACK, m.DROP}))
def test_a_known_type_that_this_state_does_not_accept(message_type: int) -> None:
    assert refused(talk(), payload(message_type, 1)) == Reason.MESSAGE_NOT_ACCEPTED


def test_what_is_accepted_may_change() -> None:
    one = talk()
    one.accepts = frozenset((m.EXTENDED,))
    assert refused(one, payload(m.PUBLISH, 1)) == Reason.MESSAGE_NOT_ACCEPTED
    assert one.receive(payload(m.EXTENDED, 1, b"x"), tag(1)) == (m.EXTENDED, b"x")


# DROP.


@pytest.mark.parametrize(
    "cell",
    [
        payload(m.DROP, 0),
        payload(m.DROP, 2, b"\0\0"),
        payload(m.DROP, DATA + 1),
        payload(m.DROP, 1, b"\2"),
        payload(m.DROP, 1, b"\xff"),
    ],
)
def test_a_drop_of_wrong_shape(cell: bytes) -> None:
    one = talk(echoes=9)
    one.send(m.DROP, m.DROP_ECHO)  # one is due, but not this
    assert refused(one, cell) == Reason.MESSAGE_SHAPE


def test_an_echo_is_answered_with_one_drop_that_asks_for_none() -> None:
    one = talk(echoes=1)
    assert one.receive(payload(m.DROP, 1, m.DROP_ECHO), tag(1)) == (m.DROP, m.DROP_ECHO)
    outgoing = one.next_payload()
    assert outgoing is not None
    assert outgoing.counts
    assert not outgoing.early
    assert parse_head(outgoing.payload) == (m.DROP, 1)
    assert outgoing.payload[4:5] == m.DROP_PLAIN
    one.sent(tag(2))
    assert one.next_payload() is None


@pytest.mark.parametrize("most", [0, 1, 9])
def test_so_many_echoes_are_given_and_no_more(most: int) -> None:
    one = talk(echoes=most)
    for number in range(most):
        one.receive(payload(m.DROP, 1, m.DROP_ECHO), tag(number))
    assert one.waiting_messages == most
    assert refused(one, payload(m.DROP, 1, m.DROP_ECHO)) == Reason.ECHOES_TOO_MANY
    assert one.waiting_messages == most


@pytest.mark.parametrize("asked", [0, 1, 3])
def test_so_many_drops_are_taken_as_were_asked_for(asked: int) -> None:
    one = talk(echoes=9)
    for _ in range(asked):
        one.send(m.DROP, m.DROP_ECHO)
    for number in range(asked):
        assert one.receive(payload(m.DROP, 1, m.DROP_PLAIN), tag(number)) == (m.DROP, m.DROP_PLAIN)
        assert one.echoes_due == asked - number - 1
    assert refused(one, payload(m.DROP, 1, m.DROP_PLAIN)) == Reason.DROP_NOT_DUE


def test_a_drop_of_our_own_that_asks_for_nothing_makes_none_due() -> None:
    one = talk()
    one.send(m.DROP, m.DROP_PLAIN)
    assert refused(one, payload(m.DROP, 1, m.DROP_PLAIN)) == Reason.DROP_NOT_DUE


@pytest.mark.parametrize(
    "cell, reason",
    [
        (payload(m.PUBLISH, 1, b"x"), Reason.MESSAGE_NOT_ACCEPTED),
        (payload(m.FETCH, 0), Reason.MESSAGE_NOT_ACCEPTED),
        (payload(m.DROP, 1, m.DROP_ECHO), Reason.ECHOES_TOO_MANY),
        (payload(m.DROP, 1, m.DROP_PLAIN), Reason.DROP_NOT_DUE),
    ],
)
def test_a_layer_that_has_done_its_part_takes_nothing(cell: bytes, reason: Reason) -> None:
    one = talk(echoes=9)
    one.settle()
    assert refused(one, cell) == reason


# RELAY_EARLY.


@pytest.mark.parametrize(
    "early",
    [
        (True,) * 3,
        (True, True, False),
        (False, True, True),
        (True, False, True),
    ],
)
def test_a_message_came_early_if_every_cell_did(early: tuple[bool, ...]) -> None:
    one = talk(echoes=3)
    for number, (cell, flag) in enumerate(zip(payloads(m.PUBLISH, bytes(1312)), early, strict=True)):
        # A DROP inside says nothing about the message.
        one.receive(payload(m.DROP, 1, m.DROP_ECHO), tag(number), early=not flag)
        whole = one.receive(cell, tag(number), early=flag)
    assert whole is not None
    assert one.came_early == all(early)


def test_early_is_said_of_each_cell_that_leaves() -> None:
    one = talk()
    one.send(m.EXTEND, bytes(1312), early=True)
    one.send(m.FETCH, b"")
    flags = []
    while (outgoing := one.next_payload()) is not None:
        flags.append(outgoing.early)
        one.sent(tag(0))
    assert flags == [True, True, True, False]


# Window and ACKs.


def test_the_window_stops_at_124_unacknowledged_cells() -> None:
    line = Line()
    line.one.send(m.RECORD, bytes(66_000))  # 135 cells
    assert line.pump(line.one) == 124
    assert not line.one.window_open
    assert line.one.waiting_messages == 1
    assert line.one.next_payload() is None
    for _ in range(31):
        line.other.receive(*line.wires[line.one].popleft())
    line.pump(line.other)
    line.carry(line.other)
    assert line.pump(line.one) == 11
    assert line.one.waiting_messages == 0


def test_who_leaves_room_uses_a_quarter_of_the_window() -> None:
    line = Line()
    line.one.leave_room()
    assert line.one.room == 31
    line.one.send(m.RECORD, bytes(66_000))
    assert line.pump(line.one) == 31
    assert line.one.room == 0
    line.carry(line.one)
    line.pump(line.other)
    line.carry(line.other)
    assert line.pump(line.one) == 31
    wide = Line(Flow(ack_every=100, window=124))
    wide.one.leave_room()
    assert wide.one.room == 100  # or no ACK would ever be due


def test_an_ack_for_every_31st_cell_and_none_for_acks() -> None:
    line = Line()
    for _ in range(31 * 5 + 30):
        line.one.send(m.FETCH, b"")
        line.settle()
    assert line.acks[line.other] == 5
    assert line.acks[line.one] == 0


def test_drops_count_like_any_cell() -> None:
    one = talk()
    for number in range(1, 32):
        one.send(m.DROP, m.DROP_ECHO)
        assert one.next_payload() is not None
        assert one.next_payload() is None
        one.receive(payload(m.DROP, 1, m.DROP_PLAIN), tag(number))
    outgoing = one.next_payload()
    assert outgoing is not None
    assert not outgoing.counts
    assert parse_head(outgoing.payload) == (m.ACK, 16)
    assert outgoing.payload[4:20] == tag(31)


def test_acks_go_first_and_pass_a_closed_window() -> None:
    one = talk(flow=Flow(2, 2))
    one.send(m.RECORD, bytes(60_000))
    for number in range(2):
        assert one.next_payload() is not None
        one.sent(tag(number))
    assert one.next_payload() is None
    for number in range(2):
        one.receive(payload(m.FETCH, 0), tag(number))
    outgoing = one.next_payload()
    assert outgoing is not None
    assert parse_head(outgoing.payload)[0] == m.ACK
    assert one.next_payload() is None


def test_an_ack_must_name_the_cell_that_it_is_for() -> None:
    one = talk()
    one.send(m.RECORD, bytes(66_000))
    for number in range(1, 63):
        one.next_payload()
        one.sent(tag(number))
    assert one.receive(payload(m.ACK, 16, tag(31)), tag(0)) is None
    assert refused(one, payload(m.ACK, 16, tag(31))) == Reason.ACK_MISMATCH


@pytest.mark.parametrize("wrong", [30, 32, 62, 0])
def test_an_ack_with_another_tag(wrong: int) -> None:
    one = talk()
    one.send(m.RECORD, bytes(66_000))
    for number in range(1, 100):
        one.next_payload()
        one.sent(tag(number))
    assert refused(one, payload(m.ACK, 16, tag(wrong))) == Reason.ACK_MISMATCH


def test_an_ack_that_is_not_due() -> None:
    one = talk()
    assert refused(one, payload(m.ACK, 16, tag(0))) == Reason.ACK_NOT_DUE
    one.send(m.RECORD, bytes(66_000))
    for number in range(1, 31):
        one.next_payload()
        one.sent(tag(number))
    assert refused(one, payload(m.ACK, 16, tag(30))) == Reason.ACK_NOT_DUE


@pytest.mark.parametrize("size", [0, 15, 17, 20, DATA])
def test_an_ack_of_wrong_shape(size: int) -> None:
    one = talk(flow=Flow(1, 1))
    one.send(m.FETCH, b"")
    one.next_payload()
    one.sent(tag(1))
    assert refused(one, payload(m.ACK, size, tag(1))) == Reason.ACK_SHAPE


def test_a_peer_that_overruns_the_window() -> None:
    one = talk()
    one.pause()
    for number in range(124):
        one.receive(payload(m.FETCH, 0), tag(number))
    assert refused(one, payload(m.FETCH, 0)) == Reason.WINDOW_OVERRUN


def test_while_paused_nothing_is_acknowledged_and_then_all_of_it() -> None:
    line = Line()
    line.other.pause()
    line.one.send(m.RECORD, bytes(66_000))
    line.settle()
    assert line.acks[line.other] == 0
    assert line.one.waiting_messages == 1
    line.other.resume()
    line.settle()
    assert line.acks[line.other] == 4
    assert line.got[line.other] == [(m.RECORD, bytes(66_000))]


# Memory.


def test_memory_is_charged_as_bytes_come_and_returned_when_whole() -> None:
    memory = Memory(1 << 30)
    one = talk(memory)
    body = bytes(3 * DATA + 1)
    charges = []
    for cell in payloads(m.PUBLISH, body):
        whole = one.receive(cell, tag(0))
        charges.append((memory.used_bytes, one.charged_bytes))
    assert charges == [(DATA, DATA), (2 * DATA, 2 * DATA), (3 * DATA, 3 * DATA), (0, 0)]
    assert whole == (m.PUBLISH, body)


def test_a_promise_of_many_bytes_is_charged_with_what_came() -> None:
    memory = Memory(1 << 30)
    talk(memory).receive(payload(m.RECORD, m.MOST[m.RECORD]), tag(0))
    assert memory.used_bytes == DATA


def test_a_partial_message_remembers_since_when_it_is_held() -> None:
    memory = Memory(1 << 30)
    memory.now = 5.0
    one = talk(memory)
    cells = list(payloads(m.PUBLISH, bytes(3 * DATA)))
    one.receive(cells[0], tag(0))
    memory.now = 9.0
    one.receive(cells[1], tag(0))
    assert one.charged_since == 5.0


def test_closing_gives_back_what_a_partial_message_was_charged() -> None:
    memory = Memory(1 << 30)
    one = talk(memory)
    one.receive(payload(m.PUBLISH, 3 * DATA), tag(0))
    one.send(m.FETCH, b"")
    one.close()
    one.close()
    assert memory.used_bytes == 0
    assert one.next_payload() is None
