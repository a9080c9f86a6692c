"""`onionshh contacts`: the named contacts of a data folder, their sessions, and what waits."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from onionshh.cli.completing import contact_names
from onionshh.cli.defaults import InWords
from onionshh.cli.failures import Usage
from onionshh.cli.folders import network_folder
from onionshh.cli.options import PATH, json_option, network_option
from onionshh.cli.storing import waiting_in_words
from onionshh.cli.talk import counted, utter
from onionshh.cli.text import one_line
from onionshh.client.contact_list import ContactOnDisk, contacts_in, forget
from onionshh.client.session.info import SessionInfo
from onionshh.net.network_file import read_network_file


@click.command()
@network_option()
@click.option(
    "--data",
    cls=InWords,
    type=PATH,
    metavar="DIR",
    show_default="that of `onionshh whisper` for this network",
    help="Folder of the contacts.",
)
@click.option(
    "--forget",
    "forgotten",
    metavar="NAME",
    shell_complete=contact_names,
    help="Erase the contacts of this name, with all they hold.",
)
@json_option
def contacts(network: Path, data: Path | None, forgotten: str | None, as_json: bool) -> int:
    """List the contacts that have a name, their sessions, and what waits.

    A contact gets its name from `onionshh whisper --name`. Nothing is sent, and a contact that is in use is
    not disturbed.

    \b
    With --json, one object per line:
      {"name": "…", "address": "shh1…", "waiting": 1, "unread": 0, "in_use": false,
       "stored": [{"id": "…", "copies": 4}],
       "session": {"started_at": Unix seconds, "exchanges": 3, "resumed": 2,
                   "refreshed_at": Unix seconds, "way_back": false} or null}
    waiting: whispers in the outbox; stored: those of them that relays keep for the endpoint, which is away,
    and how many relays, as far as is known here; unread: what the endpoint said and nobody has read.

    \b
    Examples:
      onionshh contacts
      onionshh contacts --forget press
    """
    if data is not None and not data.is_dir():
        raise Usage(f"There is no folder {data}.")
    folder = data or network_folder(read_network_file(network))
    found = contacts_in(folder)
    if forgotten is not None:
        return _forget([contact for contact in found if contact.name == forgotten], forgotten)
    for contact in found:
        utter(json.dumps(_as_object(contact)) if as_json else _as_line(contact))
    if not found and not as_json:
        utter("There are no contacts with a name here.")
    return 0


def _forget(found: list[ContactOnDisk], name: str) -> int:
    if not found:
        raise Usage(f"There is no contact of the name {one_line(name)} here; `onionshh contacts` lists them.")
    for contact in found:
        forget(contact)
        lost = f", with {counted(contact.waiting, 'whisper')} that waited" if contact.waiting else ""
        utter(f"forgot {one_line(contact.name)} ({contact.address}){lost}")
    return 0


def _as_object(contact: ContactOnDisk) -> dict[str, object]:
    session = contact.session
    return {
        "name": contact.name,
        "address": contact.address,
        "waiting": contact.waiting,
        "stored": [{"id": whisper, "copies": copies} for whisper, copies in contact.stored.items()],
        "unread": contact.unread,
        "in_use": contact.in_use,
        "session": None
        if session is None
        else {
            "started_at": session.started_at,
            "exchanges": session.exchanges,
            "resumed": session.resumed,
            "refreshed_at": session.refreshed_at,
            "way_back": session.way_back,
        },
    }


def _as_line(contact: ContactOnDisk) -> str:
    parts = [_of(contact.session)]
    if contact.waiting:
        parts.append(waiting_in_words(contact.waiting, contact.stored.values()))
    if contact.unread:
        parts.append(f"{contact.unread} unread")
    if contact.in_use:
        parts.append("in use now")
    return f"{one_line(contact.name)}  {contact.address}\n  {'; '.join(parts)}"


def _of(session: SessionInfo | None) -> str:
    if session is None:
        return "no session yet"
    since = datetime.fromtimestamp(session.started_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"session since {since}, resumed {counted(session.resumed, 'time')}"
