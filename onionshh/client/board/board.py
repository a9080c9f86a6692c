"""A board: what many people post and read under one topic (SPEC 14)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from onionshh.client.arguments import check_post_ttl, check_whole
from onionshh.client.board.post import Post, shown
from onionshh.client.board.posting import Posting
from onionshh.client.context import Context
from onionshh.core.board.entry import POST_MOST
from onionshh.core.board.topic import Topic
from onionshh.errors import Closed, TooLarge

if TYPE_CHECKING:
    from onionshh.client.board.store import KeptPost
    from onionshh.client.board.working import WorkingBoard
    from onionshh.crypto.identity import IdentityKeys

READ_DEFAULT: Final = 100
READ_MOST: Final = 100_000
TTL_DEFAULT_SECONDS: Final = 86_400


class Posts:
    """The loop over a board."""

    def __init__(self, working: WorkingBoard) -> None:
        self._working = working
        self._at: int | None = None
        """The place of the last post that was given."""
        self._page: list[KeptPost] = []

    def __aiter__(self) -> Posts:
        return self

    async def __anext__(self) -> Post:
        working = self._working
        try:
            if self._at is None:
                self._at = await working.cursor()
            else:
                await working.finished(self._at)
            if not self._page:
                self._page = await working.next(self._at)
        except Closed:
            raise StopAsyncIteration from None
        kept = self._page.pop(0)
        self._at = kept.seq
        return shown(kept, working.tag)


class Board:
    """What many people post and read under one topic. Made by `Node.board`; enter it once, with `async with`.

    A post lies at four relays until it expires, for ten minutes to seven days. Whoever knows the topic can
    read the board, and post. Nobody else can: the relays see that something lies there, and for how long,
    and a new name for the board each day.

    With an author, what you post is signed by a key that your identity has on this board alone. Readers see
    whose posts belong together, get them in order, and see where some are missing. They cannot tell who it
    is. Without an author no two of your posts can be linked by readers.

    A board with a name keeps on disk what you posted and how far you have read, and goes on when it is
    entered again under that name. A post of an earlier run can then be recalled or extended. Without a name
    nothing is on disk; what relays have of your posts stays there, and nobody can take it back after the
    block has ended.

    `async for post in board` gives what lies on the board, and then what comes, until the board is closed. At
    a board with a name it begins behind the last post that the program has finished with: it finishes with a
    post by asking for the next. A node can watch 16 boards at a time, over six circuits each, which it holds:
    whoever watches your guard sees that you are there, and not which board. Iterating raises ValueError when
    16 others are watched, Closed when the board is not open, BadData when the disk fails.

    ```python
    import onionshh


    async def main(node: onionshh.Node, visitor: onionshh.Node) -> None:
        secret = bytes(range(32))
        async with node.board(secret) as mine, visitor.board(secret, name="me") as board:
            await (await mine.post(b"hello", ttl_seconds=600)).stored()
            async for post in board:
                print(post.body, post.author)  # b'hello' None
                break
    ```

    What was posted is found again by its name, and taken back:

    ```python
    import onionshh


    async def main(node: onionshh.Node) -> None:
        async with node.board("offers", name="shop") as board:
            posting = await board.post(b"a bicycle, 40 euros", ttl_seconds=3 * 3600)
            await posting.stored()
        async with node.board("offers", name="shop") as board:
            print([mine.id == posting.id for mine in board.postings()])  # [True]
            print(await board.postings()[0].recall())  # True
            print(await board.read())  # []
        try:
            node.board("  offers")
        except ValueError as error:
            print(error)  # The name of a topic is 1 to 256 printable characters, without blanks …
    ```
    """

    def __init__(self, context: Context, topic: Topic, author: IdentityKeys | None, name: str | None) -> None:
        self._context = context
        self._topic = topic
        self._author = None if author is None else author.author_key(topic.secret)
        self._name = name
        self._working: WorkingBoard | None = None
        self._scope: trio.CancelScope | None = None
        self._closed = False
        self._ended = trio.Event()

    @property
    def author(self) -> str | None:
        """What readers see as the author of your posts here, 64 hex digits. None without an author."""
        return None if self._author is None else self._author.public.hex()

    async def __aenter__(self) -> Board:
        if self._scope is not None:
            raise Closed("A board is entered once.")
        await trio.lowlevel.checkpoint()
        self._context.check_open()
        if self._closed:
            raise Closed("This board was closed.")
        self._scope = trio.CancelScope()
        try:
            await self._context.nursery.start(self._run, self._scope)
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        with trio.CancelScope(shield=True):  # once the block has ended, the name is free
            await self._ended.wait()

    def close(self) -> None:
        """Stop now, before the block ends. Posts that are not stored fail; those of a board with a name go on
        when it is entered again. Calling this twice does no harm."""
        if not self._closed:
            self._closed = True
            if self._working is not None:
                self._working.close()
            if self._scope is not None:
                self._scope.cancel()

    async def post(self, body: bytes, *, ttl_seconds: float = TTL_DEFAULT_SECONDS) -> Posting:
        """Take on a post of at most 65 535 bytes; its `Posting` follows what becomes of it. At a board with a
        name it is on disk when this returns.

        - `ttl_seconds`: how long it should lie there, 60 to 604 800 (7 days). It is rounded up to 10 min,
          30 min, 1 h, 3 h, 1 d, 3 d or 7 d: relays see when something expires, and a rare time would tell the
          posts of one program apart.

        Posts come to the relays in the order in which they were taken on. Each takes work, from a part of a
        second to some seconds of one processor, by size and time. An author whose number is not known here,
        as without a name, first reads the board.

        Raises TooLarge, TypeError when the body is not bytes, ValueError for a time out of range, Full while
        posts of yours with 1 024 parts have not expired (a part is 5 172 bytes), BadData when the disk takes
        nothing, Closed.
        """
        if not isinstance(body, bytes):
            raise TypeError(f"A post is bytes, not {type(body).__name__}.")
        if len(body) > POST_MOST:
            raise TooLarge(f"A post holds at most {POST_MOST} bytes; this one has {len(body)}.")
        check_post_ttl(ttl_seconds)
        return await self._open().publishing.post(body, ttl_seconds)

    def postings(self) -> list[Posting]:
        """Your own posts whose time is not over, in the order in which they were posted. At a board with a
        name, those of earlier runs are among them."""
        return [] if self._working is None else self._working.publishing.postings()

    async def read(self, after: str = "", limit: int = READ_DEFAULT) -> list[Post]:
        """Ask all relays of the board, and return the posts that lie there now: the order is that in which
        this board first saw them, each author's in the order of their numbers.

        - `after`: the `Post.cursor` of a post, at a board with a name: those behind it. Cursors are this
          board's own, and mean nothing to others.
        - `limit`: how many at most, 1 to 100 000.

        A post that was taken back is not among them, once its relays know that.

        Raises ValueError for a cursor that is not of this board or where the board has no name,
        NetworkUnreachable when no relay of the board answers, NoDirectory, BadData, Closed.
        """
        check_whole("limit", limit, 1, READ_MOST)
        working = self._open()
        seq = await self._place(working, after)
        return [shown(kept, working.tag) for kept in await working.read(seq, limit)]

    def __aiter__(self) -> Posts:
        """The posts, and then what comes."""
        working = self._open()
        working.watch()
        return Posts(working)

    async def _place(self, working: WorkingBoard, cursor: str) -> int:
        """The place in the local order that a cursor names. ValueError."""
        if not isinstance(cursor, str):
            raise TypeError(f"A cursor is text, not {type(cursor).__name__}.")
        if not cursor:
            return 0
        if not working.tag:
            raise ValueError("A cursor needs a board with a name; this one has none.")
        tag, _, number = cursor.partition("-")
        if tag != working.tag or not number.isascii() or not number.isdecimal() or len(number) > 18:
            raise ValueError("This cursor is not of this board and name.")
        if int(number) > await working.last():
            raise ValueError("This cursor is not of this board and name, or the board's folder was removed.")
        return int(number)

    def _open(self) -> WorkingBoard:
        if self._closed or self._working is None:
            raise Closed("This board is not open.")
        return self._working

    async def _run(
        self, scope: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        # A program without boards needs no database.
        from onionshh.client.board.folder import board_folder
        from onionshh.client.board.working import WorkingBoard

        def started() -> None:
            self._working = working
            task_status.started()

        try:
            with scope:
                async with board_folder(self._context, self._topic, self._name) as folder:
                    working = WorkingBoard(self._context, self._topic, self._author, folder)
                    await working.load()
                    try:
                        await working.run(started)
                    finally:
                        self.close()
            if self._working is None:
                raise Closed("This board was closed while it was being entered.")
        finally:
            self.close()
            self._ended.set()
