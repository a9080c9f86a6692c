"""Programs that run for months: what is done to them from outside, and they go on.

Real processes and signals, stdout that cannot be written, limits that are lowered while they run.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

import onionshh
from onionshh.crypto.uiv import CIPHER
from onionshh.geometry import LINK_FLIGHT
from onionshh.reasons import Reason
from tests.system.processes import COMMAND, PATIENCE_SECONDS, Running, heeds, running, until

RELAYS = 4
KEPT = "a whisper is kept and tried again: "
FULL = "a whisper cannot be taken or finished"
STUCK = "stdout cannot be written"


class Network:
    """A directory and a few relays, as their operators run them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "net.toml"
        self.directory: Running
        self.relays: list[Running] = []

    def host(self, name: str, *options: object) -> tuple[object, ...]:
        return ("host", "--network", self.file, "--data", self.folder / name, *options)

    def relay(self, name: str) -> tuple[object, ...]:
        return (
            *("relay", "--network", self.file, "--data", self.folder / name),
            *("--listen", "127.0.8.50:0", "--nickname", name),
        )

    def whisper(self, address: str, body: str, *options: object) -> subprocess.CompletedProcess[str]:
        common = ("--network", self.file, "--data", self.folder / "visitor")
        command = ("whisper", address, body, *common, *options)
        return subprocess.run(
            [*COMMAND, *map(str, command)],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    net = Network(tmp_path_factory.mktemp("network"))
    with ExitStack() as stack:
        net.directory = stack.enter_context(
            running(
                *("directory", "--listen", "127.0.8.100:0", "--data", net.folder / "directory"),
                *("--network", net.file),
            )
        )
        net.directory.until(lambda line: "0 relays listed" in line)
        for n in range(1, RELAYS + 1):
            command = ("relay", "--network", net.file, "--listen", f"127.0.8.{n}:0")
            data = ("--data", net.folder / f"relay{n}", "--nickname", f"relay{n}")
            net.relays.append(stack.enter_context(running(*command, *data)))
        for relay in net.relays:
            relay.until(lambda line: line.endswith(" listed"))
        yield net


def reached(host: Running) -> str:
    """Its address, once strangers reach it."""
    address = host.until(lambda line: " endpoint shh1" in line).split()[-1]
    host.until(lambda line: " reachable through " in line)
    return address


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


# From "shown" to "handled".


def test_a_program_that_is_missing_for_a_while_costs_no_whisper(network: Network, tmp_path: Path) -> None:
    path = program(tmp_path / "program", "cat")
    with running(*network.host("exec", "--exec", path)) as host:
        address = reached(host)
        assert network.whisper(address, "one").stdout == "one"
        away = path.rename(tmp_path / "away")
        assert network.whisper(address, "two", "--wait", 0).returncode == 0
        host.until(lambda line: f"{KEPT}the program cannot be started: No such file" in line, of=host.errors)
        away.rename(path)
        host.until(lambda line: "every whisper that was kept is handled" in line, of=host.errors)
        assert network.whisper(address, "three").stdout == "three"
        assert len(host.errors) == 2


def test_what_a_program_has_not_handled_is_there_after_a_restart(network: Network, tmp_path: Path) -> None:
    done = tmp_path / "done"
    path = program(tmp_path / "program", "kill -9 $$")
    command = network.host("restarted", "--exec", path)
    with running(*command) as host:
        address = reached(host)
        assert network.whisper(address, "kept", "--wait", 0).returncode == 0
        host.until(lambda line: f"{KEPT}the program was ended by signal 9" in line, of=host.errors)
    program(path, f"cat >> {done}")
    with running(*command) as host:
        host.until(lambda line: "whisper of 4 bytes" in line)
        assert network.whisper(address, "next").returncode == 0
    assert sorted(done.read_text()[at : at + 4] for at in (0, 4)) == ["kept", "next"]


@contextmanager
def limited(host: Running, which: int, most: int) -> Iterator[None]:
    """A running process with less of something."""
    before = resource.prlimit(host.process.pid, which)
    resource.prlimit(host.process.pid, which, (most, before[1]))
    try:
        yield
    finally:
        resource.prlimit(host.process.pid, which, before)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process: Linux only")
def test_a_full_disk_ends_no_way_of_handling(network: Network) -> None:
    """No file may grow, as when the disk is full; then it may again. The visitor is there all the time: of
    a new one the endpoint could not even keep the introduction."""
    bodies = [b"%d" % number * 20_000 for number in range(3)]

    async def visit(node: onionshh.Node, host: Running, address: str, replies: bool) -> None:
        async with node.contact(address) as contact:
            assert (await contact.whisper(b"before")).status == "delivered"
            with limited(host, resource.RLIMIT_FSIZE, 4096):
                receipts = [contact.send(body, ttl_seconds=600) for body in bodies]
                with trio.fail_after(PATIENCE_SECONDS):
                    while not any(FULL in line for line in host.errors):
                        await trio.sleep(0.1)
                assert host.process.poll() is None
                assert [receipt.reply_body for receipt in receipts] == [None] * 3
            with trio.fail_after(PATIENCE_SECONDS):
                for receipt, body in zip(receipts, bodies, strict=True):
                    if replies:
                        assert await receipt.reply() == body
                    await receipt.final()
                    assert receipt.status == "delivered"

    async def visit_all(hosts: dict[str, Running]) -> None:
        async with onionshh.join(network.file, data_dir=network.folder / "visitor") as node:
            async with trio.open_nursery() as nursery:
                for way, host in hosts.items():
                    nursery.start_soon(visit, node, host, addresses[way], way in ("echo", "exec"))

    ways = {"echo": ("--echo",), "exec": ("--exec", "cat"), "json": ("--json",), "people": ()}
    with ExitStack() as stack:
        hosts = {
            way: stack.enter_context(running(*network.host(f"full-{way}", *options)))
            for way, options in ways.items()
        }
        addresses = {way: reached(host) for way, host in hosts.items() if way != "json"}
        addresses["json"] = hosts["json"].event("address")["address"]
        hosts["json"].event("reachable")
        trio.run(visit_all, hosts)
        hosts["people"].until(lambda line: line == "  | " + "2" * 20_000)
        hosts["json"].until(lambda line: "2" * 20_000 in line)
        for host in hosts.values():
            host.end()
            assert len(host.errors) < 8


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process: Linux only")
def test_a_host_without_descriptors_keeps_what_it_cannot_hand_on(network: Network) -> None:
    with running(*network.host("descriptors", "--exec", "cat")) as host:
        address = reached(host)
        assert network.whisper(address, "one").stdout == "one"
        used = len(os.listdir(f"/proc/{host.process.pid}/fd"))
        with limited(host, resource.RLIMIT_NOFILE, used):
            network.whisper(address, "two", "--wait", 5)
            host.until(lambda line: "Too many open files" in line, of=host.errors)
        host.until(lambda line: "every whisper that was kept is handled" in line, of=host.errors)
        assert network.whisper(address, "three").stdout == "three"


# Standard output is not the service.


@contextmanager
def silent(end: str) -> Iterator[int]:
    """A descriptor that takes nothing."""
    if end == "full":
        with open("/dev/full", "wb") as full:
            yield full.fileno()
        return
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb") as writer:
        if end == "gone":
            reader.close()
        else:  # nobody reads, and it holds no more
            os.set_blocking(writing, False)
            with suppress(BlockingIOError):
                while True:
                    os.write(writing, bytes(65536))
            os.set_blocking(writing, True)
        yield writer.fileno()


@pytest.mark.parametrize("end", ["full", "gone", "unread"])
@pytest.mark.parametrize("which", ["directory", "relay", "host", "json"])
def test_a_daemon_without_a_voice_goes_on(network: Network, tmp_path: Path, end: str, which: str) -> None:
    commands = {
        "directory": (
            "directory",
            "--listen",
            "127.0.8.101:0",
            "--data",
            tmp_path / "d",
            "--network",
            tmp_path / "n",
        ),
        "relay": ("relay", "--network", network.file, "--data", tmp_path / "r", "--listen", "127.0.8.51:0"),
        "host": ("host", "--network", network.file, "--data", tmp_path / "h", "--echo"),
        "json": ("host", "--network", network.file, "--data", tmp_path / "j", "--json"),
    }
    with silent(end) as stdout, running(*commands[which], stdout=stdout) as daemon:
        # `host` says what it can in passing: of a pipe that is merely full it says nothing.
        says = end != "unread" or which in ("directory", "relay")
        if says:
            daemon.until(lambda line: STUCK in line, of=daemon.errors)
        else:
            until(lambda: heeds(daemon, signal.SIGTERM))
            time.sleep(2.0)
        daemon.process.send_signal(signal.SIGUSR1)
        time.sleep(0.5)
        assert daemon.process.poll() is None
        daemon.end()
    assert not any("Exception" in line for line in daemon.errors)
    assert len([line for line in daemon.errors if STUCK in line]) == says
    assert len(daemon.errors) <= 3  # with why it ended


def test_a_host_whose_stderr_is_full_too_still_answers(network: Network) -> None:
    with open("/dev/full", "wb") as full, running(*network.host("loud", "--echo")) as host:
        address = reached(host)
        host.end()
        mute = subprocess.Popen(
            [*COMMAND, *map(str, network.host("loud", "--echo"))],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=full,
        )
        try:
            assert network.whisper(address, "still there", "--wait", 30).stdout == "still there"
            mute.send_signal(signal.SIGTERM)
            assert mute.wait(PATIENCE_SECONDS) == 0
        finally:
            mute.kill()
            mute.wait()


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_what_could_not_be_shown_is_shown_after_a_restart(network: Network, options: tuple[str, ...]) -> None:
    """The reader takes the first line and leaves, as `head -1` does."""
    command = network.host(f"unshown{len(options)}", *options)
    reading, writing = os.pipe()
    with running(*command, stdout=writing) as host:
        os.close(writing)
        with os.fdopen(reading) as lines:
            first = next(lines)
        address = json.loads(first)["address"] if options else first.split()[-1]
        assert network.whisper(address, "kept", "--wait", 0).returncode == 0
        host.until(lambda line: f"{STUCK} (Broken pipe)" in line, of=host.errors)
        host.end()
    assert len([line for line in host.errors if STUCK in line]) == 1
    with running(*command) as again:
        again.until(lambda line: line == "  | kept" or '"body": "kept"' in line)


@pytest.mark.parametrize("closed", [(1,), (1, 2), (0, 1, 2)])
def test_what_was_closed_at_the_start_is_nobody_elses_file(network: Network, closed: tuple[int, ...]) -> None:
    """No line for people ends up in a database that got the number of stdout."""
    name = f"closed{len(closed)}"
    shell = " ".join(f"{number}>&-" for number in closed)
    command = " ".join(f"'{one}'" for one in (*COMMAND, *map(str, network.host(name))))
    with running(*network.host(name)) as host:
        address = reached(host)
    mute = subprocess.Popen(["sh", "-c", f"exec {command} {shell}"])
    try:
        assert network.whisper(address, "kept", "--wait", 0).returncode == 0
        mute.send_signal(signal.SIGTERM)
        assert mute.wait(PATIENCE_SECONDS) == 0
    finally:
        mute.kill()
        mute.wait()
    with running(*network.host(name)) as host:
        host.until(lambda line: line == "  | kept")


# Signals.


def test_statistics_on_a_signal(network: Network) -> None:
    with running(*network.host("asked", "--echo")) as host:
        address = reached(host)
        assert network.whisper(address, "x").returncode == 0
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            before = len(host.lines)
            host.process.send_signal(number)
            numbers = host.statistics(after=before)
            assert (numbers["kind"], numbers["version"]) == ("host", 1)
            assert (numbers["joined"], numbers["reachable"], numbers["online"]) == (True, True, True)
            assert (numbers["taken"], numbers["finished"], numbers["unfinished"]) == (1, 1, 0)
            assert numbers["introducers"] > 0
            says_nothing_but_numbers(numbers)


def test_a_directory_counts_what_it_lists_and_answers(network: Network) -> None:
    network.directory.process.send_signal(signal.SIGUSR1)
    numbers = network.directory.statistics()
    assert (numbers["kind"], numbers["version"]) == ("directory", 1)
    assert numbers["relays_listed"] == RELAYS <= numbers["relays_known"]
    assert numbers["consensus_age_seconds"] in range(60)
    assert numbers["answers"]["200"] > RELAYS
    says_nothing_but_numbers(numbers)


def test_a_relay_counts_its_drops_by_their_names(network: Network) -> None:
    relay = network.relays[0]
    line = relay.until(lambda line: " links are taken at " in line)
    host, port = line.partition(" at ")[2].partition(";")[0].split(":")

    def numbers() -> dict[str, Any]:
        before = len(relay.lines)
        relay.process.send_signal(signal.SIGUSR1)
        return relay.statistics(after=before)

    known = numbers()["drops"].get(Reason.HANDSHAKE_UNKNOWN_KEY, 0)
    with socket.create_connection((host, int(port)), 10) as stranger:
        stranger.sendall(bytes(LINK_FLIGHT))  # of the right length, for a key that nobody has
        assert stranger.recv(1) == b""
    said = numbers()
    assert (said["kind"], said["version"]) == ("relay", 1)
    assert said["drops"][Reason.HANDSHAKE_UNKNOWN_KEY] == known + 1
    assert said["links"]["cells_sent"] >= said["links"]["frames_sent"] > 0
    assert 0 <= said["memory"]["used_bytes"] < said["memory"]["most_bytes"]
    assert said["up_seconds"] > 0
    says_nothing_but_numbers(said)


def says_nothing_but_numbers(value: object) -> None:
    """No address, id or path: every text is a name from the source, and all else is a number."""
    match value:
        case dict():
            for name, one in value.items():
                assert re.fullmatch(r"[a-z]+([_-][a-z]+)*|[1-5][0-9][0-9]", name)
                says_nothing_but_numbers(one)
        case str():
            assert value in ("relay", "directory", "host", "statistics", CIPHER.name)
        case _:
            assert value is None or isinstance(value, int | float)


def test_statistics_are_an_event_of_a_host_that_speaks_json(network: Network) -> None:
    with running(*network.host("numbers", "--echo", "--json")) as host:
        host.event("reachable")
        host.process.send_signal(signal.SIGUSR1)
        event = host.event("statistics")
    assert list(event) == sorted(event)
    assert event["kind"] == "host"
    assert event["reachable"] is True
    assert event["introducers"] > 0
    says_nothing_but_numbers(event)


@pytest.mark.parametrize("which", ["relay", "host"])
def test_a_signal_ends_nobody_who_waits(network: Network, tmp_path: Path, which: str) -> None:
    """For the network file, then for the directory."""
    file = tmp_path / "net.toml"
    options = ("--listen", "127.0.8.52:0") if which == "relay" else ()
    with running(which, "--network", file, "--data", tmp_path / "data", *options) as waiting:
        waiting.until(lambda line: "There is no network file" in line, of=waiting.errors)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            waiting.process.send_signal(number)
        file.write_text(network.file.read_text()[:40])  # still being written
        time.sleep(1.2)
        assert waiting.process.poll() is None
        file.write_text(network.file.read_text().replace("127.0.8.100", "127.0.8.102"))
        waiting.until(lambda line: "Trying again until it answers." in line, of=waiting.errors)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            before = len(waiting.lines)
            waiting.process.send_signal(number)
            numbers = waiting.statistics(after=before)
            assert numbers["drops"] == {}
            assert numbers["consensus_age_seconds"] is None
        assert len(waiting.errors) == 2
