"""What is said when relays come and go: a line each, one for many, no address."""

from __future__ import annotations

from onionshh.core.base.params import Params
from onionshh.directory.changes import NAMED_MOST, Known, changes
from onionshh.directory.consensus import build
from onionshh.directory.entry import Entry, Listed, Status, status_of
from onionshh.wire.consensus import Consensus
from onionshh.wire.descriptor import Address
from tests.directory.world import WALL, descriptor

HOUR = 3600


def consensus(*numbers: int, at: int = WALL, since: int = WALL - 50 * HOUR) -> Consensus:
    rows = [Listed(descriptor(number), since) for number in numbers]
    return build(rows, network="test", params=Params(), shared_random=(), valid_after=at)


def failing(identity: bytes) -> tuple[Entry, Status]:
    number = next(number for number in range(100) if descriptor(number).identity == identity)
    relay = descriptor(number)
    entry = Entry(relay, WALL, None, WALL, WALL, 2, f"no connection to {relay.address}: refused", WALL)
    return entry, status_of(entry)


def forgotten(identity: bytes) -> tuple[None, Status]:
    return None, Status("unknown", "send one")


def said(before: Consensus, after: Consensus, known: Known = failing) -> list[str]:
    return list(changes(before, after, known))


def digits(number: int) -> str:
    return descriptor(number).identity.hex()[:8]


def test_nothing_is_said_when_nothing_changed() -> None:
    assert said(consensus(1, 2), consensus(1, 2, at=WALL + HOUR)) == []


def test_a_relay_that_is_new_and_one_that_is_back() -> None:
    after = consensus(1, 2, at=WALL + HOUR)
    assert said(consensus(1), after) == [f"relay2 ({digits(2)}) came back: it answers again"]
    after = consensus(1, at=WALL + HOUR, since=WALL + 60)
    assert said(consensus(), after) == [f"relay1 ({digits(1)}) came: it is new, and answered its check"]


def test_why_a_relay_left_without_its_address() -> None:
    lines = said(consensus(1, 2), consensus(1, at=WALL + HOUR))
    why = "it did not answer its last 2 checks: no connection to its address: refused"
    assert lines == [f"relay2 ({digits(2)}) left: {why}"]
    assert said(consensus(2), consensus(), forgotten) == [
        f"relay2 ({digits(2)}) left: this directory does not know it any more"
    ]


def test_a_signing_key_that_ended_is_told_as_such() -> None:
    relay = descriptor(2)
    ended = Status("ended", "the relay's signing key ended on Monday; make a new one")
    lines = said(consensus(2), consensus(), lambda identity: (Entry(relay, WALL, failures=1), ended))
    assert lines == [f"relay2 ({digits(2)}) left: the relay's signing key ended on Monday; make a new one"]


def test_they_are_sorted_and_those_that_came_are_first() -> None:
    lines = said(consensus(1, 3, 12), consensus(1, 20, 4))
    assert [line.split(" (")[0] for line in lines] == ["relay4", "relay20", "relay3", "relay12"]


def test_none_of_its_addresses_is_named() -> None:
    six = Address.of("2600::1", 9001)
    relay = descriptor(1, addresses=(*descriptor(1).addresses, six))
    entry = Entry(relay, WALL, None, WALL, WALL, 2, f"no connection to {six}: refused", WALL)
    lines = said(consensus(1), consensus(), lambda identity: (entry, status_of(entry)))
    assert [line.partition(" left: ")[2] for line in lines] == [
        "it did not answer its last 2 checks: no connection to its address: refused"
    ]


def test_many_at_once_are_one_line() -> None:
    few = range(NAMED_MOST)
    assert len(said(consensus(*few), consensus())) == NAMED_MOST
    assert said(consensus(*few), consensus(50)) == [f"1 relay came and {NAMED_MOST} left"]
    assert said(consensus(), consensus(*range(20))) == ["20 relays came and 0 left"]
