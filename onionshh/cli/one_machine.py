"""A whole network in this one process: an authority that answers HTTP, relays on loopback."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import trio

from onionshh.cli.directory import serve_authority
from onionshh.cli.relay import make_relay
from onionshh.config import NetworkFile
from onionshh.directory.authority import DirectoryAuthority
from onionshh.directory.serve import choose_params
from onionshh.directory.store import create_or_open
from onionshh.errors import Error
from onionshh.net.http import listen
from onionshh.net.store import DataDirectory
from onionshh.net.tcp import TcpDialer, TcpListener
from onionshh.relay.publish import About

LOOPBACK = "127.0.0.1"
INTERVAL_SECONDS = 2


async def start_authority(
    held: ExitStack, nursery: trio.Nursery, folder: Path, file: Path, *, name: str, port: int = 0
) -> DirectoryAuthority:
    """Start an authority and return it once it answers. It writes the network file. `held` closes what it
    holds after all tasks have ended. `port`: where it should listen, if that is free."""
    try:
        listener = listen(LOOPBACK, port)
    except Error:
        listener = listen(LOOPBACK, 0)
    held.enter_context(listener)
    url = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
    store = held.enter_context(
        create_or_open(folder / "authority", file, url=url, random_bytes=os.urandom, name=name)
    )
    params = choose_params(LOOPBACK, store.network, {"interval_seconds": INTERVAL_SECONDS})
    authority: DirectoryAuthority = await nursery.start(
        lambda task_status: serve_authority(store, listener, params, TcpDialer(), task_status=task_status)
    )
    return authority


async def start_relays(
    held: ExitStack, nursery: trio.Nursery, folder: Path, network: NetworkFile, count: int
) -> None:
    """Start `count` relays. The authority lists them soon."""
    for number in range(1, count + 1):
        name = f"relay{number}"
        listener = TcpListener(LOOPBACK, 0)
        held.callback(listener.close)
        about = About(name, *listener.address)
        relay = make_relay(network, DataDirectory(folder / name), [listener], about, say=lambda line: None)
        await nursery.start(lambda task_status, relay=relay: relay.run(task_status=task_status))


async def listed(authority: DirectoryAuthority, count: int) -> list[str]:
    """Wait until `count` relays are listed. Returns their names."""
    while True:
        rows = authority.consensus.relays if authority.consensus is not None else ()
        if len(rows) >= count:
            return sorted((row.nickname for row in rows), key=lambda name: (len(name), name))
        await trio.sleep(0.05)
