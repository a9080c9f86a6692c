"""The endpoint that is measured, a program of the Python API in a process of its own.

A whisper that begins with `e` is answered with itself; any other is done with at once.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import trio

import onionshh


async def main(network: str, folder: str) -> None:
    """Serve until standard input ends."""
    async with (
        onionshh.join(network, data_dir=folder) as node,
        node.host(Path(folder) / "identity") as endpoint,
        trio.open_nursery() as nursery,
    ):
        await endpoint.reachable()
        nursery.start_soon(_serve, endpoint)
        gc.collect()
        gc.freeze()
        lines = trio.wrap_file(sys.stdin)
        while await lines.readline():
            print(json.dumps({"address": endpoint.address}), flush=True)
        nursery.cancel_scope.cancel()


async def _serve(endpoint: onionshh.Endpoint) -> None:
    async for whisper in endpoint:
        if whisper.body[:1] == b"e":
            await whisper.reply(whisper.body)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
