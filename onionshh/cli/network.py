"""`onionshh network`: a whole network on this machine, until a signal ends it."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import click
import trio

from onionshh.cli.ending import run
from onionshh.cli.folders import state_folder
from onionshh.cli.one_machine import listed, start_authority, start_relays
from onionshh.cli.talk import tell
from onionshh.client.one_machine import FILE, FOLDER
from onionshh.errors import BadNetworkFile
from onionshh.net.network_file import read_network_file
from onionshh.net.store import DataDirectory


@click.command()
@click.option("--relays", type=click.IntRange(4, 64), metavar="N", default=8, help="How many relays.")
def network(relays: int) -> int:
    """Run a whole network on this machine: a directory and relays, in one process.

    While it runs, every command of this user finds it without --network, and so does `onionshh.join()`. It is
    for trying things out and for tests: everything is real, but everything is on loopback, so it hides
    nothing from anybody.

    \b
    Examples:
      onionshh network
      onionshh host --data me --echo
      onionshh whisper shh1… "hello"
    """
    folder = DataDirectory(state_folder() / FOLDER)
    with folder.lock():
        return run(lambda: _run(folder.path, relays))


async def _run(folder: Path, relays: int) -> NoReturn:
    file = folder / FILE
    port = port_before(file)
    with suppress(FileNotFoundError):
        os.unlink(file)  # the port may differ now; the file is written again
    with ExitStack() as held:
        async with trio.open_nursery() as nursery:
            authority = await start_authority(held, nursery, folder, file, name="one-machine", port=port)
            found = read_network_file(file)
            tell(f"directory at {found.authorities[0].url} (a page for people, too)")
            await start_relays(held, nursery, folder, found, relays)
            await listed(authority, relays)
            tell(f"{relays} relays listed; ready. Ctrl-C ends it.")
            tell("next: onionshh host --data me --echo, and in another terminal onionshh whisper shh1… hello")
            await trio.sleep_forever()


def port_before(file: Path) -> int:
    """The port of the directory when it last ran, so that nodes that joined then find it again; else 0."""
    with suppress(BadNetworkFile):
        return urlsplit(read_network_file(file).authorities[0].url).port or 0
    return 0
