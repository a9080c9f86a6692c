"""A database of a meeting that dies after any of its syncs: after a restart they meet or go on, nothing is
lost that a receipt acknowledged, and nothing is heard twice (SPEC 14). Whole networks in virtual time."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.meeting.meeting import Meeting
from onionshh.client.receipt import Receipt
from onionshh.errors import BadData, Closed, Full
from tests.client.dying import DyingDisk
from tests.client.meeting.meetings import HOUR, Program, both_met, delivered, network

DEATHS = {"meeting.db": (1, 2, 4, 6, 8, 11, 15, 20), "board.db": (1, 2, 4, 7)}
"""By file: after how many commits the disk dies. A meeting and some words take about as many."""


class Said:
    """What one of the two said, by its body."""

    def __init__(self) -> None:
        self.receipts: dict[bytes, Receipt] = {}

    def say(self, meeting: Meeting, body: bytes) -> None:
        """Send it, if the disk takes it."""
        with suppress(BadData, Closed, Full):
            self.receipts[body] = meeting.send(body, ttl_seconds=12 * HOUR)

    @property
    def delivered(self) -> set[bytes]:
        return {body for body, receipt in self.receipts.items() if receipt.status == "delivered"}


async def talk(disk: DyingDisk, left: Meeting, right: Meeting, said: tuple[Said, Said]) -> None:
    """Both speak now and then, in one cell and in more, until the disk is dead, and a moment longer."""
    for number in range(8):
        said[0].say(left, b"left %d" % number)
        said[1].say(right, b"right %d" % number + bytes(600 * (number % 2)))
        for _ in range(3):
            await trio.sleep(15)
            if disk.dead:
                await trio.sleep(15)
                return


@pytest.mark.parametrize("file_name, folder", [("meeting.db", "meetings"), ("board.db", "boards")])
async def test_a_named_side_may_die_after_any_sync(
    file_name: str, folder: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = DyingDisk(monkeypatch, file_name)
    async with network() as net, net.join("one") as left_node, net.join("other") as right_node:
        for number in DEATHS[file_name]:
            secret, one, other, said = bytes((number,)) * 32, Program(), Program(), (Said(), Said())
            async with one.at(left_node, secret=secret) as left:
                disk.dies_after(number, net.folder / "other" / folder)
                with suppress(BadData):
                    async with other.at(right_node, "press", secret) as right:
                        await talk(disk, left, right, said)
                assert disk.dead
                acknowledged = said[0].delivered | said[1].delivered
                disk.restore()
                async with other.at(right_node, "press", secret) as right:
                    await both_met(left, right)
                    again = [right.receipt(one.id) for one in right.pending()]
                    last = [left.send(b"left last"), right.send(b"right last")]
                    await delivered(*last)
                    await delivered(*said[0].receipts.values(), *filter(None, again), seconds=2 * HOUR)
                    await trio.sleep(60)
                assert acknowledged <= {*one.bodies, *other.bodies}
                assert not [body for body, count in Counter(one.bodies).items() if count > 1]
                assert not [body for body, count in Counter(other.bodies).items() if count > 1]
