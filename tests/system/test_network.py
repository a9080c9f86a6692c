"""`onionshh network`: three lines, and commands find it; nothing else is found that way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import onionshh
from onionshh.client.one_machine import find_network, running_network
from onionshh.config import Authority, NetworkFile, format_network_file
from onionshh.net.store import DataDirectory
from tests.system.processes import COMMAND, PATIENCE_SECONDS, Running, running


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("ONIONSHH_NETWORK", raising=False)
    return tmp_path


@contextmanager
def network(*options: object) -> Iterator[Running]:
    with running("network", *options) as process:
        process.until(lambda line: " relays listed; ready." in line)
        yield process


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_from_nothing_to_the_first_reply_in_three_lines(home: Path) -> None:
    with network("--relays", 5), running("host", "--data", home / "me", "--echo") as host:
        address = host.until(lambda line: " endpoint shh1" in line).split()[-1]
        host.until(lambda line: " reachable through " in line)
        done = command("whisper", address, "hello")
        assert (done.returncode, done.stdout) == (0, "hello")
        assert "using the network that `onionshh network` runs" in done.stderr
        relays = command("relays", "--json").stdout.splitlines()
        assert [json.loads(line)["nickname"] for line in relays if line] != []
        assert len(relays) == 5
        script = (
            "import os, sys\n"
            "import onionshh, trio\n"
            "def audit(event, arguments):\n"
            "    if event == 'open' and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):\n"
            "        print('written', arguments, file=sys.stderr)\n"
            "sys.addaudithook(audit)\n"
            "async def main():\n"
            "    async with onionshh.join(data_dir=None, wait_seconds=60) as node:\n"
            f"        async with node.contact({address!r}) as contact:\n"
            "            print(await contact.ask(b'from a program'))\n"
            "trio.run(main)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.stdout == "b'from a program'\n", done.stderr
        # The one file it opens to write is the lock by which it sees that the network runs.
        assert all("one-machine" in line for line in done.stderr.splitlines() if "written" in line)


def test_it_comes_back_where_it_was_and_only_once_at_a_time(home: Path) -> None:
    with network("--relays", 4):
        first = find_network().read_text()
        again = command("network")
        assert again.returncode == 1
        assert "in use already" in again.stderr
    assert running_network() is None  # the file is there, and nobody holds it
    with network("--relays", 4) as process:
        assert find_network().read_text() == first
        process.kill()
    assert running_network() is None
    done = command("relays")
    assert done.returncode == 2
    assert "start one on this machine with `onionshh network`" in done.stderr


def test_nothing_but_a_network_of_this_machine_is_found_that_way(home: Path) -> None:
    folder = DataDirectory(home / "state" / "onionshh" / "one-machine")
    for url, found in (
        ("http://127.0.0.1:7000", True),
        ("http://[::1]:7000", True),
        ("http://192.0.2.1", False),
        ("http://localhost.example.org", False),
        ("https://127.0.0.1.example.org", False),
    ):
        file = folder / "network.toml"
        file.write_text(format_network_file(NetworkFile("n", 1, (Authority(url, bytes(32)),))))
        held = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import sys\nfrom onionshh.net.store import DataDirectory\n"
                f"with DataDirectory({str(folder.path)!r}).lock():\n"
                "    print('held', flush=True)\n    sys.stdin.read()",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert held.stdout is not None
            assert held.stdout.readline() == b"held\n"
            assert (running_network() is not None) is found, url
        finally:
            held.communicate(b"")
    file.write_bytes(b"no network file")
    assert running_network() is None


def test_a_named_network_comes_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONIONSHH_NETWORK", str(home / "mine.toml"))
    assert find_network() == home / "mine.toml"
    monkeypatch.setenv("ONIONSHH_NETWORK", "")
    with pytest.raises(onionshh.BadNetworkFile, match="Which network"):
        find_network()
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "")
    assert running_network() is None
