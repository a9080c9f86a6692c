"""Records as JSON for a program and as a sentence for people."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from onionshh.cli.relay import REPORT_SECONDS, report_hourly
from onionshh.cli.statistics import HostStatistics, Statistics, in_words
from onionshh.core.link.outbox import MemoryStatistics
from onionshh.net.open_links import LinkStatistics
from onionshh.relay.serve import RelayStatistics
from tests.client.world import hosted, small

RELAY = RelayStatistics(
    circuits=3,
    circuits_by_stage={"open": 2, "joined": 1},
    cells_forwarded=8,
    handshakes_waiting=1,
    handshakes_served=7,
    handshakes_refused=2,
    listed=True,
    consensus_age_seconds=40,
    links=LinkStatistics(
        relays=2,
        clients=2,
        opening=0,
        dialling=1,
        addresses=2,
        cells_sent=10,
        frames_sent=5,
        bytes_sent=5300,
        bytes_received=4700,
        unsent_bytes=0,
        deadlines=4,
    ),
    memory=MemoryStatistics(used_bytes=514, most_bytes=1 << 20),
    drops={"link-idle": 2, "memory": 1},
    roles={
        "mailbox_items": 5,
        "mailboxes": 2,
        "mailbox_bytes": 33_280,
        "mailbox_room_bytes": 1 << 28,
        "mailbox_price": 96,
    },
)


def test_a_record_is_one_line_of_json_with_sorted_keys() -> None:
    line = Statistics("relay").line(RELAY, event="statistics")
    assert "\n" not in line
    found = json.loads(line)
    assert list(found) == sorted(found)
    assert (found.pop("kind"), found.pop("version"), found.pop("event")) == ("relay", 1, "statistics")
    assert found.pop("up_seconds") >= 0
    assert found == {
        "circuits": 3,
        "circuits_by_stage": {"open": 2, "joined": 1},
        "cells_forwarded": 8,
        "handshakes_waiting": 1,
        "handshakes_served": 7,
        "handshakes_refused": 2,
        "listed": True,
        "signing_key_seconds_left": None,
        "consensus_age_seconds": 40,
        "links": {
            "relays": 2,
            "clients": 2,
            "opening": 0,
            "dialling": 1,
            "addresses": 2,
            "cells_sent": 10,
            "frames_sent": 5,
            "bytes_sent": 5300,
            "bytes_received": 4700,
            "unsent_bytes": 0,
            "deadlines": 4,
        },
        "memory": {"used_bytes": 514, "most_bytes": 1 << 20},
        "drops": {"link-idle": 2, "memory": 1},
        "roles": RELAY.roles,
    }


def test_no_field_of_a_record_takes_the_place_of_what_stands_around_it() -> None:
    found = json.loads(Statistics("host").line(HostStatistics(), event="statistics"))
    assert (found["kind"], found["version"], found["event"]) == ("host", 1, "statistics")
    assert found["joined"] is False


def test_the_sentence_has_the_numbers_of_the_record() -> None:
    traffic = "3 circuits, 4 links, 10 cells sent in 5 frames, 8 of them forwarded;"
    drops = "drops: link-idle 2, memory 1"
    mailboxes = "5 items in 2 mailboxes, 0.0 of 256 MiB, an hour costs 96 tries;"
    assert in_words(RELAY) == f"{traffic} {mailboxes} {drops}"
    assert in_words(replace(RELAY, roles={})) == f"{traffic} {drops}"
    without = replace(RELAY, roles={**RELAY.roles, "mailbox_room_bytes": 0})
    assert "2 mailboxes, no limit, an hour" in in_words(without)


async def test_a_relay_says_what_it_did_once_an_hour(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with small(3) as net, trio.open_nursery() as nursery:
        relay = net.relays[0].relay
        nursery.start_soon(report_hourly, relay)
        await trio.sleep(REPORT_SECONDS - 1)
        assert capsys.readouterr().out == ""
        await trio.sleep(2)
        (line,) = capsys.readouterr().out.splitlines()
        assert line.partition(" ")[2].startswith(f"{len(relay.switch.circuits)} circuits, ")
        nursery.cancel_scope.cancel()


async def test_a_relay_and_a_directory_answer_with_what_they_are_at(autojump_clock: MockClock) -> None:
    async with small() as net, hosted(net) as (node, _):
        relays = [one.relay.statistics() for one in net.relays]
        assert sum(one.circuits for one in relays) > 0
        assert sum(one.links.clients for one in relays) > 0
        assert sum(one.links.cells_sent for one in relays) >= sum(one.links.frames_sent for one in relays) > 0
        assert all(one.consensus_age_seconds in range(3600) for one in relays)
        assert all(one.memory.most_bytes > one.memory.used_bytes >= 0 for one in relays)
        listed = net.authority.statistics()
        assert listed.relays_listed == listed.relays_known == len(relays) == node.status().relays
