"""What is exposed: names as Prometheus wants them, and how coarse each number is."""

from __future__ import annotations

import re

import pytest

from onionshh.cli.metrics import families
from onionshh.cli.metrics.families import EXACT, Family, Kind

ALL = [value for value in vars(families).values() if isinstance(value, Family)]

KNOWN_ANYWAY = frozenset(
    (
        # What the program is and may have.
        "onionshh_build_info",
        "onionshh_memory_quota_bytes",
        "onionshh_mailbox_room_bytes",
        # Anyone is told this who asks the directory, the relay or the ring.
        "onionshh_healthy",
        "onionshh_directory_relays",
        "onionshh_directory_clock_doubted",
        "onionshh_consensus_relays",
        "onionshh_mailbox_price_tries",
        "onionshh_endpoint_reachable",
        "onionshh_endpoint_effort_tries",
        "onionshh_endpoint_inbox_crowded",
        # Of the node itself, for months: its guards and introducers do not come and go with a visitor.
        "onionshh_host_online",
        "onionshh_guards_up",
        "onionshh_endpoint_introducers",
    )
)
"""The only ones that are exact."""


@pytest.mark.parametrize("family", ALL, ids=lambda family: family.name)
def test_names_follow_the_conventions(family: Family) -> None:
    assert re.fullmatch(r"onionshh_[a-z]+(_[a-z]+)*", family.name)
    assert not family.name.endswith(("_total", "_info", "_count", "_sum", "_bucket"))
    assert not re.search(r"milli|kilo|mebi|minutes|hours|percent", family.name)
    assert re.fullmatch(r"[A-Z1`].*\.", family.help)
    assert family.label in ("", "reason", "state", "kind", "answer", "status", "step")
    ending = {Kind.COUNTER: "_total", Kind.GAUGE: "", Kind.INFO: "_info"}[family.kind]
    assert family.exposed == family.name + ending


def test_no_two_have_one_name() -> None:
    assert len({family.exposed for family in ALL}) == len(ALL) > 40


def test_whatever_a_stranger_moves_is_rounded() -> None:
    assert {family.exposed for family in ALL if family.step == EXACT} == KNOWN_ANYWAY
