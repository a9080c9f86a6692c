"""A whisper to an endpoint that has stopped: the sender ends with "stored", and the endpoint gets it when it
is started again. Every part is a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.system.processes import COMMAND, Running, running, until

RELAYS = 8
STORED_SECONDS = 300.0
"""Half a minute of live tries, the work, and four relays one after the other."""


@dataclass
class Net:
    """A directory and relays, and the folders of those who speak."""

    folder: Path

    def host(self) -> Any:
        """The endpoint."""
        return running("host", "--network", self.folder / "net.toml", "--data", self.folder / "me", "--json")

    def whisper(self, address: str, body: str, *options: object) -> tuple[int, list[dict[str, Any]], str]:
        """The exit status, what it said to a program, and what it said to people."""
        common = ("--network", self.folder / "net.toml", "--data", self.folder / "sender", *options)
        done = subprocess.run(
            [*COMMAND, "whisper", address, body, *map(str, common)],
            capture_output=True,
            timeout=STORED_SECONDS,
            check=False,
        )
        out = done.stdout.decode().splitlines()
        return (
            done.returncode,
            [json.loads(line) for line in out if line.startswith("{")],
            done.stderr.decode(),
        )

    def contacts(self) -> list[dict[str, Any]]:
        """What `onionshh contacts` lists."""
        options = ("--network", self.folder / "net.toml", "--data", self.folder / "sender", "--json")
        done = subprocess.run([*COMMAND, "contacts", *map(str, options)], capture_output=True, check=True)
        return [json.loads(line) for line in done.stdout.decode().splitlines()]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    folder = tmp_path_factory.mktemp("waiting")
    file = folder / "net.toml"
    with ExitStack() as stack:
        listen = ("--listen", "127.0.0.1:0", "--data", folder / "directory", "--network", file)
        directory = stack.enter_context(running("directory", *listen))
        for number in range(RELAYS):
            name = f"relay{number}"
            options = ("--listen", "127.0.0.1:0", "--data", folder / name, "--nickname", name)
            stack.enter_context(running("relay", "--network", file, *options))
        directory.until(lambda line: f"{RELAYS} relays listed" in line)
        yield Net(folder)


def away(net: Net) -> str:
    """The address of the endpoint, which was there and has stopped."""
    with net.host() as host:
        address: str = host.event("address")["address"]
        host.event("reachable")
        host.end()
    return address


def bodies(host: Running) -> list[str]:
    """What the endpoint was shown."""
    events = [json.loads(line) for line in list(host.lines)]
    return [event["body"] for event in events if event["event"] == "whisper"]


def test_a_whisper_waits_for_an_endpoint_that_is_started_again(net: Net) -> None:
    address = away(net)
    options = ("--ttl", "3d", "--name", "press", "--json", "--verbose")
    status, (told,), errors = net.whisper(address, "for later", *options)
    assert (status, told["status"], told["copies"]) == (0, "stored", 4), (told, errors)
    assert told["proof_seconds"] > 0
    assert "onionshh: the endpoint has an inbox" in errors
    assert errors.count(" keeps a copy.") == 4
    (contact,) = net.contacts()
    assert contact["stored"] == [{"id": told["id"], "copies": 4}]

    with net.host() as host:
        shown = host.event("whisper")
        assert (shown["id"], shown["body"]) == (told["id"], "for later")
        host.event("reachable")
        status, _, errors = net.whisper(address, "are you back?", "--name", "press", "--wait", "30")
        assert status == 0, errors
        assert "a whisper of an earlier run was delivered." in errors
        until(lambda: len(bodies(host)) > 1)
        assert bodies(host) == ["for later", "are you back?"]
    (contact,) = net.contacts()
    assert (contact["waiting"], contact["stored"]) == (0, [])


def test_ctrl_c_ends_the_work(net: Net) -> None:
    address, much = away(net), net.folder / "much"
    much.write_bytes(bytes(60_000))  # sixteen parts, each with work of its own
    common = ("--network", net.folder / "net.toml", "--data", net.folder / "sender")
    with running("whisper", address, "--file", much, "--ttl", "7d", *common) as sender:
        sender.until(lambda line: "is being left with relays" in line, of=sender.errors)
        sender.process.send_signal(signal.SIGINT)
        assert sender.wait() == 1
        (said,) = [line for line in sender.errors if "not delivered" in line]
        assert "interrupted before enough relays kept it; " in said
