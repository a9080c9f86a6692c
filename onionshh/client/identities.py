"""An endpoint's identity on disk: the one file that must be backed up (SPEC 9)."""

from __future__ import annotations

import os
from pathlib import Path

from onionshh.crypto.identity import Identity
from onionshh.errors import BadData, ProtocolError
from onionshh.ids import RandomBytes
from onionshh.net.store import DataDirectory, atomic_write, read_file


def load_identity(path: Path) -> Identity | None:
    """The identity in a file, None if there is none. BadData."""
    data = read_file(path, 4096, secret=True)
    if data is None:
        return None
    try:
        return Identity.from_bytes_untrusted(data)
    except ProtocolError as error:
        raise BadData(f"{path} is no identity of ours, or damaged; restore it from a backup.") from error


def load_or_create_identity(path: Path | str, random_bytes: RandomBytes = os.urandom) -> Identity:
    """The identity in a file, made and written (0600) if there is none. BadData; ValueError for an empty
    path."""
    path = Path(path)
    if not path.name:
        raise ValueError("An identity needs the path of its file, and this one names none.")
    identity = load_identity(path)
    if identity is None:
        identity = Identity.generate(random_bytes)
        DataDirectory(path.absolute().parent)
        atomic_write(path, identity.to_bytes())
    return identity
