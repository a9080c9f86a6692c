"""`onionshh master`: a relay's identity on another machine, and signing keys for it. No network needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from onionshh.cli.failures import Usage
from onionshh.cli.options import PATH
from onionshh.cli.saving.passphrase import check_passphrase, read_passphrase
from onionshh.core.base.words import utc
from onionshh.core.certificate import expires_of
from onionshh.crypto.identity import SigningKey
from onionshh.net.clocks import Clock
from onionshh.net.store import DataDirectory
from onionshh.relay.master import (
    DAY,
    MOST_DAYS,
    new_signer,
    put,
    read_master,
    relay_at,
    take,
    write_master,
)
from onionshh.relay.signing_file import SIGNING_FILE, read_signing

F = TypeVar("F", bound=Callable[..., Any])

DAYS = 30
BACK_UP = "Back it up on a second disk that stays offline: without it the relay's id ends with its last key."

_master_argument = click.argument("file", metavar="MASTER", type=PATH)
_days_option = click.option(
    "--days",
    type=click.IntRange(1, MOST_DAYS),
    metavar="DAYS",
    default=DAYS,
    help="How long the signing key lasts. Whoever steals it can be the relay until then.",
)
_file_option = click.option(
    "--passphrase-file",
    type=PATH,
    metavar="FILE",
    help="The master file's passphrase is the first line of this file.",
)


def _new_passphrase_options(command: F) -> F:
    ask = click.option(
        "--passphrase", "ask", is_flag=True, help="Seal the master file under a passphrase, and ask for it."
    )
    return ask(_file_option(command))


@click.group(invoke_without_command=True, subcommand_metavar="COMMAND [ARGS]...")
@click.pass_context
def master(context: click.Context) -> None:
    """Keep a relay's identity on another machine, and make signing keys for the relay.

    The relay then holds only a signing key, which ends after 30 days. Whoever steals the relay's disk can act
    as the relay until that day, and not after it. Nothing here needs a network. The relay needs the next
    signing key before the last one ends; it warns 7 days and 1 day before.

    \b
    A new relay:
      onionshh master new relay1.master                       on a machine without network
      onionshh master sign relay1.master --to /media/stick    carry the file relay-signing to the relay
      cp /media/stick/relay-signing relay1/                   on the relay, then start it

    \b
    A relay that runs already (stop it first):
      onionshh master take relay1.master --data relay1        then move relay1.master to another machine

    \b
    Every month, while the relay runs:
      onionshh master sign relay1.master --to /media/stick
      cp /media/stick/relay-signing relay1/
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


@master.command()
@_master_argument
@_new_passphrase_options
def new(file: Path, ask: bool, passphrase_file: Path | None) -> int:
    """Make a master key for a new relay, in the new file MASTER.

    \b
    Example:
      onionshh master new relay1.master --passphrase
    """
    key = SigningKey.generate(os.urandom)
    write_master(file, key, _new_passphrase(ask, passphrase_file), os.urandom)
    print(f"relay {key.public.hex()}")
    print(f"{file} is its master key. Keep it away from the relay. {BACK_UP}")
    print(f"Next: onionshh master sign {file} --to FOLDER")
    return 0


@master.command(name="take")
@_master_argument
@click.option("--data", type=PATH, metavar="DIR", required=True, help="Folder of the stopped relay.")
@_days_option
@_new_passphrase_options
def take_out(file: Path, data: Path, days: int, ask: bool, passphrase_file: Path | None) -> int:
    """Take the identity out of a relay's folder, into the new file MASTER.

    The relay keeps its id, and gets its first signing key. Stop it first. Copies of the old file `relay-keys`
    still have the identity: destroy your backups of it. A disk may also keep what was deleted.

    \b
    Example:
      onionshh master take /media/stick/relay1.master --data relay1
    """
    if not data.is_dir():
        raise Usage(f"There is no folder {data}.")
    if data.resolve() in file.resolve().parents:
        raise Usage(f"{file} would lie in the relay's own folder; give a place on a disk that you take away.")
    folder = DataDirectory(data)
    with folder.lock():
        path = take(
            folder,
            file,
            passphrase=_new_passphrase(ask, passphrase_file),
            expires=_until(days),
            random_bytes=os.urandom,
        )
    print(f"relay {read_master(file).identity.hex()}")
    print(f"{file} is its master key now. Move it to another machine. {BACK_UP}")
    print(f"{path} is its signing key, until {_end_of(path)}. The relay can be started.")
    print("Destroy older backups of `relay-keys`: they still have the identity.")
    return 0


@master.command()
@_master_argument
@click.option(
    "--to",
    type=PATH,
    metavar="PLACE",
    required=True,
    help=f"A folder, where the file is called {SIGNING_FILE}, or a file. An earlier key of this relay there"
    " is replaced.",
)
@_days_option
@_file_option
def sign(file: Path, to: Path, days: int, passphrase_file: Path | None) -> int:
    """Make a signing key for the relay, and write it where it can be carried from.

    The clock of this machine says when it ends. The file belongs into the relay's folder, under the name
    `relay-signing`. A relay that runs takes it within 5 minutes, and says so. Then delete the copy that was
    carried.

    \b
    Examples:
      onionshh master sign relay1.master --to /media/stick
      onionshh master sign relay1.master --to relay1/relay-signing --days 90
    """
    kept = read_master(file)
    key = kept.open(_passphrase(file, passphrase_file) if kept.is_sealed else "")
    path = put(new_signer(key, _until(days), os.urandom), to)
    print(f"relay {kept.identity.hex()}")
    print(f"{path} is its signing key, until {_end_of(path)}.")
    if relay_at(path) == kept.identity:
        print("It lies in the relay's folder. The relay takes it within 5 minutes, or when it starts.")
        print("Keep the master file on another machine.")
    else:
        print(f"It belongs into the relay's folder, under the name {SIGNING_FILE}. Keep {file} here.")
    return 0


@master.command()
@_master_argument
def show(file: Path) -> int:
    """Print the id of the relay whose master key this is. No passphrase is needed.

    \b
    Example:
      onionshh master show relay1.master
    """
    print(read_master(file).identity.hex())
    return 0


def _until(days: int) -> int:
    return Clock().wall() + days * DAY


def _end_of(path: Path) -> str:
    signer = read_signing(path)
    return utc(expires_of(signer.signing)) if signer is not None else "it is gone"


def _new_passphrase(ask: bool, file: Path | None) -> str:
    """The passphrase for a new master file, empty for none. Usage."""
    if file is None and not ask:
        return ""
    if file is not None:
        return read_passphrase(file)
    return check_passphrase(_asked("New passphrase", again=True))


def _passphrase(master_file: Path, file: Path | None) -> str:
    return read_passphrase(file) if file is not None else _asked(f"Passphrase of {master_file}", again=False)


def _asked(question: str, *, again: bool) -> str:
    if not sys.stdin.isatty():
        raise Usage("There is no terminal to ask for the passphrase; give --passphrase-file.")
    try:
        answer: str = click.prompt(question, hide_input=True, confirmation_prompt=again, err=True)
    except click.Abort as error:
        raise Usage("No passphrase was given, so nothing was done.") from error
    return answer
