"""What a node does with the largest consensus, 5 700 relays, in a process of its own: time, memory, stalls.

python -m tests.benchmarks.many_relays make|take|stall DOCUMENT
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from onionshh.config import Authority, NetworkFile
from onionshh.core.base.chance import Chance
from onionshh.core.base.params import Params
from onionshh.core.paths.view import View
from onionshh.core.trust import open_consensus_untrusted
from onionshh.crypto.ed25519 import SigningKey
from onionshh.ids import RelayId
from onionshh.net.clocks import Clock
from onionshh.net.consensus_keeper import ConsensusKeeper
from onionshh.net.store import DataDirectory
from onionshh.wire.consensus import (
    CONSENSUS_RELAYS_MOST,
    FAST,
    GUARD,
    RING,
    SIGNED,
    Consensus,
    RelayRow,
    join,
)
from onionshh.wire.descriptor import Address
from tests.benchmarks.processes import memory_kib

RELAYS = CONSENSUS_RELAYS_MOST
FAMILY = 4
"""Every fourth block of so many relays is a family."""
AUTHORITIES = 3
TAKES = 5
INTERVAL_SECONDS = 3
WAKE_SECONDS = 0.001

_KEYS = [SigningKey(bytes((number,)) * 32) for number in range(1, AUTHORITIES + 1)]
NETWORK = NetworkFile("many", 2, tuple(Authority("http://127.0.0.1:1", key.public) for key in _KEYS))


def document(relays: int, valid_after: int) -> bytes:
    """A consensus as such a network's authorities would sign it: distinct keys and hosts, some families."""
    identities = sorted(RelayId(os.urandom(32)) for _ in range(relays))
    rows = []
    for number, identity in enumerate(identities):
        block, place = divmod(number, FAMILY)
        kin = identities[block * FAMILY : (block + 1) * FAMILY]
        rows.append(
            RelayRow(
                identity=identity,
                onion_key=os.urandom(32),
                nickname=f"relay{number}",
                addresses=(_address(number, place),),
                weight=1_000_000 + 37 * number,
                flags=RING | FAST | (GUARD if number % 3 else 0),
                first_seen=valid_after - 30 * 86_400 - 60 * number,
                family=tuple(one for one in kin if one != identity) if block % 4 == 0 else (),
            )
        )
    params = Params(interval_seconds=INTERVAL_SECONDS, valid_seconds=86_400)
    body = Consensus(
        network=NETWORK.name,
        valid_after=valid_after,
        fresh_until=valid_after + INTERVAL_SECONDS,
        valid_until=valid_after + params.valid_seconds,
        params=params.to_pairs(),
        shared_random=(),
        relays=tuple(rows),
    ).encode_body()
    return join(body, tuple((key.public, key.sign(SIGNED + body)) for key in _KEYS))


def _address(number: int, place: int) -> Address:
    return Address.of(f"{11 + number % 200}.{number // 200}.{place}.{1 + number % 250}", 9001 + number % 50)


def take(path: Path) -> dict[str, Any]:
    """Seconds (the least of a few) to check and index, and MB that the first time took: kept, and at most."""
    wall = int(time.time())
    _open(document(5, wall))  # what is loaded once is not counted
    gc.collect()
    gc.freeze()
    before = _reset_peak()
    started = time.perf_counter()
    data = path.read_bytes()
    view = _open(data)
    seconds = [time.perf_counter() - started]
    kept, peak = memory_kib(os.getpid()), _peak_kib()
    for _ in range(TAKES - 1):
        started = time.perf_counter()
        _open(data)
        seconds.append(time.perf_counter() - started)
    return {
        "relays": len(view.relays),
        "bytes": len(data),
        "seconds": min(seconds),
        "kept_mb": (kept - before) * 1024 / 1e6,
        "peak_mb": (peak - before) * 1024 / 1e6,
    }


async def stall(path: Path, folder: Path) -> dict[str, Any]:
    """Milliseconds that a task waited at most which wakes every millisecond, while a node that runs already
    takes its next consensus; and the same while it does nothing."""
    wall = int(time.time())
    source = _Served(document(5, wall - INTERVAL_SECONDS))
    keeper = ConsensusKeeper(
        network=NETWORK,
        source=source,
        clock=Clock(),
        chance=Chance(os.urandom),
        folder=DataDirectory(folder),
        over_circuit=None,
    )
    await keeper.first()
    source.document = path.read_bytes()
    gc.collect()
    gc.freeze()
    async with trio.open_nursery() as nursery:
        watch = _Watch()
        nursery.start_soon(watch.run)
        await trio.sleep(0.5)
        alone = watch.take()
        nursery.start_soon(keeper.keep)
        started = trio.current_time()
        with trio.fail_after(30):
            while len(keeper.require().relays) < RELAYS:
                await keeper.changed()
        seconds = trio.current_time() - started
        await trio.sleep(0.1)
        gap = watch.take()
        nursery.cancel_scope.cancel()
    return {"stall_ms": gap * 1e3, "alone_ms": alone * 1e3, "seconds": seconds}


class _Watch:
    """The longest time between two wakes of a task that sleeps a millisecond."""

    def __init__(self) -> None:
        self._longest = 0.0

    async def run(self) -> None:
        last = trio.current_time()
        while True:
            await trio.sleep(WAKE_SECONDS)
            now = trio.current_time()
            self._longest = max(self._longest, now - last)
            last = now

    def take(self) -> float:
        longest, self._longest = self._longest, 0.0
        return longest


class _Served:
    """A `DirectorySource` that has one document."""

    def __init__(self, data: bytes) -> None:
        self.document = data

    async def consensus(self, authority: Authority) -> bytes:
        await trio.lowlevel.checkpoint()
        return self.document

    async def publish(self, authority: Authority, descriptor: bytes) -> str | None:
        raise AssertionError("a client publishes nothing")

    async def status(self, authority: Authority, relay: RelayId) -> dict[str, object]:
        raise AssertionError("a client asks for no status")

    def date(self, authority: Authority) -> int | None:
        return None


def _open(data: bytes) -> View:
    return View(open_consensus_untrusted(data, network=NETWORK, wall=int(time.time())))


def _reset_peak() -> int:
    """Let the kernel count the peak anew; resident memory now, KiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory_kib(os.getpid())


def _peak_kib() -> int:
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found.group(1)) if found else 0


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.many_relays")
    parser.add_argument("what", choices=("make", "take", "stall"))
    parser.add_argument("document", type=Path)
    options = parser.parse_args(arguments)
    what, path = options.what, options.document
    if what == "make":
        path.write_bytes(document(RELAYS, int(time.time())))
        result: dict[str, Any] = {}
    elif what == "take":
        result = take(path)
    else:
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            result = trio.run(stall, path, Path(folder))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
