"""What a ring keeps: under its cap, and which rows must go from disk."""

from __future__ import annotations

import math

from onionshh.ids import RelayId
from onionshh.rendezvous.shelf import ERASED_AT_ONCE, LABEL, Erase, Kept, Name, Row, Shelf

PERIOD = 20_000


def name(number: int, period: int = PERIOD) -> Name:
    return bytes([number]) * 32, period


def kept(number: int, expiry: int = 100, serial: int | None = None, revision: int = 1) -> Kept:
    return Kept(revision, expiry, number, b"document", serial)


def shelf(most: float = math.inf) -> Shelf:
    return Shelf(lambda: most, b"salt")


def erasures(full: Shelf) -> list[int]:
    """The rows that must go now, which are erased."""
    serials: list[int] = []
    while (erasure := full.next_erasure()) is not None:
        serials += erasure.serials
        full.erased(done=True)
    return serials


def test_what_goes_from_the_shelf_goes_from_disk_if_it_was_there() -> None:
    full = shelf()
    full.keep(name(1), kept(1, serial=11), "a", 0)
    full.keep(name(2), kept(2), "a", 0)
    full.forget(name(2))
    full.forget(name(3))
    assert erasures(full) == []
    full.forget(name(1))
    full.forget(name(1))
    assert (erasures(full), erasures(full), len(full)) == ([11], [], 0)


def test_a_later_revision_takes_the_row_of_the_earlier_with_it() -> None:
    full = shelf()
    full.keep(name(1), kept(1, serial=11), "a", 0)
    full.keep(name(1), kept(1, serial=12, revision=2), "a", 0)
    assert erasures(full) == []
    full.forget(name(1))
    assert erasures(full) == [12]


def test_past_the_cap_the_youngest_of_the_neighbour_that_holds_most_goes() -> None:
    full = shelf(3)
    for number, label in ((1, "a"), (2, "b"), (3, "a")):
        assert full.next_number() == number
        assert full.keep(name(number), kept(number, serial=10 + number), label, 0) == ()
    assert full.is_full
    assert full.has_room(name(4), "c", 0)
    assert not full.has_room(name(4), "a", 0)
    assert full.keep(name(4), kept(4), "c", 0) == (name(3),)
    assert full.keep(name(5), kept(5, serial=15), "a", 0) == (name(5),), "the newcomer itself"
    assert erasures(full) == [13, 15]
    assert full.get(name(4)) == kept(4)
    assert name(5) not in full


def test_a_name_that_comes_again_counts_for_the_neighbour_that_holds_less() -> None:
    full = shelf()
    for number, label in ((1, "honest"), (2, "flood"), (3, "flood")):
        full.keep(name(number), kept(number), label, 0)
    assert full.lesser(name(1), "flood") == "honest"
    assert full.lesser(name(2), "another") == "another"
    assert full.lesser(name(9), "flood") == "flood"


def test_a_sweep_takes_what_expired_and_periods_that_are_over() -> None:
    full = shelf()
    full.keep(name(1), kept(1, 100, 11), "a", 0)
    full.keep(name(2), kept(2, 101, 12), "a", 0)
    full.keep(name(3, PERIOD - 1), kept(3, 500, 13), "a", 0)
    full.sweep(100, lambda period: period == PERIOD)
    assert (erasures(full), len(full)) == ([11, 13], 1)


def test_numbers_go_on_from_what_was_on_disk() -> None:
    full = shelf(1)
    full.restore(Row(7, name(1), 3, 0, "a", b"document"), 5, 100)
    full.damaged(9)
    assert full.get(name(1)) == Kept(5, 100, 3, b"document", 7)
    assert (full.next_number(), full.next_serial()) == (4, 10)
    assert erasures(full) == [9]
    assert full.keep(name(2), kept(4), "b", 0) == (name(2),), "who was there before a restart came first"


def test_one_erasure_is_under_way_at_a_time_and_comes_again_if_it_fails() -> None:
    full = shelf()
    for serial in range(ERASED_AT_ONCE + 1):
        full.erase(serial)
    first = full.next_erasure()
    assert first == Erase(tuple(range(ERASED_AT_ONCE)))
    assert full.next_erasure() is None
    full.erased(done=False)
    assert full.next_erasure() == first
    full.erased(done=True)
    assert full.next_erasure() == Erase((ERASED_AT_ONCE,))
    full.erased(done=True)
    assert full.next_erasure() is None


def test_a_neighbour_has_one_label_under_one_salt() -> None:
    relay, address = RelayId(bytes(32)), "192.0.2.1"
    one, other = Shelf(lambda: 1, b"one"), Shelf(lambda: 1, b"other")
    assert one.label(relay) == one.label(relay)
    assert len({one.label(relay), one.label(address), other.label(relay), other.label(address)}) == 4
    assert len(one.label(relay)) == 2 * LABEL
