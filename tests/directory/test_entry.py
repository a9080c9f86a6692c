"""What is said of one relay: its checks, its uptime, why it is not listed."""

from __future__ import annotations

import json

import pytest

from onionshh.directory.entry import (
    NOT_YET,
    Entry,
    Status,
    but_for_addresses,
    by_name,
    checks,
    explained,
    record,
    status_of,
    up_words,
)
from onionshh.wire.descriptor import Address
from tests.directory.world import WALL, descriptor

HOUR = 3600
FOUR, SIX = Address.of("8.0.1.1", 9001), Address.of("2600::1", 9001)
ONION = Address.of("a2" * 28 + ".onion", 9001)


def entry(**changes: object) -> Entry:
    made = Entry(descriptor(1), WALL, descriptor(1), WALL, WALL, 0, "", WALL, WALL - HOUR, WALL)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_whether_the_last_check_was_answered() -> None:
    assert entry().answered is True
    assert entry(tested=0, last_good=0).answered is None
    assert entry(tested=WALL + 1).answered is False, "it failed, though that was set aside"
    assert entry(failures=1).answered is False


@pytest.mark.parametrize(("later", "hours"), [(0, 1), (HOUR - 1, 1), (HOUR, 2), (-2 * HOUR, 0)])
def test_uptime_is_in_whole_hours(later: int, hours: int) -> None:
    assert entry().up_hours(WALL + later) == hours


def test_no_uptime_without_an_answer() -> None:
    assert entry(up_since=0).up_hours(WALL) is None
    assert entry(failures=1).up_hours(WALL) is None
    told = checks(entry(failures=1), WALL)
    assert (told["last_check"], told["answered"], told["up_hours"]) == (WALL, False, None)


def test_uptime_in_words() -> None:
    assert [up_words(hours) for hours in (None, 0, 1, 30, 500)] == [
        "",
        "less than an hour",
        "1 hour",
        "30 hours",
        "20 days",
    ]


def test_where_it_stands_and_why() -> None:
    failing = entry(checked=None, failures=2, why="no connection to 8.0.1.1:9001: refused")
    assert status_of(failing) == Status("failing", failing.why)
    assert explained(failing, status_of(failing)) == (
        "It did not answer its last 2 checks: no connection to 8.0.1.1:9001: refused."
    )
    failing.failures = 1
    assert explained(failing, status_of(failing)).startswith("It did not answer its last check: ")
    new = entry(checked=None, tested=0)
    assert explained(new, status_of(new)).endswith("is being checked, or will be in the next interval.")
    assert status_of(entry()) == Status("reached", "")


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("", "No reason is known."),
        ("it answered", "It answered."),
        ("8.0.1.1:1 is checked", "8.0.1.1:1 is checked."),
        ("is it? ", "Is it?"),
    ],
)
def test_a_reason_is_a_sentence(why: str, said: str) -> None:
    assert explained(entry(), Status("reached", why)) == said


def test_a_record_can_be_written_as_json_and_has_no_names_but_these() -> None:
    names = (
        "id nickname status known listed why address published since last_check answered up_hours places"
        " software"
    )
    told = record(entry(), Status("listed", ""), WALL)
    assert set(told) == set(names.split())
    assert json.loads(json.dumps(told))["up_hours"] == 1
    assert record(entry(turned=0), Status("failing", "x"), WALL)["since"] is None


def test_each_address_is_told_with_what_came_of_it() -> None:
    both = descriptor(1, addresses=(FOUR, SIX, ONION))
    made = entry(newest=both, checked=descriptor(1, addresses=(FOUR,)))
    made.asked_at((FOUR, SIX), {SIX: f"no connection to {SIX}: refused"})
    places = [
        {"address": "8.0.1.1:9001", "answered": True, "why": ""},
        {"address": "[2600::1]:9001", "answered": False, "why": "no connection to this address: refused"},
        {"address": f"{ONION.host}:9001", "answered": None, "why": ""},
    ]
    assert checks(made, WALL)["places"] == places
    gone = entry(newest=both, checked=None, failures=1)
    gone.asked_at((FOUR,), {FOUR: "nothing listens"})
    assert [(place.answered, place.why) for place in gone.places] == [
        (False, "nothing listens"),
        (None, NOT_YET),
        (None, NOT_YET),
    ]
    made.asked_at((ONION,), {ONION: "no route"})
    assert list(made.missed) == [SIX, ONION]
    made.asked_at((SIX,), {})
    assert list(made.missed) == [ONION]
    made.newest = descriptor(1, addresses=(FOUR, SIX))
    made.asked_at((FOUR,), {})
    assert made.missed == {}
    new = entry(newest=both, checked=None, tested=0)
    assert status_of(new).why == (
        f"8.0.1.1:9001 and [2600::1]:9001 and {ONION} are being checked, or will be in the next interval"
    )


def test_parts_of_one_descriptor_are_known_by_all_but_their_addresses() -> None:
    one = descriptor(1, addresses=(FOUR, SIX))
    assert but_for_addresses(descriptor(1, addresses=(SIX,)), one)
    assert not but_for_addresses(descriptor(1, addresses=(SIX,), published=WALL + 1), one)
    assert not but_for_addresses(descriptor(1, addresses=(SIX,), signing=bytes(104)), one)


def test_names_are_sorted_as_people_do() -> None:
    names = ["relay10", "B", "relay2", "a", "relay", "2b", "A", "relay-1", "10b", "b"]
    found = sorted(names, key=by_name)
    assert found == ["2b", "10b", "A", "a", "B", "b", "relay", "relay2", "relay10", "relay-1"]


def test_dates_of_the_future_are_brought_back() -> None:
    ahead = WALL + 10**6
    far = descriptor(1, published=ahead)
    made = Entry(far, ahead, far, ahead, ahead, 0, "", ahead, ahead, ahead)
    assert set(made.dates) == {ahead}
    made.bring_back(WALL)
    assert set(made.dates) == {WALL}
    made.bring_back(WALL + 5)
    assert set(made.dates) == {WALL}
