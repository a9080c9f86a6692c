from __future__ import annotations

from random import Random

import pytest

from onionshh.rendezvous import mailbox_index
from onionshh.rendezvous.mailbox_index import IDS_PER_ITEM, ITEM_BYTES, NUMBERS_PER_SECOND, Index
from onionshh.rendezvous.mailbox_rows import Blank, Erase, Held
from onionshh.wire.mailbox import Mailbox
from tests.rendezvous.mailbox_world import BOARD, INBOX, WALL


def keep(
    index: Index, number: int, mailbox: Mailbox = INBOX, *, wall: int = WALL, expires: int = WALL + 600
) -> Held:
    serial, place = index.begin(mailbox, wall)
    item_id = number.to_bytes(32, "big")
    held = Held(serial, mailbox, item_id, place, expires, 0, b"s" * 64, b"d" * 32)
    index.add(held)
    return held


def index(room: int = 0) -> Index:
    return Index(lambda: room * ITEM_BYTES)


def listed(index: Index, mailbox: Mailbox = INBOX, after: int = 0, wall: int = WALL) -> list[int]:
    return [int.from_bytes(held.item_id) for held in index.after(mailbox, after, 10_000, wall)]


def test_items_are_listed_in_the_order_in_which_they_came_and_by_mailbox() -> None:
    own = index()
    first, second, other = keep(own, 5), keep(own, 3), keep(own, 9, BOARD)
    assert listed(own) == [5, 3]
    assert listed(own, BOARD) == [9]
    assert listed(own, after=first.number) == [3]
    assert listed(own, after=second.number) == []
    assert own.after(INBOX, 0, 1, WALL) == [first]
    assert own.get(INBOX, first.item_id, WALL) is first
    assert own.get(BOARD, first.item_id, WALL) is None
    assert (len(own), own.ids, own.mailboxes, own.count(INBOX), own.count(BOARD)) == (3, 3, 2, 2, 1)
    assert other.number == WALL * NUMBERS_PER_SECOND


def test_numbers_rise_even_when_the_clock_is_set_back_or_the_mailbox_was_empty() -> None:
    own = index()
    numbers = [keep(own, 1).number, keep(own, 2).number, keep(own, 3, wall=WALL - 5000).number]
    assert numbers == sorted(set(numbers))
    assert keep(own, 4, wall=WALL + 1).number == (WALL + 1) * NUMBERS_PER_SECOND
    own.sweep(WALL + 600)
    assert own.mailboxes == own.ids == 0
    assert keep(own, 5, wall=WALL).number >= numbers[-1]
    again = index()
    again.restore([Held(8, INBOX, b"i" * 32, 7 * NUMBERS_PER_SECOND + 3, 99, 0, b"s" * 64, b"d" * 32)])
    serial, number = again.begin(INBOX, 1)
    assert (serial, number) == (9, 7 * NUMBERS_PER_SECOND + 4)
    assert again.begin(BOARD, 1) == (10, 7 * NUMBERS_PER_SECOND)


def test_two_items_that_are_written_at_once_have_different_numbers_and_take_room() -> None:
    own = index(3)
    one, two = own.begin(INBOX, WALL), own.begin(INBOX, WALL)
    assert one[0] != two[0]
    assert one[1] < two[1]
    assert own.count(INBOX) == 2
    assert own.used_bytes == 2 * ITEM_BYTES
    assert own.has_room()
    own.begin(BOARD, WALL)
    assert not own.has_room()
    own.give_up(BOARD)
    own.give_up(INBOX)
    assert own.mailboxes == 1
    assert own.begin(INBOX, WALL)[1] > two[1]
    own.give_up(INBOX)
    own.give_up(INBOX)
    assert own.mailboxes == own.used_bytes == 0


def test_what_a_reader_has_is_erased_once_and_its_ids_are_known_until_they_expire() -> None:
    own = index()
    first, second, third = (keep(own, number) for number in range(3))
    assert own.erase(INBOX, second.number) == 2
    assert own.erase(INBOX, second.number) == 0
    assert own.erase(BOARD, second.number) == 0
    assert listed(own) == [2]
    assert (len(own), own.ids) == (1, 3)
    assert first.is_erased
    assert own.get(INBOX, first.item_id, WALL) is first
    rows = own.next_erasure()
    assert rows == (Blank(first.serial, WALL + 600, 0), Blank(second.serial, WALL + 600, 0))
    assert own.next_erasure() == ()
    own.erased(done=False)
    assert own.next_erasure() == rows
    own.erased(done=True)
    assert own.next_erasure() == ()
    assert own.waits_to_be_erased == 0
    assert own.sweep(WALL + 600) == 3
    assert own.get(INBOX, first.item_id, WALL) is None
    assert own.next_erasure() == tuple(Erase(held.serial) for held in (first, second, third))


def test_what_expires_while_it_is_being_blanked_is_erased_afterwards() -> None:
    own = index()
    held = keep(own, 1)
    own.erase(INBOX, held.number)
    own.next_erasure()
    own.sweep(WALL + 600)
    own.erased(done=True)
    assert own.next_erasure() == (Erase(held.serial),)


