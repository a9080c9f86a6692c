"""Where a visitor's guards and consensus are kept when no folder is given (one folder per network, XDG),
temporary folders, and whose a folder is."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onionshh.cli.failures import Usage
from onionshh.client.one_machine import user_folder
from onionshh.config import NetworkFile
from onionshh.errors import Error

_HASH_DIGITS = 12
_KEYS = {"relay-keys": "relay", "authority": "directory", "identity": "host"}


def state_folder() -> Path:
    """Our folder in the XDG state directory. Usage when there is no home folder either, as in containers."""
    folder = user_folder()
    if folder is None:
        raise Usage(
            "There is no home folder to keep guards in; give a folder with --data, or an absolute path in"
            " XDG_STATE_HOME."
        )
    return folder


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A folder that is removed after the block. Error when the system has no place for one."""
    try:
        folder = tempfile.TemporaryDirectory(prefix=prefix)
    except FileNotFoundError as error:
        raise Error("No temporary folder can be made; set TMPDIR to a folder that can be written.") from error
    with folder as path:
        yield Path(path)


def check_whose(folder: Path, kind: str) -> None:
    """Usage if this is the folder of a program of another kind than "relay", "directory" or "host"."""
    for file, other in _KEYS.items():
        if other != kind and os.path.lexists(folder / file):
            raise Usage(f"{folder} is the folder of a {other}; give this {kind} one of its own with --data.")


def network_folder(network: NetworkFile) -> Path:
    """The folder of one network. Two networks with the same name but different keys never share guards."""
    digest = hashlib.sha3_256(b"".join(sorted(network.keys))).hexdigest()[:_HASH_DIGITS]
    return state_folder() / f"{re.sub('[^A-Za-z0-9-]', '-', network.name)}-{digest}"
