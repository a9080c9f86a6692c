"""Folders of a relay, a directory, a host and contacts, as their programs leave them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from onionshh.client.board.folder import MIGRATIONS as BOARD
from onionshh.client.contact_folder import MIGRATIONS as CONTACT
from onionshh.client.hosting.hosting import MIGRATIONS as ENDPOINT
from onionshh.client.hosting.hosting import endpoint_folder_name
from onionshh.client.identities import Identity
from onionshh.client.meeting.folder import MIGRATIONS as MEETING
from onionshh.crypto.primitives import kdf
from onionshh.directory.store import KeptState, create_or_open
from onionshh.net.database import open_database
from onionshh.net.store import DataDirectory
from onionshh.relay.accounting import ACCOUNTING_FILE
from onionshh.relay.allowance import Kept
from onionshh.relay.keys import RelayKeys
from onionshh.rendezvous.mailbox_store import MAILBOX_MIGRATIONS
from onionshh.rendezvous.ring_store import RING_MIGRATIONS
from tests.seeded import seeded

MADE = 1_800_000_000
BODY = b"a whisper that is not finished"
OWNER: Final = 61184
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
PERIOD_KEY = b"key of a period" * 3


def database(path: Path, migrations: Sequence[str], script: str = "", *values: object) -> None:
    DataDirectory(path.parent)
    with closing(open_database(path, migrations)) as connection:
        if script:
            connection.execute(script, values)


def relay(folder: Path, seed: int = 1) -> str:
    """Its id."""
    keys = RelayKeys(DataDirectory(folder), seeded(seed))
    DataDirectory(folder).write(ACCOUNTING_FILE, Kept(1, 100, 5, 2).encode())
    DataDirectory(folder).write("consensus", b"a cache")
    database(folder / "ring.db", RING_MIGRATIONS)
    database(folder / "mailboxes.db", MAILBOX_MIGRATIONS)
    (folder / "lock").touch(0o600)
    return keys.relay_id.hex()


def directory(folder: Path) -> str:
    """Its key."""
    with create_or_open(
        folder, folder.parent / "net.toml", url="http://127.0.0.1:1", random_bytes=seeded(2), name="test"
    ) as store:
        store.save_state(KeptState(7).encode())
        return store.key.public.hex()


def host(folder: Path, seed: int = 3) -> str:
    """Its address."""
    identity = Identity.generate(seeded(seed))
    identity.save(folder / "identity")
    path = folder / "endpoints" / endpoint_folder_name(identity) / "endpoint.db"
    kept = (bytes(16), BODY, 1.0, MADE, 1)
    database(
        path,
        ENDPOINT,
        "INSERT INTO inbox (id, body, received_at, expires, class) VALUES (?, ?, ?, ?, ?)",
        *kept,
    )
    database(path, ENDPOINT, "INSERT INTO seen VALUES (?, ?)", b"seen" * 4, MADE)
    database(path, ENDPOINT, "INSERT INTO period_keys VALUES (1, ?, ?, ?, 1)", *[PERIOD_KEY] * 3)
    database(path, ENDPOINT, "INSERT INTO introducers VALUES (?, ?, 1)", PERIOD_KEY, PERIOD_KEY)
    contacts(folder)
    return identity.address


def contacts(folder: Path) -> None:
    address_key, name = Identity.generate(seeded(9)).A, "press"
    tag = kdf("contact folder", address_key, name.encode(), length=8).hex()
    database(
        folder / "contacts" / tag / "contact.db",
        CONTACT,
        "INSERT INTO about VALUES (1, ?, ?)",
        address_key,
        name,
    )
    database(folder / "boards" / ("ab" * 8) / "board.db", BOARD)
    database(folder / "meetings" / ("cd" * 8) / "meeting.db", MEETING)
    DataDirectory(folder).write("guards", b"guards")


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def everything(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def owns(folder: Path, user: int = OWNER) -> None:
    """All in the folder is this user's from now on."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, user, follow_symlinks=False)


def owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in (folder, *folder.rglob("*"))}
