"""At which addresses a relay is asked: its own, and those that may be a stranger's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from onionshh.core.base.params import Params
from onionshh.directory.asking import Waiting, home, not_there, own
from onionshh.directory.entry import Entry
from onionshh.wire.descriptor import Address, RelayDescriptor
from tests.directory.world import WALL, descriptor

FOUR, SIX = Address.of("8.0.1.1", 9001), Address.of("2600::1", 9001)
SERVICE = Address.of("a2" * 28 + ".onion", 9001)
PARAMS = Params()


def entry(number: int, *addresses: Address, listed: tuple[Address, ...] = (), source: str = "") -> Entry:
    """A relay that names these addresses, and answered at those that are listed."""
    newest = descriptor(number, addresses=addresses)
    made = Entry(newest, WALL, replace(newest, addresses=listed) if listed else None)
    made.tested, made.last_good = (WALL, WALL) if listed else (0, 0)
    made.home = home(addresses, source)
    return made


def elsewhere(entries: Sequence[Entry]) -> tuple[RelayDescriptor, ...]:
    """Whom a directory that begins asks first."""
    return Waiting().next(entries, PARAMS)


def claimant(number: int, *more: Address) -> Entry:
    """A relay at work that names these addresses too."""
    mine = Address.of(f"8.1.{number}.1", 9001)
    return entry(number, mine, *more, listed=(mine,))


def test_its_own_are_where_it_published_from_and_where_it_answered() -> None:
    assert own(entry(1, FOUR, SIX, source="8.0.1.1"), PARAMS) == (FOUR,)
    assert own(entry(1, FOUR, SIX, source="2600::1"), PARAMS) == (SIX,)
    assert own(entry(1, FOUR, SIX, SERVICE, listed=(SIX,), source="8.0.1.1"), PARAMS) == (FOUR, SIX)
    assert own(entry(1, FOUR, SIX), PARAMS) == ()
    moved = entry(1, FOUR, listed=(FOUR,), source="8.0.1.1")
    moved.newest = descriptor(1, addresses=(Address.of("8.0.1.1", 22), SIX))
    assert own(moved, PARAMS) == (), "another port is another address"


def test_all_are_where_nobody_asks_and_an_onion_service_is_where_there_is_nothing_else() -> None:
    assert own(entry(1, FOUR, SIX), PARAMS.with_overrides({"advertised_ip_rule": 0})) == (FOUR, SIX)
    assert own(entry(1, SERVICE), PARAMS) == (SERVICE,)


def test_who_has_not_answered_is_asked_nowhere_else() -> None:
    new, listed = entry(1, FOUR, SIX, source="8.0.1.1"), entry(1, FOUR, SIX, listed=(FOUR,))
    assert elsewhere([new]) == ()
    [asked] = elsewhere([listed])
    assert asked == replace(listed.newest, addresses=(SIX,))
    listed.tested = WALL + 1  # it did not answer then
    assert elsewhere([listed]) == ()
    [asked] = elsewhere([entry(1, FOUR, SIX)])
    assert asked.addresses == (FOUR,), "nothing shows what is its own"


def test_all_others_of_one_relay_are_asked_at_once() -> None:
    [asked] = elsewhere([entry(1, FOUR, SIX, SERVICE, listed=(SIX,))])
    assert asked.addresses == (FOUR, SERVICE)


@pytest.mark.parametrize("host", ["2600::{:x}", "8.0.9.9"])
def test_a_host_is_asked_once_whatever_the_port_and_all_who_name_it_take_turns(host: str) -> None:
    def names(number: int) -> tuple[Address, Address]:
        mine = Address.of(f"8.1.{number}.1" if ":" in host else f"26{number:02}::1", 9001)
        return mine, Address.of(host.format(number), 1000 + number)

    entries = [entry(n, *sorted(names(n)), listed=names(n)[:1]) for n in range(7)]
    asked, waiting = Counter[str](), Waiting()
    for _ in range(70):
        [one] = waiting.next(entries, PARAMS)
        asked[one.nickname] += 1
        assert len(one.addresses) == 1
    assert set(asked.values()) == {10}


@pytest.mark.parametrize("before", range(3))
def test_two_that_name_a_host_by_turns_keep_nobody_from_his(before: int) -> None:
    """The one below him on even turns, the one above him on odd ones."""
    low, his, high = sorted((1, 2, 3), key=lambda number: descriptor(number).identity)
    waiting = Waiting()
    for turn in range(before, before + 4):
        others = [claimant(low, *[SIX] * (turn % 2 == 0)), claimant(high, *[SIX] * (turn % 2))]
        [one] = waiting.next([*others, claimant(his, SIX)], PARAMS)
        if one.nickname == descriptor(his).nickname:
            return
    pytest.fail("he was never asked")


def test_who_comes_later_waits_behind_those_who_wait_and_new_ones_come_for_ever() -> None:
    first, waiting = [claimant(number, SIX) for number in range(3)], Waiting()
    asked = []
    for turn in range(3):
        new = [claimant(10 + number, SIX) for number in range(9 * turn)]
        asked += [one.nickname for one in waiting.next([*new, *first], PARAMS)]
    assert set(asked) == {one.newest.nickname for one in first}


def test_of_those_that_wait_equally_long_the_one_listed_for_longest_goes_first() -> None:
    entries = [claimant(number, SIX) for number in range(6)]
    for age, one in enumerate(entries):
        one.first_seen = WALL - age
    entries[5].first_seen = 0  # never listed
    waiting = Waiting()
    order = [one.nickname for _ in range(6) for one in waiting.next(entries, PARAMS)]
    assert order == [entries[number].newest.nickname for number in (4, 3, 2, 1, 0, 5)]


def test_who_misses_a_check_keeps_his_place() -> None:
    one, other = claimant(1, SIX), claimant(2, SIX)
    one.first_seen, other.first_seen = 1, 2
    waiting = Waiting()
    assert [asked.nickname for asked in waiting.next([one, other], PARAMS)] == [one.newest.nickname]
    other.tested = WALL + 1  # it did not answer then
    assert [asked.nickname for asked in waiting.next([one, other], PARAMS)] == [one.newest.nickname]
    other.tested = WALL
    late = [claimant(number, SIX) for number in range(3, 9)]
    assert [asked.nickname for asked in waiting.next([*late, one, other], PARAMS)] == [other.newest.nickname]


def test_no_more_is_remembered_than_known_relays_name_now() -> None:
    waiting = Waiting()
    for turn in range(200):
        moving = [claimant(number, Address.of(f"2600:{turn:x}:{number}::1", 9001)) for number in range(8)]
        assert len(waiting.next(moving, PARAMS)) == 8
        assert len(waiting) == 8
    assert waiting.next([], PARAMS) == ()
    assert len(waiting) == 0


def test_what_is_told_has_no_word_about_why() -> None:
    assert not_there(SIX) == "it did not answer at [2600::1]:9001"
