"""Twelve relay processes, four of them killed with SIGKILL while two hundred whispers are on their way.

Among the four are the rendezvous point in use, the visitor's guard on the way to it and an introducer. All
whispers arrive, each once, over paths of three hops, and nobody does anything.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

import onionshh
from tests.system.processes import PATIENCE_SECONDS, Running, running

RELAYS = 12
WHISPERS = 200
DELIVERED_SECONDS = 240


class Relays:
    """The relay processes by identity, and the network file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.by_id: dict[str, Running] = {}


@pytest.fixture
def relays(tmp_path: Path) -> Iterator[Relays]:
    made = Relays(tmp_path / "net.toml")
    with ExitStack() as stack:
        authority = stack.enter_context(
            running(
                *("directory", "--listen", "127.0.8.100:0", "--data", tmp_path / "directory"),
                *("--network", made.file),
            )
        )
        authority.until(lambda line: "0 relays listed" in line)
        started = []
        for number in range(1, RELAYS + 1):
            address = f"127.0.8.{number}"
            started.append(
                stack.enter_context(
                    running(
                        *("relay", "--network", made.file, "--listen", f"{address}:0", "--bind", address),
                        *("--data", tmp_path / f"relay{number}", "--nickname", f"relay{number}"),
                    )
                )
            )
        for process in started:
            found = re.search("id ([0-9a-f]{64})", process.until(lambda line: " id " in line))
            assert found is not None
            made.by_id[found.group(1)] = process
            process.until(lambda line: line.endswith("listed") and "not" not in line)
        yield made


def test_two_hundred_whispers_outlive_four_relays(relays: Relays, tmp_path: Path) -> None:
    trio.run(_whisper_and_kill, relays, tmp_path)


async def _whisper_and_kill(relays: Relays, folder: Path) -> None:
    got: Counter[bytes] = Counter()

    async def read(endpoint: onionshh.Endpoint) -> None:
        async for whisper in endpoint:
            got[whisper.body[:4]] += 1

    async with (
        onionshh.join(relays.file, data_dir=folder / "host", bind="127.0.8.101") as host,
        onionshh.join(relays.file, data_dir=folder / "visitor", bind="127.0.8.102") as visitor,
        host.host(folder / "identity") as endpoint,
        trio.open_nursery() as nursery,
        visitor.contact(endpoint.address, hops=3) as contact,
    ):
        with trio.fail_after(PATIENCE_SECONDS):
            await endpoint.reachable()
        nursery.start_soon(read, endpoint)
        receipts = []
        for number in range(WHISPERS):
            receipts.append(contact.send(number.to_bytes(4, "big") + bytes(252)))
            if number == WHISPERS // 2:
                await receipts[number // 2].final()
                _kill_four(relays, host, visitor)
            await trio.sleep(0.01)
        with trio.fail_after(DELIVERED_SECONDS):
            for receipt in receipts:
                await receipt.final()
        assert Counter(receipt.status for receipt in receipts) == {"delivered": WHISPERS}
        assert {receipt.hops for receipt in receipts} == {3}
        with trio.fail_after(PATIENCE_SECONDS):
            while len(got) < WHISPERS:  # acknowledged is on disk; the program reads on
                await trio.sleep(0.1)
        await trio.sleep(0.5)
        assert set(got.values()) == {1}
        nursery.cancel_scope.cancel()


def _kill_four(relays: Relays, host: onionshh.Node, visitor: onionshh.Node) -> None:
    meeting = next(one for one in visitor.circuits() if one.purpose == "rendezvous")
    doomed = [meeting.relays[-1], meeting.relays[0]]
    introducers = [one.relays[-1] for one in host.circuits() if one.purpose == "introducer"]
    doomed.append(next(one for one in introducers if one not in doomed))
    doomed.append(next(one for one in relays.by_id if one not in doomed))
    for identity in doomed:
        relays.by_id[identity].kill()
