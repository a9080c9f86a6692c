"""`onionshh relays`: the relays of the consensus, fetched and verified as a node does it."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from onionshh.cli.ending import run
from onionshh.cli.options import (
    bind_option,
    check_bind,
    check_reach,
    json_option,
    network_option,
    via_of,
    via_option,
)
from onionshh.cli.text import one_line
from onionshh.core.base.chance import Chance
from onionshh.net.authority_client import HttpSource
from onionshh.net.clocks import Clock
from onionshh.net.consensus_keeper import ConsensusKeeper
from onionshh.net.memory_folder import InMemory
from onionshh.net.network_file import read_network_file
from onionshh.wire.consensus import Consensus

WIDE = 120


@click.command()
@network_option()
@bind_option
@via_option
@json_option
def relays(network: Path, bind: str | None, via: str | None, as_json: bool) -> int:
    """List the relays of the network.

    The consensus is fetched from a directory, which sees our address each time, and its signatures are
    checked against the network file.

    \b
    With --json, one object per line:
      {"nickname": "…", "id": "64 hex digits", "address": "HOST:PORT", "addresses": ["HOST:PORT", …],
       "flags": ["GUARD", …], "weight": 123, "first_seen": Unix seconds, "software": "…"}

    \b
    `addresses` is all that are listed, `address` the first of them: an IP address, if there is one.

    \b
    Examples:
      onionshh relays --network net.toml
      ONIONSHH_NETWORK=net.toml onionshh relays --json
    """
    check_bind(bind)
    file = read_network_file(network)
    check_reach(bind, file, via)

    async def fetch() -> int:
        keeper = ConsensusKeeper(
            network=file,
            source=HttpSource(bind, via=via_of(via)),
            clock=Clock(),
            chance=Chance(os.urandom),
            folder=InMemory(),
            over_circuit=None,
        )
        consensus = (await keeper.first()).consensus
        if as_json:
            for row in consensus.relays:
                print(json.dumps(row.as_dict()))
        else:
            _show(consensus)
        return 0

    return run(fetch)


def _show(consensus: Consensus) -> None:
    total = sum(row.weight for row in consensus.relays) or 1
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("Nickname", "Address", "Flags", "Weight", "Listed since", "Id"):
        table.add_column(title, justify="right" if title == "Weight" else "left", no_wrap=True)
    for row in consensus.relays:
        table.add_row(
            Text(one_line(row.nickname)),
            Text(one_line(row.address)),
            " ".join(row.flag_names),
            f"{100 * row.weight / total:.1f} %",
            datetime.fromtimestamp(row.first_seen, UTC).strftime("%Y-%m-%d"),
            f"{row.identity.hex()[:8]}…",
        )
    made = datetime.fromtimestamp(consensus.valid_after, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    console = Console()
    if not console.is_terminal:
        console.width = WIDE
    console.print(table)
    console.print(Text(f"{len(consensus.relays)} relays of {one_line(consensus.network)}, as of {made}."))
