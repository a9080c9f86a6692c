"""Relays that are restarted by SIGTERM, one after the other, while whispers are on their way.

Each says when it begins to leave and when it has left, ends with status 0, and comes back at its address. All
whispers arrive, each once, and nobody does anything. A host that is ended by SIGTERM has all that it took.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import trio

import onionshh
from tests.system.processes import PATIENCE_SECONDS, Running, running, until

RELAYS = 8
RESTARTS = 6
DRAIN_SECONDS = 8
DELIVERED_SECONDS = 240
BETWEEN_SECONDS = 0.05


class Net:
    """A directory and relays that can be started again."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.file = folder / "net.toml"
        self._stack = stack
        self.ports: dict[int, str] = {}
        self.relays: dict[int, Running] = {}

    def relay(self, number: int) -> Running:
        port = self.ports.get(number, "0")
        process = self._stack.enter_context(
            running(
                *("relay", "--network", self.file, "--data", self.folder / f"relay{number}"),
                *("--listen", f"127.0.10.{number}:{port}", "--bind", f"127.0.10.{number}"),
                *("--nickname", f"relay{number}", "--drain-seconds", DRAIN_SECONDS),
            )
        )
        self.relays[number] = process
        line = process.until(lambda line: " links are taken at " in line)
        self.ports[number] = line.partition(" at ")[2].partition(";")[0].rpartition(":")[2]
        return process


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with ExitStack() as stack:
        made = Net(tmp_path, stack)
        directory = stack.enter_context(
            running(
                *("directory", "--listen", "127.0.10.100:0", "--data", tmp_path / "directory"),
                *("--network", made.file),
            )
        )
        directory.until(lambda line: "0 relays listed" in line)
        for number in range(1, RELAYS + 1):
            made.relay(number)
        for process in made.relays.values():
            process.until(lambda line: line.endswith(" listed"))
        yield made


def test_restarts_in_a_loop_lose_no_whisper(net: Net) -> None:
    trio.run(_whisper_and_restart, net)


async def _whisper_and_restart(net: Net) -> None:
    got: Counter[bytes] = Counter()
    receipts: list[onionshh.Receipt] = []

    async def read(endpoint: onionshh.Endpoint) -> None:
        async for whisper in endpoint:
            got[whisper.body] += 1

    async def speak(contact: onionshh.Contact) -> None:
        while True:
            receipts.append(contact.send(b"%d" % len(receipts), ttl_seconds=DELIVERED_SECONDS))
            await trio.sleep(BETWEEN_SECONDS)

    async with (
        onionshh.join(net.file, data_dir=net.folder / "host", bind="127.0.10.101") as host,
        onionshh.join(net.file, data_dir=net.folder / "visitor", bind="127.0.10.102") as visitor,
        host.host(net.folder / "identity") as endpoint,
        trio.open_nursery() as nursery,
        visitor.contact(endpoint.address, hops=2) as contact,
    ):
        with trio.fail_after(PATIENCE_SECONDS):
            await endpoint.reachable()
        nursery.start_soon(read, endpoint)
        async with trio.open_nursery() as load:
            load.start_soon(speak, contact)
            for turn in range(RESTARTS):
                number = turn % RELAYS + 1
                await trio.to_thread.run_sync(_restart, net, number)
            load.cancel_scope.cancel()
        with trio.fail_after(DELIVERED_SECONDS):
            for receipt in receipts:
                await receipt.final()
        assert Counter(receipt.status for receipt in receipts) == {"delivered": len(receipts)}
        with trio.fail_after(PATIENCE_SECONDS):
            while len(got) < len(receipts):
                await trio.sleep(0.1)
        await trio.sleep(0.5)
        assert set(got.values()) == {1}
        nursery.cancel_scope.cancel()


def _restart(net: Net, number: int) -> None:
    process = net.relays[number]
    began = time.monotonic()
    process.end()
    assert time.monotonic() - began < DRAIN_SECONDS + 5 or os.getloadavg()[0] > 4
    begin, end = process.lines[-2:]
    assert "leaving: no new circuits; " in begin
    assert "left after " in end
    net.relay(number)


