"""What works behind one board: put together, and run (SPEC 14)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import trio

from onionshh.client.board.arriving import Arriving
from onionshh.client.board.folder import BoardFolder
from onionshh.client.board.publishing import Publishing
from onionshh.client.board.reading import BoardReading, Found
from onionshh.client.board.store import KeptPost
from onionshh.client.board.watching import Watching
from onionshh.client.context import Context
from onionshh.core.board.topic import Topic
from onionshh.crypto.identity import SigningKey
from onionshh.errors import BadData, Closed, NetworkUnreachable

logger = logging.getLogger("onionshh.client")

TIDY_SECONDS: Final = 60.0
PAGE_POSTS: Final = 64
"""Posts that are taken from disk at a time."""
NOBODY_ANSWERED: Final = "No relay of this board answers; see whether this node is online."


class WorkingBoard:
    """`load` it once, then `run` it."""

    def __init__(
        self, context: Context, topic: Topic, author: SigningKey | None, folder: BoardFolder
    ) -> None:
        self._context = context
        self._folder = folder
        self._store = folder.posts
        self._arriving = Arriving(context, topic, folder.posts)
        self._reading = BoardReading(context, topic, self._arriving)
        self._watching = Watching(context, self._reading, self._arriving)
        self._nursery: trio.Nursery | None = None
        self._is_watched = False
        self._closed = False
        self.tag = folder.tag
        self.publishing = Publishing(
            context,
            topic,
            author,
            folder.own,
            folder.deposits,
            self._reading,
            self._arriving,
            lasts=folder.lasts,
        )

    async def load(self) -> None:
        """Take up what is on disk. BadData."""
        await self._arriving.load()
        await self.publishing.load()

    async def run(self, started: Callable[[], None]) -> None:
        """Do the work, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._folder.database.keep_erased)
            self._nursery.start_soon(self.publishing.run)
            self._nursery.start_soon(self._release_held)
            self._nursery.start_soon(self._keep_tidy)
            started()

    def close(self) -> None:
        """The board is closed: whoever waits for posts is told."""
        self._closed = True
        self.publishing.close()
        self._arriving.changed.send()

    def watch(self) -> None:
        """Look for new posts from now on. ValueError if this node watches too many boards already."""
        if not self._is_watched and self._nursery is not None:
            self._context.shared.take_watch()
            self._is_watched = True
            self._nursery.start_soon(self._watch)

    async def read(self, after: int, limit: int) -> list[KeptPost]:
        """The posts behind this place in the local order that lie on the board now. NetworkUnreachable,
        NoDirectory, BadData, Closed."""
        last = await self._store.last()
        found = await self._reading.read()
        if not found.answered:
            raise NetworkUnreachable(NOBODY_ANSWERED)
        posts: list[KeptPost] = []
        while len(posts) < limit:
            page = await self._store.after(after, PAGE_POSTS, self._context.clock.best())
            if not page:
                break
            posts += await self._present(page, found, last)
            after = page[-1].seq
        return posts[:limit]

    async def next(self, after: int) -> list[KeptPost]:
        """Some posts behind this place, as soon as there are any. BadData, Closed."""
        while True:
            if self._closed:
                raise Closed("This board is not open.")
            waiting = self._arriving.changed.ticket()
            page = await self._store.after(after, PAGE_POSTS, self._context.clock.best())
            if page:
                return page
            await waiting.wait()

    async def cursor(self) -> int:
        """How far the program has read. BadData, Closed."""
        return await self._store.cursor()

    async def last(self) -> int:
        """The place of the last post that came. BadData, Closed."""
        return await self._store.last()

    async def finished(self, seq: int) -> None:
        """The program has finished with this post. A board without a name forgets that when it is closed.
        BadData, Closed."""
        await self._store.move(seq)

    async def _watch(self) -> None:
        try:
            await self._watching.run()
        finally:
            self._context.shared.watches -= 1

    async def _present(self, page: list[KeptPost], found: Found, last: int) -> list[KeptPost]:
        """Those that some relay has. What was taken back is at none any more. `last`: the last one that was
        known when the relays were asked."""
        if found.unsure:  # the relays that have it may be those that did not answer
            return page
        items = await self._store.items_of([post.seq for post in page])
        return [
            post
            for post in page
            if post.seq > last or len(found.present.intersection(items[post.seq])) >= post.parts
        ]

    async def _release_held(self) -> None:
        """Give what is held in a line when its time has come."""
        clock = self._context.clock
        while True:
            deadline = self._arriving.next_deadline
            with trio.move_on_after(3600 if deadline is None else max(0.0, deadline - clock.monotonic())):
                await self._arriving.held.wait()
            try:
                await self._arriving.release()
            except BadData as error:
                logger.error("posts of a board could not be kept: %s", error)
                await trio.sleep(TIDY_SECONDS)
            except Closed:
                return

    async def _keep_tidy(self) -> None:
        while True:
            await trio.sleep(TIDY_SECONDS)
            try:
                await self._arriving.tidy()
            except BadData as error:
                logger.error("posts that are past their time could not be erased: %s", error)
