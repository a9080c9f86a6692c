"""What a relay answers to a LIST, at once or later."""

from __future__ import annotations

from pathlib import Path

import pytest

from onionshh.core.mailbox.item import check_item_untrusted
from onionshh.geometry import MAILBOX_PAGE_HEADS, MAILBOX_PAGE_VALUES
from onionshh.reasons import Reason
from onionshh.rendezvous import mailbox_lists
from onionshh.wire import mailbox as w
from tests.rendezvous.circuits import Circuit
from tests.rendezvous.mailbox_world import BOARD, INBOX, PAIR, Disk, House, answered, key, mark, value


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def numbers(found: w.Items) -> list[int]:
    """Which of our keys these items have."""
    ids = [head.item_id for head in found.heads] + [item.item_id for item in found.items]
    return [number for row in ids for number in range(20) if key(number).public == row]


def test_an_empty_mailbox_has_nothing_and_next_is_what_was_asked_for(disk: Disk) -> None:
    house = House(disk)
    for mode in (w.HEADS, w.VALUES):
        assert house.lists(mode=mode, after=17) == w.Items(w.STORED, 17)


def test_heads_name_the_items_in_order_with_their_numbers(disk: Disk) -> None:
    house = House(disk)
    puts = [house.keeps(number, BOARD) for number in range(5)]
    found = house.lists(BOARD)
    assert numbers(found) == [0, 1, 2, 3, 4]
    assert [head.expires for head in found.heads] == [put.expires for put in puts]
    assert [head.number for head in found.heads] == sorted({head.number for head in found.heads})
    assert found.next == found.heads[-1].number
    rest = house.lists(BOARD, after=found.heads[2].number)
    assert rest == w.Items(w.STORED, found.next, heads=found.heads[3:])


def test_values_come_three_at_a_time_with_their_depositors_signatures(disk: Disk) -> None:
    house = House(disk)
    for number in range(5):
        house.keeps(number, BOARD)
    first = house.lists(BOARD, mode=w.VALUES)
    assert numbers(first) == [0, 1, 2]
    assert [item.value for item in first.items] == [value(number) for number in range(3)]
    for item in first.items:
        check_item_untrusted(BOARD, item)
    rest = house.lists(BOARD, mode=w.VALUES, after=first.next)
    assert numbers(rest) == [3, 4]
    assert house.lists(BOARD, mode=w.VALUES, after=rest.next).items == ()
    assert len(first.items) == MAILBOX_PAGE_VALUES


