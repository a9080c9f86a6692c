"""What a named contact keeps on disk (SPEC 12): its session, its outbox, its ways back, its letters, and
what the endpoint said first.

All of it is in one SQLite file, in a folder whose name is a hash of the address and the name. The folder is
held under a lock, so a name is in use only once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from onionshh.client.context import Context
from onionshh.client.hosting.whisper_store import WHISPER_MIGRATIONS, WhisperStore
from onionshh.client.mail.deposit_store import DEPOSIT_MIGRATIONS, DepositStore
from onionshh.client.mail.part_store import MAIL_PART_MIGRATIONS, PartsOnDisk
from onionshh.client.mail.seed_store import SEED_MIGRATIONS, SeedStore
from onionshh.client.outbox_store import AT_A_CONTACT, OUTBOX_MIGRATIONS, OutboxStore, PeerOutbox
from onionshh.client.session.store import SESSION_MIGRATIONS, SessionStore
from onionshh.client.session.way_store import WAY_MIGRATIONS, WayStore
from onionshh.crypto.primitives import kdf
from onionshh.errors import BadData, DataInUse
from onionshh.net.database import Database
from onionshh.net.store import Folder

CONTACTS_FOLDER: Final = "contacts"
DATABASE_FILE: Final = "contact.db"
ABOUT_MIGRATIONS: Final = (
    "CREATE TABLE about (one INTEGER PRIMARY KEY CHECK (one = 1), address BLOB NOT NULL, name TEXT NOT NULL)",
)
"""Whose folder it is, for whoever may read the file anyway. The folder's own name tells nothing."""
MIGRATIONS: Final = (
    *WHISPER_MIGRATIONS[:3],
    *SESSION_MIGRATIONS,
    *OUTBOX_MIGRATIONS,
    *WAY_MIGRATIONS,
    *ABOUT_MIGRATIONS,
    DEPOSIT_MIGRATIONS[0],
    *MAIL_PART_MIGRATIONS,
    WHISPER_MIGRATIONS[3],
    *SEED_MIGRATIONS,
    DEPOSIT_MIGRATIONS[1],
)


@dataclass(frozen=True, slots=True)
class ContactFolder:
    """The open database of one named contact, and what is kept in it."""

    database: Database
    sessions: SessionStore
    whispers: WhisperStore
    outboxes: OutboxStore
    outbox: PeerOutbox
    ways: WayStore
    deposits: DepositStore
    mail_parts: PartsOnDisk
    seeds: SeedStore


@asynccontextmanager
async def contact_folder(context: Context, address_key: bytes, name: str) -> AsyncIterator[ContactFolder]:
    """The folder of a contact, until the block ends. Then all that was asked for is on disk. DataInUse,
    BadData."""
    folder_name = kdf("contact folder", address_key, name.encode(), length=8).hex()
    folder = context.folder.inside(CONTACTS_FOLDER).inside(folder_name)
    with _held(folder):
        database = Database(folder.database(DATABASE_FILE), MIGRATIONS, context.run_blocking)
        try:
            with suppress(BadData):  # a full disk: what is there can still be read
                database.transaction_now(partial(_note_whose, address_key, name))
            yield in_database(context, database)
        finally:
            await database.aclose()


def in_database(context: Context, database: Database) -> ContactFolder:
    """What a contact keeps in this database."""
    outboxes = OutboxStore(database)
    return ContactFolder(
        database,
        SessionStore(database),
        WhisperStore(database),
        outboxes,
        outboxes.of(AT_A_CONTACT),
        WayStore(database),
        DepositStore(database),
        PartsOnDisk(context, database),
        SeedStore(database),
    )


def _note_whose(address_key: bytes, name: str, connection: sqlite3.Connection) -> None:
    connection.execute("INSERT OR IGNORE INTO about VALUES (1, ?, ?)", (address_key, name))


@contextmanager
def _held(folder: Folder) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(folder.lock())
        except DataInUse as error:
            raise DataInUse(
                "A contact of this name to this address is open already, in this process or another one;"
                " close that one first, or take another name."
            ) from error
        yield
