"""What a meeting keeps: in two SQLite files if it has a name, else in memory (SPEC 14).

One is like that of a named contact, and the other is that of the board where the two find each other. The
folder has a hash of the secret and the name as its name, and is held under a lock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from onionshh.client.board.folder import BoardFolder, board_folder
from onionshh.client.contact_folder import MIGRATIONS as CONTACT_MIGRATIONS
from onionshh.client.contact_folder import ContactFolder, in_database
from onionshh.client.context import Context
from onionshh.client.hosting.owed_store import OWED_MIGRATIONS
from onionshh.client.meeting.store import MEETING_MIGRATIONS, MeetingStore
from onionshh.core.meeting.hello import meeting_topic
from onionshh.crypto.primitives import kdf
from onionshh.errors import DataInUse
from onionshh.net.database import IN_MEMORY, Database

MEETINGS_FOLDER: Final = "meetings"
DATABASE_FILE: Final = "meeting.db"
MIGRATIONS: Final = (*CONTACT_MIGRATIONS, *OWED_MIGRATIONS, *MEETING_MIGRATIONS)


@dataclass(frozen=True, slots=True)
class MeetingFolder:
    """What is open. `contact`: as a contact has it, in the same database."""

    contact: ContactFolder
    board: BoardFolder
    meeting: MeetingStore

    @property
    def database(self) -> Database:
        """The file of the conversation."""
        return self.contact.database


@asynccontextmanager
async def meeting_folder(context: Context, secret: bytes, name: str | None) -> AsyncIterator[MeetingFolder]:
    """The folder of a meeting, until the block ends. DataInUse, BadData."""
    async with AsyncExitStack() as stack:
        path = IN_MEMORY
        if name is not None:
            tag = kdf("meeting folder", secret, name.encode(), length=8).hex()
            folder = context.folder.inside(MEETINGS_FOLDER).inside(tag)
            try:
                stack.enter_context(folder.lock())
            except DataInUse as error:
                raise DataInUse(
                    "A meeting with this secret and name is open already, in this process or another one;"
                    " close that one first, or take another name."
                ) from error
            path = folder.database(DATABASE_FILE)
        board = await stack.enter_async_context(board_folder(context, meeting_topic(secret), name))
        database = Database(path, MIGRATIONS, context.run_blocking)
        stack.push_async_callback(database.aclose)
        yield MeetingFolder(in_database(context, database), board, MeetingStore(database))
