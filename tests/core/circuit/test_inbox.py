"""Messages that came and were not read yet: how many, and whose memory."""

from __future__ import annotations

from onionshh.core.circuit.circuit import MessageIn
from onionshh.core.circuit.inbox import INBOX_MESSAGES, Inbox
from onionshh.core.link.outbox import Memory


def message(number: int) -> MessageIn:
    return MessageIn(0, 1, bytes((number,)) * 10)


def inbox(messages: int) -> tuple[Inbox, Memory]:
    memory = Memory(1 << 20)
    made = Inbox(memory)
    for number in range(messages):
        made.put(message(number))
    return made, memory


def test_messages_are_read_in_order_and_charged_until_then() -> None:
    box, memory = inbox(3)
    assert (len(box), memory.used_bytes) == (3, 30)
    assert [box.take() for _ in range(3)] == [message(number) for number in range(3)]
    assert (len(box), memory.used_bytes) == (0, 0)


def test_it_is_full_until_half_of_it_has_been_read() -> None:
    box, _ = inbox(INBOX_MESSAGES - 1)
    shown = [box.full]
    box.put(message(0))
    shown.append(box.full)
    while len(box):
        box.take()
        shown.append(box.full)
    assert shown == [False] + [True] * (INBOX_MESSAGES // 2 + 1) + [False] * (INBOX_MESSAGES // 2)


def test_what_is_cleared_is_given_back_and_leaves_it_empty() -> None:
    box, memory = inbox(INBOX_MESSAGES)
    box.clear()
    assert (len(box), memory.used_bytes, box.full) == (0, 0, False)


def test_what_is_left_once_the_circuit_is_over_is_read_and_given_back_once() -> None:
    box, memory = inbox(3)
    box.release()
    box.release()
    assert memory.used_bytes == 0
    assert box.take() == message(0)
    box.clear()
    assert (len(box), memory.used_bytes) == (0, 0)
