"""`onionshh backup`: what must not be lost of a folder, in one file."""

from __future__ import annotations

import time
from pathlib import Path

import click

from onionshh.cli.failures import Usage
from onionshh.cli.options import PATH
from onionshh.cli.saving.archive import total
from onionshh.cli.saving.making import make
from onionshh.cli.saving.members import HOST, RELAY, kind_of
from onionshh.cli.saving.passphrase import read_passphrase
from onionshh.cli.talk import counted, note, utter


@click.command()
@click.option("--data", type=PATH, metavar="DIR", required=True, help="The folder to back up.")
@click.option(
    "--passphrase-file", type=PATH, metavar="FILE", help="Seal the backup with the passphrase in FILE."
)
@click.option(
    "--moves",
    is_flag=True,
    help="Also what a relay keeps for others, for its move to another machine: stop it first.",
)
@click.argument("file", type=PATH, metavar="FILE")
def backup(data: Path, passphrase_file: Path | None, moves: bool, file: Path) -> int:
    """Back up the folder of a relay, a directory, a host or contacts into one file.

    The program may run meanwhile, except with --moves. The file has the keys, what the program must not
    forget, and guards, but no caches. It is read again before it gets its name, and replaces an older backup
    of that name.

    Whoever finds the file is that relay, directory or endpoint, and reads the whispers in it, unless it is
    sealed with a passphrase.

    \b
    Examples:
      onionshh backup --data relay1 relay1.tar
      onionshh backup --data me --passphrase-file passphrase me.backup
    """
    if not data.is_dir():
        raise Usage(f"There is no folder {data}.")
    if moves and kind_of(data) != RELAY:
        raise Usage("--moves is for the folder of a relay.")
    passphrase = None if passphrase_file is None else read_passphrase(passphrase_file)
    manifest = make(data, file, passphrase, made=int(time.time()), moves=moves)
    size = total(manifest.members)
    utter(f"backed up and read again: {counted(len(manifest.members), 'file')}, {size} bytes, in {file}")
    if manifest.subject:
        utter(f"{manifest.kind} {manifest.subject}")
    if passphrase is None:
        reads = ", and reads the whispers in it" if manifest.kind == HOST else ""
        note(f"{file} is not sealed: whoever finds it is this {manifest.kind}{reads}; keep it closed.")
    return 0
