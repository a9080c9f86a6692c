"""At which addresses a relay is asked: its own, and those that may be a stranger's."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from onionshh.core.base.params import Params
from onionshh.directory.asking import elsewhere, home, not_there, own
from onionshh.directory.entry import Entry
from onionshh.wire.descriptor import Address
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
    assert elsewhere([new], PARAMS, 0) == ()
    [asked] = elsewhere([listed], PARAMS, 0)
    assert asked == replace(listed.newest, addresses=(SIX,))
    listed.tested = WALL + 1  # it did not answer then
    assert elsewhere([listed], PARAMS, 0) == ()
    [asked] = elsewhere([entry(1, FOUR, SIX)], PARAMS, 0)
    assert asked.addresses == (FOUR,), "nothing shows what is its own"


def test_all_others_of_one_relay_are_asked_at_once() -> None:
    [asked] = elsewhere([entry(1, FOUR, SIX, SERVICE, listed=(SIX,))], PARAMS, 0)
    assert asked.addresses == (FOUR, SERVICE)


@pytest.mark.parametrize("host", ["2600::{:x}", "8.0.9.9"])
def test_a_host_is_asked_once_whatever_the_port_and_all_who_name_it_take_turns(host: str) -> None:
    def names(number: int) -> tuple[Address, Address]:
        mine = Address.of(f"8.1.{number}.1" if ":" in host else f"26{number:02}::1", 9001)
        return mine, Address.of(host.format(number), 1000 + number)

    entries = [entry(n, *sorted(names(n)), listed=names(n)[:1]) for n in range(7)]
    asked: Counter[str] = Counter()
    for turn in range(70):
        [one] = elsewhere(entries, PARAMS, turn)
        asked[one.nickname] += 1
        assert len(one.addresses) == 1
    assert set(asked.values()) == {10}


def test_what_is_told_has_no_word_about_why() -> None:
    assert not_there(SIX) == "it did not answer at [2600::1]:9001"
