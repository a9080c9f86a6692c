"""`onionshh restore`: a folder as it was when it was backed up."""

from __future__ import annotations

from pathlib import Path

import click

from onionshh.cli.options import PATH
from onionshh.cli.saving.archive import Manifest
from onionshh.cli.saving.members import CONTACTS, DIRECTORY, HOST, RELAY
from onionshh.cli.saving.passphrase import read_passphrase
from onionshh.cli.saving.restoring import restore as put_back
from onionshh.cli.talk import counted, note, utter
from onionshh.core.base.words import utc
from onionshh.relay.accounting import ACCOUNTING_FILE

_COUNTED = "Bytes that --monthly has counted since are forgotten."
_FORGOTTEN = {
    DIRECTORY: (
        "Relays and random values of the network since then are forgotten: new values are drawn for the same"
        " periods, and endpoints are hard to find until these are over."
    ),
    HOST: (
        "Ids of whispers that came since are forgotten: one that its sender repeats is shown a second time,"
        " and what was open then is shown again, also if it was finished since."
    ),
    CONTACTS: (
        "What happened since is forgotten: whispers that waited then are sent again, and endpoints that have"
        " forgotten their ids show them a second time."
    ),
}


@click.command()
@click.option("--data", type=PATH, metavar="DIR", required=True, help="The folder to make.")
@click.option("--passphrase-file", type=PATH, metavar="FILE", help="File of the backup's passphrase.")
@click.option(
    "--expect",
    metavar="ID",
    help="Refuse a backup that is not of this relay's id, key or endpoint's address.",
)
@click.option("--replace", is_flag=True, help="Put what is in DIR aside, into a folder beside it, or in it.")
@click.option(
    "--identity-only", is_flag=True, help="Of a host only its identity and guards: for an old backup."
)
@click.argument("file", type=PATH, metavar="FILE")
def restore(
    data: Path,
    passphrase_file: Path | None,
    expect: str | None,
    replace: bool,
    identity_only: bool,
    file: Path,
) -> int:
    """Restore the folder of a relay, a directory, a host or contacts from its backup.

    Everything in the file is checked first: sums, versions, and that keys and databases fit one another. A
    folder that is not empty is left alone unless --replace is given. DIR may be a mount point, or a link to a
    folder. If a restore is cut off, no program starts with DIR until the next one has put that right.

    The old machine must not run any more: two with the same keys take visitors from each other.

    \b
    Examples:
      onionshh restore --data relay1 relay1.tar
      onionshh restore --data me --passphrase-file passphrase --expect shh1… me.backup
    """
    passphrase = None if passphrase_file is None else read_passphrase(passphrase_file)
    manifest, aside = put_back(
        data, file, passphrase, expect=expect, replace=replace, identity_only=identity_only
    )
    what = "the identity" if identity_only else counted(len(manifest.members), "file")
    utter(f"restored {what} of {utc(manifest.made)} into {data}")
    if manifest.subject:
        utter(f"{manifest.kind} {manifest.subject}")
    if aside is not None:
        utter(f"what was there lies in {aside}; remove it once all is well, since it has keys in it")
    _remark(manifest, identity_only=identity_only)
    return 0


def _remark(manifest: Manifest, *, identity_only: bool) -> None:
    note("the machine that had these keys must not run any more: two with the same keys harm each other.")
    if identity_only:
        note("Ids of all earlier whispers are forgotten: one that its sender repeats is shown a second time.")
    elif manifest.kind != RELAY:
        note(_FORGOTTEN[manifest.kind])
    elif any(member.path == ACCOUNTING_FILE for member in manifest.members):
        note(_COUNTED)
