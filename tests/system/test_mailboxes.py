"""A relay process that keeps mailboxes, killed with SIGKILL again and again while deposits come.

Whatever it acknowledged is there after every start. What has expired is in none of its files within a second,
also after a start at which it had expired already.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

import onionshh
from onionshh.client.context import Context
from onionshh.core.mailbox.item import ItemKey
from onionshh.crypto.identity import SigningKey
from onionshh.errors import NetworkUnreachable
from onionshh.geometry import MAILBOX_VALUE
from onionshh.net.circuits import CircuitFailed
from onionshh.wire import mailbox as w
from onionshh.wire.consensus import RelayRow
from tests.inside import inside
from tests.rendezvous.mailbox_client import ask, circuit_to, deposit, put, put_once
from tests.seeded import seeded
from tests.system.processes import PATIENCE_SECONDS, Running, running

RELAYS = 4
LIVES = 2
DEPOSITORS = 3
LIFE_SECONDS = 1.5
BRIEF_SECONDS = 75
"""Longer than all the lives take."""
LATER_SECONDS = 30
OWNER = SigningKey.generate(seeded(41))


class Keeper:
    """The relay process that is killed, and starts again at the same port with the same folder."""

    def __init__(self, file: Path, folder: Path) -> None:
        self.file = file
        self.folder = folder
        self.listen = "127.0.9.1:0"
        self.process = self._start()
        line = self.process.until(lambda line: "links are taken at" in line)
        found = re.search(r"127\.0\.9\.1:\d+", line)
        assert found is not None
        self.listen = found[0]
        self.process.until(lambda line: line.endswith("listed") and "not" not in line)
        self.identity = bytes.fromhex(re.findall("id ([0-9a-f]{64})", "\n".join(self.process.lines))[0])

    def start(self) -> None:
        self.process = self._start()
        self.process.until(lambda line: "links are taken at" in line)

    def kill(self) -> None:
        self.process.kill()
        self.process.destroy()

    def holds(self, value: bytes) -> bool:
        """Whether any file of its folder has the start of this value."""
        return any(value[:64] in path.read_bytes() for path in self.folder.iterdir() if path.is_file())

    def _start(self) -> Running:
        return Running(
            *("relay", "--network", self.file, "--listen", self.listen, "--bind", "127.0.9.1"),
            *("--data", self.folder, "--nickname", "keeper"),
        )


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    file = tmp_path / "net.toml"
    with ExitStack() as stack:
        authority = stack.enter_context(
            running(
                *("directory", "--listen", "127.0.9.100:0", "--data", tmp_path / "directory"),
                *("--network", file),
            )
        )
        authority.until(lambda line: "0 relays listed" in line)
        others = [
            stack.enter_context(
                running(
                    *("relay", "--network", file, "--listen", f"127.0.9.{number}:0"),
                    *("--bind", f"127.0.9.{number}", "--data", tmp_path / f"relay{number}"),
                )
            )
            for number in range(2, RELAYS + 2)
        ]
        made = Keeper(file, tmp_path / "keeper")
        for process in others:
            process.until(lambda line: line.endswith("listed") and "not" not in line)
        yield made
        made.process.destroy()


def test_what_was_acknowledged_is_there_after_each_kill_and_what_expired_is_nowhere(
    keeper: Keeper, tmp_path: Path
) -> None:
    trio.run(_kill_again_and_again, keeper, tmp_path)


async def _kill_again_and_again(keeper: Keeper, folder: Path) -> None:
    async with onionshh.join(keeper.file, data_dir=folder / "node", bind="127.0.9.101") as node:
        context = inside(node)
        with trio.fail_after(PATIENCE_SECONDS):
            while (row := context.view.relay(keeper.identity)) is None:
                await trio.sleep(0.1)
        board = w.Mailbox(w.BOARD, OWNER.public, context.view.period)
        brief = _item(context, board, 1_000_001, BRIEF_SECONDS)
        late = _item(context, board, 1_000_002, BRIEF_SECONDS + LATER_SECONDS)
        for item in (brief, late):
            assert (await _until_answered(context, row, item)).status == w.STORED
        stored: set[bytes] = set()
        for life in range(LIVES):
            async with trio.open_nursery() as nursery:
                for number in range(DEPOSITORS):
                    nursery.start_soon(_deposit, context, row, board, 1000 * life + 100 * number, stored)
                await trio.sleep(LIFE_SECONDS + 0.37 * life)
                keeper.kill()  # while they deposit
                before = len(stored)
                nursery.cancel_scope.cancel()
            keeper.start()
            assert before > 3 * (life + 1)
            assert stored <= await _listed(context, row, board)
        assert keeper.holds(brief.value)
        # It runs while the first item expires.
        await trio.sleep(brief.expires + 1 - time.time())
        assert not keeper.holds(brief.value)
        listed = await _listed(context, row, board)
        assert brief.item_id not in listed
        assert stored <= listed
        # And does not run while another one does.
        keeper.kill()
        assert keeper.holds(late.value)
        await trio.sleep(late.expires + 1 - time.time())
        keeper.start()
        assert await _listed(context, row, board) == listed - {late.item_id}
        await trio.sleep(1)
        assert not keeper.holds(late.value)
        keeper.process.process.send_signal(10)
        assert keeper.process.statistics()["roles"]["mailbox_items"] == len(listed) - 1
        keeper.process.end()


def _value(number: int) -> bytes:
    return (b"deposit %08d " % number * MAILBOX_VALUE)[:MAILBOX_VALUE]


def _item(context: Context, board: w.Mailbox, number: int, seconds: int) -> w.Put:
    return deposit(
        context,
        board,
        _value(number),
        effort=24,
        expires=int(time.time()) + seconds,
        key=ItemKey.generate(seeded(number)),
    )


async def _deposit(context: Context, row: RelayRow, board: w.Mailbox, first: int, stored: set[bytes]) -> None:
    """One after the other over one circuit, and over another one when that has ended."""
    number = first
    while True:
        try:
            circuit = await circuit_to(context, row)
            while True:
                item = _item(context, board, number, 3600)
                number += 1
                if (await put(circuit, item)).status == w.STORED:
                    stored.add(item.item_id)
        except (CircuitFailed, NetworkUnreachable):
            await trio.sleep(0.05)


async def _until_answered(context: Context, row: RelayRow, item: w.Put) -> w.Kept:
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            try:
                return await put_once(context, row, item)
            except (CircuitFailed, NetworkUnreachable):
                await trio.sleep(0.2)


async def _listed(context: Context, row: RelayRow, board: w.Mailbox) -> set[bytes]:
    """Every id that the relay shows, once it answers again; each value is read too."""
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            try:
                circuit = await circuit_to(context, row)
                heads, after = set[bytes](), 0
                while found := (await ask(circuit, row, board, OWNER, after=after)).heads:
                    heads |= {head.item_id for head in found}
                    after = found[-1].number
                values, after = set[bytes](), 0
                while True:
                    page = await ask(circuit, row, board, OWNER, mode=w.VALUES, after=after)
                    if not page.items:
                        break
                    values |= {item.item_id for item in page.items}
                    after = page.next
                assert values == heads
                circuit.close()
            except (CircuitFailed, NetworkUnreachable):
                await trio.sleep(0.2)
            else:
                return heads
