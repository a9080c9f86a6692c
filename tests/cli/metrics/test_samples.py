"""Each record of statistics says all that it should in metrics, and nothing about anybody."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

from trio.testing import MockClock

from onionshh.cli.metrics import families
from onionshh.cli.metrics.families import Family, Kind
from onionshh.cli.metrics.samples import of_directory, of_host, of_process, of_relay
from onionshh.cli.statistics import HostStatistics
from onionshh.crypto.uiv import CIPHER
from onionshh.directory.authority import DirectoryStatistics
from tests.cli.metrics.exposed import of_a_network, parsed
from tests.cli.test_statistics import RELAY

HOST = HostStatistics(
    joined=True,
    online=True,
    guards_up=2,
    relays=9,
    consensus_age_seconds=10,
    circuits=11,
    reachable=True,
    introducers=6,
    visitors=3,
    taken=20,
    finished=12,
    unfinished=8,
    kept=2,
    given_up=1,
    replies_waiting=4,
    transfers=1,
    effort=64,
    inbox_crowded=True,
    drops={"memory": 1},
)


def test_a_relay_s_record_is_all_there() -> None:
    values = {(sample.family, *sample.labels.values()): sample.value for sample in of_relay(RELAY)}
    assert values[families.CELL_SENT,] == 10
    assert values[families.BYTE_RECEIVED,] == 4700
    assert values[families.CIRCUIT, "joined"] == 1
    assert values[families.HANDSHAKE, "refused"] == 2
    assert values[families.LINK, "client"] == 2
    assert values[families.MEMORY_USED,] == 514
    assert values[families.MAILBOX_PRICE,] == 96
    assert values[families.DROP, "link-idle"] == 2
    assert values[families.HEALTHY,] == 1
    assert values[families.CONSENSUS_AGE,] == 40


def test_only_a_relay_whose_identity_is_kept_away_has_a_signing_key() -> None:
    assert families.SIGNING_LEFT not in {sample.family for sample in of_relay(RELAY)}
    for left in (3600, 0, -60):
        record = replace(RELAY, signing_key_seconds_left=left)
        assert [s.value for s in of_relay(record) if s.family is families.SIGNING_LEFT] == [left]


def test_before_the_first_consensus_there_is_no_age() -> None:
    young = replace(RELAY, consensus_age_seconds=None)
    assert families.CONSENSUS_AGE not in {sample.family for sample in of_relay(young)}
    assert families.CONSENSUS_AGE not in {sample.family for sample in of_directory(DirectoryStatistics())}
    assert families.CONSENSUS_AGE not in {sample.family for sample in of_host(HostStatistics())}


def test_a_directory_tells_listed_from_known() -> None:
    record = DirectoryStatistics(5, 7, 3, healthy=True, answers={"200": 4, "404": 1})
    values = {tuple(sample.labels.values()): sample.value for sample in of_directory(record) if sample.labels}
    assert values == {("listed",): 5, ("unlisted",): 2, ("200",): 4, ("404",): 1}
    gone = replace(record, relays_known=4)
    assert ("unlisted", 0) in {(*one.labels.values(), one.value) for one in of_directory(gone) if one.labels}


def test_what_a_host_has_not_finished_is_in_one_state_each() -> None:
    inbox = {
        sample.labels["state"]: sample.value for sample in of_host(HOST) if sample.family is families.INBOX
    }
    assert inbox == {"open": 5, "kept": 2, "given_up": 1}
    values = {sample.family: sample.value for sample in of_host(HOST) if not sample.labels}
    assert (values[families.EFFORT], values[families.GUARDS_UP], values[families.INBOX_CROWDED]) == (64, 2, 1)


def test_each_family_has_the_labels_that_it_says() -> None:
    samples = [
        *of_process("relay", 1, 0),
        *of_relay(RELAY),
        *of_directory(DirectoryStatistics()),
        *of_host(HOST),
    ]
    for sample in samples:
        if sample.family.kind is not Kind.INFO:
            assert list(sample.labels) == ([sample.family.label] if sample.family.label else [])
    seen = Counter((sample.family, *sample.labels.values()) for sample in of_relay(RELAY))
    assert set(seen.values()) == {1}


async def test_real_programs_expose_every_family_and_nothing_about_anybody(
    autojump_clock: MockClock,
) -> None:
    texts = await of_a_network()
    exposed = {sample.name for data in texts.values() for sample in parsed(data)}
    declared = {value.exposed for value in vars(families).values() if isinstance(value, Family)}
    assert exposed == declared
    for kind, data in texts.items():
        for sample in parsed(data):
            for name, value in sample.labels.items():
                if name == "version":
                    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", value)
                else:
                    assert re.fullmatch(r"[a-z]+([_-][a-z]+)*|[1-5][0-9][0-9]", value), (kind, sample)
        words = data.decode()
        assert not re.search(r"shh1|[0-9a-f]{16}|\d+\.\d+\.\d+\.\d+|/", words.replace("/health", ""))
    assert f'cipher="{CIPHER.name}",kind="host"' in texts["host"].decode()
