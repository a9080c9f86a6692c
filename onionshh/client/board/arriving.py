"""From items to posts: opens what was read from a board, joins parts, puts posts in order, keeps them once.

| moment                             | kept                         | what happens                   |
|------------------------------------|------------------------------|--------------------------------|
| an item that is not known          |                              | opened; junk is counted        |
| a part of a post                   |                              | waits for the others           |
| a whole post                       |                              | it goes into its author's line |
| the line gives it (`release`)      | post, items and line, in one | whoever waits for posts wakes  |
| a known item with a later revision | its new end                  |                                |
| its time is over                   | it is erased                 |                                |

Reading erases nothing on a board. So parts, and posts that are held in a line, need not be on disk: after a
crash they are read again. If the disk fails, what could not be kept is tried again with the next `release`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final, cast

import trio

from onionshh.client.board.known import KnownItems, Name
from onionshh.client.board.store import BoardStore, ItemRow, PostRow
from onionshh.client.context import Context
from onionshh.core.board.entry import MINUTE_SECONDS, Entry, open_entry_untrusted
from onionshh.core.board.lines import Arrived, Lines
from onionshh.core.board.topic import Topic
from onionshh.core.mailbox.gather import Gather
from onionshh.core.mailbox.item import GRACE_SECONDS, TTL_MOST_SECONDS
from onionshh.errors import ProtocolError
from onionshh.net.signals import Broadcast, Poke
from onionshh.reasons import Reason
from onionshh.wire.mailbox import Item, Mailbox

FRESH_BYTES_MOST: Final = 32 * 1024 * 1024
"""Posts of a reading that wait for its end. Beyond that they are kept at once, perhaps not in order."""
JUST_POSTED_SECONDS: Final = 120
"""What was posted within this time may be on its way to relays that were just asked."""
UNKEPT_MOST: Final = 4096
"""Posts, and changes of posts, that could not be kept so far. Beyond that nothing more is read."""


@dataclass(slots=True)
class _Unkept:
    """What is to be written: posts in their order, items with another end, more items of kept posts."""

    posts: list[Arrived] = field(default_factory=list)
    renewed: list[ItemRow] = field(default_factory=list)
    more: list[tuple[Name, ItemRow]] = field(default_factory=list)
    """Items of posts that are kept: they were sealed again."""


class Arriving:
    """The posts of one board. `load` it once."""

    def __init__(self, context: Context, topic: Topic, store: BoardStore) -> None:
        self._context = context
        self._topic = topic
        self._store = store
        self._known = KnownItems()
        self._gather = Gather()
        self._lines = Lines({})
        self._fresh: dict[int, list[Arrived]] = {}
        """Posts of periods that are being read, until all relays have been asked."""
        self._fresh_bytes = 0
        self._unkept = _Unkept()
        self._keeping = trio.Lock()
        self.changed = Broadcast()
        """Sent when posts were kept."""
        self.held = Poke()
        """Sent when a post may have to be released later."""

    async def load(self) -> None:
        """Take up what is on disk. BadData."""
        loaded = await self._store.load()
        for row, name in loaded.items:
            self._known.note(row, name)
        self._lines = Lines(loaded.lines, loaded.ranks)

    def last_number(self, author: bytes) -> int:
        """The highest number of this author that was seen, given or held. 0 if there is none."""
        waiting = [post.number for post in self._unkept.posts if post.author == author]
        return max(self._lines.highest(author), *waiting, 0)

    @property
    def next_deadline(self) -> float | None:
        """When something that is held must be released: monotonic seconds."""
        return self._lines.next_deadline

    @property
    def is_stuck(self) -> bool:
        """Whether too much could not be kept. Nothing more is to be read then."""
        unkept = self._unkept
        return len(unkept.posts) + len(unkept.renewed) + len(unkept.more) >= UNKEPT_MOST

    def wants(self, item_id: bytes, expires: int) -> bool:
        """Whether an item with this end is to be read."""
        return self._known.wants(item_id, expires)

    def take(self, mailbox: Mailbox, item: Item) -> None:
        """An item that its depositor signed. `release` keeps what comes of it."""
        row, clock = ItemRow(item.item_id, item.expires, item.revision), self._context.clock
        fits = clock.earliest() < item.expires <= clock.best() + TTL_MOST_SECONDS + 2 * GRACE_SECONDS
        if not fits:
            self._context.drops.count(Reason.MAILBOX_DATE)
        if item.item_id in self._known:
            if self._known.renew(row, counts=fits):
                self._unkept.renewed.append(row)
            return
        if not fits:  # it is looked at again with the next reading: our clock may be wrong
            self._known.note(row, None, misdated=True)
            return
        try:
            entry = open_entry_untrusted(self._topic, mailbox, item.item_id, item.value)
            self._add(row, entry, mailbox.period)
        except ProtocolError as error:
            self._context.drops.count(error.reason)
            self._known.note(row, None)

    def begin(self, period: int) -> None:
        """The mailbox of this period is about to be read at all relays: its posts wait for `settle`."""
        self._fresh.setdefault(period, [])
        self._known.forget_misdated()

    async def settle(self, period: int, *, all_of_it: bool) -> None:
        """All relays were asked for this period, so what is missing of what was posted a while ago cannot
        come any more. `all_of_it`: nor is anything else held. BadData, Closed."""
        self._into_lines(self._fresh.pop(period, ()))
        await self._release(inf if all_of_it else self._context.clock.best() - JUST_POSTED_SECONDS)

    def end(self) -> None:
        """The reading is over. Nothing waits for `settle` any more."""
        for period in tuple(self._fresh):
            self._into_lines(self._fresh.pop(period))
        self.held.send()

    async def relieve(self) -> None:
        """Keep what waits for `settle`, if that is too much. BadData, Closed."""
        if self._fresh_bytes > FRESH_BYTES_MOST:
            for period, posts in self._fresh.items():
                self._fresh[period] = []
                self._into_lines(posts)
            await self._release(inf)

    async def release(self) -> None:
        """Keep all posts that can be given now. BadData, Closed."""
        await self._release(-inf)

    async def _release(self, settled: float) -> None:
        async with self._keeping:
            now, wall = self._context.clock.monotonic(), self._context.clock.earliest()
            unkept = self._unkept
            unkept.posts += self._lines.take(now, settled=settled)
            self._forget_dropped(wall)
            posts, renewed, more = tuple(unkept.posts), tuple(unkept.renewed), tuple(unkept.more)
            rows = [row for row in map(self._row, posts) if row.items]  # else it has expired meanwhile
            if rows:
                await self._store.add(rows, wall)
                self.changed.send()
            del unkept.posts[: len(posts)]
            if renewed:
                await self._store.renewed(renewed)
                del unkept.renewed[: len(renewed)]
            if more:
                await self._store.more(more)
                del unkept.more[: len(more)]

    async def tidy(self) -> None:
        """Forget and erase what is past its time. BadData, Closed."""
        wall = self._context.clock.earliest()
        self._forget_dropped(wall)
        await self._store.tidy(wall)
        self._known.expire(wall)

    # Inside.

    def _into_lines(self, posts: Sequence[Arrived]) -> None:
        if posts:
            self.held.send()
        for post in posts:
            self._fresh_bytes -= len(post.body)
            self._lines.add(post, self._context.clock.monotonic())

    def _add(self, row: ItemRow, entry: Entry, period: int) -> None:
        """An entry that was not known. ProtocolError if it contradicts another part."""
        name = entry.author, entry.post_id
        whole_name = (*name, entry.number, entry.minute)  # all parts say the same
        if self._known.has(name) and whole_name not in self._gather:  # it was sealed again for another period
            self._known.note(row, name)
            self._unkept.more.append((name, row))
            return
        whole = self._gather.add(whole_name, entry.part, entry.parts, entry.chunk, row.expires)
        self._known.note(row, name)
        if whole is not None:
            self._gather.done(whole_name)
            posted = entry.minute * MINUTE_SECONDS
            post = Arrived(entry.author, entry.number, entry.post_id, posted, whole)
            self._fresh_bytes += len(whole)
            if period in self._fresh:
                self._fresh[period].append(post)
            else:
                self._into_lines((post,))

    def _row(self, post: Arrived) -> PostRow:
        return PostRow(post, self._known.rows_of((post.author, post.post_id)))

    def _forget_dropped(self, wall: int) -> None:
        """Parts that were given up may be read again."""
        for name, reason in self._gather.dropped(wall):
            self._context.drops.count(reason)
            self._known.forget_post(cast(Name, cast(Sequence[bytes], name)[:2]))