def test_a_second_signal_ends_it_at_once_and_sigint_does_so_alone(net: Net) -> None:
    async def hold() -> None:
        """A circuit that is in use all the time: it holds a drain up."""
        async with (
            onionshh.join(net.file, data_dir=net.folder / "host", bind="127.0.10.101") as host,
            host.host(net.folder / "identity") as endpoint,
        ):
            await endpoint.reachable()
            await trio.to_thread.run_sync(signals)

    def signals() -> None:
        quick, slow = list(net.relays.values())[:2]
        quick.process.send_signal(signal.SIGINT)
        assert quick.wait() == 0
        assert not any("leaving" in line for line in quick.lines)
        slow.process.send_signal(signal.SIGTERM)
        with suppress(ProcessLookupError):
            slow.process.send_signal(signal.SIGTERM)
        assert slow.wait() in (0, -signal.SIGTERM)

    trio.run(hold)


def test_a_host_that_is_ended_has_answered_what_it_took(net: Net) -> None:
    """It is restarted while it is spoken to. Each whisper is acknowledged, and reaches the program."""
    taken = net.folder / "taken"
    program = net.folder / "program"
    program.write_text(f"#!/bin/sh\ncat >> {taken}\n")
    program.chmod(0o700)
    command = ("host", "--network", net.file, "--data", net.folder / "host", "--exec", program)

    async def visit() -> None:
        async with onionshh.join(net.file, data_dir=net.folder / "visitor", bind="127.0.10.102") as visitor:
            with running(*command) as host:
                address = host.until(lambda line: " endpoint shh1" in line).split()[-1]
                await trio.to_thread.run_sync(lambda: host.until(lambda line: " reachable through " in line))
                async with visitor.contact(address) as contact:
                    receipts = []
                    for number in range(30):
                        receipts.append(contact.send(b"%02d;" % number, ttl_seconds=DELIVERED_SECONDS))
                        await trio.sleep(BETWEEN_SECONDS)
                    host.process.send_signal(signal.SIGTERM)
                    assert await trio.to_thread.run_sync(host.wait) == 0
                    with running(*command) as again:
                        again.until(lambda line: " endpoint shh1" in line)
                        with trio.fail_after(DELIVERED_SECONDS):
                            for receipt in receipts:
                                await receipt.final()
                        assert {receipt.status for receipt in receipts} == {"delivered"}
                        await trio.to_thread.run_sync(until, lambda: len(taken.read_bytes()) >= 90)
        found = taken.read_bytes().split(b";")[:-1]
        assert sorted(set(found)) == [b"%02d" % number for number in range(30)]

    trio.run(visit)


def test_a_service_manager_hears_of_all_three(net: Net) -> None:
    """READY when it is true, how each stands, and STOPPING when it ends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, pytest.MonkeyPatch.context() as patch:
        name = str(net.folder / "notify")
        manager.bind(name)
        manager.settimeout(PATIENCE_SECONDS)
        patch.setenv("NOTIFY_SOCKET", name)
        patch.setenv("WATCHDOG_USEC", "200000")

        def until_said(wanted: str) -> None:
            while wanted not in manager.recv(65536).decode():
                pass

        network = net.folder / "other.toml"
        directory = ("directory", "--listen", "127.0.10.100:0", "--data", net.folder / "d2")
        relay = ("relay", "--listen", "127.0.10.20:0", "--data", net.folder / "r2", "--network", net.file)
        host = ("host", "--json", "--data", net.folder / "h2", "--network", net.file)
        with running(*directory, "--network", network) as first:
            until_said("READY=1\nSTATUS=answers")
            until_said("WATCHDOG=1")
            first.end()
            until_said("STOPPING=1")
        with running(*relay) as second:
            until_said("READY=1\nSTATUS=links are taken")
            until_said("STATUS=listed")
            until_said("WATCHDOG=1")
            second.end()
            until_said("STOPPING=1")
            until_said("STATUS=leaving: no new circuits")
        with running(*host) as third:
            until_said("READY=1\nSTATUS=hosting")
            until_said("STATUS=reachable through ")
            until_said("WATCHDOG=1")
            third.end()
            until_said("STOPPING=1")
        assert json.loads(third.lines[0])["event"] == "address"
