"""How a program stands, in sentences, whatever its answer has in it."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from onionshh.cli.statistics import HostStatistics
from onionshh.cli.status_words import DROPS_MOST, Numbers, in_sentences, many, size, whole
from onionshh.directory.authority import DirectoryStatistics
from onionshh.relay.allowance import AllowanceStatistics

ABOUT = {"up_seconds": 7300.0, "onionshh": "1.2.3", "cipher": "compiled", "why": ""}
RELAY = ABOUT | {
    "kind": "relay",
    "circuits": 12_345,
    "circuits_by_stage": {"open": 12_000, "joined": 345, "extended": 0},
    "cells_forwarded": 4_000_000,
    "handshakes_served": 77,
    "handshakes_refused": 1,
    "handshakes_waiting": 0,
    "consensus_age_seconds": 61,
    "links": {
        "relays": 11,
        "clients": 1,
        "opening": 1,
        "dialling": 0,
        "cells_sent": 5_000_000,
        "frames_sent": 900_000,
        "bytes_sent": 3 * 1024**3,
        "bytes_received": 1024,
    },
    "memory": {"used_bytes": 2048, "most_bytes": 256 * 1024**2},
    "monthly": {"used_bytes": 1024**3, "most_bytes": 4 * 1024**3, "ends": 1_800_000_000},
    "signing_key_seconds_left": 25 * 86_400,
    "roles": {
        "mailbox_items": 1,
        "mailbox_bytes": 512,
        "mailbox_room_bytes": 256 * 1024**2,
        "mailbox_price": 96,
    },
    "drops": {f"reason-{number}": number for number in range(1, DROPS_MOST + 3)},
}


def test_a_relay_without_a_limit_and_with_its_identity_says_nothing_of_them() -> None:
    plain = RELAY | {"monthly": asdict(AllowanceStatistics()), "signing_key_seconds_left": None}
    assert not [line for line in in_sentences(plain) if "month" in line or "signing" in line]


def test_an_ended_signing_key_is_told_with_what_to_do() -> None:
    (line,) = [one for one in in_sentences(RELAY | {"signing_key_seconds_left": -7300}) if "signing" in one]
    assert line == "Its signing key ended 2 hours ago; make the next one with `onionshh master sign`."


def test_a_relay_says_all_it_has() -> None:
    assert in_sentences(RELAY) == [
        "All is well: the directory lists this relay.",
        "It has run for 2 hours, as onionshh 1.2.3, cipher compiled.",
        "It carries 12 345 circuits: 12 000 end here, 345 are joined to another.",
        "It has 11 links with relays and 1 with others; 1 link is being opened.",
        "It sent 5 000 000 cells in 900 000 frames, and forwarded 4 000 000 of them;"
        " 3.0 GiB out, 1.0 KiB in.",
        "It made 77 circuits for others, refused 1, and 0 wait.",
        "Its queues take 2.0 KiB of 256.0 MiB.",
        "It used 1.0 GiB of its 4.0 GiB for the month (25%), until 2027-01-15 08:00:00 UTC.",
        "Its signing key ends in 25 days.",
        "Its mailboxes hold 1 item, 512 B of 256.0 MiB; an hour in an empty inbox costs 96 tries.",
        "Its consensus is 61 seconds old.",
        "It dropped reason-10 10, reason-9 9, reason-8 8, reason-7 7, reason-6 6, reason-5 5, reason-4 4,"
        " reason-3 3 and 2 more names; `onionshh reasons` says what the names mean.",
    ]


def test_a_host_says_all_it_has() -> None:
    record = HostStatistics(
        joined=True,
        guards_up=2,
        relays=8,
        consensus_age_seconds=3,
        circuits=9,
        introducers=6,
        visitors=1,
        taken=5,
        finished=4,
        unfinished=1,
        replies_waiting=1,
        effort=100,
        inbox_crowded=True,
    )
    assert in_sentences(ABOUT | asdict(record) | {"kind": "host", "why": "No guard answers."}) == [
        "Not well: No guard answers.",
        "It has run for 2 hours, as onionshh 1.2.3, cipher compiled.",
        "It has 2 guards up and knows 8 relays.",
        "It has 6 introducers, 9 circuits and 1 visitor.",
        "It took 5 whispers in this run and finished 4; 1 is not finished, 0 given up.",
        "1 reply has no receipt yet, and 0 transfers go on.",
        "Strangers must work 100 tries to be let in.",
        "Its inbox at the relays was half full within a day.",
        "Its consensus is 3 seconds old.",
        "It has dropped nothing.",
    ]


def test_a_directory_says_all_it_has() -> None:
    record = DirectoryStatistics(3, 4, 2, True, True, {"200": 10, "404": 1})
    assert in_sentences(ABOUT | asdict(record) | {"kind": "directory"}) == [
        "All is well: this directory publishes in time.",
        "It has run for 2 hours, as onionshh 1.2.3, cipher compiled.",
        "It knows 4 relays and lists 3 of them.",
        "Most relays say that its clock is wrong.",
        "It answered 11 requests: 10 with 200, 1 with 404.",
        "Its consensus is 2 seconds old.",
    ]


@pytest.mark.parametrize("kind", ["relay", "host", "directory", "other"])
@pytest.mark.parametrize("wrong", [None, "text", [], {"x": "\x1b[2J"}, True])
def test_an_answer_of_another_version_gets_sentences_too(kind: str, wrong: object) -> None:
    for lines in (
        in_sentences({"kind": kind}),
        in_sentences(dict.fromkeys(RELAY, wrong) | {"kind": kind}),
        in_sentences({"kind": kind, "why": "\x1b[2J", "drops": {"\x1b": 1}}),
    ):
        assert lines
        assert all(line.isprintable() for line in lines)


def test_numbers_for_people() -> None:
    assert [whole(number) for number in (0, 999, 65_535, 1e7)] == ["0", "999", "65 535", "10 000 000"]
    assert [size(number) for number in (0, 1023, 1024, 1.5 * 1024**2)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 MiB",
    ]
    assert many(1, "try", "tries") + many(2, "try", "tries") == "1 try2 tries"
    assert Numbers({"b": 1, "a": 1, "c": 2, "d": "no"}).counts() == [("c", 2), ("a", 1), ("b", 1)]
