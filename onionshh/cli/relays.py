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

from onionshh.cli.completing import relay_ids
from onionshh.cli.ending import run
from onionshh.cli.failures import Usage
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
from onionshh.cli.why import DIGITS_LEAST, NOT_LISTED_STATUS, ask, id_digits, show, show_objects
from onionshh.core.base.chance import Chance
from onionshh.core.paths.enough import lacking
from onionshh.core.paths.view import View
from onionshh.directory.entry import by_name
from onionshh.net.authority_client import HttpSource
from onionshh.net.clocks import Clock
from onionshh.net.consensus_keeper import ConsensusKeeper
from onionshh.net.memory_folder import InMemory
from onionshh.net.network_file import read_network_file

WIDE = 120
HELP = """List the relays of the network.

The consensus is fetched from a directory, which sees our address each time, and its signatures are
checked against the network file.

\b
With --json, one object per line:
  {"nickname": "…", "id": "64 hex digits", "address": "HOST:PORT", "addresses": ["HOST:PORT", …],
   "flags": ["GUARD", …], "weight": 123, "first_seen": Unix seconds, "software": "…"}

\b
`addresses` is all that are listed, `address` the first of them: an IP address, if there is one.

With --why, the relays that the directory knows and does not list are shown, and the reason for each. With
an ID (64 hex digits, which `onionshh relay` says when it starts), it is said what the directory knows of
that relay: whether it is listed and since when, its last check, and why not. The first 8 digits are enough
for a person, since the whole id is shown; a script should give all. Nobody signs these answers. The
directory may learn from them which relay is yours.

\b
With --why --json, one object per line:
  {"id": "…", "nickname": "…", "status": "listed|reached|checking|failing|ended|unknown", "known": true,
   "listed": false, "why": "…", "address": "HOST:PORT", "published": Unix seconds, "since": Unix seconds
   or null, "last_check": Unix seconds or null, "answered": true, false or null, "up_hours": 12 or null,
   "places": [{"address": "HOST:PORT", "answered": true, false or null, "why": "…"}, …],
   "software": "…", "refused": "…" or null}

\b
Exit status with --why: 0 the directory answered and each ID is listed; 3 one of them is not; 1 no
directory answers; 2 wrong usage.

\b
Examples:
  onionshh relays --network net.toml
  ONIONSHH_NETWORK=net.toml onionshh relays --json
  onionshh relays --network net.toml --why
  onionshh relays --network net.toml --why $ID && echo "it is listed"
"""


@click.command(help=HELP)
@network_option()
@click.option("--why", is_flag=True, help="Say why relays that the directory knows are not listed.")
@bind_option
@via_option
@json_option
@click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=relay_ids)
def relays(
    network: Path, bind: str | None, via: str | None, as_json: bool, why: bool, ids: tuple[str, ...]
) -> int:
    """The command; `HELP` says what it does."""
    if ids and not why:
        raise Usage("Give --why with an ID: then it is said what the directory knows of that relay.")
    named = [id_digits(text) for text in ids]
    check_bind(bind)
    file = read_network_file(network)
    check_reach(bind, file, via)

    async def explain() -> int:
        answer = await ask(HttpSource(bind, via=via_of(via)), file, named)
        if as_json:
            show_objects(answer)
        else:
            show(answer, named=bool(named))
        return NOT_LISTED_STATUS if named and not answer.all_listed else 0

    async def fetch() -> int:
        keeper = ConsensusKeeper(
            network=file,
            source=HttpSource(bind, via=via_of(via)),
            clock=Clock(),
            chance=Chance(os.urandom),
            folder=InMemory(),
            over_circuit=None,
        )
        view = await keeper.first()
        if as_json:
            for row in view.consensus.relays:
                print(json.dumps(row.as_dict()))
        else:
            _show(view)
        return 0

    return run(explain if why else fetch)


def _show(view: View) -> None:
    consensus = view.consensus
    total = sum(row.weight for row in consensus.relays) or 1
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("Nickname", "Address", "Flags", "Weight", "Listed since", "Software", "Id"):
        table.add_column(title, justify="right" if title == "Weight" else "left", no_wrap=True)
    for row in sorted(consensus.relays, key=lambda row: by_name(row.nickname)):
        table.add_row(
            Text(one_line(row.nickname)),
            Text(one_line(row.address)),
            " ".join(row.flag_names),
            f"{100 * row.weight / total:.1f} %",
            datetime.fromtimestamp(row.first_seen, UTC).strftime("%Y-%m-%d"),
            Text(one_line(row.software)),
            f"{row.identity.hex()[:DIGITS_LEAST]}…",
        )
    made = datetime.fromtimestamp(consensus.valid_after, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    console = Console()
    if not console.is_terminal:
        console.width = WIDE
    console.print(table)
    console.print(Text(f"{len(consensus.relays)} relays of {one_line(consensus.network)}, as of {made}."))
    if lack := lacking(view, Chance(os.urandom)):
        console.print(Text(f"Not enough for whispers: {lack}."), soft_wrap=True)
