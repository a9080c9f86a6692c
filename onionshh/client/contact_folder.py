"""What a named contact keeps on disk (SPEC 12): its session, its outbox, and what the endpoint said first.

All of it is in one SQLite file, in a folder whose name is a hash of the address and the name. The folder is
held under a lock, so a name is in use only once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from onionshh.client.context import Context
from onionshh.client.hosting.whisper_store import WHISPER_MIGRATIONS, WhisperStore
from onionshh.client.session.store import SESSION_MIGRATIONS, SessionStore
from onionshh.crypto.primitives import kdf
from onionshh.net.database import Database

DATABASE_FILE: Final = "contact.db"
MIGRATIONS: Final = ("".join(WHISPER_MIGRATIONS[:1]), *WHISPER_MIGRATIONS[1:], SESSION_MIGRATIONS[0])


@dataclass(frozen=True, slots=True)
class ContactFolder:
    """The open database of one named contact, and what is kept in it."""

    database: Database
    sessions: SessionStore
    whispers: WhisperStore


@contextmanager
def contact_folder(context: Context, address_key: bytes, name: str) -> Iterator[ContactFolder]:
    """The folder of a contact, until the block ends. DataInUse, BadData."""
    folder_name = kdf("contact folder", address_key, name.encode(), length=8).hex()
    folder = context.folder.inside("contacts").inside(folder_name)
    with folder.lock():
        database = Database(folder.database(DATABASE_FILE), MIGRATIONS, context.run_blocking)
        try:
            yield ContactFolder(database, SessionStore(database), WhisperStore(database))
        finally:
            database.close()
