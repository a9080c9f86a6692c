"""`--passphrase-file`: where a passphrase is read from, if nobody is asked for it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from onionshh.cli.failures import Usage
from onionshh.net.store import read_file

LEAST: Final = 8
MOST: Final = 4096


def read_passphrase(path: Path) -> str:
    """The first line of a file. Usage, BadData."""
    data = read_file(path, MOST, secret=True)
    if data is None:
        raise Usage(f"There is no {path}; write the passphrase into it.")
    try:
        passphrase = data.decode().split("\n", 1)[0].removesuffix("\r")
    except UnicodeDecodeError as error:
        raise Usage(f"{path} is not text in UTF-8.") from error
    return check_passphrase(passphrase)


def check_passphrase(passphrase: str) -> str:
    """The same, unless it is too short. Usage."""
    if len(passphrase) < LEAST:
        raise Usage(f"A passphrase needs at least {LEAST} characters; several words are better.")
    return passphrase
