"""A relay with few file descriptors and very many idle links: whoever comes new is served all the same."""

from __future__ import annotations

import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from onionshh.core.base.chance import Chance
from onionshh.core.base.drops import Drops
from onionshh.core.base.params import Params
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.link.link import LinkInitiator
from onionshh.core.link.outbox import Memory
from onionshh.core.trust import read_consensus_untrusted
from onionshh.net.authority_client import HttpSource
from onionshh.net.circuits import Circuit, CircuitSet
from onionshh.net.clocks import Clock
from onionshh.net.file_descriptors import MOST
from onionshh.net.links import LinkSet
from onionshh.net.network_file import read_network_file
from onionshh.net.tcp import TcpDialer
from onionshh.wire.consensus import RelayRow
from tests.net.world import Peer
from tests.system.processes import PATIENCE_SECONDS, Running, running

DESCRIPTORS = 100
ADDRESSES = 8
LINKS_EACH = 25


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[tuple[Running, Path]]:
    """A directory, and a relay that was started with a low soft limit; its network file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    file = tmp_path / "net.toml"
    with ExitStack() as stack:
        directory = stack.enter_context(
            running(
                *("directory", "--listen", "127.0.6.100:0", "--data", tmp_path / "directory"),
                *("--network", file),
            )
        )
        directory.until(lambda line: "0 relays listed" in line)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        try:
            process = stack.enter_context(
                running(
                    *("relay", "--network", file, "--listen", "127.0.6.1:0", "--bind", "127.0.6.1"),
                    *("--data", tmp_path / "relay"),
                )
            )
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        process.until(lambda line: line.endswith("listed") and "not" not in line)
        yield process, file


def limits(process: Running, new: tuple[int, int] | None = None) -> tuple[int, int]:
    """Soft and hard limit of its descriptors; other ones, if given."""
    pid = process.process.pid
    if new is not None:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, new)
    return resource.prlimit(pid, resource.RLIMIT_NOFILE)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="this system has no prlimit")
def test_a_newcomer_is_served_though_idle_links_took_all_descriptors(relay: tuple[Running, Path]) -> None:
    process, file = relay
    soft, hard = limits(process)
    assert soft == min(MOST, hard) or hard == resource.RLIM_INFINITY
    limits(process, (DESCRIPTORS, hard))
    trio.run(_crowd, file)
    taken = len(os.listdir(f"/proc/{process.process.pid}/fd")) if Path("/proc").exists() else 0
    assert taken < DESCRIPTORS * 3 / 4  # half of them for links, some for what a relay has without
    assert not any("no room" in line for line in process.errors)  # it never came to the last one


async def _crowd(file: Path) -> None:
    network = read_network_file(file)
    document = await HttpSource().consensus(network.authorities[0])
    (row,) = read_consensus_untrusted(document, network).relays
    async with _circuit(row, "127.0.6.60") as early:
        crowd = [
            peer
            for number in range(ADDRESSES)
            for peer in [await _idle(row, f"127.0.6.{10 + number}") for _ in range(LINKS_EACH)]
        ]
        for number in range(3):
            with trio.fail_after(PATIENCE_SECONDS):
                async with _circuit(row, f"127.0.6.{61 + number}") as late:
                    assert late.failed is None
        assert early.failed is None
        for peer in crowd:
            peer.stream.close()


async def _idle(row: RelayRow, address: str) -> Peer:
    """One open link without a circuit."""
    stream = await TcpDialer(address).dial(row.host, row.port)
    machine = LinkInitiator(
        responder=row.identity,
        onion_key=row.onion_key,
        identity=None,
        params=Params(),
        chance=Chance(os.urandom),
        now=trio.current_time(),
    )
    peer = Peer(stream, machine)
    peer.push(machine.data_to_send())
    with trio.fail_after(PATIENCE_SECONDS):
        await peer.read_until(lambda: peer.opened)
    return peer


@asynccontextmanager
async def _circuit(row: RelayRow, address: str) -> AsyncIterator[Circuit]:
    """A client of its own, and its circuit to that relay."""
    clock, memory, drops = Clock(), Memory(1 << 28), Drops()
    circuits = CircuitSet(clock=clock, params=Params, memory=memory, drops=drops, random_bytes=os.urandom)
    links = LinkSet(
        dialer=TcpDialer(address),
        clock=clock,
        sink=circuits,
        params=Params,
        chance=Chance(os.urandom),
        memory=memory,
        drops=drops,
    )
    circuits.flush = links.flush
    async with links.running():
        circuit = circuits.start(await links.to(row), Purpose.TEST, 1)
        await circuit.add(row)
        yield circuit
