from __future__ import annotations

import pytest

from onionshh.core.link.outbox import CellQueue, ControlQueue, Memory, Outbox
from onionshh.geometry import CELL


def cell(name: str) -> bytes:
    return name.encode().ljust(CELL, b".")


def names(cells: list[bytes]) -> list[str]:
    return [one.rstrip(b".").decode() for one in cells]


def box(memory: Memory | None = None) -> Outbox:
    return Outbox(memory or Memory(1 << 20), [])


def test_what_fits_one_frame_leaves_at_once_in_order_within_each_circuit() -> None:
    outbox, one, other = box(), CellQueue(), CellQueue()
    for number in range(3):
        outbox.push(one, cell(f"a{number}"))
        outbox.push(other, cell(f"b{number}"))
    taken = names(outbox.take(127))
    assert [name for name in taken if name[0] == "a"] == ["a0", "a1", "a2"]
    assert [name for name in taken if name[0] == "b"] == ["b0", "b1", "b2"]
    assert outbox.waiting == 0
    assert outbox.take(127) == []


def test_under_load_circuits_take_turns() -> None:
    outbox, bulk, quiet = box(), CellQueue(), CellQueue()
    for number in range(200):
        outbox.push(bulk, cell(f"bulk{number}"))
    outbox.push(quiet, cell("quiet"))
    assert "quiet" in names(outbox.take(4))


def test_the_turn_goes_on_where_it_stopped() -> None:
    outbox, queues = box(), [CellQueue() for _ in range(3)]
    for number in range(3):
        for at, queue in enumerate(queues):
            outbox.push(queue, cell(f"{at}.{number}"))
    assert names(outbox.take(4)) == ["0.0", "1.0", "2.0", "0.1"]
    assert names(outbox.take(4)) == ["1.1", "2.1", "0.2", "1.2"]
    assert names(outbox.take(4)) == ["2.2"]


def test_memory_is_charged_by_the_cell_and_given_back() -> None:
    memory = Memory(1 << 20)
    outbox, other, queue = box(memory), box(memory), CellQueue()
    for number in range(10):
        outbox.push(queue, cell(str(number)))
    other.push(CellQueue(), cell("x"))
    assert memory.used_bytes == 11 * CELL
    outbox.take(4)
    assert memory.used_bytes == 7 * CELL
    assert outbox.discard(queue) == 6
    assert memory.used_bytes == CELL
    assert other.discard_all() == 1
    assert memory.used_bytes == 0


def test_a_discarded_circuit_leaves_the_others_alone() -> None:
    outbox, one, other = box(), CellQueue(), CellQueue()
    for number in range(3):
        outbox.push(one, cell(f"a{number}"))
        outbox.push(other, cell(f"b{number}"))
    assert outbox.discard(one) == 3
    assert outbox.discard(one) == 0
    assert names(outbox.take(99)) == ["b0", "b1", "b2"]


def test_a_queue_knows_since_when_it_waits() -> None:
    memory = Memory(1 << 20)
    outbox, queue = box(memory), CellQueue()
    for memory.now in (5.0, 7.0):
        outbox.push(queue, cell("x"))
        outbox.untouch()
    assert (outbox.count(queue), queue.since) == (2, 5.0)
    outbox.take(99)
    memory.now = 9.0
    outbox.push(queue, cell("x"))
    assert (outbox.count(queue), queue.since) == (1, 9.0)


def test_what_a_flush_leaves_behind_keeps_its_time() -> None:
    memory = Memory(1 << 20)
    outbox, early, late = box(memory), CellQueue(), CellQueue()
    memory.now = 5.0
    outbox.push(early, cell("a"))
    outbox.untouch()  # the link takes nothing now
    memory.now = 7.0
    outbox.push(late, cell("b"))
    assert outbox.count(late) == outbox.count(early) == 1
    assert (early.since, late.since) == (5.0, 7.0)
    assert names(outbox.take(99)) == ["a", "b"]


