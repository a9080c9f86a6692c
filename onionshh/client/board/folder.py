"""What a board keeps: in one SQLite file if it has a name, else in memory (SPEC 14).

The folder of a named board has a hash of the topic and the name as its name. It is held under a lock, so a
name is in use only once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

from onionshh.client.board.own_store import OWN_POST_MIGRATIONS, OwnPosts
from onionshh.client.board.store import BOARD_MIGRATIONS, RANK_MIGRATIONS, BoardStore
from onionshh.client.context import Context
from onionshh.client.mail.deposit_store import DEPOSIT_MIGRATIONS, DepositStore
from onionshh.core.board.topic import Topic
from onionshh.crypto.primitives import kdf
from onionshh.errors import DataInUse
from onionshh.net.database import IN_MEMORY, Database
from onionshh.net.store import Folder

BOARDS_FOLDER: Final = "boards"
DATABASE_FILE: Final = "board.db"
MIGRATIONS: Final = (*BOARD_MIGRATIONS, *OWN_POST_MIGRATIONS, *DEPOSIT_MIGRATIONS, *RANK_MIGRATIONS)


@dataclass(frozen=True, slots=True)
class BoardFolder:
    """The open database of one board, and what is kept in it."""

    database: Database
    posts: BoardStore
    own: OwnPosts
    deposits: DepositStore
    lasts: bool
    """Whether there is a name."""
    tag: str
    """Begins the cursors of a named board, so that those of another one are noticed. Empty without a name."""


@asynccontextmanager
async def board_folder(context: Context, topic: Topic, name: str | None) -> AsyncIterator[BoardFolder]:
    """The folder of a board, until the block ends. DataInUse, BadData."""
    with ExitStack() as stack:
        path, tag = IN_MEMORY, ""
        if name is not None:
            tag = kdf("board folder", topic.secret, name.encode(), length=8).hex()
            folder = context.folder.inside(BOARDS_FOLDER).inside(tag)
            stack.enter_context(_held(folder))
            path = folder.database(DATABASE_FILE)
        database = Database(path, MIGRATIONS, context.run_blocking)
        try:
            yield BoardFolder(
                database,
                BoardStore(database),
                OwnPosts(database),
                DepositStore(database),
                name is not None,
                tag,
            )
        finally:
            await database.aclose()


@contextmanager
def _held(folder: Folder) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(folder.lock())
        except DataInUse as error:
            raise DataInUse(
                "A board of this topic and name is open already, in this process or another one; close that"
                " one first, or take another name."
            ) from error
        yield
