"""`--passphrase-file` of `backup` and `restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from onionshh.cli.failures import Usage
from onionshh.net.store import read_file

LEAST: Final = 8
MOST: Final = 4096


def read_passphrase(path: Path | None) -> bytes | None:
    """The passphrase in a file, without the end of its line. Usage, BadData."""
    if path is None:
        return None
    data = read_file(path, MOST, secret=True)
    if data is None:
        raise Usage(f"There is no {path}; write the passphrase into it.")
    passphrase = data.rstrip(b"\r\n")
    if len(passphrase) < LEAST:
        raise Usage(f"The passphrase in {path} is shorter than {LEAST} bytes; take a longer one.")
    return passphrase