def test_cells_leave_in_order_whether_they_were_sorted_or_not() -> None:
    outbox, one, other = box(), CellQueue(), CellQueue()
    outbox.push(one, cell("a0"))
    assert (outbox.count(one), outbox.count(other)) == (1, 0)
    outbox.push(one, cell("a1"))
    outbox.push(other, cell("b0"))
    assert names(outbox.take(99)) == ["a0", "a1", "b0"]
    assert not one.cells
    assert not other.cells


@pytest.mark.parametrize("queue", [CellQueue(), ControlQueue()])
def test_a_queue_that_drains_does_not_age(queue: CellQueue) -> None:
    """It never empties, and yet no cell waits for more than two seconds."""
    memory = Memory(1 << 20)
    outbox = box(memory)
    came: list[float] = []
    for second in range(100):
        memory.now = float(second)
        for _ in range(100):
            outbox.push(queue, cell("x"))
            came.append(memory.now)
        if second:
            del came[: len(outbox.take(100))]
        assert queue.since <= came[0]
        assert memory.now - queue.since <= 4


def test_a_queue_that_stands_still_ages() -> None:
    memory = Memory(1 << 20)
    outbox, queue, bulk = box(memory), CellQueue(), CellQueue()
    for memory.now in (1.0, 2.0, 3.0):
        outbox.push(queue, cell("x"))
    other = box(memory)
    for memory.now in (4.0, 50.0):
        for _ in range(200):
            other.push(bulk, cell("y"))
        other.take(127)
    assert (outbox.count(queue), queue.since) == (3, 1.0)


def test_what_was_noted_before_a_queue_was_empty_makes_no_cell_older_or_younger() -> None:
    memory = Memory(1 << 20)
    outbox, queue = box(memory), CellQueue()
    for memory.now in (1.0, 2.0):
        for _ in range(10):
            outbox.push(queue, cell("x"))
        outbox.untouch()
        outbox.take(2)  # notes what stands
    outbox.take(99)
    for memory.now in (9.0, 10.0, 11.0, 12.0):
        came = 9.0 if memory.now < 12 else 10.0  # two leave a second: of ten, those of the first by then
        for _ in range(5):
            outbox.push(queue, cell("y"))
        outbox.untouch()
        outbox.take(2)
        assert 9.0 <= queue.since <= came


def test_an_outbox_enters_the_list_once_until_the_list_is_worked_off() -> None:
    touched: list[Outbox] = []
    outbox, queue = Outbox(Memory(1 << 20), touched), CellQueue()
    outbox.push(queue, cell("a"))
    outbox.push(queue, cell("b"))
    assert touched == [outbox]
    touched.clear()
    outbox.untouch()
    outbox.push(queue, cell("c"))
    assert touched == [outbox]


def test_a_link_that_is_gone_forgets_all_and_may_be_discarded_again() -> None:
    memory = Memory(1 << 20)
    outbox, queue = box(memory), CellQueue()
    outbox.push(queue, cell("a"))
    assert outbox.discard_all() == 1
    assert not queue.cells
    assert outbox.discard(queue) == 0
    assert outbox.discard_all() == 0
    assert memory.used_bytes == 0


def test_a_link_s_own_cells_take_turns_with_the_circuits() -> None:
    outbox, own, circuit = box(), ControlQueue(), CellQueue()
    for number in range(3):
        outbox.push(own, cell(f"a{number}"))
        outbox.push(circuit, cell(f"b{number}"))
    assert [names(outbox.take(2)) for _ in range(3)] == [["a0", "b0"], ["a1", "b1"], ["a2", "b2"]]
    assert outbox.waiting == 0


def test_any_circuit_may_leave_at_once() -> None:
    """In whatever order: looked for one after another, these would take a minute in which a relay stands."""
    outbox, queues = box(Memory(1 << 30)), [CellQueue() for _ in range(60_000)]
    for queue in queues:
        outbox.push(queue, b"")
    for queue in reversed(queues[2:]):
        assert outbox.discard(queue) == 1
    outbox.push(queues[5], cell("five"))
    assert [one for one in names(outbox.take(127)) if one] == ["five"]