def test_a_page_of_heads_has_a_bound_and_the_next_goes_on_after_it(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAILBOX_PAGE_HEADS == 300
    monkeypatch.setattr(mailbox_lists, "MAILBOX_PAGE_HEADS", 2)
    house = House(disk)
    for number in range(5):
        house.keeps(number, BOARD)
    after, seen = 0, list[int]()
    for _ in range(3):
        found = house.lists(BOARD, after=after)
        after, seen = found.next, seen + numbers(found)
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("mailbox", [INBOX, PAIR])
def test_asking_on_erases_what_one_has(disk: Disk, mailbox: w.Mailbox) -> None:
    house = House(disk)
    for number in range(4):
        house.keeps(number, mailbox)
    first = house.lists(mailbox, mode=w.VALUES)
    assert numbers(house.lists(mailbox)) == [0, 1, 2, 3]  # asking for all once more erases nothing
    assert numbers(house.lists(mailbox, mode=w.VALUES, after=first.next)) == [3]
    house.pass_time(1)
    assert [mark(number) in disk.bytes for number in range(4)] == [False, False, False, True]
    assert numbers(House(disk).lists(mailbox)) == [3]


def test_reading_a_board_erases_nothing(disk: Disk) -> None:
    house = House(disk)
    house.keeps(1, BOARD)
    found = house.lists(BOARD, mode=w.VALUES)
    house.lists(BOARD, after=found.next)
    house.pass_time(1)
    assert numbers(house.lists(BOARD)) == [1]


def test_an_item_that_goes_while_it_is_being_read_is_not_given_out(disk: Disk) -> None:
    house = House(disk)
    house.keeps(1, BOARD, seconds=100)
    house.keeps(2, BOARD)
    house.keeps(3, BOARD)
    house.relay.reading = False
    circuit = house.relay.circuit()
    house.asks(circuit, BOARD, mode=w.VALUES)
    house.leaves(house.put(2, BOARD, revision=1, empty=True))
    house.pass_time(100)
    house.relay.look()
    found = answered(circuit, w.VALUES)
    assert numbers(found) == [3]
    assert found.next == house.lists(BOARD).next


def test_a_disk_that_cannot_be_read_is_said_and_the_reader_stands_where_it_stood(disk: Disk) -> None:
    house = House(disk)
    house.keeps(1)
    disk.fails = True
    assert house.lists(mode=w.VALUES) == w.Items(w.FULL, 0)
    disk.fails = False
    assert numbers(house.lists(mode=w.VALUES)) == [1]


def test_a_reader_may_wait_and_is_answered_when_something_comes(disk: Disk) -> None:
    house = House(disk)
    heads, values, elsewhere = (house.relay.circuit() for _ in range(3))
    house.asks(heads, BOARD, wait=600)
    house.asks(values, BOARD, mode=w.VALUES, wait=600)
    house.asks(elsewhere, PAIR, wait=600)
    house.pass_time(599)
    assert heads.got == values.got == []
    assert house.role.statistics()["mailbox_readers_waiting"] == 3
    house.relay.committing = False
    house.leaves(house.put(1, BOARD))
    assert heads.got == []
    house.relay.commit()
    assert numbers(answered(heads)) == numbers(answered(values, w.VALUES)) == [1]
    assert elsewhere.got == []
    assert house.role.statistics()["mailbox_readers_waiting"] == 1


def test_a_reader_who_waited_in_vain_is_told_so_in_time(disk: Disk) -> None:
    house = House(disk)
    circuit = house.relay.circuit()
    house.asks(circuit, wait=30, after=5)
    house.pass_time(29)
    assert circuit.got == []
    house.pass_time(1)
    assert answered(circuit) == w.Items(w.STORED, 5)
    house.asks(circuit, wait=30, after=5)  # and may ask again on the same circuit
    house.pass_time(30)
    assert len(circuit.got) == 2


def test_a_reader_who_has_something_does_not_wait_for_more(disk: Disk) -> None:
    house = House(disk)
    house.keeps(1, BOARD)
    circuit = house.relay.circuit()
    house.asks(circuit, BOARD, wait=600)
    assert numbers(answered(circuit)) == [1]


def test_a_circuit_has_one_list_under_way(disk: Disk) -> None:
    house = House(disk)
    house.keeps(1, BOARD)
    waits, reads = house.relay.circuit(), house.relay.circuit()
    house.asks(waits, wait=600)
    house.asks(waits)
    house.relay.reading = False
    house.asks(reads, BOARD, mode=w.VALUES)
    house.asks(reads, BOARD)
    assert waits.ended_for == reads.ended_for == Reason.MAILBOX_TOO_MANY
    house.relay.look()
    assert reads.got == []


def test_those_who_wait_are_bounded_by_mailbox_and_in_all(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox_lists, "MAILBOX_WAITS_MOST", 2)
    monkeypatch.setattr(mailbox_lists, "WAITS_MOST", 3)
    house = House(disk)

    def waits(mailbox: w.Mailbox) -> Circuit:
        circuit = house.relay.circuit()
        house.asks(circuit, mailbox, wait=600)
        return circuit

    first = [waits(INBOX) for _ in range(3)]
    assert [len(circuit.got) for circuit in first] == [0, 0, 1]
    assert answered(first[2]) == w.Items(w.STORED, 0)
    others = [waits(BOARD), waits(PAIR)]
    assert [len(circuit.got) for circuit in others] == [0, 1]
    assert house.relay.drops == [Reason.MAILBOX_WAITS_FULL] * 2
    house.relay.end(first[0])
    assert waits(PAIR).got == []
    house.relay.end(others[0])
    for circuit in first[1:2]:
        house.relay.end(circuit)
    assert house.role.statistics()["mailbox_readers_waiting"] == 1
