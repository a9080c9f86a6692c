"""Letters over the running network: until one is stored, until an endpoint that starts has it, and what an
inbox costs that nobody writes to.

The endpoint of this file is in a process of its own, which ends and starts again; so is the visitor. What is
printed last by each is one line of JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import trio

import onionshh
from onionshh.client.hosting.inbox import PAUSE_SECONDS
from onionshh.geometry import CELL
from tests.benchmarks.measured import Measured, single
from tests.benchmarks.onion import OnionNetwork
from tests.inside import parts

TIMES: Final = 5
TTL_SECONDS: Final = 3 * 3600
PAGES: Final = 8
"""Readings of an empty inbox that are counted together."""
DAY_SECONDS: Final = 86_400


def measure(net: OnionNetwork) -> list[Measured]:
    """Every row of this file; about two minutes."""
    folder = net.folder / "letters"
    folder.mkdir()
    address = _child(net, "host", folder, "0")["address"]
    stored, back = [], []
    for number in range(TIMES):
        stored.append(_child(net, "send", folder, address, str(number))["seconds"])
        back.append(_child(net, "host", folder, "1")["seconds"])
    cells = _cells_a_reading(net, folder)
    readings = DAY_SECONDS / statistics.mean(PAUSE_SECONDS)
    return [
        single("a letter for 3 h: until it is stored, median", "s", statistics.median(stored)),
        single("an endpoint starts: until it has its letter, median", "s", statistics.median(back)),
        single("one reading of an empty inbox: bytes between relays", "KiB", cells * CELL / 1024),
        single(
            "an empty inbox for a day: bytes between relays", "MiB", readings * cells * CELL / 1024 / 1024
        ),
    ]


def _cells_a_reading(net: OnionNetwork, folder: Path) -> float:
    """Cells that relays send for one reading, without what they send anyway."""
    command = [sys.executable, "-m", "tests.benchmarks.letters", "read", str(net.file), str(folder)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **net.environment},
    ) as child:
        if child.stdin is None or child.stdout is None:
            raise RuntimeError("a pipe is missing")
        child.stdout.readline()  # it is reachable, and has read its inbox once
        before = net.relay_cells_sent()
        child.stdin.write("\n")
        child.stdin.flush()
        seconds = json.loads(child.stdout.readline())["seconds"]
        read = net.relay_cells_sent()
        time.sleep(seconds)
        idle = net.relay_cells_sent() - read
        child.stdin.close()
        child.wait()
    return max(0.0, read - before - idle) / PAGES


def _child(net: OnionNetwork, do: str, folder: Path, *arguments: str) -> Any:
    command = [sys.executable, "-m", "tests.benchmarks.letters", do, str(net.file), str(folder), *arguments]
    beside = {**os.environ, **net.environment}
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=beside)
    return json.loads(ran.stdout.splitlines()[-1])


async def _host(network: str, folder: Path, letters: int) -> None:
    """Host until so many letters have come, or without any until it can be reached."""
    started = time.perf_counter()
    async with (
        onionshh.join(network, data_dir=folder / "host") as node,
        node.host(folder / "identity") as endpoint,
    ):
        if letters:
            whisper = await anext(aiter(endpoint))
            seconds = time.perf_counter() - started
            await whisper.done()
            print(json.dumps({"seconds": seconds}))
        else:
            await endpoint.reachable()
            print(json.dumps({"address": endpoint.address}))


async def _send(network: str, address: str, number: int) -> None:
    """Leave one letter."""
    async with onionshh.join(network, data_dir=None) as node, node.contact(address) as contact:
        started = time.perf_counter()
        await contact.send(b"letter %d" % number, ttl_seconds=TTL_SECONDS).stored()
        print(json.dumps({"seconds": time.perf_counter() - started}))


async def _read(network: str, folder: Path) -> None:
    """Read the inbox `PAGES` times when a line comes."""
    async with (
        onionshh.join(network, data_dir=folder / "host") as node,
        node.host(folder / "identity") as endpoint,
    ):
        inbox = parts(endpoint).inbox
        if inbox is None:
            raise RuntimeError("the endpoint has no inbox")
        await endpoint.reachable()
        await inbox.read()
        lines = trio.wrap_file(sys.stdin)
        print(json.dumps({"ready": True}), flush=True)
        await lines.readline()
        started = time.perf_counter()
        for _ in range(PAGES):
            await inbox.read()
        print(json.dumps({"seconds": time.perf_counter() - started}), flush=True)
        await lines.readline()


async def main(do: str, network: str, folder: str, arguments: Sequence[str]) -> None:
    match do:
        case "host":
            await _host(network, Path(folder), int(arguments[0]))
        case "send":
            await _send(network, arguments[0], int(arguments[1]))
        case _:
            await _read(network, Path(folder))


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
