"""What a shell may complete as the value of an option: relays, contacts, parameters, reasons, classes.

All of it comes from files on this machine. Without a file, or with one that cannot be read, nothing fits.
What a terminal or the shell's script would not take as it is, is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from onionshh.errors import Error


def files(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """For an argument that is a file, or `-`."""
    return [CompletionItem(typed, type="file")]


def privacy_classes(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """For `--class`."""
    return _fitting(typed, [("flash", "0 or 1 relays in between"), ("talk", "2 or 3 relays in between")])


def parameters(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """For `--param`."""
    from onionshh.core.base.params import RANGES

    return _fitting(typed, [(f"{name}=", f"{least} to {most}") for name, (least, most) in RANGES.items()])


def reason_names(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """For the names of drops."""
    from onionshh.reasons import Reason

    return _fitting(typed, [(reason.value, reason.sentence) for reason in Reason])


def contact_names(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """The named contacts of the data folder that was given, or of the network's."""
    from onionshh.client.contact_list import contacts_in

    with suppress(Error, OSError):
        return _fitting(typed, [(contact.name, "") for contact in contacts_in(_folder(context))])
    return []


def relay_ids(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """The relays of the consensus that lies in the data folder, with their nicknames."""
    from onionshh.net.consensus_files import ConsensusFiles
    from onionshh.net.network_file import read_network_file
    from onionshh.net.store import DataDirectory

    with suppress(Error, OSError):
        folder = _folder(context)
        if folder.is_dir():
            kept = ConsensusFiles(DataDirectory(folder), read_network_file(_network(context))).read()
            rows = () if kept is None else kept.consensus.relays
            return _fitting(typed, [(row.identity.hex(), row.nickname) for row in rows])
    return []


def _folder(context: click.Context) -> Path:
    from onionshh.cli.folders import network_folder
    from onionshh.net.network_file import read_network_file

    data = context.params.get("data")
    return data if isinstance(data, Path) else network_folder(read_network_file(_network(context)))


def _network(context: click.Context) -> Path:
    from onionshh.client.one_machine import find_network

    network = context.params.get("network")
    return network if isinstance(network, Path) else find_network()


def _fitting(typed: str, values: Iterable[tuple[str, str]]) -> list[CompletionItem]:
    return [
        CompletionItem(value, help=" ".join(said.split()) or None)
        for value, said in sorted(set(values))
        if value.startswith(typed) and value.isprintable()
    ]
