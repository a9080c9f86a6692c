"""The named contacts of a data folder, as their files say: for a person who wants an overview (SPEC 12).

Files are opened for reading alone, so a contact that is in use is not disturbed.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from onionshh.client.contact_folder import CONTACTS_FOLDER, DATABASE_FILE
from onionshh.client.mail.deposit_store import stored_letters
from onionshh.client.session.info import SessionInfo
from onionshh.core.session.document import from_document_untrusted
from onionshh.crypto.identity import encode_address
from onionshh.errors import BadData, ProtocolError
from onionshh.net.store import DataDirectory

_LOCKED_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ContactOnDisk:
    """One named contact. `waiting`: whispers without a final status. `stored`: those of them that relays keep
    for the endpoint, by their ids, and how many relays. `unread`: what the endpoint said and no program has
    read. `in_use`: whether a program has it open now."""

    name: str
    address: str
    session: SessionInfo | None
    waiting: int
    stored: Mapping[str, int]
    unread: int
    in_use: bool
    path: Path = field(repr=False)


def contacts_in(data: Path) -> list[ContactOnDisk]:
    """The named contacts of this data folder, by name. BadData for one whose file cannot be read."""
    found = [contact for path in _files(data) if (contact := _read(path)) is not None]
    return sorted(found, key=lambda contact: (contact.name, contact.address))


def forget(contact: ContactOnDisk) -> None:
    """Erase everything of a contact. DataInUse while a program has it open, BadData."""
    folder = DataDirectory(contact.path)
    with folder.lock():
        try:
            shutil.rmtree(contact.path)
        except OSError as error:
            raise BadData(f"{contact.path} cannot be removed: {error.strerror}.") from error


def _files(data: Path) -> Iterator[Path]:
    folder = data / CONTACTS_FOLDER
    return (path for path in sorted(folder.glob(f"*/{DATABASE_FILE}")) if not path.is_symlink())


def _read(path: Path) -> ContactOnDisk | None:
    """None for one that no program has opened for long enough to say whose it is."""
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=_LOCKED_SECONDS)) as connection:
            whose = connection.execute("SELECT address, name FROM about").fetchone()
            if whose is None:
                return None
            return ContactOnDisk(
                name=whose[1],
                address=encode_address(whose[0]),
                session=_session(connection),
                waiting=_count(connection, "outbox WHERE status IS NULL"),
                stored=_stored(connection),
                unread=_count(connection, "inbox") + _count(connection, "answers WHERE NOT shown"),
                in_use=_in_use(path.parent),
                path=path.parent,
            )
    except sqlite3.Error as error:
        raise BadData(f"{path} cannot be read: {error}.") from error


def _count(connection: sqlite3.Connection, what: str) -> int:
    count: int = connection.execute(f"SELECT COUNT(*) FROM {what}").fetchone()[0]
    return count


def _stored(connection: sqlite3.Connection) -> dict[str, int]:
    waiting = {row[0] for row in connection.execute("SELECT id FROM outbox WHERE status IS NULL")}
    letters = stored_letters(connection)
    return {letter.hex(): copies for letter, copies in letters.items() if letter in waiting}


def _session(connection: sqlite3.Connection) -> SessionInfo | None:
    for (document,) in connection.execute("SELECT document FROM sessions ORDER BY used DESC"):
        try:
            session = from_document_untrusted(document)
        except ProtocolError:
            continue
        history = session.history
        return SessionInfo(
            started_at=history.started_at,
            exchanges=history.exchanges,
            resumed=history.resumed,
            refreshed_at=history.refreshed_at,
            way_back=_count(connection, "ways") > 0,
        )
    return None


def _in_use(folder: Path) -> bool:
    try:
        return DataDirectory(folder).is_held()
    except OSError:
        return False