def test_an_id_that_is_on_disk_twice_is_erased_twice() -> None:
    """A depositor came again after a disk had failed late."""
    own = index()
    item_id = (5).to_bytes(32, "big")
    for serial, expires in ((1, WALL + 600), (2, WALL + 300)):
        own.restore([Held(serial, INBOX, item_id, serial, expires, 0, b"s" * 64, b"d" * 32)])
    assert own.sweep(WALL + 301) == 1
    assert listed(own, wall=WALL + 301) == [5]
    assert own.sweep(WALL + 601) == 1
    assert (len(own), own.mailboxes) == (0, 0)
    assert set(own.next_erasure()) == {Erase(1), Erase(2)}


def test_an_item_is_not_listed_in_the_second_in_which_it_expires_even_before_the_sweep() -> None:
    own = index()
    keep(own, 1, expires=WALL + 60)
    assert listed(own, wall=WALL + 59) == [1]
    assert listed(own, wall=WALL + 60) == []
    assert own.next_expiry == WALL + 60
    assert own.sweep(WALL + 59) == 0
    assert own.sweep(WALL + 60) == 1
    assert own.next_expiry is None


def test_a_later_revision_moves_the_expiry_both_ways() -> None:
    own = index()
    longer, shorter = keep(own, 1), keep(own, 2)
    own.change(longer, WALL + 900, 1, b"t" * 64)
    own.change(shorter, WALL + 100, 1, b"t" * 64)
    assert own.sweep(WALL + 99) == 0
    assert own.sweep(WALL + 100) == 1
    assert own.sweep(WALL + 600) == 0
    assert listed(own, wall=WALL + 899) == [1]
    assert own.sweep(WALL + 900) == 1
    assert (longer.revision, longer.signature) == (1, b"t" * 64)


def test_what_is_erased_is_known_for_as_long_as_any_of_its_revisions_could_live() -> None:
    own = index()
    held = keep(own, 1)
    own.blank(held, WALL + 5000, 3)
    own.blank(held, WALL + 100, 2)
    assert (held.expires, held.revision) == (WALL + 5000, 3)
    assert own.sweep(WALL + 4999) == 0
    assert own.sweep(WALL + 5000) == 1


def test_an_item_with_many_revisions_expires_once() -> None:
    own = index()
    held = keep(own, 1)
    for revision in range(1, 100_000):
        own.change(held, WALL + 1_000_000 - revision, revision % 256, b"")
    assert own.sweep(WALL + 900_000) == 0
    assert own.sweep(WALL + 900_001) == 1
    assert own.sweep(WALL + 1_000_000) == 0
    assert own.next_expiry is None


def test_there_is_a_bound_on_items_and_a_larger_one_on_ids() -> None:
    own = index(4)
    for number in range(4 * IDS_PER_ITEM):
        assert own.has_room()
        held = keep(own, number)
        own.blank(held, held.expires, 1)
    assert len(own) == 0
    assert not own.has_room()
    own.sweep(WALL + 600)
    assert own.has_room()
    assert index(0).has_room()


def test_a_request_to_the_disk_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox_index, "ERASED_AT_ONCE", 3)
    own = index()
    serials = [keep(own, number).serial for number in range(7)]
    own.sweep(WALL + 600)
    erased: list[int] = []
    while rows := own.next_erasure():
        assert len(rows) <= 3
        erased += [row.serial for row in rows]
        own.erased(done=True)
    assert sorted(erased) == serials


def test_a_sweep_is_bounded_and_what_it_left_is_neither_shown_nor_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mailbox_index, "SWEPT_AT_ONCE", 2)
    own = index()
    held = [keep(own, number) for number in range(5)]
    assert own.sweep(WALL + 600) == 2
    assert own.next_expiry == WALL + 600
    assert listed(own, wall=WALL + 600) == []
    assert own.get(INBOX, held[4].item_id, WALL + 599) is held[4]
    assert own.get(INBOX, held[4].item_id, WALL + 600) is None
    assert [own.sweep(WALL + 600), own.sweep(WALL + 600)] == [2, 0]
    assert own.ids == own.mailboxes == 0
    assert sorted(row.serial for row in own.next_erasure()) == [one.serial for one in held]


def test_any_order_of_changes_leaves_what_a_plain_list_of_items_would() -> None:
    """Against a model: a list, searched from one end to the other each time."""
    chance = Random(3)
    own, model, wall = index(), dict[int, Held](), WALL
    for step in range(3000):
        wall += chance.randrange(3)
        what = chance.randrange(10)
        alive = [held for held in model.values() if wall < held.expires]
        if what < 5:
            box = chance.choice((INBOX, BOARD))
            held = keep(own, step, box, wall=wall, expires=wall + chance.randrange(1, 200))
            model[held.serial] = held
        elif what == 5 and alive:
            held = chance.choice(alive)
            if not held.is_erased:
                own.change(held, wall + chance.randrange(1, 300), held.revision + 1, b"")
        elif what == 6 and alive:
            own.blank(held := chance.choice(alive), held.expires, 9)
        elif what == 7:
            own.erase(INBOX, max((held.number for held in alive), default=0) - chance.randrange(5))
        own.sweep(wall)
        alive = [held for held in model.values() if wall < held.expires]
        for box in (INBOX, BOARD):
            expected = [held for held in alive if held.mailbox == box and not held.is_erased]
            assert own.after(box, 0, 10_000, wall) == sorted(expected, key=lambda held: held.number)
        assert own.ids == len(alive)
        assert len(own) == sum(not held.is_erased for held in alive)
        if rows := own.next_erasure():
            own.erased(done=chance.random() < 0.7)
            del rows
