"""The table of a machine's deadlines: which is first, which counts, and which come nearer."""

from __future__ import annotations

import enum

from onionshh.core.base.timers import NEVER, Timers


class Name(enum.IntEnum):
    FIRST = 0
    SECOND = 1
    THIRD = 2


def test_nothing_is_due_until_it_is_set() -> None:
    timers = Timers(Name)
    assert timers.next() == NEVER
    assert timers.expired(1e9) is None


def test_each_name_has_one_deadline() -> None:
    timers = Timers(Name)
    timers.set(Name.SECOND, 5.0)
    timers.set(Name.THIRD, 4.0)
    assert timers.next() == 4.0
    timers.set(Name.THIRD, 6.0)
    assert timers.next() == 5.0
    timers.clear(Name.SECOND)
    assert timers.next() == 6.0
    timers.clear_all()
    assert timers.next() == NEVER


def test_of_several_that_are_due_the_first_by_name_counts() -> None:
    timers = Timers(Name)
    timers.set(Name.THIRD, 1.0)
    timers.set(Name.SECOND, 2.0)
    assert timers.expired(0.9) is None
    assert timers.expired(1.0) is Name.THIRD
    assert timers.expired(2.0) is Name.SECOND
    timers.clear(Name.SECOND)
    assert timers.expired(2.0) is Name.THIRD


def test_only_what_is_due_before_the_next_look_comes_nearer() -> None:
    timers = Timers(Name)
    timers.set(Name.FIRST, 5.0)
    assert timers.wait() == timers.awaited == 5.0
    looks = []
    for name, at in ((Name.FIRST, 9.0), (Name.SECOND, 5.0), (Name.THIRD, 4.9)):
        timers.set(name, at)
        looks.append(timers.nearer)
    assert looks == [False, False, True]
    assert timers.wait() == 4.9
    assert not timers.nearer


def test_what_is_put_off_by_a_store_is_seen() -> None:
    timers = Timers(Name)
    timers.set(Name.FIRST, 5.0)
    timers.wait()
    timers.at[Name.FIRST] = 8.0
    assert timers.expired(5.0) is None
    assert timers.wait() == 8.0


def test_a_machine_that_ended_waits_for_nothing() -> None:
    timers = Timers(Name)
    timers.set(Name.FIRST, 5.0)
    timers.clear_all()
    assert not timers.nearer
    assert timers.wait() == NEVER
