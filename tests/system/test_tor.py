"""Relays that have only an onion address, in a private network of C tor, between real processes."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from onionshh.core.base.chance import Chance
from onionshh.core.paths.guards import GuardSet
from onionshh.core.paths.view import View
from onionshh.core.trust import read_consensus_untrusted
from onionshh.net.guard_file import OVER_TOR_FILES
from onionshh.net.network_file import read_network_file
from tests.benchmarks import ctor
from tests.seeded import seeded
from tests.system.processes import COMMAND, PATIENCE_SECONDS, Running, running, until

pytestmark = [
    pytest.mark.skipif(ctor.available() is not None, reason="C tor is not installed"),
    pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning"),  # of stem
]

HOST = "127.0.12"
OPEN, HIDDEN = 4, 2


@dataclass
class Network:
    """A directory that goes over tor, relays with IP addresses, and relays with an onion service alone."""

    folder: Path
    tor: ctor.TorNetwork
    stack: ExitStack
    hidden: list[Running] = field(default_factory=list)
    address: str = ""

    @property
    def file(self) -> Path:
        return self.folder / "net.toml"

    @property
    def via(self) -> tuple[str, str]:
        return "--via", f"tor=127.0.0.1:{self.tor.socks_port}"

    def start(self, *command: object) -> Running:
        return self.stack.enter_context(running(*command))

    def start_hidden(self, number: int) -> Running:
        control = f"127.0.0.1:{self.tor.control_port('service')}"
        name = f"hidden{number}"
        command = ("relay", "--network", self.file, "--onion", control, "--data", self.folder / name)
        return self.start(*command, "--nickname", name, "--metrics", "0")

    def rows(self, *options: object) -> list[dict[str, Any]]:
        done = subprocess.run(
            [*COMMAND, "relays", "--network", str(self.file), "--json", *map(str, options)],
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            check=True,
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    def onions(self) -> dict[str, str]:
        """Nickname and address of the relays that have no other."""
        rows = [row for row in self.rows() if ".onion:" in row["address"]]
        assert all(row["addresses"] == [row["address"]] for row in rows)
        return {row["nickname"]: row["address"] for row in rows}

    def whisper(self, data: Path, *options: object) -> subprocess.CompletedProcess[bytes]:
        """It has longer than C tor waits for a service that has moved (120 s)."""
        common = ("--network", self.file, "--data", data, "--ttl", "240s", "--wait", "240s")
        return subprocess.run(
            [*COMMAND, *map(str, ("whisper", self.address, "hello", *common, *options))],
            capture_output=True,
            timeout=240 + PATIENCE_SECONDS,
            check=False,
        )


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    folder = tmp_path_factory.mktemp("tor")
    with ExitStack() as stack:
        tor = ctor.TorNetwork(folder / "tor", 5)
        stack.callback(tor.stop)
        net = Network(folder, tor, stack)
        directory = net.start(
            *("directory", "--listen", f"{HOST}.100:0", "--data", folder / "directory"),
            *("--network", net.file, *net.via),
        )
        directory.until(lambda line: "0 relays listed" in line)
        relays = [
            net.start(
                *("relay", "--network", net.file, "--listen", f"{HOST}.{n}:0", "--bind", f"{HOST}.{n}"),
                *("--data", folder / f"open{n}", "--nickname", f"open{n}"),
            )
            for n in range(1, OPEN + 1)
        ]
        net.hidden = [net.start_hidden(n) for n in range(HIDDEN)]
        host = net.start("host", "--network", net.file, "--data", folder / "host", "--echo", "--json")
        for relay in (*relays, *net.hidden):
            relay.until(lambda line: line.endswith(" listed"))
        net.address = host.event("address")["address"]
        host.event("reachable")
        yield net


def guarded_by_the_hidden(net: Network, data: Path) -> None:
    """A visitor's folder in which both guards in use are relays that only tor reaches."""
    document = (net.folder / "directory" / "consensus").read_bytes()
    consensus = read_consensus_untrusted(document, read_network_file(net.file))
    rows = tuple(row for row in consensus.relays if row.only_over_tor)
    assert len(rows) == HIDDEN
    guards = GuardSet()
    view = View(replace(consensus, relays=rows))
    guards.update(view, consensus.valid_after, Chance(seeded(1)), over_tor=True)
    assert set(guards.sample) == {row.identity for row in rows}
    data.mkdir()
    (data / OVER_TOR_FILES[0]).write_bytes(guards.to_document())


def forwarded(relay: Running) -> int:
    before = len(relay.lines)
    relay.process.send_signal(signal.SIGUSR1)
    return int(relay.statistics(after=before)["cells_forwarded"])


def test_relays_with_an_onion_address_alone_carry_whispers(network: Network, tmp_path: Path) -> None:
    assert set(network.onions()) == {"hidden0", "hidden1"}
    before = sum(map(forwarded, network.hidden))
    guarded_by_the_hidden(network, tmp_path / "v")
    done = network.whisper(tmp_path / "v", *network.via)
    assert (done.returncode, done.stdout) == (0, b"hello"), done.stderr
    assert sum(map(forwarded, network.hidden)) > before


def test_their_health_is_told_beside_the_onion_service(network: Network) -> None:
    line = network.hidden[1].until(
        lambda line: "numbers for Prometheus are at" in line, of=network.hidden[1].errors
    )
    with urllib.request.urlopen(line.split()[-1].replace("/metrics", "/health")) as answer:
        assert (answer.status, answer.read()) == (200, b"ok\n")


def test_a_directory_says_what_it_knows_of_them(network: Network) -> None:
    identity = next(row["id"] for row in network.rows() if row["nickname"] == "hidden1")
    why = [*COMMAND, "relays", "--network", str(network.file), "--json", "--why", identity]
    done = subprocess.run(why, capture_output=True, timeout=PATIENCE_SECONDS, check=True)
    [place] = json.loads(done.stdout)["places"]
    assert place == {"address": network.onions()["hidden1"], "answered": True, "why": ""}


def test_nodes_without_tor_never_meet_them(network: Network, tmp_path: Path) -> None:
    before = sum(map(forwarded, network.hidden))
    done = network.whisper(tmp_path / "v")
    assert (done.returncode, done.stdout) == (0, b"hello"), done.stderr
    assert sum(map(forwarded, network.hidden)) == before


def test_the_address_outlives_the_relay_and_tor(network: Network, tmp_path: Path) -> None:
    before = network.onions()
    network.hidden[0].end()
    network.hidden[0] = network.start_hidden(0)
    network.hidden[0].until(lambda line: line.endswith(" listed"))
    marks = [len(relay.lines) for relay in network.hidden]
    network.tor.end("service")
    for relay, mark in zip(network.hidden, marks, strict=True):
        relay.until(lambda line: "the onion service has gone with tor" in line, after=mark)
    network.tor.run_again("service")
    for relay, mark in zip(network.hidden, marks, strict=True):
        relay.until(lambda line: "the onion service is up again" in line, after=mark)
    until(lambda: network.onions() == before)
    guarded_by_the_hidden(network, tmp_path / "v")
    done = network.whisper(tmp_path / "v", *network.via)
    assert (done.returncode, done.stdout) == (0, b"hello"), done.stderr
