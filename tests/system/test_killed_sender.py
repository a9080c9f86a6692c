"""A program with a hundred whispers in its outbox is killed with SIGKILL, again and again.

All whispers arrive at the endpoint's program, each once and in order, and the last run has all receipts.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.processes import PATIENCE_SECONDS, Running, running, until

WHISPERS = 100
PROGRAM = """
import sys

import onionshh
import trio

async def main(address, folder):
    async with onionshh.join(data_dir=folder, wait_seconds=60) as node:
        async with node.contact(address, name="press") as contact:
            print("waiting", len(contact.pending()), flush=True)
            for number in range({whispers}):
                contact.send(b"whisper %d" % number, ttl_seconds=3600, key=b"%d" % number)
            print("accepted", flush=True)
            receipts = [
                contact.send(b"whisper %d" % number, key=b"%d" % number) for number in range({whispers})
            ]
            for receipt in receipts:
                await receipt.final()
            print("done", {{receipt.status for receipt in receipts}}, len(contact.pending()), flush=True)

trio.run(main, *sys.argv[1:])
"""


@contextmanager
def sender(address: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    program = PROGRAM.format(whispers=WHISPERS)
    process = subprocess.Popen(
        [sys.executable, "-c", program, address, str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def shown(host: Running) -> list[str]:
    """The bodies that the endpoint's program was shown."""
    events = [json.loads(line) for line in list(host.lines)]
    return [event["body"] for event in events if event["event"] == "whisper"]


def test_what_a_killed_program_had_accepted_arrives_once_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("ONIONSHH_NETWORK", raising=False)
    wanted = [f"whisper {number}" for number in range(WHISPERS)]
    with running("network", "--relays", 5) as network:
        network.until(lambda line: " relays listed; ready." in line)
        with running("host", "--data", tmp_path / "me", "--json", stdin=subprocess.PIPE) as host:
            address = host.event("address")["address"]
            host.event("reachable")
            with sender(address, tmp_path / "sender") as first:
                assert [line_of(first), line_of(first)] == ["waiting 0", "accepted"]
                first.send_signal(signal.SIGKILL)
            before = len(shown(host))
            with sender(address, tmp_path / "sender") as second:
                assert line_of(second) == f"waiting {WHISPERS}"
                until(lambda: len(shown(host)) > before + 5)
                second.send_signal(signal.SIGKILL)
            with sender(address, tmp_path / "sender") as third:
                assert line_of(third).startswith("waiting ")
                assert [line_of(third), line_of(third)] == ["accepted", "done {'delivered'} 0"]
                assert third.wait(PATIENCE_SECONDS) == 0
            until(lambda: len(shown(host)) >= WHISPERS)
            assert shown(host) == wanted
